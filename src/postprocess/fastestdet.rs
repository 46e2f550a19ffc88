//! `FastestDet`: one grid of stride 16; confidence is objectness^0.6 × class score^0.4, as its author's test has it.
//!
//! Decoded: `[B,N,5+C]`, cx, cy, w, h in input pixels, objectness, class scores. Raw: `[B,5+C,H/16,W/16]`, objectness, the
//! tangents of centre offsets, the logits of sizes, class scores.

use super::PostprocessError;
use super::reading::{Found, Reading, cells, grid};
use crate::geometry::{ModelBox, px};

const STRIDE: u32 = 16;

/// Appends every cell whose best class gives more than the threshold.
pub(super) fn decode(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    let width = reading.classes + 5;
    let (across, down) = grid(reading.tensor, STRIDE);
    let (columns, count) = (across as usize, across as usize * down as usize);
    let wrong = || reading.wrong(format!("[B,{count},{width}] or [B,{width},{down},{columns}]"));
    let [output] = reading.outputs else { return Err(wrong()) };
    if let &[batch, channels, height, wide] = output.shape {
        let fits = channels == width && height == down as usize && wide == columns;
        let start = reading.item.checked_mul(width * count).ok_or_else(wrong)?;
        let data = output.data.get(start..start + width * count).filter(|_| fits && reading.item < batch);
        let data = data.ok_or_else(wrong)?;
        let mut row = vec![0.0; width];
        for (cell, (_, x, y)) in cells(reading.tensor, &[STRIDE]).enumerate() {
            for (channel, value) in row.iter_mut().enumerate() {
                *value = data[channel * count + cell];
            }
            let [cx, cy] = [(row[1], x), (row[2], y)].map(|(offset, at)| (offset.tanh() + px(at)) * px(STRIDE));
            let [w, h] = [(row[3], across), (row[4], down)].map(|(logit, n)| px(n * STRIDE) / (1.0 + (-logit).exp()));
            push(reading, row[0], &row[5..], ModelBox::from_centre(cx, cy, w, h), found);
        }
        return Ok(());
    }
    let table = reading.table().filter(|t| t.rows == count && t.columns == width).ok_or_else(wrong)?;
    for row in table.data.chunks_exact(width) {
        push(reading, row[4], &row[5..], ModelBox::from_centre(row[0], row[1], row[2], row[3]), found);
    }
    Ok(())
}

fn push(reading: &Reading<'_>, objectness: f32, scores: &[f32], bbox: ModelBox, found: &mut Found) {
    let any = Reading { conf: 0.0, ..*reading };
    if let Some((class_id, score)) = any.best(scores, 1.0) {
        let confidence = objectness.powf(0.6) * score.powf(0.4);
        if confidence > reading.conf || confidence.is_nan() {
            found.push(class_id, confidence, bbox);
        }
    }
}
