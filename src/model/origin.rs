//! Where detections come from, as far as labels, settings and reports go.

use std::sync::Arc;

use super::runnable::Model;
use crate::geometry::Size;

/// A model, or a file that detections are read from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Short name.
    pub name: String,
    /// Checksum of a model's bytes.
    pub sha256: String,
    /// Class names by id.
    pub classes: Arc<[String]>,
    /// Default confidence threshold.
    pub conf: f32,
    /// Default `IoU` threshold of the NMS.
    pub iou: f32,
    /// A model's input size when it is static.
    pub static_size: Option<Size>,
    /// A model's input size to use when it is dynamic and the user says nothing.
    pub default_size: Size,
    /// What a user should know of how it is used.
    pub notices: Vec<String>,
    /// The file, where it is no model.
    pub recorded: Option<RecordedIn>,
}

/// A file of detections.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RecordedIn {
    /// As the user named it.
    pub file: String,
    /// `mot` or `json`.
    pub format: &'static str,
    /// How many boxes it has.
    pub boxes: u64,
    /// Whether any of them has its object's number.
    #[serde(skip)]
    pub numbered: bool,
}

impl From<&Model> for Origin {
    fn from(model: &Model) -> Self {
        Self {
            name: model.name.clone(),
            sha256: model.sha256.clone(),
            classes: model.classes.clone(),
            conf: model.conf,
            iou: model.iou,
            static_size: model.static_size,
            default_size: model.default_size,
            notices: model.notices.clone(),
            recorded: None,
        }
    }
}
