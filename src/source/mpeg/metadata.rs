//! KLV that `tsdemux` of `GStreamer` 1.22 does not show as it is, changed on its way there.
//!
//! - Synchronous metadata (stream type 0x15) it passes over: the program map is changed so that it is private data (0x06) that is
//!   registered as KLV.
//! - Packets without a time it shows later than they come: each gets the time of the frame that it stands before.

use super::packets::{self, PACKET, SYNC, Stream, program_map, program_maps, section, starting_payload};

/// Metadata in PES packets.
const SYNCHRONOUS: u8 = 0x15;
/// Private data in PES packets.
const PRIVATE: u8 = 0x06;
/// MPEG-1 and -2, MPEG-4, H.264, JPEG 2000, H.265.
const VIDEO: [u8; 6] = [0x01, 0x02, 0x10, 0x1B, 0x21, 0x24];
/// The descriptor of what metadata is, and that of what private data is registered as.
const METADATA_DESCRIPTOR: u8 = 0x26;
const REGISTRATION: [u8; 6] = [5, 4, b'K', b'L', b'V', b'A'];
/// Of a PES packet without a time, and of one with it.
const PES_HEADER: usize = 9;
const TIMED_HEADER: [u8; PES_HEADER] = [0, 0, 1, 0xBD, 0, 0, 0x84, 0x80, 5];
/// PES packets without a time that wait for a frame, at most.
const HELD: usize = 64;

/// Changes packets as they pass.
#[derive(Debug, Default)]
pub(super) struct Rewriter {
    /// Bytes of a packet that is not complete.
    rest: Vec<u8>,
    /// Bytes between packets that are still to come, and whether they go with a packet that is held.
    between: usize,
    is_held: bool,
    maps: Vec<u16>,
    klv: Vec<Klv>,
    video: Vec<u16>,
    /// Whether something was changed, and whether KLV came that is fine as it is.
    has_changed: bool,
    has_passed: bool,
}

/// A stream of KLV.
#[derive(Debug, Default)]
struct Klv {
    pid: u16,
    /// Of the next packet that goes on.
    counter: u8,
    /// Packets were held, so that those that go on are counted anew.
    has_held: bool,
    /// A PES packet without a time, as far as it came.
    coming: Option<Vec<u8>>,
    /// What such packets carried.
    held: Vec<Vec<u8>>,
}

impl Rewriter {
    /// Whether all is known to be fine as it is.
    pub fn is_idle(&self) -> bool {
        self.has_passed && !self.has_changed && self.rest.is_empty() && self.between == 0
    }

    /// Whether something was changed, once that is known.
    pub fn verdict(&self) -> Option<bool> {
        (self.has_changed || self.has_passed).then_some(self.has_changed)
    }

