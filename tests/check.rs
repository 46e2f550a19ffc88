//! `streamdet check`: whether a configuration is right, before anything runs.

mod program;

use std::path::Path;
use std::process::Output;

use program::{bare, made_clip, said, succeeds};

/// `streamdet check c.toml` in `folder`, where that holds `config`.
fn check(folder: &Path, config: &str, more: &[&str]) -> Output {
    std::fs::write(folder.join("c.toml"), config).expect("a file");
    bare(folder, "check").arg("c.toml").args(more).output().expect("it starts")
}

#[track_caller]
fn refused(folder: &Path, config: &str, lines: &[&str]) {
    let output = check(folder, config, &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "what is wrong has no table");
    for line in lines {
        assert!(text.contains(&format!("error: {line}")), "{line:?} in:\n{text}");
    }
    assert_eq!(text.matches("error: ").count(), lines.len(), "{text}");
}

const CAMERAS: &str = "conf = 0.3\nclasses = [\"car\"]\n[[stream]]\nname = \"gate\"\nsource = \"rtsp://me:hunter2@192.0.2.1/1\"\n\
                       output = [\"gate-%H.mkv\", \"rtsp://:8554/gate\"]\nsegment = \"10m\"\njson = \"gate.jsonl\"\n[[stream]]\nname = \"yard\"\n\
                       source = \"test:ball\"\noutput = \"none\"\nframes = 3\n";

#[test]
fn what_is_right_is_shown_as_a_table_without_secrets_and_nothing_is_opened_or_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = check(folder.path(), CAMERAS, &[]);
    succeeds(&output);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = |name: &str| text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_default();
    assert!(text.contains("c.toml is right · visdrone-nano · 10 classes"), "{text}");
    assert!(
        row("gate").contains("rtsp://***@192.0.2.1/1")
            && row("gate").contains("gate-%H.mkv, rtsp://127.0.0.1:8554/gate, --json gate.jsonl"),
        "{text}"
    );
    assert!(row("yard").contains("test:ball") && row("yard").ends_with("none"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let files: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(files, ["c.toml"]);
}

#[test]
fn every_wrong_key_and_value_of_every_table_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "conv = 0.3\nbatch = 65\n[bench]\nrounds = 0\nround = 1\n[detekt]\n[[stream]]\nname = \"a\"\nsource = \"x.mp4\"\nsegment = \"5x\"\n\
                  model = \"m\"\n";
    refused(
        folder.path(),
        config,
        &[
            "c.toml:1: unknown key `conv`\n  the nearest is `conf`",
            "c.toml:2: batch = 65: 65 is not in 1..=64",
            "c.toml:4: rounds = 0: 0 is not in 1..=1000",
            "c.toml:5: unknown key `round`\n  the nearest is `rounds`",
            "c.toml:6: unknown table `detekt`\n  the nearest is [detect]",
            "c.toml:10: segment = 5x: give a length",
            "c.toml:11: `model` belongs to the process",
        ],
    );
    refused(folder.path(), "conf = \nhud = yes\n", &["c.toml:1: ", "c.toml:2: "]);
    refused(folder.path(), "source = [1]\n", &["c.toml:1: source is no source"]);
    let output = bare(folder.path(), "check").arg("no.toml").output().expect("it starts");
    assert!(output.status.code() == Some(2) && said(&output).starts_with("error: no.toml: No such file"));
}

#[test]
fn what_a_run_would_stumble_over_is_named_with_the_stream_and_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bad.toml"), "[[line]]\nname = 1\n").expect("a file");
    std::fs::write(folder.path().join("cert.pem"), "no certificate").expect("a file");
    let stream = |name: &str, more: &str| format!("[[stream]]\nname = \"{name}\"\nsource = \"test:ball\"\n{more}\n");
    refused(
        folder.path(),
        &stream("a", "classes = \"caar\""),
        &["c.toml:1: a: --classes caar: visdrone-nano has no such class"],
    );
    refused(folder.path(), &stream("a", "zones = \"no.toml\""), &["c.toml:1: a: "]);
    refused(folder.path(), &stream("a", "zones = \"bad.toml\""), &["c.toml:1: a: "]);
    refused(folder.path(), &stream("a", "tls-ca = \"no.pem\""), &["c.toml:1: a: --tls-ca no.pem"]);
    refused(
        folder.path(),
        &stream("a", "json = \"nowhere/a.jsonl\""),
        &["c.toml:1: a: --json nowhere/a.jsonl: no such folder"],
    );
    let both = stream("a", "json = \"a.jsonl\"") + &stream("b", "json = \"./a.jsonl\"");
    refused(folder.path(), &both, &["c.toml: --json and --json both name "]);
    let served = "output = \"rtsps://:8322/a\"\ntls-cert = \"cert.pem\"\ntls-key = \"cert.pem\"";
    refused(folder.path(), &stream("a", served), &["c.toml:1: a: --tls-cert cert.pem: "]);
    refused(
        folder.path(),
        "metrics = \"0.0.0.0:9090\"\n",
        &["c.toml: --metrics 0.0.0.0:9090: other machines reach this address"],
    );
    refused(folder.path(), "model = \"nosuch\"\n", &["c.toml: "]);
    refused(
        folder.path(),
        "[[stream]]\nname = \"a\"\nsource = \"missing.mp4\"\n",
        &["c.toml:1: a: missing.mp4: no such file"],
    );
    std::fs::create_dir(folder.path().join("two")).expect("a folder");
    for name in ["two/a.mp4", "two/b.mp4"] {
        std::fs::write(folder.path().join(name), "x").expect("a file");
    }
    refused(
        folder.path(),
        "[[stream]]\nname = \"a\"\nsource = \"two\"\n",
        &["c.toml:1: a: stream a has 2 sources, and may have one\n  write a [[stream]] for each"],
    );
}

