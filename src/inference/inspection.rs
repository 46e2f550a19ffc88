//! All that is known of a model file: what the runtime sees, what its card says, what was recognised.

use std::path::Path;

use super::{InferenceError, Runtime, inspect};
use crate::model::facts::OnnxFacts;
use crate::model::{Model, ModelError, ModelFile, ModelRef, store};
use crate::text::printable;

/// Why a file cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is not there, or cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The runtime cannot read it.
    #[error(transparent)]
    Inference(#[from] InferenceError),
}

/// What is known of a model file.
pub struct Inspection {
    /// What was found under the name that was given.
    pub reference: ModelRef,
    /// Its length.
    pub size_bytes: u64,
    /// Where its card is, if it has one.
    pub card: Option<String>,
    /// Inputs, outputs, metadata.
    pub facts: OnnxFacts,
    /// What was recognised, or why it cannot be used.
    pub model: Result<Model, ModelError>,
}

impl Inspection {
    /// Inspects what `-m` would use, and a file whose card is wrong.
    ///
    /// # Errors
    /// When there is no such model, or the runtime cannot read its file.
    pub fn of(runtime: &Runtime, name: &str) -> Result<Self, InspectError> {
        let path = Path::new(name);
        let (reference, problem) = match ModelRef::resolve(Some(name)) {
            Ok(reference) => (reference, None),
            // The card is wrong: the file can still be shown.
            Err(e @ (ModelError::Card { .. } | ModelError::Checksum { .. } | ModelError::DataUnstated { .. }))
                if path.is_file() && path.extension().is_none_or(|ending| ending != "toml") =>
            {
                (ModelRef::without_card(path)?, Some(e))
            }
            Err(e) => return Err(e.into()),
        };
        let facts = inspect(runtime, reference.file())?;
        let size_bytes = match reference.file() {
            ModelFile::Path(path) => {
                let unreadable = |source| ModelError::Unreadable { path: path.clone(), source };
                std::fs::metadata(path).map_err(unreadable)?.len()
            }
            ModelFile::Embedded(bytes) => bytes.len() as u64,
        };
        let card = reference.card().map(|_| card_place(name));
        let model = match problem {
            Some(problem) => Err(problem),
            None => Model::build(reference.clone(), &facts),
        };
        Ok(Self { reference, size_bytes, card, facts, model })
    }
}

/// Where the card of the model that was resolved is.
fn card_place(model: &str) -> String {
    let path = Path::new(model);
    let beside = path.with_extension("toml");
    let path = match store::find(model) {
        _ if path.is_file() && beside.is_file() => Some(beside),
        Ok(Some(known)) if !path.is_file() => known.card_path,
        _ => None,
    };
    path.map_or_else(|| "built in".into(), |path| printable(&path.display().to_string()))
}
