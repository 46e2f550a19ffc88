//! Tracking: better than others on the same detections, and what a user sees of it.

#[path = "../program/mod.rs"]
mod program;

mod cuts;

use program::{bare, json, json_lines, made_clip, number, probe, said, shared, streamdet, succeeds, text, witness};
use serde_json::Value;

/// Lines of JSON: a box that walks to the right by 4 pixels a frame, detected on every second frame only.
fn walker(frames: u32) -> String {
    let line = |n: u32| {
        let x = 20 + n * 4;
        let found = if n.is_multiple_of(2) {
            format!(
                r#"{{"class_id":0,"class":"person","confidence":0.9,"box":[{x},100,{},180],"track_id":null}}"#,
                x + 30
            )
        } else {
            String::new()
        };
        format!(r#"{{"stream":0,"frame":{n},"pts_ns":0,"width":320,"height":240,"detections":[{found}]}}"#)
    };
    (0..frames).map(|n| line(n) + "\n").collect()
}

#[test]
fn the_default_tracker_is_better_than_others_on_the_same_detections() {
    let Some(data) = shared() else { return };
    let mot = data.join("data/mot");
    let folder = mot.join("PETS09-S2L1");
    for detections in cuts::DETECTIONS {
        let peers = cuts::peers(&mot, detections);
        let ours = cuts::many(&folder, detections, None);
        assert_eq!(ours.len(), 4, "thin, drop50, every4, outage");
        for (condition, outcome) in ours {
            let best = peers[&condition];
            for (at, name) in ["HOTA", "IDF1"].into_iter().enumerate() {
                let (mean, best) = (outcome.mean[at], best[at]);
                assert!(
                    mean >= best,
                    "{detections} {condition}: {name} {mean:.3} ± {:.3}, others reach {best:.3}",
                    outcome.deviation[at]
                );
            }
        }
    }
}

#[test]
fn an_object_has_one_id_wherever_detections_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    let found = folder.path().join("found.jsonl");
    std::fs::write(&found, walker(30)).expect("a file");
    let args = ["--track", "--detections", "found.jsonl", "-o", "none", "--json", "out.jsonl", "--report", "r.json"];
    let more = ["--mot-output", "out.txt", "--save-txt", "labels"];
    succeeds(&streamdet(folder.path(), &[&[text(&clip)][..], &args, &more].concat()));
    let [json, mot, labels, report] = ["out.jsonl", "out.txt", "labels", "r.json"].map(|name| folder.path().join(name));
    let lines = json_lines(&json);
    assert_eq!(lines.len(), 30);
    for line in &lines {
        let seen = line["frame"].as_u64().expect("a number") % 2 == 0;
        let object = &line["detections"][0];
        assert_eq!(object["track_id"], 1, "{line}");
        assert_eq!(object["track"]["state"], if seen { "confirmed" } else { "lost" }, "{line}");
    }
    let speed = lines[28]["detections"][0]["track"]["speed_px_s"][0].as_f64().expect("a speed");
    assert!((speed - 120.0).abs() < 20.0, "4 pixels a frame, 30 frames a second: {speed}");
    let mot = std::fs::read_to_string(&mot).expect("MOTChallenge text");
    assert_eq!(mot.lines().count(), 15, "what was detected, not what was predicted: {mot}");
    assert!(mot.lines().all(|line| line.split(',').nth(1) == Some("1")), "{mot}");
    let label = std::fs::read_to_string(labels.join("made_0.txt")).expect("labels");
    assert_eq!(label.split_whitespace().last(), Some("1"), "{label}");
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&report).expect("a report")).expect("JSON");
    assert_eq!(report["latency_ms"]["track"]["count"], 25, "{report}");
}

#[test]
fn frames_between_inferred_ones_show_objects_where_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    let found = folder.path().join("found.jsonl");
    std::fs::write(&found, walker(30)).expect("a file");
    let args = ["--track", "--detections", "found.jsonl", "--stride", "2", "-o", "none", "--json", "out.jsonl"];
    succeeds(&streamdet(folder.path(), &[&[text(&clip)][..], &args].concat()));
    for line in json_lines(&folder.path().join("out.jsonl")).iter().skip(10) {
        let frame = line["frame"].as_f64().expect("a number");
        let object = &line["detections"][0];
        assert_eq!(object["track"]["state"], "confirmed", "{line}");
        let miss = object["box"][0].as_f64().expect("a box") - (20.0 + frame * 4.0);
        assert!(miss.abs() < 2.0, "{miss} pixels: {line}");
    }
}

#[test]
fn a_number_after_track_is_told_to_be_a_video_track() {
    let folder = tempfile::tempdir().expect("a folder");
    for command in ["detect", "bench"] {
        let run = bare(folder.path(), command).args(["clip.mp4", "--track", "2"]).output().expect("it runs");
        assert_eq!(run.status.code(), Some(2), "{}", said(&run));
        assert!(said(&run).contains("--video-track 2"), "{}", said(&run));
    }
}

