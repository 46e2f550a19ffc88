//! Lines and zones: what happens there is in the JSON lines, the rows, the report, the terminal and the frame. Objects come from
//! files of detections, so that every frame has what is written there.

mod program;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use program::{bare, json, json_lines, said, succeeds, text, witness};
use serde_json::{Value, json};

const YARD: &str = "yard=0.4,0.4,0.6,0.4,0.6,0.7,0.4,0.7";

/// A clip that `ffmpeg` makes of `source`, 320 by 240 pixels.
fn clip(folder: &Path, name: &str, source: &str, seconds: &str) -> PathBuf {
    let path = folder.join(name);
    let coding = ["-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", "-y"];
    witness("ffmpeg", &[&["-f", "lavfi", "-i", source, "-t", seconds][..], &coding, &[text(&path)]].concat());
    path
}

/// Writes what each of so many frames shows, as `--json` does.
fn write_detections(path: &Path, frames: u32, objects: impl Fn(u32) -> Vec<Value>) {
    let line = |frame: u32| json!({"stream": 0, "frame": frame, "detections": objects(frame)}).to_string() + "\n";
    std::fs::write(path, (0..frames).map(line).collect::<String>()).expect("a file");
}

/// Two seconds of grey, 30 frames a second, and objects that walk over it from the left to the right, 120 pixels a second: one
/// that has a number where `numbered` says so, and below it one that never has.
fn walk(folder: &Path, numbered: bool) {
    clip(folder, "grey.mkv", "color=0x808080:size=320x240:rate=30", "2");
    write_detections(&folder.join("walk.jsonl"), 60, |frame| {
        let x = f64::from(frame) * 4.0;
        let walker = |y: f64, id: Option<u32>| json!({"class_id": 0, "class": "person", "confidence": 0.9, "box": [x, y, x + 20.0, y + 40.0], "track_id": id});
        let mut walkers = vec![walker(100.0, numbered.then_some(7))];
        walkers.extend(numbered.then(|| walker(180.0, None)));
        walkers
    });
}

/// Counts who walks over the grey clip: a gate that is walked upwards, so that its right-hand side is the right of the frame.
fn count(folder: &Path, more: &[&str]) -> Output {
    let counting = ["--count-line", "gate=0.3,1,0.3,0", "--zone", YARD, "--json", "d.jsonl", "--report", "r.json"];
    let mut command = bare(folder, "detect");
    command.args(["grey.mkv", "-o", "annotated.mkv", "--detections", "walk.jsonl"]).args(counting).args(more);
    command.output().expect("it starts")
}

/// Luma of the frame of a clip at `s` seconds, or of an image.
fn luma(clip: &Path, s: Option<&str>) -> Vec<u8> {
    let seek = s.map(|s| ["-ss", s]).into_iter().flatten();
    let rest = ["-i", text(clip), "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"];
    let args = ["-v", "error"].into_iter().chain(seek).chain(rest);
    Command::new("ffmpeg").args(args).output().expect("ffmpeg is installed").stdout
}

#[test]
fn what_crosses_a_line_or_visits_a_zone_is_told_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    walk(folder, true);
    let output = count(folder, &["--events-csv", "events.csv"]);
    succeeds(&output);

    // Its point is 10 pixels into its box: at the line, 96 pixels, between frames 21 and 22; in the zone in frames 30 to 45.
    let lines = json_lines(&folder.join("d.jsonl"));
    let events: Vec<(u64, Value)> = lines
        .iter()
        .filter_map(|line| Some((line["frame"].as_u64()?, line["events"].as_array()?)))
        .flat_map(|(frame, events)| events.iter().map(move |event| (frame, event.clone())))
        .collect();
    let told: Vec<(u64, &str, &str, u64)> = events
        .iter()
        .map(|(frame, event)| {
            let what = event["direction"].as_str().or(event["what"].as_str()).expect("what happened");
            (*frame, event["kind"].as_str().expect("a kind"), what, event["track_id"].as_u64().expect("an id"))
        })
        .collect();
    assert_eq!(told, [(31, "line", "in", 7), (39, "zone", "enter", 7), (55, "zone", "leave", 7)]);
    let (line, leave) = (&events[0].1, &events[2].1);
    assert_eq!((&line["name"], &line["class"], &line["class_id"]), (&json!("gate"), &json!("person"), &json!(0)));
    assert_eq!(line["at_pts_ns"], lines[22]["pts_ns"], "the first frame on the other side");
    assert_eq!(leave["at_pts_ns"], lines[45]["pts_ns"], "the last frame inside");
    assert!((leave["dwell_s"].as_f64().expect("a length") - 0.5).abs() < 0.01, "{leave}");
    assert_eq!(lines.iter().filter(|line| line.get("events").is_some()).count(), 3, "others have none");

    let report = json(&folder.join("r.json"));
    let counted = &report["streams"][0];
    assert_eq!(counted["lines"]["gate"]["in"], json!({"total": 1, "by_class": {"person": 1}}), "{counted}");
    assert_eq!(counted["lines"]["gate"]["out"], json!({"total": 0, "by_class": {}}), "{counted}");
    let yard = &counted["zones"]["yard"];
    assert_eq!((&yard["entered"], &yard["left"], &yard["now"]), (&json!(1), &json!(1), &json!(0)), "{yard}");
    assert_eq!(yard["dwell_s"], leave["dwell_s"]);

    let rows = std::fs::read_to_string(folder.join("events.csv")).expect("rows");
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split(',').collect()).collect();
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}");
    assert_eq!((rows[1][1], rows[1][4], rows[1][6]), ("31", "line", "in"));
    let told = said(&output);
    assert!(
        told.contains("line gate  1 in (1 person) · 0 out") && told.contains("zone yard  1 visit · 0.5 s in all"),
        "{told}"
    );

    // Before anything walks there, the line and the zone's border are drawn, and nothing between.
    let luma = luma(&folder.join("annotated.mkv"), Some("0.1"));
    let at = |x: usize, y: usize| luma[y * 320 + x].abs_diff(luma[230 * 320 + 310]);
    assert!(at(96, 40) > 30 && at(96, 220) > 30, "the line");
    assert!(at(128, 130) > 30 && at(191, 130) > 30 && at(160, 167) > 30, "the zone's border");
    assert!(at(160, 130) < 8 && at(250, 130) < 8, "inside and outside");
}

