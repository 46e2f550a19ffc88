//! Frames in, detections out: tiles, letterbox, inference, postprocessing and merging in one part that knows nothing of
//! streams' threads, reports or the terminal.
//!
//! ```
//! use streamdet::detector::{Detector, DetectorOptions};
//! use streamdet::inference::{self, ProviderChoice, Runtime};
//! use streamdet::model::{Model, ModelRef};
//! use streamdet::pipeline::decode_image;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::load(None, ProviderChoice::Cpu)?;
//! let reference = ModelRef::resolve(None)?; // the built-in model; Some("yolov8n.onnx") is a file
//! let facts = inference::inspect(&runtime, reference.file())?;
//! let model = Model::build(reference, &facts)?;
//! let mut detector = Detector::new(&runtime, &model, DetectorOptions::of(&model));
//! let image = decode_image("models/visdrone-nano.jpg")?;
//! let detections = detector.detect(&[image.pixels.view()])?;
//! let people = detections[0].objects.iter().filter(|d| &model.classes[usize::from(d.class_id)] == "pedestrian");
//! assert!(people.count() >= 2);
//! # Ok(())
//! # }
//! ```

mod frames;
mod measure;
mod options;
mod recorded;
mod service;
#[cfg(test)]
mod tests;
mod tiler;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use crate::clock::HostTime;
use crate::detection::Detection;
use crate::frame::FrameView;
use crate::geometry::{Letterbox, Region, Size};
use crate::inference::{Engine, InferenceError, LackingSessions, NewSessions, ProviderReport, Runtime};
use crate::model::Model;
use crate::postprocess::merge::Merger;
use crate::postprocess::{PostprocessError, Postprocessor};
use crate::preprocess::Preprocessor;
use crate::stream::StreamId;
use crate::tensor::{InputShape, InputTensor};
use crate::text::counted;
use tiler::Tiler;

pub use frames::{Detections, DetectorInput, Timings};
pub use options::{DetectorOptions, Wanted};
pub use recorded::{Recorded, RecordedError};
pub use service::{Batch, Client, Full, Output, Reply, Service, ServiceError, Ticket};
pub use tiler::TilingFigures;

/// Views in one run of the session, at most: a batch of frames with many tiles takes several runs.
const MAX_VIEWS: usize = 64;

/// Why nothing could be detected.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The model does not run.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// Its outputs are not what its layout says.
    #[error(transparent)]
    Postprocess(#[from] PostprocessError),
}

impl DetectError {
    /// Whether the model or the options are unusable, rather than a run having failed. A model that cannot be run, or whose
    /// outputs are not what they should be, is so from its first frame on.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Inference(error) => {
                use InferenceError::{Precision, Provider, Run};
                matches!(error, Provider { .. } | Precision { .. } | Run(_))
            }
            Self::Postprocess(_) => true,
        }
    }
}

/// Turns frames into detections. Owned by one thread; its buffers are reused from call to call.
pub struct Detector {
    runtime: Runtime,
    model: Model,
    options: DetectorOptions,
    /// What is asked for on the frames of streams that differ from the others.
    wanted_of: HashMap<StreamId, Wanted>,
    tiler: Tiler,
    preprocessor: Preprocessor,
    tensor: InputTensor,
    /// Made when the first shape is known.
    engine: Option<Engine>,
    postprocessor: Postprocessor,
    merger: Merger,
    /// Frames of the call that no group has taken yet.
    waiting: Vec<usize>,
    /// Frames that run together: those of one tensor size, in order.
    group: Vec<usize>,
    /// The parts of the group's frames that the model sees.
    views: Vec<View>,
    /// How each was fitted into the tensor, and what was detected in it, boxes in pixels of the view.
    letterboxes: Vec<Letterbox>,
    detected: Vec<Vec<Detection>>,
    results: Vec<Detections>,
}

/// A part of a frame that the model sees.
#[derive(Debug, Clone, Copy)]
struct View {
    /// The frame's number in the call.
    frame: usize,
    region: Region,
}

