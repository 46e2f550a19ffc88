//! `YOLOv5`, v6 and v7: `[B,N,5+C]`, centre and size in input pixels, objectness, class scores 0..1; confidence is their product.

use super::PostprocessError;
use super::reading::{Found, Reading};
use crate::geometry::ModelBox;

/// Appends every anchor whose best class, times its objectness, is above the threshold. Columns after the classes (masks)
/// are passed over.
pub(super) fn decode(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    let width = reading.classes + 5;
    let table = reading.table().filter(|t| t.columns >= width);
    let table = table.ok_or_else(|| reading.wrong(format!("[B,N,{width}]")))?;
    for row in table.data.chunks_exact(table.columns) {
        // No class is more than certain: most anchors end here.
        if row[4] <= reading.conf {
            continue;
        }
        if let Some((class_id, confidence)) = reading.best(&row[5..width], row[4]) {
            found.push(class_id, confidence, ModelBox::from_centre(row[0], row[1], row[2], row[3]));
        }
    }
    Ok(())
}