#[test]
fn of_each_object_the_best_view_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    // It comes closer, then goes away.
    let line = |n: u32| {
        let half = 20 + 2 * n.min(29 - n);
        format!(
            r#"{{"stream":0,"frame":{n},"pts_ns":0,"width":320,"height":240,"detections":[{{"class_id":0,"class":"person","confidence":0.9,"box":[{},{},{},{}],"track_id":null}}]}}"#,
            160 - half,
            120 - half,
            160 + half,
            120 + half
        ) + "\n"
    };
    std::fs::write(folder.path().join("found.jsonl"), (0..30).map(line).collect::<String>()).expect("a file");
    let args = ["--detections", "found.jsonl", "-o", "none", "--crops", "crops", "--best-crops"];
    succeeds(&streamdet(folder.path(), &[&[text(&clip)][..], &args].concat()));
    let crops: Vec<_> = std::fs::read_dir(folder.path().join("crops/person")).expect("crops").collect();
    assert_eq!(crops.len(), 1, "{crops:?}");
    let best = folder.path().join("crops/person/made-id1.jpg");
    let width: u32 = probe(&best, "width").trim().parse().expect("a width");
    assert!((80..=110).contains(&width), "{width} pixels, of up to 96");
}

/// Lines and polygons of `crossings.json` as `--zones` reads them.
fn shapes(truth: &Value) -> String {
    let of = |kind: &str, key: &str, points: &dyn Fn(&Value) -> Value| -> String {
        let shapes = truth[key].as_object().expect("shapes").iter();
        let entry =
            |(name, shape): (&String, &Value)| format!("[[{kind}]]\nname = \"{name}\"\npoints = {}\n", points(shape));
        shapes.map(entry).collect::<Vec<_>>().concat()
    };
    let lines = of("line", "lines", &|line| serde_json::json!([line["a"], line["b"]]));
    lines + &of("zone", "polygons", &|zone| zone["corners"].clone())
}

#[test]
fn tracked_people_are_counted_as_they_went() {
    let Some(data) = shared() else { return };
    let mot = data.join("data/mot");
    let truth = json(&mot.join("crossings.json"));
    let folder = tempfile::tempdir().expect("a folder");
    let grey = "color=0x808080:size=768x576:rate=10";
    let coding = ["-frames:v", "795", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-y"];
    let clip = folder.path().join("grey.mkv");
    witness("ffmpeg", &[&["-f", "lavfi", "-i", grey][..], &coding, &[text(&clip)]].concat());
    std::fs::write(folder.path().join("zones.toml"), shapes(&truth)).expect("a file");
    let detections = mot.join("PETS09-S2L1/det_streamdet.txt");
    let args = ["--track", "--detections", text(&detections), "--zones", "zones.toml", "-o", "none"];
    succeeds(&streamdet(folder.path(), &[&[text(&clip)][..], &args, &["--report", "r.json"]].concat()));
    let stream = &json(&folder.path().join("r.json"))["streams"][0];
    for (name, line) in truth["lines"].as_object().expect("lines") {
        // At `path`, where boxes jump, even perfect ids give one more.
        let off = if name == "path" { 3 } else { 1 };
        for (direction, went) in [("in", &line["left_to_right"]), ("out", &line["right_to_left"])] {
            let counted = number(&stream["lines"][name][direction]["total"]);
            assert!(counted.abs_diff(number(went)) <= off, "{name} {direction}: {counted}, {went} went");
        }
    }
    for (name, zone) in truth["polygons"].as_object().expect("polygons") {
        let counted = &stream["zones"][name];
        let (visits, were) = (number(&counted["visits"]), number(&zone["visits"]));
        assert!(visits.abs_diff(were) <= 2, "{name}: {visits} visits of {were}");
        let dwell = |value: &Value| value["dwell_s"].as_f64().expect("a length");
        let share = dwell(counted) / dwell(zone);
        assert!((share - 1.0).abs() < 0.05, "{name}: {share} of the time");
    }
}

#[test]
fn what_is_read_is_never_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("found.jsonl"), walker(30)).expect("a file");
    std::fs::write(at("zones.toml"), "[[line]]\nname = \"a\"\npoints = [[0.5, 0], [0.5, 1]]\n").expect("a file");
    std::fs::write(at("there.txt"), "precious").expect("a file");
    let whole = std::fs::read(&clip).expect("a clip");
    let common = [text(&clip), "--detections", "found.jsonl", "--zones", "zones.toml", "-o", "none"];
    for (args, named) in [
        (&["--mot-output", "made.mp4", "--overwrite"][..], "a source"),
        (&["--json", "made.mp4"], "a source"),
        (&["--events-csv", "zones.toml", "--overwrite"], "--zones"),
        (&["--mot-output", "found.jsonl", "--overwrite"], "--detections"),
        (&["--mot-output", "there.txt"], "--overwrite"),
        (&["--events-csv", "there.txt"], "--overwrite"),
        (&["--json", "-", "--events-csv", "-"], "standard output"),
        (&["--heatmap", "heat.bmp"], ".png"),
    ] {
        let run = streamdet(folder.path(), &[&common[..], args].concat());
        assert_eq!(run.status.code(), Some(2), "{args:?}: {}", said(&run));
        assert!(said(&run).contains(named), "{args:?}: {}", said(&run));
    }
    assert_eq!(std::fs::read(&clip).expect("a clip"), whole);
    assert_eq!(std::fs::read_to_string(at("there.txt")).expect("a file"), "precious");
}
