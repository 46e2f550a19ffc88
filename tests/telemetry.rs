//! Telemetry that videos carry: read in step with their frames, and what is computed from it.

mod program;

use std::path::{Path, PathBuf};

use program::{bare, json, json_lines, said, succeeds, text};
use serde_json::Value;

/// The folder of the shared telemetry.
fn data() -> Option<PathBuf> {
    program::shared().map(|shared| shared.join("data/telemetry"))
}

/// The lines of a run that finds nothing, and its report.
fn run(folder: &Path, source: &Path, args: &[&str]) -> (Vec<Value>, Value, String) {
    std::fs::write(folder.join("points.json"), "[]").expect("a file");
    let mut command = bare(folder, "detect");
    command.args([text(source), "-o", "none", "--json", "out.jsonl", "--report", "r.json", "--overwrite"]);
    if !args.contains(&"--geolocate-points") {
        command.args(["--geolocate-points", "points.json"]);
    }
    let output = command.args(args).output().expect("it starts");
    succeeds(&output);
    (json_lines(&folder.join("out.jsonl")), json(&folder.join("r.json")), said(&output))
}

fn close(found: &Value, expected: &Value, what: &str) {
    let (found, expected) = (found.as_f64().expect(what), expected.as_f64().expect(what));
    assert!((found - expected).abs() < 1e-9, "{what}: {found}, not {expected}");
}

/// Every frame has the packet that the pairing says; `source` is the packet's number in the recording it was taken from.
fn paired(lines: &[Value], pairing: &Value, packets: &Value, source: impl Fn(usize) -> usize) {
    let frames = pairing["frames"].as_array().expect("frames");
    assert_eq!(lines.len(), frames.len());
    for (line, frame) in lines.iter().zip(frames) {
        let number = frame["latest_packet_not_after"].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a packet");
        let (said, packet) = (&line["telemetry"], &packets["packets"][source(number)]);
        for (key, of) in [
            ("lat", "sensor_lat_deg"),
            ("lon", "sensor_lon_deg"),
            ("alt_m", "sensor_alt_m"),
            ("heading_deg", "heading_deg"),
        ] {
            close(&said[key], &packet[of], &format!("{key} of frame {}", line["frame"]));
        }
        assert_eq!(said["source"], "misb0601");
    }
}

#[test]
fn frames_have_the_packets_of_their_time_however_they_are_carried() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let packets = json(&data.join("klv-sample-stream/expected.json"));
    let (asynchronous, report, notices) = run(folder.path(), &data.join("klv-sample-stream/sample-stream.ts"), &[]);
    paired(&asynchronous, &json(&data.join("klv-sample-stream/pairing.json")), &packets, |n| n);
    assert_eq!(asynchronous[1]["telemetry"]["time"], "2012-06-29T14:32:34.133Z");
    assert_eq!(asynchronous[1]["telemetry"]["age_ms"], 0);
    let counts = &report["streams"][0]["telemetry"];
    assert_eq!((&counts["packets"], &counts["bad_checksum"]), (&277.into(), &0.into()), "{notices}");
    let (synchronous, ..) = run(folder.path(), &data.join("klv-carriage/sync.ts"), &[]);
    paired(&synchronous, &json(&data.join("klv-carriage/sync.pairing.json")), &packets, |n| n);
    // Each stands before its frame, and says no time.
    let (untimed, ..) = run(folder.path(), &data.join("klv-carriage/async-no-pts.ts"), &[]);
    paired(&untimed, &json(&data.join("klv-carriage/async-no-pts.pairing.json")), &packets, |n| n * 5);
    assert_eq!(untimed[7]["telemetry"]["age_ms"], 66);
}

const PACKET: usize = 188;

