//! A decoded frame: the decoder's own buffer, mapped for reading. Nothing is copied here.

use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::hdr::Transfer;
use super::{ChromaSite, Colour, FrameInfo, FrameView, Matrix, PixelFormat, Plane, PlaneMut, Range};
use crate::geometry::Size;

/// The decoder's buffer with its layout. Dropping it gives the buffer back to the decoder's pool.
#[derive(Debug)]
pub struct VideoBuffer {
    frame: gst_video::VideoFrame<gst_video::video_frame::Readable>,
    /// As the caps say: the mapped frame's own description has this buffer's strides, which no other buffer shares.
    video: gst_video::VideoInfo,
    info: FrameInfo,
    /// What is written in its stead.
    original: Option<Box<Original>>,
}

/// A frame to be copied and drawn on, with its description.
#[derive(Debug, Clone, Copy)]
pub struct Drawable<'a> {
    /// The frame.
    pub frame: &'a gst_video::VideoFrame<gst_video::video_frame::Readable>,
    /// For the sink's caps and for copies.
    pub video: &'a gst_video::VideoInfo,
    /// How it is coded, where it is HDR.
    pub hdr: Option<Transfer>,
}

/// An HDR frame as it was decoded.
#[derive(Debug)]
struct Original {
    frame: gst_video::VideoFrame<gst_video::video_frame::Readable>,
    video: gst_video::VideoInfo,
}

impl VideoBuffer {
    /// Maps a decoded buffer. `tagged` says whether the stream itself states its colours; an untagged one is read as
    /// BT.601, as ffmpeg and `OpenCV` read it, since that is what models are trained and compared on.
    ///
    /// Returns `None` for a layout that is not one of [`PixelFormat`]'s, or a buffer that cannot be mapped.
    #[must_use]
    pub fn map(buffer: gstreamer::Buffer, video: gst_video::VideoInfo, tagged: bool) -> Option<Self> {
        let info = frame_info(&video, tagged)?;
        let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &video).ok()?;
        Some(Self { frame, video, info, original: None })
    }

    /// The same, to be written as the HDR frame in `buffer`, which it was tone-mapped from; `None` where that cannot be mapped.
    #[must_use]
    pub fn written_as(self, buffer: gstreamer::Buffer, video: gst_video::VideoInfo) -> Option<Self> {
        let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &video).ok()?;
        Some(Self { original: Some(Box::new(Original { frame, video })), ..self })
    }

    /// Format, size, colour.
    #[must_use]
    pub fn info(&self) -> FrameInfo {
        self.info
    }

    /// `GStreamer`'s description of what [`Self::view`] shows.
    #[must_use]
    pub fn video_info(&self) -> &gst_video::VideoInfo {
        &self.video
    }

    /// The frame that [`Self::view`] shows.
    #[must_use]
    pub fn shown(&self) -> Drawable<'_> {
        Drawable { frame: &self.frame, video: &self.video, hdr: None }
    }

    /// The frame to be written to a video.
    #[must_use]
    pub fn output(&self) -> Drawable<'_> {
        self.original.as_ref().map_or_else(
            || self.shown(),
            |original| Drawable { frame: &original.frame, video: &original.video, hdr: Transfer::of(&original.video) },
        )
    }

    /// The planes, to read.
    #[must_use]
    pub fn view(&self) -> FrameView<'_> {
        let mut planes = [Plane { data: &[], stride: 0 }; 3];
        for (index, plane) in planes.iter_mut().enumerate().take(self.info.format.planes()) {
            let stride = usize::try_from(self.frame.plane_stride()[index]).unwrap_or(0);
            let number = u32::try_from(index).unwrap_or(0);
            if let Ok(data) = self.frame.plane_data(number) {
                *plane = Plane { data, stride };
            }
        }
        FrameView { info: self.info, planes }
    }
}

/// The planes of a frame that is made here, to write; those that it does not have are empty.
pub fn planes_mut(frame: &mut gst_video::VideoFrame<gst_video::video_frame::Writable>) -> [PlaneMut<'_>; 3] {
    let strides: [usize; 3] =
        std::array::from_fn(|at| frame.plane_stride().get(at).and_then(|s| usize::try_from(*s).ok()).unwrap_or(0));
    let [y, u, v, _] = frame.planes_data_mut();
    let plane = |data, stride| PlaneMut { data, stride };
    [plane(y, strides[0]), plane(u, strides[1]), plane(v, strides[2])]
}

fn frame_info(video: &gst_video::VideoInfo, tagged: bool) -> Option<FrameInfo> {
    let format = match video.format() {
        gst_video::VideoFormat::I420 => PixelFormat::I420,
        gst_video::VideoFormat::Nv12 => PixelFormat::Nv12,
        gst_video::VideoFormat::Y42b => PixelFormat::Y42b,
        gst_video::VideoFormat::Y444 => PixelFormat::Y444,
        _ => return None,
    };
    let colorimetry = video.colorimetry();
    let matrix = match colorimetry.matrix() {
        gst_video::VideoColorMatrix::Bt709 if tagged => Matrix::Bt709,
        gst_video::VideoColorMatrix::Bt2020 if tagged => Matrix::Bt2020,
        _ => Matrix::Bt601,
    };
    let range =
        if colorimetry.range() == gst_video::VideoColorRange::Range0_255 { Range::Full } else { Range::Limited };
    // Where chroma sits, streams hardly ever say and parsers do not pass on: what the description has is the decoder's
    // own default, the left luma sample for H.264. ffmpeg and OpenCV, with which models are compared, give every luma
    // sample of a block the block's chroma, which centres it: read so, colours differ from theirs by 0.5 steps of 8 bits
    // (standard deviation, red, a clip of strong colours), else by 1.4.
    let site = ChromaSite::Centre;
    let size = Size { width: video.width(), height: video.height() };
    Some(FrameInfo { format, size, colour: Colour { matrix, range, site } })
}
