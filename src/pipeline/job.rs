//! One source with its outputs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::sink::Target;
use crate::source::Address;

/// A source.
#[derive(Debug, Clone)]
pub enum SourceSpec {
    /// One recorded file.
    Video(PathBuf),
    /// Images: one stream, in this order.
    Images(Vec<PathBuf>),
    /// A network stream, camera, test pattern or standard input.
    Live(Address),
}

impl SourceSpec {
    /// Whether its frames have one size that hardly ever changes.
    pub(super) fn is_video(&self) -> bool {
        !matches!(self, Self::Images(_))
    }

    /// Whether frames that are not taken in time are gone.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }
}

/// Where the annotated result goes.
#[derive(Debug, Clone)]
pub enum OutputSpec {
    /// Nowhere.
    None,
    /// One image's file.
    Image(PathBuf),
    /// A folder, for images under their own names.
    Folder(PathBuf),
    /// Video outputs; a stream is encoded once for all of them.
    Stream(Vec<Target>),
}

/// One source with its output.
#[derive(Debug, Clone)]
pub struct Job {
    /// As the user named it, without secrets.
    pub name: String,
    /// A source.
    pub source: SourceSpec,
    /// Where the result goes.
    pub output: OutputSpec,
    /// A recording is read at its own frame rate, since one of its outputs is live; no frame is dropped for that.
    pub paced: bool,
}

impl Job {
    /// A short name for files.
    pub(super) fn stem(&self) -> OsString {
        match &self.source {
            SourceSpec::Live(address) => address.stem().into(),
            SourceSpec::Video(path) => path.file_stem().unwrap_or_default().to_owned(),
            SourceSpec::Images(_) => stem(Path::new(&self.name)).into(),
        }
    }
}

/// A path's name without its ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}
