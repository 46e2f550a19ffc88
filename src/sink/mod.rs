//! Video outputs: annotated frames are encoded once a stream, and recorded, pushed and served from that.

mod access;
mod admission;
mod audio;
mod branch;
mod branches;
mod container;
mod converter;
mod display;
mod encode;
mod encoder;
mod encoder_table;
mod error;
mod input;
mod mounts;
mod output;
mod pipeline;
mod segments;
mod server;
mod stream;
mod target;
mod wall_clock;
mod writer;

use std::path::Path;

use crate::part::PartFile;

pub use access::{Access, TlsFiles};
pub use branch::{PLAYLIST, check_playlist};
pub use display::check_display;
pub use encode::EncodeTimes;
pub use encoder::EncoderOptions;
pub use encoder_table::H264;
pub use error::{OutputError, SinkError};
pub use output::{AudioWritten, FILES, FinishedOutputs, OutputEvent, OutputListener};
pub use segments::check_segments;
pub use server::RtspServer;
pub use stream::{OutputOptions, StreamSink, codec_for};
pub use target::{FileTarget, Gaps, Held, PushUrl, Segments, Target};

/// Checks that `path` may be written, before any work is done. What a run that did not end left of it is moved aside; a notice
/// where there was something.
///
/// # Errors
/// When it exists and `overwrite` is not given, another run writes it, or its folder cannot be written.
pub fn check_output(path: &Path, overwrite: bool) -> Result<Option<String>, SinkError> {
    let part = reserved(path, overwrite)?;
    let recovered = part.recovered();
    part.discard();
    Ok(recovered)
}

/// Does so, and keeps the file locked until its output is opened.
///
/// # Errors
/// As [`check_output`].
pub fn hold_output(file: &FileTarget) -> Result<Option<String>, SinkError> {
    if file.held.is_held() {
        return Ok(None);
    }
    let mut part = reserved(&file.path, file.overwrite)?;
    let recovered = part.take_recovered();
    file.held.put(part);
    Ok(recovered)
}

fn reserved(path: &Path, overwrite: bool) -> Result<PartFile, SinkError> {
    // A link to nothing would be replaced as well.
    if path.symlink_metadata().is_ok() && !overwrite {
        return Err(SinkError::Exists(path.to_owned()));
    }
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| SinkError::unwritable(path, e))?;
    }
    PartFile::reserve(path).map_err(|e| SinkError::unwritable(path, e))
}
