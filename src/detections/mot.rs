//! Tracked detections as MOTChallenge text, one a line, in frame order: what trackers' evaluators read.

use std::path::Path;

use super::lines::{LineFile, Lines};
use super::{DetectedFrame, DetectionError, DetectionOutput, DetectionSink, FileNames, OnError};
use crate::detection::Detection;
use crate::mot::{MotBox, write_row};
use crate::shutdown::Shutdown;
use crate::stream::StreamId;

/// MOTChallenge text in a file, as `--mot-output` asks for. It has no streams, so that it is for one. What fails ends it as
/// it ends JSON Lines.
pub struct MotLines {
    file: LineFile,
}

impl MotLines {
    /// Creates `path` (`-` is standard output). `at_once`: a file, too, gets every frame's lines at once.
    ///
    /// # Errors
    /// When it cannot be created, or no thread can be started.
    pub fn create(path: &Path, at_once: bool, stopping: &Shutdown) -> std::io::Result<Self> {
        Ok(Self { file: LineFile::create("--mot-output", path, at_once, stopping)? })
    }
}

impl DetectionOutput for MotLines {
    fn sink(&self, _: StreamId, _: &FileNames, stopping: &Shutdown) -> Box<dyn DetectionSink> {
        Box::new(MotSink { lines: self.file.lines(stopping) })
    }

    /// Gives the file its name; one without a single frame goes.
    fn finish(&self, stopping: &Shutdown) -> Result<(), DetectionError> {
        self.file.finish(stopping)
    }

    fn on_error(&self, error: &DetectionError) -> OnError {
        error.of_lines()
    }
}

struct MotSink {
    lines: Lines,
}

impl DetectionSink for MotSink {
    fn frame(&mut self, detected: &DetectedFrame<'_>) -> Result<(), DetectionError> {
        self.lines.note_frame();
        let frame = detected.frame;
        let tracked = |d: &Detection| d.track.filter(|_| d.is_seen());
        if !frame.detections.iter().any(|d| tracked(d).is_some()) {
            return Ok(());
        }
        // Numbers beyond are those of years of video.
        let number = u32::try_from(frame.index + 1).unwrap_or(u32::MAX);
        self.lines.send(|lines| {
            for detection in &frame.detections {
                let Some(track) = tracked(detection) else { continue };
                let [x1, y1, x2, y2] =
                    [detection.bbox.x1, detection.bbox.y1, detection.bbox.x2, detection.bbox.y2].map(f64::from);
                let bbox = MotBox { left: x1, top: y1, width: x2 - x1, height: y2 - y1 };
                write_row(lines, number, track.id.into(), &bbox, detection.confidence.into())?;
            }
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<(), DetectionError> {
        self.lines.flush()
    }

    fn on_error(&self, error: &DetectionError) -> OnError {
        error.of_lines()
    }
}
