//! A frame's detections as a line of JSON, by number of boxes.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use streamdet::clock::StreamTime;
use streamdet::detection::Detection;
use streamdet::detections::json;
use streamdet::frame::{Frame, Stamps};
use streamdet::geometry::{FrameBox, Size};
use streamdet::stream::StreamId;

fn write_line(criterion: &mut Criterion) {
    let classes: Arc<[String]> = ["person", "car"].map(String::from).into();
    let size = Size { width: 1920, height: 1080 };
    let mut group = criterion.benchmark_group("json");
    for count in [0, 5, 50] {
        let (place, pts) = ((StreamId(0), 1234), StreamTime { ns: 41_133_333_333 });
        let mut frame = Frame::new(place, pts, (), Stamps::default());
        frame.detections = (0..count).map(detection).collect();
        let mut out = Vec::new();
        json::write_line(&mut out, &frame, size, &classes).expect("memory takes everything");
        group.throughput(Throughput::Bytes(out.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                out.clear();
                json::write_line(&mut out, black_box(&frame), size, &classes).expect("memory takes everything");
            });
        });
    }
    group.finish();
}

fn detection(number: u16) -> Detection {
    let x = f32::from(number) * 17.3;
    Detection {
        class_id: number % 2,
        confidence: 0.873_125,
        bbox: FrameBox::new(x, x / 2.0, x + 101.7, x / 2.0 + 213.25),
        track: None,
    }
}

criterion_group!(benches, write_line);
criterion_main!(benches);
