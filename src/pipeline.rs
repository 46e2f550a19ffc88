//! The only place that knows all the stages: threads, channels, and how a run begins and ends.
//!
//! Sources feed one bounded lane each; the worker (the calling thread) takes from them in turn, batches, infers and hands on to
//! one bounded channel a stream; each stream's sink thread draws, writes and counts. Nothing flows back but a full channel's
//! wait, and of a live source not even that: the newest frame wins.

mod delays;
mod deliver;
mod detect;
mod first;
mod snapshot;
mod tiles;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::channel::{Lane, WhenFull, lanes};
use crate::clock::{Clock, HostTime};
use crate::controls::Controls;
use crate::frame::StreamId;
use crate::geometry::Size;
use crate::inference::{InferenceError, ProviderOptions, ProviderReport, Runtime};
use crate::latency::{FrameRecord, LatencyBook, SecondCounts};
use crate::model::Model;
use crate::postprocess::Thresholds;
use crate::report::gpu::{GpuMeter, GpuUse};
use crate::report::threads::ThreadTimes;
use crate::report::{Dropped, FrameCounts, StreamReport};
use crate::sink::{EncoderOptions, LiveFigures, SinkError, Target};
use crate::source::{
    Address, FileSource, Gap, LiveOptions, Opening, Outlet, SourceError, SourceEvent, SourceFrame, StreamInfo, Wanted,
    Watcher, watch,
};
use crate::tiling::Tiling;

pub use delays::Delays;
pub use first::first_frames;

/// Decoded pictures between a recording and the worker: enough that decoding never waits for one slow run.
const DECODED: usize = 8;
/// The same for a source that does not wait: those that an encoder sends at once, since it stores them before one that is
/// shown earlier.
const DECODED_LIVE: usize = 4;
/// Pictures between worker and sink, a stream.
const INFERRED: usize = 4;
/// Files decoded at once; further ones wait their turn.
const SOURCES_AT_ONCE: usize = 2;

/// What is watched.
#[derive(Debug, Clone)]
pub enum SourceSpec {
    /// One recorded file.
    Video(PathBuf),
    /// Pictures, one stream in this order.
    Pictures(Vec<PathBuf>),
    /// What is there only while it lasts.
    Live(Address),
}

impl Job {
    /// A short name for files.
    fn stem(&self) -> String {
        match &self.source {
            SourceSpec::Live(address) => address.stem(),
            _ => Path::new(&self.name).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned()),
        }
    }
}

impl SourceSpec {
    /// Whether its frames are all of one size, or change it hardly ever.
    fn is_video(&self) -> bool {
        !matches!(self, Self::Pictures(_))
    }

    /// Whether it does not wait for us.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }
}

/// Where the annotated result goes.
#[derive(Debug, Clone)]
pub enum OutputSpec {
    /// Nowhere.
    None,
    /// One picture's file.
    Picture(PathBuf),
    /// A folder, for pictures under their own names.
    Folder(PathBuf),
    /// Wherever video goes; it is encoded once for all of them.
    Stream(Vec<Target>),
}

/// One source with its output.
#[derive(Debug, Clone)]
pub struct Job {
    /// As the user named it, without secrets.
    pub name: String,
    /// What is watched.
    pub source: SourceSpec,
    /// Where the result goes.
    pub output: OutputSpec,
    /// A recording comes in its own time, since someone watches; no frame of it is dropped for that.
    pub paced: bool,
}

/// Everything a run needs, validated.
pub struct Settings {
    /// Sources with their outputs, in order of their stream numbers.
    pub jobs: Vec<Job>,
    /// Video track, from 1.
    pub track: Option<u32>,
    /// Input size for dynamic models.
    pub imgsz: Size,
    /// What is kept.
    pub thresholds: Thresholds,
    /// Frames a run, at most.
    pub batch: usize,
    /// How long a batch waits to fill.
    pub batch_timeout: Duration,
    /// Tiles the model sees beside the whole picture.
    pub tiling: Option<Tiling>,
    /// Time that packing, the model's run and reading may take a frame: tiles are left out to keep to it.
    pub target_latency: Option<Duration>,
    /// Frames a stream, at most.
    pub frames: Option<u64>,
    /// Every Nth frame is inferred.
    pub stride: u64,
    /// Files come as from a live source: in their own time, and the newest frame wins.
    pub real_time: bool,
    /// How live sources are dealt with.
    pub live: LiveOptions,
    /// Delays put into the stages.
    pub delays: Delays,
    /// Provider and precision.
    pub provider: ProviderOptions,
    /// How boxes look.
    pub style: crate::overlay::Style,
    /// What may change meanwhile: the confidence (that of `thresholds` to begin with), figures in the picture, pauses.
    pub controls: Arc<Controls>,
    /// Encoder settings.
    pub encoder: EncoderOptions,
    /// Folder for YOLO text labels.
    pub save_txt: Option<PathBuf>,
    /// Folder for cut-outs of the objects.
    pub crops: Option<PathBuf>,
}

