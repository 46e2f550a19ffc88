//! What has to be known of a model to run it.

use std::sync::Arc;

use super::layout::Layout;
use super::reference::ModelFile;
use crate::geometry::{Letterbox, Placement, Size};
use crate::tensor::{InputPort, InputSpec};

/// A model that can be run.
#[derive(Debug, Clone)]
pub struct Model {
    /// Short name.
    pub name: String,
    /// Its bytes.
    pub file: ModelFile,
    /// Checksum of the bytes, lower-case hex, external data among them (see [`ModelRef::whole_sha256`](super::ModelRef::whole_sha256)).
    pub sha256: String,
    /// How frames become its input.
    pub input: InputSpec,
    /// The graph's inputs.
    pub port: InputPort,
    /// Frames a run takes; `None`: any.
    pub batch: Option<usize>,
    /// Input size when it is static.
    pub static_size: Option<Size>,
    /// Input size to use when it is dynamic and the user says nothing.
    pub default_size: Size,
    /// Sides of a dynamic input are multiples of this, pixels.
    pub stride: u32,
    /// How the output is read.
    pub layout: Layout,
    /// Why that layout.
    pub layout_reason: String,
    /// What a user should know of how it is used: outputs that are ignored, names that are assumed.
    pub notices: Vec<String>,
    /// Class names by id.
    pub classes: Arc<[String]>,
    /// Default confidence threshold.
    pub conf: f32,
    /// Default `IoU` threshold of the NMS.
    pub iou: f32,
}

impl Model {
    /// Size of the tensor for frames of size `frame`, with `imgsz` where the model leaves it open: padded up to the
    /// stride only, or `imgsz` itself where frames are stretched.
    #[must_use]
    pub fn tensor_size(&self, frame: Size, imgsz: Size) -> Size {
        match (self.static_size, self.input.placement) {
            (Some(size), _) => size,
            (None, Placement::Stretch) => imgsz,
            (None, _) => Letterbox::dynamic_tensor(frame, imgsz, self.stride),
        }
    }
}
