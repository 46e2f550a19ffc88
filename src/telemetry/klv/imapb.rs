//! Numbers of a range in as few bytes as their precision takes (MISB ST 1201, IMAPB).

use super::ber::unsigned;

/// The number that `bytes` (1 to 8) stand for in `low..=high`; what is no number, or outside of the range, as IEEE 754 has it.
#[must_use]
pub fn decode(bytes: &[u8], low: f64, high: f64) -> Option<f64> {
    let raw = unsigned(bytes).filter(|_| !bytes.is_empty())?;
    let bits = 8 * bytes.len() - 1;
    let first = bytes[0];
    let rest_is_zero = bytes[1..].iter().all(|byte| *byte == 0);
    if first & 0x80 != 0 && !(first == 0x80 && rest_is_zero) {
        return Some(match first >> 3 {
            0b1_1001 => f64::INFINITY,
            0b1_1101 => f64::NEG_INFINITY,
            0b1_1111 | 0b1_1110 => -f64::NAN,
            _ => f64::NAN,
        });
    }
    let (scale, offset) = scale(bits, low, high);
    #[expect(clippy::cast_precision_loss, reason = "of eight bytes, more than a float has")]
    let raw = raw as f64;
    Some((raw - offset) / scale + low)
}

/// `value` of `low..=high` in `bytes` (1 to 8) bytes.
#[must_use]
pub fn encode(value: f64, low: f64, high: f64, bytes: usize) -> Vec<u8> {
    let special = |first: u8| {
        let mut special = vec![0; bytes];
        special[0] = first;
        special
    };
    if value.is_nan() {
        return special(if value.is_sign_negative() { 0xF0 } else { 0xD0 });
    }
    // ST 1201.5 has values of their own for what lies outside; infinity is what older readers know as well.
    if value > high {
        return special(0xC8);
    }
    if value < low {
        return special(0xE8);
    }
    let (scale, offset) = scale(8 * bytes - 1, low, high);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies in the range")]
    let raw = (scale * (value - low) + offset).trunc() as u64;
    raw.to_be_bytes()[8 - bytes..].to_vec()
}

/// What a unit is multiplied with, and where zero is put so that it is exact.
fn scale(bits: usize, low: f64, high: f64) -> (f64, f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "bits of at most eight bytes")]
    let scale = 2f64.powi(bits as i32 - (high - low).log2().ceil() as i32);
    let offset = if low < 0.0 && high > 0.0 { scale * low - (scale * low).floor() } else { 0.0 };
    (scale, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::test_data;

    /// All vectors of jmisb's tests.
    #[test]
    #[expect(clippy::float_cmp, reason = "infinite ones are equal")]
    fn numbers_of_a_range_are_those_of_other_implementations() {
        let Some(vectors) = test_data("klv-vectors/st1201.json") else { return };
        let vectors = vectors["vectors"].as_array().expect("a list");
        for vector in vectors {
            let number = |key: &str| vector[key].as_f64().expect("a number");
            let (low, high, bytes) = (
                number("a"),
                number("b"),
                vector["L"].as_u64().and_then(|length| usize::try_from(length).ok()).expect("a length"),
            );
            let value = match vector["x"].as_str() {
                Some("Infinity") => f64::INFINITY,
                Some("-Infinity") => f64::NEG_INFINITY,
                Some("+QNaN") => f64::NAN,
                Some("-QNaN") => -f64::NAN,
                _ => number("x"),
            };
            let hex =
                encode(value, low, high, bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            assert_eq!(format!("0x{hex}"), vector["forwardResultHex"].as_str().expect("hex"), "{vector}");
            let back = decode(&encode(value, low, high, bytes), low, high).expect("a number");
            if value.is_finite() {
                assert!((back - value).abs() <= number("delta") + 1e-9 * value.abs(), "{vector}: {back}");
            } else {
                assert!(
                    back == value
                        || back.is_nan() && value.is_nan() && back.is_sign_negative() == value.is_sign_negative()
                );
            }
        }
        assert!(vectors.len() > 2000);
    }
}
