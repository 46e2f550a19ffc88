//! What can go wrong in a run.

use std::path::PathBuf;
use std::time::Duration;

use crate::detections::DetectionError;
use crate::detector::{DetectError, RecordedError, ServiceError};
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::stills::StillError;
use crate::stream::FrameCounts;
use crate::thread::ThreadError;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An output.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The model's run, or its output.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The detector that the run shares with others.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The file in the model's place.
    #[error(transparent)]
    Recorded(#[from] RecordedError),
    /// Drawing.
    #[error(transparent)]
    Overlay(#[from] crate::overlay::OverlayError),
    /// Annotated still images.
    #[error(transparent)]
    Still(#[from] StillError),
    /// Detections going out: JSON Lines, labels, crops.
    #[error(transparent)]
    Detections(#[from] DetectionError),
    /// The copy of a frame that is drawn on.
    #[error("a frame cannot be copied to draw on it: {problem}")]
    FrameCopy {
        /// What `GStreamer` says.
        problem: String,
    },
    /// A thread could not be started, panicked, or did not end.
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// The outputs of a stream take nothing any more.
    #[error("{outputs}: took no frame for {} s: its disk, network or encoder hangs{}", within.as_secs(), where_kept(kept))]
    Stalled {
        /// Their names, without secrets.
        outputs: String,
        /// How long.
        within: Duration,
        /// Files that hold what was written.
        kept: Vec<PathBuf>,
    },
    /// A stream's thread panicked, or did not end.
    #[error("{name}: {source}{}", where_kept(kept))]
    StreamThread {
        /// The stream's outputs, or the stream, without secrets.
        name: String,
        /// The thread.
        source: ThreadError,
        /// Files that hold what was written.
        kept: Vec<PathBuf>,
    },
    /// The counts of a stream's frames do not agree: a bug.
    #[error(
        "{input}: {} frames were received, {} processed and {} dropped, which do not sum up; this is a bug, please report it",
        counts.received, counts.processed, counts.dropped.total()
    )]
    Unaccounted {
        /// The stream, without secrets.
        input: String,
        /// Its counts.
        counts: FrameCounts,
    },
}

fn where_kept(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    if files.is_empty() { String::new() } else { format!("; what was written before is kept in {}", files.join(", ")) }
}

impl RunError {
    /// Whether the input or the settings were unusable, rather than the run having failed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Detect(error) => return error.is_usage(),
            Self::Service(error) => return error.is_usage(),
            _ => {}
        }
        matches!(
            self,
            Self::Source(SourceError::Unusable { .. })
                | Self::Sink(
                    SinkError::Exists(_)
                        | SinkError::Busy(_)
                        | SinkError::SegmentName { .. }
                        | SinkError::Unwritable { .. }
                        | SinkError::Address { .. }
                        | SinkError::Unreachable { .. }
                        | SinkError::NoDisplay { .. }
                        | SinkError::TwoCodecs { .. }
                )
                | Self::Still(_)
                | Self::Recorded(_)
        )
    }
}
