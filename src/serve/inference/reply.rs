//! An inference answer: JSON, and binary tensors behind it.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::served::VERSION;
use crate::serve::problem::Problem;

/// The header that says where JSON ends and binary tensors begin.
pub(super) const LENGTH: &str = "inference-header-content-length";

/// An answer
#[derive(ToSchema)]
#[schema(as = InferResponse)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
pub struct ReplySchema {
    model_name: String,
    model_version: String,
    /// That of the request
    #[schema(required = false)]
    id: Option<String>,
    outputs: Vec<OutputSchema>,
}

/// An output tensor
#[derive(ToSchema)]
#[schema(as = OutputTensor)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
struct OutputSchema {
    name: String,
    /// FP32 or INT64
    datatype: String,
    shape: Vec<u64>,
    /// `binary_data_size` where the data follows the JSON
    #[schema(required = false, value_type = Object)]
    parameters: Option<Value>,
    /// Row by row
    #[schema(required = false, value_type = Vec<f64>)]
    data: Option<Value>,
}

/// An output tensor.
pub(super) struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Values,
}

/// Its values, row by row.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

/// A tensor that is wanted, and whether it follows the JSON.
pub(super) struct Chosen {
    pub tensor: Tensor,
    pub is_binary: bool,
}

#[derive(Serialize)]
struct Head<'a> {
    model_name: &'a str,
    model_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<OutputHead<'a>>,
}

#[derive(Serialize)]
struct OutputHead<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Values>,
}

#[derive(Serialize)]
struct Size {
    binary_data_size: usize,
}

impl Values {
    fn datatype(&self) -> &'static str {
        match self {
            Self::F32(_) => "FP32",
            Self::I64(_) => "INT64",
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::F32(values) => values.len() * 4,
            Self::I64(values) => values.len() * 8,
        }
    }

    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::F32(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
            Self::I64(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        }
    }
}

/// The answer with these tensors.
pub(super) fn written(model: &str, id: Option<String>, tensors: &[Chosen]) -> Result<Response, Problem> {
    let outputs = tensors.iter().map(|Chosen { tensor, is_binary }| OutputHead {
        name: &tensor.name,
        datatype: tensor.values.datatype(),
        shape: &tensor.shape,
        parameters: is_binary.then(|| Size { binary_data_size: tensor.values.size() }),
        data: (!is_binary).then_some(&tensor.values),
    });
    let head = Head { model_name: model, model_version: VERSION, id, outputs: outputs.collect() };
    let mut body = serde_json::to_vec(&head).map_err(|error| Problem::failed(error.to_string()))?;
    if !tensors.iter().any(|chosen| chosen.is_binary) {
        return Ok(([(CONTENT_TYPE, "application/json")], body).into_response());
    }
    let length = body.len().to_string();
    for chosen in tensors.iter().filter(|chosen| chosen.is_binary) {
        chosen.tensor.values.append(&mut body);
    }
    Ok(([(CONTENT_TYPE.as_str(), "application/octet-stream"), (LENGTH, &length)], body).into_response())
}
