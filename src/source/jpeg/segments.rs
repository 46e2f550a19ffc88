//! The marker segments of a JPEG image.

use std::ops::Range;

pub(super) const SOF0: u8 = 0xC0;
pub(super) const SOF2: u8 = 0xC2;
pub(super) const SOI: u8 = 0xD8;
pub(super) const EOI: u8 = 0xD9;
pub(super) const SOS: u8 = 0xDA;
pub(super) const APP0: u8 = 0xE0;
pub(super) const APP1: u8 = 0xE1;
pub(super) const APP14: u8 = 0xEE;

/// The marker segments at the beginning of a JPEG image, up to the first scan's header, as far as they are whole
/// (ITU-T T.81, annex B).
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One marker segment.
pub(super) struct Segment {
    pub marker: u8,
    /// Behind the marker and the length.
    pub payload: Range<usize>,
}

impl<'a> Segments<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        // Fill bytes may stand before a marker.
        while self.bytes.get(self.at..self.at + 2)? == [0xFF, 0xFF] {
            self.at += 1;
        }
        let &[0xFF, marker, high, low] = self.bytes.get(self.at..self.at + 4)? else { return None };
        let end = self.at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let payload = self.at + 4..end;
        self.bytes.get(payload.clone())?;
        self.at = if marker == SOS { self.bytes.len() } else { end };
        Some(Segment { marker, payload })
    }
}
