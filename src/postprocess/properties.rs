//! What holds of every layout's decoder, whatever the outputs hold.

use proptest::prelude::*;

use super::*;
use crate::geometry::{FrameBox, Placement, px};

const TENSOR: Size = Size { width: 64, height: 64 };
const FRAME: Size = Size { width: 128, height: 96 };
const CLASSES: usize = 3;
/// Cells of strides 8, 16 and 32, and with 64.
const CELLS: [usize; 2] = [84, 85];

const LAYOUTS: [Layout; 13] = [
    Layout::Yolov5,
    Layout::Yolov8,
    Layout::Yolov8Obb,
    Layout::Yolox,
    Layout::End2end,
    Layout::End2endObb,
    Layout::Nanodet,
    Layout::NanodetPlus,
    Layout::Picodet,
    Layout::Fastestdet,
    Layout::Detr,
    Layout::Ssd,
    Layout::EfficientNms,
];

/// Names and shapes of a layout's outputs, for two frames.
fn shapes(layout: Layout) -> Vec<(&'static str, Vec<usize>)> {
    let one = |rows: usize, columns: usize| vec![("output", vec![2, rows, columns])];
    let levels = |strides: &[usize]| {
        let cells = |stride: &usize| (64 / stride).pow(2);
        let scores = strides.iter().map(|s| ("scores", vec![2, cells(s), CLASSES]));
        let distances = strides.iter().map(|s| ("distances", vec![2, cells(s), 32]));
        scores.chain(distances).collect()
    };
    let chosen = |count: Option<&'static str>| {
        let mut all = vec![("boxes", vec![2, 9, 4]), ("scores", vec![2, 9]), ("classes", vec![2, 9])];
        all.extend(count.map(|name| (name, vec![2])));
        all
    };
    match layout {
        Layout::Yolov5 => one(3 * CELLS[0], 5 + CLASSES),
        Layout::Yolov8 => one(4 + CLASSES, CELLS[0]),
        Layout::Yolov8Obb => one(5 + CLASSES, CELLS[0]),
        Layout::Yolox | Layout::Yolov6 => one(CELLS[0], 5 + CLASSES),
        Layout::End2end => one(20, 6),
        Layout::End2endObb => one(20, 7),
        Layout::Nanodet => levels(&[8, 16, 32]),
        Layout::NanodetPlus => one(CELLS[1], CLASSES + 32),
        Layout::Picodet => levels(&[8, 16, 32, 64]),
        Layout::Fastestdet => one(16, 5 + CLASSES),
        Layout::Detr => chosen(None),
        Layout::Ssd | Layout::EfficientNms => chosen(Some("num")),
    }
}

/// Numbers as models give them, and as they should not.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => 0.0f32..1.0,
        3 => -8.0f32..80.0,
        1 => any::<f32>(),
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0, 3.0e9]),
    ]
}

/// A pool of values that outputs are filled from, as drawing every one of thousands would take all the time.
fn pool() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(value(), 1..40)
}

fn thresholds() -> impl Strategy<Value = Thresholds> {
    let classes = prop::option::of(prop::collection::vec(any::<bool>(), CLASSES));
    (0.0f32..0.9, 0.0f32..1.0, 0usize..40, any::<bool>(), classes)
        .prop_map(|(conf, iou, max_det, agnostic, classes)| Thresholds { conf, iou, max_det, agnostic, classes })
}

/// What frame `item` shows, and how many boxes held no numbers.
fn run(
    layout: Layout,
    outputs: &[(&str, Vec<usize>, Vec<f32>)],
    item: usize,
    thresholds: &Thresholds,
) -> Result<(Vec<Detection>, u64), PostprocessError> {
    let views: Vec<OutputView<'_>> =
        outputs.iter().map(|(name, shape, data)| OutputView { name, shape, data }).collect();
    let letterbox = Letterbox::fit(FRAME, TENSOR, Placement::Centre);
    let mut postprocessor = Postprocessor::new(layout, CLASSES);
    let mut found = Vec::new();
    postprocessor.run(&views, item, TENSOR, &letterbox, thresholds, &mut found)?;
    Ok((found, postprocessor.dropped_non_finite()))
}

fn filled(layout: Layout, pool: &[f32]) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    // A step that shares no factor with most lengths, so that values meet in ever new places.
    let mut values = pool.iter().copied().cycle().step_by(7);
    let fill = |(name, shape): (&'static str, Vec<usize>)| {
        let data = values.by_ref().take(shape.iter().product()).collect();
        (name, shape, data)
    };
    shapes(layout).into_iter().map(fill).collect()
}

