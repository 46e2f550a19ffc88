//! Which layout a model has, from its metadata, its shapes and its card; and what is refused, with what was seen.

use super::facts::{Dim, Element, OnnxFacts, TensorFacts};
use super::{Model, ModelError, ModelRef, names};
use crate::geometry::{Placement, Size};
use crate::tensor::{ChannelOrder, InputSpec};

/// Output layouts; each has its file under `postprocess/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
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
            Dim::Dynamic(name) => name.clone(),
        })
        .collect();
    format!("{} {:?} [{}]", tensor.name, tensor.element, dims.join(","))
}
