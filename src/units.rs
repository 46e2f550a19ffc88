//! Lengths of time and sizes as they are written in options.

use std::str::FromStr;
use std::time::Duration;

/// `1s`, `500ms`, `2`.
///
/// # Errors
/// When it is none, too short or too long: what to give.
pub fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(n) if (0.01..=86_400.0).contains(&(n * unit)) => Ok(Duration::from_secs_f64(n * unit)),
        _ => Err("give seconds or milliseconds from 10ms to a day, as 1s or 500ms".into()),
    }
}

/// A length of time: `30s`, `10m`, `24h`, `7d`; a bare number is seconds.
///
/// # Errors
/// When it is none, too short or too long: what to give.
pub fn length(text: &str) -> Result<Duration, String> {
    let at_least = |length: &Duration| *length >= Duration::from_secs(1);
    any_length(text)?.filter(at_least).ok_or_else(|| "give at least one second, as 30s, 10m or 24h".into())
}

/// A length of time that may be shorter than a second.
///
/// # Errors
/// When it is none, too short or too long: what to give.
pub fn moment(text: &str) -> Result<Duration, String> {
    let at_least = |length: &Duration| *length >= Duration::from_millis(100);
    any_length(text)?.filter(at_least).ok_or_else(|| "give at least a tenth of a second, as 0.5s, 3s or 1m".into())
}

/// What is written, where it is a length.
fn any_length(text: &str) -> Result<Option<Duration>, String> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("give a length as 30s, 10m, 24h or 7d".into()),
    };
    Ok(number.parse::<f64>().ok().and_then(|number| Duration::try_from_secs_f64(number * seconds).ok()))
}

/// A size, bytes: `500KB`, `50GB`, `1.5TB`, of 1000; `50GiB` of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes(text).map(Self)
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "kb" | "k" => 1e3,
        "mb" | "m" => 1e6,
        "gb" | "g" => 1e9,
        "tb" | "t" => 1e12,
        "kib" => 1024.0,
        "mib" => f64::from(1 << 20),
        "gib" => f64::from(1 << 30),
        "tib" => 1024.0 * f64::from(1 << 30),
        _ => return Err("give a size as 500MB, 50GB or 2TB".into()),
    };
    let bytes = number.trim().parse::<f64>().ok().map(|number| number * unit);
    let bytes = bytes.filter(|bytes| (1e3..1e18).contains(bytes)).ok_or("give at least 1KB, as 500MB or 50GB")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was compared with what fits")]
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_units() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        for wrong in ["", "0", "-1s", "s", "1h", "NaN", "inf", "1e9"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            ["500KB", "50GB", "1.5tb", "2GiB"].map(bytes),
            [500_000, 50_000_000_000, 1_500_000_000_000, 2 << 30].map(Ok)
        );
        for wrong in ["", "50", "0GB", "-1GB", "nanGB", "infTB", "1e30TB", "GB", "5 parsecs"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lengths_have_units() {
        let seconds = |text: &str| length(text).map(|length| length.as_secs());
        assert_eq!(["30s", "10m", "24h", "7d", "90"].map(seconds), [30, 600, 86_400, 604_800, 90].map(Ok));
        for wrong in ["", "0", "-5s", "5x", "nans", "infd", "1e300h"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
