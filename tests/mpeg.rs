//! MPEG transport and program streams as recorders, packagers and browsers write them, made here with `ffmpeg`: from a file,
//! on standard input and by HTTP.

mod loopback;
mod program;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use program::running::Running;
use program::{bare, json, said, succeeds, text, times, track_times, witness};

const PACKET: usize = 188;

/// A picture and a tone of so many seconds, 25 frames a second, encoded and muxed by these options.
fn made(folder: &Path, name: &str, seconds: &str, options: &[&str]) -> PathBuf {
    let file = folder.join(name);
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"];
    let pixels = ["-t", seconds, "-pix_fmt", "yuv420p"];
    witness("ffmpeg", &[&source[..], &pixels, options, &[text(&file)]].concat());
    file
}

/// What came of a run.
struct Result {
    frames: u64,
    /// Times in the written file, from the first frame on.
    times: Vec<f64>,
    audio: usize,
    rate: String,
    said: String,
}

#[track_caller]
fn result(folder: &Path, output: &Output) -> Result {
    succeeds(output);
    let report = json(&folder.join("r.json"));
    let (received, processed, corrupt) = program::frames(&report);
    assert_eq!((received, corrupt), (processed, 0), "{}", said(output));
    let file = folder.join("o.mkv");
    witness("ffmpeg", &["-i", text(&file), "-f", "null", "-"]);
    let audio = if said(output).contains(" + ") { track_times(&file, "a:0").len() } else { 0 };
    let rate = report["streams"][0]["frame_rate"].as_str().unwrap_or_default().to_owned();
    Result { frames: processed, times: times(&file), audio, rate, said: said(output) }
}

/// Runs it from the file itself, on standard input, and by HTTP; calls `check` with each.
#[track_caller]
fn three_ways(file: &Path, check: impl Fn(&str, Result)) {
    let folder = tempfile::tempdir().expect("a folder");
    let command = |source: &str| {
        let mut command = bare(folder.path(), "detect");
        command.args([source, "--imgsz", "96", "--report", "r.json", "-o", "o.mkv", "--overwrite"]);
        command
    };
    check("file", result(folder.path(), &command(text(file)).output().expect("it starts")));
    let piped = std::fs::File::open(file).expect("a file");
    check("stdin", result(folder.path(), &command("-").stdin(piped).output().expect("it starts")));
    let server = loopback::Server::start(vec![loopback::whole(&std::fs::read(file).expect("a file"))]);
    let url = server.url(text(Path::new(file.file_name().expect("a name"))));
    check("http", result(folder.path(), &command(&url).output().expect("it starts")));
}

#[track_caller]
fn lasts(times: &[f64], frames: usize, seconds: f64, what: &str) {
    assert_eq!(times.len(), frames, "{what}");
    let last = times.last().copied().unwrap_or_default();
    assert!((last - seconds).abs() < 0.05, "{what}: the last of {frames} frames is at {last} s, not {seconds} s");
}

/// Takes the program clock out of a transport stream: no PCR in its packets; and, if `named`, none in its map either.
fn without_clock(stream: &[u8], named: bool) -> Vec<u8> {
    let mut stream = stream.to_owned();
    for packet in stream.chunks_exact_mut(PACKET) {
        let mut payload = 4;
        if packet[3] & 0x20 != 0 {
            let length = usize::from(packet[4]);
            if length > 0 && packet[5] & 0x10 != 0 {
                packet[5] &= 0xEF;
                packet[6..12].fill(0xFF);
            }
            payload += 1 + length;
        }
        let is_map = packet[1] & 0x40 != 0 && packet.get(payload..payload + 2) == Some(&[0, 2]);
        if named && is_map {
            let section = &mut packet[payload + 1..];
            let end = 3 + usize::from(u16::from_be_bytes([section[1] & 0x0F, section[2]]));
            (section[8], section[9]) = (section[8] | 0x1F, 0xFF);
            let checksum = crc(&section[..end - 4]).to_be_bytes();
            section[end - 4..end].copy_from_slice(&checksum);
        }
    }
    stream
}

fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| (crc << 1) ^ ((crc >> 31) * 0x04C1_1DB7))
    })
}

