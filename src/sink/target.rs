//! Where an annotated stream may go.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::server::RtspServer;
use crate::part::{PartFile, part_path};

/// One place that an annotated stream goes to; a stream may have several, and is encoded once for all of them.
#[derive(Debug, Clone)]
pub enum Target {
    /// A file, or one cut into segments.
    File(FileTarget),
    /// A folder with a playlist, `index.m3u8`, and the segments it names.
    Hls {
        /// The folder.
        folder: PathBuf,
        /// How long a segment is.
        segment: Duration,
        /// The newest segments only; those before are deleted.
        live: bool,
    },
    /// Served to clients.
    Serve {
        /// By this server.
        server: Arc<RtspServer>,
        /// Under this name, with its slash.
        mount: String,
    },
    /// Pushed to a server or receiver: `rtmp(s)://`, `udp://` or `srt://`, secrets included.
    Push(PushUrl),
    /// A window.
    Display,
}

/// What becomes of the outages of a live source in a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gaps {
    /// It goes on where it stopped; where there are segments, in the next one.
    #[default]
    Close,
    /// They stay, as time without frames.
    Keep,
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTarget {
    /// Its name; that of segments has fields of the time at which each begins (strftime), or gets them.
    pub path: PathBuf,
    /// How it is cut.
    pub segments: Option<Segments>,
    /// A file in the way is replaced.
    pub overwrite: bool,
    /// What becomes of outages.
    pub gaps: Gaps,
    /// Its file, from the start of the run until the output is opened.
    pub held: Held,
}

impl FileTarget {
    /// One file, which replaces none.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, segments: None, overwrite: false, gaps: Gaps::Close, held: Held::default() }
    }
}

/// A file that is locked before its output is opened: a source that is waited for may not come for hours, in which no other run is to
/// take the name.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Mutex<Option<PartFile>>>);

impl Held {
    /// Whether there is one.
    pub(super) fn is_held(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn put(&self, part: PartFile) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(part);
    }

    /// The file, unless its folder was deleted meanwhile.
    pub(super) fn take(&self) -> Option<PartFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().filter(PartFile::is_there)
    }
}

/// Targets are the same by what was asked for.
impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

/// How a recording is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// A segment is so long; it ends with the first keyframe after that.
    pub length: Duration,
    /// Segments that ended so long ago are deleted, those of earlier runs among them.
    pub keep: Option<Duration>,
    /// The oldest are deleted where all of them, with the one being written, take more bytes.
    pub keep_bytes: Option<u64>,
}

impl Target {
    /// Whether it is shown or sent while it is made: a recording is then processed at its own pace.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Serve { .. } | Self::Push(_) | Self::Display)
    }

    /// The folder that it is written to, where it is.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::File(file) => file.path.parent().map(Path::to_owned),
            Self::Hls { folder, .. } => Some(folder.clone()),
            _ => None,
        }
    }

    /// The file that holds what is written of it, until it is whole; segments have one each.
    #[must_use]
    pub fn part(&self) -> Option<PathBuf> {
        match self {
            Self::File(file) if file.segments.is_none() => Some(part_path(&file.path)),
            _ => None,
        }
    }

    /// Its name for people, without secrets.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => file.path.display().to_string(),
            Self::Hls { folder, .. } => format!("hls:{}", folder.display()),
            Self::Serve { server, mount } => server.url(mount),
            Self::Push(url) => url.to_string(),
            Self::Display => "the window".into(),
        }
    }
}

/// A URL that is pushed to. Printed, it has no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct PushUrl(String);

impl PushUrl {
    /// `rtmp(s)://`, `udp://` or `srt://`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// As it was given.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// `rtmp`, `rtmps`, `udp` or `srt`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.split("://").next().unwrap_or_default()
    }

    /// Host and port; `None` where one of them is not there.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(String, u16)> {
        let rest = self.0.split_once("://")?.1;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let default = match self.scheme() {
            "rtmp" => Some(1935),
            "rtmps" => Some(443),
            _ => None,
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, port.parse().ok()?)
            }
            _ => (place, default?),
        };
        Some((host.trim_matches(['[', ']']).to_owned(), port))
    }
}

impl std::fmt::Display for PushUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::secrets::shown(&self.0))
    }
}

impl std::fmt::Debug for PushUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_keeps_its_secrets() {
        let url = PushUrl::new("rtmp://user:geheim@host:1936/live/x?token=abc");
        assert_eq!(url.host_and_port(), Some(("host".into(), 1936)));
        assert_eq!(format!("{url} {url:?}"), "rtmp://***@host:1936/live/***?*** rtmp://***@host:1936/live/***?***");
        let place = |url: &str| PushUrl::new(url).host_and_port();
        assert_eq!(place("rtmp://host/live"), Some(("host".into(), 1935)));
        assert_eq!(place("udp://[::1]:5000"), Some(("::1".into(), 5000)));
        assert_eq!(place("udp://host"), None);
        assert_eq!(place("udp://host:99999"), None);
    }
}
