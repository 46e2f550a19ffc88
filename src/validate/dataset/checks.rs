//! What can be said of a dataset before a model runs.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Dataset, Issue, Kind};

/// How far a box may hang over its image's edge, pixels: labels are rounded.
const OVERHANG: f64 = 1.5;

/// Looks at every image's header and labels; with `images`, also at the files' content, and misses those that are not
/// there.
pub fn check(dataset: &mut Dataset, images: bool) {
    let mut findings = std::mem::take(&mut dataset.findings);
    for image in &dataset.images {
        let place = || image.path.display().to_string();
        match (image.header, image.size) {
            (None, size) if images || size.is_none() => {
                let there = image.path.exists();
                let problem = if there { "not an image" } else { "no such file" };
                findings.add(Issue::Missing, place(), || {
                    format!("{problem}; its {} objects do not count", image.truths.len())
                });
            }
            (Some(header), Some(stated)) if !header.fits(stated) => {
                let (w, h) = (header.size.width, header.size.height);
                let text = || format!("it is {w}×{h}, the dataset says {}×{}", stated.width, stated.height);
                findings.add(Issue::Size, place(), text);
            }
            _ => {}
        }
        if image.header.is_some_and(|h| h.grey) {
            findings.add(Issue::Grey, place(), || "it has no colours".into());
        }
        let mut seen = HashSet::new();
        for truth in &image.truths {
            let b = truth.bbox;
            let at = || image.at(truth.line);
            if let Some(size) = image.size {
                let (w, h) = (f64::from(size.width), f64::from(size.height));
                let inside = b.x >= -OVERHANG
                    && b.y >= -OVERHANG
                    && b.x + b.width <= w + OVERHANG
                    && b.y + b.height <= h + OVERHANG;
                if !inside {
                    let text = || {
                        let (right, bottom) = (b.x + b.width, b.y + b.height);
                        format!("[{:.1}, {:.1}, {right:.1}, {bottom:.1}] in an image of {w}×{h}", b.x, b.y)
                    };
                    findings.add(Issue::OutOfRange, at(), text);
                }
            }
            if b.area() <= 0.0 {
                findings.add(Issue::OutOfRange, at(), || "a box without area".into());
            }
            let corners = [b.x, b.y, b.width, b.height].map(f64::to_bits);
            // YOLO's doubles are found, and left out, on reading.
            if dataset.kind != Kind::Yolo && !truth.crowd && !seen.insert((truth.class, corners)) {
                findings.add(Issue::Duplicate, at(), || "the same object twice: both are scored".into());
            }
        }
    }
    if images {
        same_content(dataset, |a, b| {
            findings.add(Issue::Duplicate, b.display().to_string(), || format!("the same image as {}", a.display()));
        });
    }
    dataset.findings = findings;
}

/// Tells of every image file that has the content of an earlier one. Only files of one length are read.
fn same_content(dataset: &Dataset, mut same: impl FnMut(&Path, &Path)) {
    let mut by_length: HashMap<u64, Vec<&Path>> = HashMap::new();
    for image in dataset.images.iter().filter(|p| p.header.is_some()) {
        if let Ok(metadata) = std::fs::metadata(&image.path) {
            by_length.entry(metadata.len()).or_default().push(&image.path);
        }
    }
    let mut groups: Vec<Vec<&Path>> = by_length.into_values().filter(|paths| paths.len() > 1).collect();
    groups.sort();
    for group in groups {
        let mut first: HashMap<[u8; 32], &Path> = HashMap::new();
        for path in group {
            let Ok(hash) = hash(path) else { continue };
            match first.get(&hash) {
                Some(other) => same(other, path),
                None => _ = first.insert(hash, path),
            }
        }
    }
}

fn hash(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash)?;
    Ok(hash.finalize().into())
}
