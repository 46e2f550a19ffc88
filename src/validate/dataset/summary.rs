//! A dataset in figures.

use super::{Dataset, Issue, Kind};
use crate::validate::evaluate::{LARGE, SMALL};

/// What a dataset holds.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Summary {
    /// How it is written.
    pub kind: &'static str,
    /// Images listed.
    pub images: usize,
    /// Images without an object.
    pub without_objects: usize,
    /// Objects that count.
    pub objects: usize,
    /// Objects by size: small, medium, large, as COCO divides them.
    pub by_size: [usize; 3],
    /// Crowds and objects that do not count.
    pub crowds: usize,
    /// Regions where nothing counts.
    pub ignored_regions: usize,
    /// The histogram.
    pub classes: Vec<ClassCount>,
}

/// One class in figures.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ClassCount {
    /// Its name.
    pub class: String,
    /// Objects that count.
    pub objects: usize,
    /// Images that show one.
    pub images: usize,
}

impl Summary {
    /// Counts.
    #[must_use]
    pub fn of(dataset: &Dataset) -> Self {
        let truths = || dataset.images.iter().flat_map(|p| &p.truths);
        let mut by_size = [0; 3];
        for truth in truths().filter(|t| !t.crowd) {
            by_size[usize::from(truth.area >= SMALL) + usize::from(truth.area >= LARGE)] += 1;
        }
        let instances = dataset.instances();
        let classes = dataset.classes.iter().zip(instances);
        Self {
            kind: dataset.kind.name(),
            images: dataset.images.len(),
            without_objects: dataset.images.iter().filter(|p| p.truths.iter().all(|t| t.crowd)).count(),
            objects: by_size.iter().sum(),
            by_size,
            crowds: truths().filter(|t| t.crowd).count(),
            ignored_regions: dataset.images.iter().map(|p| p.ignored.len()).sum(),
            classes: classes
                .map(|(class, (objects, images))| ClassCount { class: class.name.clone(), objects, images })
                .collect(),
        }
    }
}

impl Dataset {
    /// What a person should know before trusting a figure: one line a kind of finding, with how many and the first.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let kept = self.findings.kept();
        let remark = |(issue, count): (&Issue, &u64)| {
            // An image without a label file is YOLO's way of saying that it shows nothing.
            let usual = *issue == Issue::Unlabelled && self.kind == Kind::Yolo;
            let first = kept.iter().find(|f| f.kind == *issue).filter(|_| !usual)?;
            let more = if *count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
            Some(format!("{}: {}: {}{more}", issue.name(), first.place, first.text))
        };
        self.findings.counts().iter().filter_map(remark).collect()
    }
}
