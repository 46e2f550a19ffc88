//! DJI's subtitles: what a drone says of itself in the text of a cue, in the dialects of its models.

use super::{Attitude, Datum, Gimbal, Known, Origin};

/// A place, and a height where it is said.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Place {
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lon: f64,
    /// m, of what is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alt: Option<f64>,
}

/// Angles, degrees; yaw is against north, pitch of a gimbal is 0 at the horizon and −90 straight down.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Angles {
    /// Up.
    pub pitch: f64,
    /// Right side down.
    pub roll: f64,
    /// Clockwise from north.
    pub yaw: f64,
}

/// What a cue says. A position of 0, 0 is none: the drone has no fix yet.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[serde(default)]
pub struct Cue {
    /// Local time of the drone, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datetime: Option<String>,
    /// Degrees.
    pub lat: Option<f64>,
    /// Degrees.
    pub lon: Option<f64>,
    /// There is a position of 0, 0.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_fix: bool,
    /// Third number of `GPS()`, where that is no count of satellites; m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gps_third: Option<f64>,
    /// What the numbers of `GPS()` are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gps_order: Option<&'static str>,
    /// Satellites.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub satellites: Option<u64>,
    /// m above take-off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rel_alt: Option<f64>,
    /// m, of what is not said: barometric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abs_alt: Option<f64>,
    /// m, of what is not said, of older models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub altitude: Option<f64>,
    /// m above take-off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barometer: Option<f64>,
    /// m above take-off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height_above_home: Option<f64>,
    /// m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_from_home: Option<f64>,
    /// Where it took off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<Place>,
    /// Of the camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gimbal: Option<Angles>,
    /// Of the drone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aircraft: Option<Angles>,
    /// m/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizontal_speed: Option<f64>,
    /// m/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vertical_speed: Option<f64>,
    /// ISO speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iso: Option<u64>,
    /// Exposure time, s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutter_s: Option<f64>,
    /// The same, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutter_text: Option<String>,
    /// F-number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fnum: Option<f64>,
    /// For 35 mm film.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub focal_len_mm: Option<f64>,
    /// Colour temperature, K.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ct: Option<f64>,
    /// Digital zoom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dzoom_ratio: Option<f64>,
    /// Number of the frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_count: Option<u64>,
    /// Since the cue before, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff_time_ms: Option<u64>,
}

/// Things that a text has to say so that it is no ordinary subtitle.
const TELLING: usize = 2;

