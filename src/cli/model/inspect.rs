//! `streamdet model inspect`.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use indicatif::DecimalBytes;
use serde_json::{Value, json};

use super::print;
use crate::inference::{self, ProviderChoice, Runtime};
use crate::model::facts::{Dim, Element, OnnxFacts, TensorFacts};
use crate::model::{Model, ModelError, ModelFile, ModelRef, card_word, starter, store};
use crate::tensor::InputSpec;
use crate::text::printable;

const EXAMPLES: &str = "Examples:
  streamdet model inspect yolov8n.onnx           what it is, how it will be fed
  streamdet model inspect yolov8n.onnx --card    writes yolov8n.toml, to complete
  streamdet model inspect mine.onnx --card - | less
  streamdet model inspect mine.onnx --json | jq .outputs

A card beside the model (NAME.toml) says what the file does not: layout, colour order, value range, class names.

Exit codes: 0 recognised; 2 not recognised, and everything that was seen is printed.";

/// Longest value of the metadata that is printed whole, characters.
const LONGEST_VALUE: usize = 200;
/// Columns of the labels.
const LABEL: usize = 11;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    /// ONNX file, model card or a known model's name
    #[arg(value_name = "FILE|NAME")]
    model: String,
    /// Everything as JSON
    #[arg(long)]
    json: bool,
    /// Write a starter card; `-` is standard output [default: beside the model, NAME.toml]
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "", conflicts_with = "json")]
    card: Option<OsString>,
    /// Replace a card that exists
    #[arg(long, requires = "card")]
    overwrite: bool,
    /// ONNX Runtime's library or its folder
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
}

/// What is known of a file.
struct Seen {
    file: ModelFile,
    size_bytes: u64,
    sha256: String,
    /// Where its card is, if it has one.
    card: Option<String>,
    facts: OnnxFacts,
    /// What was recognised, or why nothing was.
    model: Result<Model, String>,
}

pub(super) fn run(args: &InspectArgs) -> anyhow::Result<u8> {
    let path = Path::new(&args.model);
    let (reference, problem) = match ModelRef::resolve(Some(&args.model)) {
        Ok(reference) => (reference, None),
        // The card is wrong: the file can still be shown.
        Err(e @ (ModelError::Card { .. } | ModelError::Checksum { .. }))
            if path.is_file() && path.extension().is_none_or(|ending| ending != "toml") =>
        {
            (ModelRef::without_card(path)?, Some(e.to_string()))
        }
        Err(e) => return Err(e.into()),
    };
    let runtime = Runtime::load(args.onnxruntime.as_deref(), ProviderChoice::Cpu)?;
    let facts = inference::inspect(&runtime, reference.file())?;
    let size_bytes = match reference.file() {
        ModelFile::Path(path) => std::fs::metadata(path).map_err(|e| anyhow!("{}: {e}", path.display()))?.len(),
        ModelFile::Embedded(bytes) => bytes.len() as u64,
    };
    let (file, sha256) = (reference.file().clone(), reference.sha256().to_owned());
    let card = reference.card().map(|_| card_place(&args.model));
    let model = match problem {
        Some(problem) => Err(problem),
        None => Model::build(reference.clone(), &facts).map_err(|e| e.to_string()),
    };
    let seen = Seen { file, size_bytes, sha256, card, facts, model };
    match &args.card {
        Some(path) => write_card(&seen, &reference, Path::new(path), args.overwrite)?,
        None if args.json => print(&format!("{:#}\n", json(&seen))),
        None => print(&text(&seen)),
    }
    match seen.model {
        Ok(_) => Ok(0),
        Err(problem) => Err(anyhow!(problem)),
    }
}

/// Where the card of the model that was resolved is.
fn card_place(model: &str) -> String {
    let path = Path::new(model);
    let beside = path.with_extension("toml");
    let path = match store::find(model) {
        _ if path.is_file() && beside.is_file() => Some(beside),
        Ok(Some(known)) if !path.is_file() => known.card_path,
        _ => None,
    };
    path.map_or_else(|| "built in".into(), |path| printable(&path.display().to_string()))
}