/// Told of what happens, as it happens.
pub trait Observer: Send + Sync {
    /// A stream's first picture is there.
    fn opened(&self, _stream: StreamId, _info: &StreamInfo, _provider: Option<&ProviderReport>) {}
    /// A frame was drawn and handed to its sink.
    fn frame(&self, _frame: &SourceFrame, _size: Size) {}
    /// All is known of a frame, its time in the encoder included; in order within a stream, some frames later.
    fn record(&self, _record: &FrameRecord) {}
    /// Frames of a stream were lost.
    fn dropped(&self, _stream: StreamId, _dropped: Dropped, _at: HostTime) {}
    /// A stream is away, for this reason, and is tried again.
    fn away(&self, _stream: StreamId, _reason: &str) {}
    /// A stream was re-established.
    fn reconnected(&self, _stream: StreamId) {}
    /// How long a stream was away, once that is known.
    fn gap(&self, _stream: StreamId, _gap: &Gap) {}
    /// Nothing more comes from a stream that was open, and its output is finished.
    fn ended(&self, _stream: StreamId) {}
    /// So many decoded frames wait for the worker, of so many that may.
    fn queue(&self, _waiting: usize, _capacity: usize) {}
    /// The annotated stream can be watched at this address from now on.
    fn serving(&self, _stream: StreamId, address: &str) {
        self.notice(&format!("serving {address}"));
    }
    /// Something the user should know.
    fn notice(&self, _text: &str) {}
    /// Something failed; it is said at the end of the run as well.
    fn failed(&self, _stream: Option<StreamId>, _error: &RunError) {}
}

/// Several observers, told one after the other.
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn opened(&self, stream: StreamId, info: &StreamInfo, provider: Option<&ProviderReport>) {
        self.0.iter().for_each(|one| one.opened(stream, info, provider));
    }

    fn frame(&self, frame: &SourceFrame, size: Size) {
        self.0.iter().for_each(|one| one.frame(frame, size));
    }

    fn record(&self, record: &FrameRecord) {
        self.0.iter().for_each(|one| one.record(record));
    }

    fn dropped(&self, stream: StreamId, dropped: Dropped, at: HostTime) {
        self.0.iter().for_each(|one| one.dropped(stream, dropped, at));
    }

    fn away(&self, stream: StreamId, reason: &str) {
        self.0.iter().for_each(|one| one.away(stream, reason));
    }

    fn gap(&self, stream: StreamId, gap: &Gap) {
        self.0.iter().for_each(|one| one.gap(stream, gap));
    }

    fn reconnected(&self, stream: StreamId) {
        self.0.iter().for_each(|one| one.reconnected(stream));
    }

    fn ended(&self, stream: StreamId) {
        self.0.iter().for_each(|one| one.ended(stream));
    }

    fn queue(&self, waiting: usize, capacity: usize) {
        self.0.iter().for_each(|one| one.queue(waiting, capacity));
    }

    fn serving(&self, stream: StreamId, address: &str) {
        self.0.iter().for_each(|one| one.serving(stream, address));
    }

    fn notice(&self, text: &str) {
        self.0.iter().for_each(|one| one.notice(text));
    }

    fn failed(&self, stream: Option<StreamId>, error: &RunError) {
        self.0.iter().for_each(|one| one.failed(stream, error));
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An output.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The model's run.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The model's output.
    #[error(transparent)]
    Postprocess(#[from] crate::postprocess::PostprocessError),
    /// Drawing.
    #[error(transparent)]
    Overlay(#[from] crate::overlay::OverlayError),
    /// Labels, crops or detections.
    #[error("{path}: {problem}")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// A thread could not be started or died.
    #[error("internal: {0}")]
    Thread(String),
}

impl RunError {
    fn write(path: &std::path::Path, problem: &dyn std::fmt::Display) -> Self {
        Self::Write { path: path.display().to_string(), problem: problem.to_string() }
    }

    /// Whether the input or the settings were unusable, rather than the run having failed. A model that cannot be run, or
    /// whose outputs are not what they should be, is so from its first frame on.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Source(SourceError::Unusable { .. })
                | Self::Sink(
                    SinkError::Exists(_)
                        | SinkError::Unwritable { .. }
                        | SinkError::Address { .. }
                        | SinkError::Unreachable { .. }
                        | SinkError::NoDisplay { .. }
                        | SinkError::TwoCodecs { .. }
                )
                | Self::Inference(InferenceError::Provider { .. } | InferenceError::Run(_))
                | Self::Postprocess(_)
        )
    }
}

