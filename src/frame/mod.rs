//! What travels through the pipeline: a frame, its planes, its place in the stream, and the stamps it collects.
//!
//! Stages see frames as plain slices ([`FrameView`], [`FrameViewMut`]); only source and sink know what holds them.

mod buffer;
pub mod hdr;
pub mod pixelate;
mod pool;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{HostTime, StreamTime};
use crate::detection::{Detection, FrameEvent};
use crate::geometry::{Letterbox, Region, Size};
use crate::stream::StreamId;
use crate::telemetry::Sample;
use crate::telemetry::ground::{Position, Unlocated};

pub use buffer::{Drawable, VideoBuffer, planes_mut};
pub use pool::FramePool;

/// Pixel layouts that travel through the pipeline: 8-bit YUV, as the decoder left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Three planes Y, U, V; chroma halved across and down.
    I420,
    /// Two planes: Y, and U and V interleaved; chroma halved across and down.
    Nv12,
    /// Three planes Y, U, V; chroma halved across (4:2:2).
    Y42b,
    /// Three planes Y, U, V at full size (4:4:4).
    Y444,
}

impl PixelFormat {
    /// How much chroma is subsampled: `(log2 across, log2 down)`.
    #[must_use]
    pub fn chroma_shift(self) -> (u32, u32) {
        match self {
            Self::I420 | Self::Nv12 => (1, 1),
            Self::Y42b => (1, 0),
            Self::Y444 => (0, 0),
        }
    }

    /// Number of planes in memory.
    #[must_use]
    pub fn planes(self) -> usize {
        if self == Self::Nv12 { 2 } else { 3 }
    }
}

/// The YUV→RGB matrix (ITU-R BT.601, BT.709, BT.2020 non-constant luminance).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// Kr 0.299, Kb 0.114.
    Bt601,
    /// Kr 0.2126, Kb 0.0722.
    Bt709,
    /// Kr 0.2627, Kb 0.0593.
    Bt2020,
}

impl Matrix {
    /// `(Kr, Kb)` of the standard.
    #[must_use]
    pub fn coefficients(self) -> (f32, f32) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// Which sample values mean black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// Luma 16..235, chroma 16..240.
    Limited,
    /// 0..255.
    Full,
}

/// Where a subsampled chroma sample sits between its luma samples, horizontally (vertically it sits in the middle).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChromaSite {
    /// On the left luma sample (MPEG-2, H.264, H.265).
    Left,
    /// Halfway (JPEG, MPEG-1).
    Centre,
}

/// How sample values become colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colour {
    /// YUV→RGB matrix.
    pub matrix: Matrix,
    /// Sample range.
    pub range: Range,
    /// Chroma position.
    pub site: ChromaSite,
}

/// Everything about a frame but its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameInfo {
    /// Layout of the planes.
    pub format: PixelFormat,
    /// Size as displayed, luma pixels; may be odd (chroma planes round up).
    pub size: Size,
    /// How samples become colours.
    pub colour: Colour,
}

impl FrameInfo {
    /// Size in samples of plane `index` (for the interleaved plane of NV12: in UV pairs).
    #[must_use]
    pub fn plane_size(&self, index: usize) -> Size {
        if index == 0 {
            return self.size;
        }
        let (across, down) = self.format.chroma_shift();
        Size { width: self.size.width.div_ceil(1 << across), height: self.size.height.div_ceil(1 << down) }
    }
}

/// One plane, row by row; a row's bytes beyond the plane's width are padding.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// The bytes, `stride` apart from row to row.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// One writable plane.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    /// The bytes, `stride` apart from row to row.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// A frame to read. Unused planes (the third of NV12) are empty.
#[derive(Debug, Clone, Copy)]
pub struct FrameView<'a> {
    /// Format, size, colour.
    pub info: FrameInfo,
    /// Y, U, V; or Y, UV and an empty one.
    pub planes: [Plane<'a>; 3],
}

impl<'a> FrameView<'a> {
    /// The part of the frame that `region` names; nothing is copied.
    ///
    /// # Panics
    /// When the region does not lie inside the frame or begins at an odd pixel.
    #[must_use]
    pub fn crop(&self, region: &Region) -> Self {
        let Size { width, height } = self.info.size;
        assert!(region.right() <= width && region.bottom() <= height, "{region:?} of {width}x{height}");
        assert!(region.left.is_multiple_of(2) && region.top.is_multiple_of(2), "{region:?} begins at an odd pixel");
        let (across, down) = self.info.format.chroma_shift();
        let mut index = 0;
        let planes = self.planes.map(|plane: Plane<'a>| {
            let (left, top) =
                if index == 0 { (region.left, region.top) } else { (region.left >> across, region.top >> down) };
            let samples = if index == 1 && self.info.format == PixelFormat::Nv12 { 2 } else { 1 };
            index += 1;
            let start = top as usize * plane.stride + left as usize * samples;
            Plane { data: plane.data.get(start..).unwrap_or_default(), stride: plane.stride }
        });
        Self { info: FrameInfo { size: region.size, ..self.info }, planes }
    }
}

/// A frame to draw on. Unused planes (the third of NV12) are empty.
#[derive(Debug)]
pub struct FrameViewMut<'a> {
    /// Format, size, colour.
    pub info: FrameInfo,
    /// Y, U, V; or Y, UV and an empty one.
    pub planes: [PlaneMut<'a>; 3],
    /// That of HDR video, whose samples are of 10 bits, in two bytes each, little-endian; its matrix is BT.2020's.
    pub hdr: Option<hdr::Transfer>,
}

