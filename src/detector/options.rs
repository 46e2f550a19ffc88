//! What a detector is told when it is made.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Clock};
use crate::geometry::Size;
use crate::inference::ProviderOptions;
use crate::model::Model;
use crate::postprocess::Thresholds;
use crate::tiling::Tiling;

/// Detections kept a frame where nothing else is said, as in the reference implementation.
const MAX_DET: usize = 300;

/// How a [`Detector`](super::Detector) sees, and what it keeps.
#[derive(Clone)]
pub struct DetectorOptions {
    /// Size that frames are fitted into, pixels, where the model's input size is dynamic.
    pub imgsz: Size,
    /// Confidence and `IoU` thresholds, classes, detections a frame.
    pub thresholds: Thresholds,
    /// Tiles that the model sees beside the whole frame.
    pub tiling: Option<Tiling>,
    /// Time that preprocessing, inference and postprocessing of a frame may take: tiles are left out to keep to it.
    pub target_latency: Option<Duration>,
    /// Execution provider and inference precision.
    pub provider: ProviderOptions,
    /// What timings are taken from.
    pub clock: Arc<dyn Clock>,
    /// Added to every run of the model, to see that figures show it.
    pub inference_delay: Duration,
}

impl DetectorOptions {
    /// The model's own thresholds and input size, the best execution provider, no tiles.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let Model { conf, iou, .. } = *model;
        Self {
            imgsz: model.default_size,
            thresholds: Thresholds { conf, iou, max_det: MAX_DET, agnostic: false, classes: None },
            tiling: None,
            target_latency: None,
            provider: ProviderOptions::default(),
            clock: clock::process().clone(),
            inference_delay: Duration::ZERO,
        }
    }
}
