//! Detections that were found before, as a user gives them to `detect`: with the real program, and without a model.

mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use program::{bare, json, json_lines, made_clip, number, said, succeeds, text};
use serde_json::{Value, json as value};
use tempfile::TempDir;

/// Frames of the clip: one second of it.
const FRAMES: u64 = 30;

fn clip() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    (folder, clip)
}

/// `streamdet detect` on `clip`, where no ONNX Runtime can be loaded.
fn detect(folder: &Path, clip: &Path, args: &[&str]) -> Output {
    let mut command = bare(folder, "detect");
    command.env("STREAMDET_ONNXRUNTIME", "/nowhere/libonnxruntime.so");
    let output: &[&str] = if args.contains(&"-o") { &[] } else { &["-o", "none"] };
    command.args([&[text(clip), "--overwrite"], output, args].concat()).output().expect("it starts")
}

/// The lines of `--json`.
#[track_caller]
fn lines(folder: &Path, clip: &Path, args: &[&str]) -> Vec<Value> {
    succeeds(&detect(folder, clip, &[args, &["--json", "out.jsonl"]].concat()));
    json_lines(&folder.join("out.jsonl"))
}

fn boxes(line: &Value) -> Vec<Value> {
    line["detections"].as_array().expect("a list").iter().map(|d| d["box"].clone()).collect()
}

#[test]
fn detections_of_a_file_take_the_place_of_a_models() {
    let (folder, clip) = clip();
    let found = "1,-1,10,20,30,40,0.9\n1,-1,50,20,30,40,0.3\n3,-1,300,200,40,60,0.8\n500,-1,0,0,9,9,1\n";
    std::fs::write(folder.path().join("det.txt"), found).expect("a file");
    let args = ["--detections", "det.txt", "--report", "r.json", "-o", "drawn.mp4"];
    let lines = lines(folder.path(), &clip, &args);
    assert_eq!(lines.len() as u64, FRAMES);
    assert_eq!(boxes(&lines[0]), [value!([10.0, 20.0, 40.0, 60.0]), value!([50.0, 20.0, 80.0, 60.0])]);
    // Frame 3 is the third, its box clipped to the frame; one without a line has none.
    assert_eq!((boxes(&lines[1]), boxes(&lines[2])), (vec![], vec![value!([300.0, 200.0, 320.0, 240.0])]));
    assert_eq!(lines[0]["detections"][0]["class"], "object");
    let report = json(&folder.path().join("r.json"));
    assert_eq!(report["detections"], value!({ "file": "det.txt", "format": "mot", "boxes": 4 }));
    assert_eq!((&report["model"], &report["provider"]["actual"]), (&Value::Null, &value!("none")));
    let frames = &report["streams"][0]["frames"];
    assert_eq!((number(&frames["received"]), number(&frames["processed"])), (FRAMES, FRAMES));
    assert_eq!((&report["accounted"], number(&frames["inferred"])), (&Value::Bool(true), FRAMES));
    assert!(folder.path().join("drawn.mp4").is_file());
}

/// What `--json` wrote is what `--detections` reads.
#[test]
fn a_run_can_be_repeated_from_its_own_lines() {
    let (folder, clip) = clip();
    let object = |id: u16, class: &str, x: f32| value!({ "class_id": id, "class": class, "confidence": 0.75 - x / 100.0, "box": [x, 2.5, x + 20.0, 40.0], "track_id": null });
    let line = |frame: u64| {
        let found: Vec<Value> =
            if frame.is_multiple_of(3) { vec![] } else { vec![object(0, "car", 1.5), object(1, "bus", 8.0)] };
        value!({ "stream": 0, "frame": frame, "pts_ns": 0, "width": 320, "height": 240, "detections": found })
            .to_string()
    };
    let found: Vec<String> = (0..FRAMES).map(line).collect();
    std::fs::write(folder.path().join("first.jsonl"), found.join("\n")).expect("a file");
    let first = lines(folder.path(), &clip, &["--detections", "first.jsonl"]);
    std::fs::rename(folder.path().join("out.jsonl"), folder.path().join("second.jsonl")).expect("it is there");
    let second = lines(folder.path(), &clip, &["--detections", "second.jsonl"]);
    assert_eq!(first, second);
    assert_eq!(first[1]["detections"].as_array().map(Vec::len), Some(2));
    // Options of what counts apply.
    let buses = lines(folder.path(), &clip, &["--detections", "second.jsonl", "--classes", "bus"]);
    assert_eq!((buses[1]["detections"][0]["class"].as_str(), boxes(&buses[1]).len()), (Some("bus"), 1));
    let sure = lines(folder.path(), &clip, &["--detections", "second.jsonl", "--conf", "0.7"]);
    assert_eq!((sure[1]["detections"][0]["class"].as_str(), boxes(&sure[1]).len()), (Some("car"), 1));
    // With a stride, frames between carry what the last one showed.
    let carried = lines(folder.path(), &clip, &["--detections", "second.jsonl", "--stride", "2"]);
    assert_eq!((boxes(&carried[1]), boxes(&carried[3])), (boxes(&first[0]), boxes(&first[2])));
}