#[test]
fn who_is_still_in_a_zone_at_the_end_is_in_the_report_the_json_and_the_rows_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    walk(folder, true);
    succeeds(&count(folder, &["--events-csv", "events.csv", "--frames", "45"]));
    let lines = json_lines(&folder.join("d.jsonl"));
    let last = lines.last().expect("lines");
    assert_eq!(
        (&last["event"], &last["frame"], &last["pts_ns"]),
        (&json!("open_visits"), &json!(44), &lines[44]["pts_ns"]),
        "{last}"
    );
    let visits = last["events"].as_array().expect("a list");
    assert_eq!(visits.len(), 1, "{last}");
    let visit = &visits[0];
    assert_eq!(
        (&visit["name"], &visit["what"], &visit["track_id"], &visit["at_pts_ns"]),
        (&json!("yard"), &json!("open"), &json!(7), &lines[44]["pts_ns"]),
        "{visit}"
    );
    assert!((visit["dwell_s"].as_f64().expect("a length") - 14.0 / 30.0).abs() < 0.01, "{visit}");
    let report = json(&folder.join("r.json"));
    let yard = &report["streams"][0]["zones"]["yard"];
    assert_eq!((&yard["visits"], &yard["left"], &yard["dwell_s"]), (&json!(1), &json!(0), &visit["dwell_s"]), "{yard}");
    let rows = std::fs::read_to_string(folder.join("events.csv")).expect("rows");
    let row: Vec<&str> = rows.lines().next_back().expect("rows").split(',').collect();
    assert_eq!((row[1], row[4], row[5], row[6], row[7]), ("44", "zone", "yard", "open", "7"), "{rows}");
    assert_eq!(row[9], format!("{:.3}", visit["dwell_s"].as_f64().expect("a length")), "{rows}");
}

#[test]
fn what_the_tracker_follows_is_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    walk(folder.path(), false);
    // Without numbers in the file, counting tracks by itself.
    succeeds(&count(folder.path(), &[]));
    let counted = json(&folder.path().join("r.json"))["streams"][0].clone();
    let totals = ["in", "out"].map(|way| counted["lines"]["gate"][way]["total"].clone());
    assert_eq!(totals, [json!(1), json!(0)], "{counted}");
    let yard = &counted["zones"]["yard"];
    assert_eq!((&yard["visits"], &yard["left"]), (&json!(1), &json!(1)), "{yard}");
}

/// How much pixels differ from those beside them, in a part of an image of this width: in noise a lot.
fn detail(luma: &[u8], width: usize, columns: Range<usize>, rows: Range<usize>) -> u32 {
    let count = u32::try_from(columns.len() * rows.len()).expect("a small image");
    let at = |x: usize, y: usize| luma[y * width + x];
    let differences = rows.flat_map(|y| columns.clone().map(move |x| u32::from(at(x, y).abs_diff(at(x + 1, y)))));
    differences.sum::<u32>() / count
}