/// The same transport stream, all its times later by `ticks` of 1/90000 s, which wrap at 2^33.
fn later(bytes: &mut [u8], ticks: u64) {
    let wrapped = |time: u64| (time + ticks) & ((1 << 33) - 1);
    for packet in bytes.chunks_exact_mut(PACKET) {
        let field = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
        if field > 1 && packet[5] & 0x10 != 0 {
            let clock = wrapped(
                u64::from(u32::from_be_bytes(packet[6..10].try_into().expect("4 bytes"))) << 1
                    | u64::from(packet[10] >> 7),
            );
            packet[6..10].copy_from_slice(&u32::try_from(clock >> 1).expect("32 bits").to_be_bytes());
            packet[10] = packet[10] & 0x7F | u8::from(clock & 1 == 1) << 7;
        }
        let begins = packet[1] & 0x40 != 0 && packet[3] & 0x10 != 0;
        let Some(pes) =
            packet.get_mut(4 + field..).filter(|pes| begins && pes.len() > 19 && pes.starts_with(&[0, 0, 1]))
        else {
            continue;
        };
        let times = match pes[7] >> 6 {
            2 => 1,
            3 => 2,
            _ => 0,
        };
        for at in (0..times).map(|n| 9 + 5 * n) {
            let part = |at: usize| u64::from(pes[at]);
            let time = wrapped(
                (part(at) >> 1 & 7) << 30
                    | part(at + 1) << 22
                    | (part(at + 2) >> 1) << 15
                    | part(at + 3) << 7
                    | part(at + 4) >> 1,
            );
            let byte = |shift: u32| u8::try_from(time >> shift & 0xFF).expect("a byte");
            pes[at] = pes[at] & 0xF1 | byte(29) & 0x0E;
            pes[at + 1] = byte(22);
            pes[at + 2] = byte(14) | 1;
            pes[at + 3] = byte(7);
            pes[at + 4] = byte(0) << 1 | 1;
        }
    }
}

#[test]
fn a_clock_that_wraps_pairs_on() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let packets = json(&data.join("klv-sample-stream/expected.json"));
    let mut bytes = std::fs::read(data.join("klv-sample-stream/sample-stream.ts")).expect("a recording");
    // Four seconds in, of nine.
    later(&mut bytes, (1 << 33) - 195_030 - 4 * 90_000);
    let wraps = folder.path().join("wraps.ts");
    std::fs::write(&wraps, bytes).expect("a file");
    let (lines, ..) = run(folder.path(), &wraps, &[]);
    paired(&lines, &json(&data.join("klv-sample-stream/pairing.json")), &packets, |n| n);
}

#[test]
fn subtitles_of_drones_are_read_from_the_video_or_beside_it() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for clip in ["p4rtk-1hz", "mavic3-50hz", "avata360-gimbal"] {
        let expected = json(&data.join(format!("dji-clips/{clip}.expected.json")));
        let rows = expected["rows"].as_array().or(expected["cues"].as_array()).expect("rows");
        let named = data.join(format!("dji-clips/{clip}.SRT"));
        for (source, args) in [("mp4", &[][..]), ("mkv", &[]), ("mp4", &["--telemetry", text(&named)])] {
            let (lines, ..) = run(folder.path(), &data.join(format!("dji-clips/{clip}.{source}")), args);
            let frames = expected["frames"].as_array().expect("frames");
            assert_eq!(lines.len(), frames.len());
            for (line, frame) in lines.iter().zip(frames) {
                let what = || format!("{clip}.{source} {args:?}, {frame}: {}", line["telemetry"]);
                let Some(cue) = frame["cue_index"].as_u64().and_then(|n| usize::try_from(n).ok()) else {
                    assert!(line["telemetry"].is_null(), "{}", what());
                    continue;
                };
                assert_eq!(line["telemetry"]["source"], "dji_srt", "{}", what());
                assert_eq!(
                    (&line["telemetry"]["lat"], &line["telemetry"]["lon"]),
                    (&rows[cue]["lat"], &rows[cue]["lon"]),
                    "{}",
                    what()
                );
            }
        }
    }
    // One that lies beside is found by itself.
    let video = folder.path().join("DJI_0001.MP4");
    let plain = ["-i", text(&data.join("dji-clips/p4rtk-1hz.mp4")), "-map", "0:v", "-c", "copy", text(&video)]
        .map(str::to_owned);
    program::witness("ffmpeg", &plain.each_ref().map(String::as_str));
    let (without, ..) = run(folder.path(), &video, &[]);
    assert!(without.iter().all(|line| line["telemetry"].is_null()));
    std::fs::copy(data.join("dji-clips/p4rtk-1hz.SRT"), folder.path().join("DJI_0001.SRT")).expect("a copy");
    let (with, ..) = run(folder.path(), &video, &[]);
    assert_eq!(with[0]["telemetry"]["lat"], Value::from(-34.237_922));
}