/// What came out.
pub struct Outcome {
    /// One a source.
    pub streams: Vec<StreamReport>,
    /// Latencies of all streams.
    pub book: LatencyBook,
    /// Frames handed over in every second.
    pub seconds: SecondCounts,
    /// The provider that ran, once one did.
    pub provider: Option<ProviderReport>,
    /// Shape of the last run's input.
    pub input: [usize; 4],
    /// Files written, with whether audio was kept.
    pub outputs: Vec<(PathBuf, usize)>,
    /// What was sent to whoever watched.
    pub live_outputs: Vec<LiveFigures>,
    /// Objects seen, by class id.
    pub objects: Vec<u64>,
    /// Runs of the model by how many frames they took.
    pub batches: BTreeMap<usize, u64>,
    /// Whom the processors worked for.
    pub threads: ThreadTimes,
    /// The GPU's part, where one is seen.
    pub gpu: Option<GpuUse>,
    /// Everything that went wrong.
    pub errors: Vec<RunError>,
    /// When the first frame could be processed: it was decoded, and the session was there.
    pub first_frame: Option<HostTime>,
    /// When the last frame was handed over.
    pub last_frame: Option<HostTime>,
}

/// What sink threads gather.
struct Tally {
    streams: Vec<StreamReport>,
    book: LatencyBook,
    seconds: SecondCounts,
    outputs: Vec<(PathBuf, usize)>,
    live_outputs: Vec<LiveFigures>,
    objects: Vec<u64>,
    batches: BTreeMap<usize, u64>,
    threads: ThreadTimes,
    gpu: Option<GpuMeter>,
    errors: Vec<RunError>,
    first_frame: Option<HostTime>,
    last_frame: Option<HostTime>,
}

/// What every thread of a run shares.
struct Shared {
    settings: Settings,
    model: Model,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    json: Option<Mutex<Box<dyn std::io::Write + Send>>>,
    interrupted: Arc<AtomicBool>,
    /// Set when the worker failed: everybody ends.
    failed: AtomicBool,
    /// One a stream, set when its output failed: it ends, the others go on.
    stream_failed: Vec<AtomicBool>,
    tally: Mutex<Tally>,
    provider: Mutex<Option<ProviderReport>>,
}

impl Shared {
    fn stopping(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst) || self.failed.load(Ordering::SeqCst)
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts frames of a stream that are not handed on.
    fn lose(&self, stream: usize, lost: Dropped) {
        let frames = &mut self.tally().streams[stream].frames;
        frames.received += lost.total();
        frames.dropped.add(lost);
        self.observer.dropped(StreamId(u32::try_from(stream).unwrap_or(u32::MAX)), lost, self.clock.now());
    }

    fn fail(&self, error: RunError) {
        self.fail_of(None, error);
    }

    /// Something failed that only `stream` needs, where one is named.
    fn fail_of(&self, stream: Option<StreamId>, error: RunError) {
        self.observer.failed(stream, &error);
        self.tally().errors.push(error);
    }

    fn fail_stream(&self, stream: StreamId, error: RunError) {
        self.stream_failed[stream.0 as usize].store(true, Ordering::SeqCst);
        self.fail_of(Some(stream), error);
    }

    fn has_failed(&self, stream: StreamId) -> bool {
        self.stream_failed[stream.0 as usize].load(Ordering::SeqCst)
    }
}

/// What goes to a stream's sink thread.
enum SinkEvent {
    Open(Box<Opening>),
    Reopen(Box<Opening>),
    Gap(Box<Gap>),
    Frame(Box<SourceFrame>),
}

