//! What the branches of a stream have in common: encoded frames in, and what became of them at the end. A file takes every frame,
//! and the encoder waits for it; live outputs drop what they cannot take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;

use super::encode::KeyframeRequester;
use super::error::SinkError;
use super::pipeline::Progress;
use crate::stream::{LiveOutput, StreamInfo};

/// Files of an output, and of a stream, that are named at the end, at most: the newest.
pub const FILES: usize = 1000;

/// One encoded frame.
pub(super) struct AccessUnit {
    /// Its PTS is the stream's running time.
    pub buffer: gst::Buffer,
    /// When it is shown, and when it is over.
    pub pts: gst::ClockTime,
    pub end: gst::ClockTime,
    /// It can be decoded without any before it.
    pub is_keyframe: bool,
}

/// What happens to an output during a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputEvent {
    /// A notice for the user, who needs it once.
    Notice(String),
    /// What happened now, and may again: it is said every time.
    Occurrence(String),
    /// Why an output does not work; `None` when all do again.
    Failing(Option<String>),
    /// The stream is served at this address from now on.
    Serving(String),
    /// The user closed the window.
    WindowClosed,
}

/// Is told of what happens, on the thread on which it does.
pub type OutputListener = Arc<dyn Fn(OutputEvent) + Send + Sync>;

/// What is known when a branch is opened.
pub(super) struct BranchContext<'a> {
    pub info: &'a StreamInfo,
    /// Formats of the audio tracks.
    pub audio: &'a [gst::Caps],
    pub listener: &'a OutputListener,
    /// Files of the stream that were begun before.
    pub files: u32,
    /// The source is live.
    pub live: bool,
    /// Counts what is done.
    pub progress: &'a Progress,
    /// There is no other output: the run fails with it.
    pub is_only: bool,
}

/// Where encoded frames go. Audio packets come in time order with them: before a frame, what begins before it. No call waits for
/// longer than an output may take nothing.
pub(super) trait Branch: Send {
    /// Its name for people, without secrets.
    fn name(&self) -> String;

    /// The frames that follow are in this format; they begin with a keyframe, and further ones can be requested. Called before
    /// the first one, and when another encoder took over.
    fn format(&mut self, caps: &gst::Caps, keyframes: &KeyframeRequester) -> Result<(), SinkError>;

    /// The next frame.
    fn access_unit(&mut self, unit: &AccessUnit) -> Result<(), SinkError>;

    /// There was an outage, up to the frame that follows, at `to`.
    fn gap(&mut self, to: gst::ClockTime) {
        let _ = to;
    }

    /// An audio track, of which no packet came yet, is in another format than was announced.
    fn audio_format(&mut self, track: usize, format: &gst::Caps);

    /// The next packet of an audio track; `None` at its end.
    fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>);

    /// Nothing comes any more. A branch that does not work leaves what it was about to write as it is.
    fn finish(self: Box<Self>, works: bool, finished: &mut FinishedOutputs);
}

/// What was written of an audio track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudioWritten {
    /// Packets of the source that were taken, and those that were not.
    pub taken: u64,
    /// Left out, each track with a notice.
    pub dropped: u64,
    /// Taken, but without a time by which they could be written.
    pub untimed: u64,
    /// Packets that the muxer was given, and how long they last in all.
    pub packets: u64,
    /// From the first to the end of the last.
    pub length: Duration,
    /// As what it was re-encoded, where it was.
    pub reencoded: Option<&'static str>,
}

impl AudioWritten {
    /// Adds what another file has.
    pub fn add(&mut self, other: &Self) {
        self.taken += other.taken;
        self.dropped += other.dropped;
        self.untimed += other.untimed;
        self.packets += other.packets;
        self.length += other.length;
        self.reencoded = self.reencoded.or(other.reencoded);
    }
}

/// What became of a stream's outputs.
#[derive(Default)]
pub struct FinishedOutputs {
    /// Files that were written, in order, with what each has of every audio track; segments that were deleted are not among them.
    pub files: Vec<(PathBuf, Vec<AudioWritten>)>,
    /// What every recording was given of each audio track, in all its files.
    pub audio: Vec<(PathBuf, Vec<AudioWritten>)>,
    /// Files that were begun, the most of any output.
    pub begun: u32,
    /// What live outputs sent.
    pub live: Vec<LiveOutput>,
    /// What went wrong.
    pub failure: Option<SinkError>,
}

impl FinishedOutputs {
    /// Takes in what a live output sent; one that was opened again has one entry.
    pub fn sent(&mut self, output: LiveOutput) {
        output.add_to(&mut self.live);
    }

    /// Takes in files, oldest first; a playlist that was opened again has one entry, and the newest are kept.
    pub fn wrote(&mut self, files: impl IntoIterator<Item = (PathBuf, Vec<AudioWritten>)>) {
        for (path, audio) in files {
            self.files.retain(|(before, _)| *before != path);
            self.files.push((path, audio));
        }
        let over = self.files.len().saturating_sub(FILES);
        self.files.drain(..over);
    }

    /// Takes in what went wrong; the first is kept.
    pub fn fail(&mut self, error: SinkError) {
        self.failure.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_fail_and_return_a_million_times_are_told_of_in_bounded_memory() {
        let mut finished = FinishedOutputs::default();
        let (urls, mut sent) = (["rtmp://a/live/***", "rtsp://:8554/x"], 0);
        for n in 0..1_000_000_u64 {
            let clients = (n % 2 == 1).then_some(1);
            let output = LiveOutput { frames_sent: 2, frames_lost: 1, clients, ..LiveOutput::default() };
            finished.sent(LiveOutput { uri: urls[usize::from(n % 2 == 1)].to_owned(), ..output });
            sent += 2;
            if n % 100 == 0 {
                finished.wrote([(format!("cam-{n}.mkv").into(), Vec::new()), ("live/index.m3u8".into(), Vec::new())]);
            }
        }
        assert_eq!(finished.live.iter().map(|output| output.frames_sent).sum::<u64>(), sent);
        assert_eq!((finished.live.len(), finished.live[1].clients), (2, Some(500_000)));
        assert_eq!((finished.files.len(), finished.files.capacity() <= 4 * FILES), (FILES, true));
        assert_eq!(finished.files[FILES - 2].0.to_str(), Some("cam-999900.mkv"), "the newest are kept");
    }
}
