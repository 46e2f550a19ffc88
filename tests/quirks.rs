//! Cameras as they are: `tests/quirks/rtsp_quirks.py` is an RTSP server with their quirks, `Mjpeg` an HTTP server with those of
//! Motion JPEG. Every one keeps to the protocol, or breaks it as cameras do that everybody plays.

mod loopback;
mod program;

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use program::running::Running;
use program::{bare, frames as counted, json, skipped, text, witness};
use streamdet::clock;

/// The longest first: they are under way while the others come and go. What happens midway happens after 4 s, at the latest
/// after 6 s, of 12.5 frames each.
const PATHS: [(&str, u64); 28] = [
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
    ("wrap", 100),
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
const AT_ONCE: usize = 9;
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

/// How a Motion JPEG camera sends its images.
struct Mjpeg {
    path: &'static str,
    content_type: &'static str,
    /// What stands before and after each image; `{}` is its length.
    around: (&'static str, &'static str),
    /// Before and after both, as HTTP's chunks do it.
    is_chunked: bool,
    /// After so many images the connection is closed.
    closes_after: usize,
    interval: Duration,
    /// How many frames are played.
    frames: u64,
}

const MULTIPART: &str = "multipart/x-mixed-replace;boundary=m";
const PLAIN: Mjpeg = Mjpeg {
    path: "",
    content_type: MULTIPART,
    around: ("--m\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", "\r\n"),
    is_chunked: false,
    closes_after: usize::MAX,
    interval: Duration::from_millis(40),
    frames: 40,
};
const MJPEG: [Mjpeg; 17] = [
    Mjpeg {
        path: "esp32",
        around: ("\r\n--m\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: 1.2\r\n\r\n", ""),
        is_chunked: true,
        ..PLAIN
    },
    Mjpeg {
        path: "motion",
        around: ("--m\r\nContent-type: image/jpeg\r\nContent-Length: {}\r\n\r\n", "\r\n"),
        ..PLAIN
    },
    // As older firmware of ESP32 cameras, and Tasmota's.
    Mjpeg {
        path: "boundary-after",
        around: ("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", "\r\n--m\r\n"),
        is_chunked: true,
        ..PLAIN
    },
    Mjpeg { path: "boundary-between", around: ("", "\r\n--m\r\nContent-Type: image/jpeg\r\n\r\n"), ..PLAIN },
    Mjpeg { path: "noclen", around: ("--m\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"), ..PLAIN },
    Mjpeg { path: "dashes", content_type: "multipart/x-mixed-replace; boundary=--m", ..PLAIN },
    Mjpeg {
        path: "quoted",
        content_type: "multipart/x-mixed-replace; boundary=\"m\"",
        around: ("--m\r\ncontent-type:image/jpeg\r\nx-timestamp: 1\r\ncontent-length:{}\r\n\r\n", "\r\n"),
        ..PLAIN
    },
    Mjpeg {
        path: "audio",
        around: ("--m\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n--m\r\nContent-Type: text/plain\r\n\r\nhi\r\n"),
        ..PLAIN
    },
    Mjpeg { path: "lower", around: ("--m\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\n\r\n", "\r\n"), ..PLAIN },
    Mjpeg { path: "nospace", around: ("--m\r\nContent-Type:image/jpeg\r\nContent-Length:{}\r\n\r\n", "\r\n"), ..PLAIN },
    Mjpeg {
        path: "nospace?parameters",
        around: ("--m\r\nContent-Length:{}\r\nCONTENT-TYPE:image/jpeg;q=1\r\n\r\n", "\r\n"),
        ..PLAIN
    },
    Mjpeg { path: "first", around: ("--m\r\nContent-Length: {}\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"), ..PLAIN },
    Mjpeg { path: "slow", interval: Duration::from_secs(2), frames: 4, ..PLAIN },
    Mjpeg { path: "short", closes_after: 20, frames: 50, ..PLAIN },
    Mjpeg { path: "raw", content_type: "video/x-motion-jpeg", around: ("", ""), ..PLAIN },
    Mjpeg { path: "snap.jpg", content_type: "image/jpeg", around: ("", ""), closes_after: 1, frames: 1, ..PLAIN },
    Mjpeg { path: "snap", content_type: "image/jpeg", around: ("", ""), closes_after: 1, frames: 1, ..PLAIN },
];

impl Mjpeg {
    fn serve(&self, images: &[Vec<u8>], stream: &mut TcpStream) {
        let mut headers = vec![format!("Content-Type: {}", self.content_type)];
        headers.extend(self.is_chunked.then(|| "Transfer-Encoding: chunked".to_owned()));
        headers.extend((self.closes_after == 1).then(|| format!("Content-Length: {}", images[0].len())));
        loopback::head(stream, "200 OK", &headers);
        for image in images.iter().cycle().take(self.closes_after) {
            let (before, after) = self.around;
            let before = before.replace("{}", &image.len().to_string());
            let mut part = [before.as_bytes(), image, after.as_bytes()].concat();
            if self.is_chunked {
                part = [format!("{:x}\r\n", part.len()).as_bytes(), &part, b"\r\n"].concat();
            }
            if !loopback::send(stream, &part) {
                return;
            }
            clock::process().sleep(self.interval);
        }
    }

    /// Starts a camera; its address.
    fn start(&'static self, images: &Arc<Vec<Vec<u8>>>) -> String {
        let images = images.clone();
        loopback::Server::start(vec![Box::new(move |_, stream| self.serve(&images, stream))]).url(self.path)
    }
}

/// One run against a camera.
struct Play {
    path: &'static str,
    transport: &'static str,
    address: String,
    frames: u64,
    /// It is disconnected meanwhile. How often depends on how long this machine takes before the first frame is wanted.
    is_lost: bool,
}

/// Plays so many frames; what came, and whether that is well.
fn play(play: &Play) -> (bool, String) {
    let &Play { transport, frames, is_lost, .. } = play;
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = bare(folder.path(), "detect");
    command.arg(&play.address);
    if transport != "http" {
        command.args(["--rtsp-transport", transport]);
    }
    // What is slow here is this machine, not the camera.
    command.args(["--imgsz", "96", "--max-lag", "10000", "--stall-timeout", "10s", "--report", "r.json", "-o", "none"]);
    command.args(["--frames", &frames.to_string()]);
    let mut run = Running::start(command);
    let Some(status) = run.ends_within(HANGS) else { return (false, format!("it hangs: {}", run.said())) };
    if status.code() != Some(0) {
        return (false, run.said());
    }
    let report = json(&folder.path().join("r.json"));
    let (received, processed, corrupt) = counted(&report);
    let reconnected = report["streams"][0]["reconnects"].as_u64().expect("a number");
    // Over UDP, a busy machine loses packets itself.
    let tolerated = if transport == "udp" { frames / 10 } else { 0 };
    let is_well = received >= frames && processed > 0 && corrupt <= tolerated && (reconnected > 0) == is_lost;
    (is_well, format!("{received:6} {corrupt:8} {reconnected:11}"))
}

#[test]
fn every_camera_plays() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(cameras) = Cameras::start(folder.path()) else { return };
    let picture = folder.path().join("%02d.jpg");
    witness("ffmpeg", &["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-frames:v", "20", text(&picture)]);
    let image = |n: usize| std::fs::read(folder.path().join(format!("{n:02}.jpg"))).expect("an image");
    let images = Arc::new((1..=20).map(image).collect::<Vec<_>>());
    let rtsp = PATHS.iter().flat_map(|&(path, frames)| {
        let address = format!("rtsp://127.0.0.1:{}/{path}", cameras.port);
        ["tcp", "udp"].map(|transport| Play { path, transport, address: address.clone(), frames, is_lost: false })
    });
    let mjpeg = MJPEG.iter().map(|camera| {
        let &Mjpeg { path, frames, closes_after, .. } = camera;
        let is_lost = (closes_after as u64) < frames;
        Play { path, transport: "http", address: camera.start(&images), frames, is_lost }
    });
    let mut left: Vec<_> = rtsp.chain(mjpeg).collect();
    left.reverse();
    let (left, table) = (Mutex::new(left), Mutex::new(Vec::new()));
    let take = || left.lock().expect("what is left").pop();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(next) = take() {
                    let (is_well, came) = play(&next);
                    table.lock().expect("the table").push((next.path, next.transport, is_well, came));
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
