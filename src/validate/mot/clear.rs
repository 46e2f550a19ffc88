//! CLEAR MOT (Bernardin, Stiefelhagen 2008), as TrackEval has it: a pair of the frame before is preferred, no older one.

use super::overlap::Overlaps;
use super::scene::{Frame, Scene};
use crate::assignment::assign;
use crate::validate::real;

/// IoU from which on two boxes can be a pair.
pub(super) const THRESHOLD: f64 = 0.5;
/// What a pair of the frame before is worth more than any other.
const CONTINUED: f64 = 1000.0;

/// What is counted; sequences add up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clear {
    pub(super) tp: usize,
    pub(super) fp: usize,
    pub(super) fn_: usize,
    pub(super) idsw: usize,
    pub(super) frag: usize,
    pub(super) mt: usize,
    pub(super) pt: usize,
    pub(super) ml: usize,
    /// IoU of all pairs together.
    pub(super) overlap: f64,
}

/// A track of ground truth.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    frames: usize,
    found: usize,
    /// How often it was found after a frame where it was not.
    starts: usize,
    /// The result's track that found it last, and in the frame before.
    last: Option<usize>,
    before: Option<usize>,
}

/// Goes through a sequence.
pub(super) struct Counter {
    counts: Clear,
    lives: Vec<Life>,
    /// Tracks with a pair in the frame before.
    paired: Vec<usize>,
    costs: Vec<f64>,
}

impl Counter {
    pub(super) fn new(scene: &Scene) -> Self {
        let lives = vec![Life::default(); scene.gt_tracks];
        Self { counts: Clear::default(), lives, paired: Vec::new(), costs: Vec::new() }
    }

    /// Counts a frame. One without ground truth, or without result, leaves the pairs of the one before as they are.
    pub(super) fn add(&mut self, frame: &Frame, overlaps: &Overlaps) {
        for gt in &frame.gt {
            self.lives[gt.track].frames += 1;
        }
        if frame.gt.is_empty() || frame.result.is_empty() {
            self.counts.fp += frame.result.len();
            self.counts.fn_ += frame.gt.len();
            return;
        }
        self.costs.clear();
        for (gt, row) in frame.gt.iter().zip(overlaps.values.chunks(overlaps.cols)) {
            let before = self.lives[gt.track].before;
            let cost = |(result, iou): (usize, &f64)| {
                let continued = before == Some(result);
                // Added up even where it is 0: bits count.
                let score = if continued { CONTINUED + iou } else { *iou };
                if *iou < THRESHOLD - f64::EPSILON { 0.0 } else { -score }
            };
            self.costs.extend(frame.result.iter().map(|r| r.track).zip(row).map(cost));
        }
        let columns = assign(&self.costs, overlaps.rows, overlaps.cols);
        let pairs: Vec<(usize, usize)> = columns
            .into_iter()
            .enumerate()
            .filter_map(|(row, col)| Some((row, col?)))
            .filter(|(row, col)| -self.costs[row * overlaps.cols + col] > f64::EPSILON)
            .collect();
        let was: Vec<Option<usize>> = pairs.iter().map(|(row, _)| self.lives[frame.gt[*row].track].before).collect();
        for track in self.paired.drain(..) {
            self.lives[track].before = None;
        }
        let mut overlap = 0.0;
        for ((row, col), was) in pairs.iter().zip(was) {
            let (gt, result) = (frame.gt[*row].track, frame.result[*col].track);
            let life = &mut self.lives[gt];
            life.found += 1;
            self.counts.idsw += usize::from(life.last.is_some_and(|last| last != result));
            life.starts += usize::from(was.is_none());
            (life.last, life.before) = (Some(result), Some(result));
            self.paired.push(gt);
            overlap += overlaps.at(*row, *col);
        }
        self.counts.overlap += overlap;
        self.counts.tp += pairs.len();
        self.counts.fn_ += frame.gt.len() - pairs.len();
        self.counts.fp += frame.result.len() - pairs.len();
    }

    pub(super) fn finish(self, scene: &Scene) -> Clear {
        let mut counts = self.counts;
        if scene.gt_boxes == 0 || scene.result_boxes == 0 {
            counts.ml = scene.gt_tracks;
            return counts;
        }
        for life in self.lives {
            let share = real(life.found) / real(life.frames);
            let kind = match share {
                share if share > 0.8 => &mut counts.mt,
                share if share >= 0.2 => &mut counts.pt,
                _ => &mut counts.ml,
            };
            *kind += 1;
            counts.frag += life.starts.saturating_sub(1);
        }
        counts
    }
}

impl Clear {
    pub(super) fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        all.into_iter().fold(Self::default(), |a, b| Self {
            tp: a.tp + b.tp,
            fp: a.fp + b.fp,
            fn_: a.fn_ + b.fn_,
            idsw: a.idsw + b.idsw,
            frag: a.frag + b.frag,
            mt: a.mt + b.mt,
            pt: a.pt + b.pt,
            ml: a.ml + b.ml,
            overlap: a.overlap + b.overlap,
        })
    }

    pub(super) fn mota(&self) -> f64 {
        (real(self.tp) - real(self.fp) - real(self.idsw)) / real((self.tp + self.fn_).max(1))
    }

    pub(super) fn motp(&self) -> f64 {
        self.overlap / real(self.tp.max(1))
    }
}
