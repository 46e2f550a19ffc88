//! An archive that several workers share: a real nats-server, which is killed, as the workers are.

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use program::broker::{self, Broker, has};
use program::events;
use program::running::Running;
use program::{bare, made_clip, said, succeeds, text};
use serde_json::Value;

/// `streamdet work` with its arguments.
fn work(folder: &Path, args: &[&str]) -> Command {
    let mut command = bare(folder, "work");
    command.args(args);
    command
}

fn output(folder: &Path, args: &[&str]) -> Output {
    work(folder, args).output().expect("it starts")
}

/// How every worker detects, and where it writes.
const HOW: [&str; 10] = ["--provider", "cpu", "--imgsz", "96", "-o", "none", "--json", "found/", "--threads", "1"];

/// A server, and a queue on it that is not there yet.
fn started(folder: &Path) -> (Broker, String) {
    broker::started(folder, "/archive")
}

/// What `streamdet work status --json` says.
#[track_caller]
fn status(folder: &Path, queue: &str) -> Value {
    let output = output(folder, &["status", queue, "--json"]);
    succeeds(&output);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Waiting, running, done, failed.
#[track_caller]
fn figures(folder: &Path, queue: &str) -> [u64; 4] {
    broker::figures(&output(folder, &["status", queue, "--json"]))
}

/// All files below a folder, by their names from there.
fn below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it lies below").to_owned();
                found.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// An archive of `clips` small clips, of which those of two folders have the same names, and of two broken files.
fn archive(folder: &Path, clips: usize) -> Vec<PathBuf> {
    let clip = made_clip(folder, "clip.mp4", "96x64", "0.5", &[]);
    // Of the same name as another but for its ending.
    let twin = folder.join("archive/day1/DJI_0000.mp4");
    std::fs::create_dir_all(twin.parent().expect("a folder")).expect("a folder");
    std::fs::copy(&clip, &twin).expect("a clip");
    let mut files = vec![twin];
    for day in ["day1", "day2"] {
        let day = folder.join("archive").join(day);
        std::fs::create_dir_all(&day).expect("a folder");
        for number in 0..clips / 2 {
            let file = day.join(format!("DJI_{number:04}.MP4"));
            std::fs::copy(&clip, &file).expect("a clip");
            files.push(file);
        }
    }
    std::fs::write(folder.join("archive/day1/broken.mp4"), "no video").expect("a file");
    std::fs::write(folder.join("archive/day2/empty.mkv"), "").expect("a file");
    std::fs::write(folder.join("archive/notes.txt"), "no media").expect("a file");
    files
}

/// What a single run says of the clip: what every file's output must be.
#[track_caller]
fn single(folder: &Path, more: &[&str]) -> Vec<u8> {
    let args = [
        "clip.mp4",
        "-o",
        "none",
        "--json",
        "single.jsonl",
        "--overwrite",
        "--provider",
        "cpu",
        "--imgsz",
        "96",
        "--threads",
        "1",
    ];
    succeeds(&bare(folder, "detect").args(args).args(more).output().expect("it starts"));
    std::fs::read(folder.join("single.jsonl")).expect("its lines")
}

/// Where the lines of a file of the archive are.
fn lines_of(folder: &Path, file: &Path) -> PathBuf {
    folder.join("found").join(format!("{}.jsonl", text(file).trim_start_matches('/')))
}

/// Every file of the archive has one whole output, equal to a single run's, and nothing else is there.
#[track_caller]
fn is_whole(folder: &Path, files: &[PathBuf], more: &[&str]) {
    let expected = single(folder, more);
    assert!(!expected.is_empty());
    for file in files {
        let lines = lines_of(folder, file);
        let found = std::fs::read(&lines).unwrap_or_else(|e| panic!("{}: {e}", lines.display()));
        assert!(found == expected, "{} is another than a single run's", lines.display());
    }
    let found: Vec<PathBuf> = below(&folder.join("found")).into_keys().collect();
    assert_eq!(found.len(), files.len(), "{found:?}");
}

#[test]
fn every_file_is_done_once_while_workers_and_the_server_are_killed() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let files = archive(folder, 24);
    let (mut broker, queue) = started(folder);
    let added = output(folder, &["add", &queue, "archive", "--lease", "2s", "--conf", "0.05"]);
    succeeds(&added);
    assert!(said(&added).contains("27 files added"), "{}", said(&added));
    // Those that were added are not added twice.
    let again = output(folder, &["add", &queue, "archive", "--conf", "0.05"]);
    assert!(said(&again).contains("0 files added") && said(&again).contains("27 had been added"), "{}", said(&again));
    assert_eq!(figures(folder, &queue), [27, 0, 0, 0]);

    let start = || Running::start(work(folder, &[&[queue.as_str(), "--until-empty"][..], &HOW].concat()));
    let mut workers: Vec<Running> = (0..2).map(|_| start()).collect();
    // At three points: one worker is killed and another starts; the server, too.
    for done in [3, 8, 14] {
        events::state(
            || format!("{done} files are done"),
            || (below(&folder.join("found")).len() >= done).then_some(()),
        );
        drop(workers.remove(0));
        if done == 8 {
            broker.kill();
            broker.start();
        }
        workers.push(start());
    }
    for worker in &mut workers {
        worker.succeeds();
    }
    is_whole(folder, &files, &["--conf", "0.05"]);

    assert_eq!(figures(folder, &queue), [0, 0, 25, 2]);
    let status = status(folder, &queue);
    let failures = status["failures"].as_array().expect("a list");
    let mut names: Vec<&str> = failures.iter().map(|f| f["item"]["source"].as_str().expect("a name")).collect();
    names.sort_unstable();
    let planted = ["archive/day1/broken.mp4", "archive/day2/empty.mkv"].map(|name| folder.join(name));
    assert_eq!(names, planted.iter().map(|path| text(path)).collect::<Vec<_>>());
    assert!(failures.iter().all(|failure| failure["exit_code"] == 2), "{failures:?}");
    assert!(failures.iter().all(|failure| failure["item"]["options"]["conf"] == 0.05), "{failures:?}");

    // Mended and put in again, one of them is done.
    std::fs::copy(folder.join("clip.mp4"), &planted[0]).expect("a clip");
    let retried = output(folder, &["retry", &queue]);
    assert!(said(&retried).contains("2 files in the queue again"), "{}", said(&retried));
    start().succeeds();
    assert_eq!(figures(folder, &queue), [0, 0, 26, 1]);
    let shown = said(&output(folder, &["status", &queue]));
    assert!(
        shown.contains("26 of 27 files done · 1 failed") && shown.contains("empty.mkv (1 attempt, exit code 2): "),
        "{shown}"
    );
}

