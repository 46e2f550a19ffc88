//! A model's run over a dataset's images: every image's boxes, in the dataset's classes and pixels.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::classes::ClassMap;
use super::dataset::header::Header;
use super::dataset::{Dataset, Issue};
use super::{LabelBox, Scored};
use crate::clock::{Clock, HostTime};
use crate::detector::{DetectError, Detector, DetectorInput};
use crate::frame::{DecodedFrame, FrameView, PixelFormat, Plane};
use crate::geometry::Size;
use crate::inference::ProviderReport;
use crate::latency::{FrameRecord, LatencyBook, SecondCounts};
use crate::report::StreamReport;
use crate::report::figures::RunFigures;
use crate::report::gpu::GpuMeter;
use crate::report::threads::ThreadTimes;
use crate::stream::{Dropped, FrameCounts, StreamInfo};

/// Counters of CPU and GPU are read this often.
const SAMPLES: Duration = Duration::from_millis(500);

/// An image that is there to be run.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index in [`Dataset::images`].
    index: usize,
    /// Size that the dataset states.
    stated: Option<Size>,
    header: Option<Header>,
}

/// What the model gave for one image.
#[derive(Debug)]
struct ImageBoxes {
    boxes: Vec<Scored>,
    grey: bool,
}

/// Runs a model over a dataset's images, in batches, and measures it.
pub struct DatasetRun {
    detector: Detector,
    clock: Arc<dyn Clock>,
    /// By place in the run.
    places: Vec<Place>,
    dataset_from_model: Vec<Option<usize>>,
    /// Frames of the batch that is being filled.
    #[expect(clippy::vec_box, reason = "frames come boxed")]
    batch: Vec<Box<DecodedFrame>>,
    /// By index in the dataset; `None` where the image has not been run.
    boxes: Vec<Option<ImageBoxes>>,
    gpu: Option<GpuMeter>,
    sampled: HostTime,
    figures: RunFigures,
}

/// The images of a dataset that are there.
fn places(dataset: &Dataset) -> impl Iterator<Item = Place> {
    let there = dataset.images.iter().enumerate().filter(|(_, image)| image.header.is_some());
    there.map(|(index, image)| Place { index, stated: image.size, header: image.header })
}

impl DatasetRun {
    /// A run of `detector` over the images that are there; `gpu` is the number of the GPU that it may run on.
    #[must_use]
    pub fn new(dataset: &Dataset, map: &ClassMap, detector: Detector, clock: Arc<dyn Clock>, gpu: i32) -> Self {
        let stream = StreamReport {
            uri: crate::secrets::redact(&dataset.name),
            frame_rate: "0/1".into(),
            ..StreamReport::default()
        };
        let figures = RunFigures {
            streams: vec![stream],
            book: LatencyBook::new(),
            seconds: SecondCounts::default(),
            provider: None,
            input: [0; 4],
            outputs: Vec::new(),
            live_outputs: Vec::new(),
            objects: vec![0; map.dataset_from_model.len()],
            batches: BTreeMap::new(),
            threads: ThreadTimes::default(),
            gpu: None,
            first_frame: None,
            last_frame: None,
        };
        Self {
            detector,
            clock,
            places: places(dataset).collect(),
            dataset_from_model: map.dataset_from_model.clone(),
            batch: Vec::new(),
            boxes: dataset.images.iter().map(|_| None).collect(),
            gpu: GpuMeter::start(gpu),
            sampled: HostTime::default(),
            figures,
        }
    }

    /// The files to be decoded, in the order of the run.
    #[must_use]
    pub fn paths(&self, dataset: &Dataset) -> Vec<PathBuf> {
        self.places.iter().map(|place| dataset.images[place.index].path.clone()).collect()
    }

    /// Takes note of what is known of the first image.
    pub fn opened(&mut self, info: &StreamInfo) {
        let stream = &mut self.figures.streams[0];
        (stream.width, stream.height) = (info.size.width, info.size.height);
        stream.frame_rate = info.frame_rate.map_or_else(|| "0/1".into(), |(n, d)| format!("{n}/{d}"));
    }

    /// Counts an image that did not decode, or that the decoder flags as damaged.
    pub fn count_corrupt(&mut self) {
        let frames = &mut self.figures.streams[0].frames;
        frames.received += 1;
        frames.dropped.add(Dropped { corrupt: 1, ..Dropped::default() });
    }

    /// Adds an image to the batch; how many there are in it.
    pub fn add(&mut self, mut frame: Box<DecodedFrame>) -> usize {
        frame.stamps.taken = self.clock.now();
        self.figures.streams[0].frames.received += 1;
        self.batch.push(frame);
        self.batch.len()
    }

