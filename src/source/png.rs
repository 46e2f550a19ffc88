//! PNG images that are decoded here, or not at all: of a damaged one, `pngdec` leaks the memory and `gdkpixbufdec` shows what it could read
//! (GStreamer 1.22).

use std::io::Cursor;
use std::path::Path;

use gstreamer as gst;
use gstreamer_video as gst_video;
use png::{ColorType, Decoder, Transformations};

use crate::image_file::whole;

/// What it begins with.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Whether these are the bytes of one.
pub(super) fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE)
}

/// Whether `path` is one that does not decode.
pub(super) fn is_damaged(path: &Path) -> bool {
    whole(path).is_some_and(|bytes| is_png(&bytes) && decode(&bytes).is_none())
}

/// Its pixels: 8 bits, grey, RGB or RGBA. `None` where a checksum is wrong, data is missing, or it is no PNG.
pub(super) fn decode(bytes: &[u8]) -> Option<(gst::Buffer, gst_video::VideoInfo)> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.ignore_checksums(false);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let shown = reader.next_frame(&mut pixels).ok()?;
    let (format, channels) = match shown.color_type {
        ColorType::Grayscale => (gst_video::VideoFormat::Gray8, 1),
        ColorType::Rgb => (gst_video::VideoFormat::Rgb, 3),
        ColorType::Rgba => (gst_video::VideoFormat::Rgba, 4),
        ColorType::GrayscaleAlpha => {
            pixels = pixels.chunks_exact(2).flat_map(|grey| [grey[0], grey[0], grey[0], grey[1]]).collect();
            (gst_video::VideoFormat::Rgba, 4)
        }
        ColorType::Indexed => return None,
    };
    let video =
        gst_video::VideoInfo::builder(format, shown.width, shown.height).fps(gst::Fraction::new(0, 1)).build().ok()?;
    let (row, stride) = (shown.width as usize * channels, usize::try_from(video.stride()[0]).ok()?);
    if row < stride {
        let mut padded = vec![0; video.size()];
        for (to, from) in padded.chunks_mut(stride).zip(pixels.chunks(row)) {
            to[..row].copy_from_slice(from);
        }
        pixels = padded;
    }
    Some((gst::Buffer::from_mut_slice(pixels), video))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks with right checksums.
    fn file((width, height): (u32, u32), kind: ColorType, data: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, kind as u8, 0, 0, 0]].concat();
        for (name, data) in [(b"IHDR", &head[..]), (b"IDAT", data), (b"IEND", &[])] {
            let mut crc = flate2::Crc::new();
            crc.update(name);
            crc.update(data);
            let length = u32::try_from(data.len()).expect("short");
            bytes.extend([&length.to_be_bytes()[..], name, data, &crc.sum().to_be_bytes()].concat());
        }
        bytes
    }

    fn deflated(data: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn pixels_are_what_was_encoded_in_rows_of_gstreamer() {
        gst::init().expect("GStreamer");
        // Two rows of three pixels, each after its filter.
        let row = |pixel: &[u8]| [&[0][..], pixel, pixel, pixel].concat();
        for (kind, pixel, stored) in [
            (ColorType::Grayscale, &[7][..], &[7][..]),
            (ColorType::Rgb, &[1, 2, 3], &[1, 2, 3]),
            (ColorType::Rgba, &[1, 2, 3, 4], &[1, 2, 3, 4]),
            (ColorType::GrayscaleAlpha, &[7, 9], &[7, 7, 7, 9]),
        ] {
            let (buffer, video) = decode(&file((3, 2), kind, &deflated(&row(pixel).repeat(2)))).expect("it is whole");
            let (map, stride) =
                (buffer.map_readable().expect("memory"), usize::try_from(video.stride()[0]).expect("it"));
            assert_eq!((map.len(), stride % 4), (video.size(), 0));
            for row in 0..2 {
                assert_eq!(map[row * stride..][..3 * stored.len()], stored.repeat(3), "{kind:?}");
            }
        }
    }

    #[test]
    fn what_is_damaged_gives_nothing() {
        gst::init().expect("GStreamer");
        let rows = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].repeat(64);
        let (size, whole) = ((3, 64), deflated(&rows));
        let (mut broken, mut filter, mut checksum) = (whole.clone(), rows.clone(), file(size, ColorType::Rgb, &whole));
        let (middle, last) = (broken.len() / 2, checksum.len() - 13);
        broken[middle] ^= 0xff;
        filter[10] = 9;
        checksum[last] ^= 1;
        assert!(decode(&file(size, ColorType::Rgb, &whole)).is_some());
        for (what, bytes) in [
            ("broken", file(size, ColorType::Rgb, &broken)),
            ("cut", file(size, ColorType::Rgb, &whole[..middle])),
            ("empty", file(size, ColorType::Rgb, &[])),
            ("nothing compressed", file((8000, 8000), ColorType::Rgb, &deflated(&[]))),
            ("rows are missing", file((3, 65), ColorType::Rgb, &whole)),
            ("filter", file(size, ColorType::Rgb, &deflated(&filter))),
            ("checksum", checksum),
            ("end", file(size, ColorType::Rgb, &whole)[..60].to_vec()),
        ] {
            assert!(decode(&bytes).is_none(), "{what}");
        }
    }
}
