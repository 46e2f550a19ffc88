//! What a source is given to work with, and what it sends.

use std::sync::Arc;

use crossbeam_channel::{Receiver, TryRecvError};

use crate::channel::Lane;
use crate::clock::Clock;
use crate::controls::Controls;
use crate::frame::DecodedFrame;
use crate::stream::{Dropped, FrameCounters, Gap, Opening, StreamId};
use crate::thread::Guard;

/// What sources send through their lane.
pub enum SourceEvent {
    /// The stream's first frame comes next.
    Open(StreamId, Box<Opening>),
    /// The stream was re-established: its first frame comes next. Audio tracks only where they are new.
    Reopen(StreamId, Box<Opening>),
    /// The stream was disconnected for a while.
    Gap(StreamId, Box<Gap>),
    /// So many encoded frames were late and not decoded.
    Late(StreamId, u64),
    /// A decoded frame.
    Frame(Box<DecodedFrame>),
    /// So many frames were received, but are damaged.
    Corrupt(StreamId, u64),
    /// Nothing more comes from this stream; so many encoded frames were never decoded.
    End(StreamId, u64),
}

impl SourceEvent {
    /// Frames that it is about.
    #[must_use]
    pub fn frames(&self) -> u64 {
        match self {
            Self::Frame(_) => 1,
            Self::Late(_, n) | Self::Corrupt(_, n) | Self::End(_, n) => *n,
            Self::Open(..) | Self::Reopen(..) | Self::Gap(..) => 0,
        }
    }
}

/// What a source is given to work with.
#[derive(Clone)]
pub struct Outlet {
    /// Which stream it feeds.
    pub stream: StreamId,
    /// The bounded lane to the worker: when it is full, a recording waits, and of a live source the oldest frame is dropped.
    pub events: Lane<SourceEvent>,
    /// Where stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Disconnected once the stream's sessions are there.
    pub ready: Receiver<()>,
    /// Frames that go on without it, where it takes them to make one.
    pub head: u64,
    /// What callbacks on `GStreamer`'s threads run in.
    pub guard: Guard,
    /// Where frames are counted as received.
    pub counters: Arc<FrameCounters>,
    /// Whether a recorded source is paused.
    pub controls: Arc<Controls>,
}

impl Outlet {
    /// Sends a frame, or that one is damaged, and counts it as received; `false` where the worker is gone.
    pub(crate) fn send(&self, event: SourceEvent) -> bool {
        self.counters.received(1);
        let is_taken = self.events.send(event).is_ok();
        if !is_taken {
            self.counters.dropped(Dropped { failed: 1, ..Dropped::default() });
        }
        is_taken
    }

    /// Returns once the session is there, or never will be.
    pub(crate) fn wait_until_ready(&self) {
        // Nothing is ever sent: the channel is closed, which is what this waits for.
        self.ready.recv().ok();
    }

    /// Whether the session is still being made.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.ready.try_recv(), Err(TryRecvError::Empty))
    }
}
