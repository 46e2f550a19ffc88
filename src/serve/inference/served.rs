//! What is known of the model, as the protocol tells it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::geometry::Size;
use crate::model::Model;
use crate::model::facts::TensorFacts;

/// The one version that there is of a model.
pub(super) const VERSION: &str = "1";
/// The input that takes encoded images.
pub(super) const IMAGE: &str = "image";

/// What the server is
#[derive(Serialize, ToSchema)]
pub struct ServerMetadata {
    pub name: &'static str,
    pub version: &'static str,
    /// Of the protocol
    pub extensions: [&'static str; 1],
}

/// What a model takes and gives
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelMetadata {
    name: String,
    versions: Vec<String>,
    platform: &'static str,
    /// One of them is sent: the model's own tensor, or encoded images
    inputs: Vec<TensorMetadata>,
    /// The model's own are given for its own input, the others for encoded images
    outputs: Vec<TensorMetadata>,
}

/// A tensor
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TensorMetadata {
    name: String,
    datatype: &'static str,
    /// -1 is any
    shape: Vec<i64>,
}

/// Whether a model is ready
#[derive(Serialize, ToSchema)]
pub struct ModelReady {
    pub name: String,
    pub ready: bool,
}

/// That the server is alive
#[derive(Serialize, ToSchema)]
pub struct Live {
    pub live: bool,
}

/// That the server is ready
#[derive(Serialize, ToSchema)]
pub struct Ready {
    pub ready: bool,
}

/// What is known of the model.
pub struct Served {
    pub metadata: ModelMetadata,
    /// The model's own outputs.
    pub own: Vec<String>,
}

/// Outputs for encoded images.
pub(super) const DETECTED: [(&str, &str, &[i64]); 4] = [
    ("boxes", "FP32", &[-1, -1, 4]),
    ("scores", "FP32", &[-1, -1]),
    ("classes", "INT64", &[-1, -1]),
    ("num_detections", "INT64", &[-1]),
];

/// A dimension, or -1 for any.
pub(super) fn any(number: Option<usize>) -> i64 {
    number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1)
}

impl Served {
    pub fn new(model: &Model, outputs: &[TensorFacts]) -> Self {
        let side = |of: fn(Size) -> u32| model.static_size.map_or(-1, |size| i64::from(of(size)));
        let shape = vec![any(model.batch), 3, side(|size| size.height), side(|size| size.width)];
        let own = TensorMetadata { name: model.port.name.clone(), datatype: "FP32", shape };
        let image = TensorMetadata { name: IMAGE.into(), datatype: "BYTES", shape: vec![-1] };
        let given = outputs.iter().map(|output| TensorMetadata {
            name: output.name.clone(),
            datatype: "FP32",
            shape: output.dims.iter().map(|dim| any(dim.fixed())).collect(),
        });
        let detected = DETECTED.iter().map(|(name, datatype, shape)| TensorMetadata {
            name: (*name).into(),
            datatype,
            shape: shape.to_vec(),
        });
        let metadata = ModelMetadata {
            name: model.name.clone(),
            versions: vec![VERSION.into()],
            platform: "onnxruntime_onnx",
            inputs: vec![own, image],
            outputs: given.chain(detected).collect(),
        };
        Self { metadata, own: outputs.iter().map(|output| output.name.clone()).collect() }
    }
}
