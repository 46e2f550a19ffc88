//! The thread that runs the detector.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::queue::{Batch, BatchReply, Caller, Detect, Output, Queue, ServiceError, StreamReply, Work};
use crate::detector::{DetectError, Detector, DetectorInput};
use crate::geometry::Size;
use crate::inference::{InferenceError, LackingSessions, NewSessions};
use crate::tensor::OutputView;
use crate::thread::{self, Turns, test_panic_point};

/// Requests with tensors of one size after which sessions are compiled for it, as for a stream: two to three times as fast with `OpenVINO`.
const USUAL: u32 = 4;
/// Sizes for which that is done: the others run in the session for any shape.
const COMPILED: usize = 4;
/// Sizes whose requests are counted.
const COUNTED: usize = 256;

/// What the thread works with.
pub struct Runner {
    detector: Detector,
    queue: Arc<Queue>,
    /// Frames a run, at most.
    batch: usize,
    /// What is detected together, and where its frames are: its number, the frame's.
    together: Vec<Detect>,
    flat: Vec<(usize, usize)>,
    /// What is not run any more; dropped without the lock, since a reply may hold a client.
    gone: Vec<Work>,
    /// Whose sessions are made on a thread beside: a stream's, which waits, or those of requests.
    #[expect(clippy::option_option, reason = "whether any are made, and who waits")]
    warming: Option<Option<StreamReply>>,
    /// Requests by the size of their tensors, and the sizes that are compiled for.
    usual: HashMap<Size, u32>,
    compiled: Vec<Size>,
}

impl Runner {
    /// Runs `detector` on `batch` frames at once, at most.
    pub fn new(detector: Detector, queue: Arc<Queue>, batch: usize) -> Self {
        let (together, flat, gone) = (Vec::new(), Vec::new(), Vec::new());
        let (usual, compiled) = (HashMap::new(), Vec::new());
        Self { detector, queue, batch, together, flat, gone, warming: None, usual, compiled }
    }

    /// Until the queue is closed, and nothing waits.
    pub fn run(&mut self) {
        let turns = Turns::of("detector");
        while let Some(work) = self.next() {
            test_panic_point();
            turns.take(|| self.work(work));
        }
    }