proptest! {
    #[test]
    fn what_comes_out_is_sound(at in 0..LAYOUTS.len(), pool in pool(), item in 0usize..2, thresholds in thresholds()) {
        let layout = LAYOUTS[at];
        let outputs = filled(layout, &pool);
        let (found, _) = run(layout, &outputs, item, &thresholds).expect("the shapes are the layout's");
        prop_assert!(found.len() <= thresholds.max_det);
        for d in &found {
            prop_assert!(usize::from(d.class_id) < CLASSES);
            prop_assert!(thresholds.classes.as_ref().is_none_or(|keep| keep[usize::from(d.class_id)]));
            prop_assert!(d.confidence > thresholds.conf && d.confidence <= 1.0, "{}", d.confidence);
            let FrameBox { x1, y1, x2, y2, .. } = d.bbox;
            prop_assert!(0.0 <= x1 && x1 < x2 && x2 <= px(FRAME.width) && 0.0 <= y1 && y1 < y2 && y2 <= px(FRAME.height));
        }
        prop_assert!(found.windows(2).all(|w| w[0].confidence >= w[1].confidence));
    }

    #[test]
    fn frames_of_a_batch_do_not_see_each_other(
        at in 0..LAYOUTS.len(), pool in pool(), others in pool(), thresholds in thresholds()
    ) {
        let layout = LAYOUTS[at];
        let outputs = filled(layout, &pool);
        let mut changed = filled(layout, &others);
        for ((_, _, data), (_, _, same)) in changed.iter_mut().zip(&outputs) {
            let half = data.len() / 2;
            data[half..].copy_from_slice(&same[half..]);
        }
        let second = |outputs: &[_]| run(layout, outputs, 1, &thresholds).expect("the shapes are the layout's");
        prop_assert_eq!(second(&outputs), second(&changed));
    }

    #[test]
    fn other_shapes_are_refused_or_read_but_never_panic(
        at in 0..LAYOUTS.len(),
        shapes in prop::collection::vec(prop::collection::vec(prop_oneof![0usize..12, 80usize..90], 0..5), 0..9),
        names in prop::collection::vec("boxes|scores|classes|num|output", 9),
        short in 0usize..3, item in 0usize..3, pool in pool(), thresholds in thresholds(),
    ) {
        let outputs: Vec<(&str, Vec<usize>, Vec<f32>)> = shapes.into_iter().zip(&names).map(|(shape, name)| {
            // Fewer numbers than the shape says come from no runtime, and shall do no harm all the same.
            let len = shape.iter().product::<usize>().min(1 << 13).saturating_sub(short);
            (name.as_str(), shape, pool.iter().copied().cycle().take(len).collect())
        }).collect();
        if let Ok((found, _)) = run(LAYOUTS[at], &outputs, item, &thresholds) {
            prop_assert!(found.len() <= thresholds.max_det);
        }
    }

    /// Both ways round a `YOLOv8` output is read, over blocks of anchors and row by row.
    #[test]
    fn a_transposed_output_shows_the_same(pool in pool(), item in 0usize..2, thresholds in thresholds()) {
        let outputs = filled(Layout::Yolov8, &pool);
        let (_, shape, data) = &outputs[0];
        let [_, channels, anchors] = shape[..] else { unreachable!("[B,4+C,N]") };
        let at = |to: usize| (to / (channels * anchors), to / channels % anchors, to % channels);
        let turned = (0..data.len()).map(at).map(|(b, anchor, channel)| data[(b * channels + channel) * anchors + anchor]);
        let transposed = vec![("output", vec![2, anchors, channels], turned.collect())];
        let read = |outputs: &[_]| run(Layout::Yolov8, outputs, item, &thresholds).expect("the shapes are the layout's");
        prop_assert_eq!(read(&outputs), read(&transposed));
    }

    /// Nothing but what is no number: nothing is found, and that is counted.
    #[test]
    fn an_output_without_numbers_is_counted(at in 0..LAYOUTS.len()) {
        let layout = LAYOUTS[at];
        let mut outputs = filled(layout, &[f32::NAN]);
        for (name, _, data) in &mut outputs {
            if *name == "num" {
                data.fill(9.0);
            }
        }
        let thresholds = Thresholds { conf: 0.25, iou: 0.5, max_det: 300, agnostic: false, classes: None };
        let (found, dropped) = run(layout, &outputs, 0, &thresholds).expect("the shapes are the layout's");
        prop_assert_eq!(found.len(), 0);
        prop_assert!(dropped > 0);
    }
}
