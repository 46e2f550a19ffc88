//! Positions on the ground of a frame's detections, by their number: on a surface of constant height, and on a terrain model.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use streamdet::telemetry::ground::{Geolocation, Terrain};
use streamdet::telemetry::{Attitude, Gimbal, Known};

/// A tile of waves, 100 m high and 2 km long.
fn terrain(folder: &Path) -> Terrain {
    let elevation = |at: u32| {
        let (north, east) = (f64::from(at / 1201), f64::from(at % 1201));
        #[expect(clippy::cast_possible_truncation, reason = "0 to 400")]
        let m = (200.0 + 100.0 * (north / 3.5).sin() + 100.0 * (east / 3.5).sin()) as i16;
        m.to_be_bytes()
    };
    let bytes: Vec<u8> = (0..1201 * 1201).flat_map(elevation).collect();
    std::fs::write(folder.join("N47E008.hgt"), bytes).expect("a tile");
    Terrain::open(folder).expect("a terrain model")
}

fn locate(criterion: &mut Criterion) {
    let known = Known {
        lat: Some(47.5),
        lon: Some(8.5),
        alt_m: Some(600.0),
        ground_m: Some(200.0),
        attitude: Some(Attitude { heading_deg: 40.0, pitch_deg: 2.0, roll_deg: -3.0 }),
        gimbal: Some(Gimbal { azimuth_deg: 20.0, elevation_deg: -25.0, roll_deg: 0.0, is_relative: true }),
        hfov_deg: Some(60.0),
        vfov_deg: Some(36.0),
        ..Known::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let hills = Geolocation { terrain: Some(Arc::new(terrain(folder.path()))), ..Geolocation::default() };
    let mut group = criterion.benchmark_group("positions");
    for (ground, with) in [("plane", Geolocation::default()), ("terrain", hills)] {
        for count in [1_u32, 20] {
            group.bench_function(BenchmarkId::new(ground, count), |bencher| {
                bencher.iter(|| {
                    let view = with.view(black_box(&known), (1920.0, 1080.0)).expect("all is known");
                    for n in 0..count {
                        black_box(view.locate(f64::from(n) * 90.0, 540.0 + f64::from(n) * 20.0).ok());
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, locate);
criterion_main!(benches);
