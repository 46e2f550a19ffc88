//! An archive whose files and outputs lie on S3 or a web server: a real server, connections that break, workers that are killed.

mod moto;
mod program;

use std::path::Path;
use std::process::{Command, Output};

use moto::{KEY_ID, Relay, SECRET, started};
use program::broker::{self, Broker, has, stored};
use program::running::Running;
use program::{bare, made_clip, probe, said, succeeds, text, witness};

/// How every worker detects.
const HOW: [&str; 6] = ["--provider", "cpu", "--imgsz", "96", "--threads", "1"];

/// `streamdet work`, with the server behind this port.
fn work(folder: &Path, port: u16, args: &[&str]) -> Command {
    let mut command = bare(folder, "work");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")).env("AWS_REGION", "eu-north-1");
    command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.env("XDG_CACHE_HOME", folder.join("cache")).args(args);
    command
}

fn output(folder: &Path, port: u16, args: &[&str]) -> Output {
    work(folder, port, args).output().expect("it starts")
}

/// The files of `list`, of which there is one list only.
fn listed(folder: &Path, port: u16, list: &[&str], more: &[&str]) -> Output {
    std::fs::write(folder.join("list"), list.join("\n")).expect("a list");
    output(folder, port, &[&["--manifest", "list"][..], &HOW, more].concat())
}

/// What a single run says of a clip.
#[track_caller]
fn single(folder: &Path, clip: &str, more: &[&str]) -> Vec<u8> {
    let args = [&[clip, "--json", "single.jsonl", "--overwrite"][..], &HOW, more].concat();
    succeeds(&bare(folder, "detect").args(args).output().expect("it starts"));
    std::fs::read(folder.join("single.jsonl")).expect("its lines")
}

/// Nothing is left in the cache but the lock of its size.
#[track_caller]
fn is_empty(folder: &Path) {
    let cache = folder.join("cache/streamdet/archive");
    let left: Vec<_> =
        std::fs::read_dir(&cache).expect("a cache").map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(left.iter().all(|name| name == "size.lock"), "{left:?}");
}

#[track_caller]
fn figures(folder: &Path, queue: &str) -> [u64; 4] {
    broker::figures(&output(folder, 1, &["status", queue, "--json"]))
}

fn queue(folder: &Path) -> (Broker, String) {
    broker::started(folder, "/archive")
}

#[test]
fn a_bucket_is_worked_on_into_another_one() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some(moto) = started(folder, &["footage", "annotated"]) else { return };
    let clip = made_clip(folder, "clip.mp4", "96x64", "0.5", &[]);
    let bytes = std::fs::read(&clip).expect("a clip");
    for key in ["2026/day 1/a+b é%41.mp4", "2026/c.MP4", "2026//odd.mp4", "2026/x/./y.mp4"] {
        moto.put("footage", key, &bytes);
    }
    // What is no video, marks a folder, or lies beside the prefix.
    for (key, bytes) in [("2026/notes.txt", &b"no media"[..]), ("2026/", b""), ("2026.mp4", &bytes)] {
        moto.put("footage", key, bytes);
    }
    let (broker, queue) = queue(folder);
    let added = output(folder, moto.port, &["add", &queue, "s3://footage/2026/", "--conf", "0.05"]);
    let words = said(&added);
    // Those that cannot be asked for are said, and the others are there.
    assert_eq!(added.status.code(), Some(2), "{words}");
    for key in ["2026//odd.mp4", "2026/x/./y.mp4"] {
        assert!(words.contains(&format!("s3://footage/{key}: a name with an empty part")), "{words}");
    }
    assert!(words.contains("2 files added") && words.contains("2 names left out"), "{words}");
    // A web server's, of which S3 is one here.
    let address = format!("http://127.0.0.1:{}/footage/2026/day%201/a%2Bb%20%C3%A9%2541.mp4", moto.port);
    succeeds(&output(folder, moto.port, &["add", &queue, &address, "--conf", "0.05"]));

    let to = ["-o", "s3://annotated/out/", "--json", "s3://annotated/out/", "--until-empty"];
    let args = [&[queue.as_str()][..], &HOW, &to].concat();
    let worked = output(folder, moto.port, &args);
    succeeds(&worked);
    assert!(said(&worked).contains("3 files done"), "{}", said(&worked));
    assert_eq!(figures(folder, &queue), [0, 0, 3, 0]);
    let expected = single(folder, "clip.mp4", &["--conf", "0.05", "-o", "single.mp4"]);
    let frames = probe(&folder.join("single.mp4"), "nb_frames");
    let host = format!("127.0.0.1:{}", moto.port);
    let names = [
        format!("out/{host}/footage/2026/day 1/a+b é%2541.mp4"),
        "out/footage/2026/c.MP4".to_owned(),
        "out/footage/2026/day 1/a+b é%2541.mp4".to_owned(),
    ];
    let mut keys: Vec<String> =
        names.iter().flat_map(|name| [format!("{name}-annotated.mp4"), format!("{name}.jsonl")]).collect();
    keys.sort();
    let mut found = moto.keys("annotated");
    found.sort();
    assert_eq!(found, keys);
    for name in &names {
        assert!(moto.get("annotated", &format!("{name}.jsonl")) == expected, "{name} is another than a single run's");
        let video = folder.join("uploaded.mp4");
        std::fs::write(&video, moto.get("annotated", &format!("{name}-annotated.mp4"))).expect("a file");
        assert_eq!(probe(&video, "nb_frames"), frames, "{name}");
    }
    is_empty(folder);

    // Added once more, they are found done.
    succeeds(&output(folder, moto.port, &["add", &queue, &address, "s3://footage/2026/c.MP4", "--conf", "0.06"]));
    let again = output(folder, moto.port, &args);
    succeeds(&again);
    assert!(said(&again).contains("0 files done · 2 there already"), "{}", said(&again));

    // The key's id goes to the server, and nothing to anybody else.
    let queued = format!("{:?}", stored(&broker, "streamdet-work-archive"));
    for text in [words, said(&worked), said(&again), queued, moto.said()] {
        assert!(!text.contains("geheim") && !text.contains(KEY_ID), "{text}");
    }
}

