//! What the model detects, and what is made of it before it is drawn and goes out.

use std::collections::VecDeque;
use std::sync::Arc;
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

/// What happened to a tracked object, known with a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameEvent {
    /// It crossed a line.
    Line {
        /// The line's name.
        name: Arc<str>,
        /// Which way.
        direction: Direction,
        /// The object's number.
        track_id: u32,
        /// Its class.
        class_id: u16,
        /// When it was first on the other side.
        at: StreamTime,
    },
    /// It visits a zone.
    Zone {
        /// The zone's name.
        name: Arc<str>,
        /// What it did.
        what: ZoneEvent,
        /// The object's number.
        track_id: u32,
        /// Its class.
        class_id: u16,
        /// When it was first inside, or last.
        at: StreamTime,
    },
}

impl FrameEvent {
    /// The object's number.
    #[must_use]
    pub fn track_id(&self) -> u32 {
        match self {
            Self::Line { track_id, .. } | Self::Zone { track_id, .. } => *track_id,
        }
    }
}

/// Which way a line is crossed, as seen by somebody who walks from its first point to its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the left to the right.
    In,
    /// From the right to the left.
    Out,
}

impl Direction {
    /// As JSON, reports and metrics have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// What an object does in a zone. Every visit that ends says so once: `Leave` or `Dwell`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZoneEvent {
    /// It came in from outside.
    Enter,
    /// It went out.
    Leave {
        /// How long it was inside.
        dwell: Duration,
    },
    /// It is not tracked any more, or the frames have another size, and was inside when it was last seen.
    Dwell {
        /// How long it was inside.
        dwell: Duration,
    },
}

impl ZoneEvent {
    /// As JSON has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Leave { .. } => "leave",
            Self::Dwell { .. } => "dwell",
        }
    }

    /// How long the visit was, where it is over.
    #[must_use]
    pub fn dwell(self) -> Option<Duration> {
        match self {
            Self::Enter => None,
            Self::Leave { dwell } | Self::Dwell { dwell } => Some(dwell),
        }
    }
}
