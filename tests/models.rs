//! Models of every layout through the real program: the boxes of generated ones, the shared ones on real pictures, and
//! hostile ones, which end with an error or an empty picture and never otherwise. `tests/models/make.py` made the small ones.

mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use program::{json, said, shared, text, witness};
use serde_json::Value;
use streamdet::inference::{self, ProviderChoice, Runtime};
use streamdet::model::{Layout, Model, ModelRef};

/// Of one colour: red 200, green 100, blue 50.
const PICTURE: (&str, &str) = ("picture.png", "color=c=0xC86432:size=128x96");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(format!("{name}.onnx"))
}

fn picture(folder: &Path) {
    let out = folder.join(PICTURE.0);
    witness("ffmpeg", &["-f", "lavfi", "-i", PICTURE.1, "-frames:v", "1", "-pix_fmt", "rgb24", "-y", text(&out)]);
}

/// Runs a model on `source` within a minute and 8 GB of addresses; its detections go to standard output.
fn run(folder: &Path, model: &Path, source: &str, more: &[&str]) -> Output {
    let limits = "ulimit -v 8000000; exec timeout --kill-after 5 60 \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.current_dir(folder).env("XDG_CONFIG_HOME", folder.join("no-config")).env("XDG_CACHE_HOME", folder);
    command.args(["-c", limits, env!("CARGO_BIN_EXE_streamdet"), "detect", source, "-o", "none", "--json", "-"]);
    command.args(["-m", text(model)]).args(more).output().expect("it starts")
}

