//! What the threads of a run share. Nothing here is waited for while a stage computes: counters are atomic, and a stream's
//! figures belong to its sink thread, which alone takes their lock until the run has ended.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::file_names;
use super::sampler::Sampler;
use super::{Listener, OutputSpec, RunError, RunEvent, Settings};
use crate::clock::{Clock, HostTime};
use crate::detections::{DetectionOutput, FileNames};
use crate::inference::ProviderReport;
use crate::latency::{LatencyBook, SecondCounts};
use crate::model::Origin;
use crate::overlay::fonts::Fonts;
use crate::report::{StreamReport, TilingReport};
use crate::secrets::redact;
use crate::shutdown::Shutdown;
use crate::sink::Target;
use crate::stream::{AudioKept, Dropped, FrameCounters, LiveOutput, StreamId};
use crate::thread::{self, Thread, ThreadError};

/// What every thread of a run shares.
pub(super) struct Shared {
    pub settings: Settings,
    /// Where detections come from.
    pub origin: Origin,
    pub clock: Arc<dyn Clock>,
    pub listener: Arc<dyn Listener>,
    /// Draw the class names.
    pub fonts: Arc<Fonts>,
    /// What the files of each stream's frames are called by.
    pub names: Vec<FileNames>,
    /// Where detections go.
    pub detections: Vec<Box<dyn DetectionOutput>>,
    /// What the caller requests, and the user who closes the window.
    pub requested: Shutdown,
    /// The run's: requested with the caller's, and when the worker fails.
    pub shutdown: Shutdown,
    pub streams: Vec<Stream>,
    /// The execution provider that runs the model, once one does.
    pub provider: Mutex<Option<ProviderReport>>,
    /// Reads CPU times, where its thread could be started.
    pub sampler: Mutex<Option<Sampler>>,
    /// Frames of every second, of all streams; held for no longer than an addition.
    pub seconds: Mutex<SecondCounts>,
    errors: Mutex<Vec<RunError>>,
    /// No more frames come: what fails now is said soon enough.
    ending: AtomicBool,
    running: Mutex<VecDeque<Running>>,
}

/// A thread of the run that is to be joined.
pub(super) struct Running {
    /// The stream that fails with it; `None`: several.
    pub stream: Option<StreamId>,
    pub thread: Thread<()>,
}

/// What belongs to one stream.
pub(super) struct Stream {
    /// Requested with the run's, and when the stream's output fails; the others go on.
    pub shutdown: Shutdown,
    /// Its output failed: frames that still come are swallowed.
    pub failed: AtomicBool,
    pub counters: Arc<FrameCounters>,
    /// The sink thread's own.
    pub figures: Mutex<StreamFigures>,
}

/// What a stream's sink thread gathers.
pub(super) struct StreamFigures {
    pub report: StreamReport,
    pub book: LatencyBook,
    pub outputs: Vec<(PathBuf, AudioKept)>,
    pub live_outputs: Vec<LiveOutput>,
    pub objects: Vec<u64>,
    pub last_frame: Option<HostTime>,
}

/// What the worker gathers.
#[derive(Default)]
pub(super) struct WorkerFigures {
    /// Shape of the last run's input.
    pub input: [usize; 4],
    /// Runs of the model by how many frames they took.
    pub batches: BTreeMap<usize, u64>,
    pub tiling: Vec<(StreamId, TilingReport)>,
    /// When the session was there.
    pub first_frame: Option<HostTime>,
}

impl Stream {
    fn new(name: &str, run: &Shutdown, classes: usize) -> Self {
        let report = StreamReport { uri: redact(name), frame_rate: "0/1".into(), ..StreamReport::default() };
        let figures = StreamFigures {
            report,
            book: LatencyBook::new(),
            outputs: Vec::new(),
            live_outputs: Vec::new(),
            objects: vec![0; classes],
            last_frame: None,
        };
        Self {
            shutdown: run.child(),
            failed: AtomicBool::new(false),
            counters: Arc::default(),
            figures: Mutex::new(figures),
        }
    }

