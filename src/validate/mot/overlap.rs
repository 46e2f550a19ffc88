//! IoU of all boxes of a frame with all others.
//!
//! TrackEval's figures go by the last bit where boxes tie or lie at a threshold. So these are its operations in its order,
//! sums included, which are NumPy's.

use super::scene::Frame;
use crate::mot::MotBox;

/// IoU of ground truth (rows) and result (columns).
#[derive(Debug, Clone, Default)]
pub(super) struct Overlaps {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Row by row.
    pub(super) values: Vec<f64>,
}

impl Overlaps {
    pub(super) fn of(gt: &[MotBox], result: &[MotBox]) -> Self {
        let values = gt.iter().flat_map(|a| result.iter().map(|b| iou(a, b))).collect();
        Self { rows: gt.len(), cols: result.len(), values }
    }

    pub(super) fn within(frame: &Frame) -> Self {
        let values = frame.gt.iter().flat_map(|a| frame.result.iter().map(|b| iou(&a.bbox, &b.bbox))).collect();
        Self { rows: frame.gt.len(), cols: frame.result.len(), values }
    }

    pub(super) fn at(&self, row: usize, col: usize) -> f64 {
        self.values[row * self.cols + col]
    }

    /// The sum of every row.
    pub(super) fn row_sums(&self) -> Vec<f64> {
        if self.cols == 0 {
            return vec![0.0; self.rows];
        }
        self.values.chunks(self.cols).map(sum).collect()
    }

    /// The sum of every column.
    pub(super) fn col_sums(&self) -> Vec<f64> {
        if self.cols == 1 {
            // It lies in memory as a row does.
            return vec![sum(&self.values)];
        }
        let mut sums = vec![0.0; self.cols];
        for row in self.values.chunks(self.cols.max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        sums
    }
}

/// As NumPy sums what lies side by side: in eight strands, in halves from 128 on.
pub(super) fn sum(values: &[f64]) -> f64 {
    if values.len() < 8 {
        return values.iter().fold(0.0, |sum, value| sum + value);
    }
    if values.len() > 128 {
        let half = values.len() / 2;
        let (a, b) = values.split_at(half - half % 8);
        return sum(a) + sum(b);
    }
    let (strands, rest) = values.as_chunks::<8>();
    let mut r = [0.0; 8];
    for strand in strands {
        r.iter_mut().zip(strand).for_each(|(r, value)| *r += value);
    }
    let whole = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    rest.iter().fold(whole, |sum, value| sum + value)
}

/// Intersection over union; 0 where a box has no area.
pub(super) fn iou(a: &MotBox, b: &MotBox) -> f64 {
    let (a_right, a_bottom, b_right, b_bottom) =
        (a.left + a.width, a.top + a.height, b.left + b.width, b.top + b.height);
    let across = (a_right.min(b_right) - a.left.max(b.left)).max(0.0);
    let down = (a_bottom.min(b_bottom) - a.top.max(b.top)).max(0.0);
    let shared = across * down;
    let a_area = (a_right - a.left) * (a_bottom - a.top);
    let b_area = (b_right - b.left) * (b_bottom - b.top);
    let union = a_area + b_area - shared;
    if a_area <= f64::EPSILON || b_area <= f64::EPSILON || union <= f64::EPSILON { 0.0 } else { shared / union }
}
