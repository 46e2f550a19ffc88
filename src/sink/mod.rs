//! Sinks: where annotated pictures and detections go.

mod audio;
mod branch;
mod container;
mod display;
mod encode;
mod encoder;
mod stream;
mod target;
mod writer;

use crate::part::part_path;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;

pub use branch::{Ended, News, RtspServer, Tell};
pub use display::check_display;
pub use encode::Encoded;
pub use encoder::{EncoderOptions, H264};
pub use stream::{StreamSink, codec_for};
pub use target::{PushUrl, Segments, Target};

/// Compressed bytes a track may hold before a muxer: as much as an unluckily interleaved file needs.
const BRANCH_BYTES: u32 = 256 << 20;

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
    /// A server cannot listen there.
    #[error("-o rtsp://{address}: {problem}\n  name a free port of this machine, as rtsp://:8555/NAME, or :0 for any")]
    Address {
        /// As resolved.
        address: SocketAddr,
        /// What the system says.
        problem: String,
    },
    /// Nobody takes the stream.
    #[error("{output}: {problem}\n  start the server there first, and check the address and its password")]
    Unreachable {
        /// The output, without secrets.
        output: String,
        /// Why.
        problem: String,
    },
    /// No window can be opened.
    #[error("--display: {problem}\n  {remedy}")]
    NoDisplay {
        /// Why.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// Outputs that do not go together.
    #[error("{vp9} needs VP9 and {h264} H.264, but a stream is encoded once\n  write .mkv instead of .webm")]
    TwoCodecs {
        /// The one.
        vp9: String,
        /// The other.
        h264: String,
    },
}

/// What a pipeline says of its failure.
struct BusError {
    message: String,
    debug: String,
    no_space: bool,
}

impl From<&gst::message::Error> for BusError {
    fn from(error: &gst::message::Error) -> Self {
        let debug = error.debug().map(|text| text.to_string()).unwrap_or_default();
        let error = error.error();
        Self { message: error.message().to_owned(), debug, no_space: error.matches(gst::ResourceError::NoSpaceLeft) }
    }
}

impl BusError {
    fn says(&self, text: &str) -> bool {
        self.message.contains(text) || self.debug.contains(text)
    }
}

/// The next failure that a pipeline reports, if there is one.
fn bus_error(pipeline: &gst::Pipeline) -> Option<BusError> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(error.into()),
        _ => None,
    }
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
