//! `GoPro`'s metadata (GPMF): nested keys with typed values, a payload about once a second.

use super::klv::text;
use super::{Attitude, Datum, Known, Origin};

/// Nested containers are read so deep.
const DEEPEST: usize = 8;

/// One sensor's samples of a payload, scaled to their units.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stream {
    /// The device's name.
    pub device: String,
    /// Four letters: `GPS5`, `ACCL`, …
    pub key: String,
    /// For people; empty where it has none.
    pub name: String,
    /// Of each column.
    pub units: Vec<String>,
    /// Numbers of a sample.
    pub columns: usize,
    /// The samples, one after another.
    pub values: Vec<f64>,
    /// Kind of fix: 0 none, 2 of two dimensions, 3 of three.
    pub fix: Option<f64>,
    /// What altitudes are above, as it is written.
    pub altitudes: String,
    /// UTC of the first sample, `yymmddhhmmss.sss`.
    pub utc: Option<String>,
}

impl Stream {
    /// The samples.
    pub fn samples(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns.max(1))
    }
}

/// A key with its values.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    key: [u8; 4],
    kind: u8,
    /// Bytes of one value, or of one structure.
    size: usize,
    data: &'a [u8],
}

/// The entries of a container; what is cut short ends it.
fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let [a, b, c, d, kind, size, high, low] = *head;
        let length = usize::from(size) * usize::from(u16::from_be_bytes([high, low]));
        let data = rest.get(..length)?;
        bytes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // Zeros fill what is left of a payload.
        ([a, b, c, d] != [0; 4]).then_some(Entry { key: [a, b, c, d], kind, size: size.into(), data })
    })
}

/// Every sensor's samples in `payload`.
#[must_use]
pub fn streams(payload: &[u8]) -> Vec<Stream> {
    let mut found = Vec::new();
    read(payload, "", 0, &mut found);
    found
}

fn read(bytes: &[u8], device: &str, depth: usize, found: &mut Vec<Stream>) {
    let mut device = device.to_owned();
    for entry in entries(bytes) {
        match &entry.key {
            b"DVNM" => device = text(entry.data),
            b"STRM" if entry.kind == 0 => found.extend(stream(entry.data, &device)),
            _ if entry.kind == 0 && depth < DEEPEST => read(entry.data, &device, depth + 1, found),
            _ => {}
        }
    }
}

/// What a stream holds: its last entry are the samples, those before it say how they are read.
fn stream(bytes: &[u8], device: &str) -> Option<Stream> {
    let mut stream = Stream { device: device.to_owned(), ..Stream::default() };
    let (mut scale, mut structure, mut samples) = (Vec::new(), String::new(), None);
    for entry in entries(bytes) {
        match &entry.key {
            b"STNM" => stream.name = text(entry.data),
            b"SIUN" | b"UNIT" => {
                let names = entry.data.chunks(entry.size.max(1));
                stream.units = names.map(|name| text(name).trim().to_owned()).collect();
            }
            b"SCAL" => scale = numbers(&entry, ""),
            b"TYPE" => structure = text(entry.data),
            b"GPSF" => stream.fix = numbers(&entry, "").first().copied(),
            b"GPSU" => stream.utc = Some(text(entry.data)),
            b"GPSA" => stream.altitudes = text(entry.data),
            _ => samples = Some(entry),
        }
    }
    let samples = samples.filter(|entry| entry.kind != 0 && entry.size > 0)?;
    stream.values = numbers(&samples, &structure);
    let count = samples.data.len() / samples.size;
    stream.columns = stream.values.len().checked_div(count).filter(|columns| *columns > 0)?;
    for row in stream.values.chunks_mut(stream.columns) {
        for (at, value) in row.iter_mut().enumerate() {
            let divisor = if scale.len() > 1 { scale.get(at) } else { scale.first() };
            *value /= divisor.copied().filter(|divisor| *divisor != 0.0).unwrap_or(1.0);
        }
    }
    stream.key = text(&samples.key);
    Some(stream)
}

/// The numbers of an entry, those of structures after `structure`; none where its values are texts.
fn numbers(entry: &Entry<'_>, structure: &str) -> Vec<f64> {
    let kinds: Vec<u8> = if entry.kind == b'?' { expanded(structure) } else { vec![entry.kind] };
    let (mut values, mut rest) = (Vec::new(), entry.data);
    'all: while !rest.is_empty() {
        for kind in &kinds {
            let Some((value, after)) = number(*kind, rest) else { break 'all };
            values.push(value);
            rest = after;
        }
        if kinds.is_empty() {
            break;
        }
    }
    values
}

