//! Counters of a run. Threads of the pipeline add to atomics; a scrape sums them up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::counts::Counts;
use super::exposition::Exposition;
use super::liveness::Liveness;
use super::pace::Pace;
use super::published;
use super::watched::Watched;
use crate::clock::{Clock, HostTime};
use crate::counting::Shapes;
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::inference::ProviderReport;
use crate::latency::{FrameRecord, STAGES};
use crate::model::Origin;
use crate::pipeline::{Listener, RunEvent};
use crate::publish::Plan;
use crate::report::Resources;
use crate::secrets::redact;
use crate::stream::{Dropped, Gap, StreamId, StreamInfo};

/// Upper bounds of the histograms' buckets, s: from a box being drawn to a stream that hangs, finer where frames of 25 to 60
/// a second have their budgets.
const BOUNDS_S: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.016, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0, 2.0, 10.0];
/// The same as text.
const BOUNDS: [&str; BOUNDS_S.len()] = [
    "0.0005", "0.001", "0.002", "0.005", "0.01", "0.016", "0.02", "0.03", "0.04", "0.06", "0.1", "0.2", "0.5", "1",
    "2", "10",
];
/// How long the figure of the process's peak memory is good for: reading it takes longer than all the others.
const PEAK_FOR: Duration = Duration::from_secs(1);
/// Streams with figures of their own; those after them share one label.
const STREAMS: usize = 64;
/// Classes with figures of their own; those after them share one label.
const CLASSES: usize = 100;
/// Label of what has none of its own.
const OTHER: &str = "other";
/// Why frames are dropped.
const REASONS: [&str; 4] = ["stale", "queue_full", "corrupt", "failed"];

/// Everything that is counted.
pub struct Metrics {
    clock: Arc<dyn Clock>,
    model: [String; 2],
    /// Which label a class has, by its id.
    label_of: Vec<usize>,
    labels: Vec<String>,
    streams: Vec<Stream>,
    /// By stream, those without a label of their own too.
    watched: Vec<Watched>,
    /// How long a live stream may deliver nothing.
    stall_timeout: Duration,
    liveness: Liveness,
    provider: Mutex<Option<ProviderReport>>,
    queue: [AtomicU64; 2],
    /// Streams' labels: their numbers.
    names: Vec<String>,
    /// The program has other runs, each with a queue.
    is_one_of_several: bool,
    counts: Counts,
    publish: Option<Arc<Plan>>,
    /// Most memory the process held, bytes, and when that was read.
    peak: Mutex<Option<(HostTime, u64)>>,
}

/// One stream, or all those without a label of their own.
struct Stream {
    uri: String,
    info: Mutex<Option<StreamInfo>>,
    pace: Mutex<Pace>,
    processed: AtomicU64,
    inferred: AtomicU64,
    dropped: [AtomicU64; REASONS.len()],
    reconnects: AtomicU64,
    detections: Vec<AtomicU64>,
    stages: Vec<Histogram>,
}

#[derive(Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS_S.len() + 1],
    sum_ns: AtomicU64,
}

impl Metrics {
    /// For a run that detects with `origin` over sources of these names.
    #[must_use]
    pub fn new(sources: &[String], origin: &Origin, clock: Arc<dyn Clock>) -> Self {
        let (label_of, labels) = class_labels(&origin.classes);
        let own = sources.iter().take(STREAMS).map(|name| redact(name));
        let shared = (sources.len() > STREAMS).then(|| OTHER.to_owned());
        let streams: Vec<Stream> = own.chain(shared).map(|uri| Stream::new(uri, labels.len())).collect();
        let name = |at: usize| if at < STREAMS { at.to_string() } else { OTHER.into() };
        Self {
            liveness: Liveness::new(clock.clone()),
            clock,
            model: [origin.name.clone(), origin.sha256.clone()],
            names: (0..streams.len()).map(name).collect(),
            streams,
            watched: sources.iter().map(|name| Watched::new(redact(name))).collect(),
            stall_timeout: Duration::MAX,
            label_of,
            labels,
            provider: Mutex::default(),
            queue: Default::default(),
            is_one_of_several: false,
            counts: Counts::default(),
            publish: None,
            peak: Mutex::default(),
        }
    }

