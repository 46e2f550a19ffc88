//! What a client may ask of a stream.

use super::sources::{Allowed, check as check_source};
use super::{Options, StreamError};
use crate::text::nearest;

/// Options of a stream that a client may give, its source aside.
const CLIENT_KEYS: [&str; 41] = [
    "conf",
    "iou",
    "classes",
    "max-det",
    "agnostic",
    "imgsz",
    "tile",
    "target-latency",
    "frames",
    "stride",
    "track",
    "tracker",
    "track-buffer",
    "trails",
    "fixed-camera",
    "count-line",
    "zone",
    "anchor",
    "labels",
    "hide-labels",
    "line-width",
    "blur",
    "hud",
    "crf",
    "bitrate",
    "preset",
    "hdr",
    "max-lag",
    "jitter",
    "stall-timeout",
    "reconnect",
    "wait",
    "rtsp-transport",
    "user",
    "password",
    "insecure",
    "video-track",
    "hfov",
    "ground",
    "geoid",
    "uncertainty",
];

/// What a stream that a client starts does not inherit from the configuration.
const NOT_INHERITED: [&str; 3] = ["user", "password", "insecure"];

/// Settings that streams of clients have of the configuration: whoever may name a host is not told the password of another, and files are
/// the configuration's.
pub fn inherited_by_clients() -> impl Iterator<Item = &'static str> {
    CLIENT_KEYS.into_iter().filter(|key| !NOT_INHERITED.contains(key))
}

/// Checks what a client asks for: nothing that reads or writes a file, and no source but those that are allowed.
///
/// # Errors
/// What is not a client's to choose.
pub fn check_client(options: &Options, allowed: &[Allowed]) -> Result<(), StreamError> {
    let is_known = |key: &&String| *key == "source" || CLIENT_KEYS.contains(&key.as_str());
    if let Some(key) = options.keys().find(|key| !is_known(key)) {
        let known = std::iter::once("source").chain(CLIENT_KEYS);
        let nearest = nearest(key, known).unwrap_or_default();
        return Err(StreamError::Options(format!(
            "{key}: not an option of a stream that is started over HTTP; the nearest is {nearest}. Files, outputs and options of the \
             process belong into the configuration"
        )));
    }
    let source = options.get("source").and_then(|source| source.as_str());
    let source =
        source.ok_or_else(|| StreamError::Options("give a source, as {\"source\": \"rtsp://cam/main\"}".into()))?;
    check_source(source, allowed).map_err(StreamError::Forbidden)
}
