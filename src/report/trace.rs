//! A trace of stages by thread for Chrome's and Perfetto's viewers (`--trace`), in the trace event format's array form.
//!
//! It is written as frames are recorded, and is valid JSON after every write: a program that is killed leaves a trace.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::clock::HostTime;
use crate::latency::{FrameRecord, Stage};
use crate::part::PartFile;
use crate::shutdown::Shutdown;
use crate::stream::StreamId;

/// Bytes gathered before they are written, and how long they may wait.
const BUFFER: usize = 64 << 10;
const WAIT: Duration = Duration::from_secs(1);
/// What ends the array, written anew after what comes.
const END: &[u8] = b"\n]\n";
/// Frames that are in a stage at once and get a lane each, at most; the others share the last.
const LANES: usize = 64;

/// Tracks of a stream: stages in which frames overlap take as many lanes as they need.
const DECODE: usize = 0;
const WAITING: usize = 1;
const OVERLAY: usize = 2;
const ENCODE: usize = 3;
const TRACKS: [&str; 4] = ["decode", "waiting", "overlay", "encode"];

/// The file being written.
pub struct TraceFile {
    out: PartFile,
    pending: Vec<u8>,
    /// Whether the array's end has been written behind what is there.
    ended: bool,
    first: bool,
    flushed: HostTime,
    /// When each lane of each track of each stream is free again.
    lanes: Vec<[Vec<HostTime>; 4]>,
    failed: Option<std::io::Error>,
}

