//! Whether an MPEG transport stream (ISO 13818-1) has a program clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gstreamer as gst;

use super::head::{Finding, Head};
use super::metadata::is_klv;
use super::packets::{PACKET, SIZES, SYNC, field_of, program_map, program_maps, section, starting_payload};

/// A program clock comes every 0.1 s. Where the packets' times have moved on by this much without one, ns, there is none.
const LONGEST_WAIT: u64 = 1_000_000_000;

/// The first packets of one.
#[derive(Debug, Default)]
pub(super) struct TransportStream {
    /// Bytes of a packet that is not complete.
    rest: Vec<u8>,
    /// From one packet to the next, once it is known.
    size: Option<usize>,
    /// Where the maps of its programs are, and what they say. Some may not be sent.
    maps: Vec<u16>,
    programs: Vec<Program>,
    /// Where a clock was seen.
    clocks: Vec<u16>,
    times: Option<Times>,
    /// Where it is told how far its packets are apart once a map names KLV.
    klv: Arc<AtomicUsize>,
}

#[derive(Debug, PartialEq)]
struct Program {
    clock: u16,
    streams: Vec<u16>,
    has_klv: bool,
}

/// Times of packets, ns.
#[derive(Debug, Clone, Copy)]
struct Times {
    first: u64,
    least: u64,
    most: u64,
}

impl TransportStream {
    /// Whether it is one, as far as can be said.
    pub fn is_one(&self) -> bool {
        self.size.is_some()
    }

    /// One that tells `klv` how far its packets are apart once a map names KLV.
    pub fn telling(klv: &Arc<AtomicUsize>) -> Self {
        Self { klv: klv.clone(), ..Self::default() }
    }

    fn packet(&mut self, packet: &[u8; PACKET], size: usize) {
        let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
        if field_of(packet) > 1 && packet[5] & 0x10 != 0 && !self.clocks.contains(&pid) && self.clocks.len() < 64 {
            self.clocks.push(pid);
        }
        let Some(payload) = starting_payload(packet) else { return };
        if pid == 0 {
            if self.maps.is_empty() {
                self.maps = section(payload).and_then(program_maps).unwrap_or_default();
            }
        } else if self.maps.contains(&pid) {
            let program = section(payload).and_then(program_map).map(|map| Program {
                clock: map.clock,
                streams: map.streams.iter().map(|stream| stream.pid).collect(),
                has_klv: map.streams.iter().any(is_klv),
            });
            if program.as_ref().is_some_and(|program| program.has_klv) {
                self.klv.store(size, Ordering::Release);
            }
            self.programs
                .extend(program.filter(|program| !self.programs.contains(program) && self.programs.len() < 64));
        } else if self.programs.iter().any(|program| program.streams.contains(&pid)) {
            for time in times(payload).into_iter().flatten().flatten() {
                let times = self.times.get_or_insert(Times { first: time, least: time, most: time });
                (times.least, times.most) = (times.least.min(time), times.most.max(time));
            }
        }
    }

    fn has_clock(&self) -> bool {
        self.programs.iter().any(|program| self.clocks.contains(&program.clock))
    }

    fn no_clock(times: Times) -> Finding {
        Finding::NoClock(gst::ClockTime::from_nseconds(times.first - times.least))
    }
}

impl Head for TransportStream {
    fn read(&mut self, bytes: &[u8]) -> Option<Finding> {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let left = &self.rest[at..];
            let Some(size) = self.size else {
                match sizes(left) {
                    Some((skip, size)) => {
                        at += skip;
                        self.size = Some(size);
                        continue;
                    }
                    None => break,
                }
            };
            let Some(packet) = left.first_chunk::<PACKET>().filter(|_| left.len() >= size) else { break };
            if packet[0] != SYNC {
                // Out of step: as the demuxer does, it looks for the next packet.
                self.size = None;
                at += 1;
                continue;
            }
            let packet = *packet;
            at += size;
            self.packet(&packet, size);
            if self.has_clock() {
                return Some(Finding::Fine);
            }
            if let Some(times) = self.times.filter(|times| times.most - times.least >= LONGEST_WAIT) {
                return Some(Self::no_clock(times));
            }
        }
        self.rest.drain(..at);
        None
    }

    fn end(&self) -> Finding {
        self.times.filter(|_| !self.has_clock()).map_or(Finding::Fine, Self::no_clock)
    }
}

/// Where the first packet is in `bytes`, and how far it is from there to the next.
fn sizes(bytes: &[u8]) -> Option<(usize, usize)> {
    let longest = *SIZES.last()?;
    let starts = 0..bytes.len().checked_sub(2 * longest)?.min(longest);
    let is_packet = |start: usize, size: usize| (0..3).all(|n| bytes.get(start + n * size) == Some(&SYNC));
    starts.flat_map(|start| SIZES.map(|size| (start, size))).find(|(start, size)| is_packet(*start, *size))
}

