//! SHA-256 as it is written.

use std::io::Read;

use sha2::{Digest, Sha256};

use crate::text::append;

/// Checksum of everything that can be read from `file`, lower-case hex.
pub(super) fn sha256_of(mut file: impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, b| {
        append(&mut text, format_args!("{b:02x}"));
        text
    })
}
