//! HOTA (Luiten and others 2020): detection and association, each at IoU thresholds from 0.05 to 0.95.

use std::collections::BTreeMap;

use super::overlap::{Overlaps, sum};
use super::scene::{Frame, Scene};
use crate::assignment::assign;
use crate::validate::real;

/// Thresholds: 0.05 to 0.95, 0.05 apart.
pub(super) const ALPHAS: usize = 19;

/// A figure at every threshold.
pub(super) type ByAlpha = [f64; ALPHAS];

/// What a sequence, or several together, are worth.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hota {
    pub(super) tp: ByAlpha,
    pub(super) fp: ByAlpha,
    pub(super) fn_: ByAlpha,
    pub(super) ass_a: ByAlpha,
    pub(super) ass_re: ByAlpha,
    pub(super) ass_pr: ByAlpha,
    pub(super) loc_a: ByAlpha,
}

/// First pass: how well the tracks align as wholes.
pub(super) struct Alignment {
    /// By track of ground truth and of the result: shares of IoU, summed up.
    shares: BTreeMap<(usize, usize), f64>,
    gt: Vec<usize>,
    result: Vec<usize>,
}

impl Alignment {
    pub(super) fn new(scene: &Scene) -> Self {
        Self { shares: BTreeMap::new(), gt: vec![0; scene.gt_tracks], result: vec![0; scene.result_tracks] }
    }

    pub(super) fn add(&mut self, frame: &Frame, overlaps: &Overlaps) {
        let (rows, cols) = (overlaps.row_sums(), overlaps.col_sums());
        for (row, gt) in frame.gt.iter().enumerate() {
            self.gt[gt.track] += 1;
            for (col, result) in frame.result.iter().enumerate() {
                let iou = overlaps.at(row, col);
                let all = cols[col] + rows[row] - iou;
                if iou > 0.0 && all > f64::EPSILON {
                    *self.shares.entry((gt.track, result.track)).or_default() += iou / all;
                }
            }
        }
        for result in &frame.result {
            self.result[result.track] += 1;
        }
    }

    /// The Jaccard index of two tracks.
    fn score(&self, gt: usize, result: usize) -> f64 {
        let share = self.shares.get(&(gt, result)).copied().unwrap_or(0.0);
        share / (real(self.gt[gt] + self.result[result]) - share)
    }
}

/// Second pass: pairs of boxes, by what their tracks are to each other.
pub(super) struct Counter {
    alignment: Alignment,
    counts: Hota,
    /// By pair of tracks: how often they are a pair, by threshold.
    matches: BTreeMap<(usize, usize), [u32; ALPHAS]>,
    costs: Vec<f64>,
}

/// The threshold of that number.
pub(super) fn alpha(number: usize) -> f64 {
    0.05 + real(number) * 0.05
}

impl Counter {
    pub(super) fn new(alignment: Alignment) -> Self {
        Self { alignment, counts: Hota::default(), matches: BTreeMap::new(), costs: Vec::new() }
    }

    pub(super) fn add(&mut self, frame: &Frame, overlaps: &Overlaps) {
        let pairs =
            if frame.gt.is_empty() || frame.result.is_empty() { Vec::new() } else { self.pairs(frame, overlaps) };
        for number in 0..ALPHAS {
            let (mut count, mut overlap) = (0, 0.0);
            for (row, col) in &pairs {
                let iou = overlaps.at(*row, *col);
                if iou >= alpha(number) - f64::EPSILON {
                    count += 1;
                    overlap += iou;
                    let tracks = (frame.gt[*row].track, frame.result[*col].track);
                    self.matches.entry(tracks).or_default()[number] += 1;
                }
            }
            self.counts.tp[number] += real(count);
            self.counts.fn_[number] += real(frame.gt.len() - count);
            self.counts.fp[number] += real(frame.result.len() - count);
            self.counts.loc_a[number] += overlap;
        }
    }

