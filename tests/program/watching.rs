//! Runs whose outputs are watched while they go on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::running::Running;
use super::{detect, text};

/// A run in the background.
pub fn running(folder: &Path, args: &[&str]) -> Running {
    let mut command = detect(folder, args);
    command.args(["--imgsz", "96"]);
    Running::start(command)
}

/// `ffmpeg` takes what it is given into `to`.
pub fn watcher(folder: &Path, before: &[&str], url: &str, after: &[&str], to: &str) -> Child {
    let mut command = Command::new("ffmpeg");
    command.current_dir(folder).args(["-v", "error", "-y"]).args(before).args(["-i", url, "-c", "copy"]);
    command.args(after).arg(to).stdin(Stdio::null()).spawn().expect("ffmpeg is installed")
}

pub fn rtsp_watcher(folder: &Path, transport: &str, url: &str, after: &[&str], to: &str) -> Child {
    watcher(folder, &["-rtsp_transport", transport], url, after, to)
}

#[track_caller]
pub fn ends_well(mut child: Child, who: &str) {
    let status = child.wait().expect("its end");
    assert!(status.success(), "{who}: {status}");
}

/// Decodes all of it; complains about every broken picture.
#[track_caller]
pub fn decodes(path: &Path) {
    let said =
        Command::new("ffmpeg").args(["-v", "warning", "-i", text(path), "-f", "null", "-"]).output().expect("ffmpeg");
    let warnings = super::said(&said);
    let about_pictures = warnings.lines().filter(|line| line.contains("h264")).collect::<Vec<_>>();
    assert!(said.status.success() && about_pictures.is_empty(), "{}: {about_pictures:?}", path.display());
}

pub fn live(report: &Value, at: usize, key: &str) -> u64 {
    report["live_outputs"][at][key].as_u64().unwrap_or_else(|| panic!("{key} in {report}"))
}

/// Asks to be played to over TCP, so many tracks, and then reads no more.
pub fn stall(url: &str, tracks: u32) -> TcpStream {
    let place = url.trim_start_matches("rtsp://").split('/').next().expect("a place");
    let mut stream = TcpStream::connect(place).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut session = String::new();
    let setup = |track: u32, channels: &str| {
        ("SETUP", format!("{url}/stream={track}"), format!("Transport: RTP/AVP/TCP;unicast;interleaved={channels}\r\n"))
    };
    let mut requests = vec![("DESCRIBE", url.to_owned(), "Accept: application/sdp\r\n".to_owned())];
    requests.extend((0..tracks).map(|track| setup(track, &format!("{}-{}", 2 * track, 2 * track + 1))));
    requests.push(("PLAY", url.to_owned(), String::new()));
    for (number, (method, target, header)) in requests.into_iter().enumerate() {
        write!(stream, "{method} {target} RTSP/1.0\r\nCSeq: {}\r\n{header}{session}\r\n", number + 1).expect("sent");
        let mut answer = [0; 8192];
        let read = stream.read(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("RTSP/1.0 200"), "{method}: {answer}");
        if let Some((_, id)) = answer.split_once("Session: ") {
            session = format!("Session: {}\r\n", id.split([';', '\r']).next().expect("an id"));
        }
    }
    stream
}
