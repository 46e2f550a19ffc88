//! Live sources as a user runs them: real RTSP servers that ask for passwords, lose packets, fall silent and die.

mod program;
mod rtsp;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use program::running::Running;
use program::{bare, counted, json, json_lines, number, said, succeeds, text, times, witness};
use rtsp::{Auth, Certificates, Codec, Feed, Live555, PASSWORD, Server, ServerProcess, Told, USER};
use serde_json::Value;
use streamdet::clock;

/// What makes a run cheap.
const SMALL: [&str; 2] = ["--imgsz", "96"];

#[test]
fn rtsp_server_process() {
    rtsp::serve_as_told();
}

/// `streamdet detect` on live sources.
fn live(folder: &Path, args: &[&str]) -> Command {
    let mut command = bare(folder, "detect");
    command.args(SMALL).args(args);
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    live(folder, args).output().expect("it starts")
}

/// A run in the background.
fn running(folder: &Path, args: &[&str]) -> Running {
    Running::start(live(folder, args))
}

/// Times of the frames in detections, which increase; events left out.
#[track_caller]
fn frame_times(path: &Path) -> Vec<u64> {
    let lines = json_lines(path);
    let times: Vec<u64> = lines.iter().filter(|l| l.get("frame").is_some()).map(|l| number(&l["pts_ns"])).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "times increase");
    times
}

/// Audio and video can be decoded to the end by an independent program.
#[track_caller]
fn plays(file: &Path) {
    witness("ffmpeg", &["-i", text(file), "-f", "null", "-"]);
}

fn seconds() -> u64 {
    std::env::var("STREAMDET_TEST_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(6)
}

#[test]
fn h264_and_h265_with_sound_come_by_udp_and_tcp() {
    let feed = |mount: &str, codec| Feed { codec, audio: true, ..Feed::new(mount) };
    let server = Server::start(&Told::showing([feed("/h264", Codec::H264), feed("/h265", Codec::H265)]));
    for (mount, transport) in
        [("/h264", "udp"), ("/h264", "tcp"), ("/h265", "auto"), ("/h265", "tcp"), ("/h264", "http")]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let url = server.url(mount);
        let args =
            [&url, "--rtsp-transport", transport, "--frames", "45", "-o", "o.mkv", "--report", "r.json", "--json", "d"];
        let output = run(folder.path(), &args);
        succeeds(&output);
        let report = json(&folder.path().join("r.json"));
        let (received, processed) = counted(&report, 0);
        assert!(received >= 45 && processed > 0, "{mount} by {transport}: {report}");
        assert_eq!(report["streams"][0]["reconnects"], 0);
        let times = frame_times(&folder.path().join("d"));
        assert_eq!((times[0], times.len() as u64), (0, processed));
        let file = folder.path().join("o.mkv");
        plays(&file);
        assert_eq!(self::times(&file).len() as u64, processed);
        assert!(
            said(&output).contains(if mount == "/h264" { "h264 + aac" } else { "h265 + aac" }),
            "{}",
            said(&output)
        );
        let sound = program::track_times(&file, "a:0");
        assert!(sound.len() > 20, "{mount} by {transport}: {} packets of sound", sound.len());
    }
}

