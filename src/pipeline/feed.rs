//! A run's sources: their threads, and each from its opening to its end, into its lane.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::drain::{OUTPUT_IDLE, Patience};
use super::handover::{FromWorker, SinkEvent, ToSink, handover};
use super::job::OutputSpec;
use super::shared::Shared;
use super::{RunEvent, SourceSpec, deliver};
use crate::channel::{Lane, WhenFull};
use crate::source::{Beside, FileSource, ImageDecoder, Outlet, SourceError, SourceEvent, Wanted, watch};
use crate::stream::StreamId;
use crate::telemetry::sidecar;
use crate::thread::{self, Guard, test_panic_point};

/// Recordings decoded at once; further ones wait their turn.
const FILES_AT_ONCE: usize = 2;

/// A source with its ways in and out.
struct Feed {
    stream: StreamId,
    events: Lane<SourceEvent>,
    /// The sink's end, until its thread is started.
    frames: FromWorker<SinkEvent>,
    /// Disconnected once its sessions are there.
    ready: Receiver<()>,
}

/// Starts a thread for every live source and every recording that is read at its own frame rate, and a few for all others, which come one
/// after the other. The ways to the streams' sinks, and for each source what it waits for: that it is dropped.
pub(super) fn start(shared: &Arc<Shared>, lanes: Vec<Lane<SourceEvent>>) -> (Vec<ToSink<SinkEvent>>, Vec<Sender<()>>) {
    let (mut sinks, mut waits) = (Vec::new(), Vec::new());
    let (queue, waiting) = bounded(lanes.len().max(1));
    for (events, number) in lanes.into_iter().zip(0..) {
        let (sink, frames) = handover();
        sinks.push(sink);
        let stream = StreamId(number);
        let (wait, ready) = bounded(0);
        waits.push(wait);
        let feed = Feed { stream, events, frames, ready };
        let job = &shared.settings.jobs[number as usize];
        let has_its_time = job.paced || (shared.settings.real_time && job.source.is_video());
        if has_its_time || job.source.is_live() {
            // It waits for no other to end.
            shared.start(Some(stream), format!("source-{number}"), move |shared| drop(run(shared, feed)));
        } else {
            // There is room for all of them.
            let _ = queue.send(feed);
        }
    }
    for number in 0..FILES_AT_ONCE.min(waiting.len()) {
        let waiting = waiting.clone();
        shared.start(None, format!("files-{number}"), move |shared| {
            while let Ok(feed) = waiting.recv() {
                let ended = run(shared, feed);
                // Two encoders at once are enough. What hangs is left alone, and named when the run ends.
                Patience::new(OUTPUT_IDLE)
                    .waits(&mut |time| ended.recv_timeout(time) != Err(RecvTimeoutError::Timeout));
            }
        });
    }
    (sinks, waits)
}

/// Runs one source from its opening to its end, on the calling thread, and starts the thread of its outputs; what is returned
/// disconnects when that one ends. A panic is the stream's error.
fn run(shared: &Arc<Shared>, feed: Feed) -> Receiver<()> {
    let Feed { stream, events, frames, ready } = feed;
    let (ends, ended) = bounded(0);
    shared.start(Some(stream), format!("sink-{}", stream.0), move |shared| {
        deliver::run(shared, stream, &frames);
        drop(ends);
    });
    let current = std::thread::current();
    let fed = thread::catch(current.name().unwrap_or_default(), || {
        test_panic_point();
        if shared.shutdown.is_requested() { 0 } else { deliver_from(shared, stream, &events, &ready) }
    });
    let lost = fed.unwrap_or_else(|panicked| {
        shared.fail_source(stream, panicked.into());
        0
    });
    // Without a worker there is nobody to count them.
    if events.note(SourceEvent::End(stream, lost)).is_ok() {
        shared.stream(stream).counters.received(lost);
    }
    ended
}

