//! What is served, sent, shown or cut while it happens, as a user runs it; `ffmpeg` and `ffprobe` are the ones who watch.

mod program;
mod rtsp;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use program::watching::{decodes, ends_well, live, rtsp_watcher, running, stall, watcher};
use program::{
    detect, events, frames, free_port, json, made_clip, probe, said, segments, streamdet, succeeds, text, times,
    track_times, witness,
};
use rtsp::{Feed, Server, Told};
use serde_json::Value;

/// Whether the first picture is a key frame.
fn begins_with_a_key_frame(path: &Path) -> bool {
    let args = [
        "-select_streams",
        "v:0",
        "-show_entries",
        "packet=flags",
        "-of",
        "csv=p=0",
        "-read_intervals",
        "%+#1",
        text(path),
    ];
    witness("ffprobe", &args).starts_with('K')
}

/// By how much the sound begins later than the pictures, seconds.
fn offset(path: &Path) -> f64 {
    track_times(path, "a:0")[0] - track_times(path, "v:0")[0]
}

#[test]
fn segments_are_whole_and_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "10", &[]);
    for ending in ["mp4", "mkv"] {
        let (out, report) = (format!("o.{ending}"), folder.path().join("r.json"));
        succeeds(&streamdet(
            folder.path(),
            &["made.mp4", "-o", &out, "--segment", "3s", "--imgsz", "96", "--report", "r.json", "--overwrite"],
        ));
        let report = json(&report);
        let (_, processed, _) = frames(&report);
        let files = segments(folder.path(), "o", ending);
        let named: Vec<PathBuf> =
            report["outputs"].as_array().expect("files").iter().filter_map(Value::as_str).map(PathBuf::from).collect();
        assert_eq!(named.iter().map(|name| folder.path().join(name)).collect::<Vec<_>>(), files);
        assert_eq!(files.len(), 4, "{files:?}");
        let counts: Vec<usize> = files.iter().map(|file| times(file).len()).collect();
        assert_eq!(counts.iter().sum::<usize>() as u64, processed, "{counts:?}");
        assert_eq!(counts[..3], [90, 90, 90], "cut when the time has come");
        let sound: usize = files.iter().map(|file| track_times(file, "a:0").len()).sum();
        let before = track_times(&folder.path().join("made.mp4"), "a:0").len();
        assert!((before - 2..=before).contains(&sound), "{sound} of {before} packets");
        for file in &files {
            decodes(file);
            assert!(begins_with_a_key_frame(file), "{}", file.display());
            assert!(track_times(file, "v:0")[0] < 0.05, "{} begins near zero", file.display());
            assert!((offset(file) - offset(&files[0])).abs() <= 0.025, "{}: {}", file.display(), offset(file));
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").filter_map(Result::ok).collect();
        assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().contains(".part")));
    }
    for (out, more, words) in [
        ("o.mp4", vec!["--keep", "2s"], "--keep is shorter"),
        ("o-%q.mp4", vec![], "takes %Y"),
        ("o.mp4", vec!["--keep-bytes", "3 parsecs"], "50GB"),
    ] {
        let output = streamdet(folder.path(), &[vec!["made.mp4", "-o", out, "--segment", "3s"], more].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

/// A recorder that is started again, as by a service manager: it goes on beside what is there, and keeps what it should of all runs.
#[test]
fn a_recorder_is_restarted_and_keeps_what_it_should() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "6", &["-vf", "noise=alls=60:allf=t", "-preset", "ultrafast"]);
    let args = ["made.mp4", "-o", "cam.mkv", "--segment", "2s", "--imgsz", "96"];
    succeeds(&streamdet(folder.path(), &args));
    let first = segments(folder.path(), "cam", "mkv");
    assert_eq!(first.len(), 3);
    let contents: Vec<Vec<u8>> = first.iter().map(|file| std::fs::read(file).expect("a segment")).collect();
    std::fs::write(folder.path().join("cam-holiday.mkv"), "mine").expect("a file");
    succeeds(&streamdet(folder.path(), &args));
    let count = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(count, 2 + 6, "three more");
    assert!(first.iter().zip(&contents).all(|(file, content)| std::fs::read(file).expect("it is there") == *content));
    // As old as a day, those of the first run go; the size decides what else does.
    let day = Duration::from_hours(24);
    for file in &first {
        let file = std::fs::File::options().write(true).open(file).expect("a segment");
        file.set_modified(SystemTime::now() - day).expect("a time");
    }
    let pattern = "cam-%Y%m%dT%H%M%SZ.mkv";
    let keeping = |more: &[&str]| {
        let args = [&["made.mp4", "-o", pattern, "--segment", "2s", "--imgsz", "96"], more].concat();
        succeeds(&streamdet(folder.path(), &args));
    };
    keeping(&["--keep", "1h"]);
    // A fast machine's third run may have given a segment such a name again.
    let is_old = |file: &PathBuf| {
        file.metadata().is_ok_and(|found| found.modified().expect("a time") < SystemTime::now() - day / 2)
    };
    assert!(!first.iter().any(is_old));
    let bytes = |file: &PathBuf| file.metadata().expect("a segment").len();
    let most = contents.iter().map(|content| content.len() as u64).max().expect("segments");
    assert!(most > 300_000, "{most}");
    keeping(&["--keep-bytes", "1MB"]);
    let left: Vec<PathBuf> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().contains("/cam-20"))
        .collect();
    let sum: u64 = left.iter().map(bytes).sum();
    assert!(!left.is_empty() && sum <= 1_000_000 + most, "{sum} in {left:?}");
    assert!(folder.path().join("cam-holiday.mkv").exists());
}

