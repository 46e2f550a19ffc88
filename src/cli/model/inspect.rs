//! `streamdet model inspect`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::messages::{print, print_line};
use crate::inference::{Inspection, ProviderChoice, Runtime};
use crate::model::starter;
use crate::text::printable;
use crate::ui::model::{json, text};

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
    let runtime = Runtime::load(args.onnxruntime.as_deref(), ProviderChoice::Cpu)?;
    let inspected = Inspection::of(&runtime, &args.model)?;
    match &args.card {
        Some(path) => write_card(&inspected, Path::new(path), args.overwrite)?,
        None if args.json => print(&format!("{:#}\n", json(&inspected))),
        None => print(&text(&inspected)),
    }
    inspected.model?;
    Ok(0)
}

fn write_card(inspected: &Inspection, path: &Path, overwrite: bool) -> anyhow::Result<()> {
    let metadata = &inspected.facts.metadata;
    let licence = metadata.get("license").or_else(|| metadata.get("licence"));
    let problem = inspected.model.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let model = inspected.model.as_ref().map_err(|_| problem.as_str());
    let card = starter::card(&inspected.reference, inspected.size_bytes, model, licence.map(String::as_str));
    if path.as_os_str() == "-" {
        print(&card);
        return Ok(());
    }
    let usual = starter::usual_path(&inspected.reference);
    let path = if path.as_os_str().is_empty() { usual.as_path() } else { path };
    starter::write(path, &card, overwrite)?;
    print_line(&format!("→ {}: check what it says under CHECK", printable(&path.display().to_string())));
    Ok(())
}
