//! The worker: takes frames into batches, by size or deadline, has the detector detect on them, and hands them on.

use std::collections::HashMap;
use std::sync::PoisonError;

use crossbeam_channel::{Sender, TrySendError};

use super::{RunError, RunEvent, Shared, SinkEvent};
use crate::channel::Lanes;
use crate::clock::{Deadline, HostTime};
use crate::detection::Detection;
use crate::detector::{Detector, DetectorInput, DetectorOptions};
use crate::frame::DecodedFrame;
use crate::inference::Runtime;
use crate::source::SourceEvent;
use crate::stream::{Dropped, StreamId, StreamInfo};
use crate::tensor::InputShape;
use crate::text::counted;

type ToSinks = [Option<Sender<SinkEvent>>];

struct Worker<'a> {
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

/// Works until every source has ended.
pub(super) fn work(
    shared: &Shared,
    runtime: &Runtime,
    (events, ready): (&Lanes<SourceEvent>, Sender<()>),
    to_sinks: &mut ToSinks,
    input: &mut [usize; 4],
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
        shared,
        detector: Detector::new(runtime, &shared.model, options),
        ready: Some(ready),
        began: None,
        inferred: Vec::new(),
        carried: HashMap::new(),
        last_shape: None,
    };
    let mut open = to_sinks.len();
    let mut batch: Vec<Box<DecodedFrame>> = Vec::with_capacity(shared.settings.batch);
    while open > 0 {
        let mut deadline = None;
        let mut other = None;
        while batch.len() < shared.settings.batch {
            let Ok(taken) = events.take(deadline) else { break };
            if taken.evicted > 0 {
                shared.lose(taken.lane, Dropped { queue_full: taken.evicted, ..Dropped::default() });
            }
            match taken.item {
                SourceEvent::Frame(mut frame) => {
                    frame.stamps.taken = shared.clock.now();
                    if worker.is_stale(&frame) {
                        shared.lose(taken.lane, Dropped { stale: 1, ..Dropped::default() });
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
            // Every source has gone.
            break;
        }
        shared.listener.on(&RunEvent::Queue { waiting: events.waiting(), capacity: events.capacity() });
        worker.infer(&mut batch)?;
        *input = worker.last_shape.map_or([1, 3, 0, 0], |shape| shape.dims());
        for frame in batch.drain(..) {
            hand_on(shared, to_sinks, frame);
        }
        match other {
            Some(SourceEvent::Open(stream, opening)) => {
                worker.warm_up(stream, &opening.0)?;
                note(to_sinks, stream, SinkEvent::Open(opening));
            }
            Some(SourceEvent::Reopen(stream, opening)) => {
                worker.warm_up(stream, &opening.0)?;
                note(to_sinks, stream, SinkEvent::Reopen(opening));
            }
            Some(SourceEvent::Gap(stream, gap)) => note(to_sinks, stream, SinkEvent::Gap(gap)),
            Some(SourceEvent::Late(stream, n)) => {
                shared.lose(stream.0 as usize, Dropped { stale: n, ..Dropped::default() });
            }
            Some(SourceEvent::Corrupt(stream, n)) => {
                shared.lose(stream.0 as usize, Dropped { corrupt: n, ..Dropped::default() });
            }
            Some(SourceEvent::End(stream, n)) => {
                if n > 0 {
                    shared.lose(stream.0 as usize, Dropped { corrupt: n, ..Dropped::default() });
                }
                open -= usize::from(to_sinks[stream.0 as usize].take().is_some());
            }
            Some(SourceEvent::Frame(_)) | None => {}
        }
    }
    for (stream, tiling) in worker.detector.tiling() {
        shared.tally().streams[stream.0 as usize].tiling = Some(tiling.into());
    }
    if worker.detector.dropped_non_finite() > 0 {
        let boxes = counted(worker.detector.dropped_non_finite(), "box");
        shared
            .listener
            .on(&RunEvent::Notice(&format!("dropped {boxes} that held no numbers: the model's output is suspect")));
    }
    if worker.detector.dropped_unknown() > 0 {
        let (boxes, known) = (counted(worker.detector.dropped_unknown(), "box"), shared.model.classes.len());
        shared.listener.on(&RunEvent::Notice(&format!(
            "dropped {boxes} of none of the {known} known classes: name all the model's classes in a card"
        )));
    }
    Ok(())
}

/// Says something to a stream's sink. One that failed has gone; its error is on record.
fn note(to_sinks: &ToSinks, stream: StreamId, event: SinkEvent) {
    if let Some(sink) = &to_sinks[stream.0 as usize] {
        let _ = sink.send(event);
    }
}

/// Whether the frame is of a live source that does not wait.
fn is_live(shared: &Shared, frame: &DecodedFrame) -> bool {
    frame.stamps.due.is_some() && shared.settings.jobs[frame.stream.0 as usize].source.is_live()
}

/// A frame as the detector takes it.
fn input<'a>(shared: &Shared, frame: &'a DecodedFrame) -> DetectorInput<'a> {
    let one_size = shared.settings.jobs[frame.stream.0 as usize].source.is_video();
    DetectorInput { stream: frame.stream, one_size, view: frame.pixels.view() }
}

/// Hands a frame to its sink. Where several live streams share the worker, one whose sink is slow does not keep the others
/// waiting.
fn hand_on(shared: &Shared, to_sinks: &ToSinks, frame: Box<DecodedFrame>) {
    let index = frame.stream.0 as usize;
    let Some(sink) = &to_sinks[index] else { return };
    if shared.settings.jobs.len() == 1 || !is_live(shared, &frame) {
        let _ = sink.send(SinkEvent::Frame(frame));
        return;
    }
    if let Err(TrySendError::Full(_)) = sink.try_send(SinkEvent::Frame(frame)) {
        shared.lose(index, Dropped { queue_full: 1, ..Dropped::default() });
    }
}

impl Worker<'_> {
    /// Whether a live frame is too old to be inferred.
    fn is_stale(&self, frame: &DecodedFrame) -> bool {
        let late = |due| frame.stamps.taken.since(due) > self.shared.settings.live.max_lag;
        is_live(self.shared, frame) && frame.stamps.due.is_some_and(late)
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
        *shared.provider.lock().unwrap_or_else(PoisonError::into_inner) = self.detector.provider().cloned();
        let now = shared.clock.now();
        self.began = Some(now);
        let mut tally = shared.tally();
        tally.first_frame.get_or_insert(now);
        // CPU time up to here is start-up, not part of any stage.
        tally.threads.sample(true);
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
        let mut tally = self.shared.tally();
        for (index, result) in inferred.iter().zip(results) {
            let (frame, timings) = (&mut batch[*index], result.timings);
            frame.detections.extend_from_slice(&result.objects);
            frame.letterbox = Some(result.letterbox);
            let stamps = &mut frame.stamps;
            stamps.ran_from = Some(timings.ran_from);
            stamps.preprocess = timings.preprocess;
            stamps.inference = timings.inference;
            stamps.postprocess = timings.postprocess;
            (stamps.batch_size, stamps.batch_place) = (timings.batch_size, timings.batch_place);
            if timings.batch_place == 0 {
                *tally.batches.entry(timings.batch_size as usize).or_default() += 1;
            }
            self.last_shape = Some(result.shape);
        }
        Ok(())
    }
}
