//! The view of one object: cut out of its frame, and how good it is.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::detection::Detection;
use crate::frame::pixelate::Pixelation;
use crate::frame::{FrameInfo, FrameViewMut, VideoBuffer, planes_mut};
use crate::geometry::{FrameBox, Size, px};

/// A view is better that is better by so much: not every frame is encoded while an object comes closer.
const BETTER: f32 = 1.1;

/// How good the view of `d` in a frame of `size` (pixels) is, where it is better than the `best` before: the larger and the surer, the
/// better; what the frame's edge cuts is half a view.
pub(crate) fn better(d: &Detection, size: Size, best: Option<f32>) -> Option<f32> {
    let (width, height) = (px(size.width), px(size.height));
    let b = &d.bbox;
    let whole = b.x1 > 1.0 && b.y1 > 1.0 && b.x2 < width - 1.0 && b.y2 < height - 1.0;
    let value = d.confidence * b.area().sqrt() * if whole { 1.0 } else { 0.5 };
    (!best.is_some_and(|best| value < best * BETTER)).then_some(value)
}

/// Whole pixels of `bbox` that start on a chroma sample: `(x, y, width, height)`, at least one pixel.
fn pixels(info: &FrameInfo, bbox: &FrameBox) -> [usize; 4] {
    let (across, down) = info.format.chroma_shift();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clipped to the frame")]
    let axis = |low: f32, high: f32, side: u32, shift: u32| {
        let low = (low.floor().max(0.0) as u32).min(side - 1) >> shift << shift;
        let high = (high.ceil().max(0.0) as u32).clamp(low + 1, side.max(low + 1));
        (low as usize, (high - low) as usize)
    };
    let (x, width) = axis(bbox.x1, bbox.x2, info.size.width, across);
    let (y, height) = axis(bbox.y1, bbox.y2, info.size.height, down);
    [x, y, width, height]
}

/// The part of the frame inside `bbox`, copied; what is to be pixelated of all that was found in the frame is.
pub(crate) fn cut_out(
    frame: &VideoBuffer,
    bbox: &FrameBox,
    pixelation: &Pixelation,
    found: &[Detection],
) -> Result<(gst::Buffer, gst_video::VideoInfo), gst::glib::BoolError> {
    let info = frame.info();
    let [x, y, width, height] = pixels(&info, bbox);
    let source = frame.video_info();
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let video = gst_video::VideoInfo::builder(source.format(), side(width), side(height))
        .colorimetry(&source.colorimetry())
        .build()?;
    let buffer = gst::Buffer::with_size(video.size())?;
    let mut target = gst_video::VideoFrame::from_buffer_writable(buffer, &video)
        .map_err(|_| gst::glib::bool_error!("the crop cannot be mapped"))?;
    let view = frame.view();
    for (index, plane) in view.planes.iter().enumerate().take(info.format.planes()) {
        let stride = usize::try_from(target.plane_stride()[index]).unwrap_or(0);
        let (across, down) = if index == 0 { (0, 0) } else { info.format.chroma_shift() };
        let pixel = if index == 1 && info.format.planes() == 2 { 2 } else { 1 };
        let bytes = width.div_ceil(1 << across) * pixel;
        let first = (y >> down) * plane.stride + (x >> across) * pixel;
        let rows = height.div_ceil(1 << down);
        let data = target.plane_data_mut(u32::try_from(index).unwrap_or(0))?;
        for (to, from) in data.chunks_mut(stride).zip(plane.data[first..].chunks(plane.stride)).take(rows) {
            to[..bytes].copy_from_slice(&from[..bytes]);
        }
    }
    let part = FrameInfo { size: Size { width: side(width), height: side(height) }, ..info };
    let mut part = FrameViewMut { info: part, planes: planes_mut(&mut target), hdr: None };
    pixelation.apply(&mut part, found, (px(side(x)), px(side(y))));
    Ok((target.into_buffer(), video))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChromaSite, Colour, Matrix, PixelFormat, Range};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_crop_lies_inside_the_frame(
            w in 1u32..50, h in 1u32..50, x1 in -9f32..60., y1 in -9f32..60., x2 in -9f32..60., y2 in -9f32..60.
        ) {
            let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
            let info = FrameInfo { format: PixelFormat::I420, size: Size { width: w, height: h }, colour };
            let [x, y, width, height] = pixels(&info, &FrameBox::new(x1, y1, x2, y2));
            prop_assert!(width > 0 && height > 0 && x % 2 == 0 && y % 2 == 0);
            prop_assert!(x + width <= w as usize && y + height <= h as usize);
        }
    }
}
