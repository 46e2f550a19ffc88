#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "small numbers, and some that are exact"
)]

use super::ellipsoid::dot;
use super::*;
use crate::telemetry::{Attitude, Gimbal, test_data};

/// What a case of the shared data says of the camera.
fn known(case: &serde_json::Value) -> Known {
    let number = |key: &str| Some(case[key].as_f64().expect(key));
    Known {
        lat: number("lat_deg"),
        lon: number("lon_deg"),
        alt_m: number("h_m"),
        datum: Datum::Ellipsoid,
        ground_m: number("ground_h_m"),
        attitude: number("heading_deg").map(|heading_deg| Attitude {
            heading_deg,
            pitch_deg: case["pitch_deg"].as_f64().expect("pitch"),
            roll_deg: case["roll_deg"].as_f64().expect("roll"),
        }),
        gimbal: number("gimbal_az_deg").map(|azimuth_deg| Gimbal {
            azimuth_deg,
            elevation_deg: case["gimbal_el_deg"].as_f64().expect("elevation"),
            roll_deg: case["gimbal_roll_deg"].as_f64().expect("roll"),
            is_relative: true,
        }),
        hfov_deg: number("hfov_deg"),
        vfov_deg: number("vfov_deg"),
        ..Known::default()
    }
}

/// North and east, m, of one place from another.
fn off(from: (f64, f64), to: (f64, f64), height_m: f64) -> (f64, f64) {
    let place = |(lat_deg, lon_deg): (f64, f64)| Geodetic { lat_deg, lon_deg, height_m };
    let [north, east, _] = place(from).north_east_down();
    let moved = add(place(to).to_earth(), scale(place(from).to_earth(), -1.0));
    (dot(moved, north), dot(moved, east))
}

#[test]
fn lines_of_sight_end_where_they_should() {
    let Some(data) = test_data("geo/cases.json") else { return };
    let (cases, with) = (data["cases"].as_array().expect("a list"), Geolocation::default());
    for case in cases {
        let input = &case["input"];
        let number = |key: &str| input[key].as_f64().expect(key);
        let view = with.view(&known(input), (number("width"), number("height"))).expect("all is known");
        let found = view.locate(number("u"), number("v"));
        let expected = &case["expected"];
        if expected.is_null() {
            let reason = match found.expect_err("no position") {
                Unlocated::AboveHorizon => "above_horizon",
                Unlocated::BeyondHorizon => "beyond_horizon",
                Unlocated::NotAboveGround => "sensor_not_above_ground",
                other => panic!("{case}: {other}"),
            };
            assert_eq!(case["null_reason"], reason, "{case}");
            continue;
        }
        let found = found.unwrap_or_else(|reason| panic!("{case}: {reason}"));
        let expected = |key: &str| expected[key].as_f64().expect(key);
        let east = (found.lon - expected("lon_deg") + 180.0).rem_euclid(360.0) - 180.0;
        assert!((found.lat - expected("lat_deg")).abs() <= 1e-7 && east.abs() <= 1e-7, "{case}: {found:?}");
        assert!((found.slant_m - expected("slant_m")).abs() <= 0.01, "{case}: {found:?}");
    }
    assert_eq!(cases.len(), 40);
}

