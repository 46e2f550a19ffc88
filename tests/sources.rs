//! Live sources other than RTSP, as a user names them, each sent by an independent program.

mod loopback;
mod program;

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use loopback::{head, send};
use program::{bare, json, made_clip, said, skipped, succeeds, text, times, track_times, witness};
use serde_json::Value;

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = bare(folder, "detect");
    command.args(["--imgsz", "96", "--report", "r.json", "--overwrite"]).args(args);
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("it starts")
}

/// Frames of the only stream: received and processed; all are accounted for.
#[track_caller]
fn counted(folder: &Path) -> (u64, u64) {
    let report = json(&folder.join("r.json"));
    let (received, processed, _) = program::frames(&report);
    (received, processed)
}

/// `ffmpeg`, sending a test picture of 30 frames a second until it is dropped.
struct Sender(Child);

impl Sender {
    fn to(url: &str, options: &[&str]) -> Self {
        let source = "testsrc2=size=320x240:rate=30";
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-re", "-f", "lavfi", "-i", source, "-f", "lavfi", "-i", "sine"])
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
                "-g",
                "15",
                "-pix_fmt",
                "yuv420p",
            ])
            .args(["-c:a", "aac"])
            .args(options)
            .arg(url)
            .stdin(Stdio::null())
            .spawn()
            .expect("ffmpeg is installed");
        Self(child)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody uses just now.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// Serves the files of a folder by HTTP.
fn web(folder: &Path) -> loopback::Server {
    let folder = folder.to_owned();
    loopback::Server::start(vec![Box::new(move |asked, stream| {
        let name = asked.line.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/").trim_start_matches('/');
        let Ok(body) = std::fs::read(folder.join(name)) else { return head(stream, "404 Not Found", &[]) };
        let from = asked.range.map_or(0, |from| usize::try_from(from).expect("small"));
        let mut headers = vec![format!("Content-Length: {}", body.len() - from), "Accept-Ranges: bytes".to_owned()];
        if from > 0 {
            headers.push(format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len()));
        }
        head(stream, if from > 0 { "206 Partial Content" } else { "200 OK" }, &headers);
        send(stream, &body[from..]);
    })])
}