/// A recorded clip from a server that owes nothing to `GStreamer`.
#[test]
fn a_real_clip_comes_from_another_server() {
    let Some(root) = program::shared() else { return };
    let clip = root.join("data/video/car-detection.mp4");
    let shown = tempfile::tempdir().expect("a folder");
    for (name, options) in
        [("clip.mkv", &["-c", "copy"][..]), ("clip.ts", &["-c", "copy"]), ("clip.264", &["-c", "copy", "-an"])]
    {
        let file = shown.path().join(name);
        witness("ffmpeg", &[&["-i", text(&clip)], options, &["-y", text(&file)]].concat());
    }
    let Some(server) = Live555::start(shown.path()) else { return };
    for (name, transport) in [
        ("clip.mkv", "tcp"),
        ("clip.mkv", "udp"),
        ("clip.ts", "tcp"),
        ("clip.ts", "udp"),
        ("clip.264", "tcp"),
        ("clip.264", "udp"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let url = server.url(name);
        // On a busy machine this server has been seen to pause for longer than the default of --stall-timeout.
        let options = ["--rtsp-transport", transport, "--stall-timeout", "30", "--frames", "40"];
        let outputs = ["-o", "o.mkv", "--report", "r.json", "--json", "d"];
        let output = run(folder.path(), &[&[url.as_str()][..], &options, &outputs].concat());
        succeeds(&output);
        let report = json(&folder.path().join("r.json"));
        let (received, processed) = counted(&report, 0);
        assert!(received >= 40 && processed > 0, "{name} by {transport}: {report}");
        assert_eq!(report["streams"][0]["reconnects"], 0, "{name} by {transport}");
        assert_eq!((&report["streams"][0]["width"], &report["streams"][0]["height"]), (&768.into(), &432.into()));
        assert_eq!(frame_times(&folder.path().join("d")).len() as u64, processed);
        let file = folder.path().join("o.mkv");
        plays(&file);
        assert_eq!(times(&file).len() as u64, processed, "{name} by {transport}");
        assert_eq!(program::track_times(&file, "a:0").is_empty(), name == "clip.264", "{name} by {transport}: sound");
    }
}

#[test]
fn a_password_is_asked_for_and_given() {
    for auth in [Auth::Basic, Auth::Digest] {
        let server = Server::start(&Told { auth: Some(auth), ..Told::showing([Feed::new("/x")]) });
        let folder = tempfile::tempdir().expect("a folder");
        let frames = ["--frames", "5", "--rtsp-transport", "tcp"];
        let url = server.url_for(USER, PASSWORD, "/x");
        succeeds(&live(folder.path(), &[url.as_str()]).args(frames).output().expect("it starts"));
        let url = server.url("/x");
        let mut apart = live(folder.path(), &[url.as_str()]);
        apart.args(frames).env("STREAMDET_USER", USER).env("STREAMDET_PASSWORD", PASSWORD);
        succeeds(&apart.output().expect("it starts"));
        for (url, says) in [
            (server.url_for(USER, "wrong", "/x"), "user name or password rejected (401)"),
            (server.url("/x"), "authentication required: user name and password (401)"),
        ] {
            let output = live(folder.path(), &[url.as_str()]).args(frames).output().expect("it starts");
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
            assert!(said(&output).contains(says), "{}", said(&output));
            assert!(!said(&output).contains("wrong"), "{}", said(&output));
        }
    }
}

#[test]
fn a_certificate_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Certificates::make(folder.path());
    let server = Server::start(&Told { certificate: Some(made.server), ..Told::showing([Feed::new("/x")]) });
    let url = server.url("/x");
    let args = [&url, "--frames", "5"];
    let with = |more: &[&str]| live(folder.path(), &args).args(more).output().expect("it starts");
    succeeds(&with(&["--tls-ca", text(&made.authority)]));
    succeeds(&with(&["--insecure"]));
    let output = with(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("certificate signed by an unknown authority"), "{}", said(&output));
    assert!(said(&output).contains("--tls-ca"), "{}", said(&output));
}