    /// Takes `bytes`; the packets that are whole by now, which begin every `size` bytes.
    pub fn pass(&mut self, bytes: &[u8], size: usize) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let (mut at, mut out) = (0, Vec::with_capacity(rest.len()));
        loop {
            let passed = self.between.min(rest.len() - at);
            if !self.is_held {
                out.extend_from_slice(&rest[at..at + passed]);
            }
            (at, self.between) = (at + passed, self.between - passed);
            let Some(packet) = rest[at..].first_chunk::<PACKET>() else { break };
            if packet[0] != SYNC {
                // Out of step: the demuxer finds its way.
                out.push(packet[0]);
                at += 1;
                continue;
            }
            self.is_held = !self.packet(*packet, &mut out, size);
            at += PACKET;
            self.between = size - PACKET;
        }
        rest.drain(..at);
        self.rest = rest;
        out
    }

    /// Takes a packet; whether it goes on.
    fn packet(&mut self, mut packet: [u8; PACKET], out: &mut Vec<u8>, size: usize) -> bool {
        let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
        if let Some(klv) = self.klv.iter_mut().find(|klv| klv.pid == pid) {
            match klv.take(&packet) {
                Taken::Passes => self.has_passed = true,
                Taken::Held => {
                    self.has_changed = true;
                    return false;
                }
                Taken::GoesOn => {}
            }
            klv.number(&mut packet);
        } else if let Some(payload) = starting_payload(&packet) {
            let start = PACKET - payload.len();
            if pid == 0 {
                if let Some(maps) = section(payload).and_then(program_maps) {
                    self.maps = maps;
                }
            } else if self.maps.contains(&pid) {
                self.map(&mut packet[start..]);
            } else if self.video.contains(&pid)
                && let Some(time) = time(payload)
            {
                for klv in &mut self.klv {
                    klv.give(time, out, size);
                }
            }
        }
        out.extend_from_slice(&packet);
        true
    }

    /// Notes what the program map in the payload of a packet names, and changes it where it names synchronous KLV.
    fn map(&mut self, payload: &mut [u8]) -> Option<()> {
        let start = 1 + usize::from(*payload.first()?);
        let map = program_map(payload.get(start..)?).filter(|map| map.is_whole)?;
        let mut changed = map.head.to_vec();
        for stream in &map.streams {
            let &Stream { kind, pid, descriptors } = stream;
            if is_klv(stream) && !self.klv.iter().any(|klv| klv.pid == pid) {
                self.klv.push(Klv { pid, ..Klv::default() });
            }
            if VIDEO.contains(&kind) && !self.video.contains(&pid) {
                self.video.push(pid);
            }
            let is_synchronous = is_synchronous_klv(stream);
            let (kind, about) = if is_synchronous { (PRIVATE, &REGISTRATION[..]) } else { (kind, descriptors) };
            let ([high, low], [many, few]) = (pid.to_be_bytes(), u16::try_from(about.len()).ok()?.to_be_bytes());
            changed.extend_from_slice(&[kind, 0xE0 | high, low, 0xF0 | many, few]);
            changed.extend_from_slice(about);
        }
        if !map.streams.iter().any(is_synchronous_klv) {
            return None;
        }
        self.has_changed = true;
        let [high, low] = u16::try_from(changed.len() + 4 - 3).ok()?.to_be_bytes();
        changed[1] = changed[1] & 0xF0 | high;
        changed[2] = low;
        changed.extend_from_slice(&crc(&changed).to_be_bytes());
        let (section, stuffing) = payload.get_mut(start..)?.split_at_mut_checked(changed.len())?;
        section.copy_from_slice(&changed);
        stuffing.fill(0xFF);
        Some(())
    }
}

/// What becomes of a packet of KLV.
enum Taken {
    /// It goes on, and says when it is.
    Passes,
    /// It goes on with the one before it.
    GoesOn,
    /// It is held until the next frame says when that is.
    Held,
}

impl Klv {
    fn take(&mut self, packet: &[u8; PACKET]) -> Taken {
        if let Some(payload) = starting_payload(packet) {
            self.coming = None;
            if time(payload).is_some() || !payload.starts_with(&[0, 0, 1]) {
                return Taken::Passes;
            }
            self.coming = Some(payload.to_vec());
        } else if let Some(coming) = &mut self.coming {
            coming.extend_from_slice(packets::payload(packet).unwrap_or_default());
        } else {
            return Taken::GoesOn;
        }
        if let Some(coming) = &self.coming
            && let Some(length) = coming.get(4..6).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])))
            && let Some(whole) = coming.get(..6 + length)
        {
            let begin = whole.get(8).map_or(whole.len(), |header| PES_HEADER + usize::from(*header));
            if let Some(payload) = whole.get(begin..).filter(|_| self.held.len() < HELD) {
                self.held.push(payload.to_vec());
            }
            self.coming = None;
        }
        self.has_held = true;
        Taken::Held
    }

    fn number(&mut self, packet: &mut [u8; PACKET]) {
        if packet[3] & 0x10 != 0 {
            if self.has_held {
                packet[3] = packet[3] & 0xF0 | self.counter;
            }
            self.counter = (packet[3] + 1) & 0x0F;
        }
    }

    /// Puts what is held into packets of this time.
    fn give(&mut self, time: [u8; 5], out: &mut Vec<u8>, size: usize) {
        for payload in std::mem::take(&mut self.held) {
            let mut pes = TIMED_HEADER.to_vec();
            pes.extend_from_slice(&time);
            pes.extend_from_slice(&payload);
            let Ok(length) = u16::try_from(pes.len() - 6) else { continue };
            pes[4..6].copy_from_slice(&length.to_be_bytes());
            for (part, is_first) in pes.chunks(PACKET - 4).zip(std::iter::once(true).chain(std::iter::repeat(false))) {
                let [high, low] = self.pid.to_be_bytes();
                let mut packet = [0xFF; PACKET];
                packet[..4].copy_from_slice(&[SYNC, high | u8::from(is_first) << 6, low, 0x10]);
                let begin = PACKET - part.len();
                if begin > 4 {
                    // An adaptation field of stuffing.
                    packet[3] |= 0x20;
                    packet[4] = u8::try_from(begin - 5).unwrap_or_default();
                    if begin > 5 {
                        packet[5] = 0;
                    }
                }
                packet[begin..].copy_from_slice(part);
                self.number(&mut packet);
                out.extend_from_slice(&packet);
                // What stands between packets says nothing that the demuxer needs.
                out.resize(out.len() + size - PACKET, 0);
            }
        }
    }
}

