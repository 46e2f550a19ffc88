//! Labelled images, as every format is read into.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::findings::{Findings, Issue};
use super::header::Header;
use crate::geometry::Size;
use crate::validate::LabelBox;

/// Classes a dataset may have.
pub(super) const MOST_CLASSES: usize = 10_000;
/// Truths, and ignored regions, that one image may have; what is beyond is reported and left out, since every pair of
/// boxes of an image is looked at.
pub(super) const MOST_TRUTHS: usize = 5_000;
pub(super) const MOST_IGNORED: usize = 300;

/// How the labels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One JSON file of COCO's instances.
    Coco,
    /// A text file an image: class, centre and size as fractions of the image.
    Yolo,
    /// A text file an image, with ignored regions.
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

/// What a results file calls an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(untagged)]
pub enum ImageId {
    /// COCO's own ids.
    Number(i64),
    /// The file's name without its ending.
    Text(String),
}

impl fmt::Display for ImageId {
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

/// One labelled image.
#[derive(Debug, Clone)]
pub struct Image {
    /// What results files call it.
    pub id: ImageId,
    /// File name, for people.
    pub name: String,
    /// Where the image should be.
    pub path: PathBuf,
    /// Size in which boxes are stated; `None` when neither the dataset nor the file says.
    pub size: Option<Size>,
    /// What the file's header says; `None` when the file is missing or is no image.
    pub header: Option<Header>,
    /// The file with its labels.
    pub labels: Arc<Path>,
    /// Line of the image itself in `labels`, where it has one.
    pub line: Option<u32>,
    /// Labelled objects.
    pub truths: Vec<Truth>,
    /// Where nothing counts.
    pub ignored: Vec<LabelBox>,
}

impl Image {
    /// File and line of a label, for findings.
    pub(super) fn at(&self, line: u32) -> String {
        format!("{}:{line}", self.labels.display())
    }

    pub(super) fn push_truth(&mut self, truth: Truth, findings: &mut Findings) {
        if self.truths.len() < MOST_TRUTHS {
            self.truths.push(truth);
        } else {
            findings.add(Issue::TooMany, self.at(truth.line), || format!("more than {MOST_TRUTHS} objects an image"));
        }
    }

    pub(super) fn push_ignored(&mut self, region: LabelBox, line: u32, findings: &mut Findings) {
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
pub(in crate::validate) fn covered(bbox: &LabelBox, regions: &[&LabelBox]) -> f64 {
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

/// Labelled images with what was noticed on reading them.
#[derive(Debug)]
pub struct Dataset {
    /// As the user named it.
    pub name: String,
    /// How it is written.
    pub kind: Kind,
    /// Its classes.
    pub classes: Vec<Class>,
    /// Its images, in the order in which they are evaluated.
    pub images: Vec<Image>,
    /// What is wrong with it.
    pub findings: Findings,
}

/// Where to look, beside what the dataset says.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Folder of the images.
    pub images: Option<PathBuf>,
    /// Which part of a `data.yaml`.
    pub split: String,
}