    pub fn figures(&self) -> MutexGuard<'_, StreamFigures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    pub fn new(
        settings: Settings,
        origin: Origin,
        clock: Arc<dyn Clock>,
        listener: Arc<dyn Listener>,
        detections: Vec<Box<dyn DetectionOutput>>,
        requested: &Shutdown,
    ) -> Self {
        let shutdown = requested.child();
        let stream = |name: &str| Stream::new(name, &shutdown, origin.classes.len());
        let draws = settings.jobs.iter().any(|job| !matches!(job.output, OutputSpec::None));
        let fonts = if draws { Fonts::for_names(&origin.classes) } else { Fonts::built_in() };
        Self {
            names: file_names(&settings.jobs),
            fonts: Arc::new(fonts),
            streams: settings.jobs.iter().map(|job| stream(&job.name)).collect(),
            settings,
            origin,
            clock,
            listener,
            detections,
            requested: requested.clone(),
            shutdown,
            provider: Mutex::new(None),
            sampler: Mutex::new(None),
            seconds: Mutex::default(),
            errors: Mutex::default(),
            ending: AtomicBool::new(false),
            running: Mutex::default(),
        }
    }

    pub fn stream(&self, stream: StreamId) -> &Stream {
        &self.streams[stream.0 as usize]
    }

    /// Requested when `stream` delivers no more.
    pub fn shutdown_of(&self, stream: StreamId) -> &Shutdown {
        &self.stream(stream).shutdown
    }

    /// The stream's name, without secrets.
    pub fn name_of(&self, stream: StreamId) -> String {
        redact(&self.settings.jobs[stream.0 as usize].name)
    }

    /// Counts frames of a stream that are not handed on.
    pub fn drop_frames(&self, stream: StreamId, dropped: Dropped) {
        self.stream(stream).counters.dropped(dropped);
        self.say_dropped(stream, dropped);
    }

    /// Counts frames that the sink thread was given and that came to nothing.
    pub fn swallow(&self, stream: StreamId, frames: u64) {
        self.stream(stream).counters.swallowed(frames);
        self.say_dropped(stream, Dropped { failed: frames, ..Dropped::default() });
    }

    pub fn say_dropped(&self, stream: StreamId, dropped: Dropped) {
        if dropped.total() > 0 {
            self.listener.on(&RunEvent::Dropped { stream, dropped, at: self.clock.now() });
        }
    }

    pub fn notice(&self, text: &str) {
        self.listener.on(&RunEvent::Notice(text));
    }

    pub fn fail(&self, error: RunError) {
        self.fail_of(None, error);
    }

    /// Something failed that only `stream` needs, where one is named.
    pub fn fail_of(&self, stream: Option<StreamId>, error: RunError) {
        let goes_on = self.goes_on_without(stream);
        self.listener.on(&RunEvent::Failed { stream, error: &error, goes_on });
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
    }

    /// Whether there are streams that go on without `stream`.
    fn goes_on_without(&self, stream: Option<StreamId>) -> bool {
        let mut others = (0..).zip(&self.streams).filter(|(number, _)| stream != Some(StreamId(*number)));
        !self.ending.load(Ordering::SeqCst) && others.any(|(_, other)| !other.shutdown.is_requested())
    }

    /// No more frames come.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// The stream's output failed: it ends, the others go on.
    pub fn fail_stream(&self, stream: StreamId, error: RunError) {
        self.end_stream(stream);
        self.fail_of(Some(stream), error);
    }

    /// A thread that failed ends `stream`, where it belongs to one.
    pub fn fail_thread(&self, stream: Option<StreamId>, source: ThreadError) {
        let Some(stream) = stream else { return self.fail(source.into()) };
        let (mut name, mut kept) = (self.name_of(stream), Vec::new());
        if source.thread().starts_with("sink-") {
            (name, kept) = self.outputs_of(stream);
        }
        if !matches!(source, ThreadError::Late { .. }) {
            // Outputs are finished without it.
            kept.clear();
        }
        self.fail_stream(stream, RunError::StreamThread { name, source, kept });
    }

    /// The stream's outputs for people, or its own name, without secrets; and the files that hold what was written of them.
    pub fn outputs_of(&self, stream: StreamId) -> (String, Vec<PathBuf>) {
        let OutputSpec::Stream(targets) = &self.settings.jobs[stream.0 as usize].output else {
            return (self.name_of(stream), Vec::new());
        };
        let names: Vec<String> = targets.iter().map(Target::name).collect();
        let written = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() > 0);
        (names.join(", "), targets.iter().filter_map(Target::part).filter(written).collect())
    }

    /// Ends a stream whose error is on record.
    pub fn end_stream(&self, stream: StreamId) {
        self.stream(stream).failed.store(true, Ordering::SeqCst);
        self.shutdown_of(stream).request();
    }

    /// The stream's source failed: what it delivered goes on to the outputs.
    pub fn fail_source(&self, stream: StreamId, error: RunError) {
        self.shutdown_of(stream).request();
        self.fail_of(Some(stream), error);
    }

    pub fn has_failed(&self, stream: StreamId) -> bool {
        self.stream(stream).failed.load(Ordering::SeqCst)
    }

    pub fn take_errors(&self) -> Vec<RunError> {
        std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has CPU times read, and waits for that.
    pub fn sample_now(&self) {
        let sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sampler) = sampler {
            sampler.now();
        }
    }

    /// Starts a thread that is joined at the end of the run; whether it could be started. A panic in it is reported at once.
    pub fn start(
        self: &Arc<Self>,
        stream: Option<StreamId>,
        name: String,
        body: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> bool {
        let (own, label) = (self.clone(), name.clone());
        let caught = move || {
            if let Err(panicked) = thread::catch(&label, || body(&own)) {
                own.fail_thread(stream, panicked);
            }
        };
        match thread::spawn(name, caught) {
            Ok(thread) => {
                self.running.lock().unwrap_or_else(PoisonError::into_inner).push_back(Running { stream, thread });
                true
            }
            Err(error) => {
                self.fail_thread(stream, error);
                false
            }
        }
    }

    /// A thread that was started and not joined yet.
    pub fn next_running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
