//! Packets of SMPTE ST 336 and the items of their sets.

use super::ber::{length, oid};

/// The key of a UAS Datalink Local Set, MISB ST 0601.
pub const UAS_KEY: [u8; 16] =
    [0x06, 0x0E, 0x2B, 0x34, 0x02, 0x0B, 0x01, 0x01, 0x0E, 0x01, 0x03, 0x01, 0x01, 0x00, 0x00, 0x00];
/// The key of a VMTI Local Set that stands alone, MISB ST 0903.
pub const VMTI_KEY: [u8; 16] =
    [0x06, 0x0E, 0x2B, 0x34, 0x02, 0x0B, 0x01, 0x01, 0x0E, 0x01, 0x03, 0x03, 0x06, 0x00, 0x00, 0x00];
/// What the keys of all standards begin with.
pub(super) const UNIVERSAL: [u8; 4] = [0x06, 0x0E, 0x2B, 0x34];

/// One packet: a key and the set that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Key, length and value.
    pub whole: &'a [u8],
    /// What kind of set it is.
    pub key: [u8; 16],
    /// The items.
    pub value: &'a [u8],
}

/// One after another, the packets in `bytes`; bytes between them are passed over.
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    bytes: &'a [u8],
    skipped: usize,
}

impl<'a> Packets<'a> {
    /// Those in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, skipped: 0 }
    }

    /// Bytes so far that were in no packet, those of one that is cut short included.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        loop {
            let start = self.bytes.windows(UNIVERSAL.len()).position(|bytes| bytes == UNIVERSAL);
            let Some(start) = start else {
                self.skipped += self.bytes.len();
                self.bytes = &[];
                return None;
            };
            self.skipped += start;
            self.bytes = &self.bytes[start..];
            let packet = packet(self.bytes);
            let Some(packet) = packet else {
                // Its beginning was none, or it is cut short.
                self.skipped += 1;
                self.bytes = &self.bytes[1..];
                continue;
            };
            self.bytes = &self.bytes[packet.whole.len()..];
            return Some(packet);
        }
    }
}

/// The packet that `bytes` begin with.
fn packet(bytes: &[u8]) -> Option<Packet<'_>> {
    let (key, rest) = bytes.split_first_chunk::<16>()?;
    let (length, read) = length(rest)?;
    let value = rest.get(read..read.checked_add(length)?)?;
    Some(Packet { whole: &bytes[..16 + read + length], key: *key, value })
}

/// The items of a local set, in their order; `Err` for bytes at its end that are no whole item.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    bytes: &'a [u8],
}

impl<'a> Items<'a> {
    /// Those of the set `value`.
    #[must_use]
    pub fn new(value: &'a [u8]) -> Self {
        Self { bytes: value }
    }
}

/// Bytes at the end of a set that are no whole item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutShort;

impl<'a> Iterator for Items<'a> {
    type Item = Result<(u32, &'a [u8]), CutShort>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let item = oid(self.bytes).and_then(|(tag, read)| {
            let rest = &self.bytes[read..];
            let (length, read) = length(rest)?;
            let end = read.checked_add(length)?;
            let value = rest.get(read..end)?;
            self.bytes = &rest[end..];
            Some((tag, value))
        });
        if item.is_none() {
            self.bytes = &[];
        }
        Some(item.ok_or(CutShort))
    }
}

/// What the checksum of a packet says; `None` where it has none. It is the last item, tag 1: the sum of all 16-bit words before its
/// value.
#[must_use]
pub fn checksum(packet: &Packet<'_>) -> Option<Checksum> {
    let stated = Items::new(packet.value).filter_map(Result::ok).filter(|(tag, value)| *tag == 1 && value.len() == 2);
    let [high, low] = *stated.last()?.1.first_chunk::<2>()?;
    let before = packet.whole.get(..packet.whole.len().checked_sub(2)?)?;
    Some(Checksum { stated: u16::from_be_bytes([high, low]), computed: sum(before) })
}

/// The checksum of ST 0601: the sum of all 16-bit words, an odd last byte being the high one.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    let word = |word: &[u8]| u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
    bytes.chunks(2).map(word).fold(0, u16::wrapping_add)
}

/// As it is written in a packet, and as it would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// As the packet has it.
    pub stated: u16,
    /// Of the packet's bytes.
    pub computed: u16,
}

impl Checksum {
    /// Whether the two are equal.
    #[must_use]
    pub fn is_good(self) -> bool {
        self.stated == self.computed
    }
}

/// Bytes as people write them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// A text of a set: UTF-8, else Latin-1; without zeros at its end.
pub(in crate::telemetry) fn text(bytes: &[u8]) -> String {
    let bytes = bytes.iter().rposition(|byte| *byte != 0).map_or(&[][..], |last| &bytes[..=last]);
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}
