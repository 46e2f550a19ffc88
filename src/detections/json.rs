//! Detections as JSON Lines, one object a frame, in frame order within a stream.
//!
//! All streams write into one file: each makes its lines on its own thread, and a thread called `json` writes them, so that no
//! stream waits for another longer than it takes to hand a line over.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::lines::{LineFile, Lines};
use super::{
    DetectedFrame, DetectionError, DetectionOutput, DetectionSink, FileNames, OPEN, OnError, StreamEvent, class_name,
};
use crate::clock::StreamTime;
use crate::detection::{FrameEvent, Track, TrackState};
use crate::frame::Frame;
use crate::geometry::Size;
use crate::shutdown::Shutdown;
use crate::stream::{Gap, StreamId};
use crate::telemetry::{PositionFields, SampleLine};

/// JSON Lines in a file, as `--json` asks for.
///
/// Where it cannot be written any more, it ends after its last whole line, and everything else goes on: video is written to
/// its end, and the run exits with 1. A reader that goes away stops the run.
pub struct JsonLines {
    file: LineFile,
    classes: Arc<[String]>,
}

impl JsonLines {
    /// Creates `path` (`-` is standard output), for detections of these classes. Pipes and devices get every line at once; so
    /// does a file where `at_once` says so, else in blocks.
    ///
    /// # Errors
    /// When it cannot be created, or no thread can be started.
    pub fn create(path: &Path, classes: Arc<[String]>, at_once: bool, stopping: &Shutdown) -> std::io::Result<Self> {
        let file = LineFile::create("--json", path, at_once, stopping)?;
        Ok(Self { file, classes })
    }
}

impl DetectionOutput for JsonLines {
    fn sink(&self, stream: StreamId, _: &FileNames, stopping: &Shutdown) -> Box<dyn DetectionSink> {
        Box::new(JsonSink { lines: self.file.lines(stopping), stream, classes: self.classes.clone() })
    }

    /// Gives the file its name; one without a single frame goes, and what was there before stays.
    fn finish(&self, stopping: &Shutdown) -> Result<(), DetectionError> {
        self.file.finish(stopping)
    }

    fn on_error(&self, error: &DetectionError) -> OnError {
        error.of_lines()
    }
}

/// One stream's lines.
struct JsonSink {
    lines: Lines,
    stream: StreamId,
    classes: Arc<[String]>,
}

impl DetectionSink for JsonSink {
    fn frame(&mut self, detected: &DetectedFrame<'_>) -> Result<(), DetectionError> {
        self.lines.note_frame();
        self.lines.send(|line| write_line(line, detected.frame, detected.size, &self.classes))
    }

    fn event(&mut self, event: &StreamEvent<'_>) -> Result<(), DetectionError> {
        self.lines.send(|line| write_event(line, self.stream, event, &self.classes))
    }

    fn flush(&mut self) -> Result<(), DetectionError> {
        self.lines.flush()
    }

    fn on_error(&self, error: &DetectionError) -> OnError {
        error.of_lines()
    }
}

/// Of lines: fields are added to it, never renamed.
pub const SCHEMA: u32 = 1;

/// A frame.
#[derive(serde::Serialize)]
struct Line<'a> {
    schema: u32,
    stream: u32,
    frame: u64,
    pts_ns: u64,
    width: u32,
    height: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Other bytes than UTF-8 are replaced.
    file: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    telemetry: Option<SampleLine>,
    detections: Vec<Object<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event<'a>>,
}

/// What happened at a line or in a zone.
#[derive(serde::Serialize)]
struct Event<'a> {
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'static str>,
    track_id: u32,
    class_id: u16,
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dwell_s: Option<f64>,
    at_pts_ns: u64,
}

impl<'a> Event<'a> {
    fn new(event: &'a FrameEvent, classes: &'a [String]) -> Self {
        match event {
            FrameEvent::Line { name, direction, track_id, class_id, at } => Self {
                kind: "line",
                name,
                direction: Some(direction.name()),
                what: None,
                track_id: *track_id,
                class_id: *class_id,
                class: class_name(classes, *class_id),
                dwell_s: None,
                at_pts_ns: at.ns,
            },
            FrameEvent::Zone { name, what, track_id, class_id, at } => Self {
                kind: "zone",
                name,
                direction: None,
                what: Some(what.name()),
                track_id: *track_id,
                class_id: *class_id,
                class: class_name(classes, *class_id),
                dwell_s: what.dwell().map(|dwell| dwell.as_secs_f64()),
                at_pts_ns: at.ns,
            },
        }
    }
}