/// HEVC with B-frames, and MPEG-2 with another audio codec: all times are there, none by a clock.
#[test]
fn a_transport_stream_needs_no_program_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let hevc = ["-c:v", "libx265", "-x265-params", "log-level=error", "-preset", "ultrafast", "-c:a", "aac"];
    let mpeg2 = ["-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2", "-b:v", "2M"];
    for (name, options, named) in [("hevc.ts", &hevc[..], true), ("mpeg2.ts", &mpeg2[..], false)] {
        let file = made(folder.path(), name, "4", options);
        let bytes = without_clock(&std::fs::read(&file).expect("a file"), named);
        std::fs::write(&file, bytes).expect("a file");
        three_ways(&file, |way, result| {
            lasts(&result.times, 100, 3.96, &format!("{name} by {way}"));
            assert!(result.audio > 140, "{name} by {way}: {} packets of audio", result.audio);
        });
    }
}

/// The same live: it is joined somewhere, and played as it comes. Its sender has neither begun nor ended.
#[test]
fn a_live_transport_stream_needs_no_program_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-bf", "2", "-b:v", "1M", "-c:a", "aac"];
    let file = made(folder.path(), "live.ts", "30", &options);
    let bytes = without_clock(&std::fs::read(&file).expect("a file"), true);
    let receiver = format!("127.0.0.1:{}", program::free_port());
    let mut command = bare(folder.path(), "detect");
    command.args([
        &format!("udp://{receiver}"),
        "--imgsz",
        "96",
        "--frames",
        "50",
        "--report",
        "r.json",
        "-o",
        "o.mkv",
    ]);
    let mut run = Running::start(command);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut status = None;
    for packets in bytes.chunks(bytes.len() / 300 / PACKET * PACKET) {
        for datagram in packets.chunks(7 * PACKET) {
            // Nothing may listen yet, or any more.
            drop(socket.send_to(datagram, &receiver));
        }
        // As fast as it was filmed.
        status = run.ends_within(Duration::from_millis(100));
        if status.is_some() {
            break;
        }
    }
    let status = status.or_else(|| run.ends_within(Duration::from_mins(1))).expect("it ends");
    assert!(status.success(), "{}", run.said());
    let (received, processed, corrupt) = program::frames(&json(&folder.path().join("r.json")));
    assert!(received >= 50 && processed >= 40 && corrupt <= 3, "{received} {processed} {corrupt}");
    let file = folder.path().join("o.mkv");
    let times = times(&file);
    let steps = times.windows(2).filter(|pair| (pair[1] - pair[0] - 0.04).abs() < 0.01).count();
    assert!(steps * 10 >= (times.len() - 1) * 8, "{times:?}");
    assert!(track_times(&file, "a:0").len() > 40, "{}", run.said());
}

/// A teletext track is as sparse as one of subtitles: the one of `dvb_subtitles.ts` is said to be one.
#[test]
fn teletext_holds_nothing_up() {
    let Some(shared) = program::shared() else { return };
    let mut stream = std::fs::read(shared.join("data/reports/made/dvb_subtitles.ts")).expect("the test data");
    let mut said_so = 0;
    for packet in stream.chunks_exact_mut(PACKET) {
        let payload = 4 + if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
        if packet[1] & 0x40 == 0 || packet.get(payload..payload + 2) != Some(&[0, 2]) {
            continue;
        }
        let section = &mut packet[payload + 1..];
        let end = 3 + usize::from(u16::from_be_bytes([section[1] & 0x0F, section[2]]));
        let Some(at) = section[..end].windows(2).position(|tag| tag == [0x59, 8]) else { continue };
        section[at] = 0x56;
        let checksum = crc(&section[..end - 4]).to_be_bytes();
        section[end - 4..end].copy_from_slice(&checksum);
        said_so += 1;
    }
    assert!(said_so > 10, "the map comes again and again");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("teletext.ts");
    std::fs::write(&file, stream).expect("a file");
    three_ways(&file, |way, result| assert_eq!(result.frames, 75, "{way}: {}", result.said));
}

