//! Cards, class names and facts from outside: whatever they hold, nothing panics, and what is taken can be worked with.
//!
//! 256 cases each in `make test`, a million in `make fuzz` (`PROPTEST_CASES`).

use proptest::prelude::*;

use super::card::Card;
use super::facts::{Dim, Element, OnnxFacts, TensorFacts};
use super::{Model, ModelFile, ModelRef, names, recognise};
use crate::geometry::{Letterbox, Size};
use crate::postprocess::{Postprocessor, Thresholds};
use crate::tensor::OutputView;

/// Text in which what is looked for comes up, and anything else.
fn text(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(pieces).prop_map(str::to_owned),
        2 => any::<String>(),
        2 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<f64>().prop_map(|n| n.to_string()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const NAMES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "'",
    "\"",
    "\\",
    "\n",
    "0",
    "1",
    "2",
    "'a'",
    "\"b\"",
    "0: 'a'",
    ", 1: 'b'",
    "é",
    "\u{1b}",
    "\u{202e}",
    "{0: 'a', 1: 'b'}",
    "['a', 'b']",
];

const CARD: &[&str] = &[
    "file = \"a.onnx\"\n",
    "file = ",
    "sha256 = ",
    "layout = \"yolov8\"\n",
    "layout = ",
    "\"end2end\"",
    "order = \"bgr\"\n",
    "imgsz = ",
    "stride = ",
    "value_max = ",
    "mean = [",
    "std = [1.0, 2.0, 3.0]\n",
    "placement = \"stretch\"\n",
    "classes = [\"a\", \"b\"]\n",
    "classes = [",
    "conf = ",
    "iou = 0.5\n",
    "nan",
    "inf",
    "640",
    "0",
    "-1",
    "0.5",
    "\"",
    "]",
    "[",
    "\n",
    ", ",
    "# ",
    "[[",
    "{",
    "=",
];

const VALUES: &[&str] = &[
    "32",
    "640",
    "[640, 640]",
    "[",
    "]",
    ",",
    "-",
    "1e9",
    "True",
    "False",
    "detect",
    "segment",
    "pose",
    "obb",
    "17, 3",
    "{'nms': True}",
    "{0: 'a'}",
    "['a', 'b', 'c']",
    "nan",
    "inf",
];

fn dim() -> impl Strategy<Value = Dim> {
    let usual =
        vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 20, 32, 35, 38, 64, 84, 85, 252, 300, 10_000, 1_000_000_004, usize::MAX];
    prop_oneof![
        6 => prop::sample::select(usual).prop_map(Dim::Fixed),
        1 => any::<usize>().prop_map(Dim::Fixed),
        2 => "|batch|height|\u{1b}n".prop_map(Dim::Dynamic),
    ]
}

fn tensor(names: &'static [&'static str], ranks: std::ops::Range<usize>) -> impl Strategy<Value = TensorFacts> {
    let elements = vec![
        Element::F32,
        Element::F32,
        Element::F32,
        Element::F16,
        Element::U8,
        Element::I32,
        Element::I64,
        Element::Other("String".into()),
    ];
    let name = prop_oneof![4 => prop::sample::select(names).prop_map(str::to_owned), 1 => any::<String>()];
    (name, prop::sample::select(elements), prop::collection::vec(dim(), ranks))
        .prop_map(|(name, element, dims)| TensorFacts { name, element, dims })
}

/// Inputs that are often pictures of 64 × 64, so that outputs get their turn.
fn facts() -> impl Strategy<Value = OnnxFacts> {
    let pictures = |size: Dim| {
        let dims = vec![Dim::Fixed(1), Dim::Fixed(3), size.clone(), size];
        TensorFacts { name: "images".into(), element: Element::F32, dims }
    };
    let usual = prop_oneof![Just(Dim::Fixed(64)), Just(Dim::Dynamic("h".into()))];
    let input = prop_oneof![3 => usual.prop_map(pictures), 1 => tensor(&["images", "sizes"], 0..6)];
    let sizes = tensor(&["orig_target_sizes"], 2..3);
    let outputs = tensor(&["output0", "boxes", "scores", "labels", "det_classes", "num_dets", "\u{7}"], 1..5);
    let key = prop::sample::select(vec!["names", "stride", "imgsz", "task", "end2end", "args", "kpt_shape", "other"]);
    (
        (input, prop::option::weighted(0.2, sizes)).prop_map(|(a, b)| std::iter::once(a).chain(b).collect()),
        prop::collection::vec(outputs, 0..9),
        prop::collection::btree_map(key.prop_map(str::to_owned), text(VALUES), 0..5),
    )
        .prop_map(|(inputs, outputs, metadata)| OnnxFacts { inputs, outputs, metadata })
}

