//! Which outputs were asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::sink::{Gaps, Segments};

/// Clients that an RTSP server serves at once, unless another number is asked for.
pub const MAX_CLIENTS: u16 = 32;

/// Which outputs were asked for.
#[derive(Clone)]
pub struct OutputRequest {
    /// Files, folders, patterns and URLs, as given; empty: `STEM-annotated.EXT` for recordings, none for live sources.
    pub outputs: Vec<OsString>,
    /// Existing files are replaced.
    pub overwrite: bool,
    /// Video is shown in a window as well.
    pub display: bool,
    /// Files are cut into segments.
    pub segments: Option<Segments>,
    /// What becomes of outages in files.
    pub gaps: Gaps,
    /// Recordings are read as fast as possible even where an output is live.
    pub full_speed: bool,
    /// Clients that an RTSP server serves at once.
    pub max_clients: usize,
    /// Certificate of an RTSP server.
    pub tls_cert: Option<PathBuf>,
    /// Its private key.
    pub tls_key: Option<PathBuf>,
}

impl Default for OutputRequest {
    fn default() -> Self {
        Self {
            outputs: Vec::new(),
            overwrite: false,
            display: false,
            segments: None,
            gaps: Gaps::default(),
            full_speed: false,
            max_clients: MAX_CLIENTS.into(),
            tls_cert: None,
            tls_key: None,
        }
    }
}

impl OutputRequest {
    /// No output.
    #[must_use]
    pub fn none() -> Self {
        Self { outputs: vec!["none".into()], ..Self::default() }
    }
}