/// What the subtitles say that a drone wrote beside a video; nothing where they are others.
fn beside(video: &Path) -> Option<Beside> {
    let timeline = sidecar::timeline(&sidecar::beside(video)?, 0).ok()?;
    Some(Beside { timeline: Arc::new(timeline), is_named: false })
}

/// Decodes a job's source into its lane; returns the encoded frames that never became a frame.
fn deliver_from(shared: &Arc<Shared>, stream: StreamId, events: &Lane<SourceEvent>, ready: &Receiver<()>) -> u64 {
    let settings = &shared.settings;
    let job = &settings.jobs[stream.0 as usize];
    let told = shared.clone();
    let outlet = Outlet {
        stream,
        events: events.clone(),
        clock: shared.clock.clone(),
        ready: ready.clone(),
        head: 0,
        guard: Guard::new(move |panicked| told.fail_source(stream, panicked.into())),
        counters: shared.stream(stream).counters.clone(),
        controls: settings.controls.clone(),
    };
    let wanted = Wanted {
        track: settings.video_track,
        limit: settings.frames,
        real_time: settings.real_time,
        hdr: settings.hdr,
        audio: matches!(job.output, OutputSpec::Stream(_)),
        telemetry: settings.telemetry.clone().map(|timeline| Beside { timeline, is_named: true }),
        delay: settings.delays.decode,
        ..Wanted::default()
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
            let telemetry = wanted.telemetry.clone().or_else(|| beside(path));
            feed_file(shared, path, Wanted { real_time, telemetry, ..wanted }, &outlet, true).unwrap_or_else(failed)
        }
        SourceSpec::Images(paths) => feed_images(shared, paths, &outlet),
        SourceSpec::Live(address) => {
            let wanted = Wanted { real_time: false, ..wanted };
            let disconnected = |reason: &str| shared.listener.on(&RunEvent::Disconnected { stream, reason });
            let notice = |text: &str| shared.listener.on(&RunEvent::Notice(text));
            watch(address, &settings.live, &wanted, &outlet, shared.shutdown_of(stream), [&disconnected, &notice])
                .unwrap_or_else(failed)
        }
    }
}

/// Images one after the other, one stream; a damaged one costs itself, not the folder.
fn feed_images(shared: &Shared, paths: &[PathBuf], outlet: &Outlet) -> u64 {
    let most = shared.settings.frames.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let (mut lost, mut opened, mut last) = (0, false, None);
    let mut decoder = ImageDecoder::default();
    for (number, path) in (0..).zip(paths.iter().take(most)) {
        if shared.shutdown_of(outlet.stream).is_requested() {
            return lost;
        }
        let image = Some((Arc::from(path.as_path()), number));
        let wanted = Wanted { limit: Some(1), image, delay: shared.settings.delays.decode, ..Wanted::default() };
        // The first one tells what the stream is.
        if opened && decoder.decode(path, &wanted, outlet, shared.shutdown_of(outlet.stream)) {
            continue;
        }
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
        // One image, or a folder without a single good one.
        Some(error) if !opened => {
            shared.fail_of(Some(outlet.stream), error.into());
            0
        }
        _ => lost,
    }
}

/// One file from open to end; `first` says whether its opening is the stream's.
fn feed_file(shared: &Shared, path: &Path, wanted: Wanted, outlet: &Outlet, first: bool) -> Result<u64, SourceError> {
    let shutdown = shared.shutdown_of(outlet.stream);
    let Some(mut source) = FileSource::open(path, wanted, outlet, shutdown)? else { return Ok(0) };
    if first {
        let opening = (source.info().clone(), source.take_audio());
        // Where nobody receives any more, the run has ended, and the next frame ends the file.
        let _ = outlet.events.note(SourceEvent::Open(outlet.stream, Box::new(opening)));
    }
    if !first {
        source.info().notices.iter().for_each(|notice| shared.notice(notice));
    }
    source.release();
    source.wait()
}