/// A server killed and started again, twenty times in one run.
#[test]
fn a_server_that_dies_twenty_times_is_found_again_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let feed = || vec![Feed { audio: true, ..Feed::new("/x") }];
    let mut server = ServerProcess::start(Told::showing(feed()));
    let url = server.url("/x");
    let args = [&url, "--rtsp-transport", "tcp", "-o", "o.mp4", "--report", "r.json", "--json", "d.jsonl", "-v"];
    let run = running(folder.path(), &args);
    run.wait_for("video 1/1", 1);
    let mut slowest = Duration::ZERO;
    for kill in 1..=20 {
        server.kill();
        run.wait_for("disconnected:", kill);
        server.restart(None);
        let accepting = clock::now();
        run.wait_for("reconnected after", kill);
        slowest = slowest.max(clock::now().since(accepting));
        let frames = run.said().matches("video 1/1").count();
        run.wait_for("video 1/1", frames + 30);
    }
    let (code, said) = run.interrupt();
    assert_eq!(code, Some(130), "{said}");
    eprintln!("a picture at most {slowest:?} after the server accepted again");
    let report = json(&folder.path().join("r.json"));
    let stream = &report["streams"][0];
    assert_eq!(stream["reconnects"], 20, "{said}");
    assert_eq!(stream["outages"].as_array().expect("outages").len(), 20);
    let (_, processed) = counted(&report, 0);
    let times = frame_times(&folder.path().join("d.jsonl"));
    assert_eq!(times.len() as u64, processed);
    let gaps: Vec<Value> =
        json_lines(&folder.path().join("d.jsonl")).into_iter().filter(|line| line["event"] == "gap").collect();
    assert_eq!(gaps.len(), 20);
    for gap in &gaps {
        let (from, to) = (number(&gap["from_pts_ns"]), number(&gap["to_pts_ns"]));
        assert!(from < to, "{gap}");
        assert!(!times.iter().any(|time| (from + 1..to).contains(time)), "a made-up frame in {gap}");
    }
    let file = folder.path().join("o.mp4");
    plays(&file);
    assert_eq!(self::times(&file).len() as u64, processed);
    assert!(!folder.path().join("o-2.mp4").exists());
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let silent = Server::start(&Told::showing([Feed { stop_after_packets: 1, ..Feed::new("/x") }]));
    let folder = tempfile::tempdir().expect("a folder");
    let url = silent.url("/x");
    let output = run(folder.path(), &[&url, "--rtsp-transport", "tcp", "--stall-timeout", "2s"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("no packets received for 2 s"), "{}", said(&output));
    // Half a picture, and then nothing.
    let feed = Feed { stop_after_packets: 501, width: 1280, height: 720, ..Feed::new("/x") };
    let half = Server::start(&Told::showing([feed]));
    let url = half.url("/x");
    let args =
        [&url, "--rtsp-transport", "tcp", "--stall-timeout", "1s", "--reconnect", "0", "-o", "o.mkv", "--report", "r"];
    let output = run(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("no data received for 1 s"), "{}", said(&output));
    let (_, processed) = counted(&json(&folder.path().join("r")), 0);
    plays(&folder.path().join("o.mkv"));
    assert_eq!(times(&folder.path().join("o.mkv")).len() as u64, processed);
}

#[test]
fn another_size_begins_another_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&Told::showing([Feed { resize: Some((60, 640, 360)), ..Feed::new("/x") }]));
    let url = server.url("/x");
    let args = [&url, "--rtsp-transport", "tcp", "--frames", "120", "-o", "o.mp4", "--report", "r.json"];
    let output = run(folder.path(), &args);
    succeeds(&output);
    let report = json(&folder.path().join("r.json"));
    let (_, processed) = counted(&report, 0);
    let files = ["o.mp4", "o-2.mp4"].map(|name| folder.path().join(name));
    assert_eq!(report["outputs"].as_array().expect("files").len(), 2, "{}", said(&output));
    assert_eq!(files.each_ref().map(|file| program::probe(file, "width,height")), ["320,240", "640,360"]);
    for file in &files {
        plays(file);
    }
    assert_eq!(files.iter().map(|file| times(file).len() as u64).sum::<u64>(), processed);
}

#[test]
fn another_codec_after_an_outage_begins_another_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = ServerProcess::start(Told::showing([Feed::new("/x")]));
    let url = server.url("/x");
    let args = [&url, "--rtsp-transport", "tcp", "-o", "o.mp4", "--report", "r.json", "-v"];
    let run = running(folder.path(), &args);
    run.wait_for("video 1/1", 5);
    server.kill();
    run.wait_for("disconnected:", 1);
    server.restart(Some(vec![Feed { codec: Codec::H265, ..Feed::new("/x") }]));
    run.wait_for("reconnected after", 1);
    let frames = run.said().matches("video 1/1").count();
    run.wait_for("video 1/1", frames + 5);
    let (_, said) = run.interrupt();
    let report = json(&folder.path().join("r.json"));
    assert_eq!(report["outputs"].as_array().expect("files").len(), 2, "{said}");
    let files = ["o.mp4", "o-2.mp4"].map(|name| folder.path().join(name));
    for file in &files {
        plays(file);
    }
    let (_, processed) = counted(&report, 0);
    assert_eq!(files.iter().map(|file| times(file).len() as u64).sum::<u64>(), processed);
}

#[test]
fn a_source_that_is_not_there_yet_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = ServerProcess::start(Told::showing([Feed::new("/x")]));
    server.kill();
    let url = server.url("/x");
    let mut run = running(folder.path(), &[&url, "--wait", "--frames", "10", "--report", "r.json"]);
    run.wait_for("disconnected: connection refused", 1);
    server.restart(None);
    assert_eq!(run.ended(), Some(0), "{}", run.said());
    assert!(counted(&json(&folder.path().join("r.json")), 0).0 >= 10);
}