/// Elapsed times of a run.
#[derive(Debug, Clone, Copy, Default)]
struct Elapsed {
    preprocess: Duration,
    inference: Duration,
    postprocess: Duration,
}

impl Detector {
    /// A detector for `model`. No session is made before the shape of its input is known: see [`warm_up`](Self::warm_up).
    #[must_use]
    pub fn new(runtime: &Runtime, model: &Model, options: DetectorOptions) -> Self {
        Self {
            runtime: runtime.clone(),
            wanted_of: HashMap::new(),
            tiler: Tiler::new(&options.wanted, model),
            preprocessor: Preprocessor::new(model.input),
            tensor: InputTensor::filled(InputShape { batch: 0, size: Size { width: 1, height: 1 } }, 0.0),
            engine: None,
            postprocessor: Postprocessor::new(model.layout, model.classes.len()),
            merger: Merger::default(),
            waiting: Vec::new(),
            group: Vec::new(),
            views: Vec::new(),
            letterboxes: Vec::new(),
            detected: Vec::new(),
            results: Vec::new(),
            model: model.clone(),
            options,
        }
    }

    /// Detects on frames that belong to no stream.
    ///
    /// # Errors
    /// When the model does not run, or its outputs do not have its layout's shapes.
    pub fn detect(&mut self, frames: &[FrameView<'_>]) -> Result<Vec<Detections>, DetectError> {
        Ok(self.detect_batch(frames.len(), |number| frames[number].into())?.to_vec())
    }

    /// Detects on a batch of `frames` frames, which `input` shows by number: one result a frame, in order, kept until the next
    /// call. Frames whose tensors have one size run together. Once it has seen such frames it allocates nothing for them.
    ///
    /// # Errors
    /// When the model does not run, or its outputs do not have its layout's shapes.
    pub fn detect_batch<'a>(
        &mut self,
        frames: usize,
        input: impl Fn(usize) -> DetectorInput<'a>,
    ) -> Result<&[Detections], DetectError> {
        if self.results.len() < frames {
            self.results.resize_with(frames, Detections::empty);
        }
        self.wait_for_groups(frames);
        while self.next_group(&input) {
            self.run_group(&input)?;
        }
        Ok(&self.results[..frames])
    }