    fn pairs(&mut self, frame: &Frame, overlaps: &Overlaps) -> Vec<(usize, usize)> {
        self.costs.clear();
        for (gt, row) in frame.gt.iter().zip(overlaps.values.chunks(overlaps.cols)) {
            let alignment = &self.alignment;
            let cost = |(iou, result): (&f64, &super::scene::Tracked)| {
                if *iou > 0.0 { -(alignment.score(gt.track, result.track) * iou) } else { 0.0 }
            };
            self.costs.extend(row.iter().zip(&frame.result).map(cost));
        }
        let columns = assign(&self.costs, overlaps.rows, overlaps.cols);
        columns.into_iter().enumerate().filter_map(|(row, col)| Some((row, col?))).collect()
    }

    pub(super) fn finish(self, scene: &Scene) -> Hota {
        let mut counts = self.counts;
        if scene.gt_boxes == 0 || scene.result_boxes == 0 {
            counts.loc_a = [1.0; ALPHAS];
            return counts;
        }
        for number in 0..ALPHAS {
            let (mut a, mut re, mut pr) = (0.0, 0.0, 0.0);
            for ((gt, result), matches) in &self.matches {
                let count = f64::from(matches[number]);
                let (gt, result) = (real(self.alignment.gt[*gt]), real(self.alignment.result[*result]));
                a += count * (count / (gt + result - count).max(1.0));
                re += count * (count / gt.max(1.0));
                pr += count * (count / result.max(1.0));
            }
            let found = counts.tp[number].max(1.0);
            (counts.ass_a[number], counts.ass_re[number], counts.ass_pr[number]) = (a / found, re / found, pr / found);
            counts.loc_a[number] = counts.loc_a[number].max(1e-10) / counts.tp[number].max(1e-10);
        }
        counts
    }
}

impl Hota {
    /// Several sequences as one: counts add up, association and localisation are weighted by what was found.
    pub(super) fn sum(all: &[&Self]) -> Self {
        let added = |of: fn(&Self) -> &ByAlpha| {
            std::array::from_fn::<f64, ALPHAS, _>(|number| all.iter().map(|one| of(one)[number]).sum())
        };
        let weighted = |of: fn(&Self) -> &ByAlpha| {
            std::array::from_fn::<f64, ALPHAS, _>(|n| all.iter().map(|one| of(one)[n] * one.tp[n]).sum())
        };
        let tp = added(|one| &one.tp);
        let mean = |sums: ByAlpha| std::array::from_fn(|n| sums[n] / tp[n].max(1.0));
        let located = weighted(|one| &one.loc_a);
        Self {
            tp,
            fp: added(|one| &one.fp),
            fn_: added(|one| &one.fn_),
            ass_a: mean(weighted(|one| &one.ass_a)),
            ass_re: mean(weighted(|one| &one.ass_re)),
            ass_pr: mean(weighted(|one| &one.ass_pr)),
            loc_a: std::array::from_fn(|n| located[n].max(1e-10) / tp[n].max(1e-10)),
        }
    }

    pub(super) fn det_a(&self) -> ByAlpha {
        std::array::from_fn(|n| self.tp[n] / (self.tp[n] + self.fn_[n] + self.fp[n]).max(1.0))
    }

    pub(super) fn det_re(&self) -> ByAlpha {
        std::array::from_fn(|n| self.tp[n] / (self.tp[n] + self.fn_[n]).max(1.0))
    }

    pub(super) fn det_pr(&self) -> ByAlpha {
        std::array::from_fn(|n| self.tp[n] / (self.tp[n] + self.fp[n]).max(1.0))
    }

    pub(super) fn hota(&self) -> ByAlpha {
        let det_a = self.det_a();
        std::array::from_fn(|n| (det_a[n] * self.ass_a[n]).sqrt())
    }
}

/// The mean over the thresholds.
pub(super) fn mean(figures: &ByAlpha) -> f64 {
    sum(figures) / real(ALPHAS)
}