/// The presentation time that a PES packet says, as its bytes; whether a decoding time follows is no part of it.
fn time(pes: &[u8]) -> Option<[u8; 5]> {
    let mut time = *pes.get(PES_HEADER..)?.first_chunk::<5>()?;
    time[0] = time[0] & 0x0F | 0x20;
    (pes.starts_with(&[0, 0, 1]) && pes[7] & 0x80 != 0).then_some(time)
}

/// Whether a stream is KLV, synchronous or not.
pub(super) fn is_klv(stream: &Stream<'_>) -> bool {
    let is_registered = |(tag, about): (u8, &[u8])| tag == 5 && about.starts_with(b"KLVA");
    is_synchronous_klv(stream) || (stream.kind == PRIVATE && each(stream.descriptors).any(is_registered))
}

fn is_synchronous_klv(stream: &Stream<'_>) -> bool {
    let says = |(tag, about): (u8, &[u8])| tag == METADATA_DESCRIPTOR && about.windows(4).any(|id| id == b"KLVA");
    stream.kind == SYNCHRONOUS && each(stream.descriptors).any(says)
}

/// Tags and bytes of descriptors.
fn each(mut descriptors: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [tag, length, rest @ ..] = descriptors else { return None };
        let (about, next) = rest.split_at_checked(usize::from(*length))?;
        descriptors = next;
        Some((*tag, about))
    })
}

