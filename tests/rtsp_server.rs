//! The test server itself, seen by an independent client.

mod program;
mod rtsp;

use std::process::Command;

use rtsp::{Auth, Certificates, Codec, Feed, Live555, PASSWORD, Server, ServerProcess, Told, USER};

/// Pictures that `ffmpeg` decodes from `url`, of 15 that it asks for, or what it says.
fn decoded(url: &str, options: &[&str]) -> Result<u64, String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-read_intervals", "%+#15", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .args(options)
        .arg(url)
        .output()
        .expect("ffprobe is installed");
    let frames = String::from_utf8_lossy(&output.stdout).lines().next().and_then(|l| l.trim_matches(',').parse().ok());
    frames.filter(|_| output.status.success()).ok_or_else(|| program::said(&output))
}

#[test]
fn rtsp_server_process() {
    rtsp::serve_as_told();
}

#[test]
fn feeds_are_seen_by_an_independent_client() {
    let h265 = Feed { codec: Codec::H265, audio: true, ..Feed::new("/h265") };
    let server = Server::start(&Told::showing([Feed { audio: true, ..Feed::new("/h264") }, h265]));
    for (mount, transport) in [("/h264", "tcp"), ("/h264", "udp"), ("/h265", "tcp"), ("/h265", "udp")] {
        let frames = decoded(&server.url(mount), &["-rtsp_transport", transport]);
        assert!(frames.as_ref().is_ok_and(|n| *n >= 10), "{mount} over {transport}: {frames:?}");
    }
    assert!(decoded(&server.url("/nothing"), &[]).is_err_and(|said| said.contains("404")));
}

#[test]
fn a_password_is_asked_for() {
    for auth in [Auth::Basic, Auth::Digest] {
        let server = Server::start(&Told { auth: Some(auth), ..Told::showing([Feed::new("/a")]) });
        let tcp = ["-rtsp_transport", "tcp"];
        let frames = decoded(&server.url_for(USER, PASSWORD, "/a"), &tcp);
        assert!(frames.is_ok(), "{auth:?}: {frames:?}");
        for url in [server.url("/a"), server.url_for(USER, "wrong", "/a")] {
            let refused = decoded(&url, &tcp);
            assert!(refused.as_ref().is_err_and(|said| said.contains("401")), "{auth:?} {url}: {refused:?}");
        }
    }
}

#[test]
fn tls_has_a_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Certificates::make(folder.path());
    let server = Server::start(&Told { certificate: Some(made.server), ..Told::showing([Feed::new("/a")]) });
    let tcp = ["-rtsp_transport", "tcp", "-ca_file", program::text(&made.authority), "-tls_verify", "1"];
    assert!(decoded(&server.url("/a"), &tcp).is_ok(), "{:?}", decoded(&server.url("/a"), &tcp));
}

#[test]
fn a_killed_server_comes_back_at_its_port() {
    let mut server = ServerProcess::start(Told::showing([Feed::new("/a")]));
    let tcp = ["-rtsp_transport", "tcp"];
    assert!(decoded(&server.url("/a"), &tcp).is_ok());
    server.kill();
    assert!(decoded(&server.url("/a"), &tcp).is_err());
    server.restart(None);
    assert!(decoded(&server.url("/a"), &tcp).is_ok());
}

#[test]
fn the_second_server_shows_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = program::made_clip(folder.path(), "clip.mkv", "320x240", "2", &["-bf", "0", "-g", "15"]);
    for (name, options) in [("clip.ts", &["-c", "copy"][..]), ("clip.264", &["-c", "copy", "-an"])] {
        let file = folder.path().join(name);
        let mut args = vec!["-i", program::text(&clip)];
        args.extend(options);
        args.extend(["-y", program::text(&file)]);
        program::witness("ffmpeg", &args);
    }
    let Some(server) = Live555::start(folder.path()) else { return };
    for name in ["clip.mkv", "clip.ts", "clip.264"] {
        for transport in ["tcp", "udp"] {
            let frames = decoded(&server.url(name), &["-rtsp_transport", transport]);
            assert!(frames.as_ref().is_ok_and(|n| *n >= 10), "{name} over {transport}: {frames:?}");
        }
    }
}
