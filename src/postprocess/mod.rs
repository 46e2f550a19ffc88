//! From the model's output to boxes in the frame: one file a layout, then NMS and the way back to frame space.

mod detr;
mod distances;
mod efficient_nms;
mod end2end;
mod error;
mod fastestdet;
#[cfg(test)]
mod fuzz;
pub mod merge;
mod nanodet;
mod nms;
mod picodet;
#[cfg(test)]
mod properties;
mod reading;
mod ssd;
mod thresholds;
mod yolov5;
mod yolov8;
mod yolox;

use crate::detection::Detection;
use crate::geometry::{Letterbox, Size};
use crate::model::Layout;
use crate::tensor::OutputView;
use reading::{Candidate, Found, Reading};
use yolov8::Angle;

pub use error::PostprocessError;
pub use thresholds::Thresholds;

/// Reads a layout's output; its buffers are reused from frame to frame.
#[derive(Debug)]
pub struct Postprocessor {
    layout: Layout,
    classes: usize,
    found: Found,
    kept: Vec<Candidate>,
    non_finite: u64,
}

impl Postprocessor {
    /// For `classes` classes in `layout`.
    #[must_use]
    pub fn new(layout: Layout, classes: usize) -> Self {
        Self { layout, classes, found: Found::default(), kept: Vec::new(), non_finite: 0 }
    }

    /// Appends what frame `item` of the batch shows within `thresholds` to `out`, by falling confidence; boxes in source pixels, clipped.
    ///
    /// # Errors
    /// When the outputs do not have the layout's shapes.
    pub fn run(
        &mut self,
        outputs: &[OutputView<'_>],
        item: usize,
        tensor: Size,
        letterbox: &Letterbox,
        thresholds: &Thresholds,
        out: &mut Vec<Detection>,
    ) -> Result<(), PostprocessError> {
        let found = &mut self.found;
        found.candidates.clear();
        let reading = Reading { outputs, item, classes: self.classes, tensor, conf: thresholds.conf };
        match self.layout {
            Layout::Yolov5 | Layout::Yolov6 => yolov5::decode(&reading, found),
            Layout::Yolov8 => yolov8::decode(&reading, Angle::None, found),
            Layout::Yolov8Obb => yolov8::decode(&reading, Angle::Last, found),
            Layout::Yolox => yolox::decode(&reading, found),
            Layout::End2end => end2end::decode(&reading, Angle::None, found),
            Layout::End2endObb => end2end::decode(&reading, Angle::Last, found),
            Layout::Nanodet => nanodet::decode(&reading, found),
            Layout::NanodetPlus => nanodet::decode_plus(&reading, found),
            Layout::Picodet => picodet::decode(&reading, found),
            Layout::Fastestdet => fastestdet::decode(&reading, found),
            Layout::Detr => detr::decode(&reading, found),
            Layout::Ssd => ssd::decode(&reading, found),
            Layout::EfficientNms => efficient_nms::decode(&reading, found),
        }?;
        let candidates = &mut found.candidates;
        if let Some(keep) = &thresholds.classes {
            candidates.retain(|c| keep.get(usize::from(c.class_id)).copied().unwrap_or(false));
        }
        let before = candidates.len();
        candidates.retain(|c| c.bbox.is_finite() && c.confidence.is_finite());
        self.non_finite += (before - candidates.len()) as u64;
        // A box without an inside shows nothing, and shall not take the place of one that does.
        candidates.retain(|c| c.bbox.area() > 0.0);
        if self.layout.needs_nms() {
            nms::suppress(candidates, thresholds, &mut self.kept);
        } else {
            nms::choose(candidates, thresholds, &mut self.kept);
        }
        out.extend(self.kept.iter().filter_map(|c| {
            let bbox = letterbox.frame_from_model(&c.bbox);
            let confidence = c.confidence.min(1.0);
            (bbox.area() > 0.0).then_some(Detection { class_id: c.class_id, confidence, bbox, track: None })
        }));
        Ok(())
    }

    /// Boxes dropped so far because they or their confidence were not numbers.
    #[must_use]
    pub fn dropped_non_finite(&self) -> u64 {
        self.non_finite
    }

    /// Boxes dropped so far because the model is not known to have their class.
    #[must_use]
    pub fn dropped_unknown(&self) -> u64 {
        self.found.unknown
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
            crate::text::skipped(&format!("{path} is not there"));
            return;
        };
        let data: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        // Its boxes are normalised.
        let data: Vec<f32> = data.iter().enumerate().map(|(at, v)| if at % 84 < 4 { v * 320.0 } else { *v }).collect();
        let output = OutputView { name: "output", shape: &[1, 2100, 84], data: &data };
        let size = Size { width: 320, height: 320 };
        let thresholds = Thresholds { conf: 0.25, iou: 0.45, max_det: 300, agnostic: false, classes: None };
        let letterbox = Letterbox::fit(size, size, Placement::Centre);
        let mut kept = Vec::new();
        Postprocessor::new(Layout::Yolov8, 80)
            .run(&[output], 0, size, &letterbox, &thresholds, &mut kept)
            .expect("the layout fits");
        let expected = [
            (16, 0.9365, [126.1, 34.3, 312.1, 301.0]),
            (16, 0.7081, [5.2, 12.9, 96.9, 273.4]),
            (0, 0.6670, [99.3, 0.2, 225.0, 271.7]),
        ];
        assert_eq!(kept.len(), expected.len(), "{kept:?}");
        for (found, (class_id, confidence, corners)) in kept.iter().zip(expected) {
            let b = found.bbox;
            assert_eq!(found.class_id, class_id);
            assert!((found.confidence - confidence).abs() < 1e-4, "{found:?}");
            for (a, e) in [b.x1, b.y1, b.x2, b.y2].iter().zip(corners) {
                assert!((a - e).abs() < 0.1, "{b:?} against {corners:?}");
            }
        }
    }
}
