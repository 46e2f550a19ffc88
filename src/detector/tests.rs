//! With the built-in model on ONNX Runtime's CPU provider; skipped where the runtime is not installed.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::SimulatedClock;
use crate::frame::{ChromaSite, Colour, FrameInfo, Matrix, PixelFormat, Plane, Range as Levels};
use crate::inference::{self, ProviderChoice, ProviderOptions};
use crate::model::ModelRef;
use crate::tiling::Tiling;

/// A frame in which bright rectangles lie on a dark ground.
struct Made {
    info: FrameInfo,
    luma: Vec<u8>,
    chroma: Vec<u8>,
}

impl Made {
    fn new(width: u32, height: u32) -> Self {
        let colour = Colour { matrix: Matrix::Bt601, range: Levels::Full, site: ChromaSite::Centre };
        let info = FrameInfo { format: PixelFormat::I420, size: Size { width, height }, colour };
        let (across, down) = (width as usize, height as usize);
        let bright = |x: usize, y: usize| (x / 40 + y / 24) % 5 == 0;
        let luma = (0..across * down).map(|at| if bright(at % across, at / across) { 220 } else { 60 }).collect();
        Self { info, luma, chroma: vec![128; across.div_ceil(2) * down.div_ceil(2)] }
    }

    fn view(&self) -> FrameView<'_> {
        let stride = self.info.size.width as usize;
        let chroma = Plane { data: &self.chroma, stride: stride.div_ceil(2) };
        FrameView { info: self.info, planes: [Plane { data: &self.luma, stride }, chroma, chroma] }
    }
}

fn detector(change: impl FnOnce(&mut DetectorOptions)) -> Option<Detector> {
    let runtime = match Runtime::load(None, ProviderChoice::Cpu) {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::text::skipped(&error.to_string());
            return None;
        }
    };
    let reference = ModelRef::resolve(None).expect("it is built in");
    let facts = inference::inspect(&runtime, reference.file()).expect("it can be read");
    let model = Model::build(reference, &facts).expect("its layout is known");
    let provider = ProviderOptions { choice: ProviderChoice::Cpu, ..ProviderOptions::default() };
    let imgsz = Size { width: 96, height: 96 };
    let mut options = DetectorOptions { provider, imgsz, ..DetectorOptions::of(&model) };
    options.thresholds.conf = 0.001;
    change(&mut options);
    Some(Detector::new(&runtime, &model, options))
}

#[test]
fn a_batch_of_mixed_sizes_gives_what_each_frame_gives_alone() {
    let Some(mut detector) = detector(|_| {}) else { return };
    let made = [Made::new(320, 180), Made::new(200, 200), Made::new(320, 180), Made::new(180, 320)];
    let views: Vec<FrameView> = made.iter().map(Made::view).collect();
    let together = detector.detect(&views).expect("it runs");
    let of_batches = |d: &Detections| (d.timings.batch_size, d.timings.batch_place, d.shape.batch);
    assert_eq!(together.iter().map(of_batches).collect::<Vec<_>>(), [(2, 0, 2), (1, 0, 1), (2, 1, 2), (1, 0, 1)]);
    assert!(together.iter().any(|d| !d.objects.is_empty()), "a threshold of 0.001 lets something through");
    for (view, result) in views.iter().zip(&together) {
        let alone = detector.detect(std::slice::from_ref(view)).expect("it runs");
        assert_eq!((alone[0].letterbox, alone[0].objects.len()), (result.letterbox, result.objects.len()));
        for (a, b) in alone[0].objects.iter().zip(&result.objects) {
            assert!((a.confidence - b.confidence).abs() < 1e-4 && a.class_id == b.class_id, "{a:?}, {b:?}");
        }
    }
    assert!(detector.detect(&[]).expect("nothing to do").is_empty());
}

#[test]
fn the_threshold_can_change_between_calls() {
    let Some(mut detector) = detector(|_| {}) else { return };
    let made = Made::new(320, 180);
    let mut count = |confidence| {
        detector.set_confidence(confidence);
        detector.detect(&[made.view()]).expect("it runs")[0].objects.len()
    };
    assert!(count(0.001) > 0);
    assert_eq!(count(1.0), 0);
    assert!(count(0.001) > 0);
}

#[test]
fn tiles_are_planned_and_counted_by_stream() {
    let tiling: Tiling = "2x1@0".parse().expect("a tiling");
    let Some(mut detector) = detector(|options| options.tiling = Some(tiling)) else { return };
    let made = Made::new(320, 180);
    let input = |stream| DetectorInput { stream: StreamId(stream), one_size: true, view: made.view() };
    detector.detect_batch(2, |_| input(3)).expect("it runs");
    detector.detect_batch(1, |_| input(4)).expect("it runs");
    let mut figures: Vec<_> = detector.tiling().collect();
    figures.sort_by_key(|(stream, _)| *stream);
    let of_stream = |(stream, f): &(StreamId, TilingFigures)| (stream.0, f.tiles_min, f.tiles_max);
    assert_eq!(figures.iter().map(of_stream).collect::<Vec<_>>(), [(3, 2, 2), (4, 2, 2)]);
}

#[test]
fn sessions_are_made_by_warming_up() {
    let Some(mut detector) = detector(|_| {}) else { return };
    assert!(detector.provider().is_none());
    detector.warm_up(StreamId(0), Size { width: 320, height: 180 }, 2).expect("it runs");
    assert_eq!(detector.provider().map(|report| report.actual), Some(ProviderChoice::Cpu));
}

#[test]
fn timings_are_taken_from_the_clock_it_is_given() {
    let clock = Arc::new(SimulatedClock::default());
    clock.advance(Duration::from_secs(7));
    let delay = Duration::from_millis(40);
    let Some(mut detector) = detector(|options| {
        options.clock = clock.clone();
        options.inference_delay = delay;
    }) else {
        return;
    };
    let timings = detector.detect(&[Made::new(64, 64).view()]).expect("it runs")[0].timings;
    assert_eq!(timings.ran_from.since_start(), Duration::from_secs(7));
    assert_eq!([timings.preprocess, timings.inference, timings.postprocess], [Duration::ZERO, delay, Duration::ZERO]);
}
