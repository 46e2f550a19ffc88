//! A sample as JSON has it.

use super::Sample;
use super::ground::{Position, Unlocated};

/// What was known of the camera when a frame was shown.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SampleLine {
    /// UTC, RFC 3339.
    time: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
    alt_m: Option<f64>,
    heading_deg: Option<f64>,
    source: &'static str,
    age_ms: u64,
}

impl From<&Sample> for SampleLine {
    fn from(sample: &Sample) -> Self {
        let Sample { known, age } = sample;
        Self {
            time: known.time_us.and_then(rfc3339),
            lat: known.lat,
            lon: known.lon,
            alt_m: known.alt_m,
            heading_deg: known.attitude.map(|attitude| attitude.heading_deg),
            source: known.origin.name(),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Where a detection is on the ground.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PositionLine {
    lat: f64,
    lon: f64,
    alt_m: f64,
    /// Radius of the circle in which it lies with a probability of 90 %.
    ce90_m: Option<f64>,
    /// The ellipse with the same probability: half axes, and the longer one's direction, clockwise from north.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_ellipse: Option<EllipseLine>,
}

#[derive(Debug, Clone, serde::Serialize)]
struct EllipseLine {
    major_m: f64,
    minor_m: f64,
    azimuth_deg: f64,
}

/// `position`, and `position_reason` where that is null.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PositionFields {
    position: Option<PositionLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position_reason: Option<String>,
}

impl From<&Position> for PositionLine {
    fn from(position: &Position) -> Self {
        let rounded = |m: f64| (m * 100.0).round() / 100.0;
        Self {
            lat: position.lat,
            lon: position.lon,
            alt_m: rounded(position.alt_m),
            ce90_m: position.error.map(|error| rounded(error.ce90_m)),
            error_ellipse: position.error.map(|error| EllipseLine {
                major_m: rounded(error.major_m),
                minor_m: rounded(error.minor_m),
                azimuth_deg: rounded(error.azimuth_deg),
            }),
        }
    }
}

impl From<&Result<Position, Unlocated>> for PositionFields {
    fn from(found: &Result<Position, Unlocated>) -> Self {
        match found {
            Ok(position) => Self { position: Some(position.into()), position_reason: None },
            Err(reason) => Self { position: None, position_reason: Some(reason.to_string()) },
        }
    }
}

/// Microseconds since 1970 as people write them, to the millisecond; `None` for what is beyond the year 9999.
#[must_use]
pub fn rfc3339(time_us: u64) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(i64::try_from(time_us).ok()?).ok()?;
    Some(format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_to_the_millisecond() {
        assert_eq!(rfc3339(1_340_980_354_133_333).as_deref(), Some("2012-06-29T14:32:34.133Z"));
        assert_eq!(rfc3339(1_340_980_354_000_000).as_deref(), Some("2012-06-29T14:32:34.000Z"));
        assert_eq!(rfc3339(u64::MAX), None);
    }
}