/// A recording of a real camera, which says itself where it looked.
#[test]
fn a_real_camera_looks_where_it_says() {
    let (Some(packets), Some(ground), Some(targets)) = (
        test_data("klv-sample-stream/expected.json"),
        test_data("geo/sample-stream-ground.json"),
        test_data("klv-sample-stream/vmti-targets.json"),
    ) else {
        return;
    };
    let with = Geolocation::default();
    let packets: Vec<Known> = packets["packets"].as_array().expect("a list").iter().map(packet).collect();
    let frames = ground["frames"].as_array().expect("a list");
    assert_eq!((packets.len(), frames.len()), (277, 277));
    for (known, frame) in packets.iter().zip(frames) {
        let view = with.view(known, (640.0, 480.0)).expect("all is known");
        let centre = view.locate(320.0, 240.0).expect("ground");
        let said = |place: &serde_json::Value| (place[0].as_f64().expect("lat"), place[1].as_f64().expect("lon"));
        let (north, east) = off(said(&frame["center"]), (centre.lat, centre.lon), centre.alt_m);
        let slant = centre.slant_m - frame["slant_m"].as_f64().expect("slant");
        assert!(north.hypot(east) <= 0.5 && slant.abs() <= 0.5, "{frame}: {north} {east} {slant}");
        for (at, (u, v)) in [(0.0, 0.0), (640.0, 0.0), (640.0, 480.0), (0.0, 480.0)].into_iter().enumerate() {
            let corner = view.locate(u, v).expect("ground");
            let (north, east) = off(said(&frame["corners"][at]), (corner.lat, corner.lon), corner.alt_m);
            // What the terrain is higher or lower than the plane moves a corner along the line of sight.
            let here = (known.lat.expect("lat"), known.lon.expect("lon"));
            let (to_north, to_east) = off(here, (corner.lat, corner.lon), corner.alt_m);
            let across = (north * to_east - east * to_north) / to_north.hypot(to_east);
            assert!(north.hypot(east) <= 10.0 && across.abs() <= 1.0, "{frame}, corner {at}: {north} {east} {across}");
        }
    }
    let mut count = 0;
    for target in targets["targets"].as_array().expect("a list") {
        let Some(row) = target["row_col_items_19_20"][0].as_f64() else { continue };
        let column = target["row_col_items_19_20"][1].as_f64().expect("a column");
        let number = |key: &str| target[key].as_f64().expect(key);
        let known = packets[target["packet"].as_u64().expect("a packet") as usize];
        let with = Geolocation { ground_m: Some(number("height_m")), ..Geolocation::default() };
        let view = with.view(&known, (640.0, 480.0)).expect("all is known");
        let found = view.locate(column - 0.5, row - 0.5).expect("ground");
        let (north, east) = off((number("lat_deg"), number("lon_deg")), (found.lat, found.lon), found.alt_m);
        assert!(north.hypot(east) <= 1.0, "{target}: {north} {east}");
        count += 1;
    }
    assert_eq!(count, 129);
}

fn packet(packet: &serde_json::Value) -> Known {
    let number = |key: &str| Some(packet[key].as_f64().expect(key));
    let angle = |key: &str| packet[key].as_f64().expect(key);
    Known {
        lat: number("sensor_lat_deg"),
        lon: number("sensor_lon_deg"),
        alt_m: number("sensor_alt_m"),
        ground_m: number("frame_center_elev_m"),
        attitude: Some(Attitude {
            heading_deg: angle("heading_deg"),
            pitch_deg: angle("pitch_deg"),
            roll_deg: angle("roll_deg"),
        }),
        gimbal: Some(Gimbal {
            azimuth_deg: angle("rel_azimuth_deg"),
            elevation_deg: angle("rel_elevation_deg"),
            roll_deg: angle("rel_roll_deg"),
            is_relative: true,
        }),
        hfov_deg: number("hfov_deg"),
        vfov_deg: number("vfov_deg"),
        ..Known::default()
    }
}

/// A drone 100 m above the ground that looks down at this angle.
fn drone(elevation_deg: f64) -> Known {
    Known {
        lat: Some(47.0),
        lon: Some(8.0),
        alt_m: Some(500.0),
        ground_m: Some(400.0),
        attitude: Some(Attitude { heading_deg: 40.0, pitch_deg: 3.0, roll_deg: -5.0 }),
        gimbal: Some(Gimbal { azimuth_deg: 25.0, elevation_deg, roll_deg: 0.0, is_relative: true }),
        hfov_deg: Some(60.0),
        vfov_deg: Some(36.0),
        ..Known::default()
    }
}

/// Numbers of a normal distribution, from a fixed seed (splitmix64, Box and Muller).
struct Draws(u64);

