//! A panic in any thread, and a thread that never returns: the run says so, what belongs to other streams goes on, outputs
//! are finished, the exit code is 1, and nothing waits for ever.

mod program;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use program::{bare, json, made_clip, said, text, times};
use serde_json::Value;
use streamdet::clock::{self, Deadline};

/// What a run may take in all: its work on a busy machine, half a minute until a sink that takes nothing is given up, and a
/// quarter of one in which threads that hang are waited for.
const DEADLINE: Duration = Duration::from_mins(2);
/// Frames of every stream.
const FRAMES: usize = 60;

/// A run of the program in which a thread panics.
enum Run {
    /// Two live streams, each encoded into a file, with everything beside them that has a thread.
    Live,
    /// Two recorded files.
    Files,
    /// Two live streams that are served by RTSP.
    Served,
    /// Two live streams on a dashboard.
    Dashboard,
}

/// What must be left of it.
#[derive(Clone, Copy, PartialEq)]
enum Left {
    /// Both streams.
    Both,
    /// The second stream at least.
    Second,
    /// One of them at least: both have a thread of this name.
    One,
    /// Neither needs to be whole.
    Neither,
}

/// `NAME:N` as in `STREAMDET_TEST_PANIC`, how it is run and what is left.
const THREADS: [(&str, Run, Left); 15] = [
    ("main:30", Run::Live, Left::Neither),
    ("source-0:1", Run::Live, Left::Second),
    ("sink-0:20", Run::Live, Left::Second),
    ("decode:40", Run::Files, Left::One),
    ("frames:40", Run::Live, Left::One),
    ("encoded:20", Run::Live, Left::One),
    ("mux-end:1", Run::Live, Left::One),
    ("json:20", Run::Live, Left::Both),
    ("sampler:2", Run::Live, Left::Both),
    ("stats:2", Run::Live, Left::Both),
    ("http:1", Run::Live, Left::Both),
    ("files-0:1", Run::Files, Left::One),
    ("rtsp-server:1", Run::Served, Left::Neither),
    ("dashboard:3", Run::Dashboard, Left::Both),
    ("stderr:1", Run::Dashboard, Left::Both),
];

/// Names in `src` that are not in the table, and why.
const OTHERS: [(&str, &str); 19] = [
    ("run", "of serve: the worker of one stream, whose error it is; (main) of the table elsewhere"),
    ("detector", "of serve, see tests/streams.rs"),
    ("sessions", "a stream of another size, see tests/batches.rs"),
    ("name", "pipeline/shared.rs: starts the source, files and sink threads of the table"),
    ("thread", "sink/pipeline.rs: changes the state of a pipeline, and ends with that"),
    ("signals", "has a test of its own below"),
    ("source", "pipeline: the first frames of a source, whose error is that of the command"),
    ("snapshot", "writes one image and ends; its error is a notice, since the run goes on without it"),
    ("open", "opens a pipe that nothing reads yet, see tests/failing_outputs.rs"),
    ("preview", "no run: encodes what viewers of serve see, see tests/viewing"),
    ("publish", "costs messages and the exit code, see tests/publishing.rs"),
    ("queue", "no run: of work, whose files are another worker's then, see tests/archive.rs"),
    ("listing", "no run: of work add, which says what is not in the queue then"),
    ("fleet", "no run: of serve, which ends, and its streams are taken by others, see tests/fleet.rs"),
    ("push", "has no test point before its server answers; the same loop as the writer's"),
    ("trial", "waits for a process"),
    ("deadline", "ends a process that is late, and nothing else"),
    ("fetch", "no run: a failed download, see tests/fetch.rs"),
    ("images", "no run: its error is that of the command"),
];

/// Two streams, and what is written of them.
fn command(folder: &Path, run: &Run) -> Command {
    let frames = FRAMES.to_string();
    let mut command = bare(folder, "detect");
    command.args(["--imgsz", "96", "--report", "r.json", "--frames", &frames]);
    match run {
        Run::Live => command.args(["test:ball", "test:smpte", "-o", "out-{stream}.mkv", "--json", "d.jsonl"]).args([
            "--stats",
            "200ms",
            "--metrics",
            "127.0.0.1:0",
        ]),
        Run::Files => {
            for name in ["a.mp4", "b.mp4"] {
                made_clip(folder, name, "320x240", "3", &["-preset", "ultrafast"]);
            }
            command.args(["a.mp4", "b.mp4", "-o", "out-{stream}.mkv"])
        }
        Run::Served => command.args(["test:ball", "test:smpte", "-o", "rtsp://:0/{stream}"]),
        Run::Dashboard => command.args(["test:ball", "test:smpte", "-o", "out-{stream}.mkv", "--tui"]),
    };
    command
}

