//! The main job, as a user runs it: the real program on real clips. `ffprobe` and `ffmpeg` are the independent witnesses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The shared test data, if it is here.
fn shared() -> Option<PathBuf> {
    let root = std::env::var("STREAMDET_TEST_DATA")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    if root.join("data/video").is_dir() {
        return Some(root);
    }
    eprintln!("skipped: no test data at {} (STREAMDET_TEST_DATA)", root.display());
    None
}

fn streamdet(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_streamdet"))
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", folder)
        .arg("detect")
        .args(args)
        .output()
        .expect("it starts")
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

fn witness(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(["-v", "error"]).args(args).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Presentation times of the video track relative to the first, seconds.
fn times(file: &Path) -> Vec<f64> {
    let text = witness(
        "ffprobe",
        &[
            "-select_streams",
            "v:0",
            "-show_entries",
            "packet=pts_time",
            "-of",
            "csv=p=0",
            file.to_str().expect("a path"),
        ],
    );
    let mut times: Vec<f64> = text.lines().filter_map(|l| l.trim_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    let first = times.first().copied().unwrap_or(0.0);
    times.iter().map(|t| t - first).collect()
}

fn same_times(a: &Path, b: &Path) {
    let (a, b) = (times(a), times(b));
    assert_eq!(a.len(), b.len());
    for (n, (x, y)) in a.iter().zip(&b).enumerate() {
        assert!((x - y).abs() <= 0.001, "frame {n}: {x} against {y}");
    }
}

fn audio_md5(file: &Path) -> String {
    witness("ffmpeg", &["-i", file.to_str().expect("a path"), "-map", "0:a", "-c", "copy", "-f", "md5", "-"])
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a report")).expect("JSON")
}

/// A made clip of 40 frames at 30000/1001 with AAC, at an odd size when asked.
fn made_clip(folder: &Path, size: &str) -> PathBuf {
    let path = folder.join("made.mp4");
    let source = format!("testsrc2=size={size}:rate=30000/1001");
    witness(
        "ffmpeg",
        &[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-f",
            "lavfi",
            "-i",
            "sine",
            "-t",
            "1.334",
            "-c:v",
            "libx264",
            "-pix_fmt",
            if size.contains("161") { "yuv444p" } else { "yuv420p" },
            "-c:a",
            "aac",
            "-y",
            path.to_str().expect("a path"),
        ],
    );
    path
}

#[test]
fn a_made_clip_keeps_frames_times_rate_and_audio() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "320x240");
    succeeds(&streamdet(folder.path(), &["made.mp4", "--report", "r.json", "--json", "d.jsonl"]));
    let out = folder.path().join("made-annotated.mp4");
    same_times(&clip, &out);
    assert_eq!(times(&out).len(), 40);
    let rate = witness(
        "ffprobe",
        &[
            "-select_streams",
            "v:0",
            "-show_entries",
            "stream=r_frame_rate",
            "-of",
            "csv=p=0",
            out.to_str().expect("a path"),
        ],
    );
    assert_eq!(rate.trim(), "30000/1001");
    let report = json(&folder.path().join("r.json"));
    let frames = &report["streams"][0]["frames"];
    assert_eq!((frames["received"].as_u64(), frames["processed"].as_u64()), (Some(40), Some(40)));
    let lines = std::fs::read_to_string(folder.path().join("d.jsonl")).expect("detections");
    let numbers: Vec<u64> = lines
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).expect("JSON")["frame"].as_u64().expect("a number"))
        .collect();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

#[test]
fn every_container_and_an_odd_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "161x121");
    for ending in ["mp4", "mkv"] {
        let out = folder.path().join(format!("o.{ending}"));
        succeeds(&streamdet(folder.path(), &["made.mp4", "-o", out.to_str().expect("a path"), "--hud"]));
        same_times(&clip, &out);
    }
}

#[test]
fn an_output_is_not_overwritten_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "320x240");
    std::fs::write(folder.path().join("o.mp4"), "mine").expect("a file");
    let output = streamdet(folder.path(), &["made.mp4", "-o", "o.mp4"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--overwrite"));
    assert_eq!(std::fs::read(folder.path().join("o.mp4")).expect("a file"), b"mine");
}

#[test]
fn unusable_input_says_what_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("empty.mp4"), "").expect("a file");
    std::fs::write(folder.path().join("text.mp4"), "this is not video\n".repeat(100)).expect("a file");
    std::fs::write(folder.path().join("not.onnx"), "not a model").expect("a file");
    std::fs::create_dir(folder.path().join("nothing")).expect("a folder");
    made_clip(folder.path(), "320x240");
    for (args, said) in [
        (vec!["missing.mp4"], "missing.mp4: no such file"),
        (vec!["empty.mp4"], "empty"),
        (vec!["text.mp4"], "text.mp4"),
        (vec!["nothing"], "no video or picture"),
        (vec!["made.mp4", "-m", "not.onnx", "-o", "x.mp4"], "not.onnx is not a model"),
        (vec!["made.mp4", "-m", "nosuch", "-o", "x.mp4"], "visdrone-nano"),
        (vec!["made.mp4", "--classes", "caar", "-o", "x.mp4"], "\"car\""),
        (vec!["made.mp4", "--onnxruntime", "nowhere", "-o", "x.mp4"], "make setup"),
        (vec!["made.mp4", "--onnxruntime", "not.onnx", "-o", "x.mp4"], "make setup"),
    ] {
        let output = streamdet(folder.path(), &args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .filter_map(|e| e.ok().map(|e| e.file_name()))
            .filter(|n| n.to_string_lossy().contains(".part") || n.to_string_lossy().contains("annotated"))
            .collect();
        assert!(left.is_empty(), "{args:?} left {left:?}");
    }
}

#[test]
fn a_recorded_clip_keeps_every_frame_and_its_audio() {
    let Some(root) = shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let clip = root.join("data/video/car-detection.mp4");
    let model = root.join("models/yolov8n_coco_dynamic.onnx");
    let args =
        [clip.to_str().expect("a path"), "-m", model.to_str().expect("a path"), "-o", "o.mp4", "--report", "r.json"];
    succeeds(&streamdet(folder.path(), &args));
    let out = folder.path().join("o.mp4");
    same_times(&clip, &out);
    assert_eq!(audio_md5(&clip), audio_md5(&out));
    let report = json(&folder.path().join("r.json"));
    assert_eq!(report["streams"][0]["frames"]["processed"], 377);
    assert!(report["latency_ms"]["decode"]["count"].as_u64() > Some(300), "decoding is stamped");
    assert!(report["latency_ms"]["inference"]["p50"].as_f64() > Some(1.0), "inference is measured");
}
