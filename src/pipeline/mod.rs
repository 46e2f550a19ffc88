//! The only place that knows all the stages: threads, channels, and how a run begins and ends.
//!
//! Sources feed one bounded lane each; the worker (the calling thread) takes from them in turn, batches, infers and hands on to
//! one bounded channel a stream; each stream's sink thread draws, writes and counts. Nothing flows back but a full channel's
//! wait, and of a live source not even that: the newest frame wins.

mod delays;
mod deliver;
mod event_log;
mod events;
mod feed;
mod first;
pub mod instruments;
mod job;
pub mod plan;
mod sinks;
mod snapshot;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::channel::lanes;
use crate::clock::{Clock, HostTime};
use crate::controls::Controls;
use crate::detections::{DetectionError, DetectionOutput};
use crate::detector::DetectError;
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::inference::{ProviderOptions, ProviderReport, Runtime};
use crate::latency::{LatencyBook, SecondCounts};
use crate::model::Model;
use crate::postprocess::Thresholds;
use crate::report::StreamReport;
use crate::report::figures::RunFigures;
use crate::report::gpu::GpuMeter;
use crate::report::threads::ThreadTimes;
use crate::shutdown::Shutdown;
use crate::sink::{EncoderOptions, SinkError};
use crate::source::{LiveOptions, SourceError, SourceEvent};
use crate::stills::StillError;
use crate::stream::{Dropped, FrameCounts, Gap, LiveOutput, Opening, StreamId};
use crate::tiling::Tiling;

pub use delays::Delays;
pub use event_log::EventLog;
pub use events::{Listener, RunEvent};
pub use first::first_frames;
pub use job::{Job, OutputSpec, SourceSpec};

/// Decoded pictures between a recording and the worker: enough that decoding never waits for one slow run.
const DECODED: usize = 8;
/// The same for a source that does not wait: those that an encoder sends at once, since it stores them before one that is
/// shown earlier.
const DECODED_LIVE: usize = 4;

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
    /// The model's run, or its output.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// Drawing.
    #[error(transparent)]
    Overlay(#[from] crate::overlay::OverlayError),
    /// Annotated still images.
    #[error(transparent)]
    Still(#[from] StillError),
    /// Detections going out: JSON Lines, labels, crops.
    #[error(transparent)]
    Detections(#[from] DetectionError),
    /// A thread could not be started or died.
    #[error("internal: {0}")]
    Thread(String),
}

impl RunError {
    /// Whether the input or the settings were unusable, rather than the run having failed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        if let Self::Detect(error) = self {
            return error.is_usage();
        }
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
                | Self::Still(_)
        )
    }
}

/// How a run went.
pub struct Outcome {
    /// What it measured.
    pub figures: RunFigures,
    /// Everything that went wrong.
    pub errors: Vec<RunError>,
}

/// What sink threads gather.
struct Tally {
    streams: Vec<StreamReport>,
    book: LatencyBook,
    seconds: SecondCounts,
    outputs: Vec<(PathBuf, usize)>,
    live_outputs: Vec<LiveOutput>,
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
    listener: Arc<dyn Listener>,
    /// Where detections go.
    detections: Vec<Box<dyn DetectionOutput>>,
    /// What the caller requests, and the user who closes the window.
    requested: Shutdown,
    /// The run's: requested with the caller's, and when the worker fails.
    shutdown: Shutdown,
    /// One a stream: requested with the run's, and when the stream's output fails; the others go on.
    streams: Vec<Shutdown>,
    /// One a stream, set when its output failed.
    stream_failed: Vec<AtomicBool>,
    tally: Mutex<Tally>,
    provider: Mutex<Option<ProviderReport>>,
}

impl Shared {
    /// Requested when `stream` delivers no more.
    fn shutdown_of(&self, stream: StreamId) -> &Shutdown {
        &self.streams[stream.0 as usize]
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts frames of a stream that are not handed on.
    fn lose(&self, stream: usize, lost: Dropped) {
        let frames = &mut self.tally().streams[stream].frames;
        frames.received += lost.total();
        frames.dropped.add(lost);
        let stream = StreamId(u32::try_from(stream).unwrap_or(u32::MAX));
        self.listener.on(&RunEvent::Dropped { stream, dropped: lost, at: self.clock.now() });
    }

    fn fail(&self, error: RunError) {
        self.fail_of(None, error);
    }

    /// Something failed that only `stream` needs, where one is named.
    fn fail_of(&self, stream: Option<StreamId>, error: RunError) {
        self.listener.on(&RunEvent::Failed { stream, error: &error });
        self.tally().errors.push(error);
    }

    fn fail_stream(&self, stream: StreamId, error: RunError) {
        self.end_stream(stream);
        self.fail_of(Some(stream), error);
    }

    /// Ends a stream whose error is on record.
    fn end_stream(&self, stream: StreamId) {
        self.stream_failed[stream.0 as usize].store(true, Ordering::SeqCst);
        self.shutdown_of(stream).request();
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
    Frame(Box<DecodedFrame>),
}

/// Runs `settings` to the end, or until `requested`.
///
/// # Panics
/// When a frame is unaccounted for, which would be a bug.
#[must_use]
pub fn run(
    settings: Settings,
    model: Model,
    runtime: &Runtime,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn Listener>,
    detections: Vec<Box<dyn DetectionOutput>>,
    requested: &Shutdown,
) -> Outcome {
    let streams = settings
        .jobs
        .iter()
        .map(|job| StreamReport {
            uri: crate::secrets::redact(&job.name),
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
    let shutdown = requested.child();
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
        streams: settings.jobs.iter().map(|_| shutdown.child()).collect(),
        stream_failed: settings.jobs.iter().map(|_| AtomicBool::new(false)).collect(),
        settings,
        model,
        clock,
        listener,
        detections,
        requested: requested.clone(),
        shutdown,
        provider: Mutex::new(None),
    });

    let capacity = if shared.settings.real_time || shared.settings.jobs.iter().any(|job| job.source.is_live()) {
        DECODED_LIVE
    } else {
        DECODED
    };
    let (lanes, decoded) = lanes::<SourceEvent>("decoded", shared.settings.jobs.len(), capacity);
    let (ready_tx, ready_rx) = bounded::<()>(0);
    let (mut to_sinks, threads) = feed::start(&shared, lanes, &ready_rx);
    drop(ready_rx);

    let mut input = [0; 4];
    if let Err(error) = worker::work(&shared, runtime, (&decoded, ready_tx), &mut to_sinks, &mut input) {
        shared.shutdown.request();
        shared.fail(error);
    }
    drop((decoded, to_sinks));
    for thread in threads {
        if thread.join().is_err() {
            shared.fail(RunError::Thread("a source thread panicked".into()));
        }
    }
    for output in &shared.detections {
        if let Err(error) = output.finish(&shared.shutdown) {
            sinks::handle(&shared, output.on_error(&error), error);
        }
    }
    let mut tally = shared.tally();
    tally.book.settle();
    for stream in &tally.streams {
        let f = stream.frames;
        assert_eq!(f.received, f.processed + f.dropped.total(), "every frame of {} is accounted for", stream.uri);
    }
    let figures = RunFigures {
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
        first_frame: tally.first_frame,
        last_frame: tally.last_frame,
    };
    Outcome { figures, errors: std::mem::take(&mut tally.errors) }
}