/// Runs it to its end, which comes within the deadline.
#[track_caller]
fn ended(mut command: Command, folder: &Path) -> Output {
    let log = folder.join("stderr");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).expect("a file"));
    let mut child = command.spawn().expect("it starts");
    let status = wait(&mut child, &log);
    Output { status, stdout: Vec::new(), stderr: std::fs::read(log).expect("its log") }
}

#[track_caller]
fn wait(child: &mut Child, log: &Path) -> std::process::ExitStatus {
    let deadline = Deadline::after(DEADLINE);
    loop {
        if let Some(status) = child.try_wait().expect("its state") {
            return status;
        }
        if deadline.is_over() {
            child.kill().expect("it is killed");
            panic!("it did not end within {DEADLINE:?}:\n{}", std::fs::read_to_string(log).unwrap_or_default());
        }
        clock::process().sleep(Duration::from_millis(50));
    }
}

/// Frames of the file of stream `number`; none where there is no such file. One that has its name must play.
fn written(folder: &Path, number: usize) -> usize {
    let path = folder.join(format!("out-{number}.mkv"));
    if path.exists() { times(&path).len() } else { 0 }
}

/// `streams[number].frames.processed`, after a look at the counts.
#[track_caller]
fn processed(report: &Value, number: usize) -> usize {
    let frames = &report["streams"][number]["frames"];
    let number = |value: &Value| usize::try_from(value.as_u64().expect("a number")).expect("few");
    let dropped: usize = frames["dropped"].as_object().expect("reasons").values().map(number).sum();
    let (received, processed) = (number(&frames["received"]), number(&frames["processed"]));
    assert_eq!(received, processed + dropped, "{frames}");
    processed
}

/// The run with a fault planted by `variable` says `words` once, exits with 1 and leaves what it must.
#[track_caller]
fn survives(variable: &str, planted: &str, run: &Run, left: Left, words: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut command = command(folder, run);
    if matches!(run, Run::Dashboard) {
        command = in_terminal(&command, folder);
    }
    command.env(variable, planted).env("RUST_BACKTRACE", "0");
    let output = ended(command, folder);
    let log = said(&output);
    assert_eq!(output.status.code(), Some(1), "{variable}={planted}: {log}");
    assert_eq!(log.matches(words).count(), 1, "{variable}={planted} is said once: {log}");
    let report = json(&folder.join("r.json"));
    assert_eq!(report["accounted"], true, "{variable}={planted}: {report:#}");
    if matches!(run, Run::Served) {
        return;
    }
    // A stream that goes on delivers all its frames, of which a live one may drop some on a busy machine.
    let whole = |number: usize| {
        let frames = &report["streams"][number]["frames"];
        let failed = frames["dropped"]["failed"].as_u64().expect("a number");
        let file = written(folder, number);
        failed == 0
            && frames["received"].as_u64() >= Some(FRAMES as u64)
            && file > 0
            && file == processed(&report, number)
    };
    let both = [whole(0), whole(1)];
    let holds = match left {
        Left::Both => both == [true, true],
        Left::Second => both[1],
        Left::One => both != [false, false],
        Left::Neither => true,
    };
    assert!(holds, "{variable}={planted}: {both:?} are whole\n{log}\n{report:#}");
    // What has its name plays, and holds what was counted.
    for number in 0..2 {
        let file = written(folder, number);
        assert!(file == 0 || file <= processed(&report, number), "{planted}: {file} frames in stream {number}'s file");
    }
}

/// The same command in a terminal, of which `stderr` gets the end.
fn in_terminal(command: &Command, folder: &Path) -> Command {
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy());
    let line: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let mut script = Command::new("sh");
    let line = format!("TERM=xterm {}", line.join(" "));
    script.current_dir(folder).env("XDG_CONFIG_HOME", folder.join("xdg"));
    script.args([
        "-c",
        "script -qefc \"$0\" typescript < /dev/null > /dev/null; code=$?; cat typescript >&2; exit $code",
    ]);
    script.arg(line);
    script
}

