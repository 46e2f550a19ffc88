//! The output layouts that are known, by name, and how each one's frames are made where no card says otherwise.

use crate::geometry::Placement;
use crate::tensor::{ChannelOrder, InputSpec};

/// Output layouts; each has its file under `postprocess/`. `B` frames, `C` classes, `N` anchors or grid cells, `K` boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `YOLOv5` and v7: `[B,N,5+C]`, cx, cy, w, h in input pixels, objectness, class scores.
    Yolov5,
    /// `YOLOv6`: the same, where the rows are the grid cells of strides 8, 16, 32 (and 64), and objectness is 1.
    Yolov6,
    /// `YOLOv8`, v9, v11, v12: `[B,4+C,N]`, cx, cy, w, h in input pixels, class scores (also `[B,N,4+C]`).
    Yolov8,
    /// The same with the box's angle as a last channel.
    #[serde(rename = "yolov8-obb")]
    Yolov8Obb,
    /// YOLOX: `[B,N,5+C]`, raw (grid offsets and log sizes) or decoded (input pixels), objectness, class scores.
    Yolox,
    /// `YOLOv10`, `YOLO26`, exports with NMS: `[B,K,6]`, x1, y1, x2, y2 in input pixels, score, class.
    End2end,
    /// The same with cx, cy, w, h, and the box's angle as a last channel.
    #[serde(rename = "end2end-obb")]
    End2endObb,
    /// `NanoDet`: for strides 8, 16, 32 class scores `[B,N,C]`, then distributions of distances `[B,N,4R]`.
    Nanodet,
    /// `NanoDet`-Plus: `[B,N,C+4R]` over strides 8, 16, 32, 64.
    #[serde(rename = "nanodet-plus")]
    NanodetPlus,
    /// `PicoDet`: as `NanoDet`, for strides 8, 16, 32, 64.
    Picodet,
    /// `FastestDet`: `[B,N,5+C]` decoded or `[B,5+C,H/16,W/16]` raw, one grid of stride 16.
    Fastestdet,
    /// RT-DETR, D-FINE, DEIM: labels, boxes and scores of K queries (also Ultralytics' `[B,K,4+C]`).
    Detr,
    /// `TensorFlow`'s detection API: boxes (normalised y1, x1, y2, x2), classes from 1, scores, their number.
    Ssd,
    /// NMS inside (`TensorRT`'s `EfficientNMS`): number of boxes, boxes (x1, y1, x2, y2 in input pixels), scores, classes.
    #[serde(rename = "efficientnms")]
    EfficientNms,
}

impl Layout {
    /// Its name in a card.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yolov5 => "yolov5",
            Self::Yolov6 => "yolov6",
            Self::Yolov8 => "yolov8",
            Self::Yolov8Obb => "yolov8-obb",
            Self::Yolox => "yolox",
            Self::End2end => "end2end",
            Self::End2endObb => "end2end-obb",
            Self::Nanodet => "nanodet",
            Self::NanodetPlus => "nanodet-plus",
            Self::Picodet => "picodet",
            Self::Fastestdet => "fastestdet",
            Self::Detr => "detr",
            Self::Ssd => "ssd",
            Self::EfficientNms => "efficientnms",
        }
    }

    /// Whether the model's output holds several boxes an object, so that NMS is ours to do.
    #[must_use]
    pub fn needs_nms(self) -> bool {
        !matches!(self, Self::End2end | Self::End2endObb | Self::Detr | Self::Ssd | Self::EfficientNms)
    }

    /// How the published pipeline of such models makes its input, f32. `NanoDet`, `PicoDet`, `FastestDet` and DEIM were
    /// checked on 128 COCO images: the others' conventions lose 0.01 to 0.1 of AP.
    #[must_use]
    pub fn input_spec(self) -> InputSpec {
        let rgb = InputSpec::default();
        let stretched = InputSpec { placement: Placement::Stretch, ..rgb };
        match self {
            Self::Yolov5
            | Self::Yolov6
            | Self::Yolov8
            | Self::Yolov8Obb
            | Self::End2end
            | Self::End2endObb
            | Self::EfficientNms => rgb,
            Self::Yolox => InputSpec { order: ChannelOrder::Bgr, scale: 1.0, placement: Placement::Corner, ..rgb },
            // ImageNet's mean and deviation, in 8-bit values.
            Self::Nanodet | Self::NanodetPlus => InputSpec {
                order: ChannelOrder::Bgr,
                scale: 1.0,
                mean: [103.53, 116.28, 123.675],
                std: [57.375, 57.12, 58.395],
                ..stretched
            },
            Self::Picodet => {
                InputSpec { scale: 1.0, mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375], ..stretched }
            }
            Self::Fastestdet => InputSpec { order: ChannelOrder::Bgr, ..stretched },
            Self::Detr => stretched,
            Self::Ssd => InputSpec { scale: 1.0, ..stretched },
        }
    }
}

/// What one of several outputs holds, as its name has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Boxes,
    Scores,
    Classes,
    Count,
}

impl Role {
    /// By the words that the DETR family, `TensorFlow` and `TensorRT` use; `None` for what is raw or something else.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let has = |word: &str| name.as_bytes().windows(word.len()).any(|w| w.eq_ignore_ascii_case(word.as_bytes()));
        if has("raw") || has("multiclass") || has("anchor") || has("mask") {
            return None;
        }
        [("num", Self::Count), ("box", Self::Boxes), ("score", Self::Scores), ("class", Self::Classes)]
            .into_iter()
            .chain([("label", Self::Classes)])
            .find_map(|(word, role)| has(word).then_some(role))
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn outputs_are_told_by_their_names() {
        for (name, role) in [
            ("detection_boxes:0", Some(Role::Boxes)),
            ("num_detections:0", Some(Role::Count)),
            ("num_dets", Some(Role::Count)),
            ("det_classes", Some(Role::Classes)),
            ("Labels", Some(Role::Classes)),
            ("scores", Some(Role::Scores)),
            ("raw_detection_boxes", None),
            ("detection_multiclass_scores", None),
            ("output0", None),
            ("", None),
        ] {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }
}
