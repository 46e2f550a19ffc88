//! Sources: whatever is watched, turned into decoded frames in a bounded channel.

mod address;
mod backoff;
pub mod cameras;
mod course;
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
mod picture;
mod probe;
mod refusal;
mod rgb;
mod skip;
mod supervisor;
pub mod survey;
mod tracks;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::channel::Lane;
use crate::clock::{Clock, StreamTime};
use crate::controls::Controls;
use crate::frame::{Frame, StreamId};
use crate::geometry::Size;

pub use address::{Address, Kind};
pub use decoding::Wanted;
pub use file::FileSource;
pub use head::Heads;
pub use live::{LiveOptions, Transport};
pub use picture::Picture;
pub use supervisor::{Watcher, watch};
pub(crate) use tracks::codec_name;

/// A frame as it leaves the source.
pub type SourceFrame = Frame<Picture>;

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

/// An audio track, passed by the detector: its caps and its packets.
#[derive(Clone)]
pub struct SideTrack {
    /// Format, as parsed.
    pub caps: gstreamer::Caps,
    /// Packets with running-time PTS; bounded at [`SIDE_PACKETS`]. When it is full, the demuxer waits; a live source lets
    /// packets go.
    pub packets: Receiver<gstreamer::Buffer>,
}

/// Capacity of a side track's channel, packets. Audio is interleaved with video within seconds; this is minutes, so that
/// a demuxer never stands still between a full audio branch and a muxer that waits for video.
pub const SIDE_PACKETS: usize = 1 << 16;

/// What is known once the first picture is there.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Short name for people.
    pub name: String,
    /// First picture's size as displayed.
    pub size: Size,
    /// Frame rate as a fraction; `None` when the stream has no constant rate.
    pub frame_rate: Option<(i32, i32)>,
    /// How long it will be watched, as far as that can be said.
    pub duration: Option<Duration>,
    /// The same, where it is certain enough to reserve room by.
    pub sure_duration: Option<Duration>,
    /// Codec of the pictures, for people.
    pub codec: String,
    /// Codecs of the audio tracks, for people.
    pub audio_codecs: Vec<String>,
    /// Notices for the user, each with what was done.
    pub notices: Vec<String>,
}

/// What is known when a stream begins, and its audio tracks.
pub type Opening = (StreamInfo, Vec<SideTrack>);

/// A stretch of a stream's time in which it was away.
#[derive(Debug, Clone)]
pub struct Gap {
    /// The last frame before it.
    pub from: StreamTime,
    /// The first frame after it, or when the run ended.
    pub to: StreamTime,
    /// Why it was away, without secrets.
    pub reason: String,
    /// Whether it came back.
    pub resumed: bool,
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
    Frame(Box<SourceFrame>),
    /// So many frames were received, but are damaged.
    Corrupt(StreamId, u64),
    /// Nothing more comes from this stream; so many coded frames never became a picture.
    End(StreamId, u64),
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
