//! What is in an MPEG program stream (ISO 13818-1) that has no program stream map.

use super::head::{Finding, Head};

const SYSTEM: u8 = 0xBB;
const MAP: u8 = 0xBC;
const PACK: u8 = 0xBA;
/// Bytes of a stream that are looked at: a first frame's headers come before them.
const LOOKED_AT: usize = 4096;

/// The first packets of one.
#[derive(Debug, Default)]
pub(super) struct ProgramStream {
    rest: Vec<u8>,
    /// Streams by their id, what they begin with, and their type in the map.
    streams: Vec<(u8, Vec<u8>, Option<Kind>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As the demuxer takes it anyway.
    Default,
    /// Of this stream type.
    Typed(u8),
}

impl ProgramStream {
    /// The packet of stream `id`, from behind its length on.
    fn packet(&mut self, id: u8, packet: &[u8]) {
        if !matches!(id, 0xC0..=0xEF) {
            return;
        }
        let Some(payload) = payload(packet) else { return };
        let index = self.streams.iter().position(|(known, ..)| *known == id).unwrap_or_else(|| {
            self.streams.push((id, Vec::new(), None));
            self.streams.len() - 1
        });
        let (_, bytes, kind) = &mut self.streams[index];
        if kind.is_none() {
            bytes.extend_from_slice(payload);
            *kind = if id < 0xE0 { audio(bytes) } else { video(bytes) };
            *kind = kind.or((bytes.len() > LOOKED_AT).then_some(Kind::Default));
        }
    }

    fn has_video(&self) -> bool {
        self.streams.iter().any(|(id, _, kind)| *id >= 0xE0 && kind.is_some())
    }

    fn found(&self) -> Finding {
        let typed = self.streams.iter().filter_map(|(id, _, kind)| match kind {
            Some(Kind::Typed(kind)) => Some([*kind, *id, 0, 0]),
            _ => None,
        });
        let entries: Vec<u8> = typed.flatten().collect();
        let Ok(length) = u8::try_from(entries.len()) else { return Finding::Fine };
        if entries.is_empty() {
            return Finding::Fine;
        }
        // The checksum at the end is not looked at.
        let head = [0, 0, 1, MAP, 0, 10 + length, 0xE0, 0xFF, 0, 0, 0, length];
        Finding::Missing([head.as_slice(), &entries, &[0; 4]].concat())
    }
}

impl Head for ProgramStream {
    fn read(&mut self, bytes: &[u8]) -> Option<Finding> {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let mut at = 0;
        let found = loop {
            let left = &rest[at..];
            let Some([0, 0, 1, id]) = left.first_chunk::<4>().copied() else {
                if left.len() < 4 {
                    break None;
                }
                at += 1;
                continue;
            };
            match id {
                MAP => break Some(Finding::Fine),
                PACK => at += 4,
                SYSTEM.. => {
                    let Some(length) = left.get(4..6) else { break None };
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    let Some(packet) = left.get(6..6 + length) else { break None };
                    self.packet(id, packet);
                    at += 6 + length;
                    if self.has_video() {
                        break Some(self.found());
                    }
                }
                _ => at += 1,
            }
        };
        self.rest = rest.split_off(at);
        found
    }