/// The recording, the detections and the playlist of a run that was killed are there after the next one, as far as they were written.
#[test]
fn what_a_crash_left_is_moved_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let args =
        ["test:ball", "-o", "cam.mkv", "-o", "hls:live/", "--json", "d.jsonl", "--csv", "c.csv", "--imgsz", "96"];
    let mut run = running(folder.path(), &args);
    let part = folder.path().join("cam.mkv.part");
    events::file(&part, |bytes| bytes.len() > 50_000);
    // While it lives, its files are its own.
    for out in ["cam.mkv", "other.mkv"] {
        let output =
            streamdet(folder.path(), &["test:ball", "--frames", "5", "-o", out, "--json", "d.jsonl", "--imgsz", "96"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("is being written by another run"), "{}", said(&output));
    }
    run.signal("KILL");
    assert_eq!(run.ended(), None);
    let output = streamdet(folder.path(), &[args.as_slice(), &["--frames", "30"]].concat());
    succeeds(&output);
    for (name, recovered) in
        [("cam.mkv", "cam.recovered.mkv"), ("c.csv", "c.recovered.csv"), ("d.jsonl", "d.recovered.jsonl")]
    {
        assert!(said(&output).contains(&format!("{name}.part was left")), "{}", said(&output));
        assert!(folder.path().join(recovered).metadata().expect("what was left").len() > 0);
    }
    decodes(&folder.path().join("cam.recovered.mkv"));
    assert!(times(&folder.path().join("cam.recovered.mkv")).len() > 10);
    assert!(times(&folder.path().join("cam.mkv")).len() == 30);
    let lines = std::fs::read_to_string(folder.path().join("d.recovered.jsonl")).expect("lines");
    assert!(lines.ends_with('\n') && lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let name = |n: usize, what: &str| folder.path().join(format!("live/segment-{n:04}{what}.ts"));
    let left = (1..50).find(|n| name(*n, ".recovered").exists()).expect("the segment that was being written");
    decodes(&name(left, ".recovered"));
    let list = std::fs::read_to_string(folder.path().join("live/index.m3u8")).expect("a list");
    assert!(list.contains(&format!("segment-{:04}.ts", left + 1)), "it goes on in sequence: {list}");
}

#[test]
fn a_stream_is_served_over_tcp_and_udp_while_it_is_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "640x360", "14", &[]);
    let args = ["made.mp4", "-o", "o.mkv", "-o", "rtsp://:0/cam/one", "--report", "r.json"];
    let mut run = running(folder.path(), &args);
    let url = run.rest_after("serving ");
    assert!(url.starts_with("rtsp://127.0.0.1:") && url.ends_with("/cam/one"), "{url}");
    let early = rtsp_watcher(folder.path(), "tcp", &url, &[], "early.mkv");
    for (transport, to) in [("udp", "udp.mkv"), ("tcp", "tcp.mkv")] {
        // One after the other, in mid-stream.
        ends_well(rtsp_watcher(folder.path(), transport, &url, &["-t", "3"], to), transport);
    }
    run.succeeds();
    ends_well(early, "who came first");
    for to in ["early.mkv", "udp.mkv", "tcp.mkv"] {
        let path = folder.path().join(to);
        decodes(&path);
        assert!(begins_with_a_key_frame(&path), "{to}");
        assert_eq!(probe(&path, "codec_name,width,height"), "h264,640,360", "{to}");
        assert!(offset(&path).abs() < 0.06, "{to}: the sound is off by {}", offset(&path));
        let took = times(&path);
        assert!(took.last().expect("pictures") - took[0] > 2.5, "{to}: {} pictures", took.len());
    }
    let report = json(&folder.path().join("r.json"));
    assert_eq!(frames(&report), (420, 420, 0));
    assert_eq!(times(&folder.path().join("o.mkv")).len(), 420, "what is recorded has all of it");
    assert_eq!((live(&report, 0, "clients"), live(&report, 0, "frames_lost")), (3, 0));
    let early = times(&folder.path().join("early.mkv"));
    assert!((200..=420).contains(&early.len()), "who came first saw {} of 420", early.len());
    assert!(early.windows(2).all(|two| two[0] < two[1]), "a picture is one packet: {early:?}");
    assert!(report["resources"]["run_s"].as_f64() > Some(13.0), "a file is not faster than it plays");
}

