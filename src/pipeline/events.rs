//! What a run tells those who listen: terminal, dashboard, metrics, reports.

use std::sync::Arc;

use super::RunError;
use crate::clock::HostTime;
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::inference::ProviderReport;
use crate::latency::FrameRecord;
use crate::stream::{Dropped, Gap, StreamId, StreamInfo};

/// Something that happened in a run, told as it happens, on the thread on which it did.
#[derive(Debug, Clone, Copy)]
pub enum RunEvent<'a> {
    /// A stream's first frame is there.
    StreamUp {
        /// Which stream.
        stream: StreamId,
        /// What it is.
        info: &'a StreamInfo,
        /// The execution provider that runs the model, once one does.
        provider: Option<&'a ProviderReport>,
    },
    /// A stream was disconnected; reconnecting.
    Disconnected {
        /// Which stream.
        stream: StreamId,
        /// Why, without secrets.
        reason: &'a str,
    },
    /// A stream was re-established.
    Reconnected {
        /// Which stream.
        stream: StreamId,
    },
    /// An outage is over, or the run ends during it: how long it was.
    Outage {
        /// Which stream.
        stream: StreamId,
        /// From when to when, and why.
        gap: &'a Gap,
    },
    /// A stream that was up delivers no more frames, and its output is finished.
    StreamEnded {
        /// Which stream.
        stream: StreamId,
    },
    /// A frame was annotated and handed to its outputs.
    FrameDone {
        /// The frame with its detections and stamps.
        frame: &'a DecodedFrame,
        /// Its size as displayed, pixels.
        size: Size,
    },
    /// All latencies of a frame are known, encoding included; in order within a stream, some frames later.
    FrameRecorded(&'a FrameRecord),
    /// Frames were dropped.
    Dropped {
        /// Which stream.
        stream: StreamId,
        /// How many, by reason.
        dropped: Dropped,
        /// When.
        at: HostTime,
    },
    /// Other numbers of objects are in the zones than before.
    Occupancy {
        /// Which stream.
        stream: StreamId,
        /// Objects in each, in the order of the settings.
        zones: &'a [u32],
    },
    /// Decoded frames that wait for the worker.
    Queue {
        /// So many wait.
        waiting: usize,
        /// So many may.
        capacity: usize,
    },
    /// The annotated stream is served at this address from now on.
    Serving {
        /// Which stream.
        stream: StreamId,
        /// Where, without secrets.
        address: &'a str,
    },
    /// One of the stream's outputs does not work, while others do; or all do again.
    Output {
        /// Which stream.
        stream: StreamId,
        /// Why not.
        failing: Option<&'a str>,
    },
    /// A notice for the user, with its remedy; in the same words it is said once.
    Notice(&'a str),
    /// What happened now, for the user: it is said every time.
    Occurrence(&'a str),
    /// Something failed; the error is reported at the end of the run as well.
    Failed {
        /// The stream that fails with it; `None`: something that several share.
        stream: Option<StreamId>,
        /// The error.
        error: &'a RunError,
        /// Whether streams go on without it: the end may be far.
        goes_on: bool,
    },
}

/// Listens to a run. Every listener matches every event by name, so that a new event does not compile until each of them
/// has decided what to do with it.
pub trait Listener: Send + Sync {
    /// Takes note of `event`; must not wait for anything.
    fn on(&self, event: &RunEvent<'_>);
}

/// Several listeners, told one after the other.
impl Listener for Vec<Arc<dyn Listener>> {
    fn on(&self, event: &RunEvent<'_>) {
        for listener in self {
            listener.on(event);
        }
    }
}
