//! The worker: takes frames into batches, by size or deadline, has the detector detect on them, and hands them on.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::finder::{Eye, Finder, look_up};
use super::handover::SinkEvent;
use super::outbox::{Outboxes, is_live};
use super::shared::{Shared, WorkerFigures};
use super::warm_up::WarmUps;
use super::{RunError, RunEvent};
use crate::channel::{Lanes, RecvError};
use crate::clock::{Deadline, HostTime};
use crate::detection::Detection;
use crate::detector::{Batch, DetectorInput, DetectorOptions, Wanted};
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::source::SourceEvent;
use crate::stream::{Dropped, StreamId};
use crate::tensor::InputShape;
use crate::thread::{Turns, test_panic_point};

/// How often the worker sees whether a source that was told to stop is late.
const LOOK: Duration = Duration::from_secs(1);
/// How often it sees whether sessions are made that a stream waits for.
const LOOK_FOR_SESSIONS: Duration = Duration::from_millis(20);
/// A stream without a frame for so long is not waited for with a batch.
const FLOWS: Duration = Duration::from_secs(1);

struct Worker<'a> {
    figures: &'a mut WorkerFigures,
    shared: &'a Arc<Shared>,
    eye: Eye<'a>,
    warm_ups: WarmUps,
    /// When the first session was made.
    began: Option<HostTime>,
    /// When each stream's last frame was taken, and whether it comes at a pace of its own.
    flows: Vec<Option<(HostTime, bool)>>,
    /// The frames that each stream's sessions are for.
    sizes: Vec<Option<Size>>,
    /// Frames of the batch that are inferred.
    inferred: Vec<usize>,
    /// With a stride: what each stream's last inferred frame showed.
    carried: HashMap<StreamId, Vec<Detection>>,
    /// Streams of which it was said that the boxes of a file are scaled.
    scaled: HashSet<StreamId>,
    last_shape: Option<InputShape>,
}

/// Works until every source has ended. `batch` is empty then; after an error, the frames in it came to nothing.
#[expect(clippy::vec_box, reason = "frames are boxed on their whole way: channels move pointers")]
pub(super) fn work(
    shared: &Arc<Shared>,
    finder: &Finder,
    (events, ready): (&Lanes<SourceEvent>, Vec<Sender<()>>),
    outboxes: &mut Outboxes<'_>,
    (batch, held): (&mut Vec<Box<DecodedFrame>>, &mut Vec<Box<DecodedFrame>>),
    figures: &mut WorkerFigures,
) -> Result<(), RunError> {
    let settings = &shared.settings;
    let wanted = Wanted {
        imgsz: settings.imgsz,
        thresholds: settings.thresholds.clone(),
        tiling: settings.tiling,
        target_latency: settings.target_latency,
    };
    let one_size = settings.jobs.iter().all(|job| job.source.is_video());
    let options = DetectorOptions {
        wanted,
        provider: settings.provider.clone(),
        clock: shared.clock.clone(),
        inference_delay: settings.delays.inference,
    };
    let mut worker = Worker {
        figures,
        shared,
        eye: finder.eye(options, one_size),
        warm_ups: WarmUps::new(ready),
        began: None,
        flows: vec![None; settings.jobs.len()],
        sizes: vec![None; settings.jobs.len()],
        inferred: Vec::new(),
        carried: HashMap::new(),
        scaled: HashSet::new(),
        last_shape: None,
    };
    let turns = Turns::of("worker");
    while outboxes.are_open() {
        test_panic_point();
        worker.take_over_sessions();
        // Recorded frames that waited for sessions go first.
        while let Some(at) = held.iter().position(|frame| !worker.warm_ups.are_for(frame.stream)) {
            let frame = held.swap_remove(at);
            events.hold(lane_of(frame.stream), false);
            worker.take(frame, batch);
        }
        let mut deadline = (!batch.is_empty()).then(|| Deadline::after(shared.settings.batch_timeout));
        let mut other = None;
        while batch.len() < shared.settings.batch {
            let look = if worker.warm_ups.are_under_way() { LOOK_FOR_SESSIONS } else { LOOK };
            let taken = match events.take(deadline.or_else(|| Some(Deadline::after(look)))) {
                Ok(taken) => taken,
                Err(RecvError::Disconnected) if batch.is_empty() => {
                    // Every source has gone.
                    worker.finish();
                    return Ok(());
                }
                Err(_) => break,
            };
            if taken.evicted > 0 {
                let dropped = Dropped { queue_full: taken.evicted, ..Dropped::default() };
                shared.drop_frames(stream_of(taken.lane), dropped);
            }
            match taken.item {
                SourceEvent::Frame(mut frame) => {
                    frame.stamps.taken = shared.clock.now();
                    if worker.is_stale(&frame) {
                        shared.drop_frames(frame.stream, Dropped { stale: 1, ..Dropped::default() });
                        continue;
                    }
                    if !worker.has_sessions_for(&frame)? {
                        if is_live(shared, &frame) {
                            shared.drop_frames(frame.stream, Dropped { stale: 1, ..Dropped::default() });
                        } else {
                            // It waits, with what comes after it; other streams go on.
                            events.hold(lane_of(frame.stream), true);
                            held.push(frame);
                        }
                        continue;
                    }
                    worker.take(frame, batch);
                }
                event => {
                    other = Some(event);
                    break;
                }
            }
            if worker.is_complete(batch) {
                // What waits already goes with it; nobody is waited for.
                deadline = Some(Deadline::after(Duration::ZERO));
            }
            deadline.get_or_insert_with(|| Deadline::after(shared.settings.batch_timeout));
        }
        if batch.is_empty() && other.is_none() {
            outboxes.give_up_late_sources();
            continue;
        }
        shared.listener.on(&RunEvent::Queue { waiting: events.waiting(), capacity: events.capacity() });
        turns.take(|| worker.infer(batch))?;
        worker.figures.input = worker.last_shape.map_or([1, 3, 0, 0], |shape| shape.dims());
        for frame in batch.drain(..) {
            outboxes.frame(frame);
        }
        if let Some(event) = other {
            worker.pass_on(event, outboxes)?;
        }
    }
    worker.finish();
    Ok(())
}

