//! The figures behind the dashboard: written by the pipeline's threads as events arrive, read ten times a second.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::log::Log;
use crate::clock::{self, HostTime};
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::inference::ProviderReport;
use crate::latency::{FrameRecord, STAGES};
use crate::pipeline::{Job, Listener, RunError, RunEvent, SourceSpec};
use crate::secrets::redact;
use crate::stream::{Dropped, StreamId, StreamInfo};
use crate::text::printable;

/// Time that one bar of a chart stands for.
pub(super) const BIN: Duration = Duration::from_millis(500);
/// Bars that are kept: enough for the widest terminal.
const BINS: usize = 512;
/// Frames that the stages' figures are taken from: the newest.
const RECENT: usize = 256;
/// A stage that a frame did not pass.
const NONE: u32 = u32::MAX;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No frame of it has been processed yet.
    Opening,
    Running,
    /// It is disconnected, and being reconnected.
    Reconnecting,
    Ended,
    Failed,
}

/// Half a second of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Bin {
    pub frames: u32,
    /// End to end, all frames together, µs.
    pub latency_us: u64,
}

/// What is known of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub name: String,
    pub phase: Phase,
    /// Whether it can be paused.
    pub recorded: bool,
    pub size: Option<Size>,
    pub rate: Option<f64>,
    pub codec: String,
    /// Frames that are expected, as far as that is known.
    pub total: Option<u64>,
    pub frames: u64,
    pub dropped: Dropped,
    pub reconnects: u64,
    /// Objects of every class in the newest frame, and in all.
    pub found: Vec<(u32, u64)>,
    /// Most objects of one class in a frame so far.
    pub most: u32,
    /// The oldest first; the last one is not over.
    pub bins: VecDeque<Bin>,
    bin_since: HostTime,
    /// First and newest frame.
    span: Option<(HostTime, HostTime)>,
    /// Times in the stages, µs, of the newest frames; the oldest is overwritten.
    recent: Vec<[u32; STAGES.len()]>,
    next: usize,
}

/// Everything that is drawn but the log.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub streams: Vec<Stream>,
    pub provider: Option<String>,
    /// Frames that wait, of how many.
    pub queue: (usize, usize),
}

/// The observer.
pub(crate) struct State {
    inner: Mutex<View>,
    limit: Option<u64>,
    log: Arc<Log>,
}

impl State {
    /// For a run over `jobs`, which ends after `limit` frames of each; `as_live`: in their own time.
    pub fn new(jobs: &[Job], limit: Option<u64>, as_live: bool, classes: usize, log: Arc<Log>) -> Self {
        let streams = jobs.iter().map(|job| Stream::new(job, limit, as_live, classes)).collect();
        Self { inner: Mutex::new(View { streams, provider: None, queue: (0, 0) }), limit, log }
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is to draw at `now`; of other streams than `selected` in brief.
    pub fn view(&self, now: HostTime, selected: usize) -> View {
        let mut view = self.lock();
        for stream in &mut view.streams {
            if matches!(stream.phase, Phase::Running | Phase::Reconnecting) {
                stream.roll(now);
            }
        }
        let streams = view.streams.iter().enumerate();
        let streams = streams.map(|(n, stream)| if n == selected { stream.clone() } else { stream.brief() }).collect();
        View { streams, provider: view.provider.clone(), queue: view.queue }
    }

    /// How many there are.
    pub fn streams(&self) -> usize {
        self.lock().streams.len()
    }

    /// Whether there are streams that can be paused, and others.
    pub fn recorded(&self) -> (bool, bool) {
        let view = self.lock();
        (view.streams.iter().any(|stream| stream.recorded), view.streams.iter().any(|stream| !stream.recorded))
    }

    fn with(&self, stream: StreamId, change: impl FnOnce(&mut Stream)) {
        if let Some(stream) = self.lock().streams.get_mut(stream.0 as usize) {
            change(stream);
        }
    }
}

impl Stream {
    fn new(job: &Job, limit: Option<u64>, as_live: bool, classes: usize) -> Self {
        let images = if let SourceSpec::Images(paths) = &job.source { Some(paths.len() as u64) } else { None };
        let recorded = images.is_some() || (matches!(job.source, SourceSpec::Video(_)) && !as_live);
        Self {
            name: short_name(&job.name),
            phase: Phase::Opening,
            recorded,
            size: None,
            rate: None,
            codec: String::new(),
            total: images.map_or(limit, |n| Some(limit.map_or(n, |limit| n.min(limit)))),
            frames: 0,
            dropped: Dropped::default(),
            reconnects: 0,
            found: vec![(0, 0); classes],
            most: 0,
            bins: VecDeque::new(),
            bin_since: clock::now(),
            span: None,
            recent: Vec::with_capacity(RECENT),
            next: 0,
        }
    }