    /// The same, where those streams that are `live` may deliver nothing for so long.
    #[must_use]
    pub fn watching(mut self, live: impl Iterator<Item = bool>, stall_timeout: Duration) -> Self {
        for (watched, is_live) in self.watched.iter_mut().zip(live) {
            watched.is_live = is_live;
        }
        self.stall_timeout = stall_timeout;
        self
    }

    /// The same, with counts at these lines and zones.
    #[must_use]
    pub fn counting(mut self, shapes: &Shapes) -> Self {
        self.counts = Counts::new(shapes, self.watched.len(), self.streams.len(), self.labels.len());
        self
    }

    /// The same, with what is published.
    #[must_use]
    pub fn publishing(mut self, publish: Option<Arc<Plan>>) -> Self {
        self.publish = publish;
        self
    }

    /// The same, for a run of one stream, whose label is `name`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.names = vec![name.to_owned()];
        self.is_one_of_several = true;
        self
    }

    /// The same, where the model runs already.
    #[must_use]
    pub fn running_on(mut self, provider: &ProviderReport) -> Self {
        self.provider = Mutex::new(Some(provider.clone()));
        self
    }

    /// What is missing before frames of every stream that should deliver some are processed, a line each.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let now = self.clock.now();
        self.watched.iter().filter_map(|watched| watched.missing(now, self.stall_timeout)).collect()
    }

    /// Threads that have been at one frame for too long, by what was seen so far.
    #[must_use]
    pub fn hung(&self) -> Vec<String> {
        self.liveness.hung()
    }

    /// The number of a stream's label.
    fn label(&self, id: StreamId) -> usize {
        (id.0 as usize).min(self.streams.len() - 1)
    }

    fn stream(&self, id: StreamId) -> &Stream {
        &self.streams[self.label(id)]
    }

    /// Appends everything in Prometheus' text format. No lock is held while text is written but one that no thread takes while
    /// frames come.
    pub fn write(&self, text: &mut String) {
        let mut out = Exposition::new(text);
        let streams: Vec<(&str, &Stream)> = self.names.iter().map(String::as_str).zip(&self.streams).collect();
        self.about_the_program(&mut out);
        self.about_the_queue(&mut out, &streams);
        self.about_streams(&mut out, &streams);
        self.counters(&mut out, &streams);
        self.counts.write(&mut out, &self.names, &self.labels);
        if let Some(plan) = &self.publish {
            published::write(&mut out, plan, &|stream| &self.names[self.label(stream)]);
        }
        out.family("streamdet_stage_duration_seconds", "histogram", "Elapsed time of frames by stage.");
        for (name, stream) in &streams {
            for (stage, histogram) in STAGES.iter().zip(&stream.stages) {
                let counts = histogram.counts.each_ref().map(get);
                if counts.iter().any(|n| *n > 0) {
                    let sum_s = seconds(get(&histogram.sum_ns));
                    out.histogram(&[("stream", name), ("stage", stage.key())], &BOUNDS, &counts, sum_s);
                }
            }
        }
    }

    /// Appends what is known of the program alone.
    pub fn write_program(&self, text: &mut String) {
        self.about_the_program(&mut Exposition::new(text));
    }

    fn about_the_program(&self, out: &mut Exposition) {
        let [model, sha256] = &self.model;
        out.family("streamdet_build_info", "gauge", "The program's version.");
        out.sample(&[("version", env!("CARGO_PKG_VERSION")), ("arch", std::env::consts::ARCH)], 1);
        if let Some(provider) = &*lock(&self.provider) {
            out.family("streamdet_model_info", "gauge", "The model and where it runs.");
            let runs = [("provider", provider.actual.name()), ("precision", provider.detail.as_str())];
            out.sample(&[("model", model.as_str()), ("sha256", sha256), runs[0], runs[1]], 1);
        }
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let (s, ns) = (u64::try_from(cpu.tv_sec).unwrap_or(0), u64::try_from(cpu.tv_nsec).unwrap_or(0));
        out.family("process_cpu_seconds_total", "counter", "CPU time spent, all threads.");
        out.sample(&[], seconds(s * 1_000_000_000 + ns));
        out.family("streamdet_peak_resident_memory_bytes", "gauge", "Most memory held so far.");
        out.sample(&[], self.peak_bytes());
    }

    /// The queue is all streams', unless each has a run of its own.
    fn about_the_queue(&self, out: &mut Exposition, streams: &[(&str, &Stream)]) {
        let one = streams.first().filter(|_| self.is_one_of_several).map(|(name, _)| ("stream", *name));
        let labels = one.as_slice();
        let [waiting, capacity] = self.queue.each_ref().map(get);
        out.family("streamdet_queue_frames", "gauge", "Decoded frames in the queue to the model.");
        out.sample(labels, waiting);
        out.family("streamdet_queue_capacity_frames", "gauge", "Capacity of the queue to the model, frames.");
        out.sample(labels, capacity);
    }

    fn peak_bytes(&self) -> u64 {
        let now = self.clock.now();
        let mut peak = lock(&self.peak);
        match *peak {
            Some((read, bytes)) if now.since(read) < PEAK_FOR => bytes,
            _ => peak.insert((now, Resources::read().max_rss_bytes)).1,
        }
    }

    fn about_streams(&self, out: &mut Exposition, streams: &[(&str, &Stream)]) {
        out.family("streamdet_stream_info", "gauge", "A stream, once its first frame is decoded.");
        for (name, stream) in streams {
            if let Some(info) = &*lock(&stream.info) {
                let [width, height] = [info.size.width, info.size.height].map(|side| side.to_string());
                let size = [("width", width.as_str()), ("height", height.as_str())];
                out.sample(&[("stream", name), ("uri", &stream.uri), ("codec", &info.codec), size[0], size[1]], 1);
            }
        }
        let now = self.clock.now();
        out.family("streamdet_stream_up", "gauge", "Whether the stream delivers frames; 0 during an outage.");
        for (label, (name, _)) in streams.iter().enumerate() {
            let up = self.labelled(label).filter(|watched| watched.is_up(now, self.stall_timeout));
            out.sample(&[("stream", name)], up.count());
        }
        out.family(
            "streamdet_newest_frame_age_seconds",
            "gauge",
            "Time since the newest frame was processed; the longest of several streams.",
        );
        for (label, (name, _)) in streams.iter().enumerate() {
            let ages = self.labelled(label).filter(|watched| !watched.has_ended());
            if let Some(age) = ages.filter_map(|watched| watched.age(now)).max() {
                out.sample(&[("stream", name)], age.as_secs_f64());
            }
        }
        out.family(
            "streamdet_outage_seconds_total",
            "counter",
            "Time without frames in outages, each from the last frame before it on.",
        );
        for (label, (name, _)) in streams.iter().enumerate() {
            out.sample(&[("stream", name)], self.labelled(label).map(|watched| watched.outages_s(now)).sum::<f64>());
        }
        out.family("streamdet_fps", "gauge", "Frames processed in the last full second.");
        for (name, stream) in streams {
            let before = lock(&stream.pace).before(now);
            out.sample(&[("stream", name)], before);
        }
    }

    /// Streams that have the label of this number.
    fn labelled(&self, label: usize) -> impl Iterator<Item = &Watched> {
        let last = self.streams.len() - 1;
        self.watched
            .iter()
            .enumerate()
            .filter(move |(index, _)| (*index).min(last) == label)
            .map(|(_, watched)| watched)
    }

    fn counters(&self, out: &mut Exposition, streams: &[(&str, &Stream)]) {
        // Read once: that received = processed + dropped holds in every answer.
        let counts: Vec<_> = streams
            .iter()
            .map(|(name, stream)| (*name, get(&stream.processed), stream.dropped.each_ref().map(get), *stream))
            .collect();
        out.family("streamdet_frames_received_total", "counter", "Frames that left the decoder or were dropped in it.");
        for (name, processed, dropped, _) in &counts {
            out.sample(&[("stream", name)], processed + dropped.iter().sum::<u64>());
        }
        out.family("streamdet_frames_processed_total", "counter", "Frames annotated and handed to their outputs.");
        for (name, processed, ..) in &counts {
            out.sample(&[("stream", name)], processed);
        }
        out.family("streamdet_frames_inferred_total", "counter", "Frames run through the model.");
        for (name, _, _, stream) in &counts {
            out.sample(&[("stream", name)], get(&stream.inferred));
        }
        out.family("streamdet_frames_dropped_total", "counter", "Frames dropped, by reason.");
        for (name, _, dropped, _) in &counts {
            for (reason, count) in REASONS.iter().zip(dropped) {
                out.sample(&[("stream", name), ("reason", reason)], count);
            }
        }
        out.family("streamdet_reconnects_total", "counter", "Times a stream was re-established.");
        for (name, _, _, stream) in &counts {
            out.sample(&[("stream", name)], get(&stream.reconnects));
        }
        out.family(
            "streamdet_detections_total",
            "counter",
            "Detections, by class; a class appears with its first detection.",
        );
        for (name, _, _, stream) in &counts {
            for (class, count) in self.labels.iter().zip(&stream.detections).map(|(class, n)| (class, get(n))) {
                if count > 0 {
                    out.sample(&[("stream", name), ("class", class)], count);
                }
            }
        }
    }
}

