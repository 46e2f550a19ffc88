//! What counts, by the rules of each benchmark.

use super::overlap::Overlaps;
use super::scene::Scene;
use crate::assignment::assign;
use crate::mot::{MotBox, Row};
use crate::validate::LabelBox;
use crate::validate::dataset::covered;

/// MOT16's classes 1 to 13; 1 is the pedestrian.
const CLASSES: std::ops::RangeInclusive<i64> = 1..=13;
const PEDESTRIAN: i64 = 1;
/// Person on vehicle, static person, distractor, reflection: whoever finds one is neither right nor wrong.
const DISTRACTORS: [i64; 4] = [2, 7, 8, 12];
/// Among them in MOT20.
const OTHER_VEHICLE: i64 = 6;
/// IoU from which on a box of the result stands on a distractor.
const ON: f64 = 0.5;

/// `VisDrone`'s categories that its toolkit evaluates for tracking (`evalMOT.m`), with their names.
pub(super) const DRONE_CLASSES: [(i64, &str); 5] =
    [(1, "pedestrian"), (4, "car"), (5, "van"), (6, "truck"), (9, "bus")];
/// Ignored regions, and others, which the toolkit treats alike (`dropObjects.m`).
const REGION: i64 = 0;
const OTHERS: i64 = 11;
/// The last category.
pub(super) const LAST_CATEGORY: i64 = OTHERS;

/// Rows of ground truth and result of the same frame.
struct Frames<'a> {
    gt: &'a [Row],
    result: &'a [Row],
}

impl<'a> Iterator for Frames<'a> {
    type Item = (&'a [Row], &'a [Row]);

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.gt.first().into_iter().chain(self.result.first()).map(|row| row.frame).min()?;
        let (gt, result) = (self.gt, self.result);
        let here = |rows: &'a [Row]| rows.split_at(rows.partition_point(|row| row.frame == frame));
        let ((gt, later_gt), (result, later_result)) = (here(gt), here(result));
        (self.gt, self.result) = (later_gt, later_result);
        Some((gt, result))
    }
}

/// A class, category or flag as the toolkits read it: cut to a whole number.
#[expect(clippy::cast_possible_truncation, reason = "it is cut, and large numbers are no class")]
pub(super) fn whole(value: f64) -> i64 {
    value as i64
}

fn boxes<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<(i64, MotBox)> {
    rows.into_iter().map(|row| (row.id, row.bbox)).collect()
}

/// 2015: everything in the result counts, and what ground truth does not flag with 0.
pub(super) fn mot15(gt: &[Row], result: &[Row]) -> Scene {
    let counts = |row: &&Row| whole(row.confidence) != 0;
    Scene::of(Frames { gt, result }.map(|(gt, result)| [boxes(gt.iter().filter(counts)), boxes(result)]))
}

/// A row that has no place in a benchmark with classes.
pub(super) fn no_class(gt: &[Row]) -> Option<&Row> {
    gt.iter().find(|row| row.columns < 8 || !CLASSES.contains(&whole(row.extra[0])))
}

/// 2016 and later.
pub(super) fn mot16(gt: &[Row], result: &[Row], vehicles: bool) -> Scene {
    let distracts = |row: &Row| {
        let class = whole(row.extra[0]);
        DISTRACTORS.contains(&class) || vehicles && class == OTHER_VEHICLE
    };
    let counts = |row: &&Row| whole(row.confidence) != 0 && whole(row.extra[0]) == PEDESTRIAN;
    Scene::of(Frames { gt, result }.map(|(gt, result)| {
        let kept = off_distractors(gt, result, &distracts);
        let result = result.iter().zip(kept).filter(|(_, kept)| *kept).map(|(row, _)| row);
        [boxes(gt.iter().filter(counts)), boxes(result)]
    }))
}

/// By box of the result, whether it counts: the best pairs of all boxes are made, and those with a distractor fall out.
fn off_distractors(gt: &[Row], result: &[Row], distracts: &dyn Fn(&Row) -> bool) -> Vec<bool> {
    let mut kept = vec![true; result.len()];
    if gt.is_empty() || result.is_empty() {
        return kept;
    }
    let here = |rows: &[Row]| rows.iter().map(|row| row.bbox).collect::<Vec<_>>();
    let overlaps = Overlaps::of(&here(gt), &here(result));
    let cost = |iou: &f64| if *iou < ON - f64::EPSILON { 0.0 } else { -iou };
    let costs: Vec<f64> = overlaps.values.iter().map(cost).collect();
    for (row, col) in assign(&costs, overlaps.rows, overlaps.cols).into_iter().enumerate() {
        let Some(col) = col.filter(|col| -costs[row * overlaps.cols + col] > f64::EPSILON) else { continue };
        kept[col] = kept[col] && !distracts(&gt[row]);
    }
    kept
}

/// What is scored of a sequence of `VisDrone`'s: objects of `classes` outside ignored regions. A result without categories
/// counts whole.
pub(super) fn drone(gt: &[Row], result: &[Row], classes: &[i64], without_categories: bool) -> Scene {
    let class = |row: &Row| whole(row.extra[0]);
    // Score 0 is an object to be ignored, in the words of the toolkit.
    let is_region = |row: &&Row| matches!(class(row), REGION | OTHERS) || whole(row.confidence) == 0;
    Scene::of(Frames { gt, result }.map(|(gt, result)| {
        let regions: Vec<LabelBox> = gt.iter().filter(is_region).map(|row| label(&row.bbox)).collect();
        let outside = |row: &&Row| !lies_in(&label(&row.bbox), &regions);
        let objects = gt.iter().filter(|row| !is_region(row) && classes.contains(&class(row))).filter(outside);
        let counts = |row: &&Row| without_categories || classes.contains(&class(row));
        [boxes(objects), boxes(result.iter().filter(counts).filter(outside))]
    }))
}

fn label(bbox: &MotBox) -> LabelBox {
    LabelBox { x: bbox.left, y: bbox.top, width: bbox.width, height: bbox.height }
}

/// Whether half of a box or more lies in regions, taken together.
fn lies_in(bbox: &LabelBox, regions: &[LabelBox]) -> bool {
    let near: Vec<&LabelBox> = regions.iter().filter(|region| region.shared(bbox) > 0.0).collect();
    !near.is_empty() && bbox.is_sound() && covered(bbox, &near) >= 0.5 * bbox.area()
}
