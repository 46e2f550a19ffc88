//! The official COCO evaluation of boxes, after the reference evaluator's rules (`pycocotools.cocoeval`).
//!
//! Per image and class, detections by falling score take the free truth with the highest `IoU` of at least the threshold; a
//! truth that does not count (a crowd, or one outside of the range of areas) is taken only when no other fits, and the
//! detection does not count either. A crowd can be taken again and again, and its `IoU` is the share of the detection inside.
//! Over all images, precision is made monotonic from the right and read at 101 recalls.

use super::dataset::Dataset;
use super::predictions::Found;
use super::{Scored, dataset::Truth, real};

/// `IoU` thresholds, 0.50:0.05:0.95.
pub const THRESHOLDS: usize = 10;
/// Recalls at which precision is read, 0:0.01:1.
pub const RECALLS: usize = 101;
/// Area from which an object is medium, and large, square pixels.
pub const SMALL: f64 = 32.0 * 32.0;
/// Area from which an object is large, square pixels.
pub const LARGE: f64 = 96.0 * 96.0;

/// Areas that count, square pixels, both ends included: all, small, medium, large.
const AREAS: [[f64; 2]; 4] = [[0.0, 1e10], [0.0, SMALL], [SMALL, LARGE], [LARGE, 1e10]];

/// Detections an image and class, at most, for the three average recalls; the last goes for everything else.
pub const COCO_MAX_DETS: [usize; 3] = [1, 10, 100];
/// The same for images as crowded as `VisDrone`'s, whose own limit is 500.
pub const VISDRONE_MAX_DETS: [usize; 3] = [1, 10, 500];

/// The threshold's value, as numpy's `linspace(0.5, 0.95, 10)` has it.
fn threshold(index: usize) -> f64 {
    if index + 1 == THRESHOLDS { 0.95 } else { real(index) * ((0.95 - 0.5) / 9.0) + 0.5 }
}

/// The recall's value, as numpy's `linspace(0, 1, 101)` has it.
fn recall(index: usize) -> f64 {
    if index + 1 == RECALLS { 1.0 } else { real(index) * 0.01 }
}

/// A detection after matching.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Its score.
    pub score: f64,
    /// Its place in its image and class, from 0.
    rank: u32,
    /// A bit a threshold: it took a truth.
    matched: u16,
    /// A bit a threshold: it does not count.
    ignored: u16,
}

impl Ranked {
    /// At `IoU` 0.5: right, wrong, or neither.
    #[must_use]
    pub fn verdict(&self) -> Option<bool> {
        (self.ignored & 1 == 0).then_some(self.matched & 1 == 1)
    }
}

/// Average precision and recall; `None` where there is nothing to be found.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Figures {
    /// Mean over `IoU` 0.50:0.95.
    pub map50_95: Option<f64>,
    /// At `IoU` 0.50.
    pub map50: Option<f64>,
    /// At `IoU` 0.75.
    pub map75: Option<f64>,
    /// Of objects below 32² pixels.
    pub map_small: Option<f64>,
    /// Of objects of 32² to 96² pixels.
    pub map_medium: Option<f64>,
    /// Of objects above 96² pixels.
    pub map_large: Option<f64>,
    /// Average recall with one detection an image and class.
    pub ar_1: Option<f64>,
    /// With ten.
    pub ar_10: Option<f64>,
    /// With as many as count (100; 500 for `VisDrone`).
    pub ar_max: Option<f64>,
    /// Of objects below 32² pixels.
    pub ar_small: Option<f64>,
    /// Of objects of 32² to 96² pixels.
    pub ar_medium: Option<f64>,
    /// Of objects above 96² pixels.
    pub ar_large: Option<f64>,
}

impl Figures {
    fn fields(&mut self) -> [&mut Option<f64>; 12] {
        let Self { map50_95, map50, map75, map_small, map_medium, map_large, .. } = self;
        let Self { ar_1, ar_10, ar_max, ar_small, ar_medium, ar_large, .. } = self;
        [map50_95, map50, map75, map_small, map_medium, map_large, ar_1, ar_10, ar_max, ar_small, ar_medium, ar_large]
    }

    /// Every figure's mean over the classes that have it.
    fn mean_of(classes: impl Iterator<Item = Self>) -> Self {
        let mut sums = [(0.0, 0usize); 12];
        for mut class in classes {
            for (sum, value) in sums.iter_mut().zip(class.fields()) {
                if let Some(value) = value {
                    *sum = (sum.0 + *value, sum.1 + 1);
                }
            }
        }
        let mut mean = Self::default();
        for (field, (sum, count)) in mean.fields().into_iter().zip(sums) {
            *field = (count > 0).then(|| sum / real(count));
        }
        mean
    }
}

