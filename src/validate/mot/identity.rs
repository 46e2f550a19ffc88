//! Identity (Ristani and others 2016): which track of the result stands for which of ground truth over the whole sequence.

use std::collections::BTreeMap;

use super::clear::THRESHOLD;
use super::overlap::Overlaps;
use super::scene::{Frame, Scene};
use crate::assignment::assign;
use crate::validate::real;

/// Pairs of tracks that are compared at once, at most; a gigabyte. Benchmarks need less than a tenth of it.
const MOST_PAIRS: usize = 1 << 27;

/// Two tracks, and in how many frames they overlap.
type Together = ((usize, usize), usize);

/// What is counted; sequences add up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Identity {
    pub(super) tp: usize,
    pub(super) fp: usize,
    pub(super) fn_: usize,
}

/// Goes through a sequence: in how many frames two tracks overlap.
#[derive(Default)]
pub(super) struct Counter {
    /// By track of ground truth and of the result.
    together: BTreeMap<(usize, usize), usize>,
}

impl Counter {
    pub(super) fn add(&mut self, frame: &Frame, overlaps: &Overlaps) {
        for (row, gt) in frame.gt.iter().enumerate() {
            for (col, result) in frame.result.iter().enumerate() {
                if overlaps.at(row, col) >= THRESHOLD {
                    *self.together.entry((gt.track, result.track)).or_default() += 1;
                }
            }
        }
    }

    /// The pairs that find most, or how many tracks were too many.
    ///
    /// Tracks that never meet, not even through others, are assigned apart: the sum is the same, and it is whole numbers.
    pub(super) fn finish(self, scene: &Scene) -> Result<Identity, (usize, usize)> {
        let mut groups = Groups((0..scene.gt_tracks + scene.result_tracks).collect());
        for (gt, result) in self.together.keys() {
            groups.join(*gt, scene.gt_tracks + result);
        }
        let mut parts: BTreeMap<usize, Vec<Together>> = BTreeMap::new();
        for (pair, frames) in self.together {
            parts.entry(groups.of(pair.0)).or_default().push((pair, frames));
        }
        let tp = parts.values().map(|part| most(part)).sum::<Result<usize, _>>()?;
        Ok(Identity { tp, fp: scene.result_boxes - tp, fn_: scene.gt_boxes - tp })
    }
}

/// How many frames the best pairs have together.
fn most(part: &[Together]) -> Result<usize, (usize, usize)> {
    let numbered = |tracks: &mut dyn Iterator<Item = usize>| {
        let mut tracks: Vec<usize> = tracks.collect();
        tracks.sort_unstable();
        tracks.dedup();
        tracks
    };
    let gt = numbered(&mut part.iter().map(|((gt, _), _)| *gt));
    let result = numbered(&mut part.iter().map(|((_, result), _)| *result));
    if gt.len().saturating_mul(result.len()) > MOST_PAIRS {
        return Err((gt.len(), result.len()));
    }
    let place = |tracks: &[usize], track: usize| tracks.binary_search(&track).unwrap_or_default();
    let mut frames = vec![0; gt.len() * result.len()];
    for ((a, b), count) in part {
        frames[place(&gt, *a) * result.len() + place(&result, *b)] = *count;
    }
    let costs: Vec<f64> = frames.iter().map(|count| -real(*count)).collect();
    let columns = assign(&costs, gt.len(), result.len());
    Ok(columns.iter().enumerate().filter_map(|(row, col)| Some(frames[row * result.len() + (*col)?])).sum())
}

/// Tracks that meet, by the one that stands for the group.
struct Groups(Vec<usize>);

impl Groups {
    fn of(&mut self, mut track: usize) -> usize {
        while self.0[track] != track {
            self.0[track] = self.0[self.0[track]];
            track = self.0[track];
        }
        track
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b)] = a.min(b);
    }
}

impl Identity {
    pub(super) fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let add = |a: Self, b: &Self| Self { tp: a.tp + b.tp, fp: a.fp + b.fp, fn_: a.fn_ + b.fn_ };
        all.into_iter().fold(Self::default(), add)
    }

    pub(super) fn recall(&self) -> f64 {
        real(self.tp) / real((self.tp + self.fn_).max(1))
    }

    pub(super) fn precision(&self) -> f64 {
        real(self.tp) / real((self.tp + self.fp).max(1))
    }

    pub(super) fn f1(&self) -> f64 {
        real(self.tp) / (real(self.tp) + 0.5 * real(self.fp) + 0.5 * real(self.fn_)).max(1.0)
    }
}
