//! What the model detects, and what is made of it before it is drawn and goes out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::StreamTime;
use crate::geometry::FrameBox;

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

impl Detection {
    /// Whether it was detected, and not only predicted ([`TrackState::Lost`]).
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.track.is_none_or(|track| track.state == TrackState::Confirmed)
    }
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

impl Track {
    /// Of an object of which only the number is known.
    #[must_use]
    pub fn numbered(id: u32) -> Self {
        Self { id, age: Duration::ZERO, state: TrackState::Confirmed, speed: [0.0; 2] }
    }
}

/// Whether a tracked object is seen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackState {
    /// Detected in this frame; of a frame that was not inferred, in the last one that was.
    Confirmed,
    /// Not detected: its box is predicted.
    Lost,
}

/// Where an object was, oldest point first.
#[derive(Debug, Clone, PartialEq)]
pub struct Trail {
    /// The object.
    pub id: u32,
    /// Its class.
    pub class_id: u16,
    /// Centres of its box, with when it was there; pixels of the newest frame.
    pub points: VecDeque<(StreamTime, [f32; 2])>,
}
