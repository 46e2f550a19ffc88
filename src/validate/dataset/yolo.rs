//! YOLO's text labels: beside every image's folder `images` a folder `labels` with a file an image, a line an object:
//! `class x_centre y_centre width height`, or `class x1 y1 x2 y2 x3 y3 …` for an outline, all as fractions of the image.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DatasetError;
use super::files::{LARGEST_LABELS, is_image, name_of, read_text, stem_of};
use super::findings::{Findings, Issue};
use super::header;
use super::labelled::{Class, Dataset, Image, ImageId, Kind, MOST_CLASSES, Places, Truth};
use super::lines::short;
use super::yaml::{self, Node, Value};
use crate::validate::LabelBox;

/// How far outside of 0..1 rounding may push a figure.
const SLACK: f64 = 0.01;

/// Reads a `data.yaml`.
pub(super) fn load(path: &Path, places: &Places) -> Result<Dataset, DatasetError> {
    let node = yaml::parse(&read_text(path, LARGEST_LABELS)?, path)?;
    let at = |node: &Node| format!("{}:{}", path.display(), node.line);
    let beside = path.parent().unwrap_or(Path::new(""));
    // Ultralytics takes a relative `path` from its own folder of datasets, other tools from the file's.
    let root = node.get("path").and_then(Node::text).map_or(beside.to_owned(), |root| beside.join(root));
    let root = if root.is_dir() { root } else { beside.to_owned() };
    let split = if places.split.is_empty() { "val" } else { &places.split };
    let Some(listed) = node.get(split) else {
        let Value::Map(entries) = &node.value else {
            return Err(DatasetError::new(at(&node), "it is no mapping", "write `val: FOLDER` and `names: [...]`"));
        };
        let is_split = |k: &&str| matches!(*k, "train" | "val" | "test" | "minival");
        let known: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).filter(is_split).collect();
        let remedy = format!("choose with --split; it has: {}", known.join(", "));
        return Err(DatasetError::new(path.display(), format!("it has no split `{split}`"), remedy));
    };
    let mut files = Vec::new();
    for entry in listed.texts() {
        let place = [root.join(entry), beside.join(entry), root.join("images").join(entry)]
            .into_iter()
            .find(|p| p.exists())
            .ok_or_else(|| {
                DatasetError::new(at(listed), format!("{entry}: no such file or folder"), "check its path")
            })?;
        list_images(&place, &mut files)?;
    }
    let keypoints = node.get("kpt_shape").is_some();
    Ok(build(files, class_names(&node, path)?, keypoints, places))
}

/// Reads a text file with an image's path a line.
pub(super) fn load_list(path: &Path) -> Result<Dataset, DatasetError> {
    let mut files = Vec::new();
    list_images(path, &mut files)?;
    Ok(build(files, Vec::new(), false, &Places::default()))
}

/// Reads a folder with `images/` and `labels/`, and class names in `classes.txt` if they are there.
pub(super) fn load_folder(folder: &Path, places: &Places) -> Result<Dataset, DatasetError> {
    let images = places.images.clone().unwrap_or_else(|| folder.join("images"));
    let mut files = Vec::new();
    list_images(&images, &mut files)?;
    // Names of this one file are no labels, wherever it is kept.
    let named = [folder.join("classes.txt"), folder.join("labels/classes.txt")].into_iter().find(|p| p.is_file());
    let names = named.map(|path| read_text(&path, LARGEST_LABELS)).transpose()?.unwrap_or_default();
    let names = names.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
    Ok(build(files, names, false, places))
}

