//! From a `yolov8` output to boxes: reading it, NMS, the way back to the picture. The throughput is of anchors.

mod noise;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use streamdet::geometry::{Letterbox, Placement, Size};
use streamdet::model::Layout;
use streamdet::postprocess::{Postprocessor, Thresholds};
use streamdet::tensor::OutputView;

use noise::Noise;

const FRAME: Size = Size { width: 1920, height: 1080 };
const TENSOR: Size = Size { width: 640, height: 384 };
/// Cells of strides 8, 16 and 32 in that tensor.
const ANCHORS: usize = 80 * 48 + 40 * 24 + 20 * 12;

fn postprocess(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("postprocess");
    group.throughput(Throughput::Elements(ANCHORS as u64));
    // An object lights up a handful of anchors around it: NMS keeps one of each handful.
    for (name, classes, objects, anchors_each, conf) in [
        ("80 classes, nothing found", 80, 0, 0, 0.25),
        ("80 classes, 10 objects", 80, 10, 8, 0.25),
        ("80 classes, 300 objects", 80, 300, 12, 0.25),
        ("10 classes, 300 objects", 10, 300, 12, 0.25),
        ("80 classes, every anchor", 80, 300, 12, 0.001),
    ] {
        let output = output(classes, objects, anchors_each);
        let shape = [1, classes + 4, ANCHORS];
        let views = [OutputView { name: "output0", shape: &shape, data: &output }];
        let thresholds = Thresholds { conf, iou: 0.7, max_det: 300, agnostic: false, classes: None };
        let mut postprocessor = Postprocessor::new(Layout::Yolov8, classes);
        let letterbox = Letterbox::fit(FRAME, TENSOR, Placement::Centre);
        let mut found = Vec::new();
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                found.clear();
                postprocessor
                    .run(black_box(&views), 0, TENSOR, &letterbox, &thresholds, &mut found)
                    .expect("the layout fits");
                found.len()
            });
        });
    }
    group.finish();
}

/// An output `[1, 4 + classes, ANCHORS]`: scores close to 0 everywhere, but for `anchors_each` anchors of each object.
fn output(classes: usize, objects: usize, anchors_each: usize) -> Vec<f32> {
    let mut noise = Noise::default();
    let mut unit = || f32::from(noise.next().unwrap_or_default()) / 255.0;
    let mut data = vec![0.0; (4 + classes) * ANCHORS];
    for score in &mut data[4 * ANCHORS..] {
        *score = 0.002 + 0.01 * unit();
    }
    for anchor in 0..ANCHORS {
        put(&mut data, anchor, [640.0 * unit(), 384.0 * unit(), 10.0 + 60.0 * unit(), 10.0 + 60.0 * unit()]);
    }
    let mut anchors = (0..ANCHORS).step_by(ANCHORS / (objects * anchors_each).max(1));
    for object in 0..objects {
        let centre = [20.0 + 600.0 * unit(), 20.0 + 344.0 * unit()];
        let size = [12.0 + 40.0 * unit(), 20.0 + 60.0 * unit()];
        for anchor in anchors.by_ref().take(anchors_each) {
            put(&mut data, anchor, [centre[0] + unit(), centre[1] + unit(), size[0] + unit(), size[1] + unit()]);
            data[(4 + object % classes) * ANCHORS + anchor] = 0.3 + 0.6 * unit();
        }
    }
    data
}

/// Writes an anchor's centre and size.
fn put(data: &mut [f32], anchor: usize, values: [f32; 4]) {
    for (channel, value) in values.into_iter().enumerate() {
        data[channel * ANCHORS + anchor] = value;
    }
}

criterion_group!(benches, postprocess);
criterion_main!(benches);
