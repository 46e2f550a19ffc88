//! Sinks: where annotated pictures and detections go.

mod audio;
pub mod crops;
mod encoder;
mod file;
pub mod json;
pub mod labels;
mod part;
mod picture;
mod thumbnail;

use std::path::{Path, PathBuf};

pub use encoder::{EncoderOptions, H264};
pub use file::{Encoded, FileSink};
pub use part::{PartFile, write_whole};
pub use picture::PictureWriter;
pub use thumbnail::thumbnail;

/// Why an output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It is there already.
    #[error("{0} exists already\n  give --overwrite to replace it, or another name with -o")]
    Exists(PathBuf),
    /// It cannot be created.
    #[error("{path}: {problem}\n  choose a folder that can be written with -o")]
    Unwritable {
        /// The output.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// Writing failed midway.
    #[error("{path}: {problem}; what was written before is kept in {kept}")]
    Broken {
        /// The output.
        path: PathBuf,
        /// Why.
        problem: String,
        /// The file that holds what was written.
        kept: PathBuf,
    },
}

/// `NAME.part`, where a file is written until it is whole.
#[must_use]
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Checks that `path` may be written, before any work is done.
///
/// # Errors
/// When it exists and `overwrite` is not given, or its folder cannot be written.
pub fn check_output(path: &Path, overwrite: bool) -> Result<(), SinkError> {
    if path.exists() && !overwrite {
        return Err(SinkError::Exists(path.to_owned()));
    }
    let unwritable = |e: std::io::Error| SinkError::Unwritable { path: path.to_owned(), problem: e.to_string() };
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
    }
    std::fs::File::create(part_path(path)).map_err(unwritable)?;
    std::fs::remove_file(part_path(path)).map_err(unwritable)
}