fn write_card(seen: &Seen, reference: &ModelRef, path: &Path, overwrite: bool) -> anyhow::Result<()> {
    let licence = seen.facts.metadata.get("license").or_else(|| seen.facts.metadata.get("licence"));
    let model = seen.model.as_ref().map_err(String::as_str);
    let card = starter::card(reference, seen.size_bytes, model, licence.map(String::as_str));
    let beside = match &seen.file {
        _ if !path.as_os_str().is_empty() => path.to_owned(),
        ModelFile::Path(model) => model.with_extension("toml"),
        ModelFile::Embedded(_) => PathBuf::from(format!("{}.toml", reference.name())),
    };
    if beside.as_os_str() == "-" {
        print(&card);
        return Ok(());
    }
    let mut options = std::fs::OpenOptions::new();
    let options = if overwrite { options.create(true).truncate(true) } else { options.create_new(true) };
    options
        .write(true)
        .open(&beside)
        .and_then(|mut file| std::io::Write::write_all(&mut file, card.as_bytes()))
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                anyhow!("{} exists\n  --overwrite replaces it, --card PATH chooses another name", beside.display())
            }
            _ => anyhow!("{}: {e}", beside.display()),
        })?;
    eprintln!("→ {}: check what it says under CHECK", printable(&beside.display().to_string()));
    Ok(())
}

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
    let _ = write!(text, "{label:<LABEL$}");
    for (i, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if i > 0 && column + 1 + length > width {
            let _ = write!(text, "\n{:LABEL$}{word}", "");
            column = LABEL + length;
        } else {
            let space = if i > 0 { " " } else { "" };
            let _ = write!(text, "{space}{word}");
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
        let _ = write!(words, ", less mean {mean:?}, over std {std:?}");
    }
    let _ = write!(words, "; {placement}; ");
    let _ = match model.static_size {
        Some(_) => write!(words, "{}×{} fixed", size.height, size.width),
        None => write!(words, "{}×{} by default, multiples of {}", size.height, size.width, model.stride),
    };
    let _ = match model.batch {
        Some(n) => write!(words, "; {n} frame{} a run", if n == 1 { "" } else { "s" }),
        None => write!(words, "; any number of frames a run"),
    };
    words
}

fn text(seen: &Seen) -> String {
    let width = console::Term::stdout().size_checked().map_or(80, |(_, columns)| usize::from(columns).max(40));
    let mut text = String::new();
    let size = DecimalBytes(seen.size_bytes);
    paragraph(&mut text, "file", &format!("{} · {size}", printable(&seen.file.label())), width);
    paragraph(&mut text, "sha256", &seen.sha256, width);
    for (label, tensors) in [("input", &seen.facts.inputs), ("output", &seen.facts.outputs)] {
        for t in tensors {
            paragraph(&mut text, label, &format!("{} {} {}", printable(&t.name), dtype(&t.element), shape(t)), width);
        }
    }
    match &seen.model {
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
                let _ = write!(listed, ", and {} more", names.len() - 100);
            }
            paragraph(&mut text, "classes", &format!("{}: {listed}", names.len()), width);
            for notice in &model.notices {
                paragraph(&mut text, "notice", notice, width);
            }
            paragraph(&mut text, "thresholds", &format!("conf {}, IoU {}", model.conf, model.iou), width);
        }
        Err(_) => paragraph(&mut text, "layout", "not recognised", width),
    }
    paragraph(&mut text, "card", seen.card.as_deref().unwrap_or("none"), width);
    for (i, (key, value)) in seen.facts.metadata.iter().enumerate() {
        let label = if i == 0 { "metadata" } else { "" };
        paragraph(&mut text, label, &format!("{} = {}", shortened(key), shortened(value)), width);
    }
    text
}

fn json(seen: &Seen) -> Value {
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
    let path = if let ModelFile::Path(path) = &seen.file { Some(path) } else { None };
    let mut value = json!({
        "path": path,
        "size_bytes": seen.size_bytes,
        "sha256": seen.sha256,
        "card": seen.card,
        "inputs": seen.facts.inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": seen.facts.outputs.iter().map(tensor).collect::<Vec<_>>(),
        "metadata": seen.facts.metadata,
        "recognised": seen.model.is_ok(),
    });
    match &seen.model {
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
        Err(problem) => value["problem"] = json!(problem),
    }
    value
}
