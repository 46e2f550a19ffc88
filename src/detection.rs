//! What the model finds.

use crate::geometry::FrameBox;

/// One detected object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Index into the model's class names.
    pub class_id: u16,
    /// Confidence, `0..=1`.
    pub confidence: f32,
    /// Where, in source pixels, clipped to the picture.
    pub bbox: FrameBox,
}
