//! The Open Inference Protocol, version 2, by HTTP: tensors as the model takes them, or encoded images.
//!
//! <https://github.com/kserve/open-inference-protocol>, with Triton's extension for binary tensors.

mod flat;
mod reply;
mod request;
pub(super) mod routes;
mod served;

pub(super) use served::Served;
