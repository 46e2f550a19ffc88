//! What an ONNX file says of itself, read by the runtime with every optimisation off.

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{TensorElementType, ValueType};

use super::{InferenceError, Runtime, said};
use crate::model::ModelFile;
use crate::model::facts::{Dim, Element, OnnxFacts, TensorFacts};

/// Reads inputs, outputs and custom metadata of `file`.
///
/// # Errors
/// [`InferenceError::NotOnnx`] when the runtime cannot read it.
pub fn inspect(runtime: &Runtime, file: &ModelFile) -> Result<OnnxFacts, InferenceError> {
    let not_onnx = |e: &dyn std::fmt::Display| InferenceError::NotOnnx { model: file.label(), problem: said(e) };
    let mut builder = Session::builder(&runtime.environment)
        .map_err(|e| not_onnx(&e))?
        .with_optimization_level(GraphOptimizationLevel::Disable)
        .map_err(|e| not_onnx(&e))?;
    let session = match file {
        ModelFile::Path(path) => builder.commit_from_file(path),
        ModelFile::Embedded(bytes) => builder.commit_from_memory(bytes),
    }
    .map_err(|e| not_onnx(&e))?;
    let mut facts = OnnxFacts {
        inputs: session.inputs().iter().map(|o| tensor_facts(o.name(), o.dtype())).collect(),
        outputs: session.outputs().iter().map(|o| tensor_facts(o.name(), o.dtype())).collect(),
        ..OnnxFacts::default()
    };
    if let Ok(metadata) = session.metadata() {
        for key in metadata.custom_keys().unwrap_or_default() {
            if let Some(value) = metadata.custom(&key) {
                facts.metadata.insert(key, value);
            }
        }
    }
    Ok(facts)
}

fn tensor_facts(name: &str, kind: &ValueType) -> TensorFacts {
    let (element, dims) = match kind {
        ValueType::Tensor { ty, shape, dimension_symbols } => {
            let dims = shape
                .iter()
                .enumerate()
                .map(|(i, n)| {
                    usize::try_from(*n).map_or_else(
                        |_| Dim::Dynamic(dimension_symbols.get(i).cloned().unwrap_or_default().clone()),
                        Dim::Fixed,
                    )
                })
                .collect();
            let element = match ty {
                TensorElementType::Float32 => Element::F32,
                TensorElementType::Float16 => Element::F16,
                TensorElementType::Uint8 => Element::U8,
                TensorElementType::Int32 => Element::I32,
                TensorElementType::Int64 => Element::I64,
                other => Element::Other(format!("{other:?}")),
            };
            (element, dims)
        }
        other => (Element::Other(format!("{other:?}")), Vec::new()),
    };
    TensorFacts { name: name.to_owned(), element, dims }
}
