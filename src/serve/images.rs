//! Images from outside: what they are is looked at, and their pixels counted, before any of them is decoded.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::aside::aside;
use super::problem::Problem;
use super::received::{Held, Room};
use crate::clock::Clock;
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::image_file::ImageFile;
use crate::source::{ImageDecoder, SourceError};
use crate::text::printable;

/// Images of the largest size that are held at once.
const LARGEST_AT_ONCE: u64 = 4;
/// Scans of a JPEG: usual encoders write ten, and each costs as much as the whole image.
const SCANS: usize = 100;
/// Bytes that are looked at on the thread of all connections: that takes 0.1 ms, and 3 ms where every byte is a marker.
const AT_ONCE: usize = 1 << 20;
/// Bytes that are shown of what is no image.
const SHOWN: usize = 16;

/// Decodes images, as many at once as there are cores.
pub(super) struct Images {
    decoders: Mutex<Vec<ImageDecoder>>,
    slots: Arc<Semaphore>,
    /// Pixels of all images that are held.
    room: Room,
    most: u64,
    clock: Arc<dyn Clock>,
}

/// An image that was looked at.
pub(super) struct Looked {
    /// The image, or an animation's first frame.
    bytes: Bytes,
    kind: &'static str,
    pub size: Size,
}

/// A decoded image, with the room that it takes.
pub(super) struct Decoded {
    pub frame: Box<DecodedFrame>,
    pub held: Held,
}

impl Images {
    /// Images of `most` pixels at most.
    pub fn new(most: u64, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let room = Room::new(usize::try_from(most.saturating_mul(LARGEST_AT_ONCE)).unwrap_or(usize::MAX >> 8));
        let decoders = Mutex::new(vec![ImageDecoder::for_bytes()?]);
        Ok(Self { decoders, slots: Arc::new(Semaphore::new(cores)), room, most, clock })
    }

    /// Looks at an image's head, on another thread where that may take long: of a JPEG every byte is seen.
    pub async fn look(self: &Arc<Self>, bytes: Bytes) -> Result<Looked, Problem> {
        let own = self.clone();
        if bytes.len() > AT_ONCE { aside(move || own.looked(bytes)).await? } else { own.looked(bytes) }
    }

    fn looked(&self, bytes: Bytes) -> Result<Looked, Problem> {
        let (kind, size) = self.measured(&bytes)?;
        // An animation's first frame is a file of its own, which need not have the size of the whole.
        let Some(first) = ImageFile::of(&bytes).first.map(Bytes::from) else { return Ok(Looked { bytes, kind, size }) };
        let (kind, size) = self.measured(&first)?;
        Ok(Looked { bytes: first, kind, size })
    }

    /// What kind of image it is, and its size; refused where that is too large.
    fn measured(&self, bytes: &[u8]) -> Result<(&'static str, Size), Problem> {
        let (kind, size) = measured(bytes)?;
        let pixels = u64::from(size.width) * u64::from(size.height);
        if pixels == 0 {
            return Err(damaged(kind));
        }
        if pixels > self.most {
            let Size { width, height } = size;
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let (has, most) = (pixels as f64 / 1e6, self.most as f64 / 1e6);
            let detail = format!(
                "the {kind} has {width}x{height} pixels, {has:.1} million; {most:.1} million are taken (--max-pixels)"
            );
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        Ok((kind, size))
    }

    /// Checks that images of so many pixels in all can be held at once.
    pub fn fit(&self, pixels: u64) -> Result<(), Problem> {
        let most = self.most.saturating_mul(LARGEST_AT_ONCE);
        if pixels <= most {
            return Ok(());
        }
        let (has, most) = (pixels / 1_000_000, most / 1_000_000);
        let detail =
            format!("the images have {has} million pixels together; {most} million are taken at once: send fewer");
        Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
    }

    /// Decodes an image, on another thread.
    pub async fn decode(self: &Arc<Self>, image: Looked) -> Result<Decoded, Problem> {
        let size = image.size;
        let mut held = Held::default();
        self.room.hold(&mut held, size.width as usize * size.height as usize)?;
        // Never closed.
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| Problem::busy("the program ends"))?;
        let own = self.clone();
        // What it takes is held until it is decoded, whether or not somebody still waits for it.
        let decode = move || {
            let _slot = slot;
            own.decode_here(&image).map(|frame| Decoded { frame, held })
        };
        aside(decode).await?
    }