/// One class.
#[derive(Debug, Clone)]
pub struct ClassResult {
    /// Truths that count.
    pub truths: usize,
    /// Images with such a truth.
    pub images: usize,
    /// Its figures.
    pub figures: Figures,
    /// Precision at the 101 recalls, `IoU` 0.5.
    pub precision: Option<[f64; RECALLS]>,
    /// Its detections by falling score.
    pub ranked: Vec<Ranked>,
}

/// The whole.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Mean over the classes that have something to be found.
    pub overall: Figures,
    /// By class of the dataset.
    pub classes: Vec<ClassResult>,
}

/// What one image has of one class.
#[derive(Debug, Clone, Default)]
struct Cell {
    image: usize,
    truths: Vec<Truth>,
    boxes: Vec<Scored>,
}

/// Evaluates `found` on the images of `dataset` that `counts` says yes to, for the classes that `scored` says yes to.
#[must_use]
pub fn evaluate(
    dataset: &Dataset,
    found: &Found,
    max_dets: [usize; 3],
    counts: &dyn Fn(usize) -> bool,
    scored: &dyn Fn(usize) -> bool,
) -> Evaluation {
    let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); dataset.classes.len()];
    for (image, (truths, boxes)) in dataset.images.iter().map(|p| &p.truths).zip(found).enumerate() {
        if counts(image) {
            for truth in truths.iter().filter(|t| scored(t.class)) {
                cell(&mut cells[truth.class], image).truths.push(*truth);
            }
            for bbox in boxes.iter().filter(|b| scored(b.class)) {
                cell(&mut cells[bbox.class], image).boxes.push(*bbox);
            }
        }
    }
    let classes: Vec<ClassResult> = cells.into_iter().map(|cells| evaluate_class(cells, max_dets)).collect();
    Evaluation { overall: Figures::mean_of(classes.iter().map(|c| c.figures)), classes }
}

/// The cell of `image`, which is the last one or a new one.
fn cell(cells: &mut Vec<Cell>, image: usize) -> &mut Cell {
    if cells.last().is_none_or(|c| c.image != image) {
        cells.push(Cell { image, ..Cell::default() });
    }
    let last = cells.len() - 1;
    &mut cells[last]
}

fn evaluate_class(mut cells: Vec<Cell>, max_dets: [usize; 3]) -> ClassResult {
    let counting = |cell: &Cell| cell.truths.iter().filter(|t| !t.crowd).count();
    let [one, ten, most] = max_dets;
    let mut ranked: [Vec<Ranked>; 4] = Default::default();
    let mut positives = [0; 4];
    for cell in &mut cells {
        cell.boxes.sort_by(|a, b| by_falling(a.score, b.score));
        cell.boxes.truncate(most);
        let overlaps = overlaps(cell);
        for ((range, ranked), positives) in AREAS.iter().zip(&mut ranked).zip(&mut positives) {
            *positives += match_cell(cell, &overlaps, *range, ranked);
        }
    }
    for ranked in &mut ranked {
        ranked.sort_by(|a, b| by_falling(a.score, b.score));
    }
    let of = |area: usize| average_precision(&ranked[area], positives[area]);
    let recalled = |area: usize, most: usize| average_recall(&ranked[area], positives[area], most);
    let all = of(0);
    let mean = |curves: &[[f64; RECALLS]]| curves.iter().flatten().sum::<f64>() / real(curves.len() * RECALLS);
    let figures = Figures {
        map50_95: all.as_ref().map(|c| mean(&c[..])),
        map50: all.as_ref().map(|c| mean(&c[..1])),
        map75: all.as_ref().map(|c| mean(&c[5..6])),
        map_small: of(1).map(|c| mean(&c[..])),
        map_medium: of(2).map(|c| mean(&c[..])),
        map_large: of(3).map(|c| mean(&c[..])),
        ar_1: recalled(0, one),
        ar_10: recalled(0, ten),
        ar_max: recalled(0, most),
        ar_small: recalled(1, most),
        ar_medium: recalled(2, most),
        ar_large: recalled(3, most),
    };
    let [ranked, ..] = ranked;
    ClassResult {
        truths: cells.iter().map(counting).sum(),
        images: cells.iter().filter(|c| counting(c) > 0).count(),
        figures,
        precision: all.map(|c| c[0]),
        ranked,
    }
}

