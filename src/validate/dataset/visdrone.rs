//! `VisDrone`'s detection task: a folder with `images/` and `annotations/`, a line an object:
//! `left,top,width,height,score,category,truncation,occlusion`.
//!
//! As the challenge's toolkit has it: category 0 is a region where nothing counts, and an object or a detection of which
//! half or more lies in such regions is dropped before scoring. Categories 1 to 10 are scored. Category 11, "others", is
//! neither class nor region. An object with score 0 is ignored: what is found there is neither right nor wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{LARGEST_LABELS, files_in, is_image, name_of, read_text, stem_of};
use super::findings::{Findings, Issue};
use super::header;
use super::labelled::{Class, Dataset, Image, ImageId, Kind, Places, Truth};
use super::lines::short;
use crate::validate::LabelBox;

const CLASSES: [&str; 10] =
    ["pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor"];
const OTHERS: u32 = 11;

/// Reads the folder; images are in `--images` or `images/`.
pub(super) fn load(folder: &Path, places: &Places) -> Dataset {
    let from = places.images.clone().unwrap_or_else(|| folder.join("images"));
    let mut entries: BTreeMap<String, (Option<PathBuf>, Option<PathBuf>)> = BTreeMap::new();
    for path in files_in(&from).into_iter().filter(|p| is_image(p)) {
        let entry = entries.entry(stem_of(&path)).or_default();
        entry.0.get_or_insert(path);
    }
    for path in files_in(&folder.join("annotations")) {
        if path.extension().is_some_and(|e| e == "txt") {
            let entry = entries.entry(stem_of(&path)).or_default();
            entry.1 = Some(path);
        }
    }
    let mut findings = Findings::default();
    let mut images = Vec::new();
    for (stem, (path, labels)) in entries {
        let path = path.unwrap_or_else(|| from.join(format!("{stem}.jpg")));
        let header = header::read(&path).ok();
        let mut image = Image {
            id: ImageId::Text(stem.clone()),
            name: name_of(&path),
            size: header.map(|h| h.size),
            header,
            path,
            labels: Arc::from(labels.clone().unwrap_or_else(|| folder.join(format!("annotations/{stem}.txt")))),
            line: None,
            truths: Vec::new(),
            ignored: Vec::new(),
        };
        match labels.map(|labels| read_text(&labels, LARGEST_LABELS)) {
            None => findings.add(Issue::Unlabelled, image.name.clone(), || "no annotation file".into()),
            Some(Ok(text)) => parse(&text, &mut image, &mut findings),
            Some(Err(e)) => findings.add(Issue::Format, e.place, || e.problem),
        }
        images.push(image);
    }
    let class = |(category, name): (i64, &&str)| Class { name: (*name).to_owned(), category };
    let classes = (1..).zip(&CLASSES).map(class).collect();
    Dataset { name: String::new(), kind: Kind::VisDrone, classes, images, findings }
}

/// Reads one file of labels into `image`.
pub(super) fn parse(text: &str, image: &mut Image, findings: &mut Findings) {
    for (number, row) in (1..).zip(text.lines()) {
        if row.trim().is_empty() {
            continue;
        }
        match parse_row(row) {
            Err((issue, problem)) => findings.add(issue, image.at(number), || problem),
            Ok((bbox, _, 0)) => image.push_ignored(bbox, number, findings),
            Ok((_, _, OTHERS)) => {}
            Ok((bbox, counts, category)) => {
                let class = category as usize - 1;
                let truth = Truth { class, bbox, area: bbox.area(), crowd: !counts, line: number };
                image.push_truth(truth, findings);
            }
        }
    }
    if !image.ignored.is_empty() {
        let truths = std::mem::take(&mut image.truths);
        image.truths = truths.into_iter().filter(|t| !image.ignores(&t.bbox)).collect();
    }
}

fn parse_row(row: &str) -> Result<(LabelBox, bool, u32), (Issue, String)> {
    let format = |problem: String| (Issue::Format, problem);
    let fields: Vec<&str> = row.trim().trim_end_matches(',').split(',').take(9).collect();
    if fields.len() != 8 {
        return Err(format(format!(
            "{} fields where left,top,width,height,score,category,truncation,occlusion are expected",
            fields.len()
        )));
    }
    let mut numbers = [0.0; 6];
    for (number, field) in numbers.iter_mut().zip(&fields) {
        *number = field.trim().parse().map_err(|_| format(format!("{:?} is no number", short(field))))?;
    }
    let [x, y, width, height, score, category] = numbers;
    let bbox = LabelBox { x, y, width, height };
    if !bbox.is_sound() {
        return Err(format(format!("no box has the size {width}×{height}")));
    }
    if !(0.0..=11.0).contains(&category) || category.fract() != 0.0 {
        return Err((Issue::UnknownClass, format!("category {category}, from 0 to 11 are known")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to 11")]
    Ok((bbox, score != 0.0, category as u32))
}