#[test]
fn two_streams_have_no_name_on_a_server_in_common_and_no_setting_lacks_what_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let stream = |name: &str, more: &str| format!("[[stream]]\nname = \"{name}\"\nsource = \"test:ball\"\n{more}\n");
    let served = |name: &str, address: &str| stream(name, &format!("output = \"rtsp://{address}\""));
    succeeds(&check(folder.path(), &(served("a", ":8554/a") + &served("b", ":8554/b")), &[]));
    let both = "c.toml: -o rtsp://127.0.0.1:8554/a: another output has this address and name";
    refused(folder.path(), &(served("a", ":8554/a") + &served("b", ":8554/a")), &[both]);
    let other = "c.toml: -o rtsp://127.0.0.1:8554/b: another output at this address has another scheme, user, password or --max-clients";
    refused(folder.path(), &(served("a", ":8554/a") + &served("b", "me:geheim@:8554/b")), &[other]);
    refused(folder.path(), &stream("a", "keep = \"7d\""), &["c.toml:4: keep needs segment"]);
    succeeds(&check(
        folder.path(),
        &format!("keep = \"7d\"\n{}", stream("a", "segment = \"1h\"\noutput = \"a.mkv\"")),
        &[],
    ));
    let size = "output = \"a.mkv\"\nsegment = \"1h\"\nkeep-bytes = \"50GB\"";
    succeeds(&check(folder.path(), &format!("[serve]\nmax-body = \"500KB\"\n{}", stream("a", size)), &[]));
    refused(folder.path(), "[serve]\ntls-cert = \"a.pem\"\n", &["c.toml:2: tls-cert needs tls-key"]);
    refused(folder.path(), &stream("a", "encoder = \"nope\""), &["c.toml:1: a: the encoder nope is not installed"]);
    refused(folder.path(), "source = \"test:ball\"\n[detect]\nkeep = \"7d\"\n", &["c.toml:3: keep needs segment"]);
    refused(folder.path(), "target-latency = 50\n", &["c.toml:1: target-latency needs tile"]);
    refused(folder.path(), &stream("a", "json = \".\""), &["c.toml:1: a: --json .: is a directory"]);
    // `serve` has an address of its own.
    succeeds(&check(folder.path(), &format!("metrics = \"0.0.0.0:9090\"\n{}", stream("a", "")), &[]));
}

#[test]
fn of_an_output_that_exists_is_said_what_becomes_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("gate.jsonl"), "").expect("a file");
    let output = check(folder.path(), CAMERAS, &[]);
    succeeds(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("notice: gate.jsonl exists: a file with the time in its"));
    let output = check(folder.path(), &format!("overwrite = true\n{CAMERAS}"), &[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("notice: gate.jsonl exists, and is replaced"));
    made_clip(folder.path(), "made.mp4", "320x240", "0.2", &[]);
    let recorded = "source = \"made.mp4\"\noutput = \"none\"\njson = \"gate.jsonl\"\n";
    refused(folder.path(), recorded, &["c.toml: detect: output gate.jsonl exists already"]);
}

#[test]
fn probe_opens_every_source() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "0.2", &[]);
    std::fs::write(folder.path().join("text.mp4"), "this is not video\n".repeat(100)).expect("a file");
    let config = "source = [\"made.mp4\", \"test:ball\"]\noutput = \"none\"\n";
    let output = check(folder.path(), config, &["--probe"]);
    succeeds(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("2 sources"));
    let config = "[[stream]]\nname = \"a\"\nsource = \"text.mp4\"\n";
    succeeds(&check(folder.path(), config, &[]));
    let output = check(folder.path(), config, &["--probe"]);
    assert!(output.status.code() == Some(2) && said(&output).contains("error: c.toml:1: a: "), "{}", said(&output));
}

#[test]
fn what_is_published_is_shown_without_secrets_and_faults_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let stream = |more: &str| format!("[[stream]]\nname = \"gate\"\nsource = \"test:ball\"\noutput = \"none\"\n{more}");
    let output =
        check(folder.path(), &stream("publish = [\"mqtt://me:hunter2@broker/site\", \"natss://broker\"]\n"), &[]);
    succeeds(&output);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("mqtt://broker:1883/site") && text.contains("natss://broker:4222"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    for (keys, line) in [
        ("publish = \"mqtt://me:hunter2@broker:port\"\n", "c.toml:5: publish = mqtt://***@***: no host and port in it"),
        (
            "publish = \"nats://broker\"\npublish-format = \"frigate\"\n",
            "c.toml:1: gate: --publish-format frigate: its topics",
        ),
        ("publish-rate = 0\n", "c.toml:5: publish-rate = 0: give messages a second"),
    ] {
        refused(folder.path(), &stream(keys), &[line]);
    }
}