#[test]
fn a_prefix_of_many_pages_is_added() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some(moto) = started(folder, &["footage"]) else { return };
    for number in 0..1100 {
        moto.put("footage", &format!("many/{number:04}.mp4"), b"x");
    }
    moto.put("footage", "many//odd.mp4", b"x");
    moto.put("footage", "many/0700//odd.mp4", b"x");
    let (_broker, queue) = queue(folder);
    let added = output(folder, moto.port, &["add", &queue, "s3://footage/many/"]);
    assert!(
        said(&added).contains("1 100 files added") && said(&added).contains("2 names left out"),
        "{}",
        said(&added)
    );
    assert_eq!(figures(folder, &queue), [1100, 0, 0, 0]);
}

#[test]
fn a_download_that_breaks_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some(moto) = started(folder, &["footage"]) else { return };
    let clip = made_clip(folder, "clip.mp4", "640x360", "2", &["-qp", "10"]);
    let bytes = std::fs::read(&clip).expect("a clip");
    assert!(bytes.len() > 610_000, "{}", bytes.len());
    moto.put("footage", "clip.mp4", &bytes);
    let relay = Relay::to(moto.port);
    relay.cut("GET /footage/clip.mp4", 300_000, 2);
    let worked = listed(folder, relay.port, &["s3://footage/clip.mp4"], &["--json", "found/"]);
    succeeds(&worked);
    let expected = single(folder, "clip.mp4", &["-o", "none"]);
    assert!(std::fs::read(folder.join("found/footage/clip.mp4.jsonl")).expect("lines") == expected);
    let ranges = |heads: &[String]| {
        let heads = heads.iter().map(|head| head.to_ascii_lowercase());
        heads.filter(|head| head.contains("range: bytes=")).count()
    };
    assert_eq!(ranges(&relay.heads()), 2, "{:?}", relay.heads());
    assert!(relay.heads().iter().all(|head| !head.contains(SECRET)));
    is_empty(folder);

    // One that is another one by then is fetched anew.
    let other = made_clip(folder, "other.mp4", "640x360", "2", &["-qp", "12"]);
    relay.cut("GET /footage/clip.mp4", 300_000, 1);
    let held = relay.hold("GET /footage/clip.mp4");
    std::fs::write(folder.join("list"), "s3://footage/clip.mp4").expect("a list");
    let args = [&["--manifest", "list", "--json", "found/", "--overwrite"][..], &HOW].concat();
    let mut worker = Running::start(work(folder, relay.port, &args));
    held.wait();
    moto.put("footage", "clip.mp4", &std::fs::read(&other).expect("a clip"));
    held.release();
    worker.succeeds();
    let expected = single(folder, "other.mp4", &["-o", "none"]);
    assert!(std::fs::read(folder.join("found/footage/clip.mp4.jsonl")).expect("lines") == expected);
}