    fn decode_here(&self, image: &Looked) -> Result<Box<DecodedFrame>, Problem> {
        let lock = || self.decoders.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lock().pop();
        let mut decoder = match kept {
            Some(decoder) => decoder,
            None => ImageDecoder::for_bytes().map_err(|error| Problem::failed(error.to_string()))?,
        };
        let frame = decoder.image(image.bytes.to_vec(), &*self.clock);
        lock().push(decoder);
        let frame = frame.ok_or_else(|| damaged(image.kind))?;
        let Size { width, height } = frame.pixels.info().size;
        if u64::from(width) * u64::from(height) > self.most {
            return Err(damaged(image.kind));
        }
        Ok(frame)
    }
}

fn damaged(kind: &str) -> Problem {
    let detail = format!("the {kind} does not decode: it is damaged, cut short, or of a kind that is not known");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// What kind of image it is, and its size, pixels.
fn measured(bytes: &[u8]) -> Result<(&'static str, Size), Problem> {
    let stated = || ImageFile::of(bytes).size.map(|(width, height)| Size { width, height });
    let (kind, size) = match bytes {
        [0xff, 0xd8, 0xff, ..] => {
            let (scans, stated) = markers(bytes);
            if scans > SCANS {
                return Err(damaged("JPEG"));
            }
            let pixels = |size: &Size| u64::from(size.width) * u64::from(size.height);
            ("JPEG", by_head(bytes).and_then(|size| [Some(size), stated].into_iter().flatten().max_by_key(pixels)))
        }
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => ("PNG", by_head(bytes)),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ("WebP", by_head(bytes)),
        [b'B', b'M', ..] => ("BMP", stated()),
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => ("TIFF", stated()),
        _ => return Err(no_image(bytes)),
    };
    size.map(|size| (kind, size)).ok_or_else(|| damaged(kind))
}

/// That something is no image that is taken, and what was seen instead.
fn no_image(bytes: &[u8]) -> Problem {
    let seen = match (ImageFile::of(bytes).undecodable, bytes) {
        (Some((format, converter)), _) => format!("{format}; convert it first: {converter}"),
        (None, []) => "nothing".into(),
        (None, [b'G', b'I', b'F', b'8', ..]) => "GIF".into(),
        (None, [b'%', b'P', b'D', b'F', ..]) => "PDF".into(),
        (None, [_, _, _, _, b'f', b't', b'y', b'p', ..]) => "MP4 video".into(),
        (None, bytes) => {
            let start = &bytes[..bytes.len().min(SHOWN)];
            match std::str::from_utf8(start) {
                Ok(text) => format!("text that begins with {:?}", printable(text)),
                Err(_) => format!("bytes that begin with {start:02x?}"),
            }
        }
    };
    let detail = format!("JPEG, PNG, WebP, BMP and TIFF are taken; this is {seen}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

fn by_head(bytes: &[u8]) -> Option<Size> {
    let size = imagesize::blob_size(bytes).ok()?;
    Some(Size { width: u32::try_from(size.width).ok()?, height: u32::try_from(size.height).ok()? })
}

/// Scans in a JPEG's bytes, and the largest size that any frame header in them states (ITU-T T.81, B.2.2): readers do not agree on what
/// lies between its markers.
fn markers(bytes: &[u8]) -> (usize, Option<Size>) {
    let pixels = |size: &Size| u64::from(size.width) * u64::from(size.height);
    let (mut scans, mut largest) = (0, None);
    for at in memchr::memchr_iter(0xff, bytes) {
        match bytes[at + 1..] {
            [0xda, ..] => scans += 1,
            [0xc0..=0xcf, high, low, _, tall, tall_low, wide, wide_low, parts, ..]
                if !matches!(bytes[at + 1], 0xc4 | 0xc8 | 0xcc) =>
            {
                let length = u16::from_be_bytes([high, low]);
                let [height, width] =
                    [[tall, tall_low], [wide, wide_low]].map(|side| u32::from(u16::from_be_bytes(side)));
                let is_frame = parts > 0 && length == 8 + 3 * u16::from(parts);
                largest = is_frame.then_some(Size { width, height }).into_iter().chain(largest).max_by_key(pixels);
            }
            _ => {}
        }
    }
    (scans, largest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(bytes: &[u8]) -> Result<Size, u16> {
        measured(bytes).map(|(_, size)| size).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn sizes_are_read_without_decoding() {
        let wide = Size { width: 30_000, height: 20_000 };
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".as_slice(), &30_000u32.to_be_bytes(), &20_000u32.to_be_bytes()];
        assert_eq!(size(&png.concat()), Ok(wide));
        for height in [20_000i32, -20_000] {
            let head =
                [b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0".as_slice(), &30_000i32.to_le_bytes(), &height.to_le_bytes()];
            assert_eq!(size(&head.concat()), Ok(wide));
        }
        let entry = |tag: u16, kind: u16, value: u32| {
            [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes()].concat()
        };
        // Of a side that is stated twice the larger counts, whichever a decoder takes.
        let entries = [entry(256, 3, 1), entry(256, 4, 30_000), entry(257, 4, 20_000), entry(257, 1, 1)].concat();
        let tiff = |entries: &[u8]| [b"II*\0\x08\0\0\0\x04\0", entries, &[0; 4]].concat();
        assert_eq!(size(&tiff(&entries)), Ok(wide));
        // A kind that no side is written in.
        assert_eq!(
            size(&tiff(&[entry(256, 3, 1), entry(257, 3, 1), entry(256, 16, 9), entry(1, 3, 1)].concat())),
            Err(422)
        );
        assert_eq!(size(b"II*\0\xff\0\0\0"), Err(422));
    }

    #[test]
    fn what_is_no_image_is_named() {
        for (bytes, seen) in [
            (&b"GIF89a"[..], "GIF"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
            (b"", "nothing"),
            (b"<html>\x1b", "text that begins with \"<html>?\""),
            (b"\x7fELF\xff", "bytes that begin with"),
        ] {
            let problem = measured(bytes).expect_err("it is none");
            assert_eq!(problem.status(), 415);
            assert!(problem.detail().contains(seen), "{}", problem.detail());
        }
        let scans = [b"\xff\xd8\xff".as_slice(), &b"\xff\xda".repeat(SCANS + 1)].concat();
        assert_eq!(size(&scans), Err(422));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(start in 0usize..6, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let starts: [&[u8]; 6] = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM", b"II*\0", b"MM\0*"];
            let _ = measured(&[starts[start], &bytes].concat());
        }
    }

    #[test]
    fn of_a_jpeg_the_largest_size_that_is_stated_counts() {
        let head = |width: u16, height: u16| {
            let [w, h] = [width, height].map(u16::to_be_bytes);
            [0xff, 0xc0, 0, 11, 8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]
        };
        let small = Size { width: 16, height: 16 };
        // Behind a marker without a length, which readers take for different things.
        let forged = [&[0xff, 0xd8, 0xff, 0xd0, 0xff, 0xe1, 0, 15][..], &head(16, 16), &head(30_000, 20_000)].concat();
        let large = Size { width: 30_000, height: 20_000 };
        assert_eq!(markers(&forged).1, Some(large));
        assert_eq!(markers(&[head(30_000, 20_000), head(16, 16)].concat()).1, Some(large), "a thumbnail is no larger");
        assert_eq!(markers(&head(16, 16)).1, Some(small));
        assert_eq!(markers(&[0xff, 0xc0, 0, 9, 8, 255, 255, 255, 255, 1]).1, None, "no frame header");
        assert_eq!(markers(&[0xff, 0xff, 0xda, 0xff, 0xda, 0xff]), (2, None));
    }
}
