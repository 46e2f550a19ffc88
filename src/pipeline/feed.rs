//! A run's sources: their threads, and each from its opening to its end, into its lane.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{RunError, RunEvent, Shared, SinkEvent, SourceSpec, deliver};
use crate::channel::{Lane, WhenFull};
use crate::source::{FileSource, Outlet, SourceError, SourceEvent, Wanted, watch};
use crate::stream::StreamId;

/// Pictures between worker and sink, a stream.
const INFERRED: usize = 4;
/// Files decoded at once; further ones wait their turn.
const SOURCES_AT_ONCE: usize = 2;

/// A way to every stream's sink, by stream.
type ToSinks = Vec<Option<Sender<SinkEvent>>>;

/// Starts a thread for every live source, and a few for all recordings, which come one after the other.
pub(super) fn start(
    shared: &Arc<Shared>,
    lanes: Vec<Lane<SourceEvent>>,
    ready: &Receiver<()>,
) -> (ToSinks, Vec<JoinHandle<()>>) {
    let jobs = &shared.settings.jobs;
    let (mut to_sinks, mut threads) = (Vec::new(), Vec::new());
    let (queue_tx, queue_rx) = bounded(jobs.len().max(1));
    let mut spawn =
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
            spawn(format!("source-{index}"), Box::new(move || run_job(&own, index, rx, (&events, &ready))));
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
        spawn(format!("source-{number}"), Box::new(body));
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
    let lost = if shared.shutdown.is_requested() { 0 } else { feed(shared, stream, events, ready) };
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
    let job = &settings.jobs[stream.0 as usize];
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
    match &job.source {
        SourceSpec::Video(path) => {
            if settings.real_time {
                events.set_when_full(WhenFull::DropOldest);
            }
            let real_time = settings.real_time || job.paced;
            feed_file(shared, path, Wanted { real_time, ..wanted }, &outlet, true).unwrap_or_else(failed)
        }
        SourceSpec::Pictures(paths) => feed_pictures(shared, paths, &outlet),
        SourceSpec::Live(address) => {
            let wanted = Wanted { real_time: false, ..wanted };
            let disconnected = |reason: &str| shared.listener.on(&RunEvent::Disconnected { stream, reason });
            watch(address, &settings.live, &wanted, &outlet, shared.shutdown_of(stream), &disconnected)
                .unwrap_or_else(failed)
        }
    }
}

/// Pictures one after the other, one stream; a bad one costs itself, not the folder.
fn feed_pictures(shared: &Shared, paths: &[PathBuf], outlet: &Outlet) -> u64 {
    let most = shared.settings.frames.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let (mut lost, mut opened, mut last) = (0, false, None);
    for (number, path) in (0..).zip(paths.iter().take(most)) {
        if shared.shutdown_of(outlet.stream).is_requested() {
            return lost;
        }
        let picture = Some((Arc::from(path.display().to_string()), number));
        let wanted = Wanted { limit: Some(1), picture, delay: shared.settings.delays.decode, ..Wanted::default() };
        match feed_file(shared, path, wanted, outlet, !opened) {
            Ok(_) => opened = true,
            Err(error) => {
                lost += 1;
                if paths.len() > 1 {
                    shared.listener.on(&RunEvent::Notice(&error.to_string()));
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
fn feed_file(shared: &Shared, path: &Path, wanted: Wanted, outlet: &Outlet, first: bool) -> Result<u64, SourceError> {
    let mut source = FileSource::open(path, wanted, outlet)?;
    if first {
        let opening = (source.info().clone(), source.take_audio());
        let _ = outlet.events.note(SourceEvent::Open(outlet.stream, Box::new(opening)));
    }
    source.release();
    source.wait(shared.shutdown_of(outlet.stream))
}
