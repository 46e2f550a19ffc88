//! What goes into a detector, and what comes out.

use std::time::Duration;

use crate::clock::HostTime;
use crate::detection::Detection;
use crate::frame::{FrameView, Stamps};
use crate::geometry::{Letterbox, Placement, Size};
use crate::stream::StreamId;
use crate::tensor::InputShape;

/// A frame to detect on.
#[derive(Debug, Clone, Copy)]
pub struct DetectorInput<'a> {
    /// The stream it belongs to: tiles are planned, and counted, by stream.
    pub stream: StreamId,
    /// Whether the stream's frames are all of one size. A session is compiled for just their shape then, where the execution
    /// provider runs that faster; frames of many sizes share one session for any shape.
    pub one_size: bool,
    /// Its pixels.
    pub view: FrameView<'a>,
}

impl<'a> From<FrameView<'a>> for DetectorInput<'a> {
    /// A frame of its own, of any size.
    fn from(view: FrameView<'a>) -> Self {
        Self { stream: StreamId(0), one_size: false, view }
    }
}

/// What was detected in one frame, how the frame was fitted into the tensor, and how long it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Detections {
    /// By falling confidence; boxes in pixels of the frame.
    pub objects: Vec<Detection>,
    /// How the whole frame was fitted into the tensor.
    pub letterbox: Letterbox,
    /// Shape of the last input tensor that it was part of, `[B,3,H,W]`.
    pub shape: InputShape,
    /// How long it took.
    pub timings: Timings,
}

impl Detections {
    /// Nothing yet.
    pub(super) fn empty() -> Self {
        let size = Size { width: 1, height: 1 };
        Self {
            objects: Vec::new(),
            letterbox: Letterbox::fit(size, size, Placement::Centre),
            shape: InputShape { batch: 0, size },
            timings: Timings::default(),
        }
    }
}

/// Elapsed times of the run that a frame was part of. They are those of the whole batch, tiles included; divided by
/// `batch_size` they say what one frame took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Preprocessing began; inference and postprocessing follow at once.
    pub ran_from: HostTime,
    /// Letterbox and tensor packing.
    pub preprocess: Duration,
    /// The session's runs.
    pub inference: Duration,
    /// Decoding of the output, NMS, mapping back, merging of tiles.
    pub postprocess: Duration,
    /// Frames in the batch.
    pub batch_size: u32,
    /// Its place in the batch, from 0.
    pub batch_place: u32,
}

impl Timings {
    /// Stamps a frame with them.
    pub fn stamp(&self, stamps: &mut Stamps) {
        stamps.ran_from = Some(self.ran_from);
        stamps.preprocess = self.preprocess;
        stamps.inference = self.inference;
        stamps.postprocess = self.postprocess;
        (stamps.batch_size, stamps.batch_place) = (self.batch_size, self.batch_place);
    }
}
