//! Noise: the same in every run.

/// Bytes without a pattern that anything measured here could profit from.
pub struct Noise(u32);

impl Default for Noise {
    fn default() -> Self {
        Self(1)
    }
}

impl Iterator for Noise {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0.to_be_bytes().first().copied()
    }
}
