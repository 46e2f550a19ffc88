//! Why a dataset cannot be used.

use std::fmt;

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}\n  {remedy}")]
pub struct DatasetError {
    /// File, and line where there is one.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do next.
    pub remedy: String,
}

impl DatasetError {
    pub(super) fn new(place: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { place: place.to_string(), problem: problem.to_string(), remedy: remedy.to_string() }
    }
}
