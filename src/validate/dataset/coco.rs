//! COCO's instances: one JSON file with images, annotations and categories.
//!
//! Every element is read on its own, so that a bad one is a finding with its line and not the end of the file. As in the
//! official evaluator, images and categories are taken in the order of their ids, and an annotation without an area has
//! that of its box.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::DatasetError;
use super::files::{LARGEST_JSON, name_of, read_text};
use super::findings::{Findings, Issue};
use super::header;
use super::labelled::{Class, Dataset, Image, ImageId, Kind, MOST_CLASSES, Places, Truth};
use super::lines::Lines;
use crate::geometry::Size;
use crate::validate::LabelBox;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    images: Vec<&'a RawValue>,
    #[serde(borrow)]
    annotations: Vec<&'a RawValue>,
    #[serde(borrow)]
    categories: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Entry {
    id: ImageId,
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: ImageId,
    category_id: i64,
    bbox: [f64; 4],
    area: Option<f64>,
    iscrowd: Option<Flag>,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// `iscrowd` as people write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(f64),
}

/// Reads a file of instances. Images are in `--images`, in `images/` beside the file or above it, or beside it.
pub(super) fn load(path: &Path, places: &Places) -> Result<Dataset, DatasetError> {
    let text = read_text(path, LARGEST_JSON)?;
    let mut dataset = parse(&text, path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let folders: Vec<PathBuf> = match &places.images {
        Some(images) => vec![images.clone()],
        None => vec![folder.join("images"), folder.join("../images"), folder.to_owned()],
    };
    for image in &mut dataset.images {
        let named = Path::new(&image.name);
        let tries = folders.iter().flat_map(|f| [f.join(named), f.join(name_of(named))]);
        image.path = tries.into_iter().find(|p| p.is_file()).unwrap_or_else(|| folders[0].join(named));
        image.header = header::read(&image.path).ok();
        image.size = image.size.or(image.header.map(|h| h.size));
    }
    Ok(dataset)
}

/// Reads the text of such a file; `path` is for findings.
pub(super) fn parse(text: &str, path: &Path) -> Result<Dataset, DatasetError> {
    let place = path.display();
    let file: File = serde_json::from_str(text).map_err(|e| {
        let remedy =
            "ground truth is an object with `images`, `annotations` and `categories`; results go to --predictions";
        DatasetError::new(format!("{place}:{}", e.line()), e, remedy)
    })?;
    let lines = Lines::of(text);
    let labels: Arc<Path> = Arc::from(path);
    let mut findings = Findings::default();
    let classes = classes(&file, &lines, path, &mut findings)?;
    let index: HashMap<i64, usize> = classes.iter().enumerate().map(|(i, c)| (c.category, i)).collect();

    let mut images = Vec::new();
    for raw in &file.images {
        let line = lines.line(raw);
        match serde_json::from_str::<Entry>(raw.get()) {
            Ok(Entry { id, file_name, width, height }) => images.push(Image {
                id,
                name: file_name,
                path: PathBuf::new(),
                size: width.zip(height).filter(|(w, h)| *w > 0 && *h > 0).map(|(width, height)| Size { width, height }),
                header: None,
                labels: labels.clone(),
                line: Some(line),
                truths: Vec::new(),
                ignored: Vec::new(),
            }),
            Err(e) => findings.add(Issue::Format, format!("{place}:{line}"), || format!("image: {}", bare(&e))),
        }
    }
    images.sort_by(|a, b| a.id.cmp(&b.id));
    images.dedup_by(|again, first| {
        let same = again.id == first.id;
        if same {
            findings.add(Issue::Duplicate, again.at(again.line.unwrap_or(1)), || format!("image id {}", again.id));
        }
        same
    });

    let known: HashMap<ImageId, usize> = images.iter().enumerate().map(|(i, p)| (p.id.clone(), i)).collect();
    for (number, raw) in file.annotations.iter().enumerate() {
        let line = lines.line(raw);
        let at = || format!("{place}:{line}");
        let annotation = match serde_json::from_str::<Annotation>(raw.get()) {
            Ok(annotation) => annotation,
            Err(e) => {
                findings.add(Issue::Format, at(), || format!("annotations[{number}]: {}", bare(&e)));
                continue;
            }
        };
        let Some(image) = known.get(&annotation.image_id) else {
            let text = || format!("annotations[{number}]: no image has id {}", annotation.image_id);
            findings.add(Issue::UnknownImage, at(), text);
            continue;
        };
        let Some(class) = index.get(&annotation.category_id) else {
            let text = || format!("annotations[{number}]: no category has id {}", annotation.category_id);
            findings.add(Issue::UnknownClass, at(), text);
            continue;
        };
        let [x, y, width, height] = annotation.bbox;
        let bbox = LabelBox { x, y, width, height };
        if !bbox.is_sound() {
            findings
                .add(Issue::Format, at(), || format!("annotations[{number}]: no box has the size {width}×{height}"));
            continue;
        }
        let crowd = match annotation.iscrowd {
            Some(Flag::Bool(crowd)) => crowd,
            Some(Flag::Number(n)) => n != 0.0,
            None => false,
        };
        let area = annotation.area.unwrap_or_else(|| bbox.area());
        images[*image].push_truth(Truth { class: *class, bbox, area, crowd, line }, &mut findings);
    }
    Ok(Dataset { name: String::new(), kind: Kind::Coco, classes, images, findings })
}

fn classes(file: &File, lines: &Lines, path: &Path, findings: &mut Findings) -> Result<Vec<Class>, DatasetError> {
    let place = path.display();
    let mut classes = Vec::new();
    for raw in &file.categories {
        let line = lines.line(raw);
        match serde_json::from_str::<Category>(raw.get()) {
            Ok(Category { id, name }) => classes.push((line, Class { name, category: id })),
            Err(e) => findings.add(Issue::Format, format!("{place}:{line}"), || format!("category: {}", bare(&e))),
        }
    }
    classes.sort_by_key(|(_, class)| class.category);
    classes.dedup_by(|(line, again), (_, first)| {
        let same = again.category == first.category;
        if same {
            findings.add(Issue::Duplicate, format!("{place}:{line}"), || format!("category id {}", again.category));
        }
        same
    });
    if classes.is_empty() || classes.len() > MOST_CLASSES {
        let problem = format!("{} categories, from 1 to {MOST_CLASSES} can be used", classes.len());
        return Err(DatasetError::new(place, problem, "check its `categories`"));
    }
    Ok(classes.into_iter().map(|(_, class)| class).collect())
}

/// What serde says, without a position that counts from the element's start.
pub(in crate::validate) fn bare(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.clone(), |(problem, _)| problem.to_owned())
}
