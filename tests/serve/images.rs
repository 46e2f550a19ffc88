//! `POST /v1/detect`: what is given for an image, and for what is none.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::client::{Answer, send};
use crate::fixture::{converted, sample, shared};

#[track_caller]
fn detect(query: &str, headers: &[&str], body: &[u8]) -> Answer {
    send(shared(), &format!("POST /v1/detect{query}"), headers, body)
}

fn count(line: &Value) -> usize {
    line["detections"].as_array().expect("a list").len()
}

/// What `streamdet detect` makes of the sample.
fn by_the_command(folder: &Path, options: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamdet"));
    command.args(["detect", concat!(env!("CARGO_MANIFEST_DIR"), "/models/visdrone-nano.jpg"), "--provider", "cpu"]);
    command.args(["--json", "d.jsonl", "-o", "out.jpg", "--overwrite"]).args(options).current_dir(folder);
    command.env("XDG_CONFIG_HOME", folder);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(folder.join("d.jsonl")).expect("lines");
    serde_json::from_str(text.lines().next().expect("a line")).expect("JSON")
}

#[test]
fn an_image_gives_the_line_and_the_image_that_detect_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut expected = by_the_command(folder.path(), &[]);
    let answer = detect("", &["Content-Type: image/jpeg"], &sample());
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.text());
    let line = answer.json();
    assert!(count(&line) > 5 && line["schema"] == 1 && line["stream"] == 0 && line["frame"] == 0, "{line}");
    expected.as_object_mut().expect("an object").remove("file");
    assert_eq!(line, expected);
    let annotated = detect("", &["Content-Type: image/jpeg", "Accept: image/jpeg"], &sample());
    assert_eq!((annotated.status, annotated.header("content-type")), (200, Some("image/jpeg")));
    assert!(annotated.body == std::fs::read(folder.path().join("out.jpg")).expect("an image"), "the same image");
    let png = detect("", &["Accept: image/png;q=0.9, image/jpeg;q=0.1"], &sample());
    assert_eq!((png.status, png.header("content-type")), (200, Some("image/png")));
    assert!(png.body.starts_with(b"\x89PNG"));
    let tiled =
        by_the_command(folder.path(), &["--tile", "2x2", "--conf", "0.4", "--classes", "car", "--imgsz", "320"]);
    let answer = detect("?tile=2x2&conf=0.4&classes=car&imgsz=320", &[], &sample());
    assert_eq!(answer.json()["detections"], tiled["detections"]);
}

#[test]
fn every_kind_of_image_is_taken_whatever_it_is_called() {
    let expected = detect("", &[], &sample()).json();
    for (ending, kind) in [
        ("png", "image/png"),
        ("bmp", "image/bmp"),
        ("tiff", "image/tiff"),
        ("webp", "image/webp"),
        ("png", "application/octet-stream"),
        ("png", "image/jpeg"),
    ] {
        let options: &[&str] = if ending == "webp" { &["-quality", "95"] } else { &[] };
        let answer = detect("", &[&format!("Content-Type: {kind}")], &converted(ending, options));
        assert_eq!(answer.status, 200, "{ending}: {}", answer.text());
        let line = answer.json();
        assert_eq!((&line["width"], &line["height"]), (&expected["width"], &expected["height"]), "{ending}");
        assert!(count(&line).abs_diff(count(&expected)) <= count(&expected) / 3, "{ending}: {line}");
    }
}

#[test]
fn a_form_s_file_is_taken_as_a_browser_or_curl_sends_it() {
    let expected = detect("", &[], &sample()).json();
    let form = |parts: &[(&str, &[u8])]| {
        let mut body = Vec::new();
        for (disposition, data) in parts {
            body.extend(format!("--edge\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").as_bytes());
            body.extend(*data);
            body.extend(b"\r\n");
        }
        body.extend(b"--edge--\r\n");
        detect("", &["Content-Type: multipart/form-data; boundary=edge"], &body)
    };
    let image = sample();
    let answer = form(&[("name=\"file\"; filename=\"a.jpg\"", &image)]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), expected);
    let file = ("name=\"file\"; filename=\"a.jpg\"", image.as_slice());
    assert!(form(&[file, file]).problem(400).contains("several files"));
    assert!(form(&[("name=\"conf\"", b"0.5")]).problem(400).contains("\"conf\" is no file"));
    assert!(form(&[]).problem(400).contains("no file"));
    let cut = b"--edge\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nabc";
    detect("", &["Content-Type: multipart/form-data; boundary=edge"], cut).problem(400);
    detect("", &["Content-Type: multipart/form-data"], cut).problem(400);
}

#[test]
fn parameters_are_those_of_the_command_line() {
    let all = count(&detect("", &[], &sample()).json());
    let with = |query: &str| detect(query, &[], &sample());
    assert!(count(&with("?conf=0.5").json()) < all);
    assert!(count(&with("?conf=0.05").json()) > all);
    assert_eq!(count(&with("?max_det=2").json()), 2);
    let cars = with("?classes=car").json();
    let classes: Vec<&Value> = cars["detections"].as_array().expect("a list").iter().map(|d| &d["class"]).collect();
    assert!(!classes.is_empty() && classes.iter().all(|class| **class == json!("car")), "{classes:?}");
    let id = cars["detections"][0]["class_id"].as_u64().expect("an id");
    assert_eq!(with(&format!("?classes={id}")).json(), cars);
    for (query, words) in [
        ("?conf=2", "conf=2: give a number from 0 to 1"),
        ("?conf=nan", "conf=nan"),
        ("?iou=-0.1", "iou=-0.1"),
        ("?classes=cra", "the nearest is \"car\""),
        ("?classes=", "no such class"),
        ("?classes=99", "no such class"),
        ("?max_det=0", "from 1 to 10000"),
        ("?imgsz=9000", "from 32 to 2048"),
        ("?imgsz=axb", "from 32 to 2048"),
        ("?tile=9x9", "up to 8 a side"),
        ("?colour=red", "colour"),
    ] {
        let said = with(query).problem(400);
        assert!(said.contains(words), "{query}: {said}");
    }
    let said = with("?tile=8x8&imgsz=2048").problem(422);
    assert!(said.contains("65 views of 2048x2048"), "{said}");
}

#[test]
fn what_is_no_image_is_named() {
    for (body, status, words) in [
        (&b"GIF89a...."[..], 415, "this is GIF"),
        (b"hello", 415, "text that begins with \"hello\""),
        (b"", 415, "this is nothing"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", 422, "does not decode"),
    ] {
        let said = detect("", &[], body).problem(status);
        assert!(said.contains(words), "{said}");
    }
    let said = detect("", &["Content-Type: application/json"], b"{}").problem(415);
    assert!(said.contains("application/json is no image"), "{said}");
    assert!(detect("", &["Accept: text/html"], &sample()).problem(406).contains("image/png"));
    send(shared(), "GET /v1/detect", &[], b"").problem(405);
}

#[test]
fn a_compressed_image_is_taken() {
    let bmp = converted("bmp", &[]);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.bmp"), &bmp).expect("a file");
    let gzip = Command::new("gzip").args(["-c", "a.bmp"]).current_dir(folder.path()).output().expect("gzip").stdout;
    let answer = detect("", &["Content-Encoding: gzip"], &gzip);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), detect("", &[], &bmp).json());
}