/// Presentation and decoding time of a packet of audio, video or private data, ns.
fn times(packet: &[u8]) -> Option<[Option<u64>; 2]> {
    if packet.get(..3)? != [0, 0, 1] || !matches!(packet.get(3)?, 0xBD | 0xC0..=0xEF | 0xFD) {
        return None;
    }
    let flags = packet.get(7)?;
    let time = |at: usize| {
        let b: &[u8; 5] = packet.get(at..)?.first_chunk()?;
        let [high, middle, low] = [u64::from(b[0] >> 1 & 7), be(b[1], b[2]) >> 1, be(b[3], b[4]) >> 1];
        Some((high << 30 | middle << 15 | low) * 100_000 / 9)
    };
    Some([(flags & 0x80 != 0).then(|| time(9)).flatten(), (flags & 0xC0 == 0xC0).then(|| time(14)).flatten()])
}

fn be(high: u8, low: u8) -> u64 {
    u64::from(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(pid: u16, starts: bool, clock: bool, payload: &[u8]) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let field = PACKET - 4 - payload.len();
        let mut packet = vec![SYNC, high | u8::from(starts) << 6, low, 0x30];
        packet.push(u8::try_from(field - 1).expect("it fits"));
        packet.push(if clock { 0x10 } else { 0 });
        packet.resize(4 + field, 0xFF);
        [packet.as_slice(), payload].concat()
    }

    fn pes(ms: u64) -> Vec<u8> {
        let t = ms * 90;
        let byte = |shift: u64| u8::try_from(t >> shift & 0xFF).expect("a byte");
        let bits = [0x21 | byte(29) & 0x0E, byte(22), byte(14) | 1, byte(7), byte(0) << 1 | 1];
        [&[0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5], bits.as_slice()].concat()
    }

    /// A stream whose map says that `clock` has the clock; packets of video 100 ms apart follow it, the second the earliest.
    fn stream(clock: u16, has_clock: bool) -> Vec<u8> {
        let [high, low] = clock.to_be_bytes();
        let pat = packet(0, true, false, &[0, 0, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0, 0, 0, 0, 0]);
        let map = [0, 2, 0xB0, 18, 0, 1, 0xC1, 0, 0, 0xE0 | high, low, 0xF0, 0, 0x1B, 0xE1, 0, 0xF0, 0, 0, 0, 0, 0];
        let video = (0..20).map(|n| packet(0x100, true, has_clock, &pes(if n == 1 { 960 } else { 1000 + n * 100 })));
        [pat, packet(0x1000, true, false, &map)].into_iter().chain(video).flatten().collect()
    }

    #[test]
    fn a_clock_is_there_or_not() {
        let later = gst::ClockTime::from_mseconds(40);
        for (bytes, expected) in [
            (stream(0x100, true), Finding::Fine),
            (stream(0x100, false), Finding::NoClock(later)),
            (stream(0x1FFF, false), Finding::NoClock(later)),
        ] {
            // In pieces as they may come; and packets as Blu-ray has them.
            for piece in [1, 47, 1316, bytes.len()] {
                let mut head = TransportStream::default();
                assert_eq!(bytes.chunks(piece).find_map(|piece| head.read(piece)), Some(expected.clone()));
            }
            let spaced: Vec<u8> = bytes.chunks(PACKET).flat_map(|p| [&[0, 0, 0, 0], p].concat()).collect();
            assert_eq!(TransportStream::default().read(&spaced), Some(expected.clone()));
            let mut short = TransportStream::default();
            assert_eq!(short.read(&bytes[..PACKET * 5]), Some(Finding::Fine).filter(|_| expected == Finding::Fine));
            assert_eq!(short.end(), expected);
        }
    }

    #[test]
    fn of_several_programs_one_is_enough() {
        gst::init().expect("GStreamer");
        let mut bytes = stream(0x100, true);
        // The first program of the table is at another place, and never sent.
        let table = [0, 0, 0xB0, 17, 0, 1, 0xC1, 0, 0, 0, 7, 0xE7, 0x77, 0, 1, 0xF0, 0, 0, 0, 0, 0];
        bytes.splice(..PACKET, packet(0, true, false, &table));
        assert_eq!(TransportStream::default().read(&bytes), Some(Finding::Fine));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..4000), at in 0..PACKET) {
            for start in (at..bytes.len()).step_by(PACKET) {
                bytes[start] = SYNC;
            }
            let mut head = TransportStream::default();
            let read = head.read(&bytes);
            prop_assert!(read.is_none() || read == Some(head.end()) || read == Some(Finding::Fine));
        }
    }
}