#[test]
fn a_panic_in_any_thread_costs_no_more_than_it_must() {
    for (planted, run, left) in &THREADS {
        let (name, _) = planted.split_once(':').expect("a name and a number");
        survives("STREAMDET_TEST_PANIC", planted, run, *left, &format!("thread {name} panicked"));
    }
}

#[test]
fn a_sink_that_never_returns_is_named_and_left_alone() {
    survives(
        "STREAMDET_TEST_HANG",
        "sink-0:20",
        &Run::Live,
        Left::Second,
        "out-0.mkv: thread sink-0 did not end within",
    );
}

#[test]
fn a_recording_whose_sink_takes_nothing_any_more_stops_no_other() {
    survives("STREAMDET_TEST_HANG", "sink-0:20", &Run::Files, Left::Second, "out-0.mkv: took no frame for 30 s");
}

#[test]
fn a_lost_frame_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut command = command(folder, &Run::Files);
    command.env("STREAMDET_TEST_LOSE", "10");
    let output = ended(command, folder);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("which do not sum up"), "{}", said(&output));
    let report = json(&folder.join("r.json"));
    assert_eq!(report["accounted"], false);
    let accounted: Vec<bool> = (0..2).map(|n| report["streams"][n]["accounted"] == true).collect();
    assert_eq!(accounted.iter().filter(|accounted| **accounted).count(), 1, "{report:#}");
    assert_eq!((written(folder, 0) + written(folder, 1)), 2 * FRAMES - 1, "the outputs are finished");
}

#[test]
fn a_run_whose_signals_are_no_longer_watched_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let log = folder.join("stderr");
    let mut command = bare(folder, "detect");
    command.args(["test:ball", "-o", "out-0.mkv", "--imgsz", "96", "--report", "r.json", "-v"]);
    command.env("STREAMDET_TEST_PANIC", "signals:1").env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stderr(std::fs::File::create(&log).expect("a file"));
    let mut child = command.spawn().expect("it starts");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let deadline = Deadline::after(DEADLINE);
    while !said().contains("(frame 20") {
        assert!(!deadline.is_over() && child.try_wait().expect("its state").is_none(), "{}", said());
        clock::process().sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let status = wait(&mut child, &log);
    assert_eq!(status.code(), Some(1), "{}", said());
    assert_eq!(said().matches("thread signals panicked").count(), 1, "{}", said());
    assert_eq!(written(folder, 0), processed(&json(&folder.join("r.json")), 0));
}

/// What is given to `spawn(` and `.start(` as a name in `src`, as it is written there, without what stands in braces.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names(&path, found);
            continue;
        }
        let is_test = path.components().any(|part| matches!(part.as_os_str().to_str(), Some("modelled" | "tests.rs")));
        if is_test || path.ends_with("src/thread.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("text");
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for call in ["spawn(", ".start(Some(stream), ", ".start(None, "] {
            for (at, _) in source.match_indices(call) {
                let before = &source[..at];
                // Tasks are none: what panics in one is caught there.
                if ["fn ", "command.", "scope.", "tasks.", "tokio::"].iter().any(|other| before.ends_with(other)) {
                    continue;
                }
                let name = source[at + call.len()..].split([',', ')']).next().unwrap_or_default().trim();
                let name = name.trim_start_matches("format!(").trim_start_matches('"');
                let name = name.split(['{', '"']).next().unwrap_or_default().trim_end_matches(['-', '0']);
                // Without a name it is a process that is spawned.
                if !name.is_empty() {
                    found.insert(name.rsplit("::").next().unwrap_or_default().to_ascii_lowercase());
                }
            }
        }
    }
}

#[test]
fn every_thread_is_in_the_table() {
    let src: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    names(&src, &mut found);
    assert!(found.len() > 8, "{found:?}");
    let tested = THREADS.iter().map(|(planted, ..)| planted.split_once(':').map_or("", |(name, _)| name));
    let mut known: BTreeSet<String> = tested.map(|name| name.trim_end_matches(['-', '0']).to_owned()).collect();
    known.extend(OTHERS.iter().map(|(name, _)| (*name).to_owned()));
    // The dashboard's is named by a constant.
    known.insert("thread".into());
    let unknown: Vec<&String> = found.difference(&known).collect();
    assert!(unknown.is_empty(), "threads without a row in THREADS of {}: {unknown:?}", text(Path::new(file!())));
}
