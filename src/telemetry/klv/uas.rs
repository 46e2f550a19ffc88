//! The UAS Datalink Local Set (MISB ST 0601): where the platform is, where its camera looks, and what it sees.

use super::linear::{linear, signed};
use super::security::Security;
use super::set::{CutShort, Items, hex, text};
use super::vmti::Vmti;
use super::{ber, imapb};

/// How the bytes of an item are read.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// From the first number to the second, without a sign: the least and the greatest whole number are the ends.
    Linear(f64, f64),
    /// From minus to plus this number, in two's complement; the least whole number says that it is out of range.
    Signed(f64),
    /// IMAPB, in this range.
    Imapb(f64, f64),
    /// A whole number without, or with a sign.
    Count,
    Difference,
    Time,
    Text,
    Core,
    Security,
    Vmti,
    Bytes,
}
use Kind::{Bytes, Core, Count, Difference, Imapb, Linear, Signed, Text, Time};

/// A quarter of the way around.
const RIGHT: f64 = 90.0;
const HALF: f64 = 180.0;
/// Offsets of corners from the centre, degrees.
const CORNER: f64 = 0.075;
const ALTITUDE: Kind = Linear(-900.0, 19_000.0);
const LONG_ALTITUDE: Kind = Imapb(-900.0, 40_000.0);
const AZIMUTH: Kind = Linear(0.0, 360.0);
const RATE: Kind = Imapb(-1000.0, 1000.0);

