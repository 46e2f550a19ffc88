//! The real program, run as a user runs it, with `ffmpeg` and `ffprobe` as independent witnesses.

#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod broker;
pub mod events;
pub mod protobuf;
pub mod running;
pub mod watching;

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Says that a test, or the rest of it, is left out, and why. Where nothing may be (`STREAMDET_REQUIRE_ALL=1`, as in CI), it
/// fails instead.
#[track_caller]
pub fn skipped(why: &str) {
    let all = std::env::var_os("STREAMDET_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!all, "skipped, where STREAMDET_REQUIRE_ALL=1 asks for every test: {why}");
    eprintln!("skipped: {why}");
}

/// The shared test data, if it is here.
#[track_caller]
pub fn shared() -> Option<PathBuf> {
    let root = std::env::var("STREAMDET_TEST_DATA")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    if root.join("data/video").is_dir() {
        return Some(root);
    }
    skipped(&format!("no test data at {} (STREAMDET_TEST_DATA)", root.display()));
    None
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Seconds after which a program that hangs is ended, so that its test fails rather than waits with it.
const HUNG: u32 = 600;

/// A command of streamdet, started in `folder`, whatever the developer's own configuration says.
pub fn streamdet_command(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamdet"));
    // SAFETY: alarm(2) may be called between fork and exec; it lasts through exec.
    unsafe {
        command.pre_exec(|| {
            libc::alarm(HUNG);
            Ok(())
        });
    }
    command.current_dir(folder).env("XDG_CONFIG_HOME", folder.join("no-config")).arg(name);
    command
}

/// The command `name` in `folder`, with no settings but those given by the test.
pub fn bare(folder: &Path, name: &str) -> Command {
    let mut command = streamdet_command(folder, name);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STREAMDET_")) {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", folder.join("xdg"));
    command
}

/// `streamdet detect`.
pub fn detect(folder: &Path, args: &[&str]) -> Command {
    let mut command = streamdet_command(folder, "detect");
    command.args(args);
    command
}

pub fn streamdet(folder: &Path, args: &[&str]) -> Output {
    detect(folder, args).output().expect("it starts")
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub fn succeeds(output: &Output) {
    assert!(output.status.success(), "{:?}\n{}", output.status, said(output));
}

#[track_caller]
pub fn witness(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(["-v", "error"]).args(args).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{program} {args:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// One entry of the first video track, as `ffprobe` prints it.
#[track_caller]
pub fn probe(file: &Path, entry: &str) -> String {
    let entry = format!("stream={entry}");
    let text = witness("ffprobe", &["-select_streams", "v:0", "-show_entries", &entry, "-of", "csv=p=0", text(file)]);
    text.lines().next().unwrap_or_default().trim_matches(',').to_owned()
}

/// Presentation times of the packets of a track, seconds, in order.
#[track_caller]
pub fn track_times(file: &Path, track: &str) -> Vec<f64> {
    let text = witness(
        "ffprobe",
        &["-select_streams", track, "-show_entries", "packet=pts_time", "-of", "csv=p=0", text(file)],
    );
    let mut times: Vec<f64> = text.lines().filter_map(|l| l.trim_matches(',').parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Presentation times of the video track relative to the first, seconds.
#[track_caller]
pub fn times(file: &Path) -> Vec<f64> {
    let times = track_times(file, "v:0");
    let first = times.first().copied().unwrap_or(0.0);
    times.iter().map(|t| t - first).collect()
}

#[track_caller]
pub fn same_times(a: &Path, b: &Path) {
    let (a, b) = (times(a), times(b));
    assert_eq!(a.len(), b.len(), "frames");
    for (n, (x, y)) in a.iter().zip(&b).enumerate() {
        assert!((x - y).abs() <= 0.001, "frame {n}: {x} against {y}");
    }
}

/// Checksum of the audio packets as they lie in the file.
#[track_caller]
pub fn audio_md5(file: &Path) -> String {
    witness("ffmpeg", &["-i", text(file), "-map", "0:a", "-c", "copy", "-f", "md5", "-"])
}

#[track_caller]
pub fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a report")).expect("JSON")
}

#[track_caller]
pub fn json_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("detections");
    text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

/// Segments of `stem`, in the order of their times.
pub fn segments(folder: &Path, stem: &str, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let is_time = |time: &str| time.len() == 16 && time.starts_with("20") && &time[8..9] == "T" && time.ends_with('Z');
    found.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let time =
            name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(ending)?.strip_suffix('.'));
        time.is_some_and(is_time)
    });
    found.sort();
    found
}

/// A TCP port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// A number of a report.
#[track_caller]
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a count, not {value}"))
}

/// Received and processed frames of a stream; checks that all are accounted for.
#[track_caller]
pub fn counted(report: &Value, stream: usize) -> (u64, u64) {
    let frames = &report["streams"][stream]["frames"];
    let dropped: u64 = frames["dropped"].as_object().expect("reasons").values().map(number).sum();
    let (received, processed) = (number(&frames["received"]), number(&frames["processed"]));
    assert_eq!(received, processed + dropped, "{frames}");
    (received, processed)
}

/// Received, processed and corrupt frames of the first stream; checks that every frame is accounted for.
#[track_caller]
pub fn frames(report: &Value) -> (u64, u64, u64) {
    let (received, processed) = counted(report, 0);
    (received, processed, number(&report["streams"][0]["frames"]["dropped"]["corrupt"]))
}

/// A clip that `ffmpeg` makes: `seconds` of its test picture at 30000/1001 frames a second, with a tone.
#[track_caller]
pub fn made_clip(folder: &Path, name: &str, size: &str, seconds: &str, options: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let source = format!("testsrc2=size={size}:rate=30000/1001");
    let mut args = vec!["-f", "lavfi", "-i", &source, "-f", "lavfi", "-i", "sine", "-t", seconds];
    args.extend(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac"]);
    args.extend(options);
    args.extend(["-y", text(&path)]);
    witness("ffmpeg", &args);
    path
}

/// A disk that holds little, until it is dropped.
pub struct SmallDisk {
    pub path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `size` (as `tmpfs` has it) at `path`; without root there is none, and the test is skipped.
    pub fn mount(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(path).expect("a folder");
        let option = format!("size={size}");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &option, "none", text(path)]).output();
        if !mount.is_ok_and(|m| m.status.success()) {
            skipped("a small disk cannot be mounted without root");
            return None;
        }
        Some(Self { path: path.to_owned() })
    }

    /// Whether it was taken away: nothing holds a file on it.
    pub fn unmount(self) -> bool {
        Command::new("umount").arg(&self.path).status().expect("umount").success()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Where a test has failed before it took it away.
        let _ = Command::new("umount").args(["-q", "-l"]).arg(&self.path).output();
    }
}

/// Has a Matroska file state that it is so long (its `Duration` element, which `ffmpeg` writes as an 8-byte float).
pub fn state_duration_ms(file: &Path, duration_ms: f64) {
    let mut bytes = std::fs::read(file).expect("the clip");
    let at = bytes.windows(3).position(|id| id == [0x44, 0x89, 0x88]).expect("a duration") + 3;
    bytes[at..at + 8].copy_from_slice(&duration_ms.to_be_bytes());
    std::fs::write(file, bytes).expect("a file");
}
