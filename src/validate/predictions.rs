//! Boxes as COCO's results: `[{"image_id", "category_id", "bbox": [left, top, width, height], "score"}, …]`.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::dataset::{Dataset, DatasetError, ImageId, Issue};
use super::{LabelBox, Scored};

#[derive(Deserialize)]
struct Entry {
    image_id: ImageId,
    category_id: i64,
    bbox: [f64; 4],
    score: f64,
}

/// A results file that is an object: ground truth's shape, with scores.
#[derive(Deserialize)]
struct Annotated<'a> {
    #[serde(borrow)]
    annotations: Vec<&'a RawValue>,
}

#[derive(serde::Serialize)]
struct Written<'a> {
    image_id: &'a ImageId,
    category_id: i64,
    bbox: [f64; 4],
    score: f64,
}

/// Boxes found, a list an image of the dataset.
pub type Found = Vec<Vec<Scored>>;

/// Reads a list of results, or an object whose `annotations` carry `score`. What does not fit the dataset is a finding.
///
/// # Errors
/// When the file cannot be read, or is neither.
pub fn read(path: &Path, dataset: &mut Dataset) -> Result<Found, DatasetError> {
    let text = super::dataset::read_json(path)?;
    parse(&text, path, dataset)
}

/// Reads the text of such a file; `path` is for findings.
pub(super) fn parse(text: &str, path: &Path, dataset: &mut Dataset) -> Result<Found, DatasetError> {
    let place = path.display();
    let list = text.trim_start().starts_with('[');
    let entries: Vec<&RawValue> = if list {
        serde_json::from_str(text)
    } else {
        serde_json::from_str::<Annotated>(text).map(|file| file.annotations)
    }
    .map_err(|e| DatasetError {
        place: format!("{place}:{}", e.line()),
        problem: e.to_string(),
        remedy: "give a list of COCO results, or an object whose `annotations` carry `score`".into(),
    })?;
    let lines = super::dataset::Lines::of(text);
    let names = dataset.names();
    let classes: HashMap<i64, usize> = dataset.classes.iter().enumerate().map(|(i, c)| (c.category, i)).collect();
    let findings = &mut dataset.findings;
    let mut found: Found = vec![Vec::new(); dataset.images.len()];
    for (number, raw) in entries.iter().enumerate() {
        let at = || format!("{place}:{}", lines.line(raw));
        let entry = match serde_json::from_str::<Entry>(raw.get()) {
            Ok(entry) => entry,
            Err(e) => {
                findings.add(Issue::Format, at(), || format!("result {number}: {}", super::dataset::bare(&e)));
                continue;
            }
        };
        let [x, y, width, height] = entry.bbox;
        let bbox = LabelBox { x, y, width, height };
        let Some(image) = names.get(&entry.image_id) else {
            findings.add(Issue::UnknownImage, at(), || format!("result {number}: no image {}", entry.image_id));
            continue;
        };
        let Some(class) = classes.get(&entry.category_id) else {
            findings.add(Issue::UnknownClass, at(), || format!("result {number}: no category {}", entry.category_id));
            continue;
        };
        if !bbox.is_sound() {
            findings.add(Issue::Format, at(), || format!("result {number}: no box has the size {width}×{height}"));
            continue;
        }
        found[*image].push(Scored { class: *class, score: entry.score, bbox });
    }
    Ok(found)
}

/// Writes a list of results, one a line.
///
/// # Errors
/// When it cannot be written.
pub fn write(out: &mut dyn Write, dataset: &Dataset, found: &Found) -> std::io::Result<()> {
    let mut separator = "[\n";
    for (image, boxes) in dataset.images.iter().zip(found) {
        for Scored { class, score, bbox } in boxes {
            let written = Written {
                image_id: &image.id,
                category_id: dataset.classes[*class].category,
                bbox: [bbox.x, bbox.y, bbox.width, bbox.height].map(|v| (v * 1000.0).round() / 1000.0),
                score: (score * 1e6).round() / 1e6,
            };
            out.write_all(separator.as_bytes())?;
            serde_json::to_writer(&mut *out, &written)?;
            separator = ",\n";
        }
    }
    out.write_all(if separator == "[\n" { b"[]\n" } else { b"\n]\n" })
}