impl Cue {
    /// Reads the text of a cue, with or without tags; `None` where it is no telemetry.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = without_tags(text);
        // What is cut in the middle says nothing.
        let whole = match text.rfind('[') {
            Some(at) if !text[at..].contains(']') => &text[..at],
            _ => &text[..],
        };
        let mut cue = Self::default();
        cue.read_position(whole);
        cue.read_heights(whole);
        cue.read_camera(whole);
        cue.datetime = datetime(whole);
        let says = [
            cue.frame_count.is_some(),
            cue.iso.is_some(),
            cue.shutter_s.is_some(),
            cue.lat.is_some() || cue.no_fix,
            cue.home.is_some(),
            cue.datetime.is_some(),
            cue.barometer.is_some() || cue.rel_alt.is_some() || cue.height_above_home.is_some(),
        ];
        (says.into_iter().filter(|says| *says).count() >= TELLING).then_some(cue)
    }

    fn read_position(&mut self, text: &str) {
        let gps = list(text, "GPS");
        let is_count = |third: &str| third.bytes().all(|byte| byte.is_ascii_digit());
        let lat_first = gps.as_ref().is_some_and(|gps| gps.get(2).is_some_and(|third| !is_count(third)));
        let place = |numbers: &[&str]| {
            let (a, b) = (number(numbers.first()?)?, number(numbers.get(1)?)?);
            Some(if lat_first { (a, b) } else { (b, a) })
        };
        let mut found = first(text, &["latitude"]).zip(first(text, &["longitude", "longtitude"]));
        if let Some(gps) = &gps {
            found = found.or(place(gps));
            if let Some(third) = gps.get(2).filter(|_| place(gps).is_some()) {
                self.gps_order = Some(if lat_first { "lat,lon,alt" } else { "lon,lat,satellites" });
                self.gps_third = number(third).filter(|_| lat_first);
                self.satellites = third.parse().ok().filter(|_| !lat_first);
            }
        }
        let found = found.filter(|(lat, lon)| lat.abs() <= 90.0 && lon.abs() <= 180.0);
        self.no_fix = found == Some((0.0, 0.0));
        (self.lat, self.lon) = found.filter(|_| !self.no_fix).unzip();
        let home = list(text, "HOME");
        self.home = home.and_then(|home| {
            let (lat, lon) = place(&home)?;
            Some(Place { lat, lon, alt: home.get(2).and_then(|alt| number(alt)) })
        });
    }

    fn read_heights(&mut self, text: &str) {
        let one = |keys: &[&str]| first(text, keys);
        self.rel_alt = one(&["rel_alt"]);
        self.abs_alt = one(&["abs_alt"]);
        self.altitude = one(&["altitude"]);
        self.barometer = one(&["BAROMETER", "Hb"]);
        self.height_above_home = one(&["H"]);
        self.distance_from_home = one(&["D"]);
        self.horizontal_speed = one(&["H.S"]);
        self.vertical_speed = one(&["V.S"]);
        let angles = |key: &str| {
            let found = list(text, key)?;
            let angle = |at: usize| number(found.get(at)?);
            Some(Angles { pitch: angle(0)?, roll: angle(1)?, yaw: angle(2)? })
        };
        self.aircraft = angles("F.PRY");
        let brackets = || {
            let yaw = one(&["gb_yaw"])?;
            Some(Angles { pitch: one(&["gb_pitch"])?, roll: one(&["gb_roll"])?, yaw })
        };
        self.gimbal = angles("G.PRY").or_else(brackets);
    }

    fn read_camera(&mut self, text: &str) {
        let whole = |keys: &[&str]| keys.iter().find_map(|key| value(text, key)).and_then(digits);
        self.frame_count = whole(&["FrameCnt", "SrtCnt"]);
        self.diff_time_ms = whole(&["DiffTime"]);
        self.iso = whole(&["iso", "ISO"]);
        self.ct = first(text, &["ct"]);
        self.dzoom_ratio = first(text, &["dzoom_ratio"]);
        let shutter = ["shutter", "Shutter", "TV", "SS"].iter().find_map(|key| value(text, key));
        // Older models write the second's part alone.
        let part = shutter.and_then(|text| number(text.strip_prefix("1/").unwrap_or(text)));
        self.shutter_s = part.filter(|part| *part > 0.0).map(|part| 1.0 / part);
        self.shutter_text = shutter.filter(|_| self.shutter_s.is_some()).map(str::to_owned);
        // In hundredths by some models, and a focal length in tenths.
        let fnum = ["fnum", "Fnum", "IR", "F"].iter().find_map(|key| value(text, key));
        let fnum = fnum.and_then(|text| number(text.strip_prefix('F').unwrap_or(text)));
        self.fnum = fnum.map(|fnum| if fnum >= 50.0 { fnum / 100.0 } else { fnum });
        self.focal_len_mm = value(text, "focal_len").and_then(|text| {
            let focal = number(text)?;
            Some(if text.contains('.') { focal } else { focal / 10.0 })
        });
    }

    /// What it says of the camera.
    #[must_use]
    pub fn known(&self) -> Known {
        Known {
            origin: Origin::DjiSrt,
            lat: self.lat,
            lon: self.lon,
            alt_m: self.abs_alt.or(self.altitude),
            datum: Datum::Unstated,
            height_m: self.rel_alt.or(self.height_above_home).or(self.barometer),
            attitude: self.aircraft.map(|angles| Attitude {
                heading_deg: angles.yaw.rem_euclid(360.0),
                pitch_deg: angles.pitch,
                roll_deg: angles.roll,
            }),
            gimbal: self.gimbal.map(|angles| Gimbal {
                azimuth_deg: angles.yaw,
                elevation_deg: angles.pitch,
                roll_deg: angles.roll,
                is_relative: false,
            }),
            focal_35mm: self
                .focal_len_mm
                .map(|focal| focal * self.dzoom_ratio.filter(|zoom| *zoom >= 1.0).unwrap_or(1.0)),
            ..Known::default()
        }
    }
}

fn without_tags(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        plain.push_str(before);
        let Some((_, after)) = after.split_once('>') else { return plain };
        rest = after;
    }
    plain + rest
}

/// What stands behind `key`, up to what ends it.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = behind(text, key)?;
    let rest = rest.trim_start_matches([' ', ':', '(', '/']);
    let end = rest.find([',', ']', ')', ' ', '\n', '\r']).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The parts of the list in parentheses behind `key`.
fn list<'a>(text: &'a str, key: &str) -> Option<Vec<&'a str>> {
    let rest = behind(text, key)?.trim_start().strip_prefix('(')?;
    Some(rest[..rest.find(')')?].split(',').map(str::trim).collect())
}

/// What follows `key`, where it is a word of its own.
fn behind<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '.' || c == '_';
    text.match_indices(key).find_map(|(at, _)| {
        let after = &text[at + key.len()..];
        let is_word = !text[..at].ends_with(is_part) && after.starts_with([' ', ':', '(', '/']);
        is_word.then_some(after)
    })
}

