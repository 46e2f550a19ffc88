//! Moving targets (MISB ST 0903, VMTI Local Set).

use super::linear::{linear, signed};
use super::set::{Items, text};
use super::{ber, imapb};

/// Targets of one frame.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Vmti {
    /// Microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_us: Option<u64>,
    /// What found them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_name: Option<String>,
    /// Of ST 0903; on change only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// More than are listed, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_targets_detected: Option<u64>,
    /// By the count of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_number: Option<u64>,
    /// Pixels across; on change only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_width: Option<u64>,
    /// Pixels down; on change only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_height: Option<u64>,
    /// What they were found with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_sensor: Option<String>,
    /// The targets.
    pub targets: Vec<Target>,
}

/// One target. Pixels are numbered from 1, row by row.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Target {
    /// Its number.
    pub id: u32,
    /// The middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centroid_pixel_number: Option<u64>,
    /// Upper left corner of its box.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub box_top_left_pixel_number: Option<u64>,
    /// Lower right corner of its box.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub box_bottom_right_pixel_number: Option<u64>,
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<u64>,
    /// The middle, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centroid_row: Option<u64>,
    /// The middle, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centroid_column: Option<u64>,
    /// Degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lat: Option<f64>,
    /// Degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lon: Option<f64>,
    /// Above the ellipsoid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height_m: Option<f64>,
    /// Of the target from the frame's centre (latitude, longitude), degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_from_frame_center_deg: Option<[f64; 2]>,
}

/// The last version whose positions are linear, and not IMAPB.
const LINEAR: u64 = 3;

impl Vmti {
    /// What the set `value` says. `version` is what was said last, which a set that does not say it has; 0: nothing so far.
    #[must_use]
    pub fn decode(value: &[u8], version: &mut u64) -> Self {
        let mut vmti = Self::default();
        let mut series = None;
        for (tag, value) in Items::new(value).map_while(Result::ok) {
            let number = ber::unsigned(value);
            match tag {
                2 => vmti.time_us = number,
                3 => vmti.system_name = Some(text(value)),
                4 => vmti.version = number,
                5 => vmti.total_targets_detected = number,
                7 => vmti.frame_number = number,
                8 => vmti.frame_width = number,
                9 => vmti.frame_height = number,
                10 => vmti.source_sensor = Some(text(value)),
                101 => series = Some(value),
                _ => {}
            }
        }
        *version = vmti.version.unwrap_or(*version);
        let mut series = series.unwrap_or_default();
        while let Some((target, rest)) = split(series) {
            vmti.targets.extend(Target::decode(target, *version));
            series = rest;
        }
        vmti
    }

    /// Row and column of a pixel, from 1.
    #[must_use]
    pub fn row_and_column(pixel: u64, width: u64) -> Option<(u64, u64)> {
        let pixel = pixel.checked_sub(1)?;
        Some((pixel.checked_div(width)? + 1, pixel % width + 1))
    }
}

/// The pack that `series` begins with, and what follows.
fn split(series: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, read) = ber::length(series)?;
    let rest = &series[read..];
    rest.split_at_checked(length)
}

impl Target {
    fn decode(pack: &[u8], version: u64) -> Option<Self> {
        let (id, read) = ber::oid(pack)?;
        let mut target = Self { id, ..Self::default() };
        let mut offset = [None; 2];
        let is_linear = (1..=LINEAR).contains(&version);
        let half = |value: &[u8]| {
            let number = if is_linear { signed(value, 0.075) } else { imapb::decode(value, -19.2, 19.2) };
            number.filter(|number| number.is_finite())
        };
        for (tag, value) in Items::new(&pack[read..]).map_while(Result::ok) {
            let number = ber::unsigned(value);
            match tag {
                1 => target.centroid_pixel_number = number,
                2 => target.box_top_left_pixel_number = number,
                3 => target.box_bottom_right_pixel_number = number,
                5 => target.confidence = number,
                10 => offset[0] = half(value),
                11 => offset[1] = half(value),
                17 => target.locate(value, is_linear),
                19 => target.centroid_row = number,
                20 => target.centroid_column = number,
                _ => {}
            }
        }
        target.offset_from_frame_center_deg = offset[0].zip(offset[1]).map(|(lat, lon)| [lat, lon]);
        Some(target)
    }