    /// What a line about it needs.
    fn brief(&self) -> Self {
        Self {
            name: self.name.clone(),
            codec: String::new(),
            found: Vec::new(),
            bins: self.bins.iter().skip(self.bins.len().saturating_sub(3)).copied().collect(),
            recent: Vec::new(),
            ..*self
        }
    }

    /// Begins the bars that are due by `now`.
    fn roll(&mut self, now: HostTime) {
        if self.bins.is_empty() {
            self.bins.push_back(Bin::default());
            self.bin_since = now;
        }
        let due = now.since(self.bin_since).as_nanos() / BIN.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        for _ in 0..due.min(u32::try_from(BINS).unwrap_or(u32::MAX)) {
            if self.bins.len() == BINS {
                self.bins.pop_front();
            }
            self.bins.push_back(Bin::default());
        }
        self.bin_since = self.bin_since.after(BIN * due);
    }

    /// Frames a second, over the last second that is over.
    pub fn fps(&self) -> Option<f64> {
        let over: Vec<u32> = self.bins.iter().rev().skip(1).take(2).map(|bin| bin.frames).collect();
        let time_s = BIN.as_secs_f64() * f64::from(u32::try_from(over.len()).unwrap_or(0));
        (!over.is_empty()).then(|| f64::from(over.iter().sum::<u32>()) / time_s)
    }

    /// Frames a second, over all.
    pub fn mean_fps(&self) -> Option<f64> {
        let (first, newest) = self.span?;
        let time_s = newest.since(first).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
        let between = self.frames.saturating_sub(1) as f64;
        (time_s > 0.0).then(|| between / time_s)
    }

    /// Time until `total` frames are done, at the pace so far.
    pub fn left(&self) -> Option<Duration> {
        let (fps, total) = (self.mean_fps()?, self.total?);
        #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
        let frames = total.saturating_sub(self.frames + self.dropped.total()) as f64;
        (fps > 0.0).then(|| Duration::from_secs_f64((frames / fps).min(1e9)))
    }