fn reference(card: Option<Card>) -> ModelRef {
    ModelRef { name: "m".into(), file: ModelFile::Path("m.onnx".into()), sha256: String::new(), card }
}

/// The outputs as a run might give them, of as many of the stated dimensions as a test can hold.
fn run(model: &Model, facts: &OnnxFacts, fill: f32) {
    const OPEN: usize = 84;
    let shapes: Vec<Vec<usize>> =
        facts.outputs.iter().map(|o| o.dims.iter().map(|d| d.fixed().unwrap_or(OPEN)).collect()).collect();
    let lengths: Vec<usize> =
        shapes.iter().map(|s| s.iter().try_fold(1usize, |a, b| a.checked_mul(*b)).unwrap_or(usize::MAX)).collect();
    if lengths.iter().any(|n| *n > 1 << 16) {
        return;
    }
    let data: Vec<Vec<f32>> = lengths.iter().map(|n| vec![fill; *n]).collect();
    let views: Vec<OutputView<'_>> = (facts.outputs.iter().zip(&shapes).zip(&data))
        .map(|((output, shape), data)| OutputView { name: &output.name, shape, data })
        .collect();
    let frame = Size { width: 128, height: 96 };
    let tensor = model.tensor_size(frame, model.default_size);
    let letterbox = Letterbox::fit(frame, tensor, model.input.placement);
    let thresholds = Thresholds { conf: 0.25, iou: 0.5, max_det: 300, agnostic: false, classes: None };
    let mut found = Vec::new();
    let outcome = Postprocessor::new(model.layout, model.classes.len(), thresholds)
        .run(&views, 0, tensor, &letterbox, &mut found);
    assert!(outcome.is_err() || found.len() <= 300);
}

proptest! {
    #[test]
    fn class_names(text in text(NAMES)) {
        if let Ok(names) = names::parse(&text) {
            prop_assert!(names::check(&names).is_ok());
            prop_assert!(names.iter().map(String::len).sum::<usize>() <= text.len());
        }
    }

    #[test]
    fn cards(text in text(CARD)) {
        match Card::parse(&text, "m.toml") {
            Ok(card) => {
                prop_assert!(card.stride.is_none_or(|n| (1..=256).contains(&n)));
                prop_assert!(card.imgsz.is_none_or(|n| (32..=8192).contains(&n)));
                prop_assert!(card.std.is_none_or(|s| s.iter().all(|v| v.is_finite() && *v != 0.0)));
                prop_assert!(card.conf.is_none_or(|v| (0.0..=1.0).contains(&v)));
            }
            Err(error) => prop_assert!(error.to_string().starts_with("m.toml: ")),
        }
    }

    #[test]
    fn facts_and_metadata(
        facts in facts(), card in prop::option::weighted(0.3, text(CARD)),
        fill in prop::sample::select(vec![0.0, 0.5, 2.0, f32::NAN]),
    ) {
        let card = card.and_then(|text| Card::parse(&format!("file = \"m.onnx\"\n{text}"), "m.toml").ok());
        match recognise::build(reference(card), &facts) {
            Ok(model) => {
                prop_assert!((1..=names::MAX_CLASSES).contains(&model.classes.len()));
                prop_assert!((1..=256).contains(&model.stride));
                let Size { width, height } = model.static_size.unwrap_or(model.default_size);
                prop_assert!((1..=8192).contains(&width) && (1..=8192).contains(&height));
                prop_assert!(model.batch.is_none_or(|n| (1..=64).contains(&n)));
                run(&model, &facts, fill);
            }
            Err(error) => {
                let text = error.to_string();
                prop_assert!(text.starts_with("m.onnx: ") && text.contains("\n  "), "{}", text);
                prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{:?}", text);
                prop_assert!(text.len() < 20_000);
            }
        }
    }
}