/// The rate that H.264 states is four times that of its frames; and it is none at all.
#[test]
fn a_stated_frame_rate_is_held_against_the_frames() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = made(folder.path(), "plain.ts", "3", &["-c:v", "libx264", "-an"]);
    for (name, rate, expected) in [("fast.ts", "200/1", "25/1"), ("absurd.ts", "1000000/1", "25/1")] {
        let file = folder.path().join(name);
        let filter = format!("h264_metadata=tick_rate={rate}");
        witness("ffmpeg", &["-i", text(&plain), "-c", "copy", "-bsf:v", &filter, text(&file)]);
        three_ways(&file, |way, result| {
            lasts(&result.times, 75, 2.96, &format!("{name} by {way}"));
            assert_eq!(result.rate, expected, "{name} by {way}: {}", result.said);
        });
    }
}

/// As where a channel is changed, or a sender starts again: the program goes on under other packet numbers.
#[test]
fn video_and_audio_go_on_under_other_pids() {
    let folder = tempfile::tempdir().expect("a folder");
    let codecs = ["-c:v", "mpeg2video", "-bf", "0", "-c:a", "mp2"];
    let second = ["-output_ts_offset", "2", "-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1010"];
    let parts = [("one.ts", &codecs[..]), ("two.ts", &[&codecs[..], &second].concat())];
    let bytes = parts.map(|(name, options)| std::fs::read(made(folder.path(), name, "2", options)).expect("a file"));
    let file = folder.path().join("both.ts");
    std::fs::write(&file, bytes.concat()).expect("a file");
    three_ways(&file, |way, result| {
        assert!((99..=100).contains(&result.frames), "{} frames by {way}: {}", result.frames, result.said);
        let last = result.times.last().copied().unwrap_or_default();
        assert!((last - 3.96).abs() < 0.2, "the last frame by {way} is at {last} s");
        assert!(result.audio > 150, "{} packets of audio by {way}", result.audio);
    });
}

/// Program streams whose video no map names, with sound; and behind the header that recorders put before them.
#[test]
fn program_streams_without_a_map_are_decoded() {
    let folder = tempfile::tempdir().expect("a folder");
    let h264 = ["-c:v", "libx264", "-bf", "2", "-c:a", "mp2", "-f", "vob"];
    let mpeg4 = ["-c:v", "mpeg4", "-bf", "2", "-c:a", "mp2", "-f", "mpeg"];
    let mpeg2 = ["-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2", "-f", "mpeg"];
    for (name, options) in [("h264.vob", &h264[..]), ("mpeg4.mpg", &mpeg4[..]), ("mpeg2.mpg", &mpeg2[..])] {
        let file = made(folder.path(), name, "3", options);
        if name == "h264.vob" {
            let header = [&b"IMKH"[..], &[1, 1, 0, 0], &[0; 32]].concat();
            let bytes = [header, std::fs::read(&file).expect("a file")].concat();
            std::fs::write(&file, bytes).expect("a file");
        }
        three_ways(&file, |way, result| {
            lasts(&result.times, 75, 2.96, &format!("{name} by {way}"));
            assert!(result.audio > 100, "{name} by {way}: {} packets of audio", result.audio);
        });
    }
}

/// Segments that are MP4 fragments, as a local file.
#[test]
fn a_local_playlist_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-g", "25"];
    let codecs = ["-c:v", "libx264", "-bf", "2", "-c:a", "aac", "-hls_segment_type", "fmp4"];
    let file = made(folder.path(), "list.m3u8", "4", &[&codecs[..], &list].concat());
    let args = [text(&file), "--imgsz", "96", "--report", "r.json", "-o", "o.mkv"];
    let output = bare(folder.path(), "detect").args(args).output().expect("it starts");
    let result = result(folder.path(), &output);
    lasts(&result.times, 100, 3.96, "a playlist");
    assert!(result.audio > 150, "{} packets of audio", result.audio);
}

/// Its times have 33 bits of 1/90000 s: after 26.5 hours they begin anew.
#[test]
fn a_stream_whose_times_begin_anew_after_26_hours_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let before = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "2", "-c:a", "aac"];
    // Three seconds before that.
    let late = ["-output_ts_offset", "95440.7", "-muxdelay", "0", "-muxpreload", "0", "-f", "mpegts"];
    let file = made(folder.path(), "late.ts", "6", &[&before[..], &late].concat());
    three_ways(&file, |way, result| {
        assert_eq!(result.frames, 150, "{way}: {}", result.said);
        let longest = result.times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(result.times.len() == 150 && longest < 0.1, "{way}: {longest} s between two frames");
        assert!(result.audio > 250, "{way}: {} packets of audio", result.audio);
    });
}