#[test]
fn cameras_have_the_positions_of_their_samples() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let expected = json(&data.join("gopro/expected.json"));
    let (lines, ..) = run(folder.path(), &data.join("gopro/max-heromode.small.mp4"), &[]);
    let all = expected["max-heromode_GPS5_all"].as_array().expect("samples");
    let is_one = |said: &Value| all.iter().any(|sample| said["lat"] == sample[0] && said["lon"] == sample[1]);
    assert!(lines.len() > 200 && lines.iter().all(|line| is_one(&line["telemetry"])), "{}", lines[0]);
    let (lines, ..) = run(folder.path(), &data.join("gopro/karma.small.mp4"), &[]);
    let karma = expected["karma_GLPI_all"].as_array().expect("samples");
    assert_eq!((&lines[0]["telemetry"]["lat"], &lines[0]["telemetry"]["alt_m"]), (&karma[0][1], &karma[0][3]));
}

/// Metres north and east of one place from another, as far apart as they are here.
fn apart(a: (f64, f64), b: (f64, f64)) -> f64 {
    let north = (a.0 - b.0) * 110_950.0;
    let east = (a.1 - b.1) * 111_320.0 * a.0.to_radians().cos();
    north.hypot(east)
}

#[test]
fn pixels_are_located_where_the_recording_says() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let ground = json(&data.join("geo/sample-stream-ground.json"));
    let frames = ground["frames"].as_array().expect("frames");
    let points: Vec<_> =
        frames.iter().map(|frame| serde_json::json!({"frame": frame["frame"], "x": 320, "y": 240})).collect();
    let named = folder.path().join("centres.json");
    std::fs::write(&named, serde_json::to_vec(&points).expect("JSON")).expect("a file");
    let clip = data.join("klv-sample-stream/sample-stream.ts");
    let (lines, ..) = run(folder.path(), &clip, &["--geolocate-points", text(&named)]);
    for (line, frame) in lines.iter().zip(frames) {
        let found = &line["detections"][0]["position"];
        let place = |lat: &Value, lon: &Value| (lat.as_f64().expect("lat"), lon.as_f64().expect("lon"));
        let off = apart(place(&found["lat"], &found["lon"]), place(&frame["center"][0], &frame["center"][1]));
        assert!(off <= 0.5, "frame {}: {off} m", line["frame"]);
        assert!(found["ce90_m"].as_f64().is_some_and(|ce90| ce90 > 50.0), "{found}");
    }
    // Raised to the horizon and above, as by a ground higher than the camera.
    let (lines, ..) = run(folder.path(), &clip, &["--geolocate-points", text(&named), "--ground", "9000"]);
    let detection = &lines[0]["detections"][0];
    assert_eq!(
        (&detection["position"], &detection["position_reason"]),
        (&Value::Null, &"camera not above the ground".into())
    );
    // Certain inputs make certain positions.
    let certain = "horizontal=0,vertical=0,ground=0,heading=0,attitude=0,gimbal=0,fov=0,pixels=1";
    let (lines, ..) = run(folder.path(), &clip, &["--geolocate-points", text(&named), "--uncertainty", certain]);
    let ce90 = lines[0]["detections"][0]["position"]["ce90_m"].as_f64().expect("an error");
    assert!(ce90 < 5.0, "{ce90}");
}

