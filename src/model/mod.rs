//! Models: what a file is, what its card says, how it is recognised.

mod card;
mod checksum;
mod coco;
mod error;
mod external;
pub mod facts;
pub mod fetch;
#[cfg(test)]
pub(crate) mod fuzz;
pub(crate) mod layout;
pub mod licence;
mod names;
mod origin;
mod recognise;
mod reference;
mod runnable;
pub mod starter;
pub mod store;

use facts::OnnxFacts;

pub use card::{Card, Data, is_sha256};
pub use error::ModelError;
pub use external::DataFile;
pub use layout::Layout;
pub use origin::{Origin, RecordedIn};
pub use reference::{ModelFile, ModelRef};
pub use runnable::Model;
pub use store::nearest;

impl Model {
    /// Puts together what the file, its metadata and its card say.
    ///
    /// # Errors
    /// When the layout cannot be recognised or is not supported, saying what was seen.
    pub fn build(reference: ModelRef, facts: &OnnxFacts) -> Result<Self, ModelError> {
        recognise::build(reference, facts)
    }
}

/// A channel order or a placement, as cards write it.
#[must_use]
pub fn card_word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
