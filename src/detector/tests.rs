//! With the built-in model on ONNX Runtime's CPU provider; skipped where the runtime is not installed.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::*;
use crate::clock::SimulatedClock;
use crate::frame::DecodedFrame;
use crate::inference::{self, ProviderChoice, ProviderOptions};
use crate::model::ModelRef;
use crate::pipeline::decode_image;
use crate::tiling::Tiling;

/// ONNX Runtime allows one environment a process.
static RUNTIME: LazyLock<Result<Runtime, InferenceError>> = LazyLock::new(|| Runtime::load(None, ProviderChoice::Cpu));

/// A photograph with pedestrians.
pub(super) fn photograph() -> Box<DecodedFrame> {
    decode_image(concat!(env!("CARGO_MANIFEST_DIR"), "/models/visdrone-nano.jpg")).expect("it decodes")
}

/// A part of it.
fn part(frame: &DecodedFrame, left: u32, top: u32, width: u32, height: u32) -> FrameView<'_> {
    frame.pixels.view().crop(&Region { left, top, size: Size { width, height } })
}

/// What runs the built-in model, and the model.
pub(super) fn model() -> Option<(&'static Runtime, Model)> {
    let runtime = match &*RUNTIME {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::text::skipped(&error.to_string());
            return None;
        }
    };
    let reference = ModelRef::resolve(None).expect("it is built in");
    let facts = inference::inspect(runtime, reference.file()).expect("it can be read");
    Some((runtime, Model::build(reference, &facts).expect("its layout is known")))
}

fn detector(change: impl FnOnce(&mut DetectorOptions)) -> Option<Detector> {
    let (runtime, model) = model()?;
    let provider = ProviderOptions { choice: ProviderChoice::Cpu, ..ProviderOptions::default() };
    let mut options = DetectorOptions { provider, ..DetectorOptions::of(&model) };
    change(&mut options);
    Some(Detector::new(runtime, &model, options))
}

#[test]
fn a_batch_of_mixed_sizes_gives_what_each_frame_gives_alone() {
    let Some(mut detector) = detector(|_| {}) else { return };
    let photograph = photograph();
    let views = [
        photograph.pixels.view(),
        part(&photograph, 400, 100, 368, 368),
        photograph.pixels.view(),
        part(&photograph, 560, 0, 200, 400),
    ];
    let together = detector.detect(&views).expect("it runs");
    let of_batches = |d: &Detections| (d.timings.batch_size, d.timings.batch_place, d.shape.batch);
    assert_eq!(together.iter().map(of_batches).collect::<Vec<_>>(), [(2, 0, 2), (1, 0, 1), (2, 1, 2), (1, 0, 1)]);
    assert!(together.iter().all(|d| !d.objects.is_empty()), "there is somebody in each: {together:?}");
    for (view, result) in views.iter().zip(&together) {
        let alone = detector.detect(std::slice::from_ref(view)).expect("it runs");
        assert_eq!((alone[0].letterbox, alone[0].objects.len()), (result.letterbox, result.objects.len()));
        for (a, b) in alone[0].objects.iter().zip(&result.objects) {
            assert!((a.confidence - b.confidence).abs() < 1e-3 && a.class_id == b.class_id, "{a:?}, {b:?}");
        }
    }
    assert!(detector.detect(&[]).expect("nothing to do").is_empty());
}

#[test]
fn the_threshold_can_change_between_calls() {
    let Some(mut detector) = detector(|_| {}) else { return };
    let photograph = photograph();
    let mut count = |confidence| {
        detector.set_confidence(confidence);
        detector.detect(&[photograph.pixels.view()]).expect("it runs")[0].objects.len()
    };
    assert!(count(0.25) > 0);
    assert_eq!(count(1.0), 0);
    assert!(count(0.25) > 0);
}

#[test]
fn tiles_are_planned_and_counted_by_stream() {
    let tiling: Tiling = "2x1@0".parse().expect("a tiling");
    let Some(mut detector) = detector(|options| options.wanted.tiling = Some(tiling)) else { return };
    let photograph = photograph();
    let view = part(&photograph, 0, 0, 320, 180);
    let input = |stream| DetectorInput { stream: StreamId(stream), one_size: true, view };
    detector.detect_batch(2, |_| input(3)).expect("it runs");
    detector.detect_batch(1, |_| input(4)).expect("it runs");
    let mut figures: Vec<_> = detector.tiling().collect();
    figures.sort_by_key(|(stream, _)| *stream);
    let of_stream = |(stream, f): &(StreamId, TilingFigures)| (stream.0, f.tiles_min, f.tiles_max);
    assert_eq!(figures.iter().map(of_stream).collect::<Vec<_>>(), [(3, 2, 2), (4, 2, 2)]);
}

#[test]
fn sessions_are_made_by_warming_up() {
    let Some(mut detector) = detector(|options| options.provider.batch = 2) else { return };
    assert!(detector.provider().is_none());
    detector.warm_up(StreamId(0), Size { width: 320, height: 180 }, true).expect("it runs");
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
    let timings = detector.detect(&[part(&photograph(), 0, 0, 64, 64)]).expect("it runs")[0].timings;
    assert_eq!(timings.ran_from.since_start(), Duration::from_secs(7));
    assert_eq!([timings.preprocess, timings.inference, timings.postprocess], [Duration::ZERO, delay, Duration::ZERO]);
}

#[test]
fn batches_of_any_size_are_run_with_the_sessions_there_are() {
    let choice = ProviderChoice::Openvino;
    let openvino = |options: &mut DetectorOptions| {
        options.provider = ProviderOptions { choice, batch: 6, ..options.provider.clone() };
    };
    let Some(mut detector) = detector(openvino) else { return };
    let photograph = photograph();
    let view = photograph.pixels.view();
    let size = view.info.size;
    let input = |_| DetectorInput { stream: StreamId(0), one_size: true, view };
    if let Err(error) = detector.warm_up(StreamId(0), size, true) {
        crate::text::skipped(&error.to_string());
        return;
    }
    assert!(detector.lacking(StreamId(0), size, true).is_none(), "everything is warm");
    let alone = detector.detect_batch(1, input).expect("it runs")[0].objects.clone();
    assert!(!alone.is_empty());
    for (frames, last) in [(2, 2), (3, 1), (5, 1), (6, 6), (7, 1), (8, 2)] {
        let results = detector.detect_batch(frames, input).expect("it runs");
        assert_eq!(results.len(), frames);
        for result in results {
            assert_eq!(result.shape.batch, last, "{frames} frames");
            assert_eq!(result.objects.len(), alone.len());
        }
    }
    assert!(detector.lacking(StreamId(0), size, true).is_none(), "no batch needed a session of its own");
    // Another size is made beside, and taken over.
    let tall = Size { width: size.height, height: 2 * size.width };
    let lacking = detector.lacking(StreamId(1), tall, true).expect("nothing is there for it");
    let made = std::thread::scope(|scope| scope.spawn(|| lacking.make()).join().expect("no panic")).expect("it runs");
    detector.take_over(made);
    assert!(detector.lacking(StreamId(1), tall, true).is_none());
}
