//! How packets lie in the payload of an MPEG transport stream (MISB ST 1402).

use std::borrow::Cow;

/// Of a metadata access unit cell: service, sequence number, flags, length.
const CELL_HEADER: usize = 5;

/// The packets in the payload of one PES packet: those of a synchronous stream lie in access unit cells (ISO 13818-1, 2.12.4), whose
/// headers are taken away. By the payload itself, since PES packets of an asynchronous stream may look like those of the other kind.
#[must_use]
pub fn packets(payload: &[u8]) -> Cow<'_, [u8]> {
    let is_key = |bytes: &[u8]| bytes.starts_with(&super::set::UNIVERSAL);
    if is_key(payload) || !payload.get(CELL_HEADER..).is_some_and(is_key) {
        // What is neither is read as it is: a set's key is looked for anyway.
        return Cow::Borrowed(payload);
    }
    let mut cells = Vec::with_capacity(payload.len());
    let mut rest = payload;
    while let Some((header, after)) = rest.split_first_chunk::<CELL_HEADER>() {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let cell = &after[..length.min(after.len())];
        cells.extend_from_slice(cell);
        rest = &after[cell.len()..];
    }
    Cow::Owned(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::klv::UAS_KEY;

    #[test]
    fn cells_are_taken_apart() {
        let packet = [&UAS_KEY[..], &[2, 5, 0]].concat();
        let cell = |bytes: &[u8]| [&[0, 7, 0xDF, 0, u8::try_from(bytes.len()).expect("few")], bytes].concat();
        assert_eq!(packets(&packet), packet);
        assert_eq!(packets(&cell(&packet)), packet);
        // One packet in two cells, and two cells of one packet each.
        let (first, last) = packet.split_at(9);
        assert_eq!(packets(&[cell(first), cell(last)].concat()), packet);
        assert_eq!(packets(&[cell(&packet), cell(&packet)].concat()), [&packet[..], &packet].concat());
        // One that is cut short.
        assert_eq!(packets(&cell(&packet)[..12]), &packet[..7]);
        assert_eq!(packets(&[1, 2]), &[1, 2][..]);
    }
}