#[test]
fn a_test_picture_is_as_live_as_a_camera() {
    let folder = tempfile::tempdir().expect("a folder");
    succeeds(&run(folder.path(), &["test:ball", "--frames", "40", "-o", "o.mp4"]));
    let (received, processed) = counted(folder.path());
    assert!(received >= 40 && processed > 0);
    assert_eq!(times(&folder.path().join("o.mp4")).len() as u64, processed);
    let report = json(&folder.path().join("r.json"));
    let behind = &report["latency_ms"]["behind_live"];
    assert_eq!(behind["count"].as_u64(), Some(processed - report["warm_up_frames_excluded"].as_u64().unwrap_or(0)));
    // Without -o nothing is written.
    std::fs::remove_file(folder.path().join("o.mp4")).expect("it is there");
    succeeds(&run(folder.path(), &["test:snow", "--frames", "5"]));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_recording_by_http_or_on_standard_input_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "clip.mp4", "320x240", "2", &["-movflags", "+faststart"]);
    made_clip(folder.path(), "clip.ts", "320x240", "2", &[]);
    let server = web(folder.path());
    let url = server.url("clip.mp4?token=planted-s3cret");
    let output = run(folder.path(), &[&url, "-o", "by-http.mp4"]);
    succeeds(&output);
    assert!(!said(&output).contains("planted-s3cret"), "{}", said(&output));
    assert_eq!(counted(folder.path()), (60, 60));
    assert_eq!(times(&folder.path().join("by-http.mp4")).len(), 60);
    let mut child = command(folder.path(), &["-", "-o", "from-pipe.mkv"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let clip = std::fs::read(folder.path().join("clip.ts")).expect("a clip");
    child.stdin.take().expect("piped").write_all(&clip).expect("it reads");
    succeeds(&child.wait_with_output().expect("it ends"));
    assert_eq!(counted(folder.path()), (60, 60));
    assert_eq!(times(&folder.path().join("from-pipe.mkv")).len(), 60);
    // What is not there, and what is no video.
    for (name, says) in [("nothing.mp4", "not found (404)"), ("r.json", "http://")] {
        let output = run(folder.path(), &[&server.url(name)]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(says), "{}", said(&output));
    }
}

/// A recording by HTTP or on standard input keeps the audio that comes after its last frame, as a file does.
#[test]
fn audio_after_the_last_frame_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = web(folder.path());
    for name in ["short.mp4", "short.ts"] {
        let clip = folder.path().join(name);
        let video = ["-f", "lavfi", "-t", "1", "-i", "testsrc2=size=320x240:rate=30"];
        let audio =
            ["-f", "lavfi", "-t", "8", "-i", "sine", "-c:v", "libx264", "-c:a", "aac", "-movflags", "+faststart"];
        witness("ffmpeg", &[video.as_slice(), &audio, &[text(&clip)]].concat());
        let packets = track_times(&clip, "a:0").len();
        let url = server.url(name);
        for source in [text(&clip), "-", url.as_str()] {
            let piped = Stdio::from(File::open(&clip).expect("a clip"));
            let output = command(folder.path(), &[source, "-o", "o.mkv", "--overwrite"]).stdin(piped).output();
            succeeds(&output.expect("it starts"));
            assert_eq!(counted(folder.path()), (30, 30), "{source}");
            let kept = track_times(&folder.path().join("o.mkv"), "a:0").len();
            assert!(kept + 3 >= packets, "{source}: {kept} of {packets}");
        }
    }
}

#[test]
fn a_named_pipe_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "clip.mkv", "320x240", "1", &[]);
    let pipe = folder.path().join("pipe.mkv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let bytes = std::fs::read(&clip).expect("a clip");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| std::fs::write(&pipe, &bytes));
        let output = run(folder.path(), &["pipe.mkv"]);
        // A writer whose pipe nobody opened waits for ever.
        let _opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe);
        succeeds(&output);
        writer.join().expect("no panic").expect("its reader stays");
    });
    assert_eq!(counted(folder.path()), (30, 30));
}

#[test]
fn an_index_at_the_end_needs_range_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    // A smaller one is kept in memory up to its index.
    let large = ["-vf", "noise=alls=100:allf=t", "-preset", "ultrafast", "-qp", "1"];
    let clip = made_clip(folder.path(), "clip.mp4", "640x480", "2", &large);
    let body = std::fs::read(&clip).expect("a clip");
    assert!(body.len() > 12 << 20, "{} bytes", body.len());
    let server = loopback::Server::start(vec![Box::new(move |_, stream| {
        head(stream, "200 OK", &[format!("Content-Length: {}", body.len())]);
        send(stream, &body);
    })]);
    let output = run(folder.path(), &[&server.url("clip.mp4")]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("range requests") && said(&output).contains("+faststart"), "{}", said(&output));
}

#[test]
fn a_web_server_may_ask_for_a_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "clip.ts", "320x240", "1", &[]);
    let body = std::fs::read(&clip).expect("a clip");
    let server = loopback::Server::start(vec![Box::new(move |asked, stream| {
        // pilot:planted-s3cret
        if asked.authorization.as_deref() == Some("Basic cGlsb3Q6cGxhbnRlZC1zM2NyZXQ=") {
            head(stream, "200 OK", &[format!("Content-Length: {}", body.len())]);
            send(stream, &body);
        } else {
            head(
                stream,
                "401 Unauthorized",
                &["WWW-Authenticate: Basic realm=\"x\"".into(), "Content-Length: 0".into()],
            );
        }
    })]);
    let url = |user: &str| server.url("clip.ts").replace("http://", &format!("http://{user}"));
    let good = run(folder.path(), &[&url("pilot:planted-s3cret@")]);
    succeeds(&good);
    for (user, says) in [
        ("pilot:wr0ng@", "user name or password rejected (401)"),
        ("", "authentication required: user name and password (401)"),
    ] {
        let output = run(folder.path(), &[&url(user)]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(says) && !said(&output).contains("wr0ng"), "{}", said(&output));
    }
    assert!(!said(&good).contains("planted-s3cret"), "{}", said(&good));
}

