//! Tracking, a frame at a time: 100 objects, without and with their looks, and the camera's motion at 960 pixels across.

mod noise;
mod picture;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use streamdet::clock::StreamTime;
use streamdet::detection::Detection;
use streamdet::frame::{FrameView, PixelFormat, Plane};
use streamdet::geometry::{FrameBox, Size};
use streamdet::track::{FrameToTrack, Kind, Options, Tracker};

use noise::Noise;

const FRAME_NS: u64 = 33_333_333;

fn track(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("track");
    let still = Options { camera_motion: false, ..Options::default() };
    for (name, kind) in Kind::NAMES {
        let mut run = Run::new(Options { kind, ..still }, 100);
        group.bench_function(format!("{name}, 100 objects"), |bencher| bencher.iter(|| run.frame(None)));
    }
    let size = (1920, 1080);
    let info = picture::info(PixelFormat::I420, size);
    let planes = [0, 1, 2].map(|index| picture::plane(&info, index));
    let view = FrameView { info, planes: planes.each_ref().map(|(data, stride)| Plane { data, stride: *stride }) };
    let mut run = Run::new(still, 100);
    group.bench_function("timed, 100 objects with looks", |bencher| bencher.iter(|| run.frame(Some(view))));
    for size in [(960, 540), (1920, 1080)] {
        let info = picture::info(PixelFormat::I420, size);
        let grounds = [0, 7].map(|shift| ground(size, shift));
        let empty = Plane { data: &[], stride: 0 };
        let views = grounds
            .each_ref()
            .map(|luma| FrameView { info, planes: [Plane { data: luma, stride: size.0 as usize }, empty, empty] });
        let mut run = Run::new(Options::default(), 10);
        let mut turn = 0;
        group.bench_function(format!("camera motion, {}x{}", size.0, size.1), |bencher| {
            bencher.iter(|| {
                turn += 1;
                run.frame(Some(views[turn % 2]));
            });
        });
    }
    group.finish();
}

/// Objects that walk to and fro over a 1080p frame.
struct Run {
    tracker: Tracker,
    objects: Vec<[f32; 4]>,
    noise: Vec<f32>,
    frame: u64,
}

impl Run {
    fn new(options: Options, count: u16) -> Self {
        let mut noise = Noise::default();
        let mut byte = || f32::from(noise.next().unwrap_or_default());
        let objects = (0..count).map(|_| [byte() * 6.9, byte() * 3.8, byte() - 128.0, byte() - 128.0]).collect();
        let noise = (0..4096).map(|_| (byte() - 128.0) / 64.0).collect();
        Self { tracker: Tracker::new(options), objects, noise, frame: 0 }
    }

    fn frame(&mut self, view: Option<FrameView<'_>>) {
        self.frame += 1;
        let pts = StreamTime { ns: self.frame * FRAME_NS };
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let seconds = pts.ns as f32 / 1e9;
        let start = usize::try_from(self.frame * 97 % 4000).unwrap_or(0);
        let mut detections: Vec<Detection> = self
            .objects
            .iter()
            .zip(self.noise[start..].iter().chain(&self.noise))
            .map(|([x, y, vx, vy], noise)| {
                let (x, y) = (x + vx * (seconds * 0.7).sin() + noise, y + vy * (seconds * 0.5).cos());
                let bbox = FrameBox::new(x, y, x + 24.0 + noise, y + 50.0);
                Detection { class_id: 0, confidence: 0.8, bbox, track: None }
            })
            .collect();
        let size = view.map_or(Size { width: 1920, height: 1080 }, |view| view.info.size);
        self.tracker.frame(&FrameToTrack { view, pts, size, inferred: true }, &mut detections);
        black_box(&detections);
    }
}

/// Luma with something to follow everywhere, moved by `shift` pixels.
fn ground((width, height): (u32, u32), shift: u32) -> Vec<u8> {
    let cell = |x: u32, y: u32| (x / 12).wrapping_mul(2_654_435_761) ^ (y / 12).wrapping_mul(40_503_001);
    let sample = |x: u32, y: u32| u8::try_from(cell(x, y) % 251).unwrap_or(0);
    (0..height).flat_map(|y| (0..width).map(move |x| sample(x + shift, y))).collect()
}

criterion_group!(benches, track);
criterion_main!(benches);
