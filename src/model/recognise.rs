//! Which layout a model has, from its metadata, its shapes and its card; and what is refused, with what was seen.

use super::facts::{Dim, Element, OnnxFacts, TensorFacts};
use super::{Model, ModelError, ModelRef, names};
use crate::geometry::{Placement, Size};
use crate::report::terminal::printable;
use crate::tensor::{ChannelOrder, InputSpec};

/// Output layouts; each has its file under `postprocess/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[B,4+C,N]`: cx, cy, w, h in input pixels, then class scores (also `[B,N,4+C]`).
    Yolov8,
    /// `[B,N,5+C]` raw: grid offsets, log sizes, objectness, class scores.
    Yolox,
}

const CARD_HELP: &str = "write a card MODEL.toml beside it, e.g.: file = \"MODEL.onnx\", layout = \"yolov8\" or \"yolox\", classes = [\"…\"]";

#[expect(clippy::too_many_lines, reason = "one check after the other, in the order a file is read")]
pub(super) fn build(reference: ModelRef, facts: &OnnxFacts) -> Result<Model, ModelError> {
    let refuse = |problem: String, remedy: &str| ModelError::Unsupported {
        model: reference.file.label(),
        problem,
        remedy: remedy.to_owned(),
    };
    if let Some(task) = facts.metadata.get("task").filter(|t| *t != "detect") {
        return Err(refuse(format!("its task is {task:?}"), "give a detection model (task \"detect\")"));
    }
    let [input] = facts.inputs.as_slice() else {
        let seen = facts.inputs.iter().map(describe).collect::<Vec<_>>().join(", ");
        return Err(refuse(format!("expected one input [B,3,H,W], found: {seen}"), CARD_HELP));
    };
    let [batch, channels, height, width] = input.dims.as_slice() else {
        return Err(refuse(format!("expected an input [B,3,H,W], found {}", describe(input)), CARD_HELP));
    };
    if channels.fixed().is_some_and(|c| c != 3) || input.element != Element::F32 {
        return Err(refuse(format!("expected an f32 input [B,3,H,W], found {}", describe(input)), CARD_HELP));
    }
    let card = reference.card.as_ref();
    let metadata_size = facts.metadata.get("imgsz").and_then(|t| image_size(t));
    let static_size = match (height.fixed(), width.fixed()) {
        (Some(h), Some(w)) => Some(size(w, h)),
        _ => None,
    };
    let default_size = static_size
        .or_else(|| card.and_then(|c| c.imgsz).map(|n| Size { width: n, height: n }))
        .or(metadata_size)
        .unwrap_or(Size { width: 640, height: 640 });
    let stated = card
        .and_then(|c| c.classes.clone())
        .or_else(|| facts.metadata.get("names").and_then(|text| names::parse(text)));

    let seen = facts.outputs.iter().map(describe).collect::<Vec<_>>().join(", ");
    let [output] = facts.outputs.as_slice() else {
        return Err(refuse(format!("its outputs ({seen}) are not a layout that is known"), CARD_HELP));
    };
    if facts.metadata.get("end2end").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return Err(refuse(
            format!("it is an end-to-end export ({seen}), not supported yet"),
            "export it with NMS left out",
        ));
    }
    let [_, rows, columns] = output.dims.as_slice() else {
        return Err(refuse(format!("its output ({seen}) is not a layout that is known"), CARD_HELP));
    };
    let (layout, reason) = match card.and_then(|c| c.layout) {
        Some(layout) => (layout, "its card says so".to_owned()),
        None => recognise(facts, static_size, rows, columns, stated.as_ref().map(Vec::len))
            .ok_or_else(|| refuse(format!("its output ({seen}) is not a layout that is known"), CARD_HELP))?,
    };
    let attributes = match layout {
        Layout::Yolov8 => 4,
        Layout::Yolox => 5,
    };
    let channels = match layout {
        Layout::Yolox => columns.fixed(),
        // The anchors outnumber the channels, or are dynamic.
        Layout::Yolov8 => match (rows.fixed(), columns.fixed()) {
            (Some(r), Some(c)) => Some(r.min(c)),
            (fixed, None) | (None, fixed) => fixed,
        },
    };
    let found = channels.and_then(|c| c.checked_sub(attributes)).filter(|c| *c > 0);
    let classes = match (stated, found) {
        (Some(names), Some(count)) if names.len() != count => {
            return Err(refuse(
                format!("{} class names do not fit its output {seen}, which has {count} classes", names.len()),
                "correct the names in the card or the metadata",
            ));
        }
        (Some(names), _) => names,
        (None, Some(count)) if count <= 10_000 => (0..count).map(|i| format!("class {i}")).collect(),
        (None, _) => {
            return Err(refuse(
                format!("neither names nor its output ({seen}) say how many classes it has"),
                CARD_HELP,
            ));
        }
    };

    let mut spec = match layout {
        Layout::Yolov8 => InputSpec::default(),
        Layout::Yolox => {
            InputSpec { order: ChannelOrder::Bgr, scale: 1.0, placement: Placement::Corner, ..InputSpec::default() }
        }
    };
    if let Some(card) = card {
        spec.order = card.order.unwrap_or(spec.order);
        spec.scale = card.value_max.map_or(spec.scale, |max| max / 255.0);
        spec.mean = card.mean.unwrap_or(spec.mean);
        spec.std = card.std.unwrap_or(spec.std);
        spec.placement = card.placement.unwrap_or(spec.placement);
    }
    let stride = card
        .and_then(|c| c.stride)
        .or_else(|| facts.metadata.get("stride").and_then(|s| s.trim().parse().ok()))
        .filter(|s| (1..=256).contains(s))
        .unwrap_or(32);
    let symbol = |dim: &Dim| match dim {
        Dim::Dynamic(name) => Some(name.clone()),
        Dim::Fixed(_) => None,
    };
    Ok(Model {
        input: spec,
        input_name: input.name.clone(),
        batch: batch.fixed(),
        static_size,
        dynamic_names: [symbol(batch), symbol(height), symbol(width)],
        default_size,
        stride,
        layout,
        layout_reason: reason,
        classes: classes.into(),
        conf: card.and_then(|c| c.conf).unwrap_or(0.25),
        iou: card.and_then(|c| c.iou).unwrap_or(0.7),
        name: reference.name,
        file: reference.file,
        sha256: reference.sha256,
    })
}

