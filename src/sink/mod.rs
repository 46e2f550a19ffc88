//! Video outputs: annotated frames are encoded once a stream, and recorded, pushed and served from that.

mod audio;
mod branch;
mod container;
mod converter;
mod display;
mod encode;
mod encoder;
mod error;
mod input;
mod output;
mod pipeline;
mod server;
mod stream;
mod target;
mod writer;

use std::path::Path;

use crate::part::part_path;

pub use display::check_display;
pub use encode::EncodeTimes;
pub use encoder::{EncoderOptions, H264};
pub use error::{OutputError, SinkError};
pub use output::{AudioWritten, FinishedOutputs, OutputEvent, OutputListener};
pub use server::RtspServer;
pub use stream::{OutputOptions, StreamSink, codec_for};
pub use target::{PushUrl, Segments, Target};

/// Checks that `path` may be written, before any work is done.
///
/// # Errors
/// When it exists and `overwrite` is not given, or its folder cannot be written.
pub fn check_output(path: &Path, overwrite: bool) -> Result<(), SinkError> {
    if path.exists() && !overwrite {
        return Err(SinkError::Exists(path.to_owned()));
    }
    let unwritable = |e: std::io::Error| SinkError::Unwritable { path: path.to_owned(), source: e.into() };
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
    }
    std::fs::File::create(part_path(path)).map_err(unwritable)?;
    std::fs::remove_file(part_path(path)).map_err(unwritable)
}