/// Images of a folder and the folders in it, or those that a text file lists.
fn list_images(place: &Path, files: &mut Vec<PathBuf>) -> Result<(), DatasetError> {
    if place.is_dir() {
        // Links may lead in a circle.
        let (mut folders, mut seen) = (vec![place.to_owned()], HashSet::new());
        while let Some(folder) = folders.pop() {
            if !seen.insert(std::fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone())) {
                continue;
            }
            let mut entries: Vec<PathBuf> =
                std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
            entries.sort();
            folders.extend(entries.iter().rev().filter(|p| p.is_dir()).cloned());
            files.extend(entries.into_iter().filter(|p| is_image(p) && p.is_file()));
        }
        return Ok(());
    }
    if place.extension().is_some_and(|e| e == "txt") {
        let beside = place.parent().unwrap_or(Path::new(""));
        let text = read_text(place, LARGEST_LABELS)?;
        files.extend(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(|line| beside.join(line)));
        return Ok(());
    }
    Err(DatasetError::new(place.display(), "images are in a folder or listed in a .txt", "give one of them"))
}

fn class_names(node: &Node, path: &Path) -> Result<Vec<String>, DatasetError> {
    let at = |node: &Node| format!("{}:{}", path.display(), node.line);
    let names: Vec<String> = match node.get("names").map(|n| &n.value) {
        Some(Value::List(names)) => {
            names.iter().map(|n| n.text().unwrap_or_default().to_owned()).take(MOST_CLASSES + 1).collect()
        }
        Some(Value::Map(entries)) => {
            let mut names = Vec::new();
            for (key, name) in entries {
                let refused = |problem| DatasetError::new(at(name), problem, "number `names` from 0");
                let id = key.parse::<usize>().map_err(|_| refused(format!("{key:?} is no class number")))?;
                if id >= MOST_CLASSES {
                    return Err(refused(format!("class {id}, at most {MOST_CLASSES} can be used")));
                }
                if names.len() <= id {
                    names.resize(id + 1, String::new());
                }
                name.text().unwrap_or_default().clone_into(&mut names[id]);
            }
            names
        }
        Some(Value::Scalar(_)) | None => {
            let count = node.get("nc").and_then(Node::text).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
            (0..count.min(MOST_CLASSES)).map(|id| format!("class{id}")).collect()
        }
    };
    if names.is_empty() || names.len() > MOST_CLASSES {
        let problem = format!("{} classes, from 1 to {MOST_CLASSES} can be used", names.len());
        return Err(DatasetError::new(path.display(), problem, "list the classes as `names`"));
    }
    Ok(names)
}

/// Reads every image's labels. Without names, as many classes are there as labels speak of.
fn build(files: Vec<PathBuf>, mut names: Vec<String>, keypoints: bool, places: &Places) -> Dataset {
    let unnamed = names.is_empty();
    let classes = if unnamed { MOST_CLASSES } else { names.len() };
    let mut findings = Findings::default();
    let mut images = Vec::with_capacity(files.len());
    let mut listed = HashSet::new();
    for listed_path in files {
        let labels = labels_of(&listed_path);
        let path = match &places.images {
            Some(folder) if !listed_path.is_file() => folder.join(name_of(&listed_path)),
            _ => listed_path,
        };
        if !listed.insert(path.clone()) {
            findings.add(Issue::Duplicate, path.display().to_string(), || "the image is listed twice".into());
            continue;
        }
        let header = header::read(&path).ok();
        let mut image = Image {
            id: ImageId::Text(stem_of(&path)),
            name: name_of(&path),
            size: header.map(|h| h.size),
            header,
            path,
            labels: Arc::from(labels),
            line: None,
            truths: Vec::new(),
            ignored: Vec::new(),
        };
        if image.labels.is_file() {
            match read_text(&image.labels, LARGEST_LABELS) {
                Ok(text) => parse(&text, &mut image, classes, keypoints, &mut findings),
                Err(e) => findings.add(Issue::Format, e.place, || e.problem),
            }
        } else {
            // As Ultralytics takes it: an image that shows nothing.
            findings.add(Issue::Unlabelled, image.path.display().to_string(), || {
                format!("{} is not there: an image without objects", image.labels.display())
            });
        }
        images.push(image);
    }
    if unnamed {
        let highest = images.iter().flat_map(|p| &p.truths).map(|t| t.class + 1).max().unwrap_or(0);
        names = (0..highest).map(|id| format!("class{id}")).collect();
    }
    let classes = (0..).zip(names).map(|(category, name)| Class { name, category }).collect();
    Dataset { name: String::new(), kind: Kind::Yolo, classes, images, findings }
}

