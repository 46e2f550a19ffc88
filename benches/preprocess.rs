//! Preprocessing of one frame, per common picture shape. The throughput is of the picture's own bytes.

mod noise;
mod picture;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use streamdet::frame::{FrameView, PixelFormat, Plane};
use streamdet::geometry::Size;
use streamdet::preprocess::Preprocessor;
use streamdet::tensor::{InputShape, InputSpec, InputTensor};

fn preprocess(criterion: &mut Criterion) {
    let cases = [
        ("1080p I420 to 640x384", PixelFormat::I420, (1920, 1080), (640, 384)),
        ("720p NV12 to 640x384", PixelFormat::Nv12, (1280, 720), (640, 384)),
        ("2160p NV12 to 640x384", PixelFormat::Nv12, (3840, 2160), (640, 384)),
        ("640x480 Y444 to 640x480", PixelFormat::Y444, (640, 480), (640, 480)),
    ];
    let mut group = criterion.benchmark_group("preprocess");
    for (name, format, size, (across, down)) in cases {
        let info = picture::info(format, size);
        let planes = [0, 1, 2].map(|index| picture::plane(&info, index));
        let bytes: usize = planes.iter().map(|(data, _)| data.len()).sum();
        let picture =
            FrameView { info, planes: planes.each_ref().map(|(data, stride)| Plane { data, stride: *stride }) };
        let tensor_size = Size { width: across, height: down };
        let mut tensor = InputTensor::filled(InputShape { batch: 1, size: tensor_size }, 0.0);
        let mut preprocessor = Preprocessor::new(InputSpec::default());
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let slot = tensor.slots().next().expect("one frame");
                preprocessor.run(black_box(&picture), black_box(slot))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
