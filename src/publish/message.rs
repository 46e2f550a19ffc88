//! A message on its way.

use crate::secrets::random;
use crate::text::hex;

/// As it lies in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Below the prefix.
    pub topic: String,
    /// The run that made it.
    pub run: String,
    /// What tells it from others of its stream and run: its number.
    pub key: String,
    /// What it says.
    pub payload: Vec<u8>,
}

/// A random UUID (version 4 of RFC 9562).
pub(super) fn uuid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_uuid_of_its_own() {
        let (one, other) = (uuid(), uuid());
        assert_ne!(one, other);
        assert!(one.len() == 36 && one.as_bytes()[14] == b'4' && b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
