//! Cameras as they are: `tests/quirks/rtsp_quirks.py` is a server with their quirks, of which every one keeps to the protocol, or
//! breaks it as cameras do that everybody plays.

mod program;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use program::running::Running;
use program::{bare, json, skipped, text, witness};

/// The longest first: they are under way while the others come and go. What happens midway happens after 4 s, at the latest
/// after 6 s, of 12.5 frames each.
const PATHS: [(&str, u64); 27] = [
    // For a minute: it is closed after 20 s in which nothing is asked of it.
    ("keep?20", 750),
    ("keep", 100),
    ("plain", 100),
    ("pcma", 100),
    ("null", 100),
    ("hik", 100),
    ("backch", 100),
    ("noaudio", 100),
    ("audiofirst", 50),
    ("audiostop", 100),
    ("rtp0", 100),
    ("rtplate", 100),
    ("jump", 100),
    ("back", 100),
    ("reset", 100),
    ("same", 100),
    ("nosprop", 100),
    ("sdponly", 100),
    ("nopps", 100),
    ("nosps", 100),
    ("onlysps", 100),
    ("query?channel=1&subtype=0", 100),
    ("lf", 100),
    ("sr1970", 100),
    ("ssrc", 100),
    ("ssrcback", 125),
    ("fps0", 100),
];
/// How many are played at once: each is idle for most of its time.
const AT_ONCE: usize = 6;
/// None takes longer than the minute of `keep?20`, and a little.
const HANGS: Duration = Duration::from_mins(3);

/// The server; it ends with the pipe to it.
struct Cameras {
    server: Child,
    port: String,
}

impl Cameras {
    /// `None` where there is no Python, which is said.
    #[track_caller]
    fn start(folder: &Path) -> Option<Self> {
        let (video, sound) = (folder.join("video.h264"), folder.join("sound.aac"));
        let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=12.5", "-t", "10", "-c:v", "libx264"];
        let coded = ["-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "25", text(&video)];
        witness("ffmpeg", &[picture.as_slice(), &coded].concat());
        witness("ffmpeg", &["-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "10", "-c:a", "aac", text(&sound)]);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quirks/rtsp_quirks.py");
        let mut command = Command::new("python3");
        command.arg(script).args([&video, &sound]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut server) = command.spawn() else {
            skipped("there is no python3 here");
            return None;
        };
        let mut port = String::new();
        BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut port).expect("its port");
        Some(Self { server, port: port.trim().to_owned() })
    }
}

impl Drop for Cameras {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Plays so many frames of a path; what came, and whether that is well.
fn play(cameras: &Cameras, path: &str, transport: &str, frames: u64) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = bare(folder.path(), "detect");
    command.arg(format!("rtsp://127.0.0.1:{}/{path}", cameras.port)).args(["--rtsp-transport", transport]);
    // What is slow here is this machine, not the camera.
    command.args(["--imgsz", "96", "--max-lag", "10000", "--stall-timeout", "10s", "--report", "r.json"]);
    command.args(["--frames", &frames.to_string()]);
    let mut run = Running::start(command);
    let Some(status) = run.ends_within(HANGS) else { return (false, format!("it hangs: {}", run.said())) };
    if status.code() != Some(0) {
        return (false, run.said());
    }
    let report = json(&folder.path().join("r.json"));
    let (received, _, corrupt) = program::frames(&report);
    let reconnects = report["streams"][0]["reconnects"].as_u64().expect("a number");
    // Over UDP, a busy machine loses packets itself.
    let tolerated = if transport == "udp" { frames / 10 } else { 0 };
    let is_well = received >= frames && corrupt <= tolerated && reconnects == 0;
    (is_well, format!("{received:6} {corrupt:8} {reconnects:11}"))
}

#[test]
fn every_camera_plays_over_tcp_and_udp() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(cameras) = Cameras::start(folder.path()) else { return };
    let both = |(path, frames): (&'static str, u64)| ["tcp", "udp"].map(|transport| (path, transport, frames));
    let mut left: Vec<_> = PATHS.into_iter().flat_map(both).collect();
    left.reverse();
    let (left, table) = (Mutex::new(left), Mutex::new(Vec::new()));
    let take = || left.lock().expect("what is left").pop();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((path, transport, frames)) = take() {
                    let (is_well, came) = play(&cameras, path, transport, frames);
                    table.lock().expect("the table").push((path, transport, is_well, came));
                }
            });
        }
    });
    let mut table = table.into_inner().expect("the table");
    table.sort_unstable();
    println!("{:6}{:27}{:10}{:>6} {:>8} {:>11}", "", "path", "transport", "frames", "corrupt", "reconnects");
    for (path, transport, is_well, came) in &table {
        println!("{:6}{path:27}{transport:10}{}", if *is_well { "ok" } else { "WRONG" }, came.trim_end());
    }
    let wrong = table.iter().filter(|(_, _, is_well, _)| !is_well).count();
    assert_eq!(wrong, 0, "cameras that do not play as they should; see above");
}
