//! The worker: takes frames into batches, by size or deadline, has the detector detect on them, and hands them on.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::handover::SinkEvent;
use super::outbox::{Outboxes, is_live};
use super::shared::{Shared, WorkerFigures};
use super::{RunError, RunEvent};
use crate::channel::{Lanes, RecvError};
use crate::clock::{Deadline, HostTime};
use crate::detection::Detection;
use crate::detector::{Detector, DetectorInput, DetectorOptions};
use crate::frame::DecodedFrame;
use crate::inference::Runtime;
use crate::source::SourceEvent;
use crate::stream::{Dropped, StreamId, StreamInfo};
use crate::tensor::InputShape;
use crate::thread::{Turns, test_panic_point};

/// How often the worker sees whether a source that was told to stop is late.
const LOOK: Duration = Duration::from_secs(1);

struct Worker<'a> {
    figures: &'a mut WorkerFigures,
    shared: &'a Shared,
    detector: Detector,
    /// Held until the first session is made.
    ready: Option<Sender<()>>,
    /// When it was.
    began: Option<HostTime>,
    /// Frames of the batch that are inferred.
    inferred: Vec<usize>,
    /// With a stride: what each stream's last inferred frame showed.
    carried: HashMap<StreamId, Vec<Detection>>,
    last_shape: Option<InputShape>,
}

/// Works until every source has ended. `batch` is empty then; after an error, the frames in it came to nothing.
#[expect(clippy::vec_box, reason = "frames are boxed on their whole way: channels move pointers")]
pub(super) fn work(
    shared: &Shared,
    runtime: &Runtime,
    (events, ready): (&Lanes<SourceEvent>, Sender<()>),
    outboxes: &mut Outboxes<'_>,
    batch: &mut Vec<Box<DecodedFrame>>,
    figures: &mut WorkerFigures,
) -> Result<(), RunError> {
    let settings = &shared.settings;
    let options = DetectorOptions {
        imgsz: settings.imgsz,
        thresholds: settings.thresholds.clone(),
        tiling: settings.tiling,
        target_latency: settings.target_latency,
        provider: settings.provider.clone(),
        clock: shared.clock.clone(),
        inference_delay: settings.delays.inference,
    };
    let mut worker = Worker {
        figures,
        shared,
        detector: Detector::new(runtime, &shared.model, options),
        ready: Some(ready),
        began: None,
        inferred: Vec::new(),
        carried: HashMap::new(),
        last_shape: None,
    };
    let turns = Turns::of("worker");
    while outboxes.are_open() {
        test_panic_point();
        let mut deadline = None;
        let mut other = None;
        while batch.len() < shared.settings.batch {
            let taken = match events.take(deadline.or_else(|| Some(Deadline::after(LOOK)))) {
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
                    batch.push(frame);
                }
                event => {
                    other = Some(event);
                    break;
                }
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
        match other {
            Some(SourceEvent::Open(stream, opening)) => {
                worker.warm_up(stream, &opening.0)?;
                outboxes.note(stream, SinkEvent::Open(opening));
            }
            Some(SourceEvent::Reopen(stream, opening)) => {
                worker.warm_up(stream, &opening.0)?;
                outboxes.note(stream, SinkEvent::Reopen(opening));
            }
            Some(SourceEvent::Gap(stream, gap)) => outboxes.note(stream, SinkEvent::Gap(gap)),
            Some(SourceEvent::Late(stream, n)) => {
                shared.drop_frames(stream, Dropped { stale: n, ..Dropped::default() });
            }
            Some(SourceEvent::Corrupt(stream, n)) => {
                shared.drop_frames(stream, Dropped { corrupt: n, ..Dropped::default() });
            }
            Some(SourceEvent::End(stream, n)) => {
                shared.drop_frames(stream, Dropped { corrupt: n, ..Dropped::default() });
                outboxes.end(stream);
            }
            Some(SourceEvent::Frame(_)) | None => {}
        }
    }
    worker.finish();
    Ok(())
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
        self.figures.tiling = self.detector.tiling().map(|(stream, tiling)| (stream, tiling.into())).collect();
        for notice in self.detector.notices() {
            shared.notice(&notice);
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

    /// Makes the sessions for a live stream before its frames come: they would be stale by the time that takes.
    fn warm_up(&mut self, stream: StreamId, info: &StreamInfo) -> Result<(), RunError> {
        let settings = &self.shared.settings;
        if settings.jobs[stream.0 as usize].source.is_live() {
            self.detector.warm_up(stream, info.size, settings.batch)?;
            self.sessions_are_made();
        }
        Ok(())
    }

    /// Takes note that the first session is made: sources need not wait for it any longer, and figures begin.
    fn sessions_are_made(&mut self) {
        self.ready = None;
        if self.began.is_some() {
            return;
        }
        let shared = self.shared;
        let provider = self.detector.provider().cloned();
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

    fn infer(&mut self, batch: &mut [Box<DecodedFrame>]) -> Result<(), RunError> {
        if batch.is_empty() {
            return Ok(());
        }
        let shared = self.shared;
        self.detector.set_confidence(shared.settings.controls.confidence());
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
        // Had no frame been inferred, sources would still wait.
        self.ready = None;
        Ok(())
    }

    /// Detects on the batch's frames that are to be inferred, and gives each its result.
    fn detect(&mut self, batch: &mut [Box<DecodedFrame>]) -> Result<(), RunError> {
        let frames = self.inferred.len();
        if frames == 0 {
            return Ok(());
        }
        if self.began.is_none() {
            let inferred = &self.inferred;
            self.detector.prepare_batch(frames, |number| input(self.shared, &batch[inferred[number]]))?;
            self.sessions_are_made();
        }
        let inferred = &self.inferred;
        let results = self.detector.detect_batch(frames, |number| input(self.shared, &batch[inferred[number]]))?;
        for (index, result) in inferred.iter().zip(results) {
            let (frame, timings) = (&mut batch[*index], result.timings);
            frame.detections.extend_from_slice(&result.objects);
            frame.letterbox = Some(result.letterbox);
            timings.stamp(&mut frame.stamps);
            if timings.batch_place == 0 {
                *self.figures.batches.entry(timings.batch_size as usize).or_default() += 1;
            }
            self.last_shape = Some(result.shape);
        }
        Ok(())
    }
}
