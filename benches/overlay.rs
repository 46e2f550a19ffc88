//! Boxes and labels on a 1080p picture, by layout, number of boxes and which labels they have.

mod noise;
mod picture;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use streamdet::detection::Detection;
use streamdet::frame::{FrameViewMut, PixelFormat, PlaneMut};
use streamdet::geometry::FrameBox;
use streamdet::overlay::fonts::Fonts;
use streamdet::overlay::{Labels, Overlay, Style};

use noise::Noise;

const CLASSES: [&str; 6] = ["person", "bicycle", "car", "traffic light", "dog", "potted plant"];

fn overlay(criterion: &mut Criterion) {
    let classes: Arc<[String]> = CLASSES.map(String::from).into();
    let mut group = criterion.benchmark_group("overlay");
    for (name, format) in [("1080p I420", PixelFormat::I420), ("1080p NV12", PixelFormat::Nv12)] {
        let info = picture::info(format, (1920, 1080));
        let mut planes = [0, 1, 2].map(|index| picture::plane(&info, index));
        let runs = [(0, Labels::Auto), (5, Labels::Auto), (50, Labels::Auto)]
            .into_iter()
            .chain([Labels::Auto, Labels::All, Labels::None].map(|labels| (100, labels)))
            .chain([(10_000, Labels::Auto), (10_000, Labels::None)]);
        for (count, labels) in runs {
            let detections = detections(count);
            let style = Style { labels, ..Style::default() };
            let mut overlay = Overlay::new(style, &classes, Arc::new(Fonts::built_in()));
            group.bench_function(BenchmarkId::new(format!("{name}, labels {labels:?}"), count), |bencher| {
                bencher.iter(|| {
                    let planes = planes.each_mut().map(|(data, stride)| PlaneMut { data, stride: *stride });
                    let mut picture = FrameViewMut { info, planes, hdr: None };
                    overlay.draw(black_box(&mut picture), black_box(&detections), None).expect("it draws");
                });
            });
        }
    }
    group.finish();
}

/// People, cars and the like, of 30 to 285 pixels a side, all over the picture.
fn detections(count: u16) -> Vec<Detection> {
    let mut noise = Noise::default();
    let mut byte = || f32::from(noise.next().unwrap_or_default());
    (0..count)
        .map(|number| {
            let (x, y) = (byte() * 6.3, byte() * 3.1);
            let bbox = FrameBox::new(x, y, x + 30.0 + byte(), y + 30.0 + byte()).clipped(1920.0, 1080.0);
            Detection { class_id: number % 6, confidence: 0.25 + byte() / 350.0, bbox, track: None }
        })
        .collect()
}

criterion_group!(benches, overlay);
criterion_main!(benches);