#[test]
fn hls_is_played_in_its_own_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "clip.ts", "320x240", "6", &["-g", "30", "-bf", "0"]);
    let list = folder.path().join("live.m3u8");
    let segments = text(folder.path()).to_owned() + "/live-%d.ts";
    let args = ["-i", text(&clip), "-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0"];
    witness("ffmpeg", &[args.as_slice(), &["-hls_segment_filename", &segments, text(&list)]].concat());
    // Of a live broadcast nobody knows the end yet.
    let text = std::fs::read_to_string(&list).expect("a list");
    std::fs::write(&list, text.replace("#EXT-X-ENDLIST\n", "")).expect("a file");
    let server = web(folder.path());
    let output = run(folder.path(), &[&server.url("live.m3u8"), "--frames", "45"]);
    succeeds(&output);
    let (received, processed) = counted(folder.path());
    assert!(received >= 45 && processed > 20, "{received} {processed}: {}", said(&output));
}

#[test]
fn mpeg_ts_comes_by_udp_and_srt() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let sender = Sender::to(&format!("udp://127.0.0.1:{port}?pkt_size=1316"), &["-f", "mpegts"]);
    let url = format!("udp://127.0.0.1:{port}");
    let output = run(folder.path(), &[&url, "--frames", "60", "-o", "udp.mkv"]);
    succeeds(&output);
    drop(sender);
    let (received, processed) = counted(folder.path());
    assert!(received >= 60 && processed > 0, "{}", said(&output));
    assert!(said(&output).contains("h264 + aac"), "{}", said(&output));
    witness("ffmpeg", &["-i", text(&folder.path().join("udp.mkv")), "-f", "null", "-"]);
    assert_eq!(times(&folder.path().join("udp.mkv")).len() as u64, processed);

    if !witness("ffmpeg", &["-protocols"]).contains("srt") {
        skipped("this ffmpeg has no SRT");
        return;
    }
    let port = free_port();
    let query = "mode=listener&passphrase=planted-s3cret&pbkeylen=16";
    let _sender = Sender::to(&format!("srt://127.0.0.1:{port}?{query}"), &["-f", "mpegts"]);
    let url = format!("srt://127.0.0.1:{port}?passphrase=planted-s3cret");
    let output = run(folder.path(), &[&url, "--frames", "60", "--wait"]);
    succeeds(&output);
    assert!(!said(&output).contains("planted-s3cret"), "{}", said(&output));
    assert!(counted(folder.path()).0 >= 60);
}

/// User name and password are for the server that they were given for, not for one that it redirects to.
#[test]
fn a_redirect_takes_no_password_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = std::fs::read(made_clip(folder.path(), "clip.mp4", "320x240", "1", &[])).expect("a clip");
    let other = loopback::Server::start(vec![Box::new(|_, stream| {
        loopback::head(stream, "401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\"".to_owned()]);
    })]);
    let to = other.url("clip.mp4");
    let first = loopback::Server::start(vec![Box::new(move |_, stream| {
        loopback::head(stream, "302 Found", &[format!("Location: {to}"), "Content-Length: 0".to_owned()]);
    })]);
    let output = run(folder.path(), &[&first.url("clip.mp4").replace("://", "://pilot:planted-s3cret@")]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("redirects to another address (302)"), "{}", said(&output));
    assert!(other.asked().iter().all(|asked| asked.authorization.is_none()));
    // Without any, it is followed.
    let end = loopback::Server::start(vec![loopback::whole(&clip)]);
    let to = end.url("clip.mp4");
    let first = loopback::Server::start(vec![Box::new(move |_, stream| {
        loopback::head(stream, "302 Found", &[format!("Location: {to}"), "Content-Length: 0".to_owned()]);
    })]);
    succeeds(&run(folder.path(), &[&first.url("clip.mp4")]));
}