/// Class, confidence and box of an object, pixels of the picture.
type Expected = (&'static str, f64, [f64; 4]);

/// Detections of every frame.
#[track_caller]
fn frames(output: &Output) -> Vec<Vec<Value>> {
    assert!(output.status.success(), "{:?}\n{}", output.status, said(output));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let frame = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["detections"].clone();
    lines.lines().map(|line| frame(line).as_array().expect("a list").clone()).collect()
}

fn corners(detection: &Value) -> [f64; 4] {
    [0, 1, 2, 3].map(|at| detection["box"][at].as_f64().expect("a number"))
}

/// Holds detections against class, confidence and box; every number within `0.01` of what it should be, boxes within 0.01
/// of a pixel.
#[track_caller]
fn holds(found: &[Value], expected: &[Expected], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
    for (detection, (class, confidence, should)) in found.iter().zip(expected) {
        assert_eq!(detection["class"], *class, "{what}: {detection}");
        let differs = detection["confidence"].as_f64().expect("a number") - confidence;
        let apart = corners(detection).iter().zip(should).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(differs.abs() < 0.01 && apart < 0.01, "{what}: {detection}, should be {confidence} {should:?}");
    }
}

/// 128 × 96 pixels into 64 × 64: halved and centred, 8 rows of padding above; stretched, the heights are two thirds.
#[test]
fn every_layout_finds_the_box_that_was_put_in() {
    const LETTERBOXED: [f64; 4] = [32.0, 16.0, 96.0, 64.0];
    const STRETCHED: [f64; 4] = [32.0, 24.0, 96.0, 60.0];
    let folder = tempfile::tempdir().expect("a folder");
    picture(folder.path());
    let cases: [(&str, &[Expected], &str); 12] = [
        ("yolov5", &[("class 2", 0.72, LETTERBOXED)], ""),
        ("yolov8-seg", &[("bird", 0.8, LETTERBOXED)], "masks"),
        ("yolov8-pose", &[("bird", 0.8, LETTERBOXED)], "keypoints"),
        ("yolov8-obb", &[("bird", 0.8, LETTERBOXED)], "angles"),
        ("end2end-obb", &[("bird", 0.8, LETTERBOXED)], "angles"),
        ("end2end", &[("bird", 0.8, LETTERBOXED), ("bird", 0.7, LETTERBOXED)], ""),
        ("rtdetr-ultralytics", &[("bird", 0.8, STRETCHED)], ""),
        ("rtdetr-f16", &[("bird", 0.8, STRETCHED)], "1 box of none of the 3 known classes"),
        ("nanodet-plus", &[("class 2", 0.8, [0.0, 0.0, 64.0, 48.0])], ""),
        ("fastestdet-raw", &[("class 2", 0.8, [0.0, 24.0, 64.0, 72.0])], ""),
        ("efficientnms", &[("bird", 0.8, LETTERBOXED)], ""),
        ("ssd-u8", &[("car", 200.0 / 255.0, [32.0, 24.0, 64.0, 72.0])], "COCO"),
    ];
    for (name, expected, notice) in cases {
        // On the CPU and on the best provider there is.
        for provider in ["cpu", "auto"] {
            let output = run(folder.path(), &fixture(name), PICTURE.0, &["--provider", provider]);
            holds(&frames(&output)[0], expected, &format!("{name} on {provider}"));
            assert_eq!(said(&output).contains("notice:"), !notice.is_empty(), "{name}: {}", said(&output));
            assert!(said(&output).contains(notice), "{name}: {}", said(&output));
        }
    }
}

/// Models that show their input: the mean of each channel comes out as a confidence. Letterboxed into 32 × 32, a quarter of
/// it is padding.
#[test]
fn every_element_type_and_order_of_axes_brings_the_picture_in() {
    let folder = tempfile::tempdir().expect("a folder");
    picture(folder.path());
    let mean = |level: f64| (0.75 * level + 0.25 * 114.0) / 255.0;
    let expected = [
        ("cat", mean(200.0), [0.0, 0.0, 40.0, 96.0]),
        ("dog", mean(100.0), [40.0, 0.0, 80.0, 96.0]),
        ("bird", mean(50.0), [80.0, 0.0, 120.0, 96.0]),
    ];
    for element in ["f32", "f16", "u8"] {
        for axes in ["nchw", "nhwc"] {
            for provider in ["cpu", "auto"] {
                let name = format!("eye-{element}-{axes}");
                let output = run(folder.path(), &fixture(&name), PICTURE.0, &["--provider", provider]);
                holds(&frames(&output)[0], &expected, &format!("{name} on {provider}"));
            }
        }
    }
}

#[test]
fn what_is_chosen_inside_the_model_still_obeys_the_options() {
    let folder = tempfile::tempdir().expect("a folder");
    picture(folder.path());
    let count = |more: &[&str]| frames(&run(folder.path(), &fixture("end2end"), PICTURE.0, more))[0].len();
    assert_eq!(count(&["--conf", "0.75"]), 1);
    assert_eq!(count(&["--max-det", "1"]), 1);
    assert_eq!(count(&["--classes", "cat"]), 0);
    assert_eq!(count(&["--classes", "bird", "--iou", "0.1"]), 2, "its boxes are suppressed no further");
}

#[test]
fn a_fixed_batch_of_two_takes_any_number_of_frames() {
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = folder.path().join("in");
    std::fs::create_dir(&pictures).expect("a folder");
    picture(&pictures);
    for name in ["b.png", "c.png"] {
        std::fs::copy(pictures.join(PICTURE.0), pictures.join(name)).expect("a copy");
    }
    let one = [("bird", 0.8, [32.0, 16.0, 96.0, 64.0])];
    let other = [("cat", 0.7, [0.0, 0.0, 128.0, 96.0])];
    for provider in ["cpu", "auto"] {
        let more = ["--provider", provider, "--batch", "2", "--batch-timeout", "20000"];
        let found = frames(&run(folder.path(), &fixture("yolov8-batch2"), "in", &more));
        assert_eq!(found.len(), 3);
        holds(&found[0], &one, "the first of two");
        holds(&found[1], &other, "the second of two");
        holds(&found[2], &one, "the last, alone");
    }
}

/// Ends with an error of two lines or more and exit code 2; says each of the words.
#[test]
fn hostile_models_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    picture(folder.path());
    let cases: [(&str, &[&str]); 19] = [
        ("names-control", &["control character", "class 1", "card"]),
        ("names-count", &["number 1000000000", "card"]),
        ("stride", &["stride = 1000000000"]),
        ("imgsz", &["imgsz = [2000000000, 2000000000]"]),
        ("imgsz-negative", &["imgsz = [-640, -640]"]),
        ("task", &["\\u{1b}"]),
        ("classes", &["1000000004"]),
        ("memory", &["inference failed"]),
        ("input-zero", &["[1,3,0,64]"]),
        ("input-huge", &["1000000000"]),
        ("input-rank", &["[3,64]"]),
        ("input-none", &["found: none"]),
        ("rank", &["output0 F32 [1,7]", "card"]),
        ("output-empty", &["dimension of 0"]),
        ("lie-shape", &["[1, 5, 84]", "expected [B,7,N]"]),
        ("lie-rank", &["not a layout"]),
        ("lie-empty", &["0"]),
        ("outputs-none", &["not a model"]),
        ("string", &["output0 String", "tensors of numbers"]),
    ];
    for (name, words) in cases {
        let output = run(folder.path(), &fixture(&format!("hostile-{name}")), PICTURE.0, &["--provider", "cpu"]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.starts_with("error: ") && said.contains("\n  "), "{name}: a remedy is missing: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{name}: {said:?}");
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
}

#[test]
fn hostile_outputs_cost_themselves_only() {
    let folder = tempfile::tempdir().expect("a folder");
    picture(folder.path());
    let good: &[_] = &[("bird", 0.8, [32.0, 16.0, 96.0, 64.0])];
    let cases: [(&str, &[Expected], &str); 7] = [
        ("nan", &[], "84 boxes that held no numbers"),
        ("nan-some", good, "3 boxes that held no numbers"),
        ("negative-size", good, ""),
        ("count-negative", &[], ""),
        ("count-huge", &[], "1 box of none of the 3 known classes"),
        // A negative dimension is one that is left open.
        ("dims-negative", good, ""),
        ("input-negative", good, ""),
    ];
    for (name, expected, notice) in cases {
        for provider in ["cpu", "auto"] {
            let model = fixture(&format!("hostile-{name}"));
            let output =
                run(folder.path(), &model, PICTURE.0, &["--provider", provider, "--report", "r.json", "--overwrite"]);
            holds(&frames(&output)[0], expected, &format!("{name} on {provider}"));
            assert_eq!(said(&output).contains("notice:"), !notice.is_empty(), "{name}: {}", said(&output));
            assert!(said(&output).contains(notice), "{name}: {}", said(&output));
            assert_eq!(json(&folder.path().join("r.json"))["streams"][0]["frames"]["processed"], 1);
        }
    }
}

/// Intersection over union of two boxes.
/// Models that people report about, each with two boxes: centres (0.3, 0.3) and (0.7, 0.6), sizes 0.2 × 0.2 and 0.3 × 0.4.
#[test]
fn reported_layouts_and_names_are_read() {
    let Some(root) = shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("grey.png");
    witness("ffmpeg", &["-f", "lavfi", "-i", "color=c=gray:size=64x64", "-frames:v", "1", "-y", text(&image)]);
    for (name, classes) in [
        ("yolov6", ["class 0", "class 1"]),
        ("m_ext", ["class 0", "class 1"]),
        ("names_cjk", ["行人", "汽车"]),
        ("names_escaped", ["行人", "汽车"]),
        ("names_nbsp", ["traffic light", "café"]),
        ("names_gap", ["a", "class 1"]),
    ] {
        let model = root.join("data/reports/models").join(format!("{name}.onnx"));
        let found = frames(&run(folder.path(), &model, "grey.png", &["--provider", "cpu"]));
        let boxes = [[12.8, 12.8, 25.6, 25.6], [35.2, 25.6, 54.4, 51.2]];
        holds(&found[0], &[(classes[0], 0.9, boxes[0]), (classes[1], 0.8, boxes[1])], name);
    }
}

fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let side = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    let area = |c: [f64; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    let both = side(0) * side(1);
    both / (area(a) + area(b) - both)
}

/// The shared models, without a card, on sixteen COCO pictures: how many of the large objects (ground truth, more than 96²
/// pixels) a box of their class covers half of, at a confidence of 0.3.
#[test]
fn the_shared_models_find_what_is_in_real_pictures() {
    let Some(root) = shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let pictures = folder.path().join("in");
    std::fs::create_dir(&pictures).expect("a folder");
    let truth = json(&root.join("data/coco/instances.json"));
    let images: Vec<_> = truth["images"].as_array().expect("a list").iter().take(16).collect();
    for image in &images {
        let name = image["file_name"].as_str().expect("a name");
        std::fs::copy(root.join("data/coco/images").join(name), pictures.join(name)).expect("a copy");
    }
    let runtime = Runtime::load(None, ProviderChoice::Cpu).expect("ONNX Runtime");
    // 33 to 36 of 41 were found when this was written, by DEIM 9: its quantised accuracy is poor. Without its mean and
    // deviation a model finds none; colours in the wrong order cost up to a quarter, a wrong placement next to nothing here
    // (in AP it is 0.01 to 0.04).
    for (name, layout, share) in [
        ("yolov8n_coco_dynamic", Layout::Yolov8, 0.75),
        ("yolov8n_coco_640_int8", Layout::Yolov8, 0.75),
        ("yolo11n_coco_320_int8", Layout::Yolov8, 0.7),
        ("yolo26n_coco_640_int8_end2end", Layout::End2end, 0.75),
        ("yolox_nano_coco_416", Layout::Yolox, 0.75),
        ("nanodet_m_coco_320", Layout::Nanodet, 0.75),
        ("picodet_s_coco_320", Layout::Picodet, 0.75),
        ("fastestdet_coco_352", Layout::Fastestdet, 0.75),
        ("deimv2_atto_coco_320_int8", Layout::Detr, 0.1),
    ] {
        let model = root.join("models").join(format!("{name}.onnx"));
        let reference = ModelRef::resolve(Some(text(&model))).expect("the model is there");
        let facts = inference::inspect(&runtime, reference.file()).expect("it can be read");
        let recognised = Model::build(reference, &facts).expect("it is recognised");
        assert_eq!((recognised.layout, recognised.classes.len()), (layout, 80), "{name}: {}", recognised.layout_reason);
        let output = run(folder.path(), &model, "in", &["--conf", "0.3"]);
        let found = frames(&output);
        assert_eq!(found.len(), images.len());
        let (mut objects, mut covered) = (0.0, 0.0);
        for (image, found) in images.iter().zip(&found) {
            for object in truth["annotations"].as_array().expect("a list") {
                let [x, y, w, h] = [0, 1, 2, 3].map(|at| object["bbox"][at].as_f64().expect("a number"));
                if object["image_id"] == image["id"] && object["iscrowd"] != 1 && w * h > 96.0 * 96.0 {
                    objects += 1.0;
                    let near = |d: &&Value| {
                        d["class_id"] == object["category_id"] && iou(corners(d), [x, y, x + w, y + h]) >= 0.5
                    };
                    covered += if found.iter().any(|d| near(&d)) { 1.0 } else { 0.0 };
                }
            }
        }
        eprintln!("{name}: {covered} of {objects} large objects");
        assert!(objects > 20.0 && covered >= share * objects, "{name}: {covered} of {objects}");
    }
}
