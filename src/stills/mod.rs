//! Still images: frames encoded one by one as JPEG or PNG, and thumbnails of image files.

mod thumbnail;
mod writer;

use std::path::PathBuf;

use gstreamer::glib;

pub use thumbnail::thumbnail;
pub use writer::{Kind, StillWriter};

/// Why a still image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StillError {
    /// The frame cannot be encoded.
    #[error("{path}: {source}")]
    Encode {
        /// The image.
        path: PathBuf,
        /// Why.
        source: EncodeError,
    },
    /// The file cannot be written.
    #[error("{path}: {source}\n  choose a folder that can be written")]
    Unwritable {
        /// The image.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Why a frame cannot be encoded as an image.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The encoder's pipeline cannot be set up.
    #[error("the image encoder cannot be set up: {0}")]
    SetUp(#[from] glib::Error),
    /// An element of it is not there, or a frame's format cannot be described.
    #[error(transparent)]
    Element(#[from] glib::BoolError),
    /// The encoder refuses to start.
    #[error("the image encoder does not start: {0}")]
    Start(#[from] gstreamer::StateChangeError),
    /// The encoder takes no more frames.
    #[error("the image encoder stopped: {0}")]
    Stopped(#[from] gstreamer::FlowError),
    /// It failed.
    #[error("the image encoder failed: {0}")]
    Failed(glib::Error),
    /// It gave no image in time.
    #[error("the image encoder did not finish within {0} s")]
    Late(u64),
}
