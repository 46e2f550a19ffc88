//! Cards, class names and facts from outside: whatever they hold, nothing panics, and what is taken can be worked with.
//!
//! 256 cases each in `make test`, a million in `make fuzz` (`PROPTEST_CASES`).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::card::Card;
use super::facts::{Dim, Element, OnnxFacts, TensorFacts};
use super::{Model, ModelFile, ModelRef, names, recognise};
use crate::geometry::Size;

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

/// Whatever comes up.
fn wild() -> impl Strategy<Value = OnnxFacts> {
    let outputs = tensor(&["output0", "boxes", "scores", "labels", "det_classes", "num_dets", "\u{7}"], 1..5);
    (
        prop::collection::vec(tensor(&["images", "sizes", "orig_target_sizes"], 0..6), 0..3),
        prop::collection::vec(outputs, 0..9),
        prop::collection::btree_map(key(), text(VALUES), 0..5),
    )
        .prop_map(|(inputs, outputs, metadata)| OnnxFacts { inputs, outputs, metadata })
}

fn key() -> impl Strategy<Value = String> {
    let keys = vec!["names", "stride", "imgsz", "task", "end2end", "args", "kpt_shape", "other"];
    prop::sample::select(keys).prop_map(str::to_owned)
}

/// A model of 64 × 64 pixels and three classes, of one of the layouts.
fn known() -> impl Strategy<Value = OnnxFacts> {
    let tensor = |name: &str, element: Element, dims: &[usize]| TensorFacts {
        name: name.into(),
        element,
        dims: dims.iter().copied().map(Dim::Fixed).collect(),
    };
    let one = |dims: &[usize]| vec![tensor("output0", Element::F32, dims)];
    let levels = |cells: &[usize]| {
        let of = |width: usize| move |n: &usize| tensor("level", Element::F32, &[1, *n, width]);
        cells.iter().map(of(3)).chain(cells.iter().map(of(32))).collect::<Vec<_>>()
    };
    let chosen = |classes: Element, count: bool| {
        let mut all = vec![
            tensor("boxes", Element::F32, &[1, 20, 4]),
            tensor("scores", Element::F32, &[1, 20]),
            tensor("classes", classes, &[1, 20]),
        ];
        all.extend(count.then(|| tensor("num", Element::I32, &[1, 1])));
        all
    };
    let masks = [one(&[1, 11, 84]), vec![tensor("output1", Element::F32, &[1, 4, 16, 16])]].concat();
    let outputs = vec![
        one(&[1, 252, 8]),
        one(&[1, 7, 84]),
        one(&[1, 84, 7]),
        one(&[1, 8, 84]),
        one(&[1, 84, 8]),
        one(&[1, 300, 6]),
        one(&[1, 300, 7]),
        one(&[1, 85, 35]),
        one(&[1, 16, 8]),
        one(&[1, 8, 4, 4]),
        masks,
        levels(&[64, 16, 4]),
        levels(&[64, 16, 4, 1]),
        chosen(Element::I64, false),
        chosen(Element::I32, true),
        chosen(Element::F32, true),
    ];
    let side = prop_oneof![3 => Just(Dim::Fixed(64)), 1 => Just(Dim::Dynamic("h".into()))];
    (prop::sample::select(outputs), side, any::<bool>(), any::<bool>()).prop_map(
        move |(outputs, side, sizes, named)| {
            let dims = vec![Dim::Fixed(1), Dim::Fixed(3), side.clone(), side];
            let mut inputs = vec![TensorFacts { name: "images".into(), element: Element::F32, dims }];
            inputs.extend(sizes.then(|| tensor("orig_target_sizes", Element::I64, &[1, 2])));
            let metadata = [("names", "['a', 'b', 'c']"), ("stride", "32")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            let metadata = if named { metadata.into() } else { BTreeMap::new() };
            OnnxFacts { inputs, outputs, metadata }
        },
    )
}

/// One thing about a model changed; indices are taken modulo what there is.
#[derive(Debug, Clone)]
enum Change {
    Dim(bool, usize, usize, Dim),
    Tensor(bool, usize, TensorFacts),
    Drop(usize),
    Metadata(String, String),
}

fn change() -> impl Strategy<Value = Change> {
    let output = tensor(&["output0", "boxes", "scores", "labels", "num_dets"], 1..5);
    let value = prop_oneof![prop::sample::select(VALUES).prop_map(str::to_owned), text(VALUES)];
    prop_oneof![
        4 => (any::<bool>(), any::<usize>(), any::<usize>(), dim()).prop_map(|(i, at, d, n)| Change::Dim(i, at, d, n)),
        1 => (prop::bool::weighted(0.2), any::<usize>(), output).prop_map(|(i, at, t)| Change::Tensor(i, at, t)),
        1 => any::<usize>().prop_map(Change::Drop),
        3 => (key(), value).prop_map(|(key, value)| Change::Metadata(key, value)),
    ]
}

impl Change {
    fn apply(self, facts: &mut OnnxFacts) {
        match self {
            Self::Dim(input, at, dim, value) => {
                let side = if input { &mut facts.inputs } else { &mut facts.outputs };
                let len = side.len().max(1);
                let Some(dims) = side.get_mut(at % len).map(|t| &mut t.dims).filter(|d| !d.is_empty()) else { return };
                let rank = dims.len();
                dims[dim % rank] = value;
            }
            Self::Tensor(input, at, tensor) => {
                let side = if input { &mut facts.inputs } else { &mut facts.outputs };
                side.insert(at % (side.len() + 1), tensor);
            }
            Self::Drop(at) if !facts.outputs.is_empty() => {
                facts.outputs.remove(at % facts.outputs.len());
            }
            Self::Drop(_) => {}
            Self::Metadata(key, value) => {
                facts.metadata.insert(key, value);
            }
        }
    }
}

fn facts() -> impl Strategy<Value = OnnxFacts> {
    let changed = (known(), prop::collection::vec(change(), 0..4)).prop_map(|(mut facts, changes)| {
        for change in changes {
            change.apply(&mut facts);
        }
        facts
    });
    prop_oneof![4 => changed, 1 => wild()]
}

fn reference(card: Option<Card>) -> ModelRef {
    ModelRef { name: "m".into(), file: ModelFile::Path("m.onnx".into()), sha256: String::new(), data: Vec::new(), card }
}

/// Models that are recognised by facts from outside, with those facts; `None` where they are refused.
pub(crate) fn models() -> impl Strategy<Value = Option<(Model, OnnxFacts)>> {
    (facts(), prop::option::weighted(0.3, text(CARD))).prop_map(|(facts, card)| {
        let card = card.and_then(|text| Card::parse(&format!("file = \"m.onnx\"\n{text}"), "m.toml").ok());
        let model = recognise::build(reference(card), &facts).ok()?;
        Some((model, facts))
    })
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
    fn facts_and_metadata(facts in facts(), card in prop::option::weighted(0.3, text(CARD))) {
        let card = card.and_then(|text| Card::parse(&format!("file = \"m.onnx\"\n{text}"), "m.toml").ok());
        match recognise::build(reference(card), &facts) {
            Ok(model) => {
                prop_assert!((1..=names::MAX_CLASSES).contains(&model.classes.len()));
                prop_assert!((1..=256).contains(&model.stride));
                let Size { width, height } = model.static_size.unwrap_or(model.default_size);
                prop_assert!((1..=8192).contains(&width) && (1..=8192).contains(&height));
                prop_assert!(model.batch.is_none_or(|n| (1..=64).contains(&n)));
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