    /// Waits for work; frames that are detected on with it are in `together` then.
    fn next(&mut self) -> Option<Work> {
        self.gone.clear();
        let queue = self.queue.clone();
        let mut waiting = queue.lock();
        loop {
            self.gone.append(&mut waiting.take_dropped());
            for (id, reply) in std::mem::take(&mut waiting.gone) {
                let tiles = self.detector.forget(id);
                if let Some(reply) = reply {
                    reply.answer(Batch::default(), tiles, Ok(()));
                }
            }
            if let Some(made) = waiting.made.take() {
                self.take_over(made);
            }
            let is_warming = self.warming.is_some();
            let first = waiting.take(|work| !(is_warming && matches!(work, Work::WarmUp { .. })));
            if let Some(first) = first {
                let Work::Detect(first) = first else { return Some(first) };
                let mut left = self.batch.saturating_sub(first.batch.inferred.len());
                while left > 0
                    && let Some(Work::Detect(further)) = waiting.take(|work| work.fits(left))
                {
                    left -= further.batch.inferred.len();
                    self.together.push(further);
                }
                return Some(Work::Detect(first));
            }
            if waiting.closing && !is_warming {
                return None;
            }
            waiting = queue.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take_over(&mut self, made: Result<NewSessions, InferenceError>) {
        let Some(reply) = self.warming.take() else { return };
        let result = match made {
            Ok(sessions) => {
                self.detector.take_over(sessions);
                Ok(())
            }
            Err(error) => Err(Arc::new(DetectError::from(error)).into()),
        };
        // Requests go on without.
        if let Some(reply) = reply {
            reply.answer(Batch::default(), None, result);
        }
    }

    fn work(&mut self, work: Work) {
        match work {
            Work::Detect(detect) => {
                let mut together = std::mem::take(&mut self.together);
                together.insert(0, detect);
                self.detect(&mut together);
                self.together = together;
            }
            Work::Run { tensor, reply, .. } => {
                let outputs = self.detector.run_tensor(&tensor, |outputs| outputs.iter().map(copied).collect());
                reply(outputs.map_err(|error| Arc::new(error).into()));
            }
            Work::WarmUp { caller, frame, reply } => self.warm_up(&caller, frame, reply),
        }
    }

    /// Detects on the frames of all of them, and answers.
    fn detect(&mut self, together: &mut Vec<Detect>) {
        let closed = self.detector.options.clock.now();
        self.flat.clear();
        for (number, Detect { caller, batch, confidence, .. }) in together.iter_mut().enumerate() {
            self.detector.ask(caller.id, &caller.wanted, *confidence);
            for frame in &mut batch.frames {
                frame.stamps.batch_closed = closed;
            }
            batch.inferred.retain(|frame| *frame < batch.frames.len());
            self.flat.extend(batch.inferred.iter().map(|frame| (number, *frame)));
        }
        let result = self.run_flat(together);
        if result.is_err() && together.len() > 1 {
            // One of them may be at fault: each for itself.
            for detect in std::mem::take(together) {
                self.detect(&mut vec![detect]);
            }
            return;
        }
        let mut usual = None;
        for Detect { caller, batch, reply, .. } in together.drain(..) {
            match reply {
                BatchReply::Stream(reply) => reply.answer(batch, None, result.clone()),
                BatchReply::Request(_, reply) => {
                    usual = self.usual(&caller, &batch).map(|frame| (caller, frame)).or(usual);
                    reply(result.clone().map(|()| batch));
                }
            }
        }
        if let Some((caller, frame)) = usual {
            self.compile(&caller, frame);
        }
    }

    fn run_flat(&mut self, together: &mut [Detect]) -> Result<(), ServiceError> {
        let Self { detector, flat, .. } = self;
        let input = |number: usize| {
            let (detect, frame) = flat[number];
            let Detect { caller, batch, .. } = &together[detect];
            DetectorInput { stream: caller.id, one_size: caller.one_size, view: batch.frames[frame].pixels.view() }
        };
        let results = detector.detect_batch(flat.len(), input).map_err(Arc::new)?;
        for ((detect, frame), result) in flat.iter().zip(results) {
            let batch = &mut together[*detect].batch;
            batch.shape = Some(result.shape);
            let frame = &mut batch.frames[*frame];
            frame.detections.extend_from_slice(&result.objects);
            frame.letterbox = Some(result.letterbox);
            result.timings.stamp(&mut frame.stamps);
        }
        Ok(())
    }

    /// Counts a request's frames; the size of one that is usual, and not compiled for yet.
    fn usual(&mut self, caller: &Caller, batch: &Batch) -> Option<Size> {
        let mut found = None;
        for frame in &batch.frames {
            let frame = frame.pixels.info().size;
            let tensor = self.detector.tensor_size_of(caller.id, frame);
            if self.compiled.contains(&tensor) || self.compiled.len() >= COMPILED {
                continue;
            }
            if self.usual.len() >= COUNTED {
                self.usual.clear();
            }
            let count = self.usual.entry(tensor).or_default();
            *count += 1;
            if *count >= USUAL {
                found = Some(frame);
            }
        }
        found
    }

    /// Has sessions made for frames of a size that requests have, beside what goes on; later where others are being made.
    fn compile(&mut self, caller: &Caller, frame: Size) {
        if self.warming.is_some() {
            return;
        }
        let tensor = self.detector.tensor_size_of(caller.id, frame);
        self.usual.remove(&tensor);
        self.compiled.push(tensor);
        if let Some(lacking) = self.detector.lacking(caller.id, frame, true) {
            self.make(lacking, None);
        }
    }

    /// Has the sessions made on a thread beside, where any are lacking.
    fn warm_up(&mut self, caller: &Caller, frame: Size, reply: StreamReply) {
        self.detector.ask(caller.id, &caller.wanted, None);
        match self.detector.lacking(caller.id, frame, caller.one_size) {
            Some(lacking) => self.make(lacking, Some(reply)),
            None => reply.answer(Batch::default(), None, Ok(())),
        }
    }

    fn make(&mut self, lacking: LackingSessions, reply: Option<StreamReply>) {
        let queue = self.queue.clone();
        let make = move || {
            let made = thread::catch("sessions", || {
                test_panic_point();
                lacking.make()
            });
            queue.lock().made = Some(made.unwrap_or_else(|panicked| {
                tracing::error!("{panicked}");
                Err(InferenceError::NoSession)
            }));
            queue.filled.notify_all();
        };
        match thread::spawn("sessions", make) {
            Ok(_) => self.warming = Some(reply),
            Err(error) => {
                if let Some(reply) = reply {
                    reply.answer(Batch::default(), None, Err(error.into()));
                }
            }
        }
    }
}

fn copied(output: &OutputView<'_>) -> Output {
    Output { name: output.name.to_owned(), shape: output.shape.to_vec(), data: output.data.to_vec() }
}
