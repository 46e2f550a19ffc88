//! What goes wrong in the field: interruptions, crashes, full disks, damaged files, missing plugins.

mod program;

use std::path::Path;

use program::running::Running;
use program::{
    SmallDisk, detect, frames, json, made_clip, said, state_duration_ms, streamdet, succeeds, text, times, track_times,
    witness,
};

/// Starts a run on a long clip and returns once `frame` frames have been handed over, as its own log says.
fn midway(folder: &Path, out: &str, frame: u64) -> Running {
    made_clip(folder, "long.mp4", "320x240", "60", &["-preset", "ultrafast"]);
    let args = ["long.mp4", "-o", out, "--report", "r.json", "-v"];
    let run = Running::start(detect(folder, &args));
    run.wait_for(&format!("(frame {frame}/"), 1);
    run
}

#[test]
fn an_interrupted_run_finishes_its_file_and_reports() {
    for (name, code, ending) in [("INT", 130, "mp4"), ("TERM", 143, "mkv"), ("HUP", 129, "mp4")] {
        let folder = tempfile::tempdir().expect("a folder");
        let out = format!("o.{ending}");
        let mut run = midway(folder.path(), &out, 60);
        run.signal(name);
        assert_eq!(run.ended(), Some(code));
        let out = folder.path().join(out);
        let (received, processed, _) = frames(&json(&folder.path().join("r.json")));
        let pictures = times(&out);
        assert_eq!(pictures.len() as u64, processed, "every frame handed over is in the file");
        assert!((60..1700).contains(&received), "midway: {received}");
        let (picture, sound) = (pictures.last().copied(), track_times(&out, "a:0").last().copied());
        let apart = picture.expect("pictures") - sound.expect("sound");
        assert!(apart.abs() < 0.1, "picture and sound end together, {apart} s apart");
        assert!(!folder.path().join(format!("o.{ending}.part")).exists());
        witness("ffmpeg", &["-i", text(&out), "-f", "null", "-"]);
    }
}

#[test]
fn a_killed_run_leaves_a_part_that_plays() {
    for ending in ["mp4", "mkv", "mov", "webm"] {
        let folder = tempfile::tempdir().expect("a folder");
        let out = format!("o.{ending}");
        let mut run = midway(folder.path(), &out, 240);
        run.signal("KILL");
        assert_eq!(run.ended(), None);
        let part = folder.path().join(out + ".part");
        let (pictures, sound) = (times(&part).len(), track_times(&part, "a:0").len());
        assert!(pictures >= 120, "{ending}: {pictures} of 240 frames are left");
        assert!(sound >= 120, "{ending}: {sound} packets of sound are left");
        witness("ffmpeg", &["-i", text(&part), "-f", "null", "-"]);
    }
}

#[test]
fn a_full_disk_ends_the_run_and_keeps_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), "2m") else { return };
    made_clip(folder.path(), "long.mp4", "640x480", "30", &["-preset", "ultrafast", "-vf", "noise=alls=60:allf=t"]);
    let output = streamdet(folder.path(), &["long.mp4", "-o", "disk/o.mkv", "--report", "r.json"]);
    let part = disk.path.join("o.mkv.part");
    let kept = times(&part).len();
    let unmounted = disk.unmount();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the disk is full"), "{}", said(&output));
    assert!(said(&output).contains("o.mkv.part"), "{}", said(&output));
    assert!(kept > 0 && unmounted, "{kept} frames kept");
    frames(&json(&folder.path().join("r.json")));
}

#[test]
fn a_corrupt_stretch_costs_its_frames_and_not_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.ts", "320x240", "10", &["-g", "30", "-bf", "0", "-f", "mpegts"]);
    let mut bytes = std::fs::read(&clip).expect("the clip");
    let (from, to) = (bytes.len() / 2, bytes.len() / 2 + bytes.len() / 20);
    // Packets keep their sync byte and header: it is the picture that is damaged.
    for (at, byte) in bytes.iter_mut().enumerate().take(to).skip(from) {
        if at % 188 >= 12 && at % 5 == 0 {
            *byte ^= 0x5a;
        }
    }
    std::fs::write(folder.path().join("bad.ts"), bytes).expect("a file");
    let output = streamdet(folder.path(), &["bad.ts", "-o", "o.mp4", "--report", "r.json"]);
    succeeds(&output);
    let (received, processed, corrupt) = frames(&json(&folder.path().join("r.json")));
    assert!((270..=305).contains(&received), "{received} of 300 received");
    assert!(processed >= 240, "{processed} processed, {corrupt} corrupt");
    assert_eq!(times(&folder.path().join("o.mp4")).len() as u64, processed);
}

#[test]
fn sound_whose_headers_are_damaged_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.ts", "320x240", "4", &[]);
    let mut bytes = std::fs::read(&clip).expect("the clip");
    // ADTS headers of mono AAC; in the middle third, they no longer say how many channels there are.
    let at = bytes.windows(4).position(|w| w[..2] == [0xff, 0xf1] && w[2] & 1 == 0 && w[3] >> 6 == 1).expect("sound");
    let header: [u8; 3] = std::array::from_fn(|i| bytes[at + i]);
    let third = bytes.len() / 3;
    for at in third..2 * third {
        if bytes[at..].starts_with(&header) && bytes[at + 3] >> 6 == 1 {
            bytes[at + 3] &= 0x3f;
        }
    }
    std::fs::write(folder.path().join("bad.ts"), bytes).expect("a file");
    let whole = track_times(&clip, "a:0").len();
    for ending in ["mp4", "mkv"] {
        let out = folder.path().join(format!("o.{ending}"));
        succeeds(&streamdet(folder.path(), &["bad.ts", "-o", text(&out)]));
        assert_eq!(times(&out).len(), times(&clip).len(), "{ending}");
        let kept = track_times(&out, "a:0").len();
        assert!(kept > whole / 2 && kept < whole - 10, "{ending}: {kept} of {whole} packets of sound");
    }
}

