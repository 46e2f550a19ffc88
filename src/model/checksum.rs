//! SHA-256 as it is written.

use std::io::Read;

use sha2::{Digest, Sha256};

use crate::text::hex;

/// Checksum of everything that can be read from `file`, lower-case hex.
pub(super) fn sha256_of(mut file: impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash)?;
    Ok(hex(&hash.finalize()))
}
