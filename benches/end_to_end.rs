//! The real program on a 1080p H.264 clip, from start to exit: decode, detect, draw, encode. The throughput is of frames.
//!
//! The clip is a recorded one where the shared test data is, else a made one, which shows nothing to detect. A short clip
//! pays for loading the model; what the program itself reports, from the first frame on, is printed beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

const FRAMES: u64 = 150;

fn end_to_end(criterion: &mut Criterion) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let data = data();
    let clip = clip(folder, data.as_deref());
    let name = clip.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let mut cases = vec![("built-in model, nothing saved", None, "none"), ("built-in model", None, "end-to-end.mp4")];
    let yolov8n = data.map(|root| root.join("models/yolov8n_coco_dynamic.onnx")).filter(|path| path.is_file());
    if let Some(model) = &yolov8n {
        cases.push(("YOLOv8n", Some(model.as_path()), "end-to-end.mp4"));
    }
    let mut group = criterion.benchmark_group("end to end");
    group.throughput(Throughput::Elements(FRAMES));
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(50));
    for (what, model, output) in cases {
        let mut reported = Vec::new();
        group.bench_function(BenchmarkId::new(what, &name), |bencher| {
            bencher.iter(|| reported.push(run(folder, &clip, model, output)));
        });
        reported.sort_by(f64::total_cmp);
        if let (Some(least), Some(most)) = (reported.first(), reported.last()) {
            let median = reported[reported.len() / 2];
            eprintln!("reported by the program itself: {median:.1} frames/s ({least:.1} to {most:.1})\n");
        }
    }
    group.finish();
}

/// Runs the program; returns the frames a second of its report.
fn run(folder: &Path, clip: &Path, model: Option<&Path>, output: &str) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamdet"));
    command.current_dir(folder).args(["detect", "--quiet", "--overwrite", "--report", "end-to-end.json", "-o", output]);
    if let Some(model) = model {
        command.arg("-m").arg(model);
    }
    let status = command.arg(clip).status().expect("it starts");
    assert!(status.success(), "{status}");
    let report = std::fs::read(folder.join("end-to-end.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["streams"][0]["frames"]["processed"], FRAMES);
    report["fps"]["mean"].as_f64().expect("frames a second")
}

/// The shared test data, `STREAMDET_TEST_DATA`.
fn data() -> Option<PathBuf> {
    let root = std::env::var_os("STREAMDET_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    if root.is_dir() {
        return Some(root);
    }
    eprintln!("no test data at {} (STREAMDET_TEST_DATA): on a made clip", root.display());
    None
}

/// The clip, made with ffmpeg once.
fn clip(folder: &Path, data: Option<&Path>) -> PathBuf {
    let recorded = data.map(|root| root.join("data/video/car-detection.mp4")).filter(|path| path.is_file());
    let path = folder.join(if recorded.is_some() { "recorded-1080p.mp4" } else { "made-1080p.mp4" });
    if path.is_file() {
        return path;
    }
    let part = path.with_extension("part.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).stdin(Stdio::null());
    match recorded {
        Some(recorded) => command.arg("-i").arg(recorded),
        None => command.args(["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30"]),
    };
    command.args(["-map", "0:v:0", "-frames:v", &FRAMES.to_string(), "-vf", "scale=1920:1080"]);
    command.args(["-c:v", "libx264", "-pix_fmt", "yuv420p"]).arg(&part);
    assert!(command.status().expect("ffmpeg is installed").success(), "ffmpeg makes the clip");
    std::fs::rename(&part, &path).expect("the clip takes its name");
    path
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