#[test]
fn who_watches_goes_on_watching_when_the_size_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let seen = folder.path().join("seen.ts");
    // Who watches has seen the first size, however busy the machine is.
    let resize = Feed { resize: Some((30, 640, 360)), resize_once: Some(seen.clone()), ..Feed::new("/x") };
    let server = Server::start(&Told::showing([resize]));
    let source = server.url("/x");
    let args = [&source, "--rtsp-transport", "tcp", "-o", "o.mkv", "-o", "hls:h", "-o", "rtsp://:0/x"];
    let run = running(folder.path(), &args);
    let url = run.rest_after("serving ");
    let watcher = rtsp_watcher(folder.path(), "tcp", &url, &["-flush_packets", "1"], "seen.ts");
    events::file(&folder.path().join("o-2.mkv.part"), |bytes| bytes.len() > 20_000);
    let so_far = seen.metadata().expect("it is watched").len();
    events::file(&seen, |bytes| bytes.len() as u64 > so_far + 20_000);
    run.interrupt();
    ends_well(watcher, "who watches");
    let widths =
        witness("ffprobe", &["-select_streams", "v:0", "-show_entries", "frame=width", "-of", "csv=p=0", text(&seen)]);
    let of = |width: &str| widths.lines().filter(|line| line.trim_matches(',') == width).count();
    assert!(of("320") > 0 && of("640") > 0, "{} small and {} large pictures", of("320"), of("640"));
    assert_eq!(probe(&folder.path().join("o.mkv"), "width"), "320");
    assert_eq!(probe(&folder.path().join("o-2.mkv"), "width"), "640");
    let list = std::fs::read_to_string(folder.path().join("h/index.m3u8")).expect("a list");
    assert_eq!(list.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{list}");
}

#[test]
fn a_client_that_does_not_read_slows_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    // Much to send, so that no socket holds it all.
    let size = "1280x720";
    let noise = ["-vf", "noise=alls=40:allf=t", "-preset", "ultrafast", "-crf", "20"];
    made_clip(folder.path(), "made.mp4", size, "14", &noise);
    let args = ["made.mp4", "-o", "rtsp://:0/cam", "--report", "r.json"];
    let mut run = running(folder.path(), &args);
    let url = run.rest_after("serving ");
    let asleep = stall(&url, 2);
    let awake = rtsp_watcher(folder.path(), "tcp", &url, &[], "awake.mkv");
    run.succeeds();
    ends_well(awake, "who reads");
    drop(asleep);
    let report = json(&folder.path().join("r.json"));
    assert_eq!(frames(&report), (420, 420, 0));
    let took = report["resources"]["run_s"].as_f64().expect("seconds");
    assert!(live(&report, 0, "frames_lost") > 30, "{report}");
    assert_eq!(live(&report, 0, "clients"), 2);
    let awake = times(&folder.path().join("awake.mkv")).len();
    assert!(awake > 300, "{awake} pictures reached who reads, in {took} s");
}