impl Draws {
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self, deviation: f64) -> f64 {
        let (a, b) = (1.0 - self.uniform(), self.uniform());
        deviation * (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

/// One draw of all inputs.
fn draw(known: &Known, u: &Uncertainty, draws: &mut Draws) -> (Known, Geolocation, [f64; 3]) {
    let mut drawn = *known;
    let [north, east] = [draws.normal(u.horizontal_m), draws.normal(u.horizontal_m)];
    let lat = known.lat.expect("lat");
    drawn.lat = Some(lat + north / 111_180.0);
    drawn.lon = known.lon.map(|lon| lon + east / (111_320.0 * lat.to_radians().cos()));
    drawn.alt_m = known.alt_m.map(|alt| alt + draws.normal(u.vertical_m));
    drawn.ground_m = known.ground_m.map(|ground| ground + draws.normal(u.ground_m));
    let attitude = drawn.attitude.as_mut().expect("attitude");
    attitude.heading_deg += draws.normal(u.heading_deg);
    attitude.pitch_deg += draws.normal(u.attitude_deg);
    attitude.roll_deg += draws.normal(u.attitude_deg);
    let gimbal = drawn.gimbal.as_mut().expect("a gimbal");
    gimbal.azimuth_deg += draws.normal(u.gimbal_deg);
    gimbal.elevation_deg += draws.normal(u.gimbal_deg);
    gimbal.roll_deg += draws.normal(u.gimbal_deg);
    let off = [draws.normal(u.pixels), draws.normal(u.pixels), draws.normal(u.fov)];
    (drawn, Geolocation::default(), off)
}

#[test]
fn ninety_percent_of_draws_lie_within_the_ellipse() {
    let u = Uncertainty::default();
    for (elevation, pixel) in
        [(-85.0, (960.0, 540.0)), (-60.0, (100.0, 900.0)), (-45.0, (1500.0, 200.0)), (-30.0, (960.0, 800.0))]
    {
        let known = drone(elevation);
        let with = Geolocation::default();
        let place = with.view(&known, (1920.0, 1080.0)).expect("known").locate(pixel.0, pixel.1).expect("ground");
        let error = place.error.expect("an ellipse");
        let (sin, cos) = error.azimuth_deg.to_radians().sin_cos();
        let mut draws = Draws(7);
        let (mut within, mut circle) = (0, 0);
        let count = 20_000;
        for _ in 0..count {
            let (drawn, with, [du, dv, zoom]) = draw(&known, &u, &mut draws);
            // A field of view that is larger by a part is a pixel that is further out by it.
            let out = |at: f64, size: f64| size / 2.0 + (at - size / 2.0) * (1.0 + zoom);
            let (x, y) = (out(pixel.0, 1920.0) + du, out(pixel.1, 1080.0) + dv);
            let Ok(found) = with.view(&drawn, (1920.0, 1080.0)).expect("known").locate(x, y) else { continue };
            let (north, east) = off((place.lat, place.lon), (found.lat, found.lon), place.alt_m);
            let (along, across) = (north * cos + east * sin, east * cos - north * sin);
            within += u32::from((along / error.major_m).powi(2) + (across / error.minor_m).powi(2) <= 1.0);
            circle += u32::from(north.hypot(east) <= error.ce90_m);
        }
        for (what, inside) in [("ellipse", within), ("circle", circle)] {
            let part = f64::from(inside) / f64::from(count);
            assert!((0.88..=0.92).contains(&part), "{what} at {elevation}°: {part}, {error:?}");
        }
    }
}

#[test]
fn near_the_horizon_there_is_no_ellipse() {
    let with = Geolocation::default();
    let level = Known { attitude: Some(Attitude::default()), ..drone(-1.0) };
    let place = with.view(&level, (1920.0, 1080.0)).expect("known").locate(960.0, 540.0).expect("ground");
    assert!(place.error.is_none() && place.slant_m > 5000.0, "{place:?}");
}

#[test]
fn what_is_missing_is_said() {
    let with = Geolocation::default();
    let reason = |known: Known| with.view(&known, (1920.0, 1080.0)).err();
    let drone = drone(-45.0);
    assert_eq!(reason(drone), None);
    for (known, expected) in [
        (Known { lat: None, ..drone }, Unlocated::NoPosition),
        (Known { alt_m: None, ..drone }, Unlocated::NoAltitude),
        (Known { gimbal: None, ..drone }, Unlocated::NoDirection),
        (Known { attitude: None, ..drone }, Unlocated::NoDirection),
        (Known { hfov_deg: None, vfov_deg: None, ..drone }, Unlocated::NoFieldOfView),
        (Known { ground_m: None, ..drone }, Unlocated::NoGround),
    ] {
        assert_eq!(reason(known), Some(expected));
    }
    // Above the place it took off from.
    let above = Known { ground_m: None, alt_m: None, height_m: Some(80.0), ..drone };
    let place = with.view(&above, (1920.0, 1080.0)).expect("known").locate(960.0, 540.0).expect("ground");
    assert_eq!(place.alt_m, 0.0);
}

/// A hill 200 m high in the middle of a tile at 100 m.
fn hill() -> (tempfile::TempDir, Terrain) {
    let folder = tempfile::tempdir().expect("a folder");
    let elevation = |row: usize, column: usize| {
        let [north, east] = [600.0 - row as f64, column as f64 - 600.0].map(|cells| cells * 92.6);
        // Rounded as the file has them.
        (100.0 + 200.0 * (-(north * north + east * east) / (2.0 * 600.0_f64.powi(2))).exp()).round() as i16
    };
    let bytes: Vec<u8> = (0..1201 * 1201).flat_map(|at| elevation(at / 1201, at % 1201).to_be_bytes()).collect();
    std::fs::write(folder.path().join("N47E008.hgt"), bytes).expect("a tile");
    let terrain = Terrain::open(folder.path()).expect("a terrain model");
    (folder, terrain)
}

#[test]
fn a_ray_ends_at_the_hill_that_it_meets() {
    let (_folder, terrain) = hill();
    assert_eq!(terrain.elevation(47.5, 8.5), Some(300.0));
    assert_eq!(terrain.elevation(46.5, 8.5), None);
    let terrain = Arc::new(terrain);
    let with = Geolocation { terrain: Some(terrain.clone()), ..Geolocation::default() };
    // From 3 km south of the top, at 350 m; below it, at it, and over it.
    for (elevation_deg, is_hill) in [(-8.0, true), (-3.0, true), (-1.5, true), (-0.6, false)] {
        let known = Known {
            lat: Some(47.5 - 3000.0 / 111_180.0),
            lon: Some(8.5),
            alt_m: Some(350.0),
            ground_m: None,
            attitude: Some(Attitude::default()),
            gimbal: Some(Gimbal { azimuth_deg: 0.0, elevation_deg, roll_deg: 0.0, is_relative: true }),
            ..drone(0.0)
        };
        let view = with.view(&known, (1920.0, 1080.0)).expect("known");
        let found = view.locate(960.0, 540.0).expect("ground");
        // Every half metre, from the camera on.
        let ray = Ray { origin: view.origin, direction: view.in_earth(view.direction(960.0, 540.0)) };
        let below = |distance: &f64| {
            let point = Geodetic::of(ray.at(*distance));
            point.height_m <= terrain.elevation(point.lat_deg, point.lon_deg).expect("ground")
        };
        let expected = (0..100_000).map(|n| f64::from(n) * 0.5).find(below).expect("ground");
        assert!((found.slant_m - expected).abs() <= 92.6, "{elevation_deg}°: {} and not {expected}", found.slant_m);
        assert_eq!(found.slant_m < 3500.0, is_hill, "{found:?}");
        let ground = terrain.elevation(found.lat, found.lon).expect("ground");
        assert!((found.alt_m - ground).abs() < 0.01, "{found:?}");
    }
    let up = Known {
        gimbal: Some(Gimbal { azimuth_deg: 0.0, elevation_deg: 5.0, roll_deg: 0.0, is_relative: true }),
        ..drone(0.0)
    };
    let up = Known { lat: Some(47.5), lon: Some(8.5), attitude: Some(Attitude::default()), ..up };
    let found = with.view(&up, (1920.0, 1080.0)).expect("known").locate(960.0, 540.0);
    assert!(matches!(found, Err(Unlocated::AboveHorizon) | Ok(_)), "{found:?}");
}

#[test]
fn folders_that_are_no_terrain_model_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = || Terrain::open(folder.path()).expect_err("no tiles").to_string();
    assert!(said().contains("there are no .hgt files"), "{}", said());
    std::fs::write(folder.path().join("N47E008.hgt"), [0; 10]).expect("a file");
    assert!(said().contains("10 bytes are no tile"), "{}", said());
}
