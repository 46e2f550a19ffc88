//! What the model detects, and what is made of it before it is drawn and goes out.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::StreamTime;
use crate::geometry::{FrameBox, Size};
use crate::stream::{Gap, StreamId};

/// One detected object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Index into the model's class names.
    pub class_id: u16,
    /// Confidence, `0..=1`.
    pub confidence: f32,
    /// Where, in source pixels, clipped to the frame.
    pub bbox: FrameBox,
    /// What is known of the object over time, where it is tracked and confirmed.
    pub track: Option<Track>,
}

/// What a tracker knows of a detected object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Track {
    /// The object's number in its stream, from 1; never used again in a run.
    pub id: u32,
    /// Since it was detected first, in stream time.
    pub age: Duration,
    /// Whether it is seen now.
    pub state: TrackState,
    /// Speed of the box's centre across and down, pixels a second.
    pub speed: [f32; 2],
}

/// Whether a tracked object is seen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackState {
    /// Detected in this frame; of a frame that was not inferred, in the last one that was.
    Confirmed,
    /// Not detected: its box is predicted.
    Lost,
}

/// Works on the detections of one stream, frame by frame in order, on the stream's thread: a tracker, a filter.
pub trait DetectionStage: Send {
    /// A frame of this size, in pixels as displayed, shown at `pts`. May change its detections.
    fn frame(&mut self, pts: StreamTime, size: Size, detections: &mut Vec<Detection>);

    /// The stream was disconnected for so long.
    fn gap(&mut self, gap: &Gap);
}

/// Makes a stage for a stream.
pub type StageFactory = Arc<dyn Fn(StreamId) -> Box<dyn DetectionStage> + Send + Sync>;