fn recognise(
    facts: &OnnxFacts,
    static_size: Option<Size>,
    rows: &Dim,
    columns: &Dim,
    names: Option<usize>,
) -> Option<(Layout, String)> {
    if let (Some(n), Some(size)) = (rows.fixed(), static_size)
        && !facts.metadata.contains_key("names")
        && columns.fixed().is_some_and(|c| c > 5)
    {
        let cells: u32 = [8, 16, 32].iter().map(|s| (size.width / s) * (size.height / s)).sum();
        if n == cells as usize {
            return Some((Layout::Yolox, format!("{n} rows are the grid cells of strides 8, 16 and 32, no metadata")));
        }
    }
    let fits = |dim: &Dim| match (dim.fixed(), names) {
        (Some(n), Some(classes)) => n == classes + 4,
        (Some(n), None) => n > 4,
        (None, _) => false,
    };
    if facts.metadata.contains_key("names") || facts.metadata.contains_key("stride") || names.is_some() {
        if fits(rows) || fits(columns) {
            return Some((Layout::Yolov8, "metadata names its classes and the output has 4 + classes channels".into()));
        }
        // Let the count of classes be checked against the names, where the numbers speak.
        return rows
            .fixed()
            .is_none_or(|r| r > 5)
            .then(|| (Layout::Yolov8, "metadata as Ultralytics writes it".into()));
    }
    match (rows.fixed(), columns.fixed()) {
        (Some(r), Some(c)) if r > 4 && c > 8 * r => Some((Layout::Yolov8, format!("{r} channels by {c} anchors"))),
        (Some(r), None) if r > 4 => Some((Layout::Yolov8, format!("{r} channels by a dynamic number of anchors"))),
        _ => None,
    }
}

