//! What a model file is, as text and as JSON (`streamdet model inspect`).

use indicatif::DecimalBytes;
use serde_json::{Value, json};

use crate::inference::Inspection;
use crate::model::facts::{Dim, Element, TensorFacts};
use crate::model::{Model, ModelFile, card_word};
use crate::tensor::InputSpec;
use crate::text::{append, printable};

/// Longest value of the metadata that is printed whole, characters.
const LONGEST_VALUE: usize = 200;
/// Columns of the labels.
const LABEL: usize = 11;

fn dtype(element: &Element) -> String {
    match element {
        Element::F32 => "f32".into(),
        Element::F16 => "f16".into(),
        Element::U8 => "u8".into(),
        Element::I32 => "i32".into(),
        Element::I64 => "i64".into(),
        Element::Other(name) => printable(name).to_lowercase(),
    }
}

fn shape(tensor: &TensorFacts) -> String {
    let dims: Vec<String> = tensor.dims.iter().map(|dim| printable(&dim.label())).collect();
    format!("[{}]", dims.join(", "))
}

/// Adds a labelled paragraph, broken at spaces so that it fits `width`.
fn paragraph(text: &mut String, label: &str, words: &str, width: usize) {
    let mut column = LABEL;
    append(text, format_args!("{label:<LABEL$}"));
    for (i, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if i > 0 && column + 1 + length > width {
            append(text, format_args!("\n{:LABEL$}{word}", ""));
            column = LABEL + length;
        } else {
            let space = if i > 0 { " " } else { "" };
            append(text, format_args!("{space}{word}"));
            column += space.len() + length;
        }
    }
    text.push('\n');
}

/// The value as one printable line, cut where it gets long.
fn shortened(value: &str) -> String {
    let length = value.chars().count();
    let line = printable(&value.chars().take(LONGEST_VALUE).collect::<String>());
    if length > LONGEST_VALUE { format!("{line}… ({length} characters)") } else { line }
}

fn input_in_words(model: &Model) -> String {
    let InputSpec { order, mean, std, placement, pad, .. } = model.input;
    let order = card_word(order).to_uppercase();
    let placement = match card_word(placement).as_str() {
        "centre" => format!("letterboxed in the centre, padded with {pad}"),
        "corner" => format!("letterboxed at the top left, padded with {pad}"),
        _ => "stretched to its size".into(),
    };
    let size = model.default_size;
    let mut words = format!("{order}, values from 0 to {}", model.input.value_max());
    if model.input.normalises() {
        append(&mut words, format_args!(", less mean {mean:?}, over std {std:?}"));
    }
    append(&mut words, format_args!("; {placement}; "));
    let size = match model.static_size {
        Some(_) => format!("{}×{} fixed", size.height, size.width),
        None => format!("{}×{} by default, multiples of {}", size.height, size.width, model.stride),
    };
    let batch = match model.batch {
        Some(n) => format!("; batch size {n}"),
        None => "; any batch size".to_owned(),
    };
    words.extend([size, batch]);
    words
}

/// For people.
pub(crate) fn text(inspection: &Inspection) -> String {
    let width = console::Term::stdout().size_checked().map_or(80, |(_, columns)| usize::from(columns).max(40));
    let mut text = String::new();
    let size = DecimalBytes(inspection.size_bytes);
    paragraph(&mut text, "file", &format!("{} · {size}", printable(&inspection.reference.file().label())), width);
    paragraph(&mut text, "sha256", inspection.reference.sha256(), width);
    for data in inspection.reference.data() {
        let name = printable(&data.location);
        paragraph(&mut text, "data", &format!("{name} · {} · sha256 {}", DecimalBytes(data.bytes), data.sha256), width);
    }
    for (label, tensors) in [("input", &inspection.facts.inputs), ("output", &inspection.facts.outputs)] {
        for t in tensors {
            paragraph(&mut text, label, &format!("{} {} {}", printable(&t.name), dtype(&t.element), shape(t)), width);
        }
    }
    match &inspection.model {
        Ok(model) => {
            paragraph(
                &mut text,
                "layout",
                &format!("{}: {}", model.layout.name(), printable(&model.layout_reason)),
                width,
            );
            paragraph(&mut text, "takes", &input_in_words(model), width);
            let names: Vec<String> = model.classes.iter().map(|c| printable(c)).collect();
            let mut listed = names.iter().take(100).cloned().collect::<Vec<_>>().join(", ");
            if names.len() > 100 {
                append(&mut listed, format_args!(", and {} more", names.len() - 100));
            }
            paragraph(&mut text, "classes", &format!("{}: {listed}", names.len()), width);
            for notice in &model.notices {
                paragraph(&mut text, "notice", notice, width);
            }
            paragraph(&mut text, "thresholds", &format!("conf {}, IoU {}", model.conf, model.iou), width);
        }
        Err(_) => paragraph(&mut text, "layout", "not recognised", width),
    }
    paragraph(&mut text, "card", inspection.card.as_deref().unwrap_or("none"), width);
    for (i, (key, value)) in inspection.facts.metadata.iter().enumerate() {
        let label = if i == 0 { "metadata" } else { "" };
        paragraph(&mut text, label, &format!("{} = {}", shortened(key), shortened(value)), width);
    }
    text
}

/// For programs.
pub(crate) fn json(inspection: &Inspection) -> Value {
    let tensor = |t: &TensorFacts| {
        let dims: Vec<Value> = t
            .dims
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(n) => json!(n),
                Dim::Dynamic(name) if name.is_empty() => Value::Null,
                Dim::Dynamic(name) => json!(name),
            })
            .collect();
        json!({ "name": t.name, "dtype": dtype(&t.element), "shape": dims })
    };
    let path = if let ModelFile::Path(path) = inspection.reference.file() { Some(path) } else { None };
    let data = inspection.reference.data().iter();
    let data = data.map(|data| json!({ "file": data.location, "sha256": data.sha256, "size_bytes": data.bytes }));
    let data: Vec<Value> = data.collect();
    let mut value = json!({
        "path": path,
        "size_bytes": inspection.size_bytes,
        "sha256": inspection.reference.sha256(),
        "data": data,
        "card": inspection.card,
        "inputs": inspection.facts.inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": inspection.facts.outputs.iter().map(tensor).collect::<Vec<_>>(),
        "metadata": inspection.facts.metadata,
        "recognised": inspection.model.is_ok(),
    });
    match &inspection.model {
        Ok(model) => {
            let size = model.default_size;
            value["layout"] = json!({ "name": model.layout.name(), "reason": model.layout_reason });
            value["input"] = json!({
                "name": model.port.name,
                "order": model.input.order,
                "value_max": model.input.value_max(),
                "mean": model.input.mean,
                "std": model.input.std,
                "placement": model.input.placement,
                "pad": model.input.pad,
                "size": [size.height, size.width],
                "fixed": model.static_size.is_some(),
                "stride": model.stride,
                "batch": model.batch,
            });
            value["classes"] = json!(&*model.classes);
            value["conf"] = json!(model.conf);
            value["iou"] = json!(model.iou);
        }
        Err(problem) => value["problem"] = json!(problem.to_string()),
    }
    value
}
