//! What an ONNX file says of itself, in plain words: the input of layout recognition.

use std::collections::BTreeMap;

/// One dimension of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Fixed(usize),
    /// Chosen at run time; the name in the graph (may be empty).
    Dynamic(String),
}

impl Dim {
    /// The number, if it is fixed.
    #[must_use]
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(n) => Some(*n),
            Self::Dynamic(_) => None,
        }
    }

    /// For people: the number, the name, or `?`. A name is as the file has it, control characters and all.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Fixed(n) => n.to_string(),
            Self::Dynamic(name) if name.is_empty() => "?".into(),
            Self::Dynamic(name) => name.clone(),
        }
    }
}

/// Element types a detector's tensors come in; others are kept by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// 16-bit float (IEEE).
    F16,
    /// Unsigned byte.
    U8,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// Anything else, as the runtime calls it.
    Other(String),
}

/// One input or output of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorFacts {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub element: Element,
    /// Dimensions, outermost first.
    pub dims: Vec<Dim>,
}

/// Inputs, outputs and custom metadata of an ONNX file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnnxFacts {
    /// Graph inputs in order.
    pub inputs: Vec<TensorFacts>,
    /// Graph outputs in order.
    pub outputs: Vec<TensorFacts>,
    /// Custom metadata (`names`, `stride`, `task`, …).
    pub metadata: BTreeMap<String, String>,
}