#[test]
fn two_streams_share_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "a.mp4", "320x240", "6", &["-an"]);
    made_clip(folder.path(), "b.mp4", "160x120", "6", &[]);
    let mut run = running(folder.path(), &["a.mp4", "b.mp4", "-o", "rtsp://:0/{stem}-{stream}"]);
    let first = run.rest_after("serving ");
    let (base, _) = first.rsplit_once('/').expect("a name");
    let urls = [format!("{base}/a-0"), format!("{base}/b-1")];
    run.wait_for(&format!("serving {}", urls[0]), 1);
    run.wait_for(&format!("serving {}", urls[1]), 1);
    let watchers = [("a.mkv", &urls[0]), ("b.mkv", &urls[1])]
        .map(|(to, url)| (to, rtsp_watcher(folder.path(), "tcp", url, &["-t", "2"], to)));
    for (to, watcher) in watchers {
        ends_well(watcher, to);
    }
    run.succeeds();
    assert_eq!(probe(&folder.path().join("a.mkv"), "width"), "320");
    assert_eq!(probe(&folder.path().join("b.mkv"), "width"), "160");
}

#[test]
fn what_is_pushed_arrives() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "4", &[]);
    let port = free_port();
    let cases = [
        ("rtmp", vec!["-listen", "1"], format!("rtmp://127.0.0.1:{port}/live/x"), String::new()),
        ("udp", vec![], format!("udp://127.0.0.1:{port}"), "?timeout=3000000".to_owned()),
        ("srt", vec![], format!("srt://127.0.0.1:{port}"), "?mode=listener".to_owned()),
    ];
    for (name, before, url, more) in cases {
        let to = format!("{name}.mkv");
        let witness = watcher(folder.path(), &before, &format!("{url}{more}"), &[], &to);
        let output = listened_to(folder.path(), &url, port, name == "rtmp");
        succeeds(&output);
        // Its peer left: ffmpeg may call that an error.
        let _ = { witness }.wait();
        let path = folder.path().join(&to);
        if name != "srt" {
            // Which gives up what comes too late on a busy machine.
            decodes(&path);
        }
        let pictures = times(&path).len();
        assert!(pictures >= 100, "{name}: {pictures} of 120 pictures: {}", said(&output));
        assert!(offset(&path).abs() < 0.08, "{name}: {}", offset(&path));
        let report = json(&folder.path().join("r.json"));
        assert_eq!((frames(&report), live(&report, 0, "frames_lost")), ((120, 120, 0), 0), "{name}");
    }
}

/// Waits until another program listens on `port`.
fn listens(table: &str, port: u16) {
    let socket = format!(":{port:04X} 00000000:0000");
    let is_there = || std::fs::read_to_string(table).expect("sockets").contains(&socket).then_some(());
    events::state(|| format!("nobody listens on {port}"), is_there);
}

/// Runs as soon as someone listens.
fn listened_to(folder: &Path, url: &str, port: u16, over_tcp: bool) -> Output {
    let table = if over_tcp { "/proc/net/tcp" } else { "/proc/net/udp" };
    listens(table, port);
    streamdet(folder, &["made.mp4", "-o", url, "--imgsz", "96", "--report", "r.json", "--overwrite"])
}