    fn locate(&mut self, value: &[u8], is_linear: bool) {
        let part = |from: usize, to: usize, low: f64, high: f64| {
            let value = value.get(from..to)?;
            let number = if is_linear { linear(value, low, high) } else { imapb::decode(value, low, high) };
            number.filter(|number| number.is_finite())
        };
        self.lat = part(0, 4, -90.0, 90.0);
        self.lon = part(4, 8, -180.0, 180.0);
        self.height_m = part(8, 10, -900.0, 19_000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packets, UAS_KEY, VMTI_KEY, Value, checksum, uas};
    use super::*;
    use crate::telemetry::{test_bytes, test_data};

    #[test]
    fn sets_that_stand_alone_are_read() {
        let (Some(bytes), Some(expected)) =
            (test_bytes("klv-vectors/0903.bin"), test_data("klv-vectors/0903.expected.json"))
        else {
            return;
        };
        let packets: Vec<_> = Packets::new(&bytes).collect();
        let messages = expected["messages"].as_array().expect("a list");
        assert_eq!((packets.len(), messages.len()), (5, 5));
        for (packet, message) in packets.iter().zip(messages) {
            assert!(packet.key == VMTI_KEY && checksum(packet).expect("a checksum").is_good());
            let vmti = Vmti::decode(packet.value, &mut 0);
            assert_eq!(vmti.time_us, message["time_us"].as_u64());
            assert_eq!(vmti.system_name.as_deref(), message["system_name"].as_str());
            assert_eq!((vmti.frame_width, vmti.frame_height), (Some(1000), Some(600)));
            let targets = message["targets"].as_array().expect("a list");
            assert_eq!(vmti.targets.len(), targets.len());
            for (target, expected) in vmti.targets.iter().zip(targets) {
                assert_eq!(u64::from(target.id), expected["id"].as_u64().expect("an id"));
                assert_eq!(target.centroid_pixel_number, expected["centroid_pixel_number"].as_u64());
                assert_eq!(target.confidence, expected["confidence"].as_u64());
                let corner = target.box_top_left_pixel_number.and_then(|pixel| Vmti::row_and_column(pixel, 1000));
                let (row, column) = corner.expect("a corner");
                assert_eq!(serde_json::json!([row, column]), expected["box_top_left_row_col"]);
            }
        }
    }

    /// The targets of a real recording, in an old version and on change only.
    #[test]
    fn targets_have_the_positions_that_others_read() {
        let (Some(bytes), Some(expected)) =
            (test_bytes("klv-sample-stream/sample-stream.klv"), test_data("klv-sample-stream/vmti-targets.json"))
        else {
            return;
        };
        let mut expected = expected["targets"].as_array().expect("a list").iter();
        let (mut version, mut count) = (0, 0);
        for packet in Packets::new(&bytes) {
            assert!(packet.key == UAS_KEY && checksum(&packet).expect("a checksum").is_good());
            let set = Items::new(packet.value).map_while(Result::ok).find(|(tag, _)| *tag == 74);
            let Some((_, set)) = set else { continue };
            for target in Vmti::decode(set, &mut version).targets {
                let expected = expected.next().expect("as many");
                count += 1;
                for (value, key) in [(target.lat, "lat_deg"), (target.lon, "lon_deg"), (target.height_m, "height_m")] {
                    let expected = expected[key].as_f64();
                    assert_eq!(value.is_some(), expected.is_some());
                    let off = value.zip(expected).map_or(0.0, |(value, expected)| (value - expected).abs());
                    assert!(off < 1e-11, "{key}: {value:?}, not {expected:?}");
                }
                assert_eq!(target.centroid_pixel_number, expected["centroid_pixel_number"].as_u64());
                let [row, column] = [0, 1].map(|at| expected["row_col_items_19_20"][at].as_u64());
                assert_eq!((target.centroid_row, target.centroid_column), (row, column));
            }
        }
        assert_eq!((version, count, expected.next()), (3, 130, None));
    }

    #[test]
    fn a_set_within_a_set_is_read() {
        let Some(bytes) = test_bytes("klv-sample-stream/sample-stream.klv") else { return };
        let first = Packets::new(&bytes).next().expect("a packet");
        let vmti = uas::decode(first.value, &mut 0).map_while(Result::ok).find_map(|item| match item.value {
            Value::Vmti(vmti) => Some(vmti),
            _ => None,
        });
        let vmti = vmti.expect("a set");
        assert_eq!((vmti.version, vmti.frame_width, vmti.targets.len()), (Some(3), Some(640), 0));
    }
}