/// Runs `settings` to the end, or until `interrupted`.
///
/// # Panics
/// When a frame is unaccounted for, which would be a bug.
#[must_use]
pub fn run(
    settings: Settings,
    model: Model,
    runtime: &Runtime,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    json: Option<Box<dyn std::io::Write + Send>>,
    interrupted: Arc<AtomicBool>,
) -> Outcome {
    let streams = settings
        .jobs
        .iter()
        .map(|job| StreamReport {
            uri: crate::report::redact(&job.name),
            frame_rate: "0/1".into(),
            width: 0,
            height: 0,
            frames: FrameCounts::default(),
            reconnects: 0,
            outages_s: 0.0,
            outages: Vec::new(),
            tiling: None,
        })
        .collect();
    let shared = Arc::new(Shared {
        tally: Mutex::new(Tally {
            streams,
            book: LatencyBook::new(),
            seconds: SecondCounts::default(),
            outputs: Vec::new(),
            live_outputs: Vec::new(),
            objects: vec![0; model.classes.len()],
            batches: BTreeMap::new(),
            threads: ThreadTimes::default(),
            gpu: GpuMeter::start(settings.provider.device_id),
            errors: Vec::new(),
            first_frame: None,
            last_frame: None,
        }),
        stream_failed: settings.jobs.iter().map(|_| AtomicBool::new(false)).collect(),
        settings,
        model,
        clock,
        observer,
        json: json.map(Mutex::new),
        interrupted,
        failed: AtomicBool::new(false),
        provider: Mutex::new(None),
    });

    let capacity = if shared.settings.real_time || shared.settings.jobs.iter().any(|job| job.source.is_live()) {
        DECODED_LIVE
    } else {
        DECODED
    };
    let (lanes, decoded) = lanes::<SourceEvent>("decoded", shared.settings.jobs.len(), capacity);
    let (ready_tx, ready_rx) = bounded::<()>(0);
    let (mut to_sinks, threads) = start_sources(&shared, lanes, &ready_rx);
    drop(ready_rx);

    let mut input = [0; 4];
    if let Err(error) = detect::work(&shared, runtime, (&decoded, ready_tx), &mut to_sinks, &mut input) {
        shared.failed.store(true, Ordering::SeqCst);
        shared.fail(error);
    }
    drop((decoded, to_sinks));
    for thread in threads {
        if thread.join().is_err() {
            shared.fail(RunError::Thread("a source thread panicked".into()));
        }
    }
    if let Some(json) = &shared.json
        && let Err(e) = json.lock().unwrap_or_else(PoisonError::into_inner).flush()
    {
        shared.fail(RunError::Write { path: "--json".into(), problem: e.to_string() });
    }
    let mut tally = shared.tally();
    tally.book.settle();
    for stream in &tally.streams {
        let f = stream.frames;
        assert_eq!(f.received, f.processed + f.dropped.total(), "every frame of {} is accounted for", stream.uri);
    }
    Outcome {
        streams: std::mem::take(&mut tally.streams),
        book: std::mem::take(&mut tally.book),
        seconds: std::mem::take(&mut tally.seconds),
        provider: shared.provider.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        input,
        outputs: std::mem::take(&mut tally.outputs),
        live_outputs: std::mem::take(&mut tally.live_outputs),
        objects: std::mem::take(&mut tally.objects),
        batches: std::mem::take(&mut tally.batches),
        threads: std::mem::take(&mut tally.threads),
        gpu: tally.gpu.take().map(GpuMeter::finish),
        errors: std::mem::take(&mut tally.errors),
        first_frame: tally.first_frame,
        last_frame: tally.last_frame,
    }
}

/// A way to every stream's sink, by stream.
type ToSinks = Vec<Option<Sender<SinkEvent>>>;

/// Starts a thread for every live source, and a few for all recordings, which come one after the other.
fn start_sources(
    shared: &Arc<Shared>,
    lanes: Vec<Lane<SourceEvent>>,
    ready: &Receiver<()>,
) -> (ToSinks, Vec<JoinHandle<()>>) {
    let jobs = &shared.settings.jobs;
    let (mut to_sinks, mut threads) = (Vec::new(), Vec::new());
    let (queue_tx, queue_rx) = bounded(jobs.len().max(1));
    let mut start =
        |name: String, body: Box<dyn FnOnce() + Send>| match std::thread::Builder::new().name(name).spawn(body) {
            Ok(thread) => threads.push(thread),
            Err(e) => shared.fail(RunError::Thread(e.to_string())),
        };
    for (index, events) in lanes.into_iter().enumerate() {
        let (tx, rx) = bounded::<SinkEvent>(INFERRED);
        to_sinks.push(Some(tx));
        if jobs[index].source.is_live() {
            // It waits for no other to end.
            let (own, ready) = (shared.clone(), ready.clone());
            start(format!("source-{index}"), Box::new(move || run_job(&own, index, rx, (&events, &ready))));
        } else {
            let _ = queue_tx.send((index, rx, events));
        }
    }
    drop(queue_tx);
    for number in 0..SOURCES_AT_ONCE.min(queue_rx.len()) {
        let (own, queue, ready) = (shared.clone(), queue_rx.clone(), ready.clone());
        let body = move || {
            while let Ok((index, rx, events)) = queue.recv() {
                run_job(&own, index, rx, (&events, &ready));
            }
        };
        start(format!("source-{number}"), Box::new(body));
    }
    (to_sinks, threads)
}