#[test]
fn where_udp_does_not_work_tcp_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&Told::showing([Feed { tcp_only: true, ..Feed::new("/x") }]));
    let url = server.url("/x");
    let by_udp = run(folder.path(), &[&url, "--frames", "10", "--rtsp-transport", "udp"]);
    assert_eq!(by_udp.status.code(), Some(2));
    assert!(said(&by_udp).contains("unsupported transport"), "{}", said(&by_udp));
    succeeds(&run(folder.path(), &[&url, "--frames", "10"]));
}

/// A decoder that takes three times as long as the stream.
#[test]
fn a_slow_decoder_does_not_fall_behind_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&Told::showing([Feed::new("/x")]));
    let url = server.url("/x");
    let frames = (seconds() * 30).to_string();
    let args = [&url, "--rtsp-transport", "tcp", "--delay", "decode=100", "--frames", &frames, "--report", "r.json"];
    succeeds(&run(folder.path(), &args));
    let report = json(&folder.path().join("r.json"));
    let (received, processed) = counted(&report, 0);
    let (dropped, behind) = (&report["streams"][0]["frames"]["dropped"], &report["latency_ms"]["behind_live"]);
    eprintln!("{received} received, {processed} processed, {dropped}, behind live {behind}");
    assert!(processed > 0 && number(&dropped["stale"]) > 0, "{dropped}");
    // In time when it was taken, and from there on as long as its way took.
    let most = |stage: &str| report["latency_ms"][stage]["max"].as_f64().expect("a time");
    // A busy machine holds packets up itself, which counts from their arrival.
    assert!(most("behind_live") <= 1000.0 + most("end_to_end"), "{behind}");
}

#[test]
fn a_sender_that_tells_its_time_is_measured_from_the_capture_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&Told::showing([Feed::new("/x")]));
    let url = server.url("/x");
    let args = [&url, "--rtsp-transport", "tcp", "--frames", "300", "--report", "r.json"];
    succeeds(&run(folder.path(), &args));
    let capture = &json(&folder.path().join("r.json"))["latency_ms"]["capture_to_display"];
    eprintln!("from capture to display {capture}");
    assert!(capture["count"].as_u64() > Some(0), "{capture}");
}

#[test]
fn lost_packets_cost_pictures_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let feed = Feed { loss_percent: 5, width: 640, height: 360, audio: true, ..Feed::new("/x") };
    let server = Server::start(&Told::showing([feed]));
    let url = server.url("/x");
    let args = [&url, "--rtsp-transport", "udp", "--frames", "150", "-o", "o.mp4", "--report", "r.json"];
    let output = run(folder.path(), &args);
    succeeds(&output);
    let report = json(&folder.path().join("r.json"));
    let (received, processed) = counted(&report, 0);
    eprintln!("5 % lost: {}", report["streams"][0]["frames"]);
    assert!(received >= 150 && processed > 0);
    assert_eq!(report["streams"][0]["reconnects"], 0);
    plays(&folder.path().join("o.mp4"));
    assert_eq!(times(&folder.path().join("o.mp4")).len() as u64, processed);
}

/// A model four times slower than the stream.
#[test]
fn lag_does_not_build_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let inference = 133;
    let frames = (seconds() * 30).to_string();
    let delay = format!("inference={inference}");
    let args = ["test:ball", "--frames", &frames, "--delay", &delay, "--report", "r.json"];
    succeeds(&run(folder.path(), &args));
    let report = json(&folder.path().join("r.json"));
    let (received, processed) = counted(&report, 0);
    let (dropped, behind) = (&report["streams"][0]["frames"]["dropped"], &report["latency_ms"]["behind_live"]);
    eprintln!("{received} received, {processed} processed, {dropped}, behind live {behind}");
    assert!(number(&dropped["queue_full"]) + number(&dropped["stale"]) > received / 2, "{dropped}");
    let p99 = behind["p99"].as_f64().expect("a time");
    let run_ms = report["latency_ms"]["inference"]["p99"].as_f64().expect("a time");
    assert!(p99 <= 500.0 + 2.0 * run_ms, "{behind}");
}