    fn end(&self) -> Finding {
        self.found()
    }
}

/// What follows the header of a packet, whose length was read already.
fn payload(packet: &[u8]) -> Option<&[u8]> {
    if packet.first()? & 0xC0 == 0x80 {
        return packet.get(3 + usize::from(*packet.get(2)?)..);
    }
    // MPEG-1's: padding, the size of a buffer, times.
    let padded = packet.iter().position(|byte| *byte != 0xFF)?;
    let sized = if packet[padded] & 0xC0 == 0x40 { 2 } else { 0 };
    let times = match packet.get(padded + sized)? >> 4 {
        2 => 5,
        3 => 10,
        _ => 1,
    };
    packet.get(padded + sized + times..)
}

/// What `bytes` of a video stream begin with; `None` where they are too few.
fn video(bytes: &[u8]) -> Option<Kind> {
    let at = bytes.windows(3).position(|code| code == [0, 0, 1])?;
    let [first, second] = *bytes.get(at + 3..)?.first_chunk()?;
    Some(match (first, second) {
        // Parameter sets and delimiters of HEVC: their layer is 0, their temporal id 1.
        (0x40 | 0x42 | 0x44 | 0x46, 1) => Kind::Typed(0x24),
        // MPEG-4 part 2: visual object sequence, visual object, video object and its layer.
        (0xB0 | 0xB5, _) | (0x20..=0x26, 0) => Kind::Typed(0x10),
        // H.264: parameter sets, delimiter, additional information; a slice of a keyframe.
        (first, _) if first & 0x80 == 0 && matches!(first & 0x1F, 5..=9) => Kind::Typed(0x1B),
        _ => Kind::Default,
    })
}

/// The same of an audio stream.
fn audio(bytes: &[u8]) -> Option<Kind> {
    let [first, second] = *bytes.first_chunk()?;
    Some(match (first, second) {
        (0xFF, second) if second & 0xF6 == 0xF0 => Kind::Typed(0x0F),
        (0x56, second) if second & 0xE0 == 0xE0 => Kind::Typed(0x11),
        _ => Kind::Default,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(id: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 8).expect("a short packet");
        let head = [&[0, 0, 1, id], length.to_be_bytes().as_slice(), &[0x80, 0x80, 5, 0x21, 0, 1, 0, 1]].concat();
        [head.as_slice(), payload].concat()
    }

    #[test]
    fn what_no_map_names_is_recognised() {
        let pack = [0, 0, 1, PACK, 0x44, 0, 4, 0, 4, 1, 0, 3, 3, 0xF8];
        let aac = packet(0xC0, &[0xFF, 0xF1, 0x50]);
        let map = |entries: &[u8]| {
            let length = u8::try_from(entries.len()).expect("few");
            let head = [0, 0, 1, MAP, 0, 10 + length, 0xE0, 0xFF, 0, 0, 0, length];
            Finding::Missing([head.as_slice(), entries, &[0; 4]].concat())
        };
        for (video, expected) in [
            (&[0, 0, 0, 1, 0x67, 0x42][..], map(&[0x0F, 0xC0, 0, 0, 0x1B, 0xE2, 0, 0])),
            (&[0, 0, 1, 9, 0xF0], map(&[0x0F, 0xC0, 0, 0, 0x1B, 0xE2, 0, 0])),
            (&[0, 0, 0, 1, 0x40, 1], map(&[0x0F, 0xC0, 0, 0, 0x24, 0xE2, 0, 0])),
            (&[0, 0, 1, 0xB0, 1], map(&[0x0F, 0xC0, 0, 0, 0x10, 0xE2, 0, 0])),
            (&[0, 0, 1, 0xB3, 0x14], map(&[0x0F, 0xC0, 0, 0])),
        ] {
            let bytes = [&pack, aac.as_slice(), &packet(0xE2, video)].concat();
            let old = [&[0, 0, 1, 0xE2, 0, 19, 0xFF, 0xFF, 0x60, 0x20, 0x31][..], &[1; 9], video, &[1, 2]].concat();
            assert_eq!(&payload(&old[6..]).expect("a header")[..video.len()], video);
            for piece in [1, 5, bytes.len()] {
                let mut head = ProgramStream::default();
                assert_eq!(
                    bytes.chunks(piece).find_map(|piece| head.read(piece)),
                    Some(expected.clone()),
                    "{video:x?}"
                );
            }
            let mapped = [&pack, &[0, 0, 1, MAP, 0, 0][..], &bytes].concat();
            assert_eq!(ProgramStream::default().read(&mapped), Some(Finding::Fine));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..300)) {
            let mut head = ProgramStream::default();
            let read = head.read(&bytes);
            prop_assert!(read.is_none_or(|read| read == Finding::Fine || read == head.end()));
        }
    }
}
