//! Samples as tables and maps have them.

use std::fmt::Write;

use serde_json::json;

use super::{Known, rfc3339};

/// The columns of [`csv_row`].
pub const CSV_HEAD: &str = "time_s,time,source,lat,lon,alt_m,height_m,ground_m,heading_deg,pitch_deg,roll_deg,\
gimbal_yaw_deg,gimbal_pitch_deg,gimbal_roll_deg,gimbal_relative,hfov_deg,vfov_deg,focal_35mm";

/// A sample as a row, without the line's end; what is not known is empty. `at_ns` is the time of the stream.
#[must_use]
pub fn csv_row(at_ns: u64, known: &Known) -> String {
    let Known { lat, lon, alt_m, height_m, ground_m, hfov_deg, vfov_deg, focal_35mm, .. } = *known;
    let (attitude, gimbal) = (known.attitude, known.gimbal);
    let mut row = format!("{}.{:09},", at_ns / 1_000_000_000, at_ns % 1_000_000_000);
    row += &known.time_us.and_then(rfc3339).unwrap_or_default();
    row.push(',');
    row += known.origin.name();
    let mut add = |number: Option<f64>| {
        row.push(',');
        if let Some(number) = number {
            // Memory takes all text.
            let _ = write!(row, "{number}");
        }
    };
    for number in [lat, lon, alt_m, height_m, ground_m] {
        add(number);
    }
    for angle in [attitude.map(|a| a.heading_deg), attitude.map(|a| a.pitch_deg), attitude.map(|a| a.roll_deg)] {
        add(angle);
    }
    for angle in [gimbal.map(|g| g.azimuth_deg), gimbal.map(|g| g.elevation_deg), gimbal.map(|g| g.roll_deg)] {
        add(angle);
    }
    add(gimbal.map(|gimbal| f64::from(u8::from(gimbal.is_relative))));
    for number in [hfov_deg, vfov_deg, focal_35mm] {
        add(number);
    }
    row
}

/// The way of a camera as `GeoJSON` (RFC 7946): a line, and a point with its time for each sample.
#[must_use]
pub fn geojson(samples: &[(u64, Known)]) -> serde_json::Value {
    let place = |known: &Known| {
        let (lat, lon) = known.lat.zip(known.lon)?;
        Some(known.alt_m.map_or_else(|| json!([lon, lat]), |alt| json!([lon, lat, alt])))
    };
    let line: Vec<_> = samples.iter().filter_map(|(_, known)| place(known)).collect();
    let mut features = Vec::new();
    if line.len() > 1 {
        let shape = json!({"type": "LineString", "coordinates": line});
        features.push(json!({"type": "Feature", "geometry": shape, "properties": {"name": "camera"}}));
    }
    features.extend(samples.iter().filter_map(|(at_ns, known)| {
        let properties = json!({
            "pts_ns": at_ns,
            "time": known.time_us.and_then(rfc3339),
            "source": known.origin.name(),
            "heading_deg": known.attitude.map(|attitude| attitude.heading_deg),
        });
        let shape = json!({"type": "Point", "coordinates": place(known)?});
        Some(json!({"type": "Feature", "geometry": shape, "properties": properties}))
    }));
    json!({"type": "FeatureCollection", "features": features})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Attitude, Gimbal};

    #[test]
    fn what_is_not_known_is_empty() {
        let gimbal = Gimbal { azimuth_deg: 1.5, elevation_deg: -90.0, roll_deg: 0.0, is_relative: true };
        let known =
            Known { lat: Some(1.0), lon: Some(-2.5), gimbal: Some(gimbal), time_us: Some(0), ..Known::default() };
        let row = csv_row(1_033_000_000, &known);
        assert_eq!(row, "1.033000000,1970-01-01T00:00:00.000Z,misb0601,1,-2.5,,,,,,,1.5,-90,0,1,,,");
        assert_eq!(row.matches(',').count(), CSV_HEAD.matches(',').count());
    }

    #[test]
    fn longitude_comes_first() {
        let at = |lat, alt_m| {
            let attitude = Some(Attitude { heading_deg: 9.0, ..Attitude::default() });
            Known { lat: Some(lat), lon: Some(8.0), alt_m, attitude, ..Known::default() }
        };
        let found = geojson(&[(0, at(47.0, Some(400.0))), (1, Known::default()), (2, at(47.5, None))]);
        assert_eq!(found["features"][0]["geometry"]["coordinates"], json!([[8.0, 47.0, 400.0], [8.0, 47.5]]));
        assert_eq!(found["features"].as_array().map(Vec::len), Some(3));
        assert_eq!(found["features"][2]["properties"]["pts_ns"], json!(2));
    }
}