#[test]
fn four_streams_share_the_model_fairly_and_one_that_dies_leaves_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut dying = ServerProcess::start(Told::showing([Feed::new("/x")]));
    let others = Server::start(&Told::showing(["/a", "/b", "/c"].map(Feed::new)));
    let [a, b, c] = ["/a", "/b", "/c"].map(|mount| others.url(mount));
    let x = dying.url("/x");
    let args = [
        "--rtsp-transport",
        "tcp",
        "--frames",
        "150",
        "--reconnect",
        "1",
        "--batch",
        "4",
        "--delay",
        "inference=40",
        "--report",
        "r.json",
        "-v",
        &a,
        &b,
        &c,
        &x,
    ];
    let mut run = running(folder.path(), &args);
    run.wait_for("video 4/4", 5);
    dying.kill();
    let code = run.ended();
    let said = run.said();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("error: rtsp://127.0.0.1") && said.contains("connection refused"), "{said}");
    let report = json(&folder.path().join("r.json"));
    let processed: Vec<u64> = (0..4).map(|stream| counted(&report, stream).1).collect();
    eprintln!("processed {processed:?}, batches {}", report["batches"]);
    assert!((0..3).all(|stream| counted(&report, stream).0 >= 150), "{report}");
    assert!(report["batches"]["max"].as_u64() > Some(1), "{}", report["batches"]);
    let mean = processed[..3].iter().sum::<u64>() / 3;
    assert!(processed[..3].iter().all(|n| n * 10 >= mean * 8), "{processed:?}");
}

/// Everything that is refused, with its exit code.
#[test]
fn refusals_name_the_reason_and_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Certificates::make(folder.path());
    let plain = Server::start(&Told::showing([Feed::new("/x")]));
    let locked = Server::start(&Told { auth: Some(Auth::Digest), ..Told::showing([Feed::new("/x")]) });
    let secure = Server::start(&Told { certificate: Some(made.server), ..Told::showing([Feed::new("/x")]) });
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").port()
    };
    let mute_port = mute.local_addr().expect("bound").port();
    let cases: Vec<(String, &[&str], &str)> = vec![
        (format!("rtsp://127.0.0.1:{nobody}/x"), &[], "connection refused"),
        ("rtsp://no-such-host.invalid/x".into(), &[], "host no-such-host.invalid not found"),
        (plain.url("/y"), &[], "not found (404)"),
        (locked.url("/x"), &[], "authentication required: user name and password (401)"),
        (locked.url_for(USER, "wrong", "/x"), &[], "user name or password rejected (401)"),
        (secure.url("/x"), &[], "certificate signed by an unknown authority"),
        (plain.url("/x").replace("rtsp:", "rtsps:"), &[], "does not speak TLS"),
        (plain.url("/x"), &["--rtsp-transport", "multicast"], "--rtsp-transport"),
        (format!("rtsp://127.0.0.1:{mute_port}/x"), &["--stall-timeout", "1s"], "connection timed out after 10 s"),
        (format!("http://127.0.0.1:{nobody}/x.mp4"), &[], "connection refused"),
        (format!("udp://127.0.0.1:{nobody}"), &["--stall-timeout", "1s"], "no packets received for 1 s"),
        (format!("srt://127.0.0.1:{nobody}?passphrase=0123456789"), &["--stall-timeout", "1s"], "srt://"),
        ("test:bal".into(), &[], "test:ball"),
        ("camera:9".into(), &[], "camera"),
        ("/dev/video99".into(), &[], "/dev/video99"),
        ("rtps://h/x".into(), &[], "the nearest is rtsp://"),
        ("pipeline:mine".into(), &[], "--pipeline"),
        ("https://youtube.com/watch?v=1".into(), &[], "yt-dlp"),
    ];
    for (source, more, says) in &cases {
        let mut command = live(folder.path(), &[source]);
        // A yt-dlp that is installed would go and look.
        command.args(*more).env("PATH", folder.path());
        let output = command.output().expect("it starts");
        let said = said(&output);
        let error = said.split_once("error: ").map_or("", |(_, error)| error).trim();
        println!("{:?}  {}", output.status.code().unwrap_or(-1), error.replace("\n  ", " → "));
        assert_eq!(output.status.code(), Some(2), "{source}: {said}");
        assert!(error.contains(says), "{source}: {says}: {said}");
        assert!(error.contains("\n  "), "{source}: a remedy: {said}");
        assert!(!said.contains("0123456789") && !said.contains("wrong"), "{said}");
    }
}

