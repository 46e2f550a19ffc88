//! The worker: takes frames by size or deadline, packs, runs the model, reads its output, hands on.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};

use super::tiles::Tiler;
use super::{RunError, RunEvent, Shared, SinkEvent};
use crate::channel::Lanes;
use crate::clock::{Deadline, HostTime};
use crate::detection::Detection;
use crate::frame::DecodedFrame;
use crate::geometry::{Letterbox, Size};
use crate::inference::{Engine, Runtime};
use crate::postprocess::{Postprocessor, merge::Merger};
use crate::preprocess::Preprocessor;
use crate::source::SourceEvent;
use crate::stream::{Dropped, StreamId, StreamInfo};
use crate::tensor::InputShape;
use crate::text::counted;
use crate::tiling::Region;

/// Views a run takes, at most: a batch of frames with many tiles goes in several.
const MOST_VIEWS: usize = 64;

type ToSinks = [Option<Sender<SinkEvent>>];

struct Worker<'a> {
    shared: &'a Shared,
    runtime: &'a Runtime,
    engine: Option<Engine>,
    /// Held until the session is there.
    ready: Option<Sender<()>>,
    /// When it was.
    began: Option<HostTime>,
    preprocessor: Preprocessor,
    postprocessor: Postprocessor,
    tiler: Tiler,
    /// Frame by number in the batch, and the part of it that the model sees.
    views: Vec<(usize, Region)>,
    /// What each of them showed.
    found: Vec<Vec<Detection>>,
    merger: Merger,
    letterboxes: Vec<Letterbox>,
    carried: HashMap<StreamId, Vec<Detection>>,
    last_shape: InputShape,
}