/// RTP without RTSP: named, recognised by its first packets, described in a file; else said to be RTP.
#[test]
fn rtp_comes_on_a_udp_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let rtp = |options: &[&str]| {
        let port = free_port();
        (Sender::to(&format!("rtp://127.0.0.1:{port}?pkt_size=1200"), &[options, &["-an"]].concat()), port)
    };
    let played = |source: &str| {
        let output = run(folder.path(), &[source, "--frames", "30"]);
        succeeds(&output);
        assert!(counted(folder.path()).0 >= 30, "{source}: {}", said(&output));
    };
    let (sender, port) = rtp(&["-f", "rtp", "-bsf:v", "dump_extra"]);
    played(&format!("udp://127.0.0.1:{port}"));
    played(&format!("rtp://127.0.0.1:{port}?rtp=h264"));
    let description =
        format!("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n");
    let file = folder.path().join("drone.sdp");
    std::fs::write(&file, description + "a=rtpmap:96 H264/90000\n").expect("a file");
    played(text(&file));
    drop(sender);
    let (_transport_stream, port) = rtp(&["-f", "rtp_mpegts"]);
    played(&format!("udp://127.0.0.1:{port}"));
    let hevc =
        ["-c:v", "libx265", "-x265-params", "log-level=none:keyint=15:bframes=0", "-f", "rtp", "-bsf:v", "dump_extra"];
    let (_hevc, port) = rtp(&hevc);
    played(&format!("udp://127.0.0.1:{port}"));
    played(&format!("udp://127.0.0.1:{port}?rtp=h265"));
    let vp8 = ["-c:v", "libvpx", "-tune", "psnr", "-deadline", "realtime", "-f", "rtp"];
    let (_unrecognised, port) = rtp(&vp8);
    let output = run(folder.path(), &[&format!("udp://127.0.0.1:{port}")]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("it is RTP") && said(&output).contains("?rtp="), "{}", said(&output));
    played(&format!("udp://127.0.0.1:{port}?rtp=vp8"));
}

/// A recorder or encoder whose sound is set to another rate midway.
#[test]
fn sound_that_changes_its_format_ends_with_a_notice_and_the_video_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut both = Vec::new();
    // The first is long enough for the model to be there before it ends.
    for (name, rate, channels, from, length) in [("a.ts", "48000", "1", "0", "10"), ("b.ts", "44100", "2", "10", "4")] {
        let file = folder.path().join(name);
        let pictures = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=30", "-f", "lavfi", "-i", "sine"];
        let codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-pix_fmt", "yuv420p", "-c:a", "aac"];
        let rest = ["-ar", rate, "-ac", channels, "-t", length, "-output_ts_offset", from, "-y", text(&file)];
        witness("ffmpeg", &[&pictures[..], &codecs, &rest].concat());
        both.extend(std::fs::read(file).expect("a clip"));
    }
    std::fs::write(folder.path().join("both.ts"), both).expect("a file");
    let own =
        "[cam]\nelements = 'filesrc location=both.ts ! tsparse set-timestamps=true ! identity sync=true name=out'\n";
    std::fs::write(folder.path().join("own.toml"), own).expect("a file");
    let args = ["pipeline:cam", "--pipeline", "own.toml", "--reconnect", "0", "-o", "o.mkv"];
    let output = run(folder.path(), &args);
    succeeds(&output);
    let said = said(&output);
    assert_eq!(said.matches("audio track 1 changes to aac, of another format: it ends there").count(), 1, "{said}");
    let (_, processed) = counted(folder.path());
    let file = folder.path().join("o.mkv");
    assert_eq!(times(&file).len() as u64, processed, "{said}");
    assert!(!folder.path().join("o-2.mkv").exists());
    let end = |track: &str| *program::track_times(&file, track).last().expect("packets");
    let (sound, pictures) = (end("a:0"), end("v:0"));
    assert!((3.0..5.0).contains(&(pictures - sound)), "{sound} and {pictures}: {said}");
}

