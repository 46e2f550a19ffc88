//! Labelled pictures: three kinds of dataset, one shape.

mod coco;
mod findings;
pub mod header;
mod lines;
mod summary;
mod visdrone;
mod yaml;
mod yolo;

pub mod checks;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LabelBox;
use crate::geometry::Size;
use header::Header;

pub(super) use coco::bare;
pub(super) use lines::Lines;

pub use findings::{Finding, Findings, Issue};
pub use summary::{ClassCount, Summary};

/// Classes a dataset may have.
const MOST_CLASSES: usize = 10_000;
/// Truths, and ignored regions, that one picture may have; what is beyond is reported and left out, since every pair of
/// boxes of a picture is looked at.
const MOST_TRUTHS: usize = 5_000;
const MOST_IGNORED: usize = 300;
/// Size of one file of labels, and of one JSON file, bytes.
const LARGEST_LABELS: u64 = 16 << 20;
const LARGEST_JSON: u64 = 2 << 30;

/// Endings of pictures, in the order they are looked for.
const PICTURES: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "gif"];

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}\n  {remedy}")]
pub struct DatasetError {
    /// File, and line where there is one.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do next.
    pub remedy: String,
}

impl DatasetError {
    fn new(place: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { place: place.to_string(), problem: problem.to_string(), remedy: remedy.to_string() }
    }
}

/// How the labels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One JSON file of COCO's instances.
    Coco,
    /// A text file a picture: class, centre and size as fractions of the picture.
    Yolo,
    /// A text file a picture, with ignored regions.
    VisDrone,
}

impl Kind {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Coco => "COCO",
            Self::Yolo => "YOLO",
            Self::VisDrone => "VisDrone",
        }
    }
}

/// What a results file calls a picture.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(untagged)]
pub enum PictureId {
    /// COCO's own ids.
    Number(i64),
    /// The file's name without its ending.
    Text(String),
}

impl fmt::Display for PictureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A class of the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// What results files call it.
    pub category: i64,
}

/// One labelled object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Index into [`Dataset::classes`].
    pub class: usize,
    /// Where.
    pub bbox: LabelBox,
    /// Area that decides small, medium or large, square pixels: the mask's where the dataset states it.
    pub area: f64,
    /// A crowd, or an object that does not count: whatever is found inside is neither right nor wrong.
    pub crowd: bool,
    /// Line of its label, from 1.
    pub line: u32,
}

/// One labelled picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What results files call it.
    pub id: PictureId,
    /// File name, for people.
    pub name: String,
    /// Where the picture should be.
    pub path: PathBuf,
    /// Size in which boxes are stated; `None` when neither the dataset nor the file says.
    pub size: Option<Size>,
    /// What the file's header says; `None` when the file is missing or is no picture.
    pub header: Option<Header>,
    /// The file with its labels.
    pub labels: Arc<Path>,
    /// Line of the picture itself in `labels`, where it has one.
    pub line: Option<u32>,
    /// Labelled objects.
    pub truths: Vec<Truth>,
    /// Where nothing counts.
    pub ignored: Vec<LabelBox>,
}

impl Picture {
    /// File and line of a label, for findings.
    fn at(&self, line: u32) -> String {
        format!("{}:{line}", self.labels.display())
    }

    fn push_truth(&mut self, truth: Truth, findings: &mut Findings) {
        if self.truths.len() < MOST_TRUTHS {
            self.truths.push(truth);
        } else {
            findings.add(Issue::TooMany, self.at(truth.line), || format!("more than {MOST_TRUTHS} objects a picture"));
        }
    }

    fn push_ignored(&mut self, region: LabelBox, line: u32, findings: &mut Findings) {
        if self.ignored.len() < MOST_IGNORED {
            self.ignored.push(region);
        } else {
            findings.add(Issue::TooMany, self.at(line), || format!("more than {MOST_IGNORED} ignored regions"));
        }
    }