/// The items of ST 0601.17 by their tags, named as the standard names them.
const ITEMS: [(u32, &str, Kind); 142] = [
    (1, "checksum", Count),
    (2, "precision_time_stamp", Time),
    (3, "mission_id", Text),
    (4, "platform_tail_number", Text),
    (5, "platform_heading_angle", AZIMUTH),
    (6, "platform_pitch_angle", Signed(20.0)),
    (7, "platform_roll_angle", Signed(50.0)),
    (8, "platform_true_airspeed", Count),
    (9, "platform_indicated_airspeed", Count),
    (10, "platform_designation", Text),
    (11, "image_source_sensor", Text),
    (12, "image_coordinate_system", Text),
    (13, "sensor_latitude", Signed(RIGHT)),
    (14, "sensor_longitude", Signed(HALF)),
    (15, "sensor_true_altitude", ALTITUDE),
    (16, "sensor_horizontal_field_of_view", Linear(0.0, HALF)),
    (17, "sensor_vertical_field_of_view", Linear(0.0, HALF)),
    (18, "sensor_relative_azimuth_angle", AZIMUTH),
    (19, "sensor_relative_elevation_angle", Signed(HALF)),
    (20, "sensor_relative_roll_angle", AZIMUTH),
    (21, "slant_range", Linear(0.0, 5_000_000.0)),
    (22, "target_width", Linear(0.0, 10_000.0)),
    (23, "frame_center_latitude", Signed(RIGHT)),
    (24, "frame_center_longitude", Signed(HALF)),
    (25, "frame_center_elevation", ALTITUDE),
    (26, "offset_corner_latitude_point_1", Signed(CORNER)),
    (27, "offset_corner_longitude_point_1", Signed(CORNER)),
    (28, "offset_corner_latitude_point_2", Signed(CORNER)),
    (29, "offset_corner_longitude_point_2", Signed(CORNER)),
    (30, "offset_corner_latitude_point_3", Signed(CORNER)),
    (31, "offset_corner_longitude_point_3", Signed(CORNER)),
    (32, "offset_corner_latitude_point_4", Signed(CORNER)),
    (33, "offset_corner_longitude_point_4", Signed(CORNER)),
    (34, "icing_detected", Count),
    (35, "wind_direction", AZIMUTH),
    (36, "wind_speed", Linear(0.0, 100.0)),
    (37, "static_pressure", Linear(0.0, 5000.0)),
    (38, "density_altitude", ALTITUDE),
    (39, "outside_air_temperature", Difference),
    (40, "target_location_latitude", Signed(RIGHT)),
    (41, "target_location_longitude", Signed(HALF)),
    (42, "target_location_elevation", ALTITUDE),
    (43, "target_track_gate_width", Linear(0.0, 510.0)),
    (44, "target_track_gate_height", Linear(0.0, 510.0)),
    (45, "target_error_estimate_ce90", Linear(0.0, 4095.0)),
    (46, "target_error_estimate_le90", Linear(0.0, 4095.0)),
    (47, "generic_flag_data", Count),
    (48, "security_local_set", Kind::Security),
    (49, "differential_pressure", Linear(0.0, 5000.0)),
    (50, "platform_angle_of_attack", Signed(20.0)),
    (51, "platform_vertical_speed", Signed(180.0)),
    (52, "platform_sideslip_angle", Signed(20.0)),
    (53, "airfield_barometric_pressure", Linear(0.0, 5000.0)),
    (54, "airfield_elevation", ALTITUDE),
    (55, "relative_humidity", Linear(0.0, 100.0)),
    (56, "platform_ground_speed", Count),
    (57, "ground_range", Linear(0.0, 5_000_000.0)),
    (58, "platform_fuel_remaining", Linear(0.0, 10_000.0)),
    (59, "platform_call_sign", Text),
    (60, "weapon_load", Count),
    (61, "weapon_fired", Count),
    (62, "laser_prf_code", Count),
    (63, "sensor_field_of_view_name", Count),
    (64, "platform_magnetic_heading", AZIMUTH),
    (65, "uas_datalink_ls_version_number", Count),
    (67, "alternate_platform_latitude", Signed(RIGHT)),
    (68, "alternate_platform_longitude", Signed(HALF)),
    (69, "alternate_platform_altitude", ALTITUDE),
    (70, "alternate_platform_name", Text),
    (71, "alternate_platform_heading", AZIMUTH),
    (72, "event_start_time", Time),
    (73, "rvt_local_set", Bytes),
    (74, "vmti_local_set", Kind::Vmti),
    (75, "sensor_ellipsoid_height", ALTITUDE),
    (76, "alternate_platform_ellipsoid_height", ALTITUDE),
    (77, "operational_mode", Count),
    (78, "frame_center_height_above_ellipsoid", ALTITUDE),
    (79, "sensor_north_velocity", Signed(327.0)),
    (80, "sensor_east_velocity", Signed(327.0)),
    (81, "image_horizon_pixel_pack", Bytes),
    (82, "corner_latitude_point_1_full", Signed(RIGHT)),
    (83, "corner_longitude_point_1_full", Signed(HALF)),
    (84, "corner_latitude_point_2_full", Signed(RIGHT)),
    (85, "corner_longitude_point_2_full", Signed(HALF)),
    (86, "corner_latitude_point_3_full", Signed(RIGHT)),
    (87, "corner_longitude_point_3_full", Signed(HALF)),
    (88, "corner_latitude_point_4_full", Signed(RIGHT)),
    (89, "corner_longitude_point_4_full", Signed(HALF)),
    (90, "platform_pitch_angle_full", Signed(RIGHT)),
    (91, "platform_roll_angle_full", Signed(RIGHT)),
    (92, "platform_angle_of_attack_full", Signed(RIGHT)),
    (93, "platform_sideslip_angle_full", Signed(HALF)),
    (94, "miis_core_identifier", Core),
    (95, "sar_motion_imagery_local_set", Bytes),
    (96, "target_width_extended", Imapb(0.0, 1_500_000.0)),
    (97, "range_image_local_set", Bytes),
    (98, "geo_registration_local_set", Bytes),
    (99, "composite_imaging_local_set", Bytes),
    (100, "segment_local_set", Bytes),
    (101, "amend_local_set", Bytes),
    (102, "sdcc_flp", Bytes),
    (103, "density_altitude_extended", LONG_ALTITUDE),
    (104, "sensor_ellipsoid_height_extended", LONG_ALTITUDE),
    (105, "alternate_platform_ellipsoid_height_extended", LONG_ALTITUDE),
    (106, "stream_designator", Text),
    (107, "operational_base", Text),
    (108, "broadcast_source", Text),
    (109, "range_to_recovery_location", Imapb(0.0, 21_000.0)),
    (110, "time_airborne", Count),
    (111, "propulsion_unit_speed", Count),
    (112, "platform_course_angle", Imapb(0.0, 360.0)),
    (113, "altitude_agl", LONG_ALTITUDE),
    (114, "radar_altimeter", LONG_ALTITUDE),
    (115, "control_command", Bytes),
    (116, "control_command_verification_list", Bytes),
    (117, "sensor_azimuth_rate", RATE),
    (118, "sensor_elevation_rate", RATE),
    (119, "sensor_roll_rate", RATE),
    (120, "on_board_mi_storage_percent_full", Imapb(0.0, 100.0)),
    (121, "active_wavelength_list", Bytes),
    (122, "country_codes", Bytes),
    (123, "number_of_navsats_in_view", Count),
    (124, "positioning_method_source", Count),
    (125, "platform_status", Count),
    (126, "sensor_control_mode", Count),
    (127, "sensor_frame_rate_pack", Bytes),
    (128, "wavelengths_list", Bytes),
    (129, "target_id", Text),
    (130, "airbase_locations", Bytes),
    (131, "take_off_time", Time),
    (132, "transmission_frequency", Imapb(1.0, 99_999.0)),
    (133, "on_board_mi_storage_capacity", Count),
    (134, "zoom_percentage", Imapb(0.0, 100.0)),
    (135, "communications_method", Text),
    (136, "leap_seconds", Difference),
    (137, "correction_offset", Difference),
    (138, "payload_list", Bytes),
    (139, "active_payloads", Bytes),
    (140, "weapons_stores", Bytes),
    (141, "waypoint_list", Bytes),
    (142, "view_domain", Bytes),
    (143, "metadata_substream_id", Bytes),
];