#[test]
fn a_user_describes_sources() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.toml");
    let own = "[gradient]\nelements = '''videotestsrc is-live=true pattern=gradient\n  ! video/x-raw,width=320,height=240 ! identity name=out'''\n";
    std::fs::write(&file, own).expect("a file");
    let args = ["pipeline:gradient", "--pipeline", "own.toml", "--frames", "10"];
    succeeds(&run(folder.path(), &args));
    let report: Value = json(&folder.path().join("r.json"));
    assert_eq!(
        (report["streams"][0]["width"].as_u64(), report["streams"][0]["uri"].as_str()),
        (Some(320), Some("pipeline:gradient"))
    );
    std::fs::write(&file, own.replace("elements", "elemnts")).expect("a file");
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("own.toml:2") && said(&output).contains("elements"), "{}", said(&output));
    let output = run(folder.path(), &["test:ball", "--decoder", "avdec_h265x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("the nearest is avdec_h265"), "{}", said(&output));
}

/// A camera that the machine is too slow for falls further behind with every frame: the newest there is is shown.
#[test]
fn a_source_that_is_late_itself_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = "[late]\nelements = \"videotestsrc is-live=true ! video/x-raw,framerate=30/1,width=320,height=240 \
               ! identity name=out sleep-time=60000\"\n";
    std::fs::write(folder.path().join("own.toml"), own).expect("a file");
    succeeds(&run(folder.path(), &["pipeline:late", "--pipeline", "own.toml", "--frames", "40"]));
    let frames = &json(&folder.path().join("r.json"))["streams"][0]["frames"];
    assert_eq!(frames["dropped"]["stale"], 0, "{frames}");
    assert!(frames["processed"].as_u64() > Some(20), "{frames}");
}

#[test]
fn a_stream_that_ends_early_is_sought_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = "[short]\nelements = \"videotestsrc is-live=true num-buffers=15 ! video/x-raw,framerate=30/1 ! identity name=out\"\n";
    std::fs::write(folder.path().join("own.toml"), own).expect("a file");
    let args = ["pipeline:short", "--pipeline", "own.toml", "--frames", "40", "-o", "o.mkv"];
    let output = run(folder.path(), &args);
    succeeds(&output);
    let report = json(&folder.path().join("r.json"));
    assert!(report["streams"][0]["reconnects"].as_u64() >= Some(2), "{}", report["streams"]);
    assert!(said(&output).contains("disconnected: the stream ended"), "{}", said(&output));
}

/// The demuxer's thread must not wait with a track that is discarded and sends nothing but GAP events.
#[test]
fn sparse_tracks_do_not_hold_up_the_video() {
    let Some(root) = program::shared() else { return };
    for name in ["klv_async.ts", "dvb_subtitles.ts"] {
        let file = root.join("data/reports/made").join(name);
        let folder = tempfile::tempdir().expect("a folder");
        let output = run(folder.path(), &[text(&file), "-o", "o.mp4"]);
        succeeds(&output);
        assert_eq!(counted(folder.path()), (75, 75), "{name}");
        assert_eq!(times(&folder.path().join("o.mp4")).len(), 75, "{name}");
        let piped = std::fs::File::open(&file).expect("a file");
        let output = command(folder.path(), &["-", "-o", "none"]).stdin(piped).output().expect("it starts");
        succeeds(&output);
        assert_eq!(counted(folder.path()), (75, 75), "{name} on standard input");
    }
}
