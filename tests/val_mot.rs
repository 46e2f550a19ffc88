//! A tracker's result as a user scores it: the real program against TrackEval's figures.

mod program;

use std::path::Path;
use std::process::Output;

use program::{bare, json, said, shared, succeeds, text};
use serde_json::Value;
use tempfile::TempDir;

fn val(folder: &Path, args: &[&str]) -> Output {
    bare(folder, "val").args(args).output().expect("it starts")
}

/// `mot` of the report.
#[track_caller]
fn mot(folder: &Path, args: &[&str]) -> Value {
    let output = val(folder, &[&["--mot"], args, &["--report", "r.json"]].concat());
    succeeds(&output);
    json(&folder.join("r.json"))["mot"].clone()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// Every figure of `official` that is a number: shares to `within`, counts exactly.
#[track_caller]
fn agree(ours: &Value, official: &Value, within: f64, what: &str) -> usize {
    let mut compared = 0;
    for (name, official) in official.as_object().expect("figures") {
        let Some(figure) = official.as_f64() else { continue };
        let found = ours[name].as_f64().unwrap_or_else(|| panic!("{what}: no {name} in {ours}"));
        let within = if official.is_u64() { 0.0 } else { within };
        assert!((found - figure).abs() <= within, "{what}: {name} {found} against {figure}");
        compared += 1;
    }
    compared
}

#[test]
fn made_up_tracks_have_trackevals_figures() {
    let sets = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mot/sets.json"));
    let mut compared = 0;
    for (benchmark, of) in sets.as_object().expect("benchmarks") {
        let folder = folder();
        let sequences = of["sequences"].as_object().expect("sequences");
        for (name, set) in sequences {
            let at = folder.path().join("gt").join(name);
            write(&at.join("gt/gt.txt"), set["gt"].as_str().expect("text"));
            write(&at.join("seqinfo.ini"), &format!("[Sequence]\nname={name}\nseqLength={}\n", set["frames"]));
            write(&folder.path().join(format!("tracks/{name}.txt")), set["result"].as_str().expect("text"));
        }
        let ours = mot(folder.path(), &["gt", "tracks", "--mot-format", benchmark]);
        for (name, set) in sequences {
            let what = format!("{benchmark} {name}");
            assert_eq!(ours["sequences"][name]["frames"], set["frames"], "{what}");
            agree(&ours["sequences"][name], &set["figures"], 1e-9, &what);
            compared += 1;
        }
        agree(&ours["combined"], &of["combined"], 1e-9, benchmark);
    }
    assert_eq!(compared, 200);
}

/// `figures.json` has ten results, some of them on some frames only, and the first six together.
#[test]
fn real_tracks_have_trackevals_figures() {
    let Some(root) = shared() else { return };
    let root = root.join("data/mot");
    let folder = folder();
    let all = json(&root.join("figures.json"));
    let (mut results, mut together) = (0, false);
    for official in all.as_array().expect("a list") {
        if official["sequences"].is_array() {
            let ours = mot(folder.path(), &["gt", "tracks"]);
            assert_eq!(ours["sequences"].as_object().map(serde_json::Map::len), Some(6));
            assert!(agree(&ours["combined"], official, 1e-9, "combined") >= 14);
            together = true;
            continue;
        }
        let gt = official["gt"].as_str().expect("ground truth");
        let (gt, result) = (root.join(gt), root.join(official["result"].as_str().expect("a result")));
        let frames = official["only_frames"].as_str().map(|file| root.join(file));
        let frames: Vec<&str> = frames.iter().flat_map(|file| ["--mot-frames", text(file)]).collect();
        let ours = mot(folder.path(), &[&[text(&gt), text(&result)], frames.as_slice()].concat());
        assert_eq!(ours["format"], "mot15");
        let mut official = official.clone();
        if !frames.is_empty() {
            // There the sequence's length stands.
            official["frames"] = Value::Null;
        }
        assert!(agree(&ours["combined"], &official, 1e-9, text(&result)) >= 20);
        results += 1;
        if results <= 6 {
            let sequence = gt.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a name");
            for (from, to) in
                [(&gt, format!("gt/{sequence}/gt.txt")), (&result, format!("tracks/{sequence}/result.txt"))]
            {
                let to = folder.path().join(to);
                std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
                std::fs::copy(from, to).expect("a copy");
            }
        }
    }
    assert!(results == 10 && together, "{results} results");
}

const GT: &str = "1,1,0,0,10,10,1,-1,-1,-1\n2,1,0,0,10,10,1,-1,-1,-1\n2,2,50,50,10,10,0,-1,-1,-1\n";
const TRACKS: &str = "1,7,0,0,10,10,0.9,-1,-1,-1\r\n2,8,0,0,10,10,0.9,-1,-1,-1\r\n3,8,0,0,10,10,0.9,-1,-1,-1\r\n";

#[test]
fn two_files_are_scored_and_shown_in_eighty_columns() {
    let folder = folder();
    write(&folder.path().join("TOWN/gt/gt.txt"), GT);
    write(&folder.path().join("a.txt"), TRACKS);
    let output = val(folder.path(), &["--mot", "TOWN/gt/gt.txt", "a.txt", "--report", "-"]);
    succeeds(&output);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let figures = &report["mot"]["sequences"]["TOWN"];
    let counts = ["TP", "FP", "FN", "IDSW", "MT", "gt_boxes", "boxes", "frames"].map(|name| figures[name].as_u64());
    assert_eq!(counts, [2, 1, 0, 1, 1, 2, 3, 3].map(Some), "{figures}");
    let shown = said(&output);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    for word in ["mot15", "TOWN", "HOTA", "IDF1", "IDSW", "0.000"] {
        assert!(shown.contains(word), "no {word} in\n{shown}");
    }
}

#[test]
fn every_sequence_and_all_together_are_shown() {
    let folder = folder();
    for name in ["A-SEQUENCE-WITH-A-NAME-THAT-IS-LONG-ENOUGH-TO-BE-CUT", "B"] {
        write(&folder.path().join(format!("gt/{name}.txt")), GT);
        write(&folder.path().join(format!("tracks/data/{name}.txt")), TRACKS);
    }
    write(&folder.path().join("tracks/data/C.txt"), TRACKS);
    let output = val(folder.path(), &["--mot", "gt", "tracks"]);
    succeeds(&output);
    let shown = said(&output);
    assert!(shown.lines().filter(|line| !line.contains("notice")).all(|line| line.chars().count() <= 80), "{shown}");
    assert_eq!(shown.matches("COMBINED").count(), 2, "{shown}");
    assert!(shown.contains("1 file of the result") && shown.contains("C.txt"), "{shown}");
}

#[test]
fn nothing_found_and_nothing_there_are_scored() {
    let folder = folder();
    for (name, gt, tracks) in [("none-found", GT, ""), ("none-there", "", TRACKS), ("nothing", "", "")] {
        write(&folder.path().join(format!("gt/{name}.txt")), gt);
        write(&folder.path().join(format!("tracks/{name}.txt")), tracks);
    }
    let ours = mot(folder.path(), &["gt", "tracks"]);
    let of = |name: &str, figure: &str| ours["sequences"][name][figure].as_f64();
    // TrackEval has it so: MOTA is 0 where there is nothing to be found, and LocA 1 where nothing was.
    for (name, fp, fn_) in [("none-found", 0.0, 2.0), ("none-there", 3.0, 0.0), ("nothing", 0.0, 0.0)] {
        let found = ["MOTA", "HOTA", "LocA", "FP", "FN"].map(|figure| of(name, figure));
        assert_eq!(found, [0.0, 0.0, 1.0, fp, fn_].map(Some), "{name}");
    }
    assert_eq!(ours["combined"]["MOTA"], -1.5);
    // Confidences in the place of flags leave nothing to be found, which is said.
    write(&folder.path().join("dets.txt"), "1,1,0,0,10,10,0.9\n");
    let ours = mot(folder.path(), &["dets.txt", "dets.txt"]);
    assert!(ours["notices"][0].as_str().is_some_and(|notice| notice.contains("column 7 is a flag")), "{ours}");
}

/// A line a rule: a car that is found, one in an ignored region, a truck that is found as a car.
#[test]
fn visdrones_classes_and_ignored_regions_count() {
    let folder = folder();
    let gt = "1,0,100,0,50,50,0,0,0,0\n1,1,0,0,10,10,1,4,0,0\n1,2,120,0,10,10,1,4,0,1\n1,3,0,80,10,10,1,6,0,2\n";
    let tracks = "1,1,0,0,10,10,0.9,4,-1,-1\n1,2,121,0,10,10,0.9,4,-1,-1\n1,3,0,80,10,10,0.9,4,-1,-1\n";
    write(&folder.path().join("d/annotations/uav1_v.txt"), gt);
    write(&folder.path().join("tracks/uav1_v.txt"), tracks);
    let ours = mot(folder.path(), &["d", "tracks"]);
    assert_eq!(ours["format"], "visdrone");
    let counts = |of: &Value| ["TP", "FP", "FN"].map(|name| of[name].as_u64().expect("a count"));
    assert_eq!(counts(&ours["classes"]["car"]), [1, 1, 0]);
    assert_eq!(counts(&ours["classes"]["truck"]), [0, 0, 1]);
    assert_eq!(counts(&ours["combined"]), [1, 1, 1]);
    assert_eq!(counts(&ours["class_agnostic"]), [2, 0, 0]);
    // Without categories all classes are one.
    write(&folder.path().join("tracks/uav1_v.txt"), &tracks.replace(",4,-1,-1", ",-1,-1,-1"));
    let ours = mot(folder.path(), &["d", "tracks"]);
    assert_eq!((counts(&ours["combined"]), ours.get("classes")), ([2, 0, 0], None));
    assert!(ours["notices"][0].as_str().is_some_and(|notice| notice.contains("no categories")), "{ours}");
}

#[track_caller]
fn refused(folder: &Path, args: &[&str], words: &[&str]) {
    let output = val(folder, args);
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    for word in words {
        assert!(shown.contains(word), "no {word:?} in\n{shown}");
    }
}

#[test]
fn what_cannot_be_scored_is_named_with_its_line() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    write(&at("gt.txt"), GT);
    for (tracks, words) in [
        ("1,1,0,0,10,10,1\n1,-1,0,0,10,10,1\n", ["a.txt:2: id -1 in frame 1", "unconfirmed"]),
        ("1,4,0,0,10,10,1\n\n1,4,5,0,10,10,1\n", ["a.txt:3: id 4 twice in frame 1 (first in line 1)", "one box"]),
        ("1,4,0,0,10,nan,1\n", ["a.txt:1: \"nan\" is no number", "without a header"]),
        ("-1,4,0,0,10,10,1\n", ["a.txt:1: frame -1", "from 1"]),
        ("1,4,0,0,10\n", ["a.txt:1: 5 columns", "6 to 10"]),
    ] {
        write(&at("a.txt"), tracks);
        refused(folder.path(), &["--mot", "gt.txt", "a.txt"], &words);
    }
    write(&at("a.txt"), TRACKS);
    write(&at("seqinfo.ini"), "[Sequence]\nseqLength=2\n");
    refused(folder.path(), &["--mot", "gt.txt", "a.txt"], &["a.txt:3: frame 3, after the last one of the sequence, 2"]);
    std::fs::remove_file(at("seqinfo.ini")).expect("it was there");
    write(&at("frames.txt"), "1\nx\n");
    refused(folder.path(), &["--mot", "gt.txt", "a.txt", "--mot-frames", "frames.txt"], &["frames.txt:2: \"x\""]);
    refused(folder.path(), &["--mot", "gt.txt", "gone.txt"], &["gone.txt", "No such file"]);
    refused(
        folder.path(),
        &["--mot", "gt.txt", "a.txt", "--mot-format", "mot16"],
        &["gt.txt:1: class -1", "--mot-format mot15"],
    );
}

#[test]
fn a_sequence_without_a_result_is_named() {
    let folder = folder();
    for name in ["A", "B"] {
        write(&folder.path().join(format!("gt/{name}/gt/gt.txt")), GT);
    }
    write(&folder.path().join("tracks/A.txt"), TRACKS);
    refused(folder.path(), &["--mot", "gt", "tracks"], &["tracks: no result of sequence B", "B.txt"]);
    refused(folder.path(), &["--mot", "gt", "tracks/A.txt"], &["A.txt", "2 sequences"]);
    refused(folder.path(), &["--mot", "tracks/..", "tracks"], &["no ground truth", "SEQ/gt/gt.txt"]);
}

#[test]
fn options_of_images_have_no_meaning_with_tracks() {
    let folder = folder();
    for args in [&["--conf", "0.5"][..], &["-m", "x.onnx"], &["--html", "x.html"], &["-o", "out"], &["data.yaml"]] {
        let args = [args, &["--mot", "gt.txt", "a.txt"]].concat();
        refused(folder.path(), &args, &["cannot be used with", "--mot"]);
    }
    refused(folder.path(), &["data.yaml", "--mot-frames", "f.txt"], &["--mot"]);
    refused(folder.path(), &[], &["<DATASET>"]);
}
