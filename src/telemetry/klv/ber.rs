//! Lengths and tags (ISO 8825 BER, as SMPTE ST 336 has it).

/// A length, and how many bytes it took. The indefinite form and lengths of more than eight bytes are none.
#[must_use]
pub fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((usize::from(first), 1));
    }
    let count = usize::from(first & 0x7F);
    if count == 0 {
        return None;
    }
    let length = unsigned(bytes.get(1..=count)?)?;
    Some((usize::try_from(length).ok()?, 1 + count))
}

/// A tag (BER OID: seven bits a byte, the last one without its top bit), and how many bytes it took.
#[must_use]
pub fn oid(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut tag: u32 = 0;
    for (read, byte) in (1..=5).zip(bytes) {
        tag = tag.checked_mul(128)?.checked_add(u32::from(byte & 0x7F))?;
        if byte & 0x80 == 0 {
            return Some((tag, read));
        }
    }
    None
}

/// A whole number without a sign, of at most eight bytes.
#[must_use]
pub fn unsigned(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A whole number in two's complement, of one to eight bytes.
#[must_use]
pub fn signed(bytes: &[u8]) -> Option<i64> {
    let unused = 64 - 8 * u32::try_from(bytes.len()).ok().filter(|length| (1..=8).contains(length))?;
    Some(unsigned(bytes)?.cast_signed() << unused >> unused)
}

/// `bytes` with their tag and length before them, as an item of a set.
pub fn write_item(set: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    write_oid(set, tag);
    write_length(set, bytes.len());
    set.extend_from_slice(bytes);
}

/// A tag.
pub fn write_oid(out: &mut Vec<u8>, tag: u32) {
    let bytes = (32 - tag.leading_zeros()).div_ceil(7).max(1);
    for left in (0..bytes).rev() {
        let more = if left > 0 { 0x80 } else { 0 };
        out.push(((tag >> (7 * left)) & 0x7F) as u8 | more);
    }
}

/// A length, in as few bytes as it takes.
pub fn write_length(out: &mut Vec<u8>, length: usize) {
    let bytes = length.to_be_bytes();
    let bytes = &bytes[((length | 1).leading_zeros() / 8) as usize..];
    if length >= 0x80 {
        // Eight at most.
        out.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_tags_are_read_as_they_are_written() {
        for number in [0_u32, 1, 127, 128, 255, 256, 16_383, 16_384, 70_000] {
            let mut bytes = Vec::new();
            write_length(&mut bytes, number as usize);
            assert_eq!(length(&bytes), Some((number as usize, bytes.len())));
            let mut bytes = Vec::new();
            write_oid(&mut bytes, number);
            assert_eq!(oid(&bytes), Some((number, bytes.len())));
        }
        assert_eq!(
            (length(&[0x80]), length(&[0x82, 1]), length(&[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
            (None, None, None)
        );
        assert_eq!((oid(&[0x81]), oid(&[0xFF; 6])), (None, None));
        assert_eq!(
            (signed(&[0xFF, 0xFE]), signed(&[0x7F]), signed(&[]), signed(&[0; 9])),
            (Some(-2), Some(127), None, None)
        );
    }
}