/// Falling order; equal scores keep theirs.
fn by_falling(a: f64, b: f64) -> std::cmp::Ordering {
    b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal)
}

/// For every box the truths that it overlaps by the lowest threshold or more, in their order; for a crowd the overlap is
/// the share of the box inside. Pairs below are never looked at, so only these are kept.
fn overlaps(cell: &Cell) -> Vec<Vec<(usize, f64)>> {
    let of_box = |b: &Scored| {
        let iou = |t: &Truth| {
            let shared = b.bbox.shared(&t.bbox);
            if shared <= 0.0 {
                return 0.0;
            }
            let own = b.bbox.area();
            shared / if t.crowd { own } else { own + t.bbox.area() - shared }
        };
        cell.truths.iter().map(iou).enumerate().filter(|(_, iou)| *iou >= threshold(0)).collect()
    };
    cell.boxes.iter().map(of_box).collect()
}

/// Matches one image's boxes, which are in falling order, for one range of areas. Appends them to `ranked` and returns
/// how many truths count.
fn match_cell(cell: &Cell, overlaps: &[Vec<(usize, f64)>], [least, most]: [f64; 2], ranked: &mut Vec<Ranked>) -> usize {
    let outside = |area: f64| area < least || area > most;
    let ignored: Vec<bool> = cell.truths.iter().map(|t| t.crowd || outside(t.area)).collect();
    let start = ranked.len();
    ranked.extend((0..).zip(&cell.boxes).map(|(rank, b)| Ranked { score: b.score, rank, matched: 0, ignored: 0 }));
    let mut taken = vec![false; cell.truths.len()];
    for index in 0..THRESHOLDS {
        taken.fill(false);
        let (bit, least_iou) = (1 << index, threshold(index).min(1.0 - 1e-10));
        for ((ranked, b), overlaps) in ranked[start..].iter_mut().zip(&cell.boxes).zip(overlaps) {
            // Of two equal overlaps the later truth is taken, as in the reference.
            let best = |ignored_ones: bool| {
                let free = overlaps.iter().filter(|(truth, iou)| {
                    ignored[*truth] == ignored_ones
                        && *iou >= least_iou
                        && (!taken[*truth] || cell.truths[*truth].crowd)
                });
                free.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(truth, _)| *truth)
            };
            match best(false).or_else(|| best(true)) {
                Some(truth) => {
                    taken[truth] = true;
                    ranked.matched |= bit;
                    ranked.ignored |= if ignored[truth] { bit } else { 0 };
                }
                None if outside(b.bbox.area()) => ranked.ignored |= bit,
                None => {}
            }
        }
    }
    ignored.iter().filter(|ignored| !**ignored).count()
}

/// Precision at each recall, a row a threshold; `None` without a truth.
fn average_precision(ranked: &[Ranked], positives: usize) -> Option<Box<[[f64; RECALLS]; THRESHOLDS]>> {
    if positives == 0 {
        return None;
    }
    let mut curves = Box::new([[0.0; RECALLS]; THRESHOLDS]);
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(ranked.len());
    for (index, curve) in curves.iter_mut().enumerate() {
        let bit = 1 << index;
        points.clear();
        let (mut right, mut wrong) = (0, 0);
        for ranked in ranked {
            // One that does not count repeats the point before, as in the reference.
            if ranked.ignored & bit == 0 {
                *(if ranked.matched & bit == 0 { &mut wrong } else { &mut right }) += 1;
            }
            points.push((real(right) / real(positives), real(right) / (real(right + wrong) + f64::EPSILON)));
        }
        for at in (1..points.len()).rev() {
            points[at - 1].1 = points[at - 1].1.max(points[at].1);
        }
        let mut at = 0;
        for (number, precision) in curve.iter_mut().enumerate() {
            at += points[at..].partition_point(|(reached, _)| *reached < recall(number));
            let Some((_, reached)) = points.get(at) else { break };
            *precision = *reached;
        }
    }
    Some(curves)
}

/// Recall reached by the first `most` of every image, mean over the thresholds; `None` without a truth.
fn average_recall(ranked: &[Ranked], positives: usize, most: usize) -> Option<f64> {
    let right = |bit: u16| {
        let counts = |r: &&Ranked| (r.rank as usize) < most && r.matched & bit != 0 && r.ignored & bit == 0;
        real(ranked.iter().filter(counts).count()) / real(positives)
    };
    (positives > 0).then(|| (0..THRESHOLDS).map(|index| right(1 << index)).sum::<f64>() / real(THRESHOLDS))
}

#[cfg(test)]
mod tests;