fn lane_of(stream: StreamId) -> usize {
    stream.0 as usize
}

fn stream_of(lane: usize) -> StreamId {
    StreamId(u32::try_from(lane).unwrap_or(u32::MAX))
}

/// A frame as the detector takes it.
fn input<'a>(shared: &Shared, frame: &'a DecodedFrame) -> DetectorInput<'a> {
    let one_size = shared.settings.jobs[frame.stream.0 as usize].source.is_video();
    DetectorInput { stream: frame.stream, one_size, view: frame.pixels.view() }
}

impl Worker<'_> {
    /// What is known at the end.
    fn finish(self) {
        let shared = self.shared;
        match self.eye {
            Eye::Own(detector) => {
                self.figures.tiling = detector.tiling().map(|(stream, tiling)| (stream, tiling.into())).collect();
                for notice in detector.notices() {
                    shared.notice(&notice);
                }
            }
            Eye::Shared(_, client) => {
                let tiling = client.finish();
                self.figures.tiling = tiling.map(|tiling| (StreamId(0), tiling.into())).into_iter().collect();
            }
            Eye::File(_) => {}
        }
    }

    /// Whether a live frame is too old to be inferred.
    fn is_stale(&self, frame: &DecodedFrame) -> bool {
        let stamps = &frame.stamps;
        let late = |due| {
            stamps.taken.since(stamps.arrived.map_or(due, |arrived| due.max(arrived)))
                > self.shared.settings.live.max_lag
        };
        is_live(self.shared, frame) && stamps.due.is_some_and(late)
    }

    /// What a source says beside its frames, in its place among them.
    fn pass_on(&mut self, event: SourceEvent, outboxes: &mut Outboxes<'_>) -> Result<(), RunError> {
        let shared = self.shared;
        match event {
            SourceEvent::Open(stream, opening) => {
                self.warm_up(stream, opening.0.size)?;
                outboxes.note(stream, SinkEvent::Open(opening));
            }
            SourceEvent::Reopen(stream, opening) => {
                self.warm_up(stream, opening.0.size)?;
                outboxes.note(stream, SinkEvent::Reopen(opening));
            }
            SourceEvent::Gap(stream, gap) => outboxes.note(stream, SinkEvent::Gap(gap)),
            SourceEvent::Late(stream, n) => {
                shared.drop_frames(stream, Dropped { stale: n, ..Dropped::default() });
            }
            SourceEvent::Corrupt(stream, n) => {
                shared.drop_frames(stream, Dropped { corrupt: n, ..Dropped::default() });
            }
            SourceEvent::End(stream, n) => {
                shared.drop_frames(stream, Dropped { corrupt: n, ..Dropped::default() });
                self.flows[stream.0 as usize] = None;
                outboxes.end(stream);
            }
            SourceEvent::Frame(_) => {}
        }
        Ok(())
    }

    /// Whether a batch need not wait for more: every stream that flows has a frame in it, and none of them is a recording, which
    /// has more at once.
    fn is_complete(&self, batch: &[Box<DecodedFrame>]) -> bool {
        let now = self.shared.clock.now();
        let waits_for = |(stream, flow): (usize, &Option<(HostTime, bool)>)| {
            flow.filter(|(last, _)| now.since(*last) < FLOWS)
                .is_some_and(|(_, paced)| !paced || batch.iter().all(|frame| frame.stream.0 as usize != stream))
        };
        !self.flows.iter().enumerate().any(waits_for)
    }

    /// Sees to the sessions for a stream before its frames come: those of a live one would be stale by the time that takes. Where
    /// frames are inferred already, they are made on a thread beside.
    fn warm_up(&mut self, stream: StreamId, size: Size) -> Result<(), RunError> {
        let settings = &self.shared.settings;
        self.sizes[stream.0 as usize] = Some(size);
        if let Eye::Shared(_, client) = &self.eye {
            client.warm_up(size)?;
        }
        let Some(detector) = self.eye.own() else {
            self.warm_ups.are_needless_for(stream);
            self.sessions_are_made();
            return Ok(());
        };
        let one_size = settings.jobs[stream.0 as usize].source.is_video();
        if self.figures.batches.is_empty() {
            detector.warm_up(stream, size, one_size)?;
            self.sessions_are_made();
        }
        self.warm_ups.add(stream, size, one_size);
        self.take_over_sessions();
        Ok(())
    }

    /// Takes over sessions that were made beside, and has further ones made.
    fn take_over_sessions(&mut self) {
        let Self { warm_ups, eye, shared, .. } = self;
        if let Some(detector) = eye.own() {
            warm_ups.go_on(detector, shared);
        }
    }

    /// Takes a frame into the batch; one whose stream has no sessions any more has failed.
    #[expect(clippy::vec_box, reason = "frames are boxed on their whole way: channels move pointers")]
    fn take(&mut self, frame: Box<DecodedFrame>, batch: &mut Vec<Box<DecodedFrame>>) {
        if self.warm_ups.have_failed_for(frame.stream) {
            return self.shared.drop_frames(frame.stream, Dropped { failed: 1, ..Dropped::default() });
        }
        self.flows[lane_of(frame.stream)] = Some((frame.stamps.taken, frame.stamps.due.is_some()));
        batch.push(frame);
    }

    /// Whether the frame's stream has its sessions, or never will have.
    fn has_sessions_for(&mut self, frame: &DecodedFrame) -> Result<bool, RunError> {
        let DetectorInput { one_size, view, .. } = input(self.shared, frame);
        if self.warm_ups.have_failed_for(frame.stream) {
            return Ok(true);
        }
        if one_size && self.sizes[frame.stream.0 as usize] != Some(view.info.size) {
            self.warm_up(frame.stream, view.info.size)?;
        }
        Ok(!self.warm_ups.are_for(frame.stream))
    }

    /// Takes note that the first session is made: figures begin.
    fn sessions_are_made(&mut self) {
        if self.began.is_some() {
            return;
        }
        let shared = self.shared;
        let provider = self.eye.provider().cloned();
        if let Some(notice) = provider.as_ref().and_then(|provider| provider.notice.as_ref()) {
            shared.notice(notice);
        }
        *shared.provider.lock().unwrap_or_else(PoisonError::into_inner) = provider;
        let now = shared.clock.now();
        self.began = Some(now);
        self.figures.first_frame = Some(now);
        // CPU time up to here is start-up, not part of any stage.
        shared.sample_now();
    }

    #[expect(clippy::vec_box, reason = "frames are boxed on their whole way: channels move pointers")]
    fn infer(&mut self, batch: &mut Vec<Box<DecodedFrame>>) -> Result<(), RunError> {
        if batch.is_empty() {
            return Ok(());
        }
        let shared = self.shared;
        if let Some(detector) = self.eye.own() {
            detector.set_confidence(shared.settings.controls.confidence());
        }
        let closed = shared.clock.now();
        let stride = shared.settings.stride;
        for frame in batch.iter_mut() {
            frame.stamps.batch_closed = closed;
        }
        self.inferred.clear();
        self.inferred.extend((0..batch.len()).filter(|index| batch[*index].index.is_multiple_of(stride)));
        self.detect(batch)?;
        if stride > 1 {
            for frame in batch.iter_mut() {
                let carried = self.carried.entry(frame.stream).or_default();
                if frame.letterbox.is_some() {
                    carried.clone_from(&frame.detections);
                } else {
                    frame.detections.clone_from(carried);
                }
            }
        }
        if let Some(began) = self.began {
            for frame in batch.iter_mut() {
                frame.stamps.not_before(began);
            }
        }
        Ok(())
    }

    /// Detects on the batch's frames that are to be inferred, and gives each its result.
    #[expect(clippy::vec_box, reason = "frames are boxed on their whole way: channels move pointers")]
    fn detect(&mut self, batch: &mut Vec<Box<DecodedFrame>>) -> Result<(), RunError> {
        let frames = self.inferred.len();
        if frames == 0 {
            return Ok(());
        }
        let shared = self.shared;
        let settings = &shared.settings;
        let Self { eye, inferred, figures, scaled, .. } = self;
        match eye {
            Eye::File(recorded) => {
                for index in inferred.iter() {
                    let wanted = (&settings.thresholds, settings.controls.confidence());
                    let frame = &mut batch[*index];
                    let there = look_up(recorded, frame, wanted, &*shared.clock)?;
                    let Some(there) = there.filter(|_| scaled.insert(frame.stream)) else { continue };
                    let (here, stream) = (frame.pixels.info().size, shared.name_of(frame.stream));
                    shared.notice(&format!(
                        "{stream}: frames of {}×{} are {}×{} in the file of --detections; its boxes are scaled",
                        here.width, here.height, there.width, there.height
                    ));
                }
            }
            Eye::Shared(_, client) => {
                let mut sent = Batch { frames: std::mem::take(batch), inferred: std::mem::take(inferred), shape: None };
                let (all, stream) = (sent.frames.len(), sent.frames[0].stream);
                let result = client.detect(&mut sent, settings.controls.confidence());
                (*batch, *inferred) = (sent.frames, sent.inferred);
                // Where the detector ended with them.
                let failed = all.saturating_sub(batch.len()) as u64;
                shared.drop_frames(stream, Dropped { failed, ..Dropped::default() });
                result?;
                *figures.batches.entry(frames).or_default() += 1;
                self.last_shape = sent.shape.or(self.last_shape);
            }
            Eye::Own(detector) => {
                let results = detector.detect_batch(frames, |number| input(shared, &batch[inferred[number]]))?;
                for (index, result) in inferred.iter().zip(results) {
                    let (frame, timings) = (&mut batch[*index], result.timings);
                    frame.detections.extend_from_slice(&result.objects);
                    frame.letterbox = Some(result.letterbox);
                    timings.stamp(&mut frame.stamps);
                    if timings.batch_place == 0 {
                        *figures.batches.entry(timings.batch_size as usize).or_default() += 1;
                    }
                    self.last_shape = Some(result.shape);
                }
            }
        }
        Ok(())
    }
}
