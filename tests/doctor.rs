//! What `streamdet doctor` says of the machine that the tests run on, where everything that a run needs is installed.

mod program;

use program::{bare, said};
use serde_json::Value;

fn doctor(args: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = bare(folder.path(), "doctor");
    let output = command.args(args).output().expect("it starts");
    (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stdout).into_owned(), said(&output))
}

#[test]
fn what_every_run_needs_is_found() {
    let (code, text, errors) = doctor(&[]);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    for line in ["H.264", "rtspsrc", "cpu             ok", "everything that a run needs is here"] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let (_, json, _) = doctor(&["--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let checks = json["checks"].as_array().expect("a list");
    let named = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!((&named("cpu")["state"], &named("cpu")["essential"]), (&"ok".into(), &true.into()));
    for check in checks.iter().filter(|check| check["state"] == "missing") {
        assert!(check["remedy"].is_string(), "what is missing has a remedy: {check}");
    }
}

#[test]
fn without_a_runtime_it_says_so_and_what_to_do() {
    let (code, text, _) = doctor(&["--onnxruntime", "/nowhere"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("ONNX Runtime    missing"), "{text}");
    assert!(text.contains("nothing runs without ONNX Runtime"), "{text}");
}

#[test]
fn cameras_are_listed_or_there_are_none() {
    let (code, json, _) = doctor(&["--cameras", "--json"]);
    assert_eq!(code, 0);
    let cameras: Value = serde_json::from_str(&json).expect("JSON");
    let (_, text, _) = doctor(&["--cameras"]);
    if cameras.as_array().expect("a list").is_empty() {
        assert!(text.starts_with("no camera"), "{text}");
    } else {
        assert!(text.starts_with("camera:0"), "{text}");
    }
}
