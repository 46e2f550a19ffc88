//! `streamdet model inspect`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use crate::cli::messages::print;
use crate::inference::{self, ProviderChoice, Runtime};
use crate::model::{Model, ModelError, ModelFile, ModelRef, starter, store};
use crate::text::printable;
use crate::ui::model::{Inspected, json, text};

const EXAMPLES: &str = "Examples:
  streamdet model inspect yolov8n.onnx           what it is, how it will be fed
  streamdet model inspect yolov8n.onnx --card    writes yolov8n.toml, to complete
  streamdet model inspect mine.onnx --card - | less
  streamdet model inspect mine.onnx --json | jq .outputs

A card beside the model (NAME.toml) says what the file does not: layout, colour order, value range, class names.

Exit codes: 0 recognised; 2 not recognised, and everything that was seen is printed.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    /// ONNX file, model card or a known model's name
    #[arg(value_name = "FILE|NAME")]
    model: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a starter card; `-` is standard output [default: beside the model, NAME.toml]
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "", conflicts_with = "json")]
    card: Option<OsString>,
    /// Replace a card that exists
    #[arg(long, requires = "card")]
    overwrite: bool,
    /// ONNX Runtime library, or the folder that holds it
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
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
    let seen = Inspected { file, size_bytes, sha256, card, facts, model };
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

fn write_card(seen: &Inspected, reference: &ModelRef, path: &Path, overwrite: bool) -> anyhow::Result<()> {
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