fn size(width: usize, height: usize) -> Size {
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Size { width: side(width), height: side(height) }
}

/// `[640, 640]` (height, width) or `640`.
fn image_size(text: &str) -> Option<Size> {
    let numbers: Vec<u32> =
        text.trim_matches(['[', ']', ' ']).split(',').map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
    let valid = |n: u32| (32..=16_384).contains(&n);
    match numbers.as_slice() {
        [n] if valid(*n) => Some(Size { width: *n, height: *n }),
        [h, w] if valid(*h) && valid(*w) => Some(Size { width: *w, height: *h }),
        _ => None,
    }
}

fn describe(tensor: &TensorFacts) -> String {
    let dims: Vec<String> = tensor
        .dims
        .iter()
        .map(|d| match d {
            Dim::Fixed(n) => n.to_string(),
            Dim::Dynamic(name) if name.is_empty() => "?".into(),
            Dim::Dynamic(name) => printable(name),
        })
        .collect();
    format!("{} {:?} [{}]", printable(&tensor.name), tensor.element, dims.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelFile;
    use crate::model::card::Card;

    /// A fixed dimension for a number, a dynamic one for a name.
    fn tensor(name: &str, element: Element, dims: &[&str]) -> TensorFacts {
        let dim = |text: &&str| text.parse().map_or_else(|_| Dim::Dynamic((*text).into()), Dim::Fixed);
        TensorFacts { name: name.into(), element, dims: dims.iter().map(dim).collect() }
    }

    /// As Ultralytics exports three classes with a dynamic shape.
    fn ultralytics() -> OnnxFacts {
        let metadata =
            [("task", "detect"), ("names", "{0: 'a', 1: 'b', 2: 'c'}"), ("stride", "32"), ("imgsz", "[640, 640]")];
        OnnxFacts {
            inputs: vec![tensor("images", Element::F32, &["batch", "3", "height", "width"])],
            outputs: vec![tensor("output0", Element::F32, &["batch", "7", "anchors"])],
            metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        }
    }

    /// As YOLOX is published: static, no metadata.
    fn yolox() -> OnnxFacts {
        OnnxFacts {
            inputs: vec![tensor("images", Element::F32, &["1", "3", "64", "96"])],
            outputs: vec![tensor("output", Element::F32, &["1", "126", "85"])],
            ..OnnxFacts::default()
        }
    }

    fn build_with(facts: &OnnxFacts, card: Option<&str>) -> Result<Model, ModelError> {
        let card = card.map(|text| Card::parse(text, "m.toml").expect("a card"));
        let file = ModelFile::Path("m.onnx".into());
        build(ModelRef { name: "m".into(), file, sha256: String::new(), card }, facts)
    }

    /// Refused, naming the file and saying each of `said`.
    #[track_caller]
    fn refused(facts: &OnnxFacts, said: &[&str]) {
        let text = build_with(facts, None).expect_err("refused").to_string();
        for part in ["m.onnx"].iter().chain(said) {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }

    #[test]
    fn ultralytics_exports_are_recognised() {
        let model = build_with(&ultralytics(), None).expect("recognised");
        assert_eq!(model.layout, Layout::Yolov8);
        assert_eq!(&*model.classes, ["a", "b", "c"]);
        assert_eq!((model.static_size, model.default_size), (None, Size { width: 640, height: 640 }));
        assert_eq!((model.batch, model.stride), (None, 32));
        assert_eq!(model.input, InputSpec::default());
    }

    #[test]
    fn a_transposed_output_without_names_is_recognised_by_its_metadata() {
        let mut facts = ultralytics();
        facts.metadata.remove("names");
        facts.outputs = vec![tensor("output0", Element::F32, &["1", "2100", "7"])];
        let model = build_with(&facts, None).expect("recognised");
        assert_eq!((model.layout, model.classes.len()), (Layout::Yolov8, 3));
        assert_eq!(model.classes[2], "class 2");
    }

    #[test]
    fn yolox_is_recognised_by_its_grid() {
        let model = build_with(&yolox(), None).expect("recognised");
        assert_eq!((model.layout, model.classes.len()), (Layout::Yolox, 80));
        assert_eq!(model.static_size, Some(Size { width: 96, height: 64 }));
        assert_eq!((model.batch, model.input.order), (Some(1), ChannelOrder::Bgr));
        assert_eq!(model.input.placement, Placement::Corner);
        assert!((model.input.scale - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn a_card_is_believed() {
        let card = "file = \"m.onnx\"\nlayout = \"yolox\"\norder = \"rgb\"\nclasses = [\"a\", \"b\"]\nconf = 0.5";
        let mut facts = yolox();
        facts.outputs = vec![tensor("output", Element::F32, &["1", "126", "7"])];
        let model = build_with(&facts, Some(card)).expect("recognised");
        assert_eq!((model.layout, model.input.order), (Layout::Yolox, ChannelOrder::Rgb));
        assert_eq!(&*model.classes, ["a", "b"]);
        assert!((model.conf - 0.5).abs() < f32::EPSILON);
    }

    #[test]
    fn another_task_is_refused() {
        let mut facts = ultralytics();
        facts.metadata.insert("task".into(), "segment".into());
        refused(&facts, &["segment", "detection model"]);
    }

    #[test]
    fn two_inputs_are_refused() {
        let mut facts = ultralytics();
        facts.inputs.push(tensor("sizes", Element::I64, &["batch", "2"]));
        refused(&facts, &["one input", "images F32 [batch,3,height,width]", "sizes I64 [batch,2]"]);
    }

    #[test]
    fn inputs_that_are_not_pictures_are_refused() {
        for (element, dims) in [
            (Element::F32, vec!["1", "3", "640"]),
            (Element::F32, vec!["1", "640", "640", "3"]),
            (Element::U8, vec!["1", "3", "640", "640"]),
        ] {
            let mut facts = ultralytics();
            facts.inputs = vec![tensor("images", element, &dims)];
            refused(&facts, &["[B,3,H,W]", &dims.join(",")]);
        }
    }

    #[test]
    fn several_outputs_are_refused() {
        let mut facts = ultralytics();
        facts.outputs.push(tensor("output1", Element::F32, &["batch", "32"]));
        refused(&facts, &["output0 F32 [batch,7,anchors], output1 F32 [batch,32]", "card"]);
    }

    #[test]
    fn end_to_end_exports_are_refused() {
        let mut facts = ultralytics();
        facts.metadata.insert("end2end".into(), "True".into());
        facts.outputs = vec![tensor("output0", Element::F32, &["1", "300", "6"])];
        refused(&facts, &["end-to-end", "[1,300,6]"]);
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        let mut facts = ultralytics();
        facts.outputs = vec![tensor("output0", Element::F32, &["1", "84", "8400"])];
        refused(&facts, &["3 class names", "80 classes", "[1,84,8400]"]);
    }

    #[test]
    fn an_unknown_layout_is_refused_with_what_was_seen() {
        for dims in [vec!["1", "300", "6"], vec!["1", "1000"], vec!["1", "125", "85"]] {
            let mut facts = yolox();
            facts.outputs = vec![tensor("scores", Element::F32, &dims)];
            refused(&facts, &["not a layout", &format!("scores F32 [{}]", dims.join(",")), "write a card"]);
        }
    }

    #[test]
    fn an_unknown_number_of_classes_is_refused() {
        let mut facts = ultralytics();
        facts.metadata.remove("names");
        facts.outputs = vec![tensor("output0", Element::F32, &["batch", "channels", "anchors"])];
        refused(&facts, &["how many classes"]);
    }
}