    /// Whether at least half of `bbox` lies in ignored regions, as the `VisDrone` toolkit counts it (`dropObjectsInIgr.m`),
    /// with areas calculated instead of pixels counted.
    #[must_use]
    pub fn ignores(&self, bbox: &LabelBox) -> bool {
        let inside: Vec<&LabelBox> = self.ignored.iter().filter(|r| r.shared(bbox) > 0.0).collect();
        !inside.is_empty() && covered(bbox, &inside) >= 0.5 * bbox.area()
    }
}

/// Area of `bbox` that `regions` cover together, square pixels.
fn covered(bbox: &LabelBox, regions: &[&LabelBox]) -> f64 {
    let (left, right) = (bbox.x, bbox.x + bbox.width);
    let (top, bottom) = (bbox.y, bbox.y + bbox.height);
    let mut edges: Vec<f64> =
        regions.iter().flat_map(|r| [r.x, r.x + r.width]).chain([left, right]).map(|x| x.clamp(left, right)).collect();
    edges.sort_by(f64::total_cmp);
    let mut rows: Vec<(f64, f64)> =
        regions.iter().map(|r| (r.y.clamp(top, bottom), (r.y + r.height).clamp(top, bottom))).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut order: Vec<&&LabelBox> = regions.iter().collect();
    order.sort_by(|a, b| a.y.clamp(top, bottom).total_cmp(&b.y.clamp(top, bottom)));
    let mut area = 0.0;
    for pair in edges.windows(2).filter(|pair| pair[1] > pair[0]) {
        let mut down = 0.0;
        let mut reached = top;
        for (region, (from, to)) in order.iter().zip(&rows) {
            if region.x <= pair[0] && region.x + region.width >= pair[1] {
                down += (to - from.max(reached)).max(0.0);
                reached = reached.max(*to);
            }
        }
        area += down * (pair[1] - pair[0]);
    }
    area
}

/// Labelled pictures with what was noticed on reading them.
#[derive(Debug)]
pub struct Dataset {
    /// As the user named it.
    pub name: String,
    /// How it is written.
    pub kind: Kind,
    /// Its classes.
    pub classes: Vec<Class>,
    /// Its pictures, in the order in which they are evaluated.
    pub pictures: Vec<Picture>,
    /// What is wrong with it.
    pub findings: Findings,
}

/// Where to look, beside what the dataset says.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Folder of the pictures.
    pub images: Option<PathBuf>,
    /// Which part of a `data.yaml`.
    pub split: String,
}

impl Dataset {
    /// Reads the dataset at `path`: a COCO JSON file, a `data.yaml` or a list of pictures in YOLO's way, or a folder with
    /// one of them, with `images/` and `labels/`, or with `VisDrone`'s `images/` and `annotations/`.
    ///
    /// # Errors
    /// When there is no dataset or nothing in it can be used. A bad label is a finding.
    pub fn load(path: &Path, places: &Places) -> Result<Self, DatasetError> {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let mut dataset = match ending.as_str() {
            _ if path.is_dir() => return Self::load_folder(path, places),
            "json" => coco::load(path, places)?,
            "yaml" | "yml" => yolo::load(path, places)?,
            "txt" => yolo::load_list(path)?,
            _ if !path.exists() => {
                return Err(DatasetError::new(path.display(), "no such file or folder", "check the path"));
            }
            _ => return Err(unknown(path)),
        };
        dataset.name = path.display().to_string();
        if dataset.pictures.is_empty() {
            return Err(DatasetError::new(path.display(), "it has no pictures", "check that it is the right file"));
        }
        Ok(dataset)
    }