impl TraceFile {
    /// Creates the file.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, stopping: &Shutdown) -> std::io::Result<Self> {
        let mut this = Self {
            out: PartFile::create(path, Some(stopping))?,
            pending: Vec::with_capacity(BUFFER + 4096),
            ended: false,
            first: true,
            flushed: HostTime::default(),
            lanes: Vec::new(),
            failed: None,
        };
        this.pending.extend_from_slice(b"[\n");
        this.name("process_name", 0, 0, "streamdet");
        this.name("thread_name", 0, 1, "worker");
        Ok(this)
    }

    /// Names a stream's tracks.
    pub fn stream(&mut self, stream: StreamId, name: &str) {
        self.name("process_name", stream.0 + 1, 0, name);
    }

    /// Adds a frame's stages.
    pub fn frame(&mut self, record: &FrameRecord) {
        let (s, times) = (&record.stamps, record.times());
        if let Some((entered, elapsed)) = s.decode_in.zip(times.get(Stage::Decode)) {
            self.on_lane(record, DECODE, &[(Stage::Decode, entered, elapsed)]);
        }
        let waited = |stage| times.get(stage).unwrap_or_default();
        let waits = [
            (Stage::QueueWait, s.decoded, waited(Stage::QueueWait)),
            (Stage::BatchWait, s.taken, waited(Stage::BatchWait)),
        ];
        self.on_lane(record, WAITING, &waits);
        // The stages that a batch shares are there once.
        if let Some(from) = s.ran_from.filter(|_| s.batch_place == 0) {
            let mut from = from;
            for stage in [Stage::Preprocess, Stage::Inference, Stage::Postprocess] {
                let elapsed = times.get(stage).unwrap_or_default();
                self.event(record, stage, (0, 1), from, elapsed);
                from = HostTime::from_start(from.since_start() + elapsed);
            }
        }
        for (from, stage) in [(s.tracked_from, Stage::Track), (s.drawn_from, Stage::Overlay)] {
            if let Some((from, elapsed)) = from.zip(times.get(stage)) {
                self.on_lane(record, OVERLAY, &[(stage, from, elapsed)]);
            }
        }
        if let Some((entered, left)) = record.encode {
            self.on_lane(record, ENCODE, &[(Stage::Encode, entered, left.since(entered))]);
        }
        if self.pending.len() >= BUFFER || s.handed_over.since(self.flushed) >= WAIT {
            self.flushed = s.handed_over;
            self.write_out();
        }
    }

    /// Events of one frame that follow each other, on a lane that is free then.
    fn on_lane(&mut self, record: &FrameRecord, track: usize, events: &[(Stage, HostTime, Duration)]) {
        let (Some((_, from, _)), Some((_, last, elapsed))) = (events.first(), events.last()) else { return };
        let end = HostTime::from_start(last.since_start() + *elapsed);
        let stream = record.stream.0 as usize;
        if self.lanes.len() <= stream {
            self.lanes.resize_with(stream + 1, Default::default);
        }
        let lanes = &mut self.lanes[stream][track];
        let lane = lanes.iter().position(|free| free <= from).unwrap_or(lanes.len()).min(LANES - 1);
        let thread = u32::try_from(track * 100 + 100 + lane).unwrap_or(u32::MAX);
        if lane == lanes.len() {
            lanes.push(end);
            let name = format!("{} {}", TRACKS[track], lane + 1);
            self.name("thread_name", record.stream.0 + 1, thread, &name);
        } else {
            lanes[lane] = lanes[lane].max(end);
        }
        for (stage, from, elapsed) in events {
            self.event(record, *stage, (record.stream.0 + 1, thread), *from, *elapsed);
        }
    }

    fn event(&mut self, record: &FrameRecord, stage: Stage, (pid, tid): (u32, u32), from: HostTime, time: Duration) {
        let us = |time: Duration| (time.as_micros(), time.subsec_nanos() % 1000);
        let ((ts, ts_ns), (dur, dur_ns)) = (us(from.since_start()), us(time));
        self.comma();
        // Memory takes all text.
        let _ = write!(
            self.pending,
            "{{\"ph\":\"X\",\"name\":\"{}\",\"pid\":{pid},\"tid\":{tid},\"ts\":{ts}.{ts_ns:03},\"dur\":{dur}.{dur_ns:03},\
             \"args\":{{\"stream\":{},\"frame\":{},\"batch\":{}}}}}",
            stage.key(),
            record.stream.0,
            record.frame,
            record.stamps.batch_size
        );
    }

    fn name(&mut self, what: &str, pid: u32, tid: u32, name: &str) {
        let name = serde_json::Value::from(name);
        self.comma();
        // Memory takes all text.
        let _ = write!(
            self.pending,
            "{{\"ph\":\"M\",\"name\":\"{what}\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"name\":{name}}}}}"
        );
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.pending.extend_from_slice(b",\n");
        }
    }

    fn write_out(&mut self) {
        let rewrites = self.out.can_rewrite();
        if rewrites {
            self.pending.extend_from_slice(END);
        }
        let step = if self.ended { i64::try_from(END.len()).unwrap_or(0) } else { 0 };
        if self.failed.is_none() {
            let step_back = if step > 0 { self.out.step_back(step) } else { Ok(()) };
            // One write: it is there as a whole or, when the disk is full, not.
            self.failed = step_back.and_then(|()| self.out.write_all(&self.pending)).err();
        }
        self.ended = rewrites;
        self.pending.clear();
    }

    /// Removes the file.
    pub fn discard(self) {
        self.out.discard();
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When anything could not be written.
    pub fn finish(mut self) -> std::io::Result<()> {
        if !self.out.can_rewrite() {
            self.pending.extend_from_slice(END);
        }
        self.write_out();
        match self.failed {
            Some(error) => Err(error),
            None => self.out.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::latency::tests::frame_at;
    use crate::part::part_path;

    #[test]
    fn it_is_whole_at_every_moment_and_lanes_do_not_overlap() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.json");
        let mut file = TraceFile::create(&path, &Shutdown::new()).expect("a file");
        file.stream(StreamId(0), "a \"clip\".mp4");
        let mut read = 0;
        for n in 0..2000 {
            file.frame(&frame_at(n));
            let text = std::fs::read_to_string(part_path(&path)).expect("the part");
            if text.len() != read {
                read = text.len();
                let _: Vec<Value> = serde_json::from_str(&text).expect("JSON");
            }
        }
        file.finish().expect("written");
        let text = std::fs::read_to_string(&path).expect("the trace");
        let events: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let complete: Vec<&Value> = events.iter().filter(|e| e["ph"] == "X").collect();
        assert_eq!(complete.len(), 2000 * 8);
        let mut free = std::collections::HashMap::new();
        for event in complete.iter().filter(|e| e["pid"] == 1) {
            let [from, time] = ["ts", "dur"].map(|key| event[key].as_f64().expect("a number"));
            let free = free.entry(event["tid"].to_string()).or_insert(0.0);
            assert!(from >= *free - 1e-6, "{event}");
            *free = from + time;
        }
        assert!(free.len() > 4, "frames overlap here");
    }
}
