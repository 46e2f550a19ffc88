//! Preprocessing of one frame, per common picture shape.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use streamdet::frame::{ChromaSite, Colour, Matrix, PictureInfo, PictureView, PixelFormat, Plane, Range};
use streamdet::geometry::Size;
use streamdet::preprocess::Preprocessor;
use streamdet::tensor::InputSpec;

fn preprocess(criterion: &mut Criterion) {
    let cases = [
        ("1080p I420 to 640x384", PixelFormat::I420, (1920, 1080), (640, 384)),
        ("720p NV12 to 640x384", PixelFormat::Nv12, (1280, 720), (640, 384)),
        ("2160p NV12 to 640x384", PixelFormat::Nv12, (3840, 2160), (640, 384)),
        ("640x480 Y444 to 640x480", PixelFormat::Y444, (640, 480), (640, 480)),
    ];
    let mut group = criterion.benchmark_group("preprocess");
    for (name, format, (width, height), (across, down)) in cases {
        let colour = Colour { matrix: Matrix::Bt709, range: Range::Limited, site: ChromaSite::Left };
        let info = PictureInfo { format, size: Size { width, height }, colour };
        let planes = [0, 1, 2].map(|index| plane(&info, index));
        let picture =
            PictureView { info, planes: planes.each_ref().map(|(data, stride)| Plane { data, stride: *stride }) };
        let tensor_size = Size { width: across, height: down };
        let mut tensor = vec![0.0; 3 * across as usize * down as usize];
        let mut preprocessor = Preprocessor::new(InputSpec::default());
        group.bench_function(name, |bencher| {
            bencher.iter(|| preprocessor.run(black_box(&picture), tensor_size, black_box(&mut tensor)));
        });
    }
    group.finish();
}

/// A plane of noise, and its stride.
fn plane(info: &PictureInfo, index: usize) -> (Vec<u8>, usize) {
    if index >= info.format.planes() {
        return (Vec::new(), 0);
    }
    let Size { width, height } = info.plane_size(index);
    let step = if index == 1 && info.format == PixelFormat::Nv12 { 2 } else { 1 };
    let stride = width as usize * step;
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    (noise.take(stride * height as usize).collect(), stride)
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
