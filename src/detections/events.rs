//! Crossings and visits as rows, comma separated (`--events-csv`): one an event, of all streams in one file.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::lines::{LineFile, Lines};
use super::{
    DetectedFrame, DetectionError, DetectionOutput, DetectionSink, FileNames, OPEN, OnError, StreamEvent, class_name,
};
use crate::detection::FrameEvent;
use crate::shutdown::Shutdown;
use crate::stream::StreamId;

const HEAD: &[u8] = b"stream,frame,pts_ns,at_pts_ns,kind,name,what,track_id,class,dwell_s\n";

/// Rows in a file, under a head.
pub struct EventRows {
    file: LineFile,
    classes: Arc<[String]>,
}

impl EventRows {
    /// Creates `path` (`-` is standard output), for objects of these classes. Pipes and devices get every row at once; so does a
    /// file where `at_once` says so, else in blocks.
    ///
    /// # Errors
    /// When it cannot be created, or no thread can be started.
    pub fn create(path: &Path, classes: Arc<[String]>, at_once: bool, stopping: &Shutdown) -> std::io::Result<Self> {
        let file = LineFile::create("--events-csv", path, at_once, stopping)?;
        let head = |row: &mut Vec<u8>| row.write_all(HEAD);
        file.lines(stopping).send(head).map_err(std::io::Error::other)?;
        Ok(Self { file, classes })
    }

    /// Removes the file, in which there is no frame yet.
    pub fn discard(&self, stopping: &Shutdown) {
        // What is removed need not be whole.
        let _ = self.file.finish(stopping);
    }
}

impl DetectionOutput for EventRows {
    fn sink(&self, stream: StreamId, _: &FileNames, stopping: &Shutdown) -> Box<dyn DetectionSink> {
        Box::new(RowSink { rows: self.file.lines(stopping), stream, classes: self.classes.clone() })
    }

    /// Gives the file its name, without a single event as well: that nothing happened is known then. One without a single frame goes.
    fn finish(&self, stopping: &Shutdown) -> Result<(), DetectionError> {
        self.file.finish(stopping)
    }

    fn on_error(&self, error: &DetectionError) -> OnError {
        error.of_lines()
    }
}

/// One stream's rows.
struct RowSink {
    rows: Lines,
    stream: StreamId,
    classes: Arc<[String]>,
}

impl DetectionSink for RowSink {
    fn frame(&mut self, detected: &DetectedFrame<'_>) -> Result<(), DetectionError> {
        self.rows.note_frame();
        let frame = detected.frame;
        for event in &frame.events {
            let place = (frame.stream.0, frame.index, frame.pts.ns);
            self.rows.send(|row| write_row(row, place, event, None, &self.classes))?;
        }
        Ok(())
    }

    fn event(&mut self, event: &StreamEvent<'_>) -> Result<(), DetectionError> {
        match event {
            StreamEvent::Gap(_) => Ok(()),
            StreamEvent::OpenVisits(frame, pts, visits) => visits.iter().try_for_each(|visit| {
                let place = (self.stream.0, *frame, pts.ns);
                self.rows.send(|row| write_row(row, place, visit, Some(OPEN), &self.classes))
            }),
        }
    }

    fn flush(&mut self) -> Result<(), DetectionError> {
        self.rows.flush()
    }

    fn on_error(&self, error: &DetectionError) -> OnError {
        error.of_lines()
    }
}

/// Writes an event's row; `said` takes the place of what the event says that happened.
fn write_row(
    row: &mut Vec<u8>,
    (stream, frame, pts_ns): (u32, u64, u64),
    event: &FrameEvent,
    said: Option<&str>,
    classes: &[String],
) -> std::io::Result<()> {
    let (kind, name, what, dwell, class_id, at) = match event {
        FrameEvent::Line { name, direction, class_id, at, .. } => ("line", name, direction.name(), None, class_id, at),
        FrameEvent::Zone { name, what, class_id, at, .. } => ("zone", name, what.name(), what.dwell(), class_id, at),
    };
    write!(row, "{stream},{frame},{pts_ns},{},{kind},", at.ns)?;
    quoted(row, name)?;
    write!(row, ",{},{},", said.unwrap_or(what), event.track_id())?;
    quoted(row, class_name(classes, *class_id))?;
    match dwell {
        Some(dwell) => writeln!(row, ",{:.3}", dwell.as_secs_f64()),
        None => writeln!(row, ","),
    }
}

/// A name as RFC 4180 has it: in quotes where it holds a comma or a quote.
fn quoted(row: &mut Vec<u8>, name: &str) -> std::io::Result<()> {
    if name.contains([',', '"', '\n', '\r']) {
        write!(row, "\"{}\"", name.replace('"', "\"\""))
    } else {
        row.write_all(name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::StreamTime;
    use crate::detection::{Direction, ZoneEvent};

    #[test]
    fn a_row_says_what_happened_where_and_when() {
        let classes = ["person".to_owned(), "tram, \"long\"".to_owned()];
        let at = StreamTime { ns: 1_400_000_000 };
        let line =
            FrameEvent::Line { name: "gate, north".into(), direction: Direction::In, track_id: 9, class_id: 1, at };
        let what = ZoneEvent::Leave { dwell: Duration::from_millis(12_345) };
        let zone = FrameEvent::Zone { name: "yard".into(), what, track_id: 7, class_id: 0, at };
        let mut rows = Vec::new();
        for (event, said) in [(&line, None), (&zone, None), (&zone, Some(OPEN))] {
            write_row(&mut rows, (0, 17, 1_700_000_000), event, said, &classes).expect("memory takes everything");
        }
        let text = String::from_utf8(rows).expect("UTF-8");
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows,
            [
                r#"0,17,1700000000,1400000000,line,"gate, north",in,9,"tram, ""long""","#,
                "0,17,1700000000,1400000000,zone,yard,leave,7,person,12.345",
                "0,17,1700000000,1400000000,zone,yard,open,7,person,12.345",
            ]
        );
        assert!(rows.iter().all(|row| row.matches(',').count() >= 9));
    }

    #[test]
    fn a_name_with_a_line_break_is_one_field() {
        let mut row = Vec::new();
        quoted(&mut row, "a\nb").expect("memory takes everything");
        assert_eq!(row, b"\"a\nb\"");
    }

    #[test]
    fn a_run_without_events_leaves_a_file_with_its_head_and_one_without_frames_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.csv");
        let stopping = Shutdown::new();
        for frames in [false, true] {
            let rows = EventRows::create(&path, Arc::new([]), false, &stopping).expect("a file");
            if frames {
                rows.file.lines(&stopping).note_frame();
            }
            assert!(!path.exists());
            rows.finish(&stopping).expect("it is finished");
            assert_eq!(std::fs::read(&path).ok().as_deref(), frames.then_some(HEAD));
        }
    }
}
