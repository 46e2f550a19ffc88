//! What the supervisor of a live source knows of a connection: how one is opened, and how it ends. `GStreamer`'s is in
//! `live.rs`; the tests of the supervisor have a scripted one.

use super::error::ConnectError;
use super::options::Transport;
use crate::clock::{HostTime, StreamTime};
use crate::stream::{AudioTrack, StreamInfo};

/// Why a connection could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    /// A stop was requested meanwhile.
    #[error("stopped")]
    Stopped,
    /// For this reason.
    #[error(transparent)]
    Failed(#[from] ConnectError),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConnectionEnd {
    /// All that was asked for was delivered, or a stop was requested.
    Stopped,
    /// The stream ended.
    EndOfStream,
    /// It was lost, for this reason.
    Lost(String),
    /// It lost too much over UDP, in these words, and TCP may be tried.
    Lossy(String),
}

/// Opens connections to one source.
pub(super) trait Opener {
    /// Opens one; returns when its first frame is decoded. `may_leave_udp`: it ends where it loses too much over UDP.
    ///
    /// # Errors
    /// When none will be, or a stop was requested.
    fn open(&mut self, transport: Transport, may_leave_udp: bool) -> Result<Box<dyn Connection>, OpenError>;
}

/// A connection whose first frame is decoded, and waits.
pub(super) trait Connection {
    /// What was learnt on opening.
    fn info(&self) -> &StreamInfo;

    /// Audio tracks that were not taken on an earlier connection.
    fn take_audio(&self) -> Vec<AudioTrack>;

    /// Whether its audio has another format than on the connections before: their tracks cannot go on.
    fn audio_changed(&self) -> bool;

    /// The transport that works; `None` where the source has no choice of transports.
    fn transport(&self) -> Option<Transport>;

    /// Whether the source turned out to be a recording: none of it is dropped, and its end is the end.
    fn is_recording(&self) -> bool;

    /// Stream time of its first frame.
    fn resumes_at(&self) -> StreamTime;

    /// Lets the frames go to the outlet; returns when the connection ends. What a user should know meanwhile goes to `say`.
    fn run(&mut self, say: &dyn Fn(&str)) -> ConnectionEnd;

    /// When a frame last came.
    fn last_frame(&self) -> Option<HostTime>;

    /// Frames that were decoded.
    fn frames(&self) -> u64;

    /// Encoded frames that were never decoded.
    fn lost(&self) -> u64;
}