/// What an item says.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Value<'a> {
    /// A quantity, in the unit that the standard has; `None` where it says that it is out of its range or unknown.
    Number(Option<f64>),
    /// A whole number: a count, a code, a version.
    Count(i64),
    /// Microseconds since 1970, UTC without leap seconds (ST 0603).
    Time(u64),
    /// A text.
    Text(String),
    /// An identifier of ST 1204: version, usage and UUIDs.
    Core(String),
    /// A security set, ST 0102.
    Security(Security),
    /// Targets, ST 0903.
    Vmti(Box<Vmti>),
    /// Bytes whose meaning is not known here.
    Bytes(#[serde(serialize_with = "as_hex")] &'a [u8]),
}

fn as_hex<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hex(bytes))
}

/// One item, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Item<'a> {
    /// Its tag.
    pub tag: u32,
    /// Its name; `None` where the tag is not known.
    pub name: Option<&'static str>,
    /// What it says.
    pub value: Value<'a>,
}

/// The items of the set `value`, in their order. An item whose bytes are not what its tag says is `Bytes`. `version` is that of ST 0903 as a
/// packet before said it, 0 at first.
pub fn decode<'a>(value: &'a [u8], version: &mut u64) -> impl Iterator<Item = Result<Item<'a>, CutShort>> {
    Items::new(value).map(move |item| {
        let (tag, bytes) = item?;
        let known = ITEMS.binary_search_by_key(&tag, |(tag, _, _)| *tag).ok().map(|index| &ITEMS[index]);
        let value = known.and_then(|(_, _, kind)| read(bytes, *kind, version));
        Ok(Item { tag, name: known.map(|(_, name, _)| *name), value: value.unwrap_or(Value::Bytes(bytes)) })
    })
}