/// A file that a worker has in hand is given back when it is told to stop, and nothing of it is left.
#[test]
fn a_worker_that_is_stopped_gives_its_file_back() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let clip = made_clip(folder, "long.mp4", "320x240", "60", &[]);
    let (_broker, queue) = started(folder);
    succeeds(&output(folder, &["add", &queue, text(&clip), "--lease", "1s"]));
    let args = [queue.as_str(), "--provider", "cpu", "--threads", "1", "-o", "out/", "--json", "out/"];
    let mut worker = Running::start(work(folder, &args));
    let scratch = || below(&folder.join("out")).keys().any(|name| text(name).contains(".streamdet-"));
    events::state(|| "it writes".into(), || scratch().then_some(()));
    // Held beyond its lease: renewed.
    events::state(
        || "frames".into(),
        || {
            below(&folder.join("out"))
                .iter()
                .any(|(name, bytes)| text(name).contains(".jsonl") && bytes.len() > 20_000)
                .then_some(())
        },
    );
    assert_eq!(figures(folder, &queue), [0, 1, 0, 0]);
    worker.signal("TERM");
    let said = worker.succeeds();
    assert!(said.contains("1 left to others"), "{said}");
    assert_eq!(below(&folder.join("out")).len(), 0, "nothing half is left");
}

