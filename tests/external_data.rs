//! Models whose weights lie in files beside them (ONNX external data), as exporters of large models write them.

mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use program::protobuf::field;
use program::{json, made_clip, said, streamdet, succeeds, text};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// A varint at the beginning of `bytes`, and what follows it.
fn varint(bytes: &[u8]) -> (usize, &[u8]) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).expect("its end") + 1;
    let value = bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7F));
    (value, &bytes[length..])
}

/// A message, with every field `number` of bytes replaced by what `change` makes of its content.
fn rewritten(mut message: &[u8], number: usize, change: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut new = Vec::new();
    while !message.is_empty() {
        let (tag, rest) = varint(message);
        let (value, rest) = varint(rest);
        assert!(matches!(tag & 7, 0 | 2), "as the package onnx writes them");
        let end = if tag & 7 == 2 { value } else { 0 };
        if tag >> 3 == number && tag & 7 == 2 {
            new.extend(change(&rest[..end]));
        } else {
            new.extend(&message[..message.len() - rest.len() + end]);
        }
        message = &rest[end..];
    }
    new
}

/// Writes `m.onnx`, whose boxes lie in a file at `location`, and returns its path and theirs as bytes.
fn external(folder: &Path, location: &str) -> (PathBuf, Vec<u8>) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/eye-f32-nchw.onnx");
    let model = std::fs::read(model).expect("a model");
    let mut boxes = Vec::new();
    let entry = |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    let mut tensor = |tensor: &[u8]| {
        let mut moved = Vec::new();
        let moved_away = rewritten(tensor, 9, &mut |raw| {
            moved = raw.to_vec();
            Vec::new()
        });
        // Twelve numbers: three boxes.
        if moved.len() != 48 {
            return field(5, tensor);
        }
        boxes = moved;
        let length = boxes.len().to_string();
        let entries = [entry("location", location), entry("offset", "0"), entry("length", &length)].concat();
        field(5, &[moved_away, entries, vec![14 << 3, 1]].concat())
    };
    let new = rewritten(&model, 7, &mut |graph| field(7, &rewritten(graph, 5, &mut tensor)));
    let path = folder.join("m.onnx");
    std::fs::write(&path, new).expect("a file");
    assert_eq!(boxes.len(), 48);
    (path, boxes)
}

fn run(folder: &Path) -> Output {
    streamdet(
        folder,
        &[
            "made.mp4",
            "-o",
            "none",
            "-m",
            "m.onnx",
            "--provider",
            "cpu",
            "--conf",
            "0.01",
            "--report",
            "r.json",
            "--json",
            "d",
            "--overwrite",
        ],
    )
}

fn inspect(folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamdet"));
    command.current_dir(folder).args(["model", "inspect", "m.onnx", "--json"]).output().expect("it starts")
}

#[test]
fn a_models_checksum_covers_the_files_that_its_weights_lie_in() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "64x64", "0.2", &[]);
    let (model, boxes) = external(folder.path(), "m.onnx.data");
    let data = folder.path().join("m.onnx.data");
    // Without it, it is named.
    let output = run(folder.path());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("external data file \"m.onnx.data\" cannot be read"), "{}", said(&output));
    let other: Vec<u8> = boxes.iter().map(|byte| byte ^ 1).collect();
    let mut sums = Vec::new();
    for content in [&boxes, &other] {
        std::fs::write(&data, content).expect("a file");
        succeeds(&run(folder.path()));
        // As `sha256sum m.onnx m.onnx.data | sha256sum` says it.
        let files = Command::new("sha256sum").args(["m.onnx", "m.onnx.data"]).current_dir(folder.path()).output();
        let expected = sha256(&files.expect("sha256sum").stdout);
        assert_eq!(json(&folder.path().join("r.json"))["model"]["sha256"], Value::from(expected.as_str()));
        sums.push(expected);
    }
    assert_ne!(sums[0], sums[1]);
    // A card that states one checksum states all.
    let own = sha256(&std::fs::read(&model).expect("it"));
    let card = format!("file = \"m.onnx\"\nsha256 = \"{own}\"\n");
    std::fs::write(folder.path().join("m.toml"), &card).expect("a card");
    let output = run(folder.path());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let remedy = format!("[[data]]\n  file = \"m.onnx.data\"\n  sha256 = \"{}\"", sha256(&other));
    assert!(said(&output).contains(&remedy), "{}", said(&output));
    let card = format!("{card}[[data]]\nfile = \"m.onnx.data\"\nsha256 = \"{}\"\n", sha256(&boxes));
    std::fs::write(folder.path().join("m.toml"), card).expect("a card");
    let output = run(folder.path());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("m.onnx.data: SHA-256 is"), "{}", said(&output));
    std::fs::write(&data, &boxes).expect("a file");
    succeeds(&run(folder.path()));
    let inspected: Value = serde_json::from_slice(&inspect(folder.path()).stdout).expect("JSON");
    assert_eq!(inspected["sha256"], Value::from(own));
    assert_eq!(inspected["data"][0]["file"], "m.onnx.data");
    assert_eq!(inspected["data"][0]["sha256"], Value::from(sha256(&boxes)));
}

#[test]
fn weights_outside_the_models_folder_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("in");
    std::fs::create_dir(&inside).expect("a folder");
    made_clip(&inside, "made.mp4", "64x64", "0.2", &[]);
    let outside = folder.path().join("w.data");
    for location in ["../w.data", text(&outside)] {
        let (_, boxes) = external(&inside, location);
        std::fs::write(&outside, boxes).expect("a file");
        for output in [run(&inside), inspect(&inside)] {
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            let names = format!("external data file {location:?} lies outside the model's folder");
            assert!(said(&output).contains(&names), "{}", said(&output));
        }
    }
}
