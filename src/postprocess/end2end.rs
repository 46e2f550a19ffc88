//! Boxes chosen inside the model: `[B,K,6]`, x1, y1, x2, y2 in input pixels, score, class. `YOLOv10` and `YOLO26`, and exports
//! of others with NMS. Columns after those (masks, keypoints) are passed over.
//!
//! Rotated boxes are cx, cy, w, h, score, class, and their angle in radians.

use super::PostprocessError;
use super::reading::{Found, Reading};
use super::yolov8::{Angle, hull};
use crate::geometry::ModelBox;

/// Appends every box whose score is above the threshold; rows that are not used have a score of 0.
pub(super) fn decode(reading: &Reading<'_>, angle: Angle, found: &mut Found) -> Result<(), PostprocessError> {
    let least = if angle == Angle::Last { 7 } else { 6 };
    let table = reading.table().filter(|t| t.columns >= least);
    let table = table.ok_or_else(|| reading.wrong(format!("[B,K,{least}]")))?;
    for row in table.data.chunks_exact(table.columns) {
        let bbox = match angle {
            Angle::None => ModelBox::new(row[0], row[1], row[2], row[3]),
            Angle::Last => hull(row[0], row[1], row[2], row[3], row[6]),
        };
        reading.chosen(row[5], row[4], bbox, found);
    }
    Ok(())
}
