//! Lengths of time as they are written in options.

use std::time::Duration;

/// `1s`, `500ms`, `2`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
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
pub(super) fn length(text: &str) -> Result<Duration, String> {
    let at_least = |length: &Duration| *length >= Duration::from_secs(1);
    any_length(text)?.filter(at_least).ok_or_else(|| "give at least one second, as 30s, 10m or 24h".into())
}

/// A length of time that may be shorter than a second.
pub(super) fn moment(text: &str) -> Result<Duration, String> {
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
    fn lengths_have_units() {
        let seconds = |text: &str| length(text).map(|length| length.as_secs());
        assert_eq!(["30s", "10m", "24h", "7d", "90"].map(seconds), [30, 600, 86_400, 604_800, 90].map(Ok));
        for wrong in ["", "0", "-5s", "5x", "nans", "infd", "1e300h"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
