//! Numbers of a range, spread evenly over whole numbers.

use super::ber;

/// A number of `low..=high`, of one to four bytes.
#[expect(clippy::cast_precision_loss, reason = "four bytes at most")]
pub(super) fn linear(bytes: &[u8], low: f64, high: f64) -> Option<f64> {
    let raw = ber::unsigned(bytes).filter(|_| (1..=4).contains(&bytes.len()))?;
    let most = (1_u64 << (8 * bytes.len())) - 1;
    Some(low + raw as f64 * ((high - low) / most as f64))
}

/// A number of `-most..=most`, of one to four bytes; not a number where they say that it is out of range.
#[expect(clippy::cast_precision_loss, reason = "four bytes at most")]
pub(super) fn signed(bytes: &[u8], most: f64) -> Option<f64> {
    let raw = ber::signed(bytes).filter(|_| (1..=4).contains(&bytes.len()))?;
    let end = (1_i64 << (8 * bytes.len() - 1)) - 1;
    Some(if raw >= -end { raw as f64 * (most / end as f64) } else { f64::NAN })
}
