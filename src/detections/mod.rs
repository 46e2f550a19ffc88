//! Detections going out: JSON Lines, MOTChallenge text, labels, crops; rows of what was counted.
//!
//! A [`DetectionOutput`] is what the user asked for; it gives every stream a [`DetectionSink`], which belongs to the stream's
//! thread. What a failure ends, the sink itself says ([`OnError`]): none of these ever ends a video output.

pub mod crops;
pub mod events;
mod feed;
pub mod json;
pub mod labels;
mod lines;
pub mod mot;
pub(crate) mod view;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::StreamTime;
use crate::detection::FrameEvent;
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::shutdown::Shutdown;
use crate::stills::StillError;
use crate::stream::{Gap, StreamId, StreamInfo};
use crate::thread::ThreadError;

pub use crops::Crops;
pub use events::EventRows;
pub use feed::{Feed, Read};
pub use json::JsonLines;
pub use labels::Labels;
pub use mot::MotLines;

/// Tells the user.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Where detections go, as the user asked for it; shared by all streams.
pub trait DetectionOutput: Send + Sync {
    /// The sink of a stream, whose files are called by `names`. Once `stopping` is requested, no call waits for more than a few
    /// seconds.
    fn sink(&self, stream: StreamId, names: &FileNames, stopping: &Shutdown) -> Box<dyn DetectionSink>;

    /// From now on, what happens meanwhile and ends nothing is told to `say`, on any thread.
    fn listen(&self, _say: Say) {}

    /// Finishes what the streams' sinks share, after all of them. Does not wait for longer than an output may take nothing.
    ///
    /// # Errors
    /// When it cannot be written; [`DetectionError::Ended`] where a sink has returned the reason before.
    fn finish(&self, _stopping: &Shutdown) -> Result<(), DetectionError> {
        Ok(())
    }

    /// What an error of [`finish`](Self::finish) ends.
    fn on_error(&self, _error: &DetectionError) -> OnError {
        OnError::EndSink
    }
}

/// Takes one stream's detections, on the stream's thread.
pub trait DetectionSink: Send {
    /// The stream is there. Called once, before anything else.
    ///
    /// # Errors
    /// When nothing can be written.
    fn open(&mut self, _info: &StreamInfo) -> Result<(), DetectionError> {
        Ok(())
    }

    /// A frame's detections; frames come in order.
    ///
    /// # Errors
    /// When they cannot be written.
    fn frame(&mut self, frame: &DetectedFrame<'_>) -> Result<(), DetectionError>;

    /// What is not a frame.
    ///
    /// # Errors
    /// When it cannot be written.
    fn event(&mut self, _event: &StreamEvent<'_>) -> Result<(), DetectionError> {
        Ok(())
    }

    /// Has what was taken so far written.
    ///
    /// # Errors
    /// When it cannot be.
    fn flush(&mut self) -> Result<(), DetectionError> {
        Ok(())
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// When what is left cannot be written.
    fn finish(&mut self) -> Result<(), DetectionError> {
        Ok(())
    }

    /// What an error of any of these ends. After an error the sink is not called again.
    fn on_error(&self, _error: &DetectionError) -> OnError {
        OnError::EndSink
    }
}

/// A frame whose detections go out.
#[derive(Debug, Clone, Copy)]
pub struct DetectedFrame<'a> {
    /// The frame, with nothing drawn on it.
    pub frame: &'a DecodedFrame,
    /// Its size as displayed, pixels.
    pub size: Size,
}

/// What happens to a stream between frames.
#[derive(Debug, Clone, Copy)]
pub enum StreamEvent<'a> {
    /// It was disconnected for so long.
    Gap(&'a Gap),
    /// It ends while objects are in zones: the number and time of its newest frame, and those visits, of which there are some.
    OpenVisits(u64, StreamTime, &'a [FrameEvent]),
}

/// What an event says that a visit did which goes on at the end of the run.
const OPEN: &str = "open";

/// What the error of a sink ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The sink. The error is reported, the run goes on and exits with 1; a stream that has no other output left ends.
    EndSink,
    /// The run, as when it is asked to stop: outputs are finished, and no error is reported.
    StopRun,
    /// Nothing more: it was reported before, and the sink has ended with it.
    Reported,
}

/// Why detections cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DetectionError {
    /// Writing failed.
    #[error("{option} {path}: {source}{}", where_kept(.kept.as_deref()))]
    Write {
        /// The option that asked for it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
        /// The file that holds what was written before.
        kept: Option<PathBuf>,
    },
    /// A crop cannot be written.
    #[error("--crops {0}")]
    Still(#[from] StillError),
    /// The reader of a pipe has closed it.
    #[error("{option} {path}: the reader has gone")]
    ReaderGone {
        /// The option that asked for it.
        option: &'static str,
        /// The pipe.
        path: PathBuf,
    },
    /// It took nothing for so long.
    #[error("{option} {path}: took nothing for {} s{}", within.as_secs(), where_kept(.kept.as_deref()))]
    Stalled {
        /// The option that asked for it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        within: Duration,
        /// The file that holds what was written before.
        kept: Option<PathBuf>,
    },
    /// The thread that writes it panicked.
    #[error("{option} {path}: {source}{}", where_kept(.kept.as_deref()))]
    Thread {
        /// The option that asked for it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: ThreadError,
        /// The file that holds what was written before.
        kept: Option<PathBuf>,
    },
    /// What several streams share failed.
    #[error("{option}: {problem}")]
    Output {
        /// The option that asked for it.
        option: &'static str,
        /// What happened.
        problem: String,
    },
    /// The output has ended with an error that was returned before.
    #[error("the output has ended")]
    Ended,
}

impl DetectionError {
    /// What it ends where lines of all streams go into one file: a reader that goes away stops the run.
    fn of_lines(&self) -> OnError {
        match self {
            Self::ReaderGone { .. } => OnError::StopRun,
            Self::Ended => OnError::Reported,
            Self::Write { .. } | Self::Still(_) | Self::Stalled { .. } | Self::Thread { .. } | Self::Output { .. } => {
                OnError::EndSink
            }
        }
    }
}

fn where_kept(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("; what was written before is kept in {}", path.display()))
}

/// What the files of a stream's frames are called by; no two streams and no two images share a name.
#[derive(Debug, Clone, Default)]
pub struct FileNames {
    /// The stream's own name.
    pub stem: OsString,
    /// Images that are not called by their own names, since another one is.
    pub images: Arc<HashMap<PathBuf, OsString>>,
}

impl FileNames {
    /// The name that a frame's files begin with: that of its image file, else `STEM_FRAME`.
    fn of(&self, frame: &DecodedFrame) -> OsString {
        match &frame.file {
            Some(file) => self
                .images
                .get::<Path>(file)
                .cloned()
                .unwrap_or_else(|| file.file_stem().unwrap_or_default().to_owned()),
            None => with(&self.stem, &format!("_{}", frame.index)),
        }
    }
}

/// The class's name; nothing where it has none.
#[must_use]
pub fn class_name(classes: &[String], class_id: u16) -> &str {
    classes.get(usize::from(class_id)).map_or("", String::as_str)
}

/// `name` with more at its end.
pub(crate) fn with(name: &OsStr, more: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(more);
    name
}
