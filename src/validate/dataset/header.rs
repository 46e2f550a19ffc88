//! What an image's header says: size as displayed, how it is turned, whether it has colours.

use std::fs::File;
use std::io::{BufReader, Error, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crate::geometry::{FrameBox, Size, px};
use crate::image_file::ImageFile;

/// Bytes of an EXIF block that are looked at; orientation stands in its first directory.
const EXIF: u64 = 64 << 10;
/// Segments before a JPEG's frame header, at most.
const SEGMENTS: usize = 10_000;

/// An image's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Size as displayed, turned as the file says.
    pub size: Size,
    /// EXIF's orientation, 1..=8; 1 is upright.
    pub orientation: u8,
    /// Whether it is stored without colours.
    pub grey: bool,
}

impl Header {
    /// Brings a box from the image as displayed to a dataset that states `stated` as its size.
    ///
    /// Labels are taken to be on the image as displayed, as `cv2.imread` and Ultralytics load it. A dataset that states
    /// the size of the unturned pixels means those; any other size means that the image was scaled.
    #[must_use]
    pub fn stated_from_displayed(&self, bbox: &FrameBox, stated: Size) -> FrameBox {
        let shown = self.size;
        let turned = Size { width: shown.height, height: shown.width };
        if stated == shown {
            return *bbox;
        }
        if stated == turned && self.orientation >= 5 {
            let (w, h) = (px(shown.width), px(shown.height));
            // Where a displayed point lies in the stored pixels.
            let stored = |x: f32, y: f32| match self.orientation {
                5 => (y, x),
                6 => (y, w - x),
                7 => (h - y, w - x),
                _ => (h - y, x),
            };
            let ((ax, ay), (bx, by)) = (stored(bbox.x1, bbox.y1), stored(bbox.x2, bbox.y2));
            return FrameBox::new(ax.min(bx), ay.min(by), ax.max(bx), ay.max(by));
        }
        let (sx, sy) = (px(stated.width) / px(shown.width), px(stated.height) / px(shown.height));
        FrameBox::new(bbox.x1 * sx, bbox.y1 * sy, bbox.x2 * sx, bbox.y2 * sy)
    }

    /// Whether `stated` is the size of the image, turned or not.
    #[must_use]
    pub fn fits(&self, stated: Size) -> bool {
        let turned = Size { width: self.size.height, height: self.size.width };
        stated == self.size || (self.orientation >= 5 && stated == turned)
    }
}

