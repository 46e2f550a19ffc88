//! What a UAS Datalink Local Set says of the camera.

use super::uas::{self, Value};
use crate::telemetry::{Attitude, Datum, Gimbal, Known, Origin};

/// Numbers of a set that heights and angles are chosen from.
#[derive(Default)]
struct Numbers {
    heading: Option<f64>,
    /// In the narrow range of a manned aircraft, and in the full one.
    pitch: [Option<f64>; 2],
    roll: [Option<f64>; 2],
    azimuth: Option<f64>,
    elevation: Option<f64>,
    gimbal_roll: Option<f64>,
    /// Above the geoid, and above the ellipsoid.
    alt: [Option<f64>; 2],
    ground: [Option<f64>; 2],
}

/// Position, attitude, camera and field of view that the set `value` says; what it leaves out, or says is out of range, is none.
#[must_use]
pub fn known(value: &[u8]) -> Known {
    let mut known = Known { origin: Origin::Misb0601, ..Known::default() };
    let mut numbers = Numbers::default();
    for item in uas::decode(value, &mut 0).map_while(Result::ok) {
        if let (2, Value::Time(time)) = (item.tag, &item.value) {
            known.time_us = Some(*time);
        }
        let Value::Number(Some(number)) = item.value else { continue };
        let place = match item.tag {
            5 => &mut numbers.heading,
            6 => &mut numbers.pitch[0],
            7 => &mut numbers.roll[0],
            90 => &mut numbers.pitch[1],
            91 => &mut numbers.roll[1],
            13 => &mut known.lat,
            14 => &mut known.lon,
            15 => &mut numbers.alt[0],
            75 | 104 => &mut numbers.alt[1],
            16 => &mut known.hfov_deg,
            17 => &mut known.vfov_deg,
            18 => &mut numbers.azimuth,
            19 => &mut numbers.elevation,
            20 => &mut numbers.gimbal_roll,
            25 => &mut numbers.ground[0],
            78 => &mut numbers.ground[1],
            _ => continue,
        };
        *place = Some(number);
    }
    numbers.complete(&mut known);
    known
}

impl Numbers {
    fn complete(&self, known: &mut Known) {
        let full = |[narrow, full]: [Option<f64>; 2]| full.or(narrow).unwrap_or_default();
        known.attitude = self.heading.map(|heading_deg| Attitude {
            heading_deg,
            pitch_deg: full(self.pitch),
            roll_deg: full(self.roll),
        });
        known.gimbal = self.azimuth.zip(self.elevation).map(|(azimuth_deg, elevation_deg)| Gimbal {
            azimuth_deg,
            elevation_deg,
            roll_deg: self.gimbal_roll.unwrap_or_default(),
            is_relative: true,
        });
        // Height and ground have to be measured from the same.
        let both = |datum: usize| self.alt[datum].is_some() && self.ground[datum].is_some();
        let datum = usize::from(both(1) && !both(0) || self.alt[0].is_none());
        (known.alt_m, known.ground_m) = (self.alt[datum], self.ground[datum]);
        known.datum = if datum == 0 { Datum::Msl } else { Datum::Ellipsoid };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::klv::Packets;
    use crate::telemetry::{test_bytes, test_data};

    #[test]
    fn a_packet_says_where_the_camera_is_and_looks() {
        let (Some(bytes), Some(expected)) =
            (test_bytes("klv-sample-stream/sample-stream.klv"), test_data("klv-sample-stream/expected.json"))
        else {
            return;
        };
        let expected = expected["packets"].as_array().expect("a list");
        let mut count = 0;
        for (packet, expected) in Packets::new(&bytes).zip(expected) {
            let known = known(packet.value);
            let (attitude, gimbal) = (known.attitude.expect("attitude"), known.gimbal.expect("a gimbal"));
            for (key, value) in [
                ("heading_deg", Some(attitude.heading_deg)),
                ("pitch_deg", Some(attitude.pitch_deg)),
                ("roll_deg", Some(attitude.roll_deg)),
                ("sensor_lat_deg", known.lat),
                ("sensor_lon_deg", known.lon),
                ("sensor_alt_m", known.alt_m),
                ("hfov_deg", known.hfov_deg),
                ("vfov_deg", known.vfov_deg),
                ("rel_azimuth_deg", Some(gimbal.azimuth_deg)),
                ("rel_elevation_deg", Some(gimbal.elevation_deg)),
                ("rel_roll_deg", Some(gimbal.roll_deg)),
                ("frame_center_elev_m", known.ground_m),
            ] {
                let (value, expected) = (value.expect(key), expected[key].as_f64().expect(key));
                assert!((value - expected).abs() < 1e-9, "{key} of packet {count}: {value}, not {expected}");
            }
            count += 1;
        }
        assert_eq!(count, 277);
    }

    #[test]
    fn heights_are_measured_from_the_same() {
        let set = |tags: &[u8]| tags.iter().flat_map(|tag| [*tag, 2, 0x40, 0]).collect::<Vec<u8>>();
        let datum = |tags: &[u8]| known(&set(tags)).datum;
        assert_eq!(
            (datum(&[15, 25]), datum(&[15, 75, 78]), datum(&[75])),
            (Datum::Msl, Datum::Ellipsoid, Datum::Ellipsoid)
        );
        let known = known(&set(&[15, 78]));
        assert_eq!((known.alt_m.is_some(), known.ground_m), (true, None));
    }
}