#[test]
fn a_peer_that_dies_is_called_again_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "20", &[]);
    let url = format!("rtmp://127.0.0.1:{}/live/geheim?token=geheimnis", free_port());
    let mut server = watcher(folder.path(), &["-listen", "1"], &url, &[], "first.mkv");
    let port = url.split([':', '/']).nth(4).and_then(|port| port.parse::<u16>().ok()).expect("a port");
    listens("/proc/net/tcp", port);
    let mut run = running(folder.path(), &["made.mp4", "-o", &url, "--report", "r.json"]);
    run.wait_for("sending to ", 1);
    run.wait_for(" frames · ", 1);
    server.kill().expect("it runs");
    server.wait().expect("its end");
    run.wait_for("trying again", 1);
    let again = watcher(folder.path(), &["-listen", "1"], &url, &[], "second.mkv");
    run.wait_for("connected again", 1);
    let said = run.succeeds();
    let _ = { again }.wait();
    decodes(&folder.path().join("second.mkv"));
    let report = json(&folder.path().join("r.json"));
    let (_, processed, _) = frames(&report);
    assert_eq!(processed, 599);
    assert_eq!(live(&report, 0, "reconnects"), 1);
    assert_eq!(live(&report, 0, "frames_sent") + live(&report, 0, "frames_lost"), processed);
    assert!(live(&report, 0, "frames_lost") > 0);
    let report = std::fs::read_to_string(folder.path().join("r.json")).expect("a report");
    assert!(!said.contains("geheimnis") && !report.contains("geheimnis"), "{said}{report}");
}

/// A peer that goes away again and again: each time is told, with its number.
#[test]
fn every_outage_of_a_push_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let url = format!("rtmp://127.0.0.1:{port}/live/x");
    let listening = |n: usize| {
        let to = format!("{n}.ts");
        let server = watcher(folder.path(), &["-listen", "1"], &url, &["-flush_packets", "1"], &to);
        listens("/proc/net/tcp", port);
        server
    };
    let mut server = listening(0);
    let run = running(folder.path(), &["test:ball", "-o", &url, "--report", "r.json"]);
    run.wait_for("sending to ", 1);
    for outage in 1..=3 {
        events::file(&folder.path().join(format!("{}.ts", outage - 1)), |bytes| !bytes.is_empty());
        server.kill().expect("it runs");
        server.wait().expect("its end");
        run.wait_for("; trying again", outage);
        server = listening(outage);
        run.wait_for("connected again", outage);
    }
    let (code, said) = run.interrupt();
    assert_eq!(code, Some(130), "{said}");
    let _ = { server }.wait();
    for words in ["trying again (outage 2)", "trying again (outage 3)", "connected again (outage 3): rtmp://"] {
        assert_eq!(said.matches(words).count(), 1, "{words}: {said}");
    }
    assert_eq!(live(&json(&folder.path().join("r.json")), 0, "reconnects"), 3);
}

/// RTMP's times have 24 bits of ms, and another field from 4.66 hours on; MP4's and MOV's lengths have 32 bits.
#[test]
fn twenty_hours_are_as_long_in_a_file_and_in_a_push() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = folder.path().join("made.mkv");
    // As few as may wait for a peer: none is skipped.
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=1", "-frames:v", "56", "-vf", "setpts=N*1300/TB"];
    let coded = ["-fps_mode", "passthrough", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", text(&clip)];
    witness("ffmpeg", &[&source[..], &coded].concat());
    let times_of_it = times(&clip);
    let (frames, hours) = (times_of_it.len(), times_of_it.last().expect("frames") / 3600.0);
    assert!(hours > 19.0, "{hours}");
    let url = format!("rtmp://127.0.0.1:{}/live/x", free_port());
    let server = watcher(folder.path(), &["-listen", "1"], &url, &[], "seen.mkv");
    listens("/proc/net/tcp", url.split([':', '/']).nth(4).and_then(|port| port.parse().ok()).expect("a port"));
    // Alone, it is waited for: the first frame goes there.
    running(folder.path(), &["made.mkv", "-o", &url, "--full-speed"]).succeeds();
    running(folder.path(), &["made.mkv", "-o", "o.mp4", "-o", "o.mov"]).succeeds();
    let _ = { server }.wait();
    for name in ["o.mp4", "o.mov", "seen.mkv"] {
        let shown = times(&folder.path().join(name));
        let last = shown.last().expect("frames") / 3600.0;
        assert!(shown.len() == frames && (last - hours).abs() < 0.1, "{name}: {} frames, {last} hours", shown.len());
    }
    for name in ["o.mp4", "o.mov"] {
        let file = folder.path().join(name);
        let length = ["-show_entries", "format=duration", "-of", "csv=p=0", text(&file)];
        let length = witness("ffprobe", &length).trim().parse::<f64>().expect("seconds") / 3600.0;
        assert!((length - hours).abs() < 0.5, "{name} says {length} of {hours} hours");
    }
}