/// `Lf[3]S` is `LfffS`.
fn expanded(structure: &str) -> Vec<u8> {
    let mut kinds = Vec::new();
    for part in structure.split_inclusive(']') {
        let (plain, times) = part.split_once('[').unwrap_or((part, ""));
        kinds.extend(plain.bytes());
        let times: usize = times.trim_end_matches(']').parse().unwrap_or(1);
        if let Some(last) = plain.bytes().last() {
            kinds.extend(std::iter::repeat_n(last, times.clamp(1, 64) - 1));
        }
    }
    kinds.truncate(256);
    kinds
}

/// The number that `bytes` begin with.
#[expect(clippy::cast_precision_loss, reason = "of eight bytes, more than a float has")]
fn number(kind: u8, bytes: &[u8]) -> Option<(f64, &[u8])> {
    macro_rules! read {
        ($type:ty, $value:ident => $number:expr) => {{
            let (head, rest) = bytes.split_first_chunk()?;
            let $value = <$type>::from_be_bytes(*head);
            ($number, rest)
        }};
    }
    Some(match kind {
        b'b' => read!(i8, value => value.into()),
        b'B' => read!(u8, value => value.into()),
        b's' => read!(i16, value => value.into()),
        b'S' => read!(u16, value => value.into()),
        b'l' => read!(i32, value => value.into()),
        b'L' => read!(u32, value => value.into()),
        b'f' => read!(f32, value => value.into()),
        b'd' => read!(f64, value => value),
        b'j' => read!(i64, value => value as f64),
        b'J' => read!(u64, value => value as f64),
        b'q' => read!(i32, value => f64::from(value) / 65_536.0),
        b'Q' => read!(i64, value => value as f64 / 4_294_967_296.0),
        _ => return None,
    })
}

/// What a payload that is shown for `length_ns` says of the camera, each with when after its beginning. Without a lock there is no position.
#[must_use]
pub fn known(payload: &[u8], length_ns: u64) -> Vec<(u64, Known)> {
    let streams = streams(payload);
    let named = |key: &str| streams.iter().find(|stream| stream.key == key);
    let mut all = Vec::new();
    if let Some(gps) = named("GPS5").or(named("GPS9")) {
        let datum = if gps.altitudes.starts_with("MSL") { Datum::Msl } else { Datum::Ellipsoid };
        let start_us = gps.utc.as_deref().and_then(utc);
        for (at, sample) in spread(gps, length_ns) {
            let has_fix = gps.fix.or(sample.get(8).copied()).is_some_and(|fix| fix >= 2.0);
            let [lat, lon, alt, ..] = *sample else { continue };
            let time_us = start_us.map(|start| start + at / 1000).or_else(|| since_2000(sample.get(5..7)?));
            let place = Known { lat: Some(lat), lon: Some(lon), alt_m: Some(alt), datum, ..Known::default() };
            let known = if has_fix { place } else { Known::default() };
            all.push((at, Known { origin: Origin::Gpmf, time_us, ..known }));
        }
    } else if let Some(position) = named("GLPI") {
        // Of a Karma: position and attitude come one after the other.
        let attitudes = named("ATTD");
        for (number, (at, sample)) in spread(position, length_ns).enumerate() {
            let [_, lat, lon, alt, height, ..] = *sample else { continue };
            let attitude = attitudes.and_then(|attitudes| match *attitudes.samples().nth(number)? {
                [_, roll, pitch, yaw, ..] => Some(Attitude {
                    heading_deg: yaw.to_degrees().rem_euclid(360.0),
                    pitch_deg: pitch.to_degrees(),
                    roll_deg: roll.to_degrees(),
                }),
                _ => None,
            });
            let known = Known {
                origin: Origin::Gpmf,
                lat: Some(lat),
                lon: Some(lon),
                alt_m: Some(alt),
                height_m: Some(height),
                datum: Datum::Unstated,
                attitude,
                ..Known::default()
            };
            all.push((at, known));
        }
    }
    all
}

/// The samples, spread over the time of their payload.
fn spread(stream: &Stream, length_ns: u64) -> impl Iterator<Item = (u64, &[f64])> {
    let count = stream.samples().count().max(1) as u64;
    (0..).zip(stream.samples()).map(move |(number, sample)| (length_ns / count * number, sample))
}

/// `yymmddhhmmss.sss` as microseconds since 1970.
fn utc(text: &str) -> Option<u64> {
    let two = |at: usize| text.get(at..at + 2)?.parse::<i8>().ok();
    let fraction: f64 = text.get(12..).map_or(Some(0.0), |rest| format!("0{rest}").parse().ok())?;
    let date = jiff::civil::Date::new(2000 + i16::from(two(0)?), two(2)?, two(4)?).ok()?;
    let time = jiff::civil::Time::new(two(6)?, two(8)?, two(10)?, 0).ok()?;
    let whole = jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(time)).ok()?.as_microsecond();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a second")]
    let part = (fraction.clamp(0.0, 0.999_999) * 1e6) as u64;
    Some(u64::try_from(whole).ok()? + part)
}

