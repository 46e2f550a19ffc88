//! `PicoDet` (`PaddleDetection`, exported without its postprocessing): as `NanoDet`, with a fourth stride.

use super::PostprocessError;
use super::distances::decode_levels;
use super::reading::{Found, Reading};

/// Appends every cell whose best class is above the threshold.
pub(super) fn decode(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    decode_levels(reading, &[8, 16, 32, 64], found)
}