impl Stream {
    fn new(uri: String, classes: usize) -> Self {
        Self {
            uri,
            info: Mutex::default(),
            pace: Mutex::default(),
            processed: AtomicU64::default(),
            inferred: AtomicU64::default(),
            dropped: Default::default(),
            reconnects: AtomicU64::default(),
            detections: (0..classes).map(|_| AtomicU64::default()).collect(),
            stages: STAGES.iter().map(|_| Histogram::default()).collect(),
        }
    }
}

impl Metrics {
    fn opened(&self, stream: StreamId, info: &StreamInfo, provider: Option<&ProviderReport>) {
        if let Some(provider) = provider {
            lock(&self.provider).get_or_insert_with(|| provider.clone());
        }
        self.connected(stream);
        let figures = self.stream(stream);
        if (stream.0 as usize) < STREAMS {
            *lock(&figures.info) = Some(info.clone());
        }
    }

    fn frame(&self, frame: &DecodedFrame, _size: Size) {
        let stream = self.stream(frame.stream);
        add(&stream.processed, 1);
        add(&stream.inferred, u64::from(frame.letterbox.is_some()));
        for found in &frame.detections {
            if let Some(label) = self.label_of.get(usize::from(found.class_id)) {
                add(&stream.detections[*label], 1);
            }
        }
        self.counts
            .add(self.label(frame.stream), &frame.events, |class| self.label_of.get(usize::from(class)).copied());
        lock(&stream.pace).frame(frame.stamps.handed_over);
        if let Some(watched) = self.watched(frame.stream) {
            watched.frame(frame.stamps.handed_over);
        }
    }

