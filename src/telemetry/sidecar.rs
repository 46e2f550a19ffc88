//! Files of telemetry beside a video: subtitles, packets.

use std::path::{Path, PathBuf};

use super::packet::{Packet, Reader};
use super::{Timeline, srt};

/// A file is no larger than this: hours of samples.
const LARGEST: u64 = 256 << 20;

/// Why a file beside a video cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}\n  {remedy}", path.display())]
pub struct SidecarError {
    path: PathBuf,
    problem: String,
    remedy: &'static str,
}

/// What files there may be, by their endings.
pub const ENDINGS: [&str; 2] = ["srt", "klv"];

/// Whether `path` has the ending of such a file.
#[must_use]
pub fn is_sidecar(path: &Path) -> bool {
    ending(path).is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// The subtitles that a drone writes beside `video`, where they are there: the same name with the ending `.SRT`.
#[must_use]
pub fn beside(video: &Path) -> Option<PathBuf> {
    ["SRT", "srt", "Srt"].map(|ending| video.with_extension(ending)).into_iter().find(|path| path.is_file())
}

/// The packets of a file, in the time of the video.
///
/// # Errors
/// When it cannot be read, or holds no telemetry.
pub fn read(path: &Path) -> Result<Vec<Packet>, SidecarError> {
    let failed = |problem: String, remedy| SidecarError { path: path.to_owned(), problem, remedy };
    let about = std::fs::metadata(path).map_err(|e| failed(e.to_string(), "check the path and its permissions"))?;
    if about.len() > LARGEST {
        return Err(failed(format!("{} bytes of telemetry", about.len()), "give a part of it"));
    }
    let bytes = std::fs::read(path).map_err(|e| failed(e.to_string(), "check the path and its permissions"))?;
    let packets = match ending(path).as_deref() {
        Some("srt") => subtitles(&String::from_utf8_lossy(&bytes)),
        Some("klv") => packets(&bytes),
        _ => return Err(failed("unknown ending".into(), "name a file .srt or .klv")),
    };
    if packets.is_empty() {
        return Err(failed("there is no telemetry in it".into(), "name the file that belongs to the video"));
    }
    Ok(packets)
}

/// What a file says, `offset_ns` later than it says it.
///
/// # Errors
/// When it cannot be read, or holds no telemetry.
pub fn timeline(path: &Path, offset_ns: i64) -> Result<Timeline, SidecarError> {
    let packets = read(path)?;
    let later = |ns: u64| ns.saturating_add_signed(offset_ns);
    let said = packets.iter().flat_map(|packet| &packet.known);
    Ok(Timeline::of_file(said.map(|(from, until, known)| (later(*from), until.map(later), *known))))
}

/// Cues with their times; without any, they begin with the first one's date.
fn subtitles(text: &str) -> Vec<Packet> {
    let mut first = None;
    let cues = srt::cues(text).filter_map(|cue| {
        if let Some((from, until)) = cue.span_ms {
            return Reader::cue(cue.text, Some(from * 1_000_000), Some(until.saturating_sub(from) * 1_000_000));
        }
        let mut packet = Reader::cue(cue.text, None, None)?;
        let date: jiff::civil::DateTime = packet.fields.get("datetime")?.as_str()?.parse().ok()?;
        let at = jiff::tz::Offset::UTC.to_timestamp(date).ok()?.as_nanosecond();
        let at = u64::try_from(at - *first.get_or_insert(at)).ok()?;
        packet.pts_ns = Some(at);
        packet.known.iter_mut().for_each(|(from, ..)| *from = at);
        Some(packet)
    });
    cues.collect()
}

/// Packets of MISB ST 0601 one after another, by their own times: the first one is with the first frame.
fn packets(bytes: &[u8]) -> Vec<Packet> {
    let mut first = None;
    let mut packets = Reader::default().klv(bytes, None);
    for packet in &mut packets {
        let time = packet.fields.get("precision_time_stamp").and_then(serde_json::Value::as_u64);
        let Some(time) = time.filter(|_| packet.checksum_ok != Some(false)) else { continue };
        let at = time.saturating_sub(*first.get_or_insert(time)).saturating_mul(1000);
        packet.pts_ns = Some(at);
        packet.known.iter_mut().for_each(|(from, ..)| *from = at);
    }
    packets.retain(|packet| packet.pts_ns.is_some());
    packets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::test_data;

    fn shared(name: &str) -> PathBuf {
        let folder = std::env::var_os("STREAMDET_TEST_DATA")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
        folder.join("data/telemetry").join(name)
    }

    #[test]
    fn files_are_read_by_their_endings() {
        if test_data("dji/expected.json").is_none() {
            return;
        }
        let times = |name: &str| {
            let packets = read(&shared(name)).unwrap_or_else(|e| panic!("{e}"));
            (packets.len(), packets[0].pts_ns, packets[packets.len() - 1].pts_ns)
        };
        assert_eq!(times("dji-clips/p4rtk-1hz.SRT"), (8, Some(0), Some(7_000_000_000)));
        assert_eq!(times("dji/juanirache/mavic_2_style.SRT"), (468, Some(0), Some(468_000_000_000)));
        assert_eq!(times("klv-sample-stream/sample-stream.klv"), (277, Some(0), Some(9_200_000_000)));
        assert_eq!(beside(&shared("dji-clips/p4rtk-1hz.mp4")), Some(shared("dji-clips/p4rtk-1hz.SRT")));
        let said = |name: &str| read(&shared(name)).expect_err("no telemetry").to_string();
        assert!(said("dji/juanirache/broken_empty.SRT").contains("there is no telemetry in it"));
        assert!(said("nowhere.srt").contains("check the path"), "{}", said("nowhere.srt"));
        assert!(said("INDEX.md").contains("name a file .srt or .klv"));
    }
}