/// `…/images/…/NAME.jpg` → `…/labels/…/NAME.txt`; the last `images` counts. Without one, the labels lie beside.
fn labels_of(image: &Path) -> PathBuf {
    let parts: Vec<_> = image.components().collect();
    let folder = parts.iter().rposition(|c| c.as_os_str() == "images").filter(|at| at + 1 < parts.len());
    let moved: PathBuf = match folder {
        Some(at) => {
            parts.iter().enumerate().map(|(i, c)| if i == at { "labels".as_ref() } else { c.as_os_str() }).collect()
        }
        None => image.to_owned(),
    };
    moved.with_extension("txt")
}

/// Reads one file of labels into `image`.
pub(super) fn parse(text: &str, image: &mut Image, classes: usize, keypoints: bool, findings: &mut Findings) {
    let size = image.size.map(|size| (f64::from(size.width), f64::from(size.height)));
    let mut seen = HashSet::new();
    for (number, row) in (1..).zip(text.lines()) {
        if row.trim().is_empty() {
            continue;
        }
        let (class, [xc, yc, w, h]) = match parse_row(row, classes, keypoints) {
            Ok(parsed) => parsed,
            Err((issue, problem)) => {
                findings.add(issue, image.at(number), || problem);
                continue;
            }
        };
        if !seen.insert((class, [xc, yc, w, h].map(f64::to_bits))) {
            findings.add(Issue::Duplicate, image.at(number), || "the same object twice: the second is left out".into());
            continue;
        }
        // The labels of a missing image are checked all the same.
        let Some((width, height)) = size else { continue };
        let bbox =
            LabelBox { x: (xc - w / 2.0) * width, y: (yc - h / 2.0) * height, width: w * width, height: h * height };
        image.push_truth(Truth { class, bbox, area: bbox.area(), crowd: false, line: number }, findings);
    }
}

/// Class and `[x_centre, y_centre, width, height]` as fractions.
fn parse_row(row: &str, classes: usize, keypoints: bool) -> Result<(usize, [f64; 4]), (Issue, String)> {
    let format = |problem: String| (Issue::Format, problem);
    let mut fields = row.split_whitespace();
    let first = fields.next().unwrap_or_default();
    // Some tools write classes as `3.0`.
    let class = first.parse::<f64>().ok().filter(|c| c.fract() == 0.0);
    let class = class.ok_or_else(|| format(format!("class {:?} is no whole number", short(first))))?;
    if !(0.0..super::super::real(classes)).contains(&class) {
        return Err((
            Issue::UnknownClass,
            format!("class {class}, the dataset has 0 to {}", classes.saturating_sub(1)),
        ));
    }
    let mut numbers = Vec::new();
    for field in fields {
        let number = field.parse::<f64>().ok().filter(|n| n.is_finite());
        numbers.push(number.ok_or_else(|| format(format!("{:?} is no number", short(field))))?);
    }
    if numbers.iter().take(if keypoints { 4 } else { usize::MAX }).any(|n| !(-SLACK..=1.0 + SLACK).contains(n)) {
        return Err(format("a figure outside of 0..1: boxes are fractions of the image".into()));
    }
    let bbox = match *numbers.as_slice() {
        [x, y, w, h] => [x, y, w, h],
        [x, y, w, h, ..] if keypoints => [x, y, w, h],
        ref outline if outline.len() >= 6 && outline.len().is_multiple_of(2) => {
            let range = |axis: usize| {
                let on_axis = outline.iter().skip(axis).step_by(2);
                on_axis.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
            };
            let ((left, right), (top, bottom)) = (range(0), range(1));
            [f64::midpoint(left, right), f64::midpoint(top, bottom), right - left, bottom - top]
        }
        ref other => {
            return Err(format(format!(
                "{} figures after the class: 4, or an outline of 3 points or more",
                other.len()
            )));
        }
    };
    if bbox[2] < 0.0 || bbox[3] < 0.0 {
        return Err(format("a negative size".into()));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, and below the number of classes"
    )]
    Ok((class as usize, bbox))
}
