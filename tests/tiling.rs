//! Tiles, as a user asks for them.

mod program;

use serde_json::Value;

use program::{frames, json, json_lines, made_clip, said, shared, streamdet, succeeds, text};

/// Objects of one frame: class, confidence, box.
type Object = (u64, f64, [f64; 4]);

fn objects(line: &Value) -> Vec<Object> {
    let number = |value: &Value| value.as_f64().expect("a number");
    let found = line["detections"].as_array().expect("a list");
    found
        .iter()
        .map(|d| {
            let id = d["class_id"].as_u64().expect("an id");
            (id, number(&d["confidence"]), std::array::from_fn(|i| number(&d["box"][i])))
        })
        .collect()
}

fn iou([ax1, ay1, ax2, ay2]: [f64; 4], [bx1, by1, bx2, by2]: [f64; 4]) -> f64 {
    let inside = (ax2.min(bx2) - ax1.max(bx1)).max(0.0) * (ay2.min(by2) - ay1.max(by1)).max(0.0);
    inside / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inside)
}

#[test]
fn the_report_says_which_tiles_were_used() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "1281x721", "0.5", &["-pix_fmt", "yuv444p"]);
    let tiling = |options: &[&str]| {
        let mut args = vec!["made.mp4", "-o", "none", "--imgsz", "160", "--report", "r.json", "--overwrite"];
        args.extend(options);
        succeeds(&streamdet(folder.path(), &args));
        let report = json(&folder.path().join("r.json"));
        let (received, processed, _) = frames(&report);
        assert_eq!(received, processed);
        report["streams"][0]["tiling"].clone()
    };
    assert_eq!(tiling(&[]), Value::Null);
    let used = tiling(&["--tile", "3x2@0.1"]);
    assert_eq!(used["grid"], "3x2@0.1");
    assert_eq!((&used["tiles_min"], &used["tiles_max"]), (&6.into(), &6.into()));
    let auto = tiling(&["--tile", "auto", "--batch", "4"]);
    assert_eq!(auto["grid"], "5x5@0.2", "1281 pixels on 160 are not to shrink below half");
    let hurried = tiling(&["--tile", "4", "--target-latency", "1"]);
    assert_eq!((&hurried["grid"], &hurried["tiles_max"]), (&"2x2@0.2".into(), &0.into()));
    let patient = tiling(&["--tile", "4", "--target-latency", "60000"]);
    assert_eq!(patient["tiles_max"], 4);
}

#[test]
fn what_is_no_tiling_is_refused_with_examples() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = streamdet(folder.path(), &["made.mp4", "--tile", "0x3"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("3x2@0.25"), "{}", said(&refused));
}

#[test]
fn tiles_find_more_and_nothing_twice() {
    let Some(root) = shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = root.join("data/visdrone/images");
    let run = |name: &str, options: &[&str]| {
        let file = folder.path().join(name);
        let mut args = vec![text(&pictures), "-o", "none", "--frames", "12", "--json", text(&file)];
        args.extend(options);
        succeeds(&streamdet(folder.path(), &args));
        json_lines(&file).iter().map(objects).collect::<Vec<_>>()
    };
    let whole = run("whole.jsonl", &[]);
    let tiled = run("tiled.jsonl", &["--tile", "2x2"]);
    let count = |frames: &[Vec<Object>]| frames.iter().map(Vec::len).sum::<usize>();
    assert_eq!(whole.len(), tiled.len());
    assert!(count(&tiled) > count(&whole) * 5 / 4, "{} against {}", count(&tiled), count(&whole));
    for found in &tiled {
        for (n, (class, _, bbox)) in found.iter().enumerate() {
            let again = found[n + 1..].iter().find(|(other, _, b)| other == class && iou(*bbox, *b) > 0.7);
            assert!(again.is_none(), "class {class} at {bbox:?} and {again:?}");
        }
    }
    // What is large enough to be seen whole stays: nothing is lost to a seam.
    for (before, after) in whole.iter().zip(&tiled) {
        for (class, confidence, bbox) in before.iter().filter(|o| o.1 > 0.6) {
            let kept = after.iter().any(|(other, _, b)| other == class && iou(*bbox, *b) > 0.5);
            assert!(kept, "class {class} with {confidence} at {bbox:?} is gone");
        }
    }
}
