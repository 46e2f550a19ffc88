//! Why a model cannot be used.

use std::path::PathBuf;

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a file nor a known name.
    #[error(
        "model {name}: no such file, and no model of that name\n  the nearest is {nearest}; `streamdet model list` shows all; or give the path of an ONNX file"
    )]
    Missing {
        /// What was asked for.
        name: String,
        /// The name that resembles it most.
        nearest: String,
    },
    /// Its card is known, its file is not here.
    #[error("model {name}: its file {file} is not here\n  streamdet model fetch {name}")]
    NotHere {
        /// What was asked for.
        name: String,
        /// As its card says.
        file: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A card is wrong.
    #[error("{path}: {problem}")]
    Card {
        /// The card.
        path: String,
        /// Line and field.
        problem: String,
    },
    /// The file differs from what its card says.
    #[error("{path}: SHA-256 is {found}, its card says {expected}\n  fetch the file again, or correct the card")]
    Checksum {
        /// The model file.
        path: String,
        /// As stated.
        expected: String,
        /// As computed.
        found: String,
    },
    /// A file of external data whose checksum its card does not state.
    #[error(
        "{path}: the model's weights lie in it, and its card states no checksum of it\n  add to {card}:\n  [[data]]\n  file = {location:?}\n  sha256 = \"{found}\""
    )]
    DataUnstated {
        /// The file of external data.
        path: String,
        /// The card.
        card: String,
        /// As the model has it.
        location: String,
        /// As computed.
        found: String,
    },
    /// The model is of a kind that is not supported.
    #[error("{model}: {problem}\n  {remedy}")]
    Unsupported {
        /// The model.
        model: String,
        /// What was seen.
        problem: String,
        /// What to do.
        remedy: String,
    },
}