/// A planted password is in nothing that a run prints or writes.
#[test]
fn no_secret_is_printed_or_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&Told { auth: Some(Auth::Digest), ..Told::showing([Feed::new("/x")]) });
    let good = server.url_for(USER, PASSWORD, "/x?token=planted-s3cret-token");
    let out = folder.path().join("out");
    std::fs::create_dir(&out).expect("a folder");
    let args = [
        &good,
        "--rtsp-transport",
        "tcp",
        "--frames",
        "20",
        "-vv",
        "-o",
        "out/o.mkv",
        "--report",
        "out/r.json",
        "--json",
        "out/d.jsonl",
        "--csv",
        "out/f.csv",
        "--html",
        "out/p.html",
        "--trace",
        "out/t.json",
        "--metrics",
        ":0",
    ];
    let logged = ["--rtsp-transport", "tcp", "--frames", "5", "-vvv", "--log-format"];
    let traced = |format| [&[good.as_str()], logged.as_slice(), &[format], &["--user", "planted-s3cret-user"]].concat();
    let (as_text, as_json) = (traced("text"), traced("json"));
    let misused: [&[&str]; 2] =
        [&[&good, "--no-such-flag"], &["--password", "planted-s3cret-flag", "--show-config", "x"]];
    for (number, args) in [&args[..], misused[0], misused[1], &as_text, &as_json].into_iter().enumerate() {
        let output = live(folder.path(), args).env("STREAMDET_LOG", "trace").output().expect("it starts");
        std::fs::write(out.join(format!("printed-{number}")), [output.stdout, output.stderr].concat()).expect("a file");
    }
    let printed = std::fs::read_to_string(out.join("printed-0")).expect("what was printed");
    assert!(
        printed.contains("visible in the process list; use the config file or the environment: STREAMDET_USER"),
        "{printed}"
    );
    let wrong = server.url_for(USER, "planted-s3cret-wrong", "/x");
    let refused = run(folder.path(), &[&wrong]);
    std::fs::write(out.join("refused"), [refused.stdout, refused.stderr].concat()).expect("a file");
    let misplaced = Command::new(env!("CARGO_BIN_EXE_streamdet")).arg(&good).output().expect("it starts");
    std::fs::write(out.join("misplaced"), [misplaced.stdout, misplaced.stderr].concat()).expect("a file");
    assert!(out.join("o.mkv").exists(), "{:?}", std::fs::read_to_string(out.join("printed-0")));
    let found = Command::new("grep").args(["-rla", "planted-s3cret", text(&out)]).output().expect("grep");
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
}

/// A stream at 30 frames a second keeps up until the model's run takes longer than that allows.
#[test]
fn bench_says_whether_a_live_stream_is_kept_up_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&Told::showing([Feed::new("/cam")]));
    let bench = |delay: &str, name: &str| {
        let mut command = bare(folder.path(), "bench");
        command.args(SMALL).args([&server.url("/cam"), "--frames", "90", "--delay", delay, "--report", name]);
        let output = command.output().expect("it starts");
        succeeds(&output);
        (json(&folder.path().join(name)), said(&output))
    };
    let (slow, words) = bench("inference=150", "slow.json");
    let reason = slow["real_time"]["reason"].as_str().expect("words");
    assert_eq!(slow["real_time"]["verdict"], "no", "{words}");
    assert!(reason.contains("frames were dropped") && reason.contains("the model alone takes"), "{reason}");
    assert!(words.contains("REAL-TIME: no"), "{words}");
    assert!((slow["real_time"]["budget_ms"].as_f64().expect("a number") - 33.3).abs() < 0.1, "{words}");
    // How fast this machine is, nobody knows: what it says must follow from what it counted.
    let (quick, words) = bench("inference=0", "quick.json");
    let count = |value: &Value| value.as_u64().expect("a count");
    let frames = &quick["streams"][0]["frames"];
    let lost: u64 = ["stale", "queue_full"].iter().map(|why| count(&frames["dropped"][why])).sum();
    let kept_up = lost * 100 <= count(&frames["received"])
        && quick["latency_ms"]["behind_live"]["p99"].as_f64().expect("a number") <= 500.0;
    assert_eq!(quick["real_time"]["verdict"] == "yes", kept_up, "{words}");
}