#[test]
fn pixelated_classes_show_no_detail_in_the_video_the_crops_and_the_heatmap() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    clip(folder, "noise.mkv", "nullsrc=size=320x240:rate=10,geq=lum=random(1)*255:cb=128:cr=128", "1");
    // Two objects that stand still and overlap.
    write_detections(&folder.join("stand.jsonl"), 10, |_| {
        let object = |id: u32, class: &str, x1: u32, x2: u32| json!({"class_id": id, "class": class, "confidence": 0.9, "box": [x1, 60, x2, 220], "track_id": id + 1});
        vec![object(0, "face", 80, 200), object(1, "sign", 160, 300)]
    });
    let mut command = bare(folder, "detect");
    command.args(["noise.mkv", "-o", "annotated.mkv", "--detections", "stand.jsonl", "--hide-labels"]);
    let output =
        command.args(["--blur", "face", "--heatmap", "heat.png", "--crops", "crops"]).output().expect("it starts");
    succeeds(&output);

    let frame = luma(&folder.join("annotated.mkv"), Some("0.5"));
    let hidden = detail(&frame, 320, 90..155, 75..205);
    assert!(hidden < 6, "the box that is pixelated: {hidden}");
    assert!(detail(&frame, 320, 210..290, 75..205) > 25, "the other one");
    assert!(detail(&frame, 320, 10..70, 10..230) > 25, "outside");

    let (hidden, shown) =
        (luma(&folder.join("crops/face/noise_5-1.jpg"), None), luma(&folder.join("crops/sign/noise_5-2.jpg"), None));
    assert_eq!((hidden.len(), shown.len()), (120 * 160, 140 * 160));
    assert!(detail(&hidden, 120, 0..119, 0..160) < 6, "the crop of what is pixelated");
    assert!(detail(&shown, 140, 2..36, 0..160) < 6, "its part of the other's crop");
    assert!(detail(&shown, 140, 45..139, 0..160) > 25, "the rest of that");

    assert!(said(&output).contains("→ heat.png"), "{}", said(&output));
    assert!(!folder.join("heat.png.part").exists());
    let heat = luma(&folder.join("heat.png"), None);
    assert_eq!(heat.len(), 320 * 240);
    let mean = |columns: Range<usize>, rows: Range<usize>| {
        let count = columns.len() * rows.len();
        let places = rows.flat_map(|y| columns.clone().map(move |x| y * 320 + x));
        places.map(|at| usize::from(heat[at])).sum::<usize>() / count
    };
    let (stood, empty) = (mean(136..144, 216..224), mean(10..60, 20..60));
    assert!(stood > 150 && empty < 80, "where one stood {stood}, where nobody did {empty}");
    assert!(detail(&heat, 320, 90..150, 70..150) < 4, "who is pixelated is so under the heat");
}

#[test]
fn lines_and_zones_that_cannot_be_counted_at_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let zones = folder.path().join("zones.toml");
    std::fs::write(&zones, "[[zone]]\nname = \"yard\"\ncorners = [[0, 0], [1, 0], [1, 1]]\n").expect("a file");
    for (args, expected) in [
        (vec!["--count-line", "gate=0.5,0.5,0.5,0.5"], "its ends are one point"),
        (vec!["--count-line", "gate=0.5,0.5,0.5"], "give NAME=x1,y1,x2,y2"),
        (vec!["--zone", "yard=0,0,1,1,1,0,0,1"], "its border meets itself"),
        (vec!["--zone", YARD, "--count-line", "yard=0,0,1,1"], "`yard` names two of them"),
        (vec!["--zones", text(&zones)], "zones.toml:3: unknown key `corners`; the nearest is"),
        (vec!["--zones", "nowhere.toml"], "give the path of a TOML or GeoJSON file"),
        (vec!["--zone", YARD, "--anchor", "feet"], "bottom-center"),
        (vec!["--blur", "persn"], "--blur persn: "),
        (vec!["--blur", "pedestrian", "--classes", "car"], "--blur pedestrian: --classes leaves it out"),
    ] {
        let mut command = bare(folder.path(), "detect");
        let output =
            command.args(["test:ball", "--frames", "1", "-o", "none"]).args(&args).output().expect("it starts");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn lines_and_zones_are_settings_of_the_config_file_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("c.toml");
    let shown = |written: &str| {
        std::fs::write(&config, written).expect("a file");
        let mut command = bare(folder.path(), "detect");
        command.args(["--show-config", "--config", text(&config)]).output().expect("it starts")
    };
    let lines = "count-line = [\"gate=0.5,0,0.5,1\", \"exit=9,0,9,240\"]\n";
    let output = shown(&format!("{lines}zone = \"yard=0,0,1,0,1,1\"\nanchor = \"center\"\n"));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = |key: &str| table.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap_or_default();
    assert!(row("count-line").contains("gate=0.5,0,0.5,1,exit=9,0,9,240"), "{table}{}", said(&output));
    assert!(row("zone").contains("yard=0,0,1,0,1,1") && row("anchor").contains("center"), "{table}");
    let refused = shown("count-line = [\"gate=0.5,0,0.5\"]\n");
    assert_eq!(refused.status.code(), Some(2));
    let told = said(&refused);
    assert!(told.contains("c.toml:1: count-line = ") && told.contains("3 coordinates"), "{told}");
}
