//! `streamdet model list` and `inspect`, as a user runs them.

mod program;

use std::path::Path;
use std::process::{Command, Output};

use program::protobuf::field;
use program::{said, shared, succeeds, text};
use serde_json::Value;

fn model(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamdet"));
    command.current_dir(folder).arg("model").args(args).output().expect("it starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_list_shows_what_is_known_and_what_is_here() {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    std::fs::create_dir(&models).expect("a folder");
    std::fs::write(models.join("mine.onnx"), "12345").expect("a file");
    std::fs::write(models.join("mine.toml"), "file = \"mine.onnx\"\nlicence = \"MIT\"\nclasses = [\"a\"]\n")
        .expect("a card");
    std::fs::write(models.join("bare.onnx"), "123").expect("a file");
    let output = model(folder.path(), &["list"]);
    succeeds(&output);
    let table = out(&output);
    let row = |name: &str| table.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name).to_owned();
    assert!(row("visdrone-nano").ends_with("built in"), "{table}");
    assert!(row("yolox-s").contains("Apache-2.0"), "{table}");
    for (name, size) in [("mine", "5 B"), ("bare", "3 B")] {
        assert!(row(name).contains(size) && row(name).ends_with("models/"), "{table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let list = json(&model(folder.path(), &["list", "--json"]));
    let find = |name: &str| list.as_array().expect("a list").iter().find(|m| m["name"] == name).expect(name);
    assert_eq!((&find("mine")["place"], &find("mine")["path"]), (&"here".into(), &"models/mine.onnx".into()));
    assert_eq!((&find("mine")["classes"], &find("bare")["layout"]), (&1.into(), &Value::Null));
    assert_eq!(find("yolox-s")["classes"], 80);
    assert!(find("yolov8n")["obtain"].as_str().is_some_and(|command| command.contains("yolo export")));

    // A card in the current folder stands in for none that is known.
    let foreign = "file = \"x.onnx\"\nlicence = \"MIT\"\nclasses = [\"a\"]\nurl = \"https://example.com/x.onnx\"\n";
    std::fs::write(models.join("yolov8n.toml"), foreign).expect("a card");
    let inspected = out(&model(folder.path(), &["list"]));
    let row = inspected.lines().find(|line| line.starts_with("yolov8n ")).expect("a row");
    assert!(row.contains("AGPL-3.0"), "{row}");

    // One card that is wrong does not hide the others.
    std::fs::write(models.join("wrong.toml"), "fiel = \"x\"\n").expect("a card");
    let output = model(folder.path(), &["list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(out(&output).contains("mine") && said(&output).contains("wrong.toml"), "{}", said(&output));
}

#[test]
fn the_built_in_model_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = model(folder.path(), &["inspect", "visdrone-nano"]);
    succeeds(&output);
    let shown = out(&output);
    for part in [
        "images f32",
        "output0 f32",
        "yolov8: its card says so",
        "RGB, values from 0 to 1",
        "10: pedestrian",
        "built in",
    ] {
        assert!(shown.contains(part), "{part:?} is not in: {shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let shown = json(&model(folder.path(), &["inspect", "visdrone-nano", "--json"]));
    assert_eq!((&shown["recognised"], &shown["layout"]["name"]), (&true.into(), &"yolov8".into()));
    assert_eq!(shown["classes"].as_array().expect("classes").len(), 10);
    assert_eq!((&shown["input"]["value_max"], &shown["input"]["order"]), (&1.0.into(), &"rgb".into()));
    assert_eq!(shown["metadata"]["stride"], "32");
}

#[test]
fn a_starter_card_is_written_and_believed() {
    let Some(shared) = shared() else { return };
    for name in ["yolov8n_coco_dynamic", "yolo11n_coco_320_int8", "yolox_nano_coco_416"] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = format!("{name}.onnx");
        std::os::unix::fs::symlink(shared.join("models").join(&file), folder.path().join(&file)).expect("a link");
        let bare = json(&model(folder.path(), &["inspect", &file, "--json"]));
        let output = model(folder.path(), &["inspect", &file, "--card"]);
        succeeds(&output);
        assert!(said(&output).contains(&format!("{name}.toml")), "{}", said(&output));
        let mut with_card = json(&model(folder.path(), &["inspect", &file, "--json"]));
        assert_eq!(with_card["layout"]["reason"], "its card says so");
        assert_eq!(with_card["card"], format!("{name}.toml"));
        with_card["layout"]["reason"] = bare["layout"]["reason"].clone();
        with_card["card"] = bare["card"].clone();
        assert_eq!(with_card, bare);
        let again = model(folder.path(), &["inspect", &file, "--card"]);
        assert_eq!(again.status.code(), Some(2));
        assert!(said(&again).contains("--overwrite"), "{}", said(&again));
        succeeds(&model(folder.path(), &["inspect", &file, "--card", "--overwrite"]));
        let printed = model(folder.path(), &["inspect", &file, "--card", "-"]);
        let written = std::fs::read_to_string(folder.path().join(format!("{name}.toml"))).expect("the card");
        assert_eq!(out(&printed), written);
        assert!(written.contains(&format!("sha256 = {}", bare["sha256"])));
    }
}

#[test]
fn what_is_not_recognised_is_shown_all_the_same() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = shared.join("models/visdrone-nano.onnx");
    let link = folder.path().join("other.onnx");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    // A card that is wrong in every way that a card can be: the file is shown, and what to mend is said.
    for (card, problem) in [
        ("layout = \"?\"", "fill in"),
        ("sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"", "SHA-256"),
        ("what = 1", "unknown field"),
    ] {
        std::fs::write(folder.path().join("other.toml"), format!("file = \"other.onnx\"\n{card}\n")).expect("a card");
        let output = model(folder.path(), &["inspect", text(&link)]);
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(problem), "{}", said(&output));
        for part in ["images f32", "output0 f32", "not recognised", "stride = 32"] {
            assert!(out(&output).contains(part), "{part:?} is not in: {}", out(&output));
        }
        let shown = json(&model(folder.path(), &["inspect", text(&link), "--json"]));
        assert_eq!(shown["recognised"], false);
        assert!(shown["problem"].as_str().is_some_and(|p| p.contains(problem)), "{shown}");
    }
    std::fs::write(folder.path().join("noise.onnx"), [7; 100]).expect("a file");
    let output = model(folder.path(), &["inspect", "noise.onnx"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("noise.onnx is not a model"), "{}", said(&output));
    let output = model(folder.path(), &["inspect", "yolox-q"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("the nearest is yolox-"), "{}", said(&output));
}

/// An ONNX file (onnx.proto, version 8) that gives back its input, f32 `[1,3,32,32]`, under the name `output`.
fn onnx(input: &str, output: &str, metadata: &[(&str, &str)]) -> Vec<u8> {
    let dims: Vec<u8> = [1, 3, 32, 32].iter().flat_map(|&n| field(1, &[1 << 3, n])).collect();
    let tensor = field(1, &[vec![1 << 3, 1], field(2, &dims)].concat());
    let value = |name: &str| [field(1, name.as_bytes()), field(2, &tensor)].concat();
    let node = [field(1, input.as_bytes()), field(2, output.as_bytes()), field(4, b"Identity")].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value(input)), field(12, &value(output))].concat();
    let mut model = [vec![1 << 3, 8], field(7, &graph), field(8, &[2 << 3, 13])].concat();
    for (key, value) in metadata {
        model.extend(field(14, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
    }
    model
}

#[test]
fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let many = format!("{{{}}}", (0..50_000).map(|i| format!("{i}: 'x'")).collect::<Vec<_>>().join(", "));
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\n\r\u{9b}31m";
    let long = "y".repeat(100_000);
    let metadata = [(hostile, hostile), ("names", &many), ("stride", "-1"), ("long", &long), ("license", hostile)];
    std::fs::write(folder.path().join("h.onnx"), onnx(&format!("in{hostile}"), &format!("out{hostile}"), &metadata))
        .expect("a file");
    let output = model(folder.path(), &["inspect", "h.onnx"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    for text in [out(&output), said(&output)] {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.len() < 5000, "{}", text.len());
    }
    assert!(out(&output).contains("out?]0;owned??[2J"), "{}", out(&output));
    assert!(out(&output).contains("(100000 characters)"));
    let shown = json(&model(folder.path(), &["inspect", "h.onnx", "--json"]));
    assert_eq!((&shown["metadata"][hostile], &shown["recognised"]), (&hostile.into(), &false.into()));
    let card = model(folder.path(), &["inspect", "h.onnx", "--card", "-"]);
    assert!(out(&card).chars().all(|c| c == '\n' || !c.is_control()));
    assert!(out(&card).parse::<toml::Table>().is_ok(), "{}", out(&card));
}
