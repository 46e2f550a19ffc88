//! Accuracy as a user measures it: the real program against the official evaluator's figures and on real pictures.

mod program;

use std::path::Path;
use std::process::Output;

use program::{bare, json, said, shared, succeeds, text, witness};
use serde_json::{Value, json as value};
use tempfile::TempDir;

/// `streamdet val` in `folder`, whatever the developer's own configuration says.
fn val(folder: &Path, args: &[&str]) -> Output {
    bare(folder, "val").args(args).output().expect("it starts")
}

/// Runs it to its end and gives its report.
#[track_caller]
fn report(folder: &Path, args: &[&str]) -> Value {
    let output = val(folder, &[args, &["--report", "r.json"]].concat());
    succeeds(&output);
    json(&folder.join("r.json"))
}

fn map(report: &Value) -> f64 {
    report["accuracy"]["map50_95"].as_f64().expect("a figure")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// A plain picture.
fn made_picture(path: &Path, size: &str, colour: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let source = format!("color=c={colour}:size={size}:duration=0.04");
    witness("ffmpeg", &["-f", "lavfi", "-i", &source, "-frames:v", "1", "-y", text(path)]);
}

#[test]
fn the_figures_are_the_official_evaluators() {
    let folder = folder();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/coco_eval");
    let (truth, found) = (here.join("truth.json"), here.join("found.json"));
    let ours = report(folder.path(), &[text(&truth), "--predictions", text(&found)]);
    let official = json(&here.join("figures.json"));
    for (name, figure) in official.as_object().expect("figures") {
        let (ours, official) = (&ours["accuracy"][name], figure.as_f64().expect("a number"));
        assert!((ours.as_f64().expect("a number") - official).abs() < 1e-9, "{name}: {ours} against {official}");
    }
}

#[test]
fn the_figures_are_the_official_evaluators_on_real_boxes() {
    let Some(root) = shared() else { return };
    let folder = folder();
    let here = root.join("data/reference/coco_eval");
    let (truth, found) = (here.join("sampled_gts_bbox_area.json"), here.join("sampled_bbox_results.json"));
    let ours = report(folder.path(), &[text(&truth), "--predictions", text(&found)]);
    let official = [
        ("map50_95", 0.503_647),
        ("map50", 0.696_973),
        ("map75", 0.571_667),
        ("map_small", 0.593_252),
        ("map_medium", 0.557_991),
        ("map_large", 0.489_363),
        ("ar_1", 0.386_813),
        ("ar_10", 0.593_680),
        ("ar_max", 0.595_353),
    ];
    for (name, official) in official {
        let ours = ours["accuracy"][name].as_f64().expect("a number");
        assert!((ours - official).abs() < 1e-6, "{name}: {ours} against {official}");
    }
}

#[test]
fn a_model_is_worth_on_real_pictures_what_others_measured() {
    let Some(root) = shared() else { return };
    let folder = folder();
    let (truth, model) = (root.join("data/coco/instances.json"), root.join("models/yolov8n_coco_dynamic.onnx"));
    let args = [text(&truth), "-m", text(&model), "--provider", "cpu", "--save-json", "p.json"];
    let ran = report(folder.path(), &args);
    assert!((map(&ran) - 0.4206).abs() < 0.005, "{}", ran["accuracy"]["map50_95"]);
    assert_eq!(ran["streams"][0]["frames"]["processed"], 128);
    assert_eq!(ran["dataset"]["findings"]["counts"], value!({ "grey image": 8 }));
    // What was saved is what was scored.
    let again = report(folder.path(), &[text(&truth), "--predictions", "p.json"]);
    assert!((map(&ran) - map(&again)).abs() < 1e-3, "{} against {}", map(&ran), map(&again));
}

/// The same pictures and labels, written in YOLO's way.
#[test]
fn formats_agree() {
    let Some(root) = shared() else { return };
    let folder = folder();
    let mut truth = json(&root.join("data/coco/instances.json"));
    let images: Vec<Value> = truth["images"].as_array().expect("a list").iter().take(12).cloned().collect();
    let ids: Vec<&Value> = images.iter().map(|i| &i["id"]).collect();
    let kept = |a: &&Value| ids.contains(&&a["image_id"]);
    let annotations: Vec<Value> =
        truth["annotations"].as_array().expect("a list").iter().filter(kept).cloned().collect();
    for image in &images {
        let (name, w, h) = (image["file_name"].as_str().expect("a name"), &image["width"], &image["height"]);
        let picture = folder.path().join("images").join(name);
        std::fs::create_dir_all(picture.parent().expect("a folder")).expect("a folder");
        std::fs::copy(root.join("data/coco/images").join(name), &picture).expect("a copy");
        let (w, h) = (w.as_f64().expect("a number"), h.as_f64().expect("a number"));
        let rows: Vec<String> = annotations
            .iter()
            .filter(|a| a["image_id"] == image["id"])
            .map(|a| {
                let b: Vec<f64> = a["bbox"].as_array().expect("a box").iter().filter_map(Value::as_f64).collect();
                let (x, y) = ((b[0] + b[2] / 2.0) / w, (b[1] + b[3] / 2.0) / h);
                format!("{} {x:.6} {y:.6} {:.6} {:.6}", a["category_id"], b[2] / w, b[3] / h)
            })
            .collect();
        write(&folder.path().join("labels").join(name).with_extension("txt"), rows.join("\n"));
    }
    let categories = truth["categories"].as_array().expect("a list");
    let names: Vec<String> = categories.iter().map(|c| format!("  {}: {}", c["id"], c["name"])).collect();
    write(&folder.path().join("data.yaml"), format!("path: .\nval: images\nnames:\n{}\n", names.join("\n")));
    truth["images"] = images.into();
    truth["annotations"] = annotations.into();
    write(&folder.path().join("coco.json"), truth.to_string());

    let model = root.join("models/yolov8n_coco_dynamic.onnx");
    let run = |dataset: &str| report(folder.path(), &[dataset, "-m", text(&model), "--provider", "cpu"]);
    let (coco, yolo, bare) = (run("coco.json"), run("data.yaml"), run("."));
    assert!(map(&coco) > 0.3, "{}", map(&coco));
    assert!((map(&coco) - map(&yolo)).abs() < 5e-3, "{} against {}", map(&coco), map(&yolo));
    assert!((map(&bare) - map(&yolo)).abs() < 1e-12, "a folder with a data.yaml is that");
}

/// A photograph that its EXIF turns, with labels in either space.
#[test]
fn turned_pictures_are_scored_where_their_labels_are() {
    let Some(root) = shared() else { return };
    let folder = folder();
    let truth = json(&root.join("data/coco/instances.json"));
    let (id, name, w, h) = (785, "000000000785.jpg", 640_u32, 425_u32);
    let photograph = root.join("data/coco/images").join(name);
    // Turned left, so that EXIF's turn to the right shows it upright.
    let turned = folder.path().join("images").join(name);
    std::fs::create_dir_all(turned.parent().expect("a folder")).expect("a folder");
    witness("ffmpeg", &["-i", text(&photograph), "-vf", "transpose=cclock", "-q:v", "1", "-y", text(&turned)]);
    let jpeg = std::fs::read(&turned).expect("a picture");
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    write(&turned, [&jpeg[..2], exif, &jpeg[2..]].concat());
    let upright: Vec<Value> =
        truth["annotations"].as_array().expect("a list").iter().filter(|a| a["image_id"] == id).cloned().collect();
    assert!(!upright.is_empty());
    let mut stored = upright.clone();
    for annotation in &mut stored {
        let b: Vec<f64> = annotation["bbox"].as_array().expect("a box").iter().filter_map(Value::as_f64).collect();
        annotation["bbox"] = value!([b[1], f64::from(w) - b[0] - b[2], b[3], b[2]]);
    }
    for (file, width, height, annotations) in [("displayed.json", w, h, upright), ("stored.json", h, w, stored)] {
        let image = value!({ "id": id, "file_name": name, "width": width, "height": height });
        let dataset = value!({ "images": [image], "annotations": annotations, "categories": truth["categories"] });
        write(&folder.path().join(file), dataset.to_string());
    }
    let model = root.join("models/yolov8n_coco_dynamic.onnx");
    for dataset in ["displayed.json", "stored.json"] {
        let report = report(folder.path(), &[dataset, "-m", text(&model), "--provider", "cpu"]);
        assert!(map(&report) > 0.6, "{dataset}: {}", report["accuracy"]["map50_95"]);
        assert_eq!(report["dataset"]["findings"]["counts"], value!({}), "{dataset}");
    }
}

#[test]
fn ignored_regions_are_the_toolkits() {
    let folder = folder();
    let pictures = folder.path().join("drone/images");
    made_picture(&pictures.join("one.jpg"), "200x100", "red");
    let rows =
        "10,10,20,20,1,4,0,0\n100,0,100,100,0,0,0,0\n110,10,20,20,1,4,0,0\n60,60,20,20,0,4,0,0\n60,10,20,20,0,11,0,0\n";
    write(&folder.path().join("drone/annotations/one.txt"), rows);
    let found = |x: f64, y: f64, score: f64| value!({ "image_id": "one", "category_id": 4, "bbox": [x, y, 20, 20], "score": score });
    // Right, in the region by half, on an object that is ignored, and in the region by less than half: wrong.
    let boxes = [found(10.0, 10.0, 0.5), found(90.0, 40.0, 0.9), found(60.0, 60.0, 0.8), found(89.0, 40.0, 0.4)];
    write(&folder.path().join("p.json"), Value::from(boxes.to_vec()).to_string());
    let report = report(folder.path(), &["drone", "--predictions", "p.json"]);
    let accuracy = &report["accuracy"];
    assert_eq!(
        (accuracy["classes"][0]["objects"].as_u64(), accuracy["in_ignored_regions"].as_u64()),
        (Some(1), Some(1))
    );
    assert!((map(&report) - 1.0).abs() < 1e-9, "the wrong box is the least certain one: {accuracy}");
    assert_eq!(accuracy["confusion"]["truth_by_found"][10][3], 0, "at the best confidence it is not there");
}

#[test]
fn what_is_wrong_with_a_dataset_is_said_with_file_and_line() {
    let folder = folder();
    for (name, size, colour) in [("a", "64x48", "red"), ("same", "64x48", "red"), ("b", "32x32", "blue")] {
        made_picture(&folder.path().join(format!("d/images/{name}.jpg")), size, colour);
    }
    witness(
        "ffmpeg",
        &[
            "-i",
            text(&folder.path().join("d/images/b.jpg")),
            "-pix_fmt",
            "gray",
            "-y",
            text(&folder.path().join("d/images/grey.png")),
        ],
    );
    write(&folder.path().join("d/images/broken.jpg"), "no picture");
    write(
        &folder.path().join("d/labels/a.txt"),
        "0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2\n5 0.5 0.5 0.2 0.2\n0 0.9 0.5 0.9 0.2\n",
    );
    write(&folder.path().join("d/classes.txt"), "car\nbus\n");
    write(&folder.path().join("p.json"), "[]");
    let report = report(folder.path(), &["d", "--predictions", "p.json"]);
    let findings = &report["dataset"]["findings"];
    let counts = value!({
        "missing image": 1, "label format": 1, "unknown class": 1, "box out of range": 1, "no labels": 4, "grey image": 1
    });
    assert_eq!(findings["counts"], counts);
    let listed = findings["listed"].as_array().expect("a list");
    for (kind, place) in [
        ("label format", "d/labels/a.txt:2"),
        ("unknown class", "d/labels/a.txt:3"),
        ("box out of range", "d/labels/a.txt:4"),
    ] {
        let found = listed.iter().find(|f| f["kind"] == kind).expect("a finding");
        assert_eq!(found["place"], place);
    }
    assert_eq!(report["dataset"]["classes"][0], value!({ "class": "car", "objects": 2, "images": 1 }));

    // With the model the files' content counts as well, and what does not decode is missing.
    let output = val(folder.path(), &["d", "--map", "car=car", "-v"]);
    succeeds(&output);
    assert!(said(&output).contains("the same image as d/images/a.jpg"), "{}", said(&output));
    assert!(said(&output).contains("1 image left out"), "{}", said(&output));
}

#[test]
fn an_unusable_dataset_is_refused() {
    let folder = folder();
    let write = |name: &str, text: &str| write(&folder.path().join(name), text);
    write("list.json", "[]");
    write("cut.json", "{\"images\": [\n");
    write(
        "none.json",
        r#"{"images":[{"id":1,"file_name":"a.jpg"}],"annotations":[],"categories":[{"id":1,"name":"x"}]}"#,
    );
    write("nowhere.yaml", "val: nowhere\nnames: [a]\n");
    write("bomb.yaml", "a: &a [x, x]\nnames: [*a, *a]\n");
    write(
        "one.json",
        r#"{"images":[{"id":1,"file_name":"a.jpg","width":9,"height":9}],"annotations":[{"image_id":1,
        "category_id":1,"bbox":[0,0,5,5]}],"categories":[{"id":1,"name":"zebra"}]}"#,
    );
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    for (args, words) in [
        (vec!["missing.json"], "missing.json: No such file"),
        (vec!["list.json"], "`images`, `annotations` and `categories`"),
        (vec!["cut.json"], "cut.json:2"),
        (vec!["none.json", "--predictions", "list.json"], "no labelled object"),
        (vec!["nowhere.yaml"], "nowhere.yaml:1"),
        (vec!["nowhere.yaml", "--split", "test"], "it has: val"),
        (vec!["bomb.yaml"], "bomb.yaml:2: aliases"),
        (vec!["empty"], "images/"),
        (vec!["one.json"], "--images"),
        (vec!["one.json", "--predictions", "cut.json"], "cut.json"),
    ] {
        let output = val(folder.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{args:?}: {}", said(&output));
    }
    made_picture(&folder.path().join("a.jpg"), "64x64", "red");
    let output = val(folder.path(), &["one.json"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("--map MODEL_CLASS=DATASET_CLASS") && said(&output).contains("zebra"));
}

#[test]
fn the_page_needs_nothing_else_and_trusts_no_name() {
    let folder = folder();
    made_picture(&folder.path().join("images/x.jpg"), "320x240", "green");
    let truth = value!({
        "images": [{ "id": 1, "file_name": "x.jpg", "width": 320, "height": 240 }],
        "annotations": [
            { "image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50] },
            { "image_id": 1, "category_id": 2, "bbox": [100, 10, 50, 50] }
        ],
        "categories": [{ "id": 1, "name": "<script>alert(1)</script>" }, { "id": 2, "name": "b\u{1b}[31m" }]
    });
    write(&folder.path().join("t.json"), truth.to_string());
    let found = value!([
        { "image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50], "score": 0.9 },
        { "image_id": "x", "category_id": 2, "bbox": [200, 100, 50, 50], "score": 0.8 },
        { "image_id": 7, "category_id": 2, "bbox": [200, 100, 50, 50], "score": 0.8 }
    ]);
    write(&folder.path().join("p.json"), found.to_string());
    let output = val(folder.path(), &["t.json", "--predictions", "p.json", "-o", "out"]);
    succeeds(&output);
    assert!(!said(&output).contains('\u{1b}'), "{:?}", said(&output));
    assert!(said(&output).contains("unknown image: p.json:1"), "{}", said(&output));
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).expect("a page");
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert!(page.contains("data:image/jpeg;base64,") && page.contains("prefers-color-scheme:dark"));
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http:") && !outside.contains("https:") && !outside.contains("src="));
    for chart in ["pr_curve", "p_curve", "r_curve", "f1_curve", "confusion_matrix"] {
        let path = folder.path().join(format!("out/{chart}.svg"));
        assert!(std::fs::read_to_string(path).expect("a chart").ends_with("</svg>\n"));
    }
    assert_eq!(json(&folder.path().join("out/predictions.json")).as_array().map(Vec::len), Some(2));
}

/// A threshold in the settings is for watching.
#[test]
fn settings_of_detect_leave_the_thresholds_alone() {
    let folder = folder();
    write(&folder.path().join("c.toml"), "conf = 0.4\nmax-det = 1\nimgsz = 320\noutput = \"none\"\n");
    let output = val(folder.path(), &["--config", "c.toml", "--show-config"]);
    succeeds(&output);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |key: &str| table.lines().find(|l| l.starts_with(&format!("{key} "))).map(str::to_owned);
    assert!(value("imgsz").is_some_and(|row| row.contains("320") && row.contains("c.toml:3")), "{table}");
    assert_eq!((value("conf"), value("max-det"), value("output")), (None, None, None), "{table}");
}