    /// Median and 99th percentile of a stage (by its place in [`STAGES`]) over the newest frames, ms.
    pub fn stage_ms(&self, stage: usize) -> Option<(f64, f64)> {
        let mut times: Vec<u32> = self.recent.iter().map(|frame| frame[stage]).filter(|us| *us != NONE).collect();
        if times.is_empty() {
            return None;
        }
        times.sort_unstable();
        let at = |per_cent: usize| f64::from(times[(times.len() * per_cent).div_ceil(100).max(1) - 1]) / 1000.0;
        Some((at(50), at(99)))
    }
}

/// A name for people, without secrets: of a path its last part, of a URL what `***` is left of.
fn short_name(name: &str) -> String {
    let name = redact(name);
    if name.contains("://") {
        return printable(&name);
    }
    let last = std::path::Path::new(&name).file_name().map(|last| last.to_string_lossy().into_owned());
    printable(&last.unwrap_or(name))
}

impl State {
    pub(super) fn opened(&self, stream: StreamId, info: &StreamInfo, provider: Option<&ProviderReport>) {
        let mut view = self.lock();
        if let Some(provider) = provider {
            view.provider = Some(printable(&provider.summary()));
        }
        let Some(stream) = view.streams.get_mut(stream.0 as usize) else { return };
        stream.phase = Phase::Running;
        stream.size = Some(info.size);
        stream.rate = info.frame_rate.map(|(n, d)| f64::from(n) / f64::from(d.max(1)));
        let codecs = std::iter::once(&info.codec).chain(&info.audio_codecs);
        stream.codec = codecs.map(|codec| printable(codec)).collect::<Vec<_>>().join(" + ");
        if stream.total.is_none() || stream.total == self.limit {
            let frames = info.duration.zip(stream.rate).map(|(duration, rate)| duration.as_secs_f64() * rate);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of frames")]
            let frames = frames.map(|frames| frames.round() as u64).filter(|frames| *frames > 0);
            stream.total = match (frames, self.limit) {
                (Some(frames), Some(limit)) => Some(frames.min(limit)),
                (frames, limit) => frames.or(limit),
            };
        }
    }

    pub(super) fn frame(&self, frame: &DecodedFrame, _size: Size) {
        let now = clock::now();
        let latency = frame.stamps.handed_over.since(frame.stamps.decoded);
        self.with(frame.stream, |stream| {
            stream.frames += 1;
            stream.span = Some((stream.span.map_or(now, |(first, _)| first), now));
            stream.roll(now);
            if let Some(bin) = stream.bins.back_mut() {
                bin.frames += 1;
                bin.latency_us += u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            }
            stream.found.iter_mut().for_each(|(newest, _)| *newest = 0);
            for detection in &frame.detections {
                if let Some((newest, all)) = stream.found.get_mut(usize::from(detection.class_id)) {
                    *newest += 1;
                    *all += 1;
                    stream.most = stream.most.max(*newest);
                }
            }
        });
    }

    pub(super) fn record(&self, record: &FrameRecord) {
        let times = record.times();
        let us = STAGES.map(|stage| {
            times.get(stage).map_or(NONE, |time| u32::try_from(time.as_micros()).unwrap_or(NONE - 1).min(NONE - 1))
        });
        self.with(record.stream, |stream| {
            if stream.recent.len() < RECENT {
                stream.recent.push(us);
            } else {
                stream.recent[stream.next] = us;
            }
            stream.next = (stream.next + 1) % RECENT;
        });
    }

    pub(super) fn dropped(&self, stream: StreamId, dropped: Dropped, _at: HostTime) {
        self.with(stream, |stream| stream.dropped.add(dropped));
    }

    pub(super) fn disconnected(&self, stream: StreamId) {
        self.with(stream, |stream| stream.phase = Phase::Reconnecting);
    }

    pub(super) fn reconnected(&self, stream: StreamId) {
        self.with(stream, |stream| {
            stream.reconnects += 1;
            stream.phase = Phase::Running;
        });
    }

    pub(super) fn ended(&self, stream: StreamId) {
        self.with(stream, |stream| {
            if stream.phase != Phase::Failed {
                stream.phase = Phase::Ended;
            }
        });
    }

    pub(super) fn queue(&self, waiting: usize, capacity: usize) {
        self.lock().queue = (waiting, capacity);
    }