/// CRC-32 of sections (ISO 13818-1, annex A).
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8)
            .fold(crc ^ u32::from(*byte) << 24, |crc, _| if crc >> 31 == 1 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::super::packets::SIZES;
    use super::*;
    use proptest::prelude::*;

    /// A packet that begins with this payload.
    fn packet(pid: u16, payload: &[u8]) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut packet = vec![SYNC, 0x40 | high, low, 0x10];
        packet.extend_from_slice(payload);
        packet.resize(PACKET, 0xFF);
        packet
    }

    fn section_of(table: &[u8]) -> Vec<u8> {
        [&[0], table, &crc(table).to_be_bytes()].concat()
    }

    const ABOUT: [u8; 11] = [METADATA_DESCRIPTOR, 9, 1, 0, 0xFF, b'K', b'L', b'V', b'A', 0, 0x0F];

    fn short(bytes: &[u8]) -> u8 {
        u8::try_from(bytes.len()).expect("few")
    }

    fn stream(stream_type: u8, descriptors: &[u8]) -> Vec<u8> {
        let programs = section_of(&[0, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0]);
        let streams = [&[0x1B, 0xE1, 0, 0xF0, 0, stream_type, 0xE1, 1, 0xF0, short(descriptors)], descriptors].concat();
        let map = [&[2, 0xB0, 13 + short(&streams), 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0], &streams[..]].concat();
        [packet(0, &programs), packet(0x1000, &section_of(&map)), packet(0x101, &[9; 100])].concat()
    }

    #[test]
    fn synchronous_klv_becomes_what_the_demuxer_knows() {
        // The CRC of a section, itself included, is zero.
        assert_eq!(crc(&section_of(&[2, 0xB0, 13])[1..]), 0);
        let bytes = stream(SYNCHRONOUS, &ABOUT);
        for piece in [1, 100, PACKET, bytes.len()] {
            let mut rewriter = Rewriter::default();
            let passed: Vec<u8> = bytes.chunks(piece).flat_map(|piece| rewriter.pass(piece, PACKET)).collect();
            assert_eq!((passed.len(), rewriter.verdict()), (bytes.len(), Some(true)));
            let map = &passed[PACKET + 5..2 * PACKET];
            let length = 3 + usize::from(map[2]);
            let streams = [&[0x1B, 0xE1, 0, 0xF0, 0, PRIVATE, 0xE1, 1, 0xF0, 6][..], &REGISTRATION].concat();
            assert_eq!((&map[12..length - 4], crc(&map[..length])), (&streams[..], 0));
            assert!(map[length..].iter().all(|byte| *byte == 0xFF));
            assert_eq!((&passed[..PACKET], &passed[2 * PACKET..]), (&bytes[..PACKET], &bytes[2 * PACKET..]));
        }
    }

    #[test]
    fn other_metadata_stays_as_it_is() {
        let id3 = [METADATA_DESCRIPTOR, 9, 1, 0, 0xFF, b'I', b'D', b'3', b' ', 0, 0x0F];
        for bytes in [stream(SYNCHRONOUS, &id3), stream(PRIVATE, &REGISTRATION)] {
            let mut rewriter = Rewriter::default();
            assert_eq!(rewriter.pass(&bytes, PACKET), bytes);
            assert_ne!(rewriter.verdict(), Some(true));
        }
    }

    #[test]
    fn a_packet_without_a_time_gets_that_of_the_next_frame() {
        let packets = stream(PRIVATE, &REGISTRATION);
        let klv: Vec<u8> = (0..250).collect();
        let untimed = [&[0, 0, 1, 0xBD, 0, 253, 0x84, 0, 0], &klv[..]].concat();
        let (first, last) = untimed.split_at(PACKET - 4);
        let mut rest = packet(0x101, last);
        // What it begins is no PES packet.
        rest[1] &= !0x40;
        rest.copy_within(4..4 + last.len(), PACKET - last.len());
        rest[3] |= 0x20;
        rest[4] = u8::try_from(PACKET - 5 - last.len()).expect("a field");
        let time = [0x31, 0x22, 0x33, 0x44, 0x55];
        let frame = packet(0x100, &[&[0, 0, 1, 0xE0, 0, 0, 0x80, 0xC0, 10][..], &time, &[0x11; 5]].concat());
        let bytes = [&packets[..2 * PACKET], &packet(0x101, first), &rest, &frame].concat();
        for size in SIZES {
            let spaced: Vec<u8> = bytes.chunks(PACKET).flat_map(|p| [p, &[0; 16][..size - PACKET]].concat()).collect();
            let mut rewriter = Rewriter::default();
            let passed: Vec<u8> = spaced.chunks(50).flat_map(|piece| rewriter.pass(piece, size)).collect();
            assert_eq!((passed.len(), rewriter.verdict()), (spaced.len(), Some(true)));
            let found: Vec<&[u8]> = passed.chunks(size).skip(2).map(|packet| &packet[..PACKET]).collect();
            let payload = |packet: &'_ [u8]| packets::payload(packet).map(<[u8]>::to_vec);
            let pes = [payload(found[0]).expect("bytes"), payload(found[1]).expect("bytes")].concat();
            let header = [0, 0, 1, 0xBD, 1, 2, 0x84, 0x80, 5, 0x21, 0x22, 0x33, 0x44, 0x55];
            assert_eq!((&pes[..14], &pes[14..]), (&header[..], &klv[..]));
            assert_eq!((found[0][3] & 0x0F, found[1][3] & 0x0F, found[2]), (0, 1, &frame[..]));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0..PACKET, size in 0..3_usize) {
            for start in (at..bytes.len()).step_by(SIZES[size]) {
                bytes[start] = SYNC;
            }
            let mut rewriter = Rewriter { maps: (0..0x0FFF).collect(), video: (0x1000..0x1800).collect(), ..Rewriter::default() };
            rewriter.klv.extend((0x1800..0x1FFF).map(|pid| Klv { pid, ..Klv::default() }));
            prop_assert!(rewriter.pass(&bytes, SIZES[size]).len() <= bytes.len() + 16 * PACKET);
        }
    }
}
