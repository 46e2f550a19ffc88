//! From the model's output to boxes in the picture: one file a layout, then NMS and the way back to frame space.

pub mod merge;
mod nms;
mod yolov8;
mod yolox;

use crate::geometry::{Detection, Letterbox, ModelBox, Size};
use crate::model::Layout;
use crate::tensor::OutputView;

/// Candidates that NMS looks at, at most (the most confident ones), as in the reference implementation.
const MAX_CANDIDATES: usize = 30_000;

/// An output that does not have the layout's shape.
#[derive(Debug, thiserror::Error)]
#[error("the model's output has shape {found:?}, expected {expected}")]
pub struct PostprocessError {
    /// Dimensions that came.
    pub found: Vec<usize>,
    /// What the layout takes.
    pub expected: String,
}

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

/// A box before NMS.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    class_id: u16,
    confidence: f32,
    bbox: ModelBox,
}

/// Reads a layout's output; its buffers are reused from frame to frame.
#[derive(Debug)]
pub struct Postprocessor {
    layout: Layout,
    classes: usize,
    thresholds: Thresholds,
    candidates: Vec<Candidate>,
    kept: Vec<Candidate>,
    best: yolov8::Best,
    non_finite: u64,
}

impl Postprocessor {
    /// For `classes` classes in `layout`.
    #[must_use]
    pub fn new(layout: Layout, classes: usize, thresholds: Thresholds) -> Self {
        Self {
            layout,
            classes,
            thresholds,
            candidates: Vec::new(),
            kept: Vec::new(),
            best: yolov8::Best::default(),
            non_finite: 0,
        }
    }

    /// Appends what frame `item` of the batch shows to `out`, by falling confidence; boxes in source pixels, clipped.
    ///
    /// # Errors
    /// When the output does not have the layout's shape.
    pub fn run(
        &mut self,
        outputs: &[OutputView<'_>],
        item: usize,
        tensor: Size,
        letterbox: &Letterbox,
        out: &mut Vec<Detection>,
    ) -> Result<(), PostprocessError> {
        self.candidates.clear();
        let output =
            outputs.first().ok_or_else(|| PostprocessError { found: Vec::new(), expected: "one output".into() })?;
        match self.layout {
            Layout::Yolov8 => {
                let scale = [1.0, 1.0];
                yolov8::decode(
                    output,
                    item,
                    self.classes,
                    scale,
                    self.thresholds.conf,
                    &mut self.best,
                    &mut self.candidates,
                )?;
            }
            Layout::Yolox => {
                yolox::decode(output, item, self.classes, tensor, self.thresholds.conf, &mut self.candidates)?;
            }
        }
        if let Some(keep) = &self.thresholds.classes {
            self.candidates.retain(|c| keep.get(usize::from(c.class_id)).copied().unwrap_or(false));
        }
        let before = self.candidates.len();
        self.candidates.retain(|c| c.bbox.is_finite() && c.confidence.is_finite());
        self.non_finite += (before - self.candidates.len()) as u64;
        nms::suppress(&mut self.candidates, &self.thresholds, &mut self.kept);
        out.extend(self.kept.iter().filter_map(|c| {
            let bbox = letterbox.frame_from_model(&c.bbox);
            (bbox.area() > 0.0).then_some(Detection { class_id: c.class_id, confidence: c.confidence, bbox })
        }));
        Ok(())
    }

    /// Boxes dropped so far because they were not numbers.
    #[must_use]
    pub fn dropped_non_finite(&self) -> u64 {
        self.non_finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Placement;

    /// A published output of another implementation decodes to exactly its three boxes.
    #[test]
    fn nnstreamer_reference_has_three_boxes() {
        let root = std::env::var("STREAMDET_TEST_DATA")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").into());
        let path = format!("{root}/data/reference/nnstreamer/yolov8_decoder_input.raw");
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("skipped: {path} is not there");
            return;
        };
        let data: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let output = OutputView { name: "output", shape: &[1, 2100, 84], data: &data };
        let size = Size { width: 320, height: 320 };
        let mut candidates = Vec::new();
        yolov8::decode(&output, 0, 80, [320.0, 320.0], 0.25, &mut yolov8::Best::default(), &mut candidates)
            .expect("the layout fits");
        let thresholds = Thresholds { conf: 0.25, iou: 0.45, max_det: 300, agnostic: false, classes: None };
        let mut kept = Vec::new();
        nms::suppress(&mut candidates, &thresholds, &mut kept);
        let letterbox = Letterbox::fit(size, size, Placement::Centre);
        let expected = [
            (16, 0.9365, [126.1, 34.3, 312.1, 301.0]),
            (16, 0.7081, [5.2, 12.9, 96.9, 273.4]),
            (0, 0.6670, [99.3, 0.2, 225.0, 271.7]),
        ];
        assert_eq!(kept.len(), expected.len(), "{kept:?}");
        for (found, (class_id, confidence, corners)) in kept.iter().zip(expected) {
            let b = letterbox.frame_from_model(&found.bbox);
            assert_eq!(found.class_id, class_id);
            assert!((found.confidence - confidence).abs() < 1e-4, "{found:?}");
            for (a, e) in [b.x1, b.y1, b.x2, b.y2].iter().zip(corners) {
                assert!((a - e).abs() < 0.1, "{b:?} against {corners:?}");
            }
        }
    }
}
