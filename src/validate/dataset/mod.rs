//! Labelled images: three kinds of dataset, one shape.

mod coco;
mod error;
mod files;
mod findings;
pub mod header;
mod labelled;
mod lines;
mod summary;
mod visdrone;
mod yaml;
mod yolo;

pub mod checks;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use files::{files_in, stem_of};

pub(super) use coco::bare;
pub(super) use files::read_json;
pub(super) use lines::Lines;

pub use error::DatasetError;
pub use findings::{Finding, Findings, Issue};
pub(in crate::validate) use labelled::covered;
pub use labelled::{Class, Dataset, Image, ImageId, Kind, Places, Truth};
pub use summary::{ClassCount, Summary};

impl Dataset {
    /// Reads the dataset at `path`: a COCO JSON file, a `data.yaml` or a list of images in YOLO's way, or a folder with
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
        if dataset.images.is_empty() {
            return Err(DatasetError::new(path.display(), "it has no images", "check that it is the right file"));
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
        if dataset.images.is_empty() {
            return Err(DatasetError::new(folder.display(), "it has no images", "check that it is the right folder"));
        }
        Ok(dataset)
    }

    /// Which image each name that a results file may use means.
    #[must_use]
    pub fn names(&self) -> HashMap<ImageId, usize> {
        let mut names: HashMap<ImageId, usize> =
            self.images.iter().enumerate().map(|(index, p)| (p.id.clone(), index)).collect();
        for (index, image) in self.images.iter().enumerate() {
            let stem = stem_of(Path::new(&image.name));
            if let Ok(number) = stem.parse() {
                names.entry(ImageId::Number(number)).or_insert(index);
            }
            names.entry(ImageId::Text(stem)).or_insert(index);
            names.entry(ImageId::Text(image.name.clone())).or_insert(index);
        }
        names
    }

    /// Classes with their truths that count: `(objects, images)` a class.
    #[must_use]
    pub fn instances(&self) -> Vec<(usize, usize)> {
        let mut counts = vec![(0, 0); self.classes.len()];
        let mut seen = vec![usize::MAX; self.classes.len()];
        for (index, image) in self.images.iter().enumerate() {
            for truth in image.truths.iter().filter(|t| !t.crowd) {
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

#[cfg(test)]
mod tests;
