//! Branches: everywhere that the access units of one encoder go. A file takes every one, and the encoder waits for it; whoever
//! watches live takes what they can.

mod file;
mod hls;
mod live;
mod push;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use gstreamer as gst;

pub use serve::RtspServer;

use super::encode::KeyFrames;
use super::{SinkError, Target};
use crate::stream::{LiveOutput, StreamInfo};

/// One coded picture.
pub(super) struct Unit {
    /// Its PTS is the stream's running time.
    pub buffer: gst::Buffer,
    /// When it is shown, and when it is over.
    pub pts: gst::ClockTime,
    pub end: gst::ClockTime,
    /// Nothing before it is needed to show it.
    pub key: bool,
}

/// What happens to an output while the run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something the user should know.
    Notice(String),
    /// The stream can be watched at this address from now on.
    Serving(String),
    /// The user closed the window.
    WindowClosed,
}

/// Who is told, on whatever thread it happens.
pub type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// What is known when a branch begins.
pub(super) struct Beginning<'a> {
    pub info: &'a StreamInfo,
    /// Formats of the audio tracks.
    pub audio: &'a [gst::Caps],
    pub tell: &'a Tell,
    /// Files of the stream that were begun before.
    pub files: u32,
    /// Audio tracks that are passed on untouched.
    pub audio_kept: usize,
}

/// Where access units go. Audio packets come in time order with the pictures: before a picture, what begins before it.
pub(super) trait Branch: Send {
    /// The pictures that follow are in this format; they begin with a key frame, and further ones can be asked for. Said before
    /// the first one, and when another encoder took over.
    fn format(&mut self, caps: &gst::Caps, keys: &KeyFrames) -> Result<(), SinkError>;

    /// The next picture.
    fn unit(&mut self, unit: &Unit) -> Result<(), SinkError>;

    /// The next packet of an audio track; `None` at its end.
    fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>);

    /// Nothing comes any more. A branch that does not work leaves what it was about to write as it is.
    fn finish(self: Box<Self>, works: bool, ended: &mut Ended);
}

/// What came of a stream's branches.
#[derive(Default)]
pub struct Ended {
    /// Files that were written, in order; segments that were deleted are not among them.
    pub files: Vec<PathBuf>,
    /// Files that were begun, the most of any output.
    pub begun: u32,
    /// What whoever watched was sent.
    pub live: Vec<LiveOutput>,
    /// What went wrong.
    pub failure: Option<SinkError>,
}

/// Opens a branch for `target`.
pub(super) fn open(target: &Target, beginning: &mut Beginning) -> Result<Option<Box<dyn Branch>>, SinkError> {
    Ok(match target {
        Target::File { path, segments, overwrite } => {
            Some(Box::new(file::FileBranch::open(path, *segments, *overwrite, beginning)?))
        }
        Target::Hls { folder, segment, live } => {
            Some(Box::new(file::FileBranch::open_hls(folder, *segment, *live, beginning)?))
        }
        Target::Serve { server, mount } => Some(Box::new(serve::Mount::open(Arc::clone(server), mount, beginning))),
        Target::Push(url) => Some(Box::new(push::Push::open(url, beginning)?)),
        Target::Display => None,
    })
}
