//! Images that come as RGB or grey (PNG, WebP, some JPEG), turned into the planes that the pipeline works on.
//!
//! `videoconvert` would do it in limited range and rounds down, which darkens every image by almost one step of 8 bits;
//! and of grey images it copies the full range and calls it limited. Here it is done as JPEG files have it: full range,
//! BT.601, rounded to nearest (JFIF 1.02, and ITU-T T.871, section 7). The crate `yuv` 0.8 does so too, but not to the
//! bit: of all 2^24 colours, 0.35 % differ by one in Y, 0.36 % in Cb and 0.41 % in Cr.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::geometry::Size;

/// Fractional bits of the products.
const BITS: i32 = 16;

/// The image as 4:4:4 with its description; what is YUV already comes back as it is. `None` when the buffer cannot be
/// mapped.
pub(super) fn to_yuv(buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Option<(gst::Buffer, gst_video::VideoInfo)> {
    let grey = match video.format() {
        gst_video::VideoFormat::Rgb => false,
        gst_video::VideoFormat::Gray8 => true,
        _ => return Some((buffer, video.clone())),
    };
    // Grey stills use the full range, whatever their decoder leaves open; grey video says what it uses.
    let still = video.fps().numer() == 0;
    let colorimetry = video.colorimetry();
    let limited = grey && !still && colorimetry.range() == gst_video::VideoColorRange::Range16_235;
    let range = if limited { gst_video::VideoColorRange::Range16_235 } else { gst_video::VideoColorRange::Range0_255 };
    let converted = gst_video::VideoInfo::builder(gst_video::VideoFormat::Y444, video.width(), video.height())
        .fps(video.fps())
        .par(video.par())
        .colorimetry(&gst_video::VideoColorimetry::new(
            range,
            gst_video::VideoColorMatrix::Bt601,
            colorimetry.transfer(),
            colorimetry.primaries(),
        ))
        .build()
        .ok()?;

    let size = Size { width: video.width(), height: video.height() };
    let source = gst_video::VideoFrame::from_buffer_readable(buffer, video).ok()?;
    let target = gst::Buffer::with_size(converted.size()).ok()?;
    let mut target = gst_video::VideoFrame::from_buffer_writable(target, &converted).ok()?;
    let row = usize::try_from(source.plane_stride()[0]).ok()?;
    let stride = usize::try_from(target.plane_stride()[0]).ok()?;
    let [y, u, v, _] = target.planes_data_mut();
    convert(source.plane_data(0).ok()?, row, grey, size, [y, u, v], stride);
    let mut buffer = target.into_buffer();
    source.buffer().copy_into(buffer.get_mut()?, gst::BUFFER_COPY_METADATA, ..).ok()?;
    Some((buffer, converted))
}

/// Converts rows that lie `row` bytes apart into planes whose rows lie `stride` apart.
fn convert(from: &[u8], row: usize, grey: bool, size: Size, [y, u, v]: [&mut [u8]; 3], stride: usize) {
    let width = size.width as usize;
    let planes = y.chunks_mut(stride).zip(u.chunks_mut(stride)).zip(v.chunks_mut(stride));
    for (((y, u), v), from) in planes.zip(from.chunks(row)).take(size.height as usize) {
        let (y, u, v) = (&mut y[..width], &mut u[..width], &mut v[..width]);
        if grey {
            y.copy_from_slice(&from[..width]);
            u.fill(128);
            v.fill(128);
            continue;
        }
        let pixels = from.as_chunks::<3>().0;
        for (((y, u), v), pixel) in y.iter_mut().zip(u).zip(v).zip(pixels) {
            [*y, *u, *v] = ycc(*pixel);
        }
    }
}

/// One pixel, full range, BT.601.
fn ycc(rgb: [u8; 3]) -> [u8; 3] {
    /// Rows for Y, Cb, Cr: factors on red, green and blue, in units of 2^-16. Each row sums to 1 or 0 exactly, so that
    /// grey stays grey.
    const FACTORS: [[i32; 3]; 3] = [[19_595, 38_470, 7_471], [-11_058, -21_710, 32_768], [32_768, -27_439, -5_329]];
    const HALF: i32 = 1 << (BITS - 1);
    std::array::from_fn(|channel| {
        let sum: i32 = FACTORS[channel].iter().zip(rgb).map(|(factor, value)| factor * i32::from(value)).sum();
        let zero = if channel == 0 { 0 } else { 128 };
        // Pure blue and pure red are half a step beyond 255.
        u8::try_from(((sum + HALF) >> BITS) + zero).unwrap_or(u8::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rgb(pixel: [u8; 3]) -> [f64; 3] {
        let [y, u, v] = ycc(pixel).map(f64::from);
        let (u, v) = (u - 128.0, v - 128.0);
        [y + 1.402 * v, y - 0.344_136 * u - 0.714_136 * v, y + 1.772 * u].map(|value| value.clamp(0.0, 255.0))
    }

    #[test]
    fn primaries_come_out_as_jfif_has_them() {
        assert_eq!(ycc([0, 0, 0]), [0, 128, 128]);
        assert_eq!(ycc([255, 255, 255]), [255, 128, 128]);
        assert_eq!(ycc([255, 0, 0]), [76, 85, 255]);
        assert_eq!(ycc([0, 255, 0]), [150, 44, 21]);
        assert_eq!(ycc([0, 0, 255]), [29, 255, 107]);
    }

    #[test]
    fn grey_still_is_full_range_and_unchanged() {
        gst::init().expect("GStreamer starts");
        let video = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 5, 3).fps(gst::Fraction::new(0, 1));
        let video = video.build().expect("a description");
        let mut bytes = vec![0; video.size()];
        for (y, row) in bytes.chunks_mut(8).enumerate() {
            row[..5].copy_from_slice(&[0, 10, 128, 250, u8::try_from(y).expect("small")]);
        }
        let (buffer, converted) = to_yuv(gst::Buffer::from_slice(bytes), &video).expect("an image");
        assert_eq!(converted.colorimetry().range(), gst_video::VideoColorRange::Range0_255);
        let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &converted).expect("an image");
        let stride = usize::try_from(frame.plane_stride()[0]).expect("positive");
        assert_eq!(frame.plane_data(0).expect("luma")[stride..stride + 5], [0, 10, 128, 250, 1]);
        assert_eq!(frame.plane_data(2).expect("chroma")[2 * stride..2 * stride + 5], [128; 5]);
    }

    proptest! {
        #[test]
        fn colours_survive(pixel in any::<[u8; 3]>()) {
            for (back, value) in rgb(pixel).into_iter().zip(pixel) {
                // Half a step of luma and of chroma, the latter times 1.772 at most.
                prop_assert!((back - f64::from(value)).abs() <= 1.4, "{pixel:?} became {:?}", rgb(pixel));
            }
        }
    }
}