#[test]
fn packets_are_listed_with_all_that_they_say() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let expected = json(&data.join("klv-sample-stream/expected.json"));
    let listed = |file: &str| {
        let output = bare(folder.path(), "telemetry").args([text(&data.join(file)), "--json", "-"]).output();
        let output = output.expect("it starts");
        succeeds(&output);
        let lines = String::from_utf8(output.stdout).expect("text");
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
    };
    let packets = listed("klv-sample-stream/sample-stream.ts");
    assert_eq!(packets.len(), 277);
    for (packet, expected) in packets.iter().zip(expected["packets"].as_array().expect("packets")) {
        assert_eq!((&packet["checksum_ok"], &packet["precision_time_stamp"]), (&true.into(), &expected["time_us"]));
        close(&packet["frame_center_latitude"], &expected["frame_center_lat_deg"], "frame centre");
        let at = packet["pts_ns"].as_f64().expect("a time") / 1e9;
        assert!((at - expected["pts_rel_s"].as_f64().expect("a time")).abs() < 1e-6, "{at}");
    }
    assert_eq!((listed("klv-carriage/sync.ts").len(), listed("klv-carriage/async-no-pts.ts").len()), (90, 12));
    assert_eq!(listed("dji-clips/p4rtk-1hz.mp4")[0]["gimbal"]["pitch"], Value::from(-24.4));
    let payloads = listed("gopro/karma.small.mp4");
    let named = |key: &str| -> Vec<Value> {
        let streams = payloads.iter().flat_map(|payload| payload["streams"].as_array().expect("streams"));
        let samples = streams.filter(|stream| stream["key"] == key).map(|stream| stream["samples"].as_array());
        samples.flatten().flatten().cloned().collect()
    };
    let expected = json(&data.join("gopro/expected.json"));
    for (key, all) in [("GLPI", "karma_GLPI_all"), ("ATTD", "karma_ATTD_all")] {
        let found = named(key);
        let expected = expected[all].as_array().expect("samples");
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            for at in 0..7 {
                close(&found[at], &expected[at], key);
            }
        }
    }
}

#[test]
fn what_has_no_telemetry_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = program::made_clip(folder.path(), "plain.mp4", "64x64", "0.4", &[]);
    let refused = |args: &[&str]| {
        let output = bare(folder.path(), args[0]).args(&args[1..]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        said(&output)
    };
    assert!(refused(&["telemetry", text(&clip)]).contains("it has no telemetry"));
    assert!(refused(&["telemetry", "nowhere.ts"]).contains("check the path"));
    std::fs::write(folder.path().join("plain.SRT"), "1\n00:00:00,000 --> 00:00:01,000\nHello\n").expect("a file");
    assert!(refused(&["telemetry", "plain.SRT"]).contains("there is no telemetry in it"));
    let detect = ["detect", text(&clip), "-o", "none"];
    for (args, said) in [
        (&["--telemetry", "plain.SRT"][..], "there is no telemetry in it"),
        (&["--camera", "plain.SRT"], "there is no image_width"),
        (&["--terrain", "."], "there are no .hgt files"),
        (&["--uncertainty", "speed=1"], "give horizontal, vertical"),
        (&["--geolocate-points", "plain.SRT"], "give pixels from the upper left corner"),
    ] {
        let found = refused(&[&detect[..], args].concat());
        assert!(found.contains(said), "{args:?}: {found}");
    }
    // A table of nothing is no reason to fail a run.
    let (lines, report, _) = run(folder.path(), &clip, &[]);
    assert!(
        lines.iter().all(|line| line.get("telemetry").is_none()) && report["streams"][0].get("telemetry").is_none()
    );
}