#[test]
fn sound_that_begins_without_times_is_left_out_until_it_has_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.ts", "320x240", "4", &["-c:a", "libmp3lame"]);
    let mut bytes = std::fs::read(&clip).expect("the clip");
    let end = bytes.len() / 3;
    let mut damaged = 0;
    // In the first third, no header of a packet of MPEG audio (00 00 01 C0, size, flags) says that a time follows.
    for at in (0..end).filter(|at| at % 188 >= 4) {
        if bytes[at..].starts_with(&[0, 0, 1, 0xc0]) {
            bytes[at + 7] = 0;
            damaged += 1;
        }
    }
    assert!(damaged > 1, "{damaged} headers");
    std::fs::write(folder.path().join("bad.ts"), bytes).expect("a file");
    succeeds(&streamdet(folder.path(), &["bad.ts", "-o", "o.mp4"]));
    let out = folder.path().join("o.mp4");
    assert_eq!(times(&out).len(), times(&clip).len());
    let (kept, whole) = (track_times(&out, "a:0").len(), track_times(&clip, "a:0").len());
    assert!(kept > whole / 2 && kept < whole - 10, "{kept} of {whole} packets of sound");
}

#[test]
fn an_index_that_outgrows_its_room_is_said_and_what_was_written_plays() {
    let folder = tempfile::tempdir().expect("a folder");
    // Far longer than it states, and with 400 packets of sound a second.
    let sound = ["-c:a", "libopus", "-frame_duration", "2.5", "-preset", "ultrafast"];
    let clip = made_clip(folder.path(), "lie.mkv", "160x120", "30", &sound);
    state_duration_ms(&clip, 100.0);
    let output = streamdet(folder.path(), &["lie.mkv", "-o", "o.mp4", "--imgsz", "96"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("longer than it states") && said(&output).contains(".mkv"), "{}", said(&output));
    let part = folder.path().join("o.mp4.part");
    let (pictures, sound) = (times(&part).len(), track_times(&part, "a:0").len());
    assert!(pictures > 30 && sound > 400, "{pictures} frames and {sound} packets of sound are left");
    witness("ffmpeg", &["-i", text(&part), "-f", "null", "-"]);
}

#[test]
fn one_bad_file_costs_itself_and_not_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "good.mp4", "320x240", "1", &[]);
    std::fs::write(folder.path().join("bad.mp4"), "no video ".repeat(500)).expect("a file");
    let output = streamdet(folder.path(), &["bad.mp4", "good.mp4", "-o", "out/"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("bad.mp4"), "{}", said(&output));
    assert_eq!(times(&folder.path().join("out/good-annotated.mp4")).len(), 30);
}

#[test]
fn a_missing_decoder_is_named_with_its_package() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    let registry = folder.path().join("registry");
    let decoders = ["avdec_h264", "openh264dec", "vah264dec", "nvh264dec", "v4l2h264dec", "vaapih264dec"];
    let ranks = decoders.map(|d| format!("{d}:NONE")).join(",");
    let output = detect(folder.path(), &["made.mp4", "-o", "o.mp4"])
        .env("GST_PLUGIN_FEATURE_RANK", ranks)
        .env("GST_REGISTRY", registry)
        .output()
        .expect("it starts");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("H.264") && said.contains("gstreamer1.0-libav"), "{said}");
}

#[test]
fn an_unwritable_folder_is_said_before_any_work() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    std::fs::write(folder.path().join("file"), "").expect("a file");
    let output = streamdet(folder.path(), &["made.mp4", "-o", "file/o.mp4"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("file/o.mp4"), "{}", said(&output));
    assert!(said(&output).contains("-o"), "{}", said(&output));
}

#[test]
fn a_model_that_fails_midway_leaves_a_finished_file() {
    let folder = tempfile::tempdir().expect("a folder");
    // Of one size for a second, then of another, on which the model fails.
    let mut bytes = Vec::new();
    for (name, size) in [("a.ts", "384x256"), ("b.ts", "256x256")] {
        bytes.extend(std::fs::read(made_clip(folder.path(), name, size, "1.0", &["-g", "10"])).expect("a clip"));
    }
    std::fs::write(folder.path().join("both.ts"), bytes).expect("a clip");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/hostile-one-size.onnx");
    let args =
        ["both.ts", "-m", text(&model), "--provider", "cpu", "--imgsz", "96", "-o", "o.mp4", "--report", "r.json"];
    let output = streamdet(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let (_, processed, _) = frames(&json(&folder.path().join("r.json")));
    assert!(processed >= 25, "{processed} frames before the model failed");
    assert_eq!(times(&folder.path().join("o.mp4")).len() as u64, processed, "finished, under its own name");
    assert!(!folder.path().join("o.mp4.part").exists());
}
