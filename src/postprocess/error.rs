//! Why a model's output cannot be read.

/// Outputs that do not have the layout's shapes.
#[derive(Debug, thiserror::Error)]
#[error(
    "the model's outputs have shapes {found:?}, expected {expected}\n  export it again, or name its layout in a card: MODEL.toml beside it"
)]
pub struct PostprocessError {
    /// Dimensions that came.
    pub found: Vec<Vec<usize>>,
    /// What the layout takes.
    pub expected: String,
}