/// Days since 2000 and seconds of the day as microseconds since 1970.
fn since_2000(days_and_seconds: &[f64]) -> Option<u64> {
    let [days, seconds] = *days_and_seconds else { return None };
    let us = (days * 86_400.0 + seconds + 946_684_800.0) * 1e6;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of this century")]
    (0.0..1e16).contains(&us).then_some(us as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{test_bytes, test_data};
    use proptest::prelude::*;
    use serde_json::Value;

    fn assert_close(found: &[f64], expected: &Value, what: &str) {
        let expected: Vec<f64> =
            expected.as_array().expect("a list").iter().map(|n| n.as_f64().expect("a number")).collect();
        assert_eq!(found.len(), expected.len(), "{what}");
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{what}: {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn every_payload_says_what_others_read() {
        let Some(expected) = test_data("gopro/expected.json") else { return };
        let mut count = 0;
        for (name, file) in expected["raw"].as_object().expect("files") {
            let bytes = test_bytes(&format!("gopro/{name}")).expect("a file");
            let streams = streams(&bytes);
            for expected in file["streams"].as_array().expect("streams") {
                let is_it = |s: &&Stream| expected["key"] == s.key.as_str() && expected["device"] == s.device.as_str();
                let stream = streams.iter().find(is_it).unwrap_or_else(|| panic!("{name} has no {expected}"));
                let samples: Vec<_> = stream.samples().collect();
                assert_eq!(Some(samples.len() as u64), expected["count"].as_u64(), "{name}: {}", stream.key);
                assert_close(samples[0], &expected["first"], &stream.key);
                assert_close(samples[samples.len() - 1], &expected["last"], &stream.key);
                let units: Vec<&str> = expected["units"]
                    .as_array()
                    .map_or_else(Vec::new, |units| units.iter().filter_map(Value::as_str).collect());
                assert_eq!(stream.units, units, "{name}: {}", stream.key);
                if !expected["GPSF"].is_null() {
                    assert_eq!(
                        (stream.fix, stream.utc.as_deref()),
                        (expected["GPSF"].as_f64(), expected["GPSU"].as_str())
                    );
                }
                count += 1;
            }
        }
        assert!(count >= 18, "{count} streams");
    }

    #[test]
    fn a_camera_without_a_lock_has_no_position() {
        let Some(bytes) = test_bytes("gopro/hero6.raw") else { return };
        let said = known(&bytes, 1_000_000_000);
        assert_eq!((said.len(), said.iter().any(|(_, known)| known.lat.is_some())), (17, false));
        let Some(bytes) = test_bytes("gopro/hero5.raw") else { return };
        let said = known(&bytes, 900_000_000);
        let (at, last) = said.last().expect("samples");
        assert_eq!((said.len(), *at, last.lat, last.datum), (18, 850_000_000, Some(33.126_497_3), Datum::Ellipsoid));
        assert_eq!(
            super::super::rfc3339(said[0].1.time_us.expect("a time")).as_deref(),
            Some("2017-04-17T17:31:03.000Z")
        );
    }

    #[test]
    fn a_drone_has_an_attitude() {
        let Some(bytes) = test_bytes("gopro/karma.raw") else { return };
        let (_, first) = known(&bytes, 1_000_000_000)[0];
        let attitude = first.attitude.expect("attitude");
        assert!(
            (attitude.heading_deg - 331.561).abs() < 0.001 && (attitude.roll_deg + 4.429_556).abs() < 1e-5,
            "{attitude:?}"
        );
        assert_eq!((first.lat, first.height_m), (Some(33.125_368_8), Some(2.003)));
    }

    proptest! {
        #[test]
        fn fuzz_any_bytes_are_read_without_a_panic(
            at in 0..4792_usize,
            put in proptest::collection::vec(any::<u8>(), 0..40),
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            known(&bytes, 1).len();
            let mut payload = [b"DEVC\0\x01\x01\0", b"STRM\0\x01\0\xF8", b"TYPEc\x03\0\x01".as_slice(), b"lf[\0", b"GPS5?\x08\0\x10"].concat();
            payload.resize(4792, b'S');
            let end = (at + put.len()).min(payload.len());
            payload[at..end].copy_from_slice(&put[..end - at]);
            prop_assert!(known(&payload, 1_000_000_000).len() <= payload.len());
        }
    }
}
