//! Who may watch what is served over RTSP, and what those who watch cost: `ffmpeg`, `ffprobe` and the program itself are the clients.

mod program;
mod rtsp;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use program::watching::{decodes, ends_well, live, rtsp_watcher, running, stall};
use program::{events, json, said, streamdet, succeeds, text};

/// What ffmpeg says when it is to watch for a second, and whether it could.
fn glance(url: &str, transport: &str) -> Output {
    let args = ["-v", "error", "-rtsp_transport", transport, "-i", url, "-t", "1", "-c", "copy", "-f", "null", "-"];
    Command::new("ffmpeg").args(args).stdin(Stdio::null()).output().expect("ffmpeg is installed")
}

#[test]
fn a_client_too_many_is_refused_and_the_others_go_on_watching() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["test:ball", "-o", "rtsp://:0/cam", "--max-clients", "2", "--report", "r.json"];
    let run = running(folder.path(), &args);
    let url = run.rest_after("serving ");
    let watches = |to: &str| {
        let child = rtsp_watcher(folder.path(), "tcp", &url, &["-flush_packets", "1"], to);
        events::file(&folder.path().join(to), |bytes| bytes.len() > 20_000);
        child
    };
    let (first, mut second) = (watches("first.ts"), watches("second.ts"));
    for transport in ["tcp", "udp"] {
        let refused = glance(&url, transport);
        assert!(!refused.status.success() && said(&refused).contains("503"), "{}", said(&refused));
    }
    // Who sets up without asking what is here gets no place either.
    let place = url.trim_start_matches("rtsp://").split('/').next().expect("a place");
    let mut stream = TcpStream::connect(place).expect("it listens");
    stream.set_read_timeout(Some(events::PATIENCE)).expect("a socket");
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1";
    write!(stream, "SETUP {url}/stream=0 RTSP/1.0\r\nCSeq: 1\r\n{transport}\r\n\r\n").expect("sent");
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).expect("an answer");
    assert!(answer[..read].starts_with(b"RTSP/1.0 4"), "{}", String::from_utf8_lossy(&answer[..read]));
    second.kill().expect("it runs");
    second.wait().expect("its end");
    events::state(|| "the place is not free again".into(), || glance(&url, "tcp").status.success().then_some(()));
    let so_far = folder.path().join("first.ts").metadata().expect("it is watched").len();
    events::file(&folder.path().join("first.ts"), |bytes| bytes.len() as u64 > so_far + 20_000);
    let (code, said) = run.interrupt();
    assert_eq!(code, Some(130), "{said}");
    ends_well(first, "who came first");
    decodes(&folder.path().join("first.ts"));
    assert_eq!(said.matches("2 clients at once are served").count(), 1, "{said}");
    let report = json(&folder.path().join("r.json"));
    assert!(live(&report, 0, "clients_refused") >= 2 && live(&report, 0, "clients") >= 3, "{report}");
    assert_eq!(live(&report, 0, "frames_lost"), 0, "{report}");
}

#[test]
fn who_asks_what_is_here_and_does_not_play_it_is_no_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = running(folder.path(), &["test:ball", "-o", "rtsp://:0/cam", "--report", "r.json"]);
    let url = run.rest_after("serving ");
    let place = url.trim_start_matches("rtsp://").split('/').next().expect("a place");
    let mut stream = TcpStream::connect(place).expect("it listens");
    stream.set_read_timeout(Some(events::PATIENCE)).expect("a socket");
    write!(stream, "DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n").expect("sent");
    let mut answer = [0; 512];
    let read = stream.read(&mut answer).expect("an answer");
    assert!(answer[..read].starts_with(b"RTSP/1.0 200"), "{}", String::from_utf8_lossy(&answer[..read]));
    let watched = glance(&url, "tcp");
    assert!(watched.status.success(), "{}", said(&watched));
    let (code, said) = run.interrupt();
    assert_eq!(code, Some(130), "{said}");
    assert_eq!(live(&json(&folder.path().join("r.json")), 0, "clients"), 1);
}

#[test]
fn a_stream_with_a_password_is_watched_by_who_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = "rtsp://pilot:geh%40im%2F1@127.0.0.1:0/cam";
    let run = running(folder.path(), &["test:ball", "-o", output, "--report", "r.json", "-vv"]);
    let url = run.rest_after("serving ");
    for (who, code) in
        [("", "401"), ("pilot:wrong@", "401"), ("other:geh%40im%2F1@", "401"), ("pilot:geh%40im%2F1@", "")]
    {
        for transport in ["tcp", "udp"] {
            let seen = glance(&url.replace("rtsp://", &format!("rtsp://{who}")), transport);
            assert_eq!(seen.status.success(), code.is_empty(), "{who}: {}", said(&seen));
            assert!(said(&seen).contains(code), "{who}: {}", said(&seen));
        }
    }
    // What could be read on the way is not asked for.
    let place = url.trim_start_matches("rtsp://").split('/').next().expect("a place");
    // Who has no password is not told what there is; who has it is (GStreamer says 400 where nothing is made).
    for (who, code) in [("", "401"), ("pilot:wrong@", "401"), ("pilot:geh%40im%2F1@", "400")] {
        let seen = glance(&format!("rtsp://{who}{place}/other"), "tcp");
        assert!(!seen.status.success() && said(&seen).contains(code), "{who}: {}", said(&seen));
    }
    let mut stream = TcpStream::connect(place).expect("it listens");
    stream.set_read_timeout(Some(events::PATIENCE)).expect("a socket");
    write!(stream, "DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAuthorization: Basic cGlsb3Q6Z2VoQGltLzE=\r\n\r\n")
        .expect("sent");
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("RTSP/1.0 401") && answer.contains("Digest realm=\"streamdet\""), "{answer}");
    assert!(!answer.contains("Basic"), "{answer}");
    let (code, told) = run.interrupt();
    assert_eq!(code, Some(130), "{told}");
    let report = std::fs::read_to_string(folder.path().join("r.json")).expect("a report");
    let shown = streamdet(folder.path(), &["--show-config", "-o", output, "-o", &output.replace("cam", "b")]);
    succeeds(&shown);
    let shown = String::from_utf8_lossy(&shown.stdout);
    for text in [&told, &report, &*shown] {
        assert!(!text.contains("geh") && !text.contains("im%2F1") && !text.contains("im/1"), "{text}");
    }
    assert!(told.contains("visible in the process list") && shown.contains("rtsp://***@127.0.0.1:0/cam"), "{shown}");
}