/// A detection.
#[derive(serde::Serialize)]
struct Object<'a> {
    class_id: u16,
    class: &'a str,
    confidence: f32,
    #[serde(rename = "box")]
    corners: [f32; 4],
    track_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<TrackOf>,
    #[serde(flatten)]
    position: Option<PositionFields>,
}

/// A detection's track.
#[derive(serde::Serialize)]
struct TrackOf {
    age_s: f64,
    state: &'static str,
    speed_px_s: [f32; 2],
}

impl From<&Track> for TrackOf {
    fn from(track: &Track) -> Self {
        let state = match track.state {
            TrackState::Confirmed => "confirmed",
            TrackState::Lost => "lost",
        };
        Self { age_s: track.age.as_secs_f64(), state, speed_px_s: track.speed }
    }
}

/// An outage.
#[derive(serde::Serialize)]
struct Outage<'a> {
    schema: u32,
    stream: u32,
    event: &'static str,
    from_pts_ns: u64,
    to_pts_ns: u64,
    reason: &'a str,
}

/// Visits that go on at the end of the run.
#[derive(serde::Serialize)]
struct OpenVisits<'a> {
    stream: u32,
    event: &'static str,
    frame: u64,
    pts_ns: u64,
    events: Vec<Event<'a>>,
}

/// Writes the line of what is not a frame.
///
/// # Errors
/// When the output cannot be written.
pub fn write_event(
    out: &mut dyn Write,
    stream: StreamId,
    event: &StreamEvent<'_>,
    classes: &[String],
) -> std::io::Result<()> {
    match event {
        StreamEvent::Gap(gap) => write_gap(out, stream, gap),
        StreamEvent::OpenVisits(frame, pts, visits) => write_open_visits(out, (stream, *frame, *pts), visits, classes),
    }
}

/// Writes the line of visits that go on.
///
/// # Errors
/// When the output cannot be written.
fn write_open_visits(
    out: &mut dyn Write,
    (stream, frame, pts): (StreamId, u64, StreamTime),
    visits: &[FrameEvent],
    classes: &[String],
) -> std::io::Result<()> {
    let events = visits.iter().map(|visit| Event { what: Some(OPEN), ..Event::new(visit, classes) }).collect();
    let line = OpenVisits { stream: stream.0, event: "open_visits", frame, pts_ns: pts.ns, events };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Writes an outage's line.
///
/// # Errors
/// When the output cannot be written.
fn write_gap(out: &mut dyn Write, stream: StreamId, gap: &Gap) -> std::io::Result<()> {
    let Gap { from, to, reason, .. } = gap;
    let line =
        Outage { schema: SCHEMA, stream: stream.0, event: "gap", from_pts_ns: from.ns, to_pts_ns: to.ns, reason };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Writes one frame's line.
///
/// # Errors
/// When the output cannot be written.
pub fn write_line<P>(out: &mut dyn Write, frame: &Frame<P>, size: Size, classes: &[String]) -> std::io::Result<()> {
    let line = Line {
        schema: SCHEMA,
        stream: frame.stream.0,
        frame: frame.index,
        pts_ns: frame.pts.ns,
        width: size.width,
        height: size.height,
        file: frame.file.as_deref().map(Path::to_string_lossy),
        telemetry: frame.telemetry.as_ref().map(SampleLine::from),
        detections: frame
            .detections
            .iter()
            .enumerate()
            .map(|(at, d)| Object {
                class_id: d.class_id,
                class: class_name(classes, d.class_id),
                confidence: d.confidence,
                corners: [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2],
                track_id: d.track.map(|track| track.id),
                track: d.track.as_ref().map(TrackOf::from),
                position: frame.positions.get(at).map(PositionFields::from),
            })
            .collect(),
        events: frame.events.iter().map(|event| Event::new(event, classes)).collect(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