#[test]
fn what_cannot_be_fetched_or_sent_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some(moto) = started(folder, &["footage", "annotated"]) else { return };
    let clip = made_clip(folder, "clip.mp4", "96x64", "0.5", &[]);
    let bytes = std::fs::read(&clip).expect("a clip");
    moto.put("footage", "clip.mp4", &bytes);
    let missing = format!("http://127.0.0.1:{}/footage/nowhere.mp4", moto.port);
    let json = ["--json", "found/"];
    for (list, more, words) in [
        (&["s3://footage/nowhere.mp4"][..], &json[..], "no such object (404 NoSuchKey)"),
        (&[&missing], &json, "no such object (404 NoSuchKey)"),
        (&["s3://footage/clip.mp4"], &["--json", "found/", "--cache-size", "2KB"], "give a larger --cache-size"),
        (&["s3://elsewhere/clip.mp4"], &json, "NoSuchBucket"),
        (&["s3://footage/"], &json, "all files below it, and one is needed here"),
        (&["s3://footage/../clip.mp4"], &json, "cannot be asked for"),
        (&["https://u:geheim@h/clip.mp4"], &json, "hold no secrets"),
        (&["https://h/clip.mp4?X-Amz-Signature=geheim"], &json, "hold no secrets"),
        (&["s3://footage/clip.mp4"], &[], "nothing would be written of it"),
        (&["s3://footage/clip.mp4"], &["--json", "s3://nowhere/"], "NoSuchBucket"),
    ] {
        let failed = listed(folder, moto.port, list, more);
        assert_eq!(failed.status.code(), Some(1), "{list:?} {more:?}: {}", said(&failed));
        assert!(
            said(&failed).contains(words) && !said(&failed).contains("geheim"),
            "{list:?} {more:?}: {}",
            said(&failed)
        );
    }
    assert!(
        !folder.join("found/footage").exists()
            || std::fs::read_dir(folder.join("found/footage")).expect("a folder").next().is_none()
    );
    is_empty(folder);
    // A store that is not there is the machine's fault.
    let away = listed(folder, program::free_port(), &["s3://footage/clip.mp4"; 4], &json);
    assert_eq!(away.status.code(), Some(1), "{}", said(&away));
    assert!(said(&away).contains("3 files in a row: the store does not answer"), "{}", said(&away));

    for (args, words) in [
        (&["-o", "https://h/out/"][..], "a web server takes no outputs"),
        (&["--json", "http://h/{name}"], "a web server takes no outputs"),
        (&["--crops", "s3://annotated/"], "many small files are written into a folder"),
        (&["--json", "s3://annotated/all.jsonl"], "one name for every file"),
        (&["--json", "s3://u:geheim@annotated/"], "hold no secrets"),
    ] {
        let refused = listed(folder, moto.port, &["s3://footage/clip.mp4"], args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", said(&refused));
        assert!(said(&refused).contains(words) && !said(&refused).contains("geheim"), "{args:?}: {}", said(&refused));
    }

    // Somebody else's is not replaced, though it comes while ours is sent.
    let relay = Relay::to(moto.port);
    let key = "footage/clip.mp4.jsonl";
    let held = relay.hold("PUT /annotated/");
    std::fs::write(folder.join("list"), "s3://footage/clip.mp4").expect("a list");
    let args = [&["--manifest", "list", "--json", "s3://annotated/"][..], &HOW].concat();
    let mut worker = Running::start(work(folder, relay.port, &args));
    held.wait();
    moto.put("annotated", key, b"theirs");
    held.release();
    assert_eq!(worker.ended(), Some(1), "{}", worker.said());
    assert!(worker.said().contains("s3://annotated/footage/clip.mp4.jsonl exists already"), "{}", worker.said());
    assert_eq!(moto.get("annotated", key), b"theirs");
    let replaced = listed(folder, moto.port, &["s3://footage/clip.mp4"], &["--json", "s3://annotated/", "--overwrite"]);
    succeeds(&replaced);
    assert!(moto.get("annotated", key) == single(folder, "clip.mp4", &["-o", "none"]));
}

/// Decoded frames, by their checksums.
#[track_caller]
fn pictures(file: &Path) -> String {
    witness("ffmpeg", &["-i", text(file), "-map", "0:v", "-f", "framemd5", "-"])
}