    /// Makes the sessions that [`detect_batch`](Self::detect_batch) needs for such a batch, so that its timings do not
    /// contain their making.
    ///
    /// # Errors
    /// When no execution provider, or not the one that was asked for, takes the model.
    pub fn prepare_batch<'a>(
        &mut self,
        frames: usize,
        input: impl Fn(usize) -> DetectorInput<'a>,
    ) -> Result<(), DetectError> {
        self.wait_for_groups(frames);
        while self.next_group(&input) {
            let first = input(self.group[0]);
            let mut views = 0;
            for &frame in &self.group {
                let DetectorInput { stream, view, .. } = input(frame);
                views += self.tiler.next_count(stream, view.info.size);
            }
            for done in (0..views).step_by(self.most_views()) {
                self.prepare_views((first.stream, first.view.info.size), first.one_size, views - done)?;
            }
        }
        Ok(())
    }

    /// Makes the sessions for a stream's batches, whose first frame has size `frame`, and all others, too, where it is `one_size`.
    ///
    /// # Errors
    /// When no execution provider, or not the one that was asked for, takes the model.
    pub fn warm_up(&mut self, stream: StreamId, frame: Size, one_size: bool) -> Result<(), DetectError> {
        let fixed = one_size.then(|| self.largest_batch(stream, frame));
        for shape in self.shapes(stream, frame) {
            self.prepare_shape(shape, fixed)?;
        }
        Ok(())
    }

    /// What [`warm_up`](Self::warm_up) would make, to be made on another thread while this detector goes on; `None` when nothing
    /// is lacking. Before the first session there is nothing to go on with: it is for `warm_up` to make.
    pub fn lacking(&mut self, stream: StreamId, frame: Size, one_size: bool) -> Option<LackingSessions> {
        let fixed = one_size.then(|| self.largest_batch(stream, frame));
        let shapes = self.shapes(stream, frame);
        self.engine.as_ref()?.lacking(&shapes, fixed)
    }

    /// Size of the tensors that a stream's frames of this size are fitted into.
    pub fn tensor_size_of(&mut self, stream: StreamId, frame: Size) -> Size {
        self.tiler.tensor(stream, frame)
    }

    /// Takes over what was [lacking](Self::lacking).
    pub fn take_over(&mut self, sessions: NewSessions) {
        if let Some(engine) = &mut self.engine {
            engine.take_over(sessions);
        }
    }

    /// Slots that the largest batch of a stream's frames needs.
    fn largest_batch(&mut self, stream: StreamId, frame: Size) -> usize {
        let views = self.tiler.most(stream, frame).saturating_mul(self.options.provider.batch.max(1));
        self.model.batch.unwrap_or(views.min(MAX_VIEWS))
    }

    /// The tensors of batches of 1, 2, 4, … and as many frames as there are at most: others are run as several of these.
    fn shapes(&mut self, stream: StreamId, frame: Size) -> Vec<InputShape> {
        let (size, frames) = (self.tiler.tensor(stream, frame), self.options.provider.batch.max(1));
        let views: Vec<usize> = if self.tiler.adapts(stream) {
            // Every number of tiles there can be.
            self.tiler.counts(stream, frame)
        } else {
            let views = self.tiler.next_count(stream, frame);
            let batches = std::iter::successors(Some(1), |batch| Some(batch * 2)).take_while(|batch| *batch < frames);
            batches.chain([frames]).map(|batch| batch * views).collect()
        };
        let batch = |views: usize| self.model.batch.unwrap_or(views.min(MAX_VIEWS));
        let mut shapes: Vec<_> = views.into_iter().map(|views| InputShape { batch: batch(views), size }).collect();
        shapes.sort_unstable_by_key(|shape| shape.batch);
        shapes.dedup();
        shapes
    }

    /// From now on, detections count above this confidence, 0 to 1, on the frames of streams with nothing else asked for them.
    pub fn set_confidence(&mut self, confidence: f32) {
        self.options.wanted.thresholds.conf = confidence;
    }

    /// From now on, `wanted` is asked for on the stream's frames, above `confidence` where it is given.
    pub fn ask(&mut self, stream: StreamId, wanted: &Wanted, confidence: Option<f32>) {
        let confidence = confidence.unwrap_or(wanted.thresholds.conf);
        if let Some(before) = self.wanted_of.get_mut(&stream) {
            before.thresholds.conf = wanted.thresholds.conf;
            let is_same = before == wanted;
            before.thresholds.conf = confidence;
            if is_same {
                return;
            }
        }
        self.tiler.ask(stream, wanted);
        let mut wanted = wanted.clone();
        wanted.thresholds.conf = confidence;
        self.wanted_of.insert(stream, wanted);
    }

    /// Nothing more comes of the stream. The tiles that its frames were given, where they were asked for.
    pub fn forget(&mut self, stream: StreamId) -> Option<TilingFigures> {
        self.wanted_of.remove(&stream);
        self.tiler.forget(stream)
    }

    /// Which execution provider runs; `None` until a session is made.
    #[must_use]
    pub fn provider(&self) -> Option<&ProviderReport> {
        self.engine.as_ref().map(Engine::report)
    }

    /// The tiles that each stream's frames were given so far, where tiles were asked for.
    pub fn tiling(&self) -> impl Iterator<Item = (StreamId, TilingFigures)> {
        self.tiler.figures()
    }

    /// What the user should know of the model's boxes so far: those that were dropped because they, or their confidence, were
    /// not finite, or because their class is none of the known ones.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        let (non_finite, unknown) = (self.postprocessor.dropped_non_finite(), self.postprocessor.dropped_unknown());
        if non_finite > 0 {
            let boxes = counted(non_finite, "box");
            notices.push(format!("dropped {boxes} that held no numbers: the model's output is suspect"));
        }
        if unknown > 0 {
            let (boxes, known) = (counted(unknown, "box"), self.model.classes.len());
            notices.push(format!(
                "dropped {boxes} of none of the {known} known classes: name all the model's classes in a card"
            ));
        }
        notices
    }

    fn wait_for_groups(&mut self, frames: usize) {
        self.waiting.clear();
        self.waiting.extend(0..frames);
    }

    /// Takes the frames whose tensors are of the size of the first one's that waits; whether there are any.
    fn next_group<'a>(&mut self, input: &impl Fn(usize) -> DetectorInput<'a>) -> bool {
        let Self { waiting, group, tiler, .. } = self;
        let mut tensor = |frame: usize| {
            let DetectorInput { stream, view, .. } = input(frame);
            tiler.tensor(stream, view.info.size)
        };
        let Some(&first) = waiting.first() else { return false };
        let size = tensor(first);
        group.clear();
        waiting.retain(|&frame| {
            let other = tensor(frame) != size;
            if !other {
                group.push(frame);
            }
            other
        });
        true
    }

    /// Views in one run of the session, at most.
    fn most_views(&self) -> usize {
        self.model.batch.unwrap_or(MAX_VIEWS)
    }

    /// Runs the group, in as few runs as the model's batch allows.
    fn run_group<'a>(&mut self, input: &impl Fn(usize) -> DetectorInput<'a>) -> Result<(), DetectError> {
        self.views.clear();
        for &frame in &self.group {
            let DetectorInput { stream, view, .. } = input(frame);
            let regions = self.tiler.views(stream, view.info.size);
            self.views.extend(regions.iter().map(|region| View { frame, region: *region }));
        }
        let views = self.views.len();
        if self.detected.len() < views {
            self.detected.resize(views, Vec::new());
        }
        self.letterboxes.clear();
        let (mut elapsed, mut ran_from, mut first) = (Elapsed::default(), None, 0);
        while first < views {
            let batch = self.next_batch(input, first);
            let end = views.min(first + batch);
            let from = self.run_views(input, first..end, batch, &mut elapsed)?;
            ran_from.get_or_insert(from);
            first = end;
        }
        let ran = self.options.clock.now();
        self.merge_views(input);
        elapsed.postprocess += self.options.clock.now().since(ran);
        self.tiler.ran(views, elapsed.preprocess + elapsed.inference + elapsed.postprocess);
        let shape = self.tensor.shape();
        let batch_size = u32::try_from(self.group.len()).unwrap_or(u32::MAX);
        for (&frame, batch_place) in self.group.iter().zip(0..) {
            let result = &mut self.results[frame];
            let Elapsed { preprocess, inference, postprocess } = elapsed;
            let ran_from = ran_from.unwrap_or_default();
            result.timings = Timings { ran_from, preprocess, inference, postprocess, batch_size, batch_place };
            result.shape = shape;
        }
        Ok(())
    }

    /// Slots of the next run, over the views from `first` on.
    fn next_batch<'a>(&mut self, input: &impl Fn(usize) -> DetectorInput<'a>, first: usize) -> usize {
        let left = (self.views.len() - first).min(self.most_views());
        let DetectorInput { stream, view, .. } = input(self.views[first].frame);
        match &self.engine {
            Some(engine) => engine.batch_for(self.tiler.tensor(stream, view.info.size), left),
            None => left,
        }
    }

    /// One run of `batch` slots over some of the views; when it began. What it took is added to `elapsed`.
    fn run_views<'a>(
        &mut self,
        input: &impl Fn(usize) -> DetectorInput<'a>,
        range: Range<usize>,
        batch: usize,
        elapsed: &mut Elapsed,
    ) -> Result<HostTime, DetectError> {
        let first = input(self.views[range.start].frame);
        let shape = self.prepare_views((first.stream, first.view.info.size), first.one_size, batch)?;
        let Self {
            engine, tensor, preprocessor, postprocessor, views, letterboxes, detected, options, wanted_of, ..
        } = self;
        let clock = &options.clock;
        let start = clock.now();
        let Some(engine) = engine else { return Ok(start) };
        // A session of a fixed batch runs whole ones; what it makes of slots that are not filled is not read.
        tensor.reshape(shape);
        for (slot, view) in tensor.slots().zip(&views[range.clone()]) {
            letterboxes.push(preprocessor.run(&input(view.frame).view.crop(&view.region), slot));
        }
        let packed = clock.now();
        let ran = engine.run(tensor, |outputs| {
            if !options.inference_delay.is_zero() {
                clock.sleep(options.inference_delay);
            }
            let ran = clock.now();
            for (item, view) in range.enumerate() {
                detected[view].clear();
                let stream = input(views[view].frame).stream;
                let thresholds = &wanted_of.get(&stream).unwrap_or(&options.wanted).thresholds;
                let (letterbox, detected) = (&letterboxes[view], &mut detected[view]);
                postprocessor.run(outputs, item, shape.size, letterbox, thresholds, detected)?;
            }
            Ok::<_, PostprocessError>(ran)
        })??;
        elapsed.preprocess += packed.since(start);
        elapsed.inference += ran.since(packed);
        elapsed.postprocess += clock.now().since(ran);
        Ok(start)
    }

    /// Gives each frame of the group what its views show.
    fn merge_views<'a>(&mut self, input: &impl Fn(usize) -> DetectorInput<'a>) {
        let Self { views, detected, letterboxes, results, merger, options, wanted_of, .. } = self;
        let mut first = 0;
        for same_frame in views.chunk_by(|a, b| a.frame == b.frame) {
            let result = &mut results[same_frame[0].frame];
            result.objects.clear();
            // The whole frame comes first.
            result.letterbox = letterboxes[first];
            let detected = &detected[first..first + same_frame.len()];
            first += same_frame.len();
            if let [whole] = detected {
                result.objects.extend_from_slice(whole);
                continue;
            }
            for (view, detected) in same_frame.iter().zip(detected) {
                merger.add(view.region, result.letterbox.frame, detected);
            }
            let stream = input(same_frame[0].frame).stream;
            let thresholds = &wanted_of.get(&stream).unwrap_or(&options.wanted).thresholds;
            merger.finish(thresholds.iou, thresholds.max_det, &mut result.objects);
        }
    }

    /// Makes the session for a run over `views` views of frames of such a size; the shape of its tensor.
    fn prepare_views(
        &mut self,
        (stream, frame): (StreamId, Size),
        one_size: bool,
        views: usize,
    ) -> Result<InputShape, DetectError> {
        let size = self.tiler.tensor(stream, frame);
        let shape = InputShape { batch: self.model.batch.unwrap_or(views.min(MAX_VIEWS)), size };
        let adapts = self.tiler.adapts(stream) && self.model.batch.is_none();
        // With the first session, those for every number of tiles there can be.
        let counts = if adapts && self.engine.is_none() { self.tiler.counts(stream, frame) } else { Vec::new() };
        let fixed = one_size.then(|| self.largest_batch(stream, frame));
        let engine = self.prepare_shape(shape, fixed)?;
        for views in counts {
            engine.prepare(InputShape { batch: views, ..shape }, fixed)?;
        }
        Ok(shape)
    }

    /// The engine, with a session for `shape`, `fixed` as in [`Engine::prepare`].
    fn prepare_shape(&mut self, shape: InputShape, fixed: Option<usize>) -> Result<&mut Engine, DetectError> {
        if self.engine.is_none() {
            let (model, provider) = (&self.model, &self.options.provider);
            let engine = Engine::new(&self.runtime, &model.file, &model.port, provider, (shape, fixed))?;
            return Ok(self.engine.insert(engine));
        }
        let engine = self.engine.as_mut().ok_or(InferenceError::NoSession)?;
        engine.prepare(shape, fixed)?;
        Ok(engine)
    }
}
