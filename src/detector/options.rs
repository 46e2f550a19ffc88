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

/// How frames are seen, and what is kept of them. Streams of one detector may differ in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Size that frames are fitted into, pixels, where the model's input size is dynamic.
    pub imgsz: Size,
    /// Confidence and `IoU` thresholds, classes, detections a frame.
    pub thresholds: Thresholds,
    /// Tiles that the model sees beside the whole frame.
    pub tiling: Option<Tiling>,
    /// Time that preprocessing, inference and postprocessing of a frame may take: tiles are left out to keep to it.
    pub target_latency: Option<Duration>,
}

impl Wanted {
    /// The model's own thresholds and input size, no tiles.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let Model { conf, iou, .. } = *model;
        let thresholds = Thresholds { conf, iou, max_det: MAX_DET, agnostic: false, classes: None };
        Self { imgsz: model.default_size, thresholds, tiling: None, target_latency: None }
    }
}

/// How a [`Detector`](super::Detector) runs.
#[derive(Clone)]
pub struct DetectorOptions {
    /// How frames are seen, and what is kept, where nothing else is asked for their stream.
    pub wanted: Wanted,
    /// Execution provider and inference precision.
    pub provider: ProviderOptions,
    /// What timings are taken from.
    pub clock: Arc<dyn Clock>,
    /// Added to every run of the model, to see that figures show it.
    pub inference_delay: Duration,
}

impl DetectorOptions {
    /// What the model's card says, the best execution provider, no tiles.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        Self {
            wanted: Wanted::of(model),
            provider: ProviderOptions::default(),
            clock: clock::process().clone(),
            inference_delay: Duration::ZERO,
        }
    }
}