/// A line of `--json` for each frame of one of so many pixels, with object 5 that moves to the right by 3 a frame of 320.
fn moving(folder: &Path, name: &str, (width, height): (u32, u32)) {
    let scale = f64::from(width) / 320.0;
    let line = |frame: u32| {
        let x = f64::from(frame) * 3.0;
        let corners = [x, 20.0, x + 30.0, 80.0].map(|side| side * scale);
        let object = value!({ "class_id": 0, "class": "car", "confidence": 0.9, "box": corners, "track_id": 5 });
        value!({ "stream": 0, "frame": frame, "width": width, "height": height, "detections": [object] }).to_string()
    };
    std::fs::write(folder.join(name), (0..30).map(line).collect::<Vec<_>>().join("\n")).expect("a file");
}

#[test]
fn ids_of_a_file_have_the_age_and_speed_of_what_passes() {
    let (folder, clip) = clip();
    moving(folder.path(), "d.jsonl", (320, 240));
    let lines = lines(folder.path(), &clip, &["--detections", "d.jsonl"]);
    let track = |frame: usize| lines[frame]["detections"][0]["track"].clone();
    assert_eq!(track(0), value!({ "age_s": 0.0, "state": "confirmed", "speed_px_s": [0.0, 0.0] }));
    let later = track(15);
    let (age, speed) = (&later["age_s"], &later["speed_px_s"]);
    assert!((age.as_f64().expect("seconds") - 0.5).abs() < 0.01, "{age}");
    // At 30 frames a second.
    assert!((speed[0].as_f64().expect("a speed") - 90.0).abs() < 1.0 && speed[1] == 0.0, "{speed}");
}

#[test]
fn boxes_of_a_frame_of_another_size_are_scaled_and_of_another_shape_refused() {
    let (folder, clip) = clip();
    moving(folder.path(), "same.jsonl", (320, 240));
    moving(folder.path(), "large.jsonl", (1280, 960));
    let same = lines(folder.path(), &clip, &["--detections", "same.jsonl"]);
    let output = detect(folder.path(), &clip, &["--detections", "large.jsonl", "--json", "out.jsonl"]);
    succeeds(&output);
    assert_eq!(json_lines(&folder.path().join("out.jsonl")), same);
    let words = "frames of 320×240 are 1280×960 in the file of --detections; its boxes are scaled";
    assert_eq!(said(&output).matches(words).count(), 1, "{}", said(&output));
    moving(folder.path(), "wide.jsonl", (1280, 720));
    let output = detect(folder.path(), &clip, &["--detections", "wide.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("frame 0 of stream 0 is 1280×720 there and 320×240 here"), "{}", said(&output));
}

#[test]
fn tracks_are_written_as_motchallenge_text() {
    let (folder, clip) = clip();
    let tracks = "1,4,10.125,20.000,30.000,40.000,0.9000,-1,-1,-1\n1,2,50.000,20.000,30.000,40.000,0.3000,-1,-1,-1\n\
                  30,4,12.500,20.000,30.000,40.000,0.8000,-1,-1,-1\n";
    std::fs::write(folder.path().join("tracks.txt"), format!("{tracks}2,-1,0,0,20,20,1\n")).expect("a file");
    succeeds(&detect(folder.path(), &clip, &["--detections", "tracks.txt", "--mot-output", "out.txt"]));
    assert_eq!(std::fs::read_to_string(folder.path().join("out.txt")).expect("a file"), tracks);
    let printed = detect(folder.path(), &clip, &["--detections", "tracks.txt", "--mot-output", "-"]);
    succeeds(&printed);
    assert_eq!(String::from_utf8_lossy(&printed.stdout), tracks);
    // It is what the evaluator reads.
    let truth = tracks.replace("0.9000", "1").replace("0.3000", "1").replace("0.8000", "1");
    std::fs::write(folder.path().join("gt.txt"), truth).expect("a file");
    let scored =
        bare(folder.path(), "val").args(["--mot", "gt.txt", "out.txt", "--report", "-"]).output().expect("it starts");
    succeeds(&scored);
    let report: Value = serde_json::from_slice(&scored.stdout).expect("JSON");
    assert_eq!(report["mot"]["combined"]["IDF1"], 1.0);
}

#[test]
fn files_that_are_no_detections_are_refused_before_anything_is_written() {
    let (folder, clip) = clip();
    let refused = |args: &[&str], words: &str| {
        let output = detect(folder.path(), &clip, args);
        let shown = said(&output);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        assert!(shown.contains(words), "no {words:?} in\n{shown}");
    };
    std::fs::write(folder.path().join("bad.txt"), "1,-1,0,0,5,5,1\n1,-1,0,0,5,x,1\n").expect("a file");
    std::fs::write(folder.path().join("good.txt"), "1,-1,0,0,5,5,1\n").expect("a file");
    refused(&["--detections", "bad.txt", "--json", "out.jsonl"], "--detections bad.txt:2: \"x\" is no number");
    assert!(!folder.path().join("out.jsonl").exists());
    refused(&["--detections", "gone.txt"], "--detections gone.txt: No such file");
    refused(&["--detections", "good.txt", "--imgsz", "640"], "cannot be used with");
    refused(&["--detections", "good.txt", "--classes", "car"], "--classes car: good.txt has no such class");
    refused(&["--detections", "good.txt", text(&clip)], "2 sources");
    refused(&["--detections", "good.txt", "--mot-output", "good.txt"], "good.txt");
    refused(&["--mot-output", "m.txt", "--detections", "good.txt", "--json", "m.txt"], "m.txt");
}
