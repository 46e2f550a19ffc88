//! `NanoDet`: class scores and distributions for strides 8, 16, 32, apart; a cell's point is its centre.
//! `NanoDet`-Plus: `[B,N,C+4R]` over strides 8, 16, 32, 64 in one; a cell's point is its upper left corner.

use super::PostprocessError;
use super::distances::{box_from, decode_levels};
use super::reading::{Found, Reading, cell_count, cells};
use crate::geometry::px;

/// Appends every cell whose best class is above the threshold.
pub(super) fn decode(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    decode_levels(reading, &[8, 16, 32], found)
}

/// The same for the one output of `NanoDet`-Plus.
pub(super) fn decode_plus(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    const STRIDES: [u32; 4] = [8, 16, 32, 64];
    let classes = reading.classes;
    let count = cell_count(reading.tensor, &STRIDES);
    let fits = |columns: usize| columns.checked_sub(classes).is_some_and(|d| d >= 8 && d % 4 == 0);
    let table = reading.table().filter(|t| t.rows == count && fits(t.columns));
    let table = table.ok_or_else(|| reading.wrong(format!("[B,{count},{classes}+4R]")))?;
    for ((stride, x, y), row) in cells(reading.tensor, &STRIDES).zip(table.data.chunks_exact(table.columns)) {
        let (scores, logits) = row.split_at(classes);
        if let Some((class_id, confidence)) = reading.best(scores, 1.0) {
            found.push(class_id, confidence, box_from(logits, px(x * stride), px(y * stride), stride));
        }
    }
    Ok(())
}
