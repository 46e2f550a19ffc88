//! Batches and sessions of live streams: what one stream waits for costs no other.

mod program;
mod rtsp;

use std::path::Path;
use std::process::Command;

use program::running::Running;
use program::{bare, counted, json, number, said, succeeds, text};
use rtsp::{Feed, Server, Told};

/// `streamdet detect` on live sources, cheap.
fn live(folder: &Path, args: &[&str]) -> Command {
    let mut command = bare(folder, "detect");
    command.args(["--imgsz", "96"]).args(args);
    command
}

#[test]
fn a_live_stream_waits_for_nobody_with_its_batches() {
    let folder = tempfile::tempdir().expect("a folder");
    let batches = ["--batch", "4", "--batch-timeout", "60000"];
    let args = [&["test:ball", "--frames", "60", "--report", "r.json"], &batches[..]].concat();
    let output = live(folder.path(), &args).output().expect("it starts");
    succeeds(&output);
    let report = json(&folder.path().join("r.json"));
    assert_eq!(counted(&report, 0).0, 60);
    // Had it waited for full batches, or a minute, there were fifteen.
    assert!(number(&report["batches"]["count"]) > 15, "{}", report["batches"]);
}

/// They are made on a thread of their own: one that never ends, and one that panics.
#[test]
fn a_stream_of_another_size_whose_sessions_are_made_stops_no_other() {
    for (variable, says) in [
        ("STREAMDET_TEST_HANG", "thread sessions did not end within"),
        ("STREAMDET_TEST_PANIC", "thread sessions panicked"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        // Once it is shown.
        let begun = folder.path().join("d.jsonl.part");
        let resize = Feed { resize: Some((30, 640, 160)), resize_once: Some(begun), ..Feed::new("/x") };
        let server = Server::start(&Told::showing([resize, Feed::new("/y")]));
        let urls = [server.url("/x"), server.url("/y")];
        let args = [&urls[0], &urls[1], "--rtsp-transport", "tcp", "--frames", "150"];
        let mut command = live(folder.path(), &[&args[..], &["--report", "r.json", "--json", "d.jsonl"]].concat());
        let output = command.env(variable, "sessions:1").output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_eq!(said(&output).matches(&format!("error: {says}")).count(), 1, "{}", said(&output));
        let report = json(&folder.path().join("r.json"));
        let [(_, resized), (received, other)] = [0, 1].map(|stream| counted(&report, stream));
        assert!(other > received / 2, "{variable}: {other} of {received} of the other stream\n{report:#}");
        let stale = number(&report["streams"][0]["frames"]["dropped"]["stale"]);
        if variable == "STREAMDET_TEST_HANG" {
            assert!(stale > 0 && resized < 150, "{resized} shown of the one without sessions\n{report:#}");
        } else {
            assert!(resized > stale, "they are made where they are needed\n{report:#}");
        }
    }
}

/// A package that is updated while it runs.
#[test]
fn a_model_that_is_replaced_ends_the_stream_that_needs_it_anew_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let [model, replaced] = ["m.onnx", "replaced"].map(|name| folder.path().join(name));
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/models/visdrone-nano.onnx"), &model).expect("a copy");
    let resize = Feed { resize: Some((1, 640, 160)), resize_once: Some(replaced.clone()), ..Feed::new("/x") };
    let server = Server::start(&Told::showing([resize, Feed::new("/y")]));
    let urls = [server.url("/x"), server.url("/y")];
    let args = [&urls[0], &urls[1], "--rtsp-transport", "tcp", "-m", text(&model), "-v", "--frames", "150"];
    let mut run = Running::start(live(folder.path(), &[&args[..], &["--report", "r.json"]].concat()));
    run.wait_for("video 1/2", 1);
    run.wait_for("video 2/2", 1);
    std::fs::remove_file(&model).expect("it is deleted");
    std::fs::write(&replaced, "now").expect("a file");
    assert_eq!(run.ended(), Some(1), "{}", run.said());
    let said = run.said();
    assert_eq!(said.matches("was changed, replaced or deleted while it was used").count(), 1, "{said}");
    let report = json(&folder.path().join("r.json"));
    let [(received, _), (other, shown)] = [0, 1].map(|stream| counted(&report, stream));
    assert!(received < 150 && other == 150 && shown > 75, "{received}, {other}, {shown}\n{said}");
}