/// What each track of an MP4 says of its length: units a second, and units.
fn track_lengths(file: &Path) -> Vec<(u32, u32)> {
    let bytes = std::fs::read(file).expect("the file");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let heads = (0..bytes.len() - 24).filter(|at| &bytes[*at..*at + 4] == b"mdhd");
    // After kind, version, and two times.
    heads.map(|head| (number(head + 16), number(head + 20))).collect()
}

/// A file in standard input, of which nobody knows how long it will be, as of a camera's stream.
#[track_caller]
fn record_piped(folder: &Path, clip: &Path, output: &str) {
    let mut cat = Command::new("cat").arg(clip).stdout(Stdio::piped()).spawn().expect("cat");
    let mut command = detect(folder, &["-", "-o", output, "--imgsz", "96"]);
    command.stdin(cat.stdout.take().expect("a pipe"));
    succeeds(&command.output().expect("it starts"));
    cat.wait().expect("its end");
}

#[test]
fn twenty_hours_of_unknown_length_are_as_long_in_the_track() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = folder.path().join("made.mkv");
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=1", "-frames:v", "56", "-vf", "setpts=N*1300/TB"];
    let coded = ["-fps_mode", "passthrough", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10"];
    // Without a duration in its head.
    witness("ffmpeg", &[&source[..], &coded, &["-live", "1", text(&clip)]].concat());
    let last = *times(&clip).last().expect("frames");
    for name in ["o.mp4", "o.mov"] {
        record_piped(folder.path(), &clip, name);
        let file = folder.path().join(name);
        let shown = times(&file);
        assert!(
            shown.len() == 56 && (shown[55] - last).abs() < 0.01,
            "{name}: {} frames to {}",
            shown.len(),
            shown[55]
        );
        // The last one counts: the head that a crash would leave stays in the file, too.
        let (base, length) = *track_lengths(&file).last().expect("a track");
        let seconds = f64::from(length) / f64::from(base);
        assert!((seconds - last).abs() < 3000.0, "{name}: its track says {seconds} of {last} s");
    }
}

#[test]
fn audio_of_unknown_length_has_room_for_thirty_days_and_its_own_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = folder.path().join("made.mkv");
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i", "sine=r=48000", "-t", "2"];
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];
    witness("ffmpeg", &[&source[..], &coded, &["-live", "1", text(&clip)]].concat());
    record_piped(folder.path(), &clip, "o.mp4");
    let file = folder.path().join("o.mp4");
    let lengths = track_lengths(&file);
    let bases: Vec<u32> = lengths.iter().map(|(base, _)| *base).collect();
    assert!(bases.contains(&1500) && bases.iter().all(|base| *base < 1658), "{lengths:?}");
    let (before, after) = (track_times(&clip, "a:0"), track_times(&file, "a:0"));
    assert!(before.len() == after.len() && before.len() > 90, "{} packets of {}", after.len(), before.len());
    let shift = after[1] - before[1];
    // Matroska rounds to 1 ms.
    let moved = before.iter().zip(&after).map(|(before, after)| (after - before - shift).abs()).fold(0.0, f64::max);
    assert!(moved < 0.002, "by {moved} s");
}

