//! A `GStreamer` pipeline of an output: made from a description, watched for failures, and started and stopped in bounded time.
//!
//! What writes to a disk or a network may hang in the system, where nothing wakes it. Starting and stopping are done on a
//! thread of their own, which is left alone when it does not return, with the pipeline it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::error::OutputError;
use crate::teardown::tear_down;
use crate::thread::{ThreadError, spawn};

/// How long an output may take nothing, while it is full or is to finish, before it counts as hung. A disk that spins up takes
/// less; a network mount that is away this long has missed more than the page cache makes up for.
pub(super) const STALL: Duration = Duration::from_secs(10);
/// Messages that wait to be read; the first failure says most.
const MESSAGES: usize = 8;

/// What a pipeline reports.
pub(super) enum BusEvent {
    /// It failed.
    Error(BusError),
    /// All of it is written.
    Eos,
}

/// What a pipeline says of its failure.
pub(super) struct BusError {
    pub message: String,
    debug: String,
    no_space: bool,
}

impl From<&gst::message::Error> for BusError {
    fn from(error: &gst::message::Error) -> Self {
        let debug = error.debug().map(|text| text.to_string()).unwrap_or_default();
        let error = error.error();
        Self { message: error.message().to_owned(), debug, no_space: error.matches(gst::ResourceError::NoSpaceLeft) }
    }
}

impl From<BusError> for OutputError {
    fn from(error: BusError) -> Self {
        let says = |text: &str| error.message.contains(text) || error.debug.contains(text);
        if error.no_space || says("No space left") {
            Self::DiskFull
        } else if says("reserved header space") {
            Self::IndexFull
        } else {
            Self::Failed(error.message)
        }
    }
}

/// A running count of what an output got done: one that stands still has hung.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Something was done.
    pub fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So much was done.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts every buffer that enters `element`.
    pub fn count_buffers(&self, element: &gst::Element) {
        let progress = self.clone();
        if let Some(pad) = element.static_pad("sink") {
            pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
                progress.advance();
                gst::PadProbeReturn::Ok
            });
        }
    }
}

/// The pipeline; stopped when it is dropped.
pub(super) struct Pipeline {
    inner: gst::Pipeline,
    /// What it is, for people: encoder, muxer, …
    what: &'static str,
    events: Receiver<BusEvent>,
    /// It is stopped, or does not return from being started or stopped.
    done: AtomicBool,
}

impl Pipeline {
    /// Makes it.
    ///
    /// # Errors
    /// When an element or a setting is not there.
    pub fn parse(what: &'static str, description: &str) -> Result<Self, OutputError> {
        let parsed = gst::parse::launch(description).map_err(|source| OutputError::SetUp { what, source })?;
        let inner = parsed.downcast::<gst::Pipeline>().map_err(|_| glib::bool_error!("not a pipeline"))?;
        let (tx, events) = bounded(MESSAGES);
        let bus = inner.bus().ok_or_else(|| glib::bool_error!("a pipeline without a bus"))?;
        bus.set_sync_handler(move |_, message| {
            let event = match message.view() {
                gst::MessageView::Error(error) => Some(BusEvent::Error(error.into())),
                gst::MessageView::Eos(_) => Some(BusEvent::Eos),
                _ => None,
            };
            if let Some(event) = event {
                // Where it is full, what came first says most.
                drop(tx.try_send(event));
            }
            gst::BusSyncReply::Drop
        });
        Ok(Self { inner, what, events, done: AtomicBool::new(false) })
    }

    /// `GStreamer`'s own.
    pub fn gst(&self) -> &gst::Pipeline {
        &self.inner
    }

    /// An element by its name in the description.
    ///
    /// # Errors
    /// When it is not there.
    pub fn element(&self, name: &str) -> Result<gst::Element, OutputError> {
        let found = self.inner.by_name(name);
        found.ok_or_else(|| glib::bool_error!("the {} has no element {}", self.what, name).into())
    }

    /// Where something enters it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn app_source(&self, name: &str) -> Result<gst_app::AppSrc, OutputError> {
        let element = self.element(name)?;
        element.downcast().map_err(|_| glib::bool_error!("{} is no input", name).into())
    }

    /// Where something leaves it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn app_sink(&self, name: &str) -> Result<gst_app::AppSink, OutputError> {
        let element = self.element(name)?;
        element.downcast().map_err(|_| glib::bool_error!("{} is no output", name).into())
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it fails, or does not return in time.
    pub fn start(&self) -> Result<(), OutputError> {
        match self.on_a_thread("mux-start", |pipeline| pipeline.set_state(gst::State::Playing).is_ok()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.error().map_or(OutputError::NotStarted(self.what), OutputError::from)),
            Err(error) => Err(error),
        }
    }

    /// Stops it; whether it did in time.
    pub fn stop(&self) -> bool {
        if self.done.swap(true, Ordering::SeqCst) {
            return true;
        }
        self.on_a_thread("mux-stop", tear_down).is_ok()
    }

    /// It has hung: it is left as it is, since stopping it would not return either.
    pub fn abandon(&self) {
        self.done.store(true, Ordering::SeqCst);
        // One reference stays for good: what is freed is stopped.
        std::mem::forget(self.inner.clone());
    }

    /// The next failure that it reported, if there is one.
    pub fn error(&self) -> Option<BusError> {
        self.events.try_iter().find_map(|event| match event {
            BusEvent::Error(error) => Some(error),
            BusEvent::Eos => None,
        })
    }

    /// What it reports.
    pub fn events(&self) -> &Receiver<BusEvent> {
        &self.events
    }

    /// Calls `change` with it on a thread of its own.
    fn on_a_thread<R: Send + 'static>(&self, thread: &str, change: fn(&gst::Pipeline) -> R) -> Result<R, OutputError> {
        let pipeline = self.inner.clone();
        let changed = match spawn(thread, move || change(&pipeline)) {
            Ok(thread) => thread.join_within(STALL),
            // Without a thread, as long as it takes.
            Err(_) => return Ok(change(&self.inner)),
        };
        changed.map_err(|error| match error {
            ThreadError::Late { within, .. } => {
                self.abandon();
                OutputError::Stalled(within)
            }
            error => error.into(),
        })
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        // What does not stop is left alone. Where that is an error, it was stopped before.
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_hangs_is_left_alone() {
        gst::init().expect("GStreamer");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let (mode, kind) = (rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("a pipe");
        let text = format!("fakesrc ! filesink location={}", path.display());
        let pipeline = Pipeline::parse("muxer", &text).expect("a pipeline");
        // A pipe without a reader: opening it does not return.
        assert!(matches!(pipeline.start(), Err(OutputError::Stalled(_))));
        drop(pipeline);
    }

    #[test]
    fn failures_and_the_end_are_reported() {
        gst::init().expect("GStreamer");
        let ends = Pipeline::parse("muxer", "fakesrc num-buffers=3 ! fakesink name=out").expect("a pipeline");
        let progress = Progress::default();
        progress.count_buffers(&ends.element("out").expect("the sink"));
        ends.start().expect("it starts");
        assert!(matches!(ends.events().recv(), Ok(BusEvent::Eos)));
        assert_eq!(progress.get(), 3);
        assert!(ends.stop());
        let full =
            Pipeline::parse("muxer", "fakesrc sizetype=fixed ! filesink buffer-mode=unbuffered location=/dev/full");
        let full = full.expect("a pipeline");
        full.start().expect("it starts");
        let Ok(BusEvent::Error(error)) = full.events().recv() else { panic!("it fails") };
        assert!(matches!(OutputError::from(error), OutputError::DiskFull));
    }
}
