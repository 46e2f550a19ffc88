//! Sources: whatever is watched, turned into decoded frames in a bounded channel.

mod address;
pub mod cameras;
mod course;
mod decoder;
mod decoding;
mod file;
mod frames;
mod head;
mod jpeg;
mod length;
mod live;
mod missing;
mod pace;
mod page;
mod probe;
mod refusal;
mod rgb;
mod skip;
mod supervisor;
pub mod survey;
mod tracks;

use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::channel::Lane;
use crate::clock::Clock;
use crate::controls::Controls;
use crate::frame::DecodedFrame;

use crate::stream::{FrameCounters, Gap, Opening, StreamId};

pub use address::{Address, Kind};
pub use decoder::{UnknownDecoder, prefer_decoder};
pub use decoding::Wanted;
pub use file::FileSource;
pub use head::Heads;
pub use live::{LiveOptions, Transport};
pub use supervisor::watch;

/// Why a source cannot be used, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The input cannot be used at all: nothing was decoded.
    #[error("{input}: {problem}\n  {remedy}")]
    Unusable {
        /// What the user named.
        input: String,
        /// What is wrong with it.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// The source failed after frames had come out.
    #[error("{input}: failed after frame {frames}: {problem}")]
    Broken {
        /// What the user named.
        input: String,
        /// Frames that had left the decoder.
        frames: u64,
        /// What is wrong.
        problem: String,
    },
}

/// What sources put into the channel.
pub enum SourceEvent {
    /// The stream's first picture is about to come.
    Open(StreamId, Box<Opening>),
    /// The stream came back: the first picture is about to come. Audio tracks only where they are new.
    Reopen(StreamId, Box<Opening>),
    /// The stream was away.
    Gap(StreamId, Box<Gap>),
    /// So many coded frames were late and not decoded.
    Late(StreamId, u64),
    /// A decoded frame.
    Frame(Box<DecodedFrame>),
    /// So many frames were received, but are damaged.
    Corrupt(StreamId, u64),
    /// Nothing more comes from this stream; so many coded frames never became a picture.
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
    /// The bounded lane towards the batcher: when it is full, a recording waits, and of a live source the oldest frame goes.
    pub events: Lane<SourceEvent>,
    /// Where stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Disconnected once the session is there.
    pub ready: Receiver<()>,
    /// Frames that the session may need to be made: those after them wait for it, else they would count that wait as theirs.
    pub head: u64,
    /// Where frames are counted as received.
    pub counters: Arc<FrameCounters>,
    /// Whether a recorded source shall stand still.
    pub controls: Arc<Controls>,
}

impl Outlet {
    /// Returns once the session is there, or never will be.
    pub(crate) fn wait_until_ready(&self) {
        let _ = self.ready.recv();
    }

    /// Whether the session is still being made.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.ready.try_recv(), Err(crossbeam_channel::TryRecvError::Empty))
    }
}