/// Works until every source has ended.
pub(super) fn work(
    shared: &Shared,
    runtime: &Runtime,
    (events, ready): (&Lanes<SourceEvent>, Sender<()>),
    to_sinks: &mut ToSinks,
    input: &mut [usize; 4],
) -> Result<(), RunError> {
    let mut worker = Worker {
        shared,
        runtime,
        engine: None,
        ready: Some(ready),
        began: None,
        preprocessor: Preprocessor::new(shared.model.input),
        postprocessor: Postprocessor::new(
            shared.model.layout,
            shared.model.classes.len(),
            shared.settings.thresholds.clone(),
        ),
        tiler: Tiler::new(shared.settings.tiling, shared.settings.target_latency, shared.settings.imgsz, &shared.model),
        views: Vec::new(),
        found: Vec::new(),
        merger: Merger::default(),
        letterboxes: Vec::new(),
        carried: HashMap::new(),
        last_shape: InputShape { batch: 1, size: Size { width: 0, height: 0 } },
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
        *input = worker.last_shape.dims();
        for frame in batch.drain(..) {
            hand_on(shared, to_sinks, frame);
        }
        match other {
            Some(SourceEvent::Open(stream, opening)) => {
                worker.expect(stream, &opening.0)?;
                note(to_sinks, stream, SinkEvent::Open(opening));
            }
            Some(SourceEvent::Reopen(stream, opening)) => {
                worker.expect(stream, &opening.0)?;
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
    for (stream, tiling) in worker.tiler.reports() {
        shared.tally().streams[stream.0 as usize].tiling = Some(tiling);
    }
    if worker.postprocessor.dropped_non_finite() > 0 {
        let boxes = counted(worker.postprocessor.dropped_non_finite(), "box");
        shared
            .listener
            .on(&RunEvent::Notice(&format!("dropped {boxes} that held no numbers: the model's output is suspect")));
    }
    if worker.postprocessor.dropped_unknown() > 0 {
        let (boxes, known) = (counted(worker.postprocessor.dropped_unknown(), "box"), shared.model.classes.len());
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
    /// Whether it is too late to look at a live frame.
    fn is_stale(&self, frame: &DecodedFrame) -> bool {
        let late = |due| frame.stamps.taken.since(due) > self.shared.settings.live.max_lag;
        is_live(self.shared, frame) && frame.stamps.due.is_some_and(late)
    }

    /// Sees that there are sessions for a live stream like this before its frames come: they would not wait for them.
    fn expect(&mut self, stream: StreamId, info: &StreamInfo) -> Result<(), RunError> {
        let shared = self.shared;
        if !shared.settings.jobs[stream.0 as usize].source.is_live() {
            return Ok(());
        }
        let size = self.tiler.tensor(stream, info.size);
        let views = self.tiler.views(stream, info.size).len();
        let batches: Vec<usize> = match shared.model.batch {
            Some(batch) => vec![batch],
            None => (1..=shared.settings.batch).map(|frames| (frames * views).min(MOST_VIEWS)).collect(),
        };
        for batch in batches {
            self.prepare(stream, info.size, InputShape { batch, size })?;
        }
        self.ready = None;
        Ok(())
    }

    fn infer(&mut self, batch: &mut [Box<DecodedFrame>]) -> Result<(), RunError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.postprocessor.set_confidence(self.shared.settings.controls.confidence());
        let closed = self.shared.clock.now();
        let stride = self.shared.settings.stride;
        for frame in batch.iter_mut() {
            frame.stamps.batch_closed = closed;
        }
        // Frames of one tensor shape run together, in order of arrival.
        let mut waiting: Vec<usize> = (0..batch.len()).filter(|i| batch[*i].index.is_multiple_of(stride)).collect();
        while let Some(first) = waiting.first().copied() {
            let size = self.tensor_size(&batch[first]);
            let (group, rest): (Vec<usize>, Vec<usize>) =
                waiting.into_iter().partition(|i| self.tensor_size(&batch[*i]) == size);
            waiting = rest;
            self.run_group(batch, &group, size)?;
        }
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

    fn tensor_size(&mut self, frame: &DecodedFrame) -> Size {
        self.tiler.tensor(frame.stream, frame.pixels.info().size)
    }

    /// Runs the frames `group` of the batch, whose tensors are of `size`, in as few runs as the model's batch allows.
    fn run_group(&mut self, batch: &mut [Box<DecodedFrame>], group: &[usize], size: Size) -> Result<(), RunError> {
        self.views.clear();
        for &index in group {
            let frame = &batch[index];
            let regions = self.tiler.views(frame.stream, frame.pixels.info().size);
            self.views.extend(regions.iter().map(|region| (index, *region)));
        }
        let views = std::mem::take(&mut self.views);
        if self.found.len() < views.len() {
            self.found.resize(views.len(), Vec::new());
        }
        let most = self.shared.model.batch.unwrap_or(MOST_VIEWS);
        let mut times = [Duration::ZERO; 3];
        let mut ran_from = None;
        for (run, number) in views.chunks(most).zip(0..) {
            let (from, elapsed) = self.run(batch, run, number * most, size)?;
            ran_from.get_or_insert(from);
            for (sum, elapsed) in times.iter_mut().zip(elapsed) {
                *sum += elapsed;
            }
        }
        let ran = self.shared.clock.now();
        self.gather(batch, &views);
        times[2] += self.shared.clock.now().since(ran);
        self.tiler.ran(views.len(), times.iter().sum());
        *self.shared.tally().batches.entry(group.len()).or_default() += 1;
        self.views = views;
        for (&index, place) in group.iter().zip(0..) {
            let stamps = &mut batch[index].stamps;
            (stamps.ran_from, stamps.batch_place) = (ran_from, place);
            [stamps.preprocess, stamps.inference, stamps.postprocess] = times;
            stamps.batch_size = u32::try_from(group.len()).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    /// One run over some views, which are numbered from `number`; when it began, and the times that packing, the session and
    /// reading took.
    fn run(
        &mut self,
        batch: &mut [Box<DecodedFrame>],
        views: &[(usize, Region)],
        number: usize,
        size: Size,
    ) -> Result<(HostTime, [Duration; 3]), RunError> {
        // A model of a fixed batch runs whole ones; nobody reads what it makes of the slots that are not filled.
        let shape = InputShape { batch: self.shared.model.batch.unwrap_or(views.len()), size };
        let first = &batch[views[0].0];
        let (stream, frame) = (first.stream, first.pixels.info().size);
        self.prepare(stream, frame, shape)?;
        let (clock, delay) = (&self.shared.clock, self.shared.settings.delays.inference);
        let start = clock.now();
        let Some(engine) = &mut self.engine else { return Ok((start, [Duration::ZERO; 3])) };
        self.last_shape = shape;
        let tensor = engine.input(shape);
        self.letterboxes.clear();
        for (slot, (index, region)) in tensor.chunks_exact_mut(shape.frame_len()).zip(views) {
            let frame = &mut batch[*index];
            let letterbox = self.preprocessor.run(&frame.pixels.view().crop(region), size, slot);
            // The whole picture comes first.
            frame.letterbox.get_or_insert(letterbox);
            self.letterboxes.push(letterbox);
        }
        let packed = clock.now();
        let (postprocessor, letterboxes, found) = (&mut self.postprocessor, &self.letterboxes, &mut self.found);
        let ran = engine.run(shape, |outputs| {
            if !delay.is_zero() {
                clock.sleep(delay);
            }
            let ran = clock.now();
            for ((item, letterbox), found) in letterboxes.iter().enumerate().zip(&mut found[number..]) {
                found.clear();
                postprocessor.run(outputs, item, size, letterbox, found)?;
            }
            Ok::<_, crate::postprocess::PostprocessError>(ran)
        })??;
        Ok((start, [packed.since(start), ran.since(packed), clock.now().since(ran)]))
    }

    /// Sees that there is a session for `shape`, and where the number of tiles adapts, for every number there can be: making
    /// one takes longer than a live stream would wait.
    fn prepare(&mut self, stream: StreamId, frame: Size, shape: InputShape) -> Result<(), RunError> {
        let settings = &self.shared.settings;
        let video = settings.jobs[stream.0 as usize].source.is_video();
        if let Some(engine) = &mut self.engine {
            return Ok(engine.prepare(shape, video)?);
        }
        let model = &self.shared.model;
        let engine = Engine::new(self.runtime, &model.file, &model.port, &settings.provider, (shape, video))?;
        *self.shared.provider.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.report().clone());
        let engine = self.engine.insert(engine);
        if settings.target_latency.is_some() && model.batch.is_none() {
            for views in self.tiler.counts(stream, frame) {
                engine.prepare(InputShape { batch: views, ..shape }, video)?;
            }
        }
        self.ready = None;
        let now = self.shared.clock.now();
        self.began = Some(now);
        let mut tally = self.shared.tally();
        tally.first_frame.get_or_insert(now);
        // What it took to get here counts for nobody.
        tally.threads.sample(true);
        Ok(())
    }

    /// Gives each frame what its views show.
    fn gather(&mut self, batch: &mut [Box<DecodedFrame>], views: &[(usize, Region)]) {
        let thresholds = &self.shared.settings.thresholds;
        let mut found = self.found.iter();
        for same_frame in views.chunk_by(|a, b| a.0 == b.0) {
            let frame = &mut batch[same_frame[0].0];
            let size = frame.pixels.info().size;
            for ((_, region), found) in same_frame.iter().zip(&mut found) {
                if same_frame.len() == 1 {
                    frame.detections.extend_from_slice(found);
                } else {
                    self.merger.add(*region, size, found);
                }
            }
            if same_frame.len() > 1 {
                self.merger.finish(thresholds.iou, thresholds.max_det, &mut frame.detections);
            }
        }
    }
}
