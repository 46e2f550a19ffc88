//! The DETR family, whose queries need no NMS.
//!
//! RT-DETR, D-FINE, DEIM: labels `[B,K]`, boxes `[B,K,4]` (x1, y1, x2, y2, scaled to the sizes given: the tensor's) and scores
//! `[B,K]`; for one frame also without B. Ultralytics' RT-DETR: `[B,K,4+C]`, cx, cy, w, h in 0..1, and class scores.

use super::PostprocessError;
use super::reading::{Found, Reading};
use crate::geometry::{ModelBox, px};
use crate::model::layout::Role;

/// Appends every query whose score is above the threshold.
pub(super) fn decode(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    let width = reading.classes + 4;
    let wrong = || reading.wrong(format!("labels [B,K], boxes [B,K,4], scores [B,K]; or [B,K,{width}]"));
    let roles = [Role::Boxes, Role::Scores, Role::Classes].map(|role| reading.role(role));
    if let [Some(boxes), Some(scores), Some(labels)] = roles {
        if labels.len() != scores.len() || boxes.len() != 4 * scores.len() {
            return Err(wrong());
        }
        for ((b, score), label) in boxes.chunks_exact(4).zip(scores).zip(labels) {
            reading.chosen(*label, *score, ModelBox::new(b[0], b[1], b[2], b[3]), found);
        }
        return Ok(());
    }
    let table = reading.table().filter(|t| t.columns == width).ok_or_else(wrong)?;
    let (across, down) = (px(reading.tensor.width), px(reading.tensor.height));
    for row in table.data.chunks_exact(width) {
        if let Some((class_id, score)) = reading.best(&row[4..], 1.0) {
            let bbox = ModelBox::from_centre(row[0] * across, row[1] * down, row[2] * across, row[3] * down);
            found.push(class_id, score, bbox);
        }
    }
    Ok(())
}
