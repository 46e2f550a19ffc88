//! The only place that knows all the stages: threads, channels, and how a run begins and ends.
//!
//! Sources feed one bounded lane each; the worker (the calling thread) takes from them in turn, batches, infers and hands on to
//! one bounded channel a stream; each stream's sink thread draws, writes and counts. Nothing flows back but a full channel's
//! wait, and of a live source not even that: the newest frame wins.
//!
//! A panic in a thread ends its stream with an error, the worker's ends the run. A thread that does not end is left alone,
//! which is an error, too: nothing waits forever (`pipeline/drain.rs`).

mod count;
mod delays;
mod deliver;
mod drain;
mod error;
mod event_log;
mod events;
mod feed;
mod finder;
mod first;
mod handover;
mod heat;
mod images;
pub mod instruments;
mod job;
mod locate;
mod outbox;
pub mod plan;
mod sampler;
mod settings;
mod shared;
mod sinks;
mod snapshot;
mod warm_up;
mod worker;

use std::sync::{Arc, PoisonError};

use crate::channel::lanes;
use crate::clock::Clock;
use crate::detections::DetectionOutput;
use crate::latency::LatencyBook;
use crate::report::figures::RunFigures;
use crate::shutdown::Shutdown;
use crate::source::SourceEvent;
use crate::stream::{Dropped, StreamId};
use crate::thread;
use outbox::Outboxes;
use sampler::{Sampled, Sampler};
use shared::{Shared, StreamFigures, WorkerFigures};

pub use delays::Delays;
pub use error::RunError;
pub use event_log::EventLog;
pub use events::{Listener, RunEvent};
pub use finder::Finder;
pub use first::first_frames;
pub use images::{Images, NextImage, decode_image};
pub use job::{Job, OutputSpec, SourceSpec, stream_names};
pub use settings::Settings;

/// Decoded frames between a recording and the worker: enough that decoding never waits for one slow run.
const DECODED: usize = 8;
/// The same for a live source: as many as an encoder sends at once, since it stores them before one that is shown earlier.
const DECODED_LIVE: usize = 4;

/// How a run went.
pub struct Outcome {
    /// What it measured.
    pub figures: RunFigures,
    /// Everything that went wrong.
    pub errors: Vec<RunError>,
}

/// Runs `settings` to the end, or until `requested`.
#[must_use]
pub fn run(
    settings: Settings,
    finder: &Finder,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn Listener>,
    detections: Vec<Box<dyn DetectionOutput>>,
    requested: &Shutdown,
) -> Outcome {
    let shared = Arc::new(Shared::new(settings, finder.origin(), clock, listener, detections, requested));
    if let Some(notice) = shared.fonts.notice() {
        shared.notice(&notice);
    }
    for output in &shared.detections {
        let listener = shared.listener.clone();
        output.listen(Arc::new(move |text| listener.on(&RunEvent::Occurrence(text))));
    }
    let sampling = Sampler::start(shared.settings.provider.device_id).map_err(|e| shared.fail(e.into())).ok();
    let sampling = sampling.map(|(sampler, thread)| {
        *shared.sampler.lock().unwrap_or_else(PoisonError::into_inner) = Some(sampler);
        thread
    });
    let worker = work(&shared, finder);
    shared.end();
    drain::join(&shared);
    for output in &shared.detections {
        if let Err(error) = output.finish(&shared.shutdown) {
            sinks::handle(&shared, output.on_error(&error), error);
        }
    }
    // Its thread ends when nobody can ask it any more.
    drop(shared.sampler.lock().unwrap_or_else(PoisonError::into_inner).take());
    let sampled = sampling.and_then(|thread| thread.join_within(drain::SOON).map_err(|e| shared.fail(e.into())).ok());
    let figures = sum_up(&shared, worker, sampled.unwrap_or_default());
    Outcome { figures, errors: shared.take_errors() }
}

/// Runs the sources and the worker until nothing more comes; sink threads finish their outputs meanwhile and afterwards.
fn work(shared: &Arc<Shared>, finder: &Finder) -> WorkerFigures {
    let jobs = &shared.settings.jobs;
    let live = shared.settings.real_time || jobs.iter().any(|job| job.source.is_live());
    let (lanes, decoded) = lanes("decoded", jobs.len(), if live { DECODED_LIVE } else { DECODED });
    let (sinks, ready) = feed::start(shared, lanes);
    let mut outboxes = Outboxes::new(shared, sinks);
    let (mut figures, mut batch) = (WorkerFigures::default(), Vec::with_capacity(shared.settings.batch));
    let mut held = Vec::new();
    let worked = thread::catch("main", || {
        worker::work(shared, finder, (&decoded, ready), &mut outboxes, (&mut batch, &mut held), &mut figures)
    });
    if let Err(error) = worked.map_err(RunError::from).flatten() {
        shared.shutdown.request();
        shared.fail(error);
    }
    for frame in batch.into_iter().chain(held) {
        shared.drop_frames(frame.stream, Dropped { failed: 1, ..Dropped::default() });
    }
    for (rest, number) in decoded.close().into_iter().zip(0..) {
        let mut dropped = Dropped { queue_full: rest.evicted, ..Dropped::default() };
        dropped.failed = rest.items.iter().map(SourceEvent::frames).sum();
        shared.drop_frames(StreamId(number), dropped);
    }
    figures
}

/// The figures of all streams in one, and whether their counts agree.
fn sum_up(shared: &Shared, worker: WorkerFigures, (threads, gpu): Sampled) -> RunFigures {
    let WorkerFigures { input, batches, tiling, first_frame } = worker;
    let mut figures = RunFigures {
        streams: Vec::new(),
        book: LatencyBook::default(),
        seconds: std::mem::take(&mut *shared.seconds.lock().unwrap_or_else(PoisonError::into_inner)),
        provider: shared.provider.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        input,
        outputs: Vec::new(),
        live_outputs: Vec::new(),
        objects: vec![0; shared.origin.classes.len()],
        batches,
        threads,
        gpu,
        first_frame,
        last_frame: None,
    };
    let mut books = Vec::new();
    for (stream, number) in shared.streams.iter().zip(0..) {
        let mut own = stream.figures();
        let StreamFigures { report, book, outputs, live_outputs, objects, last_frame } = &mut *own;
        let mut report = std::mem::take(report);
        report.frames = stream.counters.counts();
        report.accounted = report.frames.is_accounted();
        report.telemetry =
            Some(stream.counters.telemetry.counts()).filter(|counts| counts.packets + counts.unreadable > 0);
        let published = shared.settings.publish.as_ref();
        report.publish = published.map_or_else(Vec::new, |plan| plan.report(StreamId(number)));
        report.tiling = tiling.iter().find(|(id, _)| *id == StreamId(number)).map(|(_, tiling)| tiling.clone());
        if !report.accounted {
            shared.fail(RunError::Unaccounted { input: report.uri.clone(), counts: report.frames });
        }
        figures.streams.push(report);
        books.push(std::mem::take(book));
        figures.outputs.append(outputs);
        figures.live_outputs.append(live_outputs);
        for (sum, n) in figures.objects.iter_mut().zip(objects) {
            *sum += *n;
        }
        figures.last_frame = figures.last_frame.max(*last_frame);
    }
    figures.book = LatencyBook::merged(books);
    figures.book.settle();
    figures
}