    fn load_folder(folder: &Path, places: &Places) -> Result<Self, DatasetError> {
        let json = |folder: &Path| {
            let mut files = files_in(folder);
            files.retain(|p| p.extension().is_some_and(|e| e == "json"));
            let instances = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("instances"));
            if files.len() > 1 {
                files.retain(instances);
            }
            files
        };
        let yaml = ["data.yaml", "data.yml", "dataset.yaml"].map(|name| folder.join(name));
        if let Some(yaml) = yaml.iter().find(|p| p.is_file()) {
            return Self::load(yaml, places);
        }
        let annotations = folder.join("annotations");
        let mut dataset = if files_in(&annotations).iter().any(|p| p.extension().is_some_and(|e| e == "txt")) {
            visdrone::load(folder, places)
        } else if folder.join("labels").is_dir() {
            yolo::load_folder(folder, places)?
        } else {
            return match [json(folder), json(&annotations)].concat().as_slice() {
                [one] => Self::load(one, places),
                [] => Err(unknown(folder)),
                [a, b, ..] => {
                    let problem = format!("{} and {} could both be meant", a.display(), b.display());
                    Err(DatasetError::new(folder.display(), problem, "give the file itself"))
                }
            };
        };
        dataset.name = folder.display().to_string();
        if dataset.pictures.is_empty() {
            return Err(DatasetError::new(folder.display(), "it has no pictures", "check that it is the right folder"));
        }
        Ok(dataset)
    }

    /// Which picture each name that a results file may use means.
    #[must_use]
    pub fn names(&self) -> HashMap<PictureId, usize> {
        let mut names: HashMap<PictureId, usize> =
            self.pictures.iter().enumerate().map(|(index, p)| (p.id.clone(), index)).collect();
        for (index, picture) in self.pictures.iter().enumerate() {
            let stem = stem_of(Path::new(&picture.name));
            if let Ok(number) = stem.parse() {
                names.entry(PictureId::Number(number)).or_insert(index);
            }
            names.entry(PictureId::Text(stem)).or_insert(index);
            names.entry(PictureId::Text(picture.name.clone())).or_insert(index);
        }
        names
    }

    /// Classes with their truths that count: `(objects, pictures)` a class.
    #[must_use]
    pub fn instances(&self) -> Vec<(usize, usize)> {
        let mut counts = vec![(0, 0); self.classes.len()];
        let mut seen = vec![usize::MAX; self.classes.len()];
        for (index, picture) in self.pictures.iter().enumerate() {
            for truth in picture.truths.iter().filter(|t| !t.crowd) {
                counts[truth.class].0 += 1;
                if std::mem::replace(&mut seen[truth.class], index) != index {
                    counts[truth.class].1 += 1;
                }
            }
        }
        counts
    }
}

fn unknown(path: &Path) -> DatasetError {
    let remedy =
        "give a COCO .json, a YOLO data.yaml, or a folder with images/ and labels/ (YOLO) or annotations/ (VisDrone)";
    DatasetError::new(path.display(), "this is no dataset that is known", remedy)
}

/// The text of a JSON file.
pub(super) fn read_json(path: &Path) -> Result<String, DatasetError> {
    read_text(path, LARGEST_JSON)
}

/// The text of a file of labels; refuses what is no regular file or larger than `most` bytes.
fn read_text(path: &Path, most: u64) -> Result<String, DatasetError> {
    let place = || path.display();
    let metadata = std::fs::metadata(path).map_err(|e| DatasetError::new(place(), e, "check the path"))?;
    if !metadata.is_file() {
        return Err(DatasetError::new(place(), "it is not a file", "give a file"));
    }
    if metadata.len() > most {
        let problem = format!("{} bytes, at most {most} are read", metadata.len());
        return Err(DatasetError::new(place(), problem, "split the dataset"));
    }
    let bytes = std::fs::read(path).map_err(|e| DatasetError::new(place(), e, "check its permissions"))?;
    String::from_utf8(bytes).map_err(|e| {
        let problem = format!("it is not UTF-8 text (byte {})", e.utf8_error().valid_up_to());
        DatasetError::new(place(), problem, "save it as UTF-8")
    })
}

/// Regular files of a folder by name; none where there is no such folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn is_picture(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| PICTURES.contains(&e.to_ascii_lowercase().as_str()))
}

fn stem_of(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