fn first(text: &str, keys: &[&str]) -> Option<f64> {
    keys.iter().find_map(|key| value(text, key)).and_then(number)
}

/// The number that `text` begins with; a unit may follow.
fn number(text: &str) -> Option<f64> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == '-' || c == '+';
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    text[..end].parse().ok().filter(|number: &f64| number.is_finite())
}

fn digits(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// `2017.8.5 14:11:51`, `2018-02-19 08:04:51,265,847`, `2021-12-25 12:27:52.373`.
fn datetime(text: &str) -> Option<String> {
    let clocks = text.match_indices(' ').filter_map(|(at, _)| {
        let date = text[..at].rsplit([' ', '\n', ')']).next()?;
        let mut parts = date.split(['.', '-']);
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let part = |text: &str, longest: usize| text.parse::<u16>().ok().filter(|_| text.len() <= longest);
        let (year, month, day) = (part(year, 4)?, part(month, 2)?, part(day, 2)?);
        let time = text[at + 1..].split([' ', '\n', '\r', ']']).next()?;
        let (clock, fraction) = time.split_at(time.find([',', '.']).unwrap_or(time.len()));
        let mut parts = clock.split(':').map(|text| part(text, 2));
        let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
        let digits: String = fraction.chars().filter(char::is_ascii_digit).take(6).collect();
        let point = if digits.is_empty() { "" } else { "." };
        Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{point}{digits}"))
    });
    clocks.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{srt, test_bytes, test_data};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Whether all of two values is the same, numbers to a billionth.
    fn is_same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => {
                let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
                (a - b).abs() <= 1e-9
            }
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| is_same(value, other)))
            }
            _ => a == b,
        }
    }

    #[test]
    fn every_dialect_says_what_it_means() {
        let Some(expected) = test_data("dji/expected.json") else { return };
        let files = expected["files"].as_object().expect("files");
        let mut count = 0;
        for (name, file) in files {
            let folder = if file["repository"] == "CallMarcus/dji-drone-metadata-embedder" {
                "callmarcus"
            } else {
                "juanirache"
            };
            let bytes = test_bytes(&format!("dji/{folder}/{name}")).expect("a file");
            let text = String::from_utf8_lossy(&bytes);
            let rows = file["rows"].as_array().expect("rows");
            let found: Vec<Value> = srt::cues(&text)
                .map(|cue| {
                    let says = Cue::read(cue.text).unwrap_or_else(|| panic!("{name}: {:?} says nothing", cue.text));
                    let mut row = serde_json::to_value(says).expect("JSON");
                    row["index"] = json!(cue.index);
                    row["start_ms"] = json!(cue.span_ms.map(|(start, _)| start));
                    row["end_ms"] = json!(cue.span_ms.map(|(_, end)| end));
                    row
                })
                .collect();
            assert_eq!(found.len(), rows.len(), "{name}");
            for (found, row) in found.iter().zip(rows) {
                assert!(is_same(found, row), "{name}:\n{found}\n{row}");
                count += 1;
            }
        }
        assert_eq!((files.len(), count > 2500), (34, true));
    }

    #[test]
    fn a_subtitle_is_no_telemetry() {
        for text in ["I saw it at 5 o'clock.", "ISO 9000", "[music playing]", "", "<i>Home</i> (sweet home)"] {
            assert_eq!(Cue::read(text), None, "{text}");
        }
    }

    #[test]
    fn angles_and_heights_are_the_camera_s() {
        let text = "F/5.6, SS 400, ISO 100, EV 0, GPS (-58.851745, -34.237922, 15), D 698.70m, H 85.80m, F.PRY (2.7°, -7.0°, -110.1°), G.PRY (-24.4°, 0.0°, 110.4°)";
        let known = Cue::read(text).expect("telemetry").known();
        let gimbal = known.gimbal.expect("a gimbal");
        assert_eq!(
            (known.lat, known.lon, known.height_m, known.alt_m),
            (Some(-34.237_922), Some(-58.851_745), Some(85.8), None)
        );
        assert_eq!((gimbal.azimuth_deg, gimbal.elevation_deg, gimbal.is_relative), (110.4, -24.4, false));
        assert!((known.attitude.expect("attitude").heading_deg - 249.9).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn fuzz_any_text_is_read_without_a_panic(text in "(\\PC|\n|GPS|HOME|\\(|\\)|\\[|\\]|latitude|:|<|>|-|,| |[0-9]){0,80}") {
            if let Some(cue) = Cue::read(&text) {
                prop_assert!(cue.known().lat.is_none_or(|lat| lat.abs() <= 90.0));
            }
        }
    }
}
