//! Which of the candidates are detections.

/// What is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// Confidence above which a box counts.
    pub conf: f32,
    /// `IoU` above which the less certain of two boxes goes.
    pub iou: f32,
    /// Boxes kept a frame.
    pub max_det: usize,
    /// NMS across classes.
    pub agnostic: bool,
    /// Classes to keep, by id; `None`: all.
    pub classes: Option<Vec<bool>>,
}