/// A server that is down when the run begins costs the recording nothing, and has the stream once it is up.
#[test]
fn a_peer_that_is_down_at_the_start_is_called_again_beside_a_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "20", &[]);
    let url = format!("rtmp://127.0.0.1:{}/live/x", free_port());
    let args = ["made.mp4", "-o", &url, "-o", "o.mkv", "--report", "r.json"];
    let mut run = running(folder.path(), &args);
    run.wait_for("trying again", 1);
    let server = watcher(folder.path(), &["-listen", "1"], &url, &[], "seen.mkv");
    run.wait_for("sending to ", 1);
    let log = run.succeeds();
    assert!(!log.contains("connected again"), "it never was: {log}");
    let _ = { server }.wait();
    decodes(&folder.path().join("seen.mkv"));
    assert_eq!(times(&folder.path().join("o.mkv")).len(), times(&clip).len());
    // Alone, it fails at once.
    let output = streamdet(folder.path(), &["made.mp4", "-o", &url, "--imgsz", "96"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn a_playlist_plays_while_it_grows_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "14", &[]);
    let args = ["made.mp4", "-o", "hls:live/", "-o", "rtsp://:0/pace", "--report", "r.json"];
    let mut run = running(folder.path(), &args);
    run.wait_for("serving ", 1);
    let list = folder.path().join("live/index.m3u8");
    // Progress is said every five seconds: by the second time there is a segment.
    run.wait_for(" frames · ", 1);
    events::file(&list, |_| true);
    assert!(!std::fs::read_to_string(&list).expect("a list").contains("ENDLIST"));
    assert_eq!(probe(&list, "codec_name"), "h264", "it can be watched while it grows");
    run.succeeds();
    let text = std::fs::read_to_string(&list).expect("a list");
    assert!(text.contains("#EXT-X-PLAYLIST-TYPE:EVENT") && text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    decodes(&list);
    let pictures = times(&list).len();
    assert_eq!(pictures, 420);
    for n in 1..=4 {
        let segment = folder.path().join(format!("live/segment-000{n}.ts"));
        assert!(begins_with_a_key_frame(&segment), "{n}");
        decodes(&segment);
    }
    assert_eq!(json(&folder.path().join("r.json"))["outputs"], serde_json::json!(["live/index.m3u8"]));
}

#[test]
fn what_cannot_be_served_or_sent_is_said_before_any_work() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "1.334", &[]);
    std::fs::copy(folder.path().join("made.mp4"), folder.path().join("b.mp4")).expect("a copy");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its port").port();
    let busy = format!("rtsp://:{port}/a");
    let refused = format!("rtmp://user:geheim@127.0.0.1:{}/live/x", free_port());
    for (args, words) in [
        (vec!["-o", &busy], "in use"),
        (vec!["-o", "rtsp://192.0.2.1:8554/a"], "192.0.2.1:8554"),
        (vec!["-o", "rtsp://:8554/"], "needs a name"),
        (vec!["-o", "rtsp://geheim@:8554/a"], "a user and a password are needed"),
        (vec!["-o", "rtsp://me:geheim@:8554/a", "-o", "rtsp://me:geheim2@:8554/b"], "another scheme, user or password"),
        (vec!["-o", "rtsp://me:geheim@:8554/a", "-o", "rtsp://:8554/b"], "another scheme, user or password"),
        (vec!["-o", "rtsps://me:geheim@:8554/a"], "--tls-cert FILE and --tls-key FILE"),
        (vec!["-o", "rtsps://:8554/a", "--tls-cert", "made.mp4"], "--tls-cert needs --tls-key"),
        (
            vec!["-o", "rtsps://:8554/a", "--tls-cert", "no.pem", "--tls-key", "no.pem"],
            "--tls-cert no.pem: No such file",
        ),
        (
            vec!["-o", "rtsps://:8554/a", "--tls-cert", "made.mp4", "--tls-key", "made.mp4"],
            "holds no certificate in PEM",
        ),
        (vec!["-o", "rtsp://:8554/a", "--max-clients", "0"], "--max-clients"),
        (vec!["-o", "ftp://user:geheim@host/a"], "nothing is sent by ftp://"),
        (vec!["-o", &refused], "refused"),
        (vec!["-o", "rtmp://nosuch.invalid/live/x"], "nosuch.invalid"),
        (vec!["-o", "udp://127.0.0.1"], "give udp://HOST:PORT"),
        (vec!["-o", "hls:"], "names no folder"),
        (vec!["-o", "x.webm", "-o", "rtsp://:0/a"], ".mkv instead of .webm"),
        (vec!["b.mp4", "-o", "rtsp://:0/a"], "{stem}"),
        (vec!["b.mp4", "-o", "udp://127.0.0.1:9"], "{stem}"),
        (vec!["-o", "none", "--segment", "3s"], "no file to cut"),
        (vec!["-o", "none", "--display"], "DISPLAY"),
        (vec!["--keep", "3s"], "--segment"),
        (vec!["--segment", "3 parsecs"], "30s"),
    ] {
        let output = detect(folder.path(), &[&["made.mp4"], args.as_slice()].concat())
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .output()
            .expect("it starts");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(!said.contains("geheim"), "{args:?}: {said}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2, "{args:?} left something");
    }
}
