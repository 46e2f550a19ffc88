//! NMS inside, as `TensorRT`'s `EfficientNMS` gives it: how many boxes `[B,1]`, boxes `[B,K,4]` (x1, y1, x2, y2 in input pixels),
//! scores `[B,K]`, classes `[B,K]` from 0.

use super::PostprocessError;
use super::reading::{Found, Reading};
use super::ssd::for_used;
use crate::geometry::ModelBox;

/// Appends every used box whose score is above the threshold.
pub(super) fn decode(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    for_used(reading, found, |b, class| (class, ModelBox::new(b[0], b[1], b[2], b[3])))
}