#[test]
fn a_stream_is_served_over_tls_to_who_trusts_the_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = rtsp::Certificates::make(folder.path());
    let tls = ["--tls-cert", "server.crt", "--tls-key", "server.key"];
    let output = "rtsps://pilot:geheim@127.0.0.1:0/cam";
    let run = running(folder.path(), &[["test:ball", "-o", output].as_slice(), &tls].concat());
    let url = run.rest_after("serving ");
    assert!(url.starts_with("rtsps://127.0.0.1:"), "{url}");
    let with = |who: &str| url.replace("rtsps://", &format!("rtsps://{who}@"));
    let seen = glance(&with("pilot:geheim"), "tcp");
    assert!(seen.status.success(), "{}", said(&seen));
    assert!(!glance(&with("pilot:wrong"), "tcp").status.success());
    // Without TLS nothing is served, not even the news of that.
    let plain = url.replace("rtsps://", "rtsp://");
    let args = ["-v", "error", "-timeout", "3000000", "-rtsp_transport", "tcp", "-i", &plain, "-f", "null", "-"];
    let refused = Command::new("ffmpeg").args(args).stdin(Stdio::null()).output().expect("ffmpeg is installed");
    assert!(!refused.status.success(), "{}", said(&refused));
    let watch = |more: &[&str]| {
        let source = with("pilot:geheim");
        streamdet(folder.path(), &[[source.as_str(), "--frames", "10", "--imgsz", "96"].as_slice(), more].concat())
    };
    succeeds(&watch(&["--tls-ca", text(&certificates.authority)]));
    assert_eq!(watch(&[]).status.code(), Some(2), "nobody known has signed it");
    assert_eq!(run.interrupt().0, Some(130));
    for (certificate, key, words) in [
        ("server.crt", "ca.key", "not the key of server.crt"),
        ("server.key", "server.key", "holds no certificate"),
        ("server.crt", "server.crt", "holds no private key"),
        ("server.crt", "none.key", "--tls-key none.key: No such file"),
    ] {
        let args = ["test:ball", "-o", output, "--tls-cert", certificate, "--tls-key", key];
        let refused = streamdet(folder.path(), &args);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(said(&refused).contains(words) && said(&refused).contains("give a PEM file"), "{}", said(&refused));
        assert!(!said(&refused).contains("geheim"), "{}", said(&refused));
    }
}

/// Threads of a process, and the memory that it holds, bytes.
fn weight(id: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    (field("Threads:"), field("VmRSS:") * 1024)
}

#[test]
fn clients_that_stall_hold_little_and_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    // Noise, of which every frame is large.
    let args = ["test:snow", "-o", "rtsp://:0/cam", "-o", "o.mkv", "--crf", "10", "--report", "r.json"];
    let run = running(folder.path(), &args);
    let url = run.rest_after("serving ");
    let recording = folder.path().join("o.mkv.part");
    // One that comes and goes: what is made once is there.
    drop(stall(&url, 1));
    events::file(&recording, |bytes| bytes.len() > 4_000_000);
    let (threads, before) = events::state(
        || "the first client never left".into(),
        || Some(weight(run.id())).filter(|(threads, _)| *threads < 30),
    );
    let stalled: Vec<TcpStream> = (0..8).map(|_| stall(&url, 1)).collect();
    let with = weight(run.id()).0 - threads;
    let so_far = recording.metadata().expect("a recording").len();
    // As much has been for each of them.
    events::file(&recording, |bytes| bytes.len() as u64 > so_far + 16_000_000);
    let (_, held) = weight(run.id());
    assert!(with <= 8 * 6, "{with} threads for 8 clients");
    let each = held.saturating_sub(before) / 8;
    assert!(each < 8 << 20, "{each} bytes a client");
    drop(stalled);
    events::state(
        || format!("{} threads, {threads} before", weight(run.id()).0),
        || (weight(run.id()).0 <= threads).then_some(()),
    );
    let (code, said) = run.interrupt();
    assert_eq!(code, Some(130), "{said}");
    assert!(live(&json(&folder.path().join("r.json")), 0, "frames_lost") > 100);
}