impl FrameViewMut<'_> {
    /// The same frame, to read; of HDR video there is none, whose samples are wider.
    #[must_use]
    pub fn reading(&self) -> Option<FrameView<'_>> {
        let planes = self.planes.each_ref().map(|plane| Plane { data: &*plane.data, stride: plane.stride });
        self.hdr.is_none().then_some(FrameView { info: self.info, planes })
    }
}

/// The host times a frame collected on its way, one a boundary. A field is set when the frame passes that boundary.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stamps {
    /// Compressed frame entered the decoder.
    pub decode_in: Option<HostTime>,
    /// Frame left the decoder.
    pub decoded: HostTime,
    /// Live only: when the pipeline's clock showed the frame's running time.
    pub due: Option<HostTime>,
    /// Live only: when it arrived encoded, where that is known; before that, nothing here could make it late.
    pub arrived: Option<HostTime>,
    /// Live only, where the sender says it: when it was captured, by both machines' clocks.
    pub captured: Option<HostTime>,
    /// Taken from the bounded channel.
    pub taken: HostTime,
    /// Its batch was closed.
    pub batch_closed: HostTime,
    /// Packing began (`None` when it was not inferred); the model and reading follow at once.
    pub ran_from: Option<HostTime>,
    /// Time spent in letterbox and tensor packing.
    pub preprocess: Duration,
    /// Elapsed time of the session's run that this frame was part of.
    pub inference: Duration,
    /// Time spent on decoding the output, NMS and mapping back.
    pub postprocess: Duration,
    /// Tracking began (`None` where nothing is tracked).
    pub tracked_from: Option<HostTime>,
    /// Time spent tracking.
    pub track: Duration,
    /// Drawing began (`None` where nothing is written).
    pub drawn_from: Option<HostTime>,
    /// Time spent drawing.
    pub overlay: Duration,
    /// Annotated frame handed to the sink.
    pub handed_over: HostTime,
    /// Frames in the run that this frame was part of (0 when it was not inferred).
    pub batch_size: u32,
    /// Its place in that run, from 0.
    pub batch_place: u32,
}

impl Stamps {
    /// Leaves out the time before `begin`, when the session was still being made. A frame that left the decoder by then keeps
    /// its time in it; one that was in it meanwhile has none, since it had to wait there.
    pub fn not_before(&mut self, begin: HostTime) {
        let waited = begin.since(self.decoded);
        self.decode_in = match self.decode_in {
            Some(entered) if entered >= begin => Some(entered),
            Some(entered) if !waited.is_zero() => Some(HostTime::from_start(entered.since_start() + waited)),
            _ => None,
        };
        self.due = self.due.map(|due| due.max(begin));
        self.arrived = self.arrived.map(|arrived| arrived.max(begin));
        for stamp in [&mut self.decoded, &mut self.taken, &mut self.batch_closed] {
            *stamp = (*stamp).max(begin);
        }
    }
}

/// A frame as sources deliver it: the decoder's own buffer.
pub type DecodedFrame = Frame<VideoBuffer>;

/// One decoded frame on its way from source to sink. `P` is what holds the pixels.
#[derive(Debug)]
pub struct Frame<P> {
    /// Stream it belongs to.
    pub stream: StreamId,
    /// Number of the decoded frame in its stream, from 0, dropped ones included.
    pub index: u64,
    /// Presentation time relative to the stream's origin.
    pub pts: StreamTime,
    /// How long it is shown, where known.
    pub duration: Option<Duration>,
    /// The pixels.
    pub pixels: P,
    /// Of an image file: its path as the user gave or would read it.
    pub file: Option<Arc<Path>>,
    /// Host times so far.
    pub stamps: Stamps,
    /// What was found in it (empty until postprocessing).
    pub detections: Vec<Detection>,
    /// What happened at lines and in zones, known with it.
    pub events: Vec<FrameEvent>,
    /// How it was fitted into the tensor (`None` when it was not inferred).
    pub letterbox: Option<Letterbox>,
    /// What was known of the camera, where the source or a file beside it says it.
    pub telemetry: Option<Sample>,
    /// Of a stream with telemetry: where each of the detections is on the ground, or why that is not known.
    pub positions: Vec<Result<Position, Unlocated>>,
}

impl<P> Frame<P> {
    /// A frame as it was decoded, by its stream and its number there.
    #[must_use]
    pub fn new((stream, index): (StreamId, u64), pts: StreamTime, pixels: P, stamps: Stamps) -> Self {
        Self {
            stream,
            index,
            pts,
            duration: None,
            pixels,
            file: None,
            stamps,
            detections: Vec::new(),
            events: Vec::new(),
            letterbox: None,
            telemetry: None,
            positions: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_until_the_session_was_there_is_nobodys() {
        let at = |ms| HostTime::from_start(Duration::from_millis(ms));
        let frame = |entered, decoded| {
            let (taken, batch_closed) = (at(decoded + 1), at(decoded + 2));
            let mut stamps =
                Stamps { decode_in: Some(at(entered)), decoded: at(decoded), taken, batch_closed, ..Stamps::default() };
            stamps.not_before(at(500));
            (stamps.decode_in, stamps.decoded, stamps.batch_closed)
        };
        assert_eq!(frame(10, 15), (Some(at(495)), at(500), at(500)));
        assert_eq!(frame(10, 502), (None, at(502), at(504)));
        assert_eq!(frame(501, 504), (Some(at(501)), at(504), at(506)));
    }
}
