//! Boxes as `NanoDet` and `PicoDet` give them: for each side a distribution over distances from the cell's point, in strides
//! (Generalized Focal Loss, <https://arxiv.org/abs/2006.04388>).

use super::PostprocessError;
use super::reading::{Found, Reading, grid};
use crate::geometry::{ModelBox, px};

/// The box around `x`, `y` from four distributions (logits over whole numbers of strides from 0): left, top, right, bottom.
pub(super) fn box_from(logits: &[f32], x: f32, y: f32, stride: u32) -> ModelBox {
    let steps = (logits.len() / 4).max(1);
    let mut sides = [0.0; 4];
    for (side, logits) in sides.iter_mut().zip(logits.chunks_exact(steps)) {
        *side = expectation(logits) * px(stride);
    }
    let [left, top, right, bottom] = sides;
    ModelBox::new(x - left, y - top, x + right, y + bottom)
}

/// The mean of 0, 1, 2, … under the softmax of `logits`.
fn expectation(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (step, logit) in (0u16..).zip(logits) {
        let weight = (logit - largest).exp();
        sum += weight;
        weighted += weight * f32::from(step);
    }
    weighted / sum
}

/// Reads class scores `[B,N,C]` and distributions `[B,N,4R]`, one of each a stride: the scores in the first half of the
/// outputs, in the order of the strides. A cell's point is its centre.
pub(super) fn decode_levels(reading: &Reading<'_>, strides: &[u32], found: &mut Found) -> Result<(), PostprocessError> {
    let classes = reading.classes;
    let wrong = || {
        let count = strides.len();
        reading
            .wrong(format!("{count} outputs [B,N,{classes}] and {count} [B,N,4R], N the cells of strides {strides:?},"))
    };
    if reading.outputs.len() != 2 * strides.len() {
        return Err(wrong());
    }
    let (scores, distances) = reading.outputs.split_at(strides.len());
    for ((stride, scores), distances) in strides.iter().zip(scores).zip(distances) {
        let (across, down) = grid(reading.tensor, *stride);
        let count = across as usize * down as usize;
        let scores = reading.table_of(scores).filter(|t| t.rows == count && t.columns == classes);
        let distances = reading.table_of(distances).filter(|t| t.rows == count && t.columns >= 8 && t.columns % 4 == 0);
        let (scores, distances) = scores.zip(distances).ok_or_else(wrong)?;
        let cells = (0..down).flat_map(|y| (0..across).map(move |x| (x, y)));
        let rows = scores.data.chunks_exact(classes.max(1)).zip(distances.data.chunks_exact(distances.columns));
        for ((x, y), (scores, logits)) in cells.zip(rows) {
            if let Some((class_id, confidence)) = reading.best(scores, 1.0) {
                let [x, y] = [x, y].map(|n| (px(n) + 0.5) * px(*stride));
                found.push(class_id, confidence, box_from(logits, x, y, *stride));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certain_distribution_is_its_step_and_an_even_one_the_middle() {
        let mut logits = [0.0; 32];
        logits[3] = 60.0;
        logits[8 + 1] = 60.0;
        logits[16] = 60.0;
        let b = box_from(&logits, 100.0, 50.0, 8);
        for (is, should) in [b.x1, b.y1, b.x2, b.y2].iter().zip([76.0, 42.0, 100.0, 50.0 + 3.5 * 8.0]) {
            assert!((is - should).abs() < 1e-3, "{b:?}");
        }
    }
}