    fn record(&self, record: &FrameRecord) {
        let times = record.times();
        for (stage, histogram) in STAGES.iter().zip(&self.stream(record.stream).stages) {
            let Some(elapsed) = times.get(*stage) else { continue };
            let elapsed_s = elapsed.as_secs_f64();
            let bucket = BOUNDS_S.iter().position(|bound| elapsed_s <= *bound).unwrap_or(BOUNDS_S.len());
            add(&histogram.counts[bucket], 1);
            add(&histogram.sum_ns, u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    fn dropped(&self, stream: StreamId, Dropped { stale, queue_full, corrupt, failed }: Dropped, _at: HostTime) {
        for (counter, n) in self.stream(stream).dropped.iter().zip([stale, queue_full, corrupt, failed]) {
            add(counter, n);
        }
    }

    fn watched(&self, stream: StreamId) -> Option<&Watched> {
        self.watched.get(stream.0 as usize)
    }

    fn connected(&self, stream: StreamId) {
        if let Some(watched) = self.watched(stream) {
            watched.connect();
        }
    }

    fn disconnected(&self, stream: StreamId) {
        if let Some(watched) = self.watched(stream) {
            watched.disconnect(self.clock.now());
        }
    }

    fn outage(&self, stream: StreamId, gap: &Gap) {
        if let Some(watched) = self.watched(stream) {
            watched.outage(Duration::from_nanos(gap.to.ns.saturating_sub(gap.from.ns)));
        }
    }

    fn ended(&self, stream: StreamId) {
        if let Some(watched) = self.watched(stream) {
            watched.end(self.clock.now());
        }
    }

    fn reconnected(&self, stream: StreamId) {
        self.connected(stream);
        add(&self.stream(stream).reconnects, 1);
    }

    fn queue(&self, waiting: usize, capacity: usize) {
        for (gauge, value) in self.queue.iter().zip([waiting, capacity]) {
            gauge.store(value as u64, Ordering::Relaxed);
        }
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Metrics {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, provider } => self.opened(stream, info, provider),
            RunEvent::Reconnected { stream } => self.reconnected(stream),
            RunEvent::Disconnected { stream, .. } => self.disconnected(stream),
            RunEvent::StreamEnded { stream } => self.ended(stream),
            RunEvent::FrameDone { frame, size } => self.frame(frame, size),
            RunEvent::FrameRecorded(record) => self.record(record),
            RunEvent::Dropped { stream, dropped, at } => self.dropped(stream, dropped, at),
            RunEvent::Queue { waiting, capacity } => self.queue(waiting, capacity),
            RunEvent::Occupancy { stream, zones } => self.counts.occupy(stream.0 as usize, zones),
            RunEvent::Outage { stream, gap } => self.outage(stream, gap),
            RunEvent::Serving { .. }
            | RunEvent::Output { .. }
            | RunEvent::Notice(_)
            | RunEvent::Occurrence(_)
            | RunEvent::Failed { .. } => {}
        }
    }
}

/// A label for every class: its name, once; those after [`CLASSES`] share one.
fn class_labels(classes: &[String]) -> (Vec<usize>, Vec<String>) {
    let mut at: HashMap<&str, usize> = HashMap::new();
    let mut labels: Vec<String> = Vec::new();
    let mut label_of = Vec::with_capacity(classes.len());
    for class in classes {
        let label = if at.contains_key(class.as_str()) || labels.len() < CLASSES { class.as_str() } else { OTHER };
        label_of.push(*at.entry(label).or_insert_with(|| {
            labels.push(label.to_owned());
            labels.len() - 1
        }));
    }
    (label_of, labels)
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[expect(clippy::cast_precision_loss, reason = "a sum for people")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn bounds_are_written_as_they_are() {
        assert_eq!(BOUNDS_S.map(|bound| bound.to_string()), BOUNDS);
    }

    #[test]
    fn classes_are_few_and_their_labels_differ() {
        let classes: Vec<String> = (0..1000).map(|n| format!("class {}", n % 300)).collect();
        let (label_of, labels) = class_labels(&classes);
        assert_eq!((label_of.len(), labels.len()), (1000, CLASSES + 1));
        assert_eq!(labels.iter().collect::<HashSet<_>>().len(), labels.len());
        assert_eq!(labels[label_of[305]], "class 5");
        assert_eq!(labels[label_of[CLASSES]], OTHER);
    }
}
