//! Detections on their way out: JSON Lines, labels, cut-outs.

pub mod crops;
pub mod json;
pub mod labels;