fn read<'a>(bytes: &'a [u8], kind: Kind, version: &mut u64) -> Option<Value<'a>> {
    Some(match kind {
        Linear(low, high) => finite(linear(bytes, low, high)?),
        Signed(most) => finite(signed(bytes, most)?),
        Imapb(low, high) => finite(imapb::decode(bytes, low, high)?),
        Count => Value::Count(i64::try_from(ber::unsigned(bytes).filter(|_| !bytes.is_empty())?).ok()?),
        Difference => Value::Count(ber::signed(bytes)?),
        Time => Value::Time(ber::unsigned(bytes).filter(|_| !bytes.is_empty())?),
        Text => Value::Text(text(bytes)),
        Core => Value::Core(core(bytes)?),
        Kind::Security => Value::Security(Security::decode(bytes)),
        Kind::Vmti => Value::Vmti(Box::new(Vmti::decode(bytes, version))),
        Bytes => return None,
    })
}

fn finite(number: f64) -> Value<'static> {
    Value::Number(number.is_finite().then_some(number))
}

/// An identifier of ST 1204: version, usage, and the UUIDs that the usage says are there.
fn core(bytes: &[u8]) -> Option<String> {
    let (version, usage) = (bytes.first()?, bytes.get(1)?);
    let uuids = bytes[2..].chunks_exact(16).map(|uuid| {
        let parts = [0..4, 4..6, 6..8, 8..10, 10..16];
        parts.map(|part| uuid[part].iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))).join("-")
    });
    let head = format!("{version:02X}{usage:02X}:");
    (bytes.len() % 16 == 2).then(|| head + &uuids.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::test_data;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    fn only(tlv: &[u8]) -> Item<'_> {
        decode(tlv, &mut 0).next().expect("an item").expect("whole")
    }

    #[test]
    fn tags_are_in_order_so_that_they_are_found() {
        assert!(ITEMS.is_sorted_by_key(|(tag, _, _)| *tag));
    }

    /// All vectors of klvdata's tests, but where klvdata is wrong: tags 43 and 44.
    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn every_item_says_what_the_standard_s_examples_say() {
        let Some(vectors) = test_data("klv-vectors/st0601-tags.json") else { return };
        let vectors = vectors["vectors"].as_array().expect("a list");
        for vector in vectors {
            let tlv = bytes(vector["tlv_hex"].as_str().expect("hex"));
            let item = only(&tlv);
            let title = vector["name"].as_str().expect("a name").to_lowercase();
            let words: Vec<&str> =
                title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
            assert_eq!(item.name, Some(words.join("_").as_str()), "{vector}");
            let expected = if vector["value"].is_null() { &vector["klvdata"] } else { &vector["value"] };
            match item.value {
                Value::Number(number) => {
                    let expected = expected.as_f64().expect("a number");
                    let number = number.expect("a number");
                    assert!((number - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{vector}: {number}");
                }
                Value::Count(count) => {
                    let expected = expected.as_f64().expect("a number");
                    assert!((count as f64 - expected).abs() < 1e-9, "{vector}: {count}");
                }
                Value::Time(time) => assert_eq!(Some(time), expected.as_u64(), "{vector}"),
                Value::Text(text) => assert_eq!(Some(text.as_str()), expected.as_str(), "{vector}"),
                other => panic!("{vector}: {other:?}"),
            }
        }
        assert_eq!(vectors.len(), 93);
    }

    #[test]
    fn what_is_out_of_range_or_of_another_length_is_no_number() {
        assert_eq!(only(&[6, 2, 0x80, 0]).value, Value::Number(None));
        assert_eq!(only(&[13, 4, 0x80, 0, 0, 0]).value, Value::Number(None));
        assert_eq!(only(&[5, 0]).value, Value::Bytes(&[]));
        assert_eq!(only(&[5, 5, 1, 2, 3, 4, 5]).value, Value::Bytes(&[1, 2, 3, 4, 5]));
        assert_eq!(only(&[0x81, 0x7F, 1, 9]), Item { tag: 255, name: None, value: Value::Bytes(&[9]) });
        assert_eq!(only(&[104, 2, 0xC8, 0]).value, Value::Number(None));
    }
}