#[test]
fn a_worker_that_is_killed_while_it_sends_leaves_one_whole_set() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some(moto) = started(folder, &["footage", "annotated"]) else { return };
    // Of noise, annotated video is large: it is sent in parts.
    let clip = folder.join("noise.mkv");
    let noise = "nullsrc=size=640x480:rate=25,noise=alls=100:allf=t";
    let args =
        ["-f", "lavfi", "-i", noise, "-t", "3", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "12", text(&clip)];
    witness("ffmpeg", &args);
    moto.put("footage", "noise.mkv", &std::fs::read(&clip).expect("a clip"));
    let relay = Relay::to(moto.port);
    let (_broker, queue) = queue(folder);
    succeeds(&output(folder, moto.port, &["add", &queue, "s3://footage/noise.mkv", "--lease", "1s"]));
    let to = ["-o", "s3://annotated/", "--json", "s3://annotated/", "--crf", "10", "--until-empty"];
    let args = [&[queue.as_str()][..], &HOW, &to].concat();
    // In the midst of the video; when that is whole, and the lines are not.
    for words in ["partNumber=2&", "PUT /annotated/footage/noise.mkv.jsonl"] {
        let held = relay.hold(words);
        let worker = Running::start(work(folder, relay.port, &args));
        held.wait();
        if words.starts_with("part") {
            assert!(moto.keys("annotated").is_empty() && moto.has_uploads("annotated"));
        } else {
            assert_eq!(moto.keys("annotated"), ["footage/noise.mkv-annotated.mkv"]);
        }
        drop(worker);
        // What was on its way then is lost.
        drop(held);
    }
    succeeds(&output(folder, relay.port, &args));
    assert_eq!(figures(folder, &queue), [0, 0, 1, 0]);
    let mut keys = moto.keys("annotated");
    keys.sort();
    assert_eq!(keys, ["footage/noise.mkv-annotated.mkv", "footage/noise.mkv.jsonl"]);
    assert!(!moto.has_uploads("annotated"));
    is_empty(folder);
    let expected = single(folder, "noise.mkv", &["-o", "single.mkv", "--crf", "10"]);
    assert!(moto.get("annotated", "footage/noise.mkv.jsonl") == expected);
    let uploaded = folder.join("uploaded.mkv");
    std::fs::write(&uploaded, moto.get("annotated", "footage/noise.mkv-annotated.mkv")).expect("a file");
    assert!(uploaded.metadata().expect("a file").len() > 16 << 20, "it was sent in parts");
    assert!(pictures(&uploaded) == pictures(&folder.join("single.mkv")));
}

#[test]
fn a_worker_that_is_stopped_while_it_fetches_gives_its_file_back() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some(moto) = started(folder, &["footage"]) else { return };
    moto.put("footage", "clip.mp4", b"x");
    let relay = Relay::to(moto.port);
    let (_broker, queue) = queue(folder);
    succeeds(&output(folder, moto.port, &["add", &queue, "s3://footage/clip.mp4", "--lease", "1h"]));
    let held = relay.hold("GET /footage/clip.mp4");
    let mut worker =
        Running::start(work(folder, relay.port, &[&[queue.as_str(), "--json", "found/"][..], &HOW].concat()));
    held.wait();
    assert_eq!(figures(folder, &queue), [0, 1, 0, 0]);
    worker.signal("TERM");
    let said = worker.succeeds();
    assert!(said.contains("1 left to others"), "{said}");
    is_empty(folder);
    // Given back: the next one has it, to which it is no video.
    let args = [&[queue.as_str(), "--json", "found/", "--until-empty"][..], &HOW].concat();
    succeeds(&output(folder, moto.port, &args));
    assert_eq!(figures(folder, &queue), [0, 0, 0, 1]);
    held.release();
}

/// What is not fetched fits into the cache only with what others have there.
#[test]
fn two_workers_share_a_cache_that_has_room_for_one_file() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some(moto) = started(folder, &["footage"]) else { return };
    let clip = made_clip(folder, "clip.mp4", "96x64", "0.5", &[]);
    let bytes = std::fs::read(&clip).expect("a clip");
    for name in ["a", "b", "c", "d"] {
        moto.put("footage", &format!("{name}.mp4"), &bytes);
    }
    let (_broker, queue) = queue(folder);
    succeeds(&output(folder, moto.port, &["add", &queue, "s3://footage/"]));
    let size = format!("{}KB", bytes.len() * 3 / 2000);
    let args = [&[queue.as_str(), "--json", "found/", "--until-empty", "--cache-size", &size][..], &HOW].concat();
    let mut workers = [(); 2].map(|()| Running::start(work(folder, moto.port, &args)));
    for worker in &mut workers {
        worker.succeeds();
    }
    assert_eq!(figures(folder, &queue), [0, 0, 4, 0]);
    is_empty(folder);
}
