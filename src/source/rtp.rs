//! RTP on a UDP port: what it carries, by what the address says or by its first packets.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::ConnectError;
use crate::text::nearest;

/// What `?rtp=` takes, and the encoding's name in RTP.
const ENCODINGS: [(&str, &str); 6] =
    [("h264", "H264"), ("h265", "H265"), ("mp2t", "MP2T"), ("jpeg", "JPEG"), ("vp8", "VP8"), ("vp9", "VP9")];
const TRANSPORT_STREAM: u8 = 0x47;
/// Payload types that RFC 3551 fixes.
const MP2T: u8 = 33;
const JPEG: u8 = 26;
/// Packets by which an encoding is recognised at the latest.
const PACKETS: u32 = 40;

/// The names that `?rtp=` takes.
pub(super) fn names() -> String {
    ENCODINGS.map(|(name, _)| name).join(", ")
}

/// The encoding's name in RTP; else the nearest name there is.
pub(super) fn encoding(name: &str) -> Result<&'static str, &'static str> {
    let lower = name.to_ascii_lowercase();
    let found = ENCODINGS.into_iter().find(|(known, _)| *known == lower);
    found
        .map(|(_, encoding)| encoding)
        .ok_or_else(|| nearest(&lower, ENCODINGS.map(|(name, _)| name)).unwrap_or("h264"))
}

/// What arrives on a UDP port in place of MPEG-TS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// RTP that carries this.
    Encoding(&'static str),
    /// RTP of this payload type that carries something else.
    Unknown(u8),
}

impl Found {
    /// What is said where it cannot be decoded.
    pub fn refusal(self) -> Option<ConnectError> {
        let Self::Unknown(kind) = self else { return None };
        let problem = format!("it is RTP (payload type {kind}) of an encoding that is not recognised, not MPEG-TS");
        let remedy = format!("name it: udp://HOST:PORT?rtp=NAME, one of {}; or give the sender's .sdp file", names());
        Some(ConnectError::new(problem, remedy))
    }
}

/// Looks at the first packets of every UDP source of `bin`. Where they are RTP, an error on the bus ends the connection.
pub(super) fn watch(bin: &gst::Bin) -> Arc<OnceLock<Found>> {
    let found = Arc::<OnceLock<Found>>::default();
    for source in bin.iterate_elements().into_iter().flatten() {
        let Some(pad) = source.static_pad("src").filter(|_| source.factory().is_some_and(|f| f.name() == "udpsrc"))
        else {
            continue;
        };
        let (found, source, packets) = (found.clone(), source.downgrade(), AtomicU32::new(1));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(packet) = info.buffer().and_then(|buffer| buffer.map_readable().ok()) else {
                return gst::PadProbeReturn::Ok;
            };
            let Some((kind, payload)) = rtp(&packet) else { return gst::PadProbeReturn::Remove };
            let recognised = recognise(kind, payload).map(Found::Encoding);
            if let Some(what) =
                recognised.or((packets.fetch_add(1, Ordering::Relaxed) == PACKETS).then_some(Found::Unknown(kind)))
            {
                found.get_or_init(|| what);
                if let Some(source) = source.upgrade() {
                    gst::element_error!(source, gst::StreamError::WrongType, ("it is RTP"));
                }
                return gst::PadProbeReturn::Remove;
            }
            gst::PadProbeReturn::Handled
        });
    }
    found
}

/// Payload type and payload of an RTP packet (RFC 3550); `None` where it is none.
fn rtp(packet: &[u8]) -> Option<(u8, &[u8])> {
    let [flags, kind] = *packet.first_chunk()?;
    // A transport stream begins with its own sign; reports (RTCP) have other types.
    if flags & 0xC0 != 0x80 || flags == TRANSPORT_STREAM {
        return None;
    }
    let sources = 12 + 4 * usize::from(flags & 0x0F);
    let start = if flags & 0x10 == 0 {
        sources
    } else {
        let words = u16::from_be_bytes([*packet.get(sources + 2)?, *packet.get(sources + 3)?]);
        sources + 4 + 4 * usize::from(words)
    };
    Some((kind & 0x7F, packet.get(start..)?))
}

/// The encoding's name, by the payload's first bytes; `None` where they do not tell.
fn recognise(kind: u8, payload: &[u8]) -> Option<&'static str> {
    let [first, second] = *payload.first_chunk()?;
    match kind {
        MP2T => return Some("MP2T"),
        JPEG => return Some("JPEG"),
        _ => {}
    }
    if first == TRANSPORT_STREAM && payload.len().is_multiple_of(188) {
        return Some("MP2T");
    }
    // HEVC (RFC 7798): parameter sets, or keyframes in fragments, of layer 0 and temporal id 1.
    let hevc = first & 0x81 == 0 && second == 1;
    if hevc && matches!(first >> 1, 19..=21 | 32..=35 | 48 | 49) {
        return Some("H265");
    }
    // H.264 (RFC 6184): parameter sets, keyframes, aggregates and fragments, each of some importance.
    let h264 = first & 0x80 == 0 && first & 0x60 != 0;
    (h264 && matches!(first & 0x1F, 5 | 7 | 8 | 24 | 28)).then_some("H264")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x80, kind, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4], payload].concat()
    }

    #[test]
    fn encodings_are_recognised_by_their_packets() {
        let stream = [TRANSPORT_STREAM; 188];
        for (kind, payload, expected) in [
            (33, &stream[..], Some("MP2T")),
            (96, &stream, Some("MP2T")),
            (26, &[0, 0, 0, 0], Some("JPEG")),
            (96, &[0x67, 0x64], Some("H264")),
            (224, &[0x7C, 0x85], Some("H264")),
            (97, &[0x40, 1], Some("H265")),
            (97, &[0x62, 1, 0x93], Some("H265")),
            (96, &[0x01, 0x9A], None),
            (96, &[0x90, 0x90], None),
        ] {
            let bytes = packet(kind, payload);
            let (found, payload) = rtp(&bytes).expect("it is RTP");
            assert_eq!(recognise(found, payload), expected, "{kind} {payload:x?}");
        }
        assert_eq!(rtp(&stream), None);
        let extended =
            [&[0x91, 96, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 9, 9, 9, 9, 0xBE, 0xDE, 0, 1, 7, 7, 7, 7][..], &[0x67, 1]];
        assert_eq!(rtp(&extended.concat()), Some((96, &[0x67, 1][..])));
        assert_eq!((encoding("H265"), encoding("h246")), (Ok("H265"), Err("h264")));
    }
}
