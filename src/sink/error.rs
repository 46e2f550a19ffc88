//! Why an output fails.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer::glib;

use crate::part::{BUSY, part_path};
use crate::thread::ThreadError;

/// Why an output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It exists already.
    #[error("{0} exists already\n  give --overwrite to replace it, or another name with -o")]
    Exists(PathBuf),
    /// A field of the time in a segment's name is none.
    #[error("{path}: the name of a segment takes %Y, %m, %d, %H, %M, %S and %j\n  write %% for a percent sign")]
    SegmentName {
        /// The output.
        path: PathBuf,
    },
    /// Another run writes it.
    #[error("{0}\n  {BUSY}")]
    Busy(std::io::Error),
    /// It cannot be created.
    #[error("{path}: {source}{}", source.remedy())]
    Unwritable {
        /// The output.
        path: PathBuf,
        /// Why.
        source: OutputError,
    },
    /// Writing failed midway.
    #[error("{path}: {source}; what was written before is kept in {kept}")]
    Broken {
        /// The output.
        path: PathBuf,
        /// Why.
        source: OutputError,
        /// The file that holds what was written.
        kept: PathBuf,
    },
    /// So it did, and what was written was deleted meanwhile.
    #[error("{path}: {source}; what was written before was moved or deleted meanwhile")]
    Deleted {
        /// The output.
        path: PathBuf,
        /// Why.
        source: OutputError,
    },
    /// Some of a track's audio packets are neither written nor counted as dropped.
    #[error(
        "{path}: {lost} of {received} packets of audio track {track} were not written, which is a fault of this program; \
         the video is complete"
    )]
    AudioLost {
        /// The output.
        path: PathBuf,
        /// Its number from 1.
        track: usize,
        /// Packets that are missing.
        lost: u64,
        /// Packets that there were.
        received: u64,
    },
    /// A certificate or its key cannot be used.
    #[error("{option} {}: {source}\n  {remedy}", path.display())]
    Tls {
        /// The option that names it.
        option: &'static str,
        /// As given.
        path: PathBuf,
        /// Why.
        source: OutputError,
        /// What to do next.
        remedy: &'static str,
    },
    /// A server cannot listen there.
    #[error("-o rtsp://{address}: {source}\n  name a free port of this machine, as rtsp://:8555/NAME, or :0 for any")]
    Address {
        /// As resolved.
        address: SocketAddr,
        /// Why.
        source: OutputError,
    },
    /// The peer does not take the stream.
    #[error("{output}: {source}\n  start the server there first, and check the address and its password")]
    Unreachable {
        /// The output, without secrets.
        output: String,
        /// Why.
        source: OutputError,
    },
    /// A live output failed midway.
    #[error("{output}: {source}")]
    Live {
        /// The output, without secrets.
        output: String,
        /// Why.
        source: OutputError,
    },
    /// No window can be opened.
    #[error("--display: {source}\n  {remedy}")]
    NoDisplay {
        /// Why.
        source: OutputError,
        /// What to do next.
        remedy: &'static str,
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

impl SinkError {
    /// Writing `path` failed; what was written is in its `.part`, unless somebody has deleted that.
    pub(super) fn broken(path: &Path, source: OutputError) -> Self {
        let (path, kept) = (path.to_owned(), part_path(path));
        // A disk that does not answer would not answer that either.
        if matches!(source, OutputError::Stalled(_)) || kept.symlink_metadata().is_ok() {
            return Self::Broken { path, source, kept };
        }
        Self::Deleted { path, source }
    }

    /// `path` cannot be created.
    pub(super) fn unwritable(path: &Path, source: impl Into<OutputError>) -> Self {
        match source.into() {
            OutputError::Io(busy) if busy.kind() == ErrorKind::ResourceBusy => Self::Busy(busy),
            source => Self::Unwritable { path: path.to_owned(), source },
        }
    }
}

/// What went wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Its pipeline cannot be made: an element or a setting is not there.
    #[error("the {what} cannot be set up: {source}")]
    SetUp {
        /// What: encoder, muxer, …
        what: &'static str,
        /// What `GStreamer` says.
        source: glib::Error,
    },
    /// A part of its pipeline refuses.
    #[error(transparent)]
    Element(#[from] glib::BoolError),
    /// Its pipeline does not start, and does not say why.
    #[error("the {0} does not start")]
    NotStarted(&'static str),
    /// It takes nothing more, and does not say why.
    #[error("the {0} stopped")]
    Stopped(&'static str),
    /// What `GStreamer` says of its failure.
    #[error("{0}")]
    Failed(String),
    /// No space is left.
    #[error("the disk is full")]
    DiskFull,
    /// An MP4's index does not fit into the room that was reserved for it.
    #[error(
        "the room for its index is used up, since it is longer than it states or its packets are very short (a .mkv needs \
         no such room)"
    )]
    IndexFull,
    /// It took nothing for so long.
    #[error("took nothing for {} s: the disk or network that it lies on does not answer", .0.as_secs())]
    Stalled(Duration),
    /// The encoder gave nothing for so long.
    #[error("the encoder did not finish within {} s", .0.as_secs())]
    EncoderStalled(Duration),
    /// The peer did not answer for so long.
    #[error("no answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The peer took nothing for so long.
    #[error("the peer took nothing for {} s", .0.as_secs())]
    PeerStalled(Duration),
    /// A URL without a host or a port.
    #[error("give udp://HOST:PORT")]
    NoPort,
    /// None is installed.
    #[error("no H.264 encoder is installed; install gstreamer1.0-plugins-ugly")]
    NoEncoder,
    /// The one that was asked for is not installed.
    #[error("the encoder {0} is not installed; `gst-inspect-1.0` lists what is")]
    UnknownEncoder(String),
    /// The one that was asked for encodes something else.
    #[error("{0} gives no H.264\n  give an H.264 encoder with --encoder, or none (a .webm is VP9)")]
    NotH264(String),
    /// None of those tried opens: no device, no driver, no session left.
    #[error("no encoder opens: {0}\n  give --encoder x264enc, which needs no device, or mend the driver")]
    NoEncoderOpens(String),
    /// The one that was asked for takes no HDR.
    #[error("the encoder {0} takes no frames of 10 bits\n  give --encoder x264enc, or no --hdr keep")]
    NoHdr(String),
    /// No preset of x264.
    #[error("--preset {0}: give one of x264's, e.g. superfast, fast, slow")]
    UnknownPreset(String),
    /// There is no display server.
    #[error("there is no display server: neither DISPLAY nor WAYLAND_DISPLAY is set")]
    NoDisplayServer,
    /// Nothing is installed that shows frames.
    #[error("GStreamer has nothing that opens a window")]
    NoWindow,
    /// Nothing is installed that decodes this audio.
    #[error("GStreamer has no decoder for {0} audio here")]
    NoAudioDecoder(String),
    /// A thread of it could not be started, or panicked.
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

impl OutputError {
    /// What to do next, where the error itself does not say so.
    fn remedy(&self) -> &'static str {
        match self {
            Self::NoEncoder
            | Self::UnknownEncoder(_)
            | Self::NotH264(_)
            | Self::NoEncoderOpens(_)
            | Self::NoHdr(_)
            | Self::UnknownPreset(_) => "",
            _ => "\n  choose a folder that can be written with -o",
        }
    }
}