    pub(super) fn failed(&self, stream: Option<StreamId>, error: &RunError) {
        if let Some(stream) = stream {
            self.with(stream, |stream| stream.phase = Phase::Failed);
        }
        // It is said once more at the end.
        self.log.passing(&format!("error: {}", redact(&error.to_string()).replace('\n', ";")));
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for State {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, provider } => self.opened(stream, info, provider),
            RunEvent::Disconnected { stream, .. } => self.disconnected(stream),
            RunEvent::Reconnected { stream } => self.reconnected(stream),
            RunEvent::StreamEnded { stream } => self.ended(stream),
            RunEvent::FrameDone { frame, size } => self.frame(frame, size),
            RunEvent::FrameRecorded(record) => self.record(record),
            RunEvent::Dropped { stream, dropped, at } => self.dropped(stream, dropped, at),
            RunEvent::Queue { waiting, capacity } => self.queue(waiting, capacity),
            RunEvent::Failed { stream, error, .. } => self.failed(stream, error),
            RunEvent::Outage { .. }
            | RunEvent::Occupancy { .. }
            | RunEvent::Output { .. }
            | RunEvent::Serving { .. }
            | RunEvent::Notice(_)
            | RunEvent::Occurrence(_) => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::latency::Stage;
    use crate::latency::tests::frame_at;

    /// A state with streams of these names.
    pub fn state(names: &[&str]) -> State {
        let job = |name: &&str| Job {
            name: (*name).to_owned(),
            source: SourceSpec::Video((*name).into()),
            output: crate::pipeline::OutputSpec::None,
            paced: false,
        };
        let jobs: Vec<Job> = names.iter().map(job).collect();
        State::new(&jobs, None, false, 4, Arc::default())
    }

    /// Tells of a stream of 1080p and 600 frames.
    pub fn open(state: &State, stream: u32) {
        let info = StreamInfo {
            name: "clip.mp4".into(),
            recorded: true,
            size: Size { width: 1920, height: 1080 },
            frame_rate: Some((30000, 1001)),
            duration: Some(Duration::from_secs(20)),
            sure_duration: None,
            codec: "h264".into(),
            audio_codecs: vec!["aac".into()],
            notices: Vec::new(),
        };
        state.opened(StreamId(stream), &info, None);
    }

    #[test]
    fn a_stream_s_life_is_followed() {
        let state = state(&["/a/clip.mp4", "rtsp://u:secret@h/x"]);
        let phase = |n: usize| state.view(clock::now(), 0).streams[n].phase;
        assert_eq!(phase(0), Phase::Opening);
        open(&state, 0);
        let view = state.view(clock::now(), 0);
        assert_eq!((view.streams[0].name.as_str(), view.streams[0].total), ("clip.mp4", Some(599)));
        assert!(!view.streams[1].name.contains("secret"), "{}", view.streams[1].name);
        state.disconnected(StreamId(0));
        assert_eq!(phase(0), Phase::Reconnecting);
        state.reconnected(StreamId(0));
        assert_eq!(phase(0), Phase::Running);
        state.failed(Some(StreamId(1)), &RunError::FrameCopy { problem: "x".into() });
        state.ended(StreamId(1));
        state.ended(StreamId(0));
        assert_eq!((phase(0), phase(1)), (Phase::Ended, Phase::Failed));
        // Of a stream that is not there nothing is known, and nothing breaks.
        state.ended(StreamId(9));
    }

    #[test]
    fn figures_are_those_of_the_newest_frames() {
        let state = state(&["clip.mp4"]);
        for n in 0..1000 {
            state.record(&frame_at(n));
        }
        let view = state.view(clock::now(), 0);
        assert_eq!(view.streams[0].recent.len(), RECENT);
        assert_eq!(view.streams[0].stage_ms(Stage::Inference as usize), Some((10.0, 10.0)));
        assert_eq!(view.streams[0].stage_ms(Stage::BehindLive as usize), None);
    }

    #[test]
    fn bars_go_on_without_frames_and_are_bounded() {
        let state = state(&["clip.mp4"]);
        open(&state, 0);
        let start = clock::now();
        let bins = |ms| state.view(start.after(Duration::from_millis(ms)), 0).streams[0].bins.len();
        assert_eq!([0, 400, 1100, 1600].map(bins), [1, 1, 3, 4]);
        assert_eq!(bins(86_400_000), BINS);
        assert_eq!(state.view(start, 0).streams[0].fps(), Some(0.0));
    }
}