/// Reads the header of the image at `path`.
///
/// # Errors
/// When it cannot be read or is no image that is known.
pub fn read(path: &Path) -> std::io::Result<Header> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut reader = BufReader::new(File::open(path)?);
    let mut start = [0; 26];
    let mut filled = 0;
    while filled < start.len() {
        match reader.read(&mut start[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    reader.seek(SeekFrom::Start(0))?;
    match start {
        [0xff, 0xd8, ..] => jpeg(&mut reader),
        [0x89, b'P', b'N', b'G', ..] if filled == start.len() => {
            let side = |at: usize| u32::from_be_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
            sized(side(16), side(20), ImageFile::read(path).orientation, matches!(start[25], 0 | 4))
        }
        _ => {
            let size = imagesize::reader_size(&mut reader).map_err(|_| no_image())?;
            let side = |n: usize| u32::try_from(n).map_err(|_| no_image());
            sized(side(size.width)?, side(size.height)?, ImageFile::read(path).orientation, false)
        }
    }
}

fn no_image() -> Error {
    Error::new(ErrorKind::InvalidData, "not an image")
}

fn sized(width: u32, height: u32, orientation: u8, grey: bool) -> std::io::Result<Header> {
    if width == 0 || height == 0 || width > 1 << 20 || height > 1 << 20 {
        return Err(no_image());
    }
    let size = if orientation >= 5 { Size { width: height, height: width } } else { Size { width, height } };
    Ok(Header { size, orientation, grey })
}

/// Segments up to the frame header, with the orientation on the way.
fn jpeg(reader: &mut (impl Read + Seek)) -> std::io::Result<Header> {
    reader.seek(SeekFrom::Start(2))?;
    let mut orientation = 1;
    for _ in 0..SEGMENTS {
        let mut marker = [0; 2];
        reader.read_exact(&mut marker)?;
        // Fill bytes may stand before a marker.
        while marker == [0xff, 0xff] {
            reader.read_exact(&mut marker[1..])?;
        }
        match marker {
            [0xff, 0x01 | 0xd0..=0xd8] => continue,
            [0xff, _] => {}
            _ => return Err(no_image()),
        }
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        let length = u64::from(u16::from_be_bytes(length)).checked_sub(2).ok_or_else(no_image)?;
        match marker[1] {
            // Start of frame, of any kind but tables (C4, C8, CC).
            0xc0..=0xcf if !matches!(marker[1], 0xc4 | 0xc8 | 0xcc) => {
                let mut frame = [0; 6];
                reader.read_exact(&mut frame)?;
                let side = |at: usize| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
                return sized(side(3), side(1), orientation, frame[5] == 1);
            }
            0xe1 => {
                let mut exif = Vec::new();
                reader.by_ref().take(length.min(EXIF)).read_to_end(&mut exif)?;
                orientation = exif_orientation(&exif).unwrap_or(orientation);
                let rest = length - exif.len() as u64;
                reader.seek(SeekFrom::Current(i64::try_from(rest).map_err(|_| no_image())?))?;
            }
            0xd9 | 0xda => break,
            _ => {
                reader.seek(SeekFrom::Current(i64::try_from(length).map_err(|_| no_image())?))?;
            }
        }
    }
    Err(no_image())
}

/// Tag 0x0112 of the first directory of an EXIF block (TIFF 6.0).
fn exif_orientation(exif: &[u8]) -> Option<u8> {
    let tiff = exif.strip_prefix(b"Exif\0\0")?;
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = [*tiff.get(at)?, *tiff.get(at + 1)?];
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let (a, b) = (u32::from(short(at)?), u32::from(short(at + 2)?));
        Some(if little { b << 16 | a } else { a << 16 | b })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let entries = usize::from(short(directory)?);
    let entry = (0..entries).map(|n| directory + 2 + 12 * n).find(|at| short(*at) == Some(0x0112))?;
    let value = u8::try_from(short(entry + 8)?).ok()?;
    (1..=8).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A JPEG's head: EXIF with an orientation, then a frame header of 40×30.
    fn head(orientation: u16, components: u8) -> Vec<u8> {
        let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
        exif.extend(orientation.to_be_bytes());
        exif.extend([0; 6]);
        let mut file = vec![0xff, 0xd8, 0xff, 0xe1];
        file.extend(u16::try_from(exif.len() + 2).expect("short").to_be_bytes());
        file.extend(&exif);
        file.extend([0xff, 0xff, 0xc0, 0, 8 + 3 * components, 8, 0, 30, 0, 40, components]);
        file
    }

    fn parsed(file: &[u8]) -> std::io::Result<Header> {
        jpeg(&mut std::io::Cursor::new(file))
    }

    #[test]
    fn a_turned_image_is_as_large_as_it_is_displayed() {
        let upright = parsed(&head(1, 3)).expect("a header");
        assert_eq!(upright, Header { size: Size { width: 40, height: 30 }, orientation: 1, grey: false });
        let turned = parsed(&head(6, 1)).expect("a header");
        assert_eq!(turned, Header { size: Size { width: 30, height: 40 }, orientation: 6, grey: true });
    }

    /// Every orientation's corner: where the stored top left pixel is displayed (EXIF 2.3, 4.6.4 A).
    #[test]
    fn boxes_go_back_to_the_stored_pixels() {
        let stated = Size { width: 40, height: 30 };
        // The displayed box around the stored (0, 0)-(2, 1), for orientations 5 to 8 of a 30×40 display.
        let cases = [
            (5, [0.0, 0.0, 1.0, 2.0]),
            (6, [29.0, 0.0, 30.0, 2.0]),
            (7, [29.0, 38.0, 30.0, 40.0]),
            (8, [0.0, 38.0, 1.0, 40.0]),
        ];
        for (orientation, [x1, y1, x2, y2]) in cases {
            let header = Header { size: Size { width: 30, height: 40 }, orientation, grey: false };
            let stored = header.stated_from_displayed(&FrameBox::new(x1, y1, x2, y2), stated);
            assert_eq!(stored, FrameBox::new(0.0, 0.0, 2.0, 1.0), "orientation {orientation}");
        }
        let upright = Header { size: Size { width: 80, height: 60 }, orientation: 1, grey: false };
        let scaled = upright.stated_from_displayed(&FrameBox::new(10.0, 20.0, 30.0, 40.0), stated);
        assert_eq!(scaled, FrameBox::new(5.0, 10.0, 15.0, 20.0));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(mut file in proptest::collection::vec(any::<u8>(), 0..300), keep in 0usize..60) {
            let _ = parsed(&file);
            let _ = exif_orientation(&[b"Exif\0\0II*\0", file.as_slice()].concat());
            let start = head(6, 3);
            file.splice(0..0, start[..keep.min(start.len())].iter().copied());
            let _ = parsed(&file);
        }
    }
}
