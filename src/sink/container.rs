//! `pipelines/sink.toml`: what a file of which ending is muxed by, and what sends, serves and carries a live stream.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

/// What an MP4's index takes a track: sizes, times and places of its samples (`stsz`, `stts`, `stsc`, `stco`), and a second
/// of audio packets. The muxer pools it over the tracks. Measured for 30 fps with AAC: 1,675 bytes a second, 23 a sample.
const INDEX_BYTES_PER_FRAME: u64 = 20;
const INDEX_BYTES_PER_SECOND: u64 = 500;
/// What `reserved-bytes-per-sec` says in `pipelines/sink.toml`.
const RESERVED_BYTES_PER_SECOND: u64 = 1000;
/// A frame rate beyond which it is not the frames' own, but a time base.
const HIGHEST_RATE: u64 = 1000;
/// How much longer than expected a recording may be, besides twice as long.
const SPARE_LENGTH: Duration = Duration::from_secs(10);

const DESCRIPTIONS: &str = include_str!("../../pipelines/sink.toml");

/// The whole of `pipelines/sink.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Descriptions {
    file: BTreeMap<String, Container>,
    push: BTreeMap<String, PushDescription>,
    pub rtsp: RtspDescription,
}

/// How a file is muxed.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct Container {
    muxer: String,
    /// Settings of the muxer, where they depend on the length.
    #[serde(default)]
    known_length: String,
    #[serde(default)]
    unknown_length: String,
    /// Codec of the video, `h264` or `vp9`.
    pub video: String,
    /// What encoded frames pass before the muxer: by its caps, the muxer's video pad is chosen.
    pub parser: String,
}

/// How a stream is pushed.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct PushDescription {
    pub muxer: String,
    pub parser: String,
    pub sink: String,
}

/// How a stream is served over RTSP: one payloader a track.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(super) struct RtspDescription {
    pub video: String,
    pub aac: String,
    pub opus: String,
}

static PARSED: LazyLock<Descriptions> =
    LazyLock::new(|| toml::from_str(DESCRIPTIONS).expect("pipelines/sink.toml is checked by a test"));

/// What the file says.
pub(super) fn descriptions() -> &'static Descriptions {
    &PARSED
}

impl Descriptions {
    /// How a stream is pushed by this scheme.
    pub fn push(&self, scheme: &str) -> &PushDescription {
        let found = self.push.get(if scheme == "rtmps" { "rtmp" } else { scheme });
        found.expect("a scheme that is pushed has its section")
    }
}

/// The container by the output's ending, else Matroska, with the name of its section.
pub(super) fn container_of(path: &Path) -> (String, Container) {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let files = &descriptions().file;
    let own = files.get_key_value(if ending == "m4v" { "mp4" } else { &ending });
    let (ending, container) = own.or_else(|| files.get_key_value("mkv")).expect("a test sees that there is Matroska");
    (ending.clone(), container.clone())
}

impl Container {
    /// The muxer's description for so long a recording, its index reserved where that is known.
    pub fn muxer_for(&self, length: Option<Duration>, frame_rate: Option<(i32, i32)>) -> String {
        let settings = match length {
            Some(length) => self.known_length.replace("{reserve}", &reserve_ns(length, frame_rate).to_string()),
            None => self.unknown_length.clone(),
        };
        format!("{} {settings}", self.muxer)
    }
}

/// The time for which [`RESERVED_BYTES_PER_SECOND`] are as much as a recording of this length needs.
fn reserve_ns(length: Duration, frame_rate: Option<(i32, i32)>) -> u64 {
    let (numer, denom) = frame_rate.unwrap_or((60, 1));
    let frames_per_second = u64::try_from(numer / denom.max(1)).unwrap_or(60).min(HIGHEST_RATE) + 1;
    let bytes_per_second = INDEX_BYTES_PER_SECOND + INDEX_BYTES_PER_FRAME * frames_per_second;
    // Durations in containers can be wrong, and the muxer fails when its index is full: twice as long, and some more.
    let length = length.saturating_mul(2).saturating_add(SPARE_LENGTH);
    let reserve = length.as_nanos() * u128::from(bytes_per_second) / u128::from(RESERVED_BYTES_PER_SECOND);
    u64::try_from(reserve).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptions_parse() {
        for name in ["mp4", "mov", "mkv", "webm", "ts"] {
            assert!(descriptions().file.contains_key(name), "{name}");
        }
        for scheme in ["rtmp", "rtmps", "udp", "srt"] {
            assert!(descriptions().push(scheme).sink.contains("sync=false"), "{scheme}");
        }
    }

    #[test]
    fn the_index_is_reserved_by_length_and_rate() {
        let second = Duration::from_secs(1);
        // 12 s of 30 frames and one to spare: 1120 bytes a second.
        assert_eq!(reserve_ns(second, Some((30, 1))), 13_440_000_000);
        let hostile = reserve_ns(second, Some((i32::MAX, 1)));
        assert!(hostile < 20 * reserve_ns(second, Some((30, 1))), "{hostile}");
        assert_eq!(reserve_ns(Duration::MAX, Some((0, 0))), u64::MAX);
        for container in descriptions().file.values() {
            assert_eq!(container.known_length.is_empty(), container.unknown_length.is_empty());
            let bytes = format!("reserved-bytes-per-sec={RESERVED_BYTES_PER_SECOND} ");
            assert!(container.known_length.is_empty() || container.known_length.contains(&bytes));
        }
    }

    #[test]
    fn the_ending_names_the_container_else_it_is_matroska() {
        let name = |path: &str| container_of(path.as_ref()).0;
        assert_eq!(["a.MOV", "a.m4v", "a", "a.xyz"].map(name), ["mov", "mp4", "mkv", "mkv"]);
    }
}