    /// Whether a session is made.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.figures.first_frame.is_some()
    }

    /// Makes the session for the images of the batch; figures begin with it.
    ///
    /// # Errors
    /// When the model does not run.
    pub fn make_session(&mut self) -> Result<(), DetectError> {
        let batch = &self.batch;
        self.detector.prepare_batch(batch.len(), |number| input(&batch[number]))?;
        self.figures.provider = self.detector.provider().cloned();
        self.figures.first_frame.get_or_insert(self.clock.now());
        self.sample(HostTime::default());
        Ok(())
    }

    /// Which execution provider runs, once one does.
    #[must_use]
    pub fn provider(&self) -> Option<&ProviderReport> {
        self.figures.provider.as_ref()
    }

    /// Images run so far.
    #[must_use]
    pub fn processed(&self) -> u64 {
        self.figures.processed()
    }

    /// The images so far: received where they come in, processed where they are done, or dropped.
    #[must_use]
    pub fn counts(&self) -> FrameCounts {
        self.figures.streams[0].frames
    }

    /// Detects on the images of the batch, which is empty then, and shows each to `done`.
    ///
    /// # Errors
    /// When the model does not run, or its outputs do not have its layout's shapes.
    pub fn detect(&mut self, done: &mut dyn FnMut(&DecodedFrame)) -> Result<(), DetectError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let closed = self.clock.now();
        let mut batch = std::mem::take(&mut self.batch);
        let results = self.detector.detect_batch(batch.len(), |number| input(&batch[number]))?;
        for (frame, result) in batch.iter_mut().zip(results) {
            frame.stamps.batch_closed = closed;
            frame.detections.extend_from_slice(&result.objects);
            frame.letterbox = Some(result.letterbox);
            result.timings.stamp(&mut frame.stamps);
            if let Some(began) = self.figures.first_frame {
                frame.stamps.not_before(began);
            }
            if result.timings.batch_place == 0 {
                *self.figures.batches.entry(result.timings.batch_size as usize).or_default() += 1;
            }
            self.figures.input = result.shape.dims();
        }
        for frame in &mut batch {
            frame.stamps.handed_over = self.clock.now();
            self.take(frame);
            done(frame);
        }
        batch.clear();
        self.batch = batch;
        Ok(())
    }

    /// Keeps a frame's boxes and counts it.
    fn take(&mut self, frame: &DecodedFrame) {
        let size = frame.pixels.info().size;
        let place = usize::try_from(frame.index).ok().and_then(|index| self.places.get(index));
        if let Some(Place { index, stated, header }) = place {
            let displayed = Header { size, orientation: header.map_or(1, |h| h.orientation), grey: false };
            let scored = frame.detections.iter().filter_map(|d| {
                let class = self.dataset_from_model.get(usize::from(d.class_id)).copied().flatten()?;
                let b = displayed.stated_from_displayed(&d.bbox, stated.unwrap_or(size));
                let (x, y) = (f64::from(b.x1), f64::from(b.y1));
                let bbox = LabelBox { x, y, width: f64::from(b.x2) - x, height: f64::from(b.y2) - y };
                Some(Scored { class, score: f64::from(d.confidence), bbox })
            });
            self.boxes[*index] = Some(ImageBoxes { boxes: scored.collect(), grey: is_grey(&frame.pixels.view()) });
        }
        let figures = &mut self.figures;
        let counts = &mut figures.streams[0].frames;
        counts.processed += 1;
        counts.inferred += 1;
        for d in &frame.detections {
            if let Some(n) = figures.objects.get_mut(usize::from(d.class_id)) {
                *n += 1;
            }
        }
        let now = frame.stamps.handed_over;
        figures.seconds.add(now);
        figures.last_frame = figures.last_frame.max(Some(now));
        figures.book.record(&FrameRecord::of(frame));
        if now.since(self.sampled) >= SAMPLES {
            self.sample(now);
        }
    }

    /// Reads the counters of CPU and GPU.
    fn sample(&mut self, now: HostTime) {
        self.sampled = now;
        self.figures.threads.sample();
        if let Some(gpu) = &mut self.gpu {
            gpu.sample();
        }
    }

    /// Ends the run. Images without colours and images that could not be run become findings of the dataset; of each image
    /// the boxes, where it was run.
    #[must_use]
    pub fn finish(mut self, dataset: &mut Dataset) -> (RunFigures, Vec<Option<Vec<Scored>>>) {
        self.figures.threads.sample();
        self.figures.book.settle();
        self.figures.streams[0].accounted = self.counts().is_accounted();
        self.figures.gpu = self.gpu.take().map(GpuMeter::finish);
        self.figures.streams[0].tiling = self.detector.tiling().next().map(|(_, tiling)| tiling.into());
        for (image, run) in dataset.images.iter().zip(&self.boxes) {
            // Stored with three components all the same; those with one are found already.
            if run.as_ref().is_some_and(|run| run.grey) && image.header.is_some_and(|h| !h.grey) {
                dataset.findings.add(Issue::Grey, image.path.display().to_string(), || "it has no colours".into());
            }
        }
        for Place { index, .. } in self.places.iter().filter(|place| self.boxes[place.index].is_none()) {
            let image = &dataset.images[*index];
            let (place, objects) = (image.path.display().to_string(), image.truths.len());
            let text = || format!("it does not decode; its {objects} objects do not count");
            dataset.findings.add(Issue::Missing, place, text);
        }
        (self.figures, self.boxes.into_iter().map(|run| run.map(|run| run.boxes)).collect())
    }

    /// Images to be run.
    #[must_use]
    pub fn images(&self) -> usize {
        self.places.len()
    }

    /// What the user should know of the model's boxes.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        self.detector.notices()
    }
}

/// An image as the detector takes it.
fn input(frame: &DecodedFrame) -> DetectorInput<'_> {
    DetectorInput { stream: frame.stream, one_size: false, view: frame.pixels.view() }
}

/// Whether an image has no colours: no chroma is further from the middle than rounding takes it.
fn is_grey(image: &FrameView) -> bool {
    let Size { width, height } = image.info.size;
    let (across, down) = image.info.format.chroma_shift();
    let (width, height) = (width.div_ceil(1 << across) as usize, height.div_ceil(1 << down) as usize);
    let [_, u, v] = &image.planes;
    let (planes, bytes): (&[&Plane], usize) =
        if image.info.format == PixelFormat::Nv12 { (&[u], 2 * width) } else { (&[u, v], width) };
    let grey = |row: &[u8]| row.iter().take(bytes).all(|c| c.abs_diff(128) <= 2);
    planes.iter().all(|plane| plane.data.chunks(plane.stride.max(1)).take(height).all(grey))
}