/// One source from open to the end of its output, on the calling thread.
fn run_job(
    shared: &Arc<Shared>,
    index: usize,
    frames: Receiver<SinkEvent>,
    (events, ready): (&Lane<SourceEvent>, &Receiver<()>),
) {
    let stream = StreamId(u32::try_from(index).unwrap_or(u32::MAX));
    let sink = {
        let shared = shared.clone();
        std::thread::Builder::new().name(format!("sink-{index}")).spawn(move || deliver::run(&shared, stream, &frames))
    };
    let lost = if shared.stopping() { 0 } else { feed(shared, stream, events, ready) };
    let _ = events.note(SourceEvent::End(stream, lost));
    match sink.map(std::thread::JoinHandle::join) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => shared.fail(RunError::Thread("a sink thread panicked".into())),
        Err(e) => shared.fail(RunError::Thread(e.to_string())),
    }
}

/// Decodes a job's source into the channel; returns the coded frames that were lost.
fn feed(shared: &Shared, stream: StreamId, events: &Lane<SourceEvent>, ready: &Receiver<()>) -> u64 {
    let settings = &shared.settings;
    let head = settings.batch as u64;
    let outlet = Outlet {
        stream,
        events: events.clone(),
        clock: shared.clock.clone(),
        ready: ready.clone(),
        head,
        controls: settings.controls.clone(),
    };
    let wanted = Wanted {
        track: settings.track,
        limit: settings.frames,
        picture: None,
        real_time: settings.real_time,
        delay: settings.delays.decode,
    };
    let failed = |error: SourceError| {
        shared.fail_of(Some(stream), error.into());
        0
    };
    match &settings.jobs[stream.0 as usize].source {
        SourceSpec::Video(path) => {
            if settings.real_time {
                events.set_when_full(WhenFull::OldestGoes);
            }
            let real_time = settings.real_time || settings.jobs[stream.0 as usize].paced;
            feed_file(shared, path, Wanted { real_time, ..wanted }, &outlet, true).unwrap_or_else(failed)
        }
        SourceSpec::Pictures(paths) => feed_pictures(shared, paths, &outlet),
        SourceSpec::Live(address) => {
            let wanted = Wanted { real_time: false, ..wanted };
            watch(address, &settings.live, &wanted, &outlet, &Watching { shared, stream }).unwrap_or_else(failed)
        }
    }
}

/// Watches a live source on behalf of a run.
struct Watching<'a> {
    shared: &'a Shared,
    stream: StreamId,
}

impl Watcher for Watching<'_> {
    fn is_stopping(&self) -> bool {
        self.shared.stopping() || self.shared.has_failed(self.stream)
    }

    fn away(&self, reason: &str) {
        self.shared.observer.away(self.stream, reason);
    }
}

/// Pictures one after the other, one stream; a bad one costs itself, not the folder.
fn feed_pictures(shared: &Shared, paths: &[PathBuf], outlet: &Outlet) -> u64 {
    let most = shared.settings.frames.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let (mut lost, mut opened, mut last) = (0, false, None);
    for (number, path) in (0..).zip(paths.iter().take(most)) {
        if shared.stopping() || shared.has_failed(outlet.stream) {
            return lost;
        }
        let picture = Some((Arc::from(path.display().to_string()), number));
        let wanted = Wanted { limit: Some(1), picture, delay: shared.settings.delays.decode, ..Wanted::default() };
        match feed_file(shared, path, wanted, outlet, !opened) {
            Ok(_) => opened = true,
            Err(error) => {
                lost += 1;
                if paths.len() > 1 {
                    shared.observer.notice(&error.to_string());
                }
                last = Some(error);
            }
        }
    }
    match last {
        // One picture, or a folder without a single good one.
        Some(error) if !opened => {
            shared.fail_of(Some(outlet.stream), error.into());
            0
        }
        _ => lost,
    }
}

/// One file from open to end; `first` says whether its opening is the stream's.
fn feed_file(
    shared: &Shared,
    path: &std::path::Path,
    wanted: Wanted,
    outlet: &Outlet,
    first: bool,
) -> Result<u64, SourceError> {
    let mut source = FileSource::open(path, wanted, outlet)?;
    if first {
        let opening = (source.info().clone(), source.take_sides());
        let _ = outlet.events.note(SourceEvent::Open(outlet.stream, Box::new(opening)));
    }
    source.release();
    source.wait(&|| shared.stopping() || shared.has_failed(outlet.stream))
}
