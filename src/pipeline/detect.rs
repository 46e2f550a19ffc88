//! The worker: takes frames by size or deadline, packs, runs the model, reads its output, hands on.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::{RunError, Shared, SinkEvent, SourceSpec};
use crate::frame::StreamId;
use crate::geometry::{Detection, Size};
use crate::inference::{Engine, Runtime};
use crate::postprocess::Postprocessor;
use crate::preprocess::Preprocessor;
use crate::report::terminal::counted;
use crate::source::{SourceEvent, SourceFrame};
use crate::tensor::InputShape;

type ToSinks = [Option<Sender<SinkEvent>>];

struct Worker<'a> {
    shared: &'a Shared,
    runtime: &'a Runtime,
    engine: Option<Engine>,
    preprocessor: Preprocessor,
    postprocessor: Postprocessor,
    carried: HashMap<StreamId, Vec<Detection>>,
    last_shape: InputShape,
}

/// Works until every source has ended.
pub(super) fn work(
    shared: &Shared,
    runtime: &Runtime,
    events: &Receiver<SourceEvent>,
    to_sinks: &mut ToSinks,
    input: &mut [usize; 4],
) -> Result<(), RunError> {
    let mut worker = Worker {
        shared,
        runtime,
        engine: None,
        preprocessor: Preprocessor::new(shared.model.input),
        postprocessor: Postprocessor::new(
            shared.model.layout,
            shared.model.classes.len(),
            shared.settings.thresholds.clone(),
        ),
        carried: HashMap::new(),
        last_shape: InputShape { batch: 1, size: Size { width: 0, height: 0 } },
    };
    let mut open = to_sinks.len();
    let mut batch: Vec<Box<SourceFrame>> = Vec::with_capacity(shared.settings.batch);
    while open > 0 {
        let Ok(mut event) = events.recv() else { break };
        let mut deadline = None;
        let mut ended = None;
        loop {
            match event {
                SourceEvent::Frame(mut frame) => {
                    frame.stamps.taken = shared.clock.now();
                    batch.push(frame);
                }
                other => {
                    ended = Some(other);
                    break;
                }
            }
            let limit = *deadline.get_or_insert_with(|| Instant::now() + shared.settings.batch_timeout);
            if batch.len() >= shared.settings.batch {
                break;
            }
            match events.recv_deadline(limit) {
                Ok(next) => event = next,
                Err(_) => break,
            }
        }
        worker.infer(&mut batch)?;
        *input = worker.last_shape.dims();
        for frame in batch.drain(..) {
            if let Some(sink) = &to_sinks[frame.stream.0 as usize] {
                // A sink that failed has gone; its frames go with it, and its error is on record.
                let _ = sink.send(SinkEvent::Frame(frame));
            }
        }
        match ended {
            Some(SourceEvent::Open(stream, opening)) => {
                if let Some(sink) = &to_sinks[stream.0 as usize] {
                    let _ = sink.send(SinkEvent::Open(opening));
                }
            }
            Some(SourceEvent::Corrupt(stream, n)) => {
                if let Some(sink) = &to_sinks[stream.0 as usize] {
                    let _ = sink.send(SinkEvent::Corrupt(n));
                }
            }
            Some(SourceEvent::End(stream, lost)) => {
                if let Some(sink) = to_sinks[stream.0 as usize].take() {
                    if lost > 0 {
                        let _ = sink.send(SinkEvent::Corrupt(lost));
                    }
                    open -= 1;
                }
            }
            _ => {}
        }
    }
    if worker.postprocessor.dropped_non_finite() > 0 {
        let boxes = counted(worker.postprocessor.dropped_non_finite(), "box");
        shared.observer.notice(&format!("dropped {boxes} that held no numbers: the model's output is suspect"));
    }
    if worker.postprocessor.dropped_unknown() > 0 {
        let (boxes, known) = (counted(worker.postprocessor.dropped_unknown(), "box"), shared.model.classes.len());
        shared.observer.notice(&format!(
            "dropped {boxes} of none of the {known} known classes: name all the model's classes in a card"
        ));
    }
    Ok(())
}

impl Worker<'_> {
    fn infer(&mut self, batch: &mut [Box<SourceFrame>]) -> Result<(), RunError> {
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
            let most = self.shared.model.batch.unwrap_or(group.len());
            for chunk in group.chunks(most) {
                self.run_group(batch, chunk, size)?;
            }
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
        Ok(())
    }

    fn tensor_size(&self, frame: &SourceFrame) -> Size {
        self.shared.model.tensor_size(frame.picture.info().size, self.shared.settings.imgsz)
    }

    fn run_group(&mut self, batch: &mut [Box<SourceFrame>], group: &[usize], size: Size) -> Result<(), RunError> {
        let shared = self.shared;
        // A model of a fixed batch runs whole ones; nobody reads what it makes of the slots that are not filled.
        let shape = InputShape { batch: shared.model.batch.unwrap_or(group.len()), size };
        if self.engine.is_none() {
            let model = &shared.model;
            let engine = Engine::new(self.runtime, &model.file, &model.port, &shared.settings.provider, shape)?;
            *shared.provider.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.report().clone());
            self.engine = Some(engine);
        }
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let video = matches!(shared.settings.jobs[batch[group[0]].stream.0 as usize].source, SourceSpec::Video(_));
        engine.prepare(shape, video)?;
        self.last_shape = shape;

        let start = shared.clock.now();
        let tensor = engine.input(shape);
        for (slot, index) in tensor.chunks_exact_mut(shape.frame_len()).zip(group) {
            let frame = &mut batch[*index];
            frame.letterbox = Some(self.preprocessor.run(&frame.picture.view(), size, slot));
        }
        let packed = shared.clock.now();
        let postprocessor = &mut self.postprocessor;
        let ran = engine.run(shape, |outputs| {
            let ran = shared.clock.now();
            for (item, index) in group.iter().enumerate() {
                let frame = &mut batch[*index];
                if let Some(letterbox) = frame.letterbox {
                    postprocessor.run(outputs, item, size, &letterbox, &mut frame.detections)?;
                }
            }
            Ok::<_, crate::postprocess::PostprocessError>(ran)
        })??;
        let done = shared.clock.now();
        for index in group {
            let stamps = &mut batch[*index].stamps;
            stamps.preprocess = packed.since(start);
            stamps.inference = ran.since(packed);
            stamps.postprocess = done.since(ran);
            stamps.batch_size = u32::try_from(group.len()).unwrap_or(u32::MAX);
        }
        if shared.failed.load(Ordering::SeqCst) {
            return Err(RunError::Thread("the run was given up".into()));
        }
        Ok(())
    }
}