#[test]
fn shares_of_a_list_make_the_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let files = archive(folder, 8);
    let broken = folder.join("archive/day1/broken.mp4");
    let names: Vec<&str> = [&broken].into_iter().chain(&files).map(|path| text(path)).collect();
    std::fs::write(folder.join("list"), names.join("\n")).expect("a list");
    let share = |set: &[(&str, &str)], more: &[&str]| {
        let args = [&["--manifest", "list"][..], &HOW, more].concat();
        work(folder, &args).envs(set.iter().copied()).output().expect("it starts")
    };
    // The first is the broken one.
    let first = share(&[("JOB_COMPLETION_INDEX", "0")], &["--shard", "2"]);
    assert_eq!(first.status.code(), Some(1), "{}", said(&first));
    assert!(
        said(&first).contains("4 files done · 1 failed") && said(&first).contains("broken.mp4"),
        "{}",
        said(&first)
    );
    let array = [("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_COUNT", "2"), ("SLURM_ARRAY_TASK_MIN", "0")];
    succeeds(&share(&array, &[]));
    is_whole(folder, &files, &[]);
    // Nothing goes onto a source, nor onto what is somebody else's.
    let before = std::fs::read(&files[0]).expect("a clip");
    let onto = share(&[], &["--shard", "0/1", "--json", "/{dir}/{name}", "--overwrite"]);
    assert!(said(&onto).contains("--json and a source both name") && onto.status.code() == Some(1), "{}", said(&onto));
    assert!(std::fs::read(&files[0]).expect("a clip") == before);
    let theirs = share(&[], &["--shard", "0/1", "--mot-output", "found/", "--track"]);
    assert!(said(&theirs).contains("exists already, and"), "{}", said(&theirs));
    is_whole(folder, &files, &[]);
    // A task that is put into the queue again does nothing twice.
    let again = share(&[], &["--shard", "1/2"]);
    succeeds(&again);
    assert!(said(&again).contains("0 files done · 5 there already"), "{}", said(&again));
    let again = share(&[], &["--shard", "1/2", "--overwrite"]);
    assert!(said(&again).contains("5 files done"), "{}", said(&again));
    is_whole(folder, &files, &[]);
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    archive(folder, 2);
    let nobody = "nats://me:secret@127.0.0.1:1/archive";
    for (args, words) in [
        (&["nats://h"][..], "give the queue a name"),
        (&["mqtt://h/a"], "nats://HOST:PORT/QUEUE"),
        (&[nobody], "127.0.0.1:1/archive"),
        (&["status", nobody], "is nats-server running there"),
        (&["add", nobody, "archive", "--json", "all.jsonl"], "one name for every file"),
        (&["add", nobody, "archive", "-m", "yolov8n"], "--model: files of all kinds share a worker's process"),
        (&["add", nobody, "archive", "--publish", "mqtt://me:hidden@h"], "a queue holds no secrets"),
        (&["add", nobody, "archive", "--tui"], "--tui means nothing for an archive"),
        (&[nobody, "--report", "r.json"], "--report means nothing for an archive"),
        (&[nobody, "-o", "rtsp://:8554/x"], "outputs of an archive are files"),
        (&["--manifest", "nowhere"], "--manifest nowhere"),
        (&["--manifest", "nowhere", "--shard", "2"], "nothing says which of them this is"),
        (&["--manifest", "nowhere", "--shard", "2/2"], "counted from 0"),
    ] {
        let refused = output(folder, args);
        let said = said(&refused);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(words) && !said.contains("secret@") && !said.contains("hidden"), "{args:?}: {said}");
    }
    assert!(!folder.join("found").exists());
}

/// Where the folder of a file is not there, the machine is at fault, and the file is another's.
#[test]
fn a_machine_without_the_archive_gives_files_back() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    archive(folder, 2);
    let (_broker, queue) = started(folder);
    succeeds(&output(folder, &["add", &queue, "archive/day2", "--lease", "1h"]));
    std::fs::rename(folder.join("archive"), folder.join("away")).expect("it is not mounted");
    let refused = output(folder, &[&[queue.as_str()][..], &HOW].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("is its file system mounted?"), "{}", said(&refused));
    // Given back at once, and not when the lease is over: the next worker has it.
    assert_eq!(figures(folder, &queue), [0, 2, 0, 0]);
    std::fs::rename(folder.join("away"), folder.join("archive")).expect("it is");
    // The queue as the environment has it, in which other users do not see a password.
    let until_empty = [&["--until-empty"][..], &HOW].concat();
    let mut worker = work(folder, &until_empty);
    succeeds(&worker.env("STREAMDET_QUEUE", &queue).output().expect("it starts"));
    assert_eq!(figures(folder, &queue), [0, 0, 1, 1]);
    let without = output(folder, &until_empty);
    assert_eq!(without.status.code(), Some(2), "{}", said(&without));
    assert!(said(&without).contains("STREAMDET_QUEUE"), "{}", said(&without));
    let wrong =
        work(folder, &["status"]).env("STREAMDET_QUEUE", "nats://me:secret@127.0.0.1").output().expect("it starts");
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    assert!(
        said(&wrong).contains("STREAMDET_QUEUE: give the queue a name") && !said(&wrong).contains("secret"),
        "{}",
        said(&wrong)
    );
}
