//! The models known by name, as a table and as JSON (`streamdet model list`).

use indicatif::DecimalBytes;
use serde_json::json;

use crate::folders::short;
use crate::model::Layout;
use crate::model::store::{self, Known, Place};
use crate::secrets::redact;
use crate::text::{append, printable};

fn place(place: &Place) -> &'static str {
    match place {
        Place::BuiltIn => "built in",
        Place::Here(_) => "here",
        Place::Missing => "missing",
    }
}

fn path(known: &Known) -> Option<&std::path::Path> {
    if let Place::Here(path) = &known.place { Some(path) } else { None }
}

fn size_here(known: &Known) -> Option<u64> {
    match &known.place {
        Place::BuiltIn => known.card.as_ref().and_then(|card| card.size_bytes),
        Place::Here(path) => std::fs::metadata(path).ok().map(|m| m.len()),
        Place::Missing => None,
    }
}

/// A model for programs.
pub(crate) fn row(known: &Known) -> serde_json::Value {
    let card = known.card.as_ref();
    let text = |value: fn(&crate::model::Card) -> Option<&String>| card.and_then(value).map(|text| redact(text));
    json!({
        "name": known.name,
        "place": place(&known.place),
        "path": path(known),
        "size_bytes": size_here(known).or_else(|| card.and_then(|c| c.size_bytes)),
        "card": known.card_path,
        "layout": card.and_then(|c| c.layout).map(Layout::name),
        "imgsz": card.and_then(|c| c.imgsz),
        "classes": card.and_then(|c| c.classes.as_ref()).map(Vec::len),
        "licence": text(|c| c.licence.as_ref()),
        "terms": text(|c| c.terms.as_ref()),
        "sha256": text(|c| c.sha256.as_ref()),
        "url": text(|c| c.url.as_ref()),
        "obtain": text(|c| c.obtain.as_ref()),
        "source": text(|c| c.source.as_ref()),
        "accuracy": text(|c| c.accuracy.as_ref()),
    })
}

/// Columns of the table: heading, and whether its numbers stand to the right.
const COLUMNS: [(&str, bool); 7] = [
    ("name", false),
    ("layout", false),
    ("input", true),
    ("names", true),
    ("licence", false),
    ("size", true),
    ("where", false),
];

pub(crate) fn table(models: &[Known]) -> String {
    let rows: Vec<[String; 7]> = models.iter().map(cells).collect();
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|i| rows.iter().map(|row| row[i].chars().count()).chain([COLUMNS[i].0.len()]).max().unwrap_or(0))
        .collect();
    let mut text = line(&COLUMNS.map(|(name, _)| name.to_owned()), &widths);
    for row in &rows {
        text += &line(row, &widths);
    }
    text.push('\n');
    if models.iter().any(|m| path(m).is_some_and(|path| path.starts_with("models"))) {
        text += "models/  ./models\n";
    }
    append(&mut text, format_args!("data/    {}, where fetched models go\n", folder_for_downloads()));
    text + "-        not here: streamdet model fetch NAME\n"
}

fn cells(known: &Known) -> [String; 7] {
    let card = known.card.as_ref();
    let or_dash = |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| printable(&text));
    let place = match &known.place {
        Place::BuiltIn => "built in".into(),
        Place::Missing => "-".into(),
        Place::Here(path) if path.starts_with("models") => "models/".into(),
        Place::Here(path) if store::user_folder().is_some_and(|folder| path.starts_with(folder)) => "data/".into(),
        Place::Here(path) => short(path),
    };
    [
        printable(&known.name),
        or_dash(card.and_then(|c| c.layout).map(Layout::name).map(str::to_owned)),
        or_dash(card.and_then(|c| c.imgsz).map(|n| n.to_string())),
        or_dash(card.and_then(|c| c.classes.as_ref()).map(|classes| classes.len().to_string())),
        or_dash(card.and_then(|c| c.licence.clone())),
        or_dash(size_here(known).map(|n| DecimalBytes(n).to_string())),
        place,
    ]
}

fn line(cells: &[String; 7], widths: &[usize]) -> String {
    let mut text = String::new();
    for ((cell, width), (_, right)) in cells.iter().zip(widths).zip(COLUMNS) {
        let gap = " ".repeat(width - cell.chars().count());
        let (before, after) = if right { (gap.as_str(), "") } else { ("", gap.as_str()) };
        append(&mut text, format_args!("{before}{cell}{after}  "));
    }
    format!("{}\n", text.trim_end())
}

/// Where fetched models go, for messages.
pub(crate) fn folder_for_downloads() -> String {
    store::user_folder().map_or_else(|| "streamdet/models".into(), |folder| short(&folder))
}
