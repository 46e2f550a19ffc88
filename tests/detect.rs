//! The main job, as a user runs it: the real program on real clips. `ffprobe` and `ffmpeg` are the independent witnesses.

mod program;

use std::path::Path;
use std::process::{Command, Stdio};

use program::{
    audio_md5, detect, frames, json, json_lines, made_clip, probe, said, same_times, segments, shared,
    state_duration_ms, streamdet, succeeds, text, times, track_times, witness,
};

#[test]
fn a_made_clip_keeps_frames_times_rate_and_audio() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "1.334", &[]);
    succeeds(&streamdet(folder.path(), &["made.mp4", "--report", "r.json", "--json", "d.jsonl"]));
    let out = folder.path().join("made-annotated.mp4");
    same_times(&clip, &out);
    assert_eq!(times(&out).len(), 40);
    assert_eq!(probe(&out, "r_frame_rate"), "30000/1001");
    assert!(track_times(&out, "a:0").len() >= track_times(&clip, "a:0").len() - 2, "all but what an edit list hides");
    assert_eq!(frames(&json(&folder.path().join("r.json"))), (40, 40, 0));
    let lines = json_lines(&folder.path().join("d.jsonl"));
    let numbers: Vec<u64> = lines.iter().map(|l| l["frame"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

/// `-vv` adds logs to what is printed; as JSON, every line is an object.
#[test]
fn logs_are_text_or_json() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "0.5", &[]);
    let plain = streamdet(folder.path(), &["made.mp4", "-o", "none"]);
    succeeds(&plain);
    assert!(!said(&plain).contains("DEBUG"), "{}", said(&plain));
    let debug = streamdet(folder.path(), &["made.mp4", "-o", "none", "-vv"]);
    succeeds(&debug);
    for words in
        ["video 1/1 (frame 1/15) made.mp4", " INFO streamdet::pipeline", "stream up", "DEBUG streamdet::inference"]
    {
        assert!(said(&debug).contains(words), "{words}: {}", said(&debug));
    }
    let json = streamdet(folder.path(), &["made.mp4", "-o", "none", "--log-format", "json"]);
    succeeds(&json);
    let events: Vec<serde_json::Value> =
        said(&json).lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect();
    let up = events.iter().find(|event| event["message"] == "stream up").expect("the stream is logged");
    assert_eq!((&up["level"], &up["name"], &up["width"]), (&"INFO".into(), &"made.mp4".into(), &320.into()));
    assert!(events.iter().any(|event| event["message"].as_str().is_some_and(|text| text.starts_with("Speed: "))));
    let missing = streamdet(folder.path(), &["missing.mp4", "--log-format", "json"]);
    assert_eq!(missing.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_str(said(&missing).trim()).expect("JSON");
    assert_eq!(error["level"], "ERROR");
    let filtered = detect(folder.path(), &["made.mp4", "-o", "none"]).env("STREAMDET_LOG", "streamdet=loud").output();
    let filtered = filtered.expect("it starts");
    assert_eq!(filtered.status.code(), Some(2));
    assert!(said(&filtered).contains("STREAMDET_LOG=streamdet=loud"), "{}", said(&filtered));
}

/// What goes in and what must come out: container, size, and the audio, which is untouched where `same` says so.
#[test]
fn every_container_takes_every_audio_and_odd_sizes() {
    let folder = tempfile::tempdir().expect("a folder");
    let inputs = [
        ("aac.mkv", "320x240", vec![], ["mp4", "mkv", "mov"].as_slice()),
        ("opus.mkv", "161x121", vec!["-pix_fmt", "yuv444p", "-c:a", "libopus"], &["mp4", "mkv", "mov", "webm"]),
        ("pcm.mov", "320x240", vec!["-pix_fmt", "yuv422p", "-c:a", "pcm_s16le"], &["mkv", "mov"]),
        ("mp3.avi", "320x240", vec!["-c:v", "mpeg4", "-c:a", "libmp3lame"], &["mp4", "mkv", "mov"]),
    ];
    for (name, size, options, same) in inputs {
        let clip = made_clip(folder.path(), name, size, "1.334", &options);
        for ending in ["mp4", "mkv", "mov", "webm"] {
            let out = folder.path().join(format!("o.{ending}"));
            let output = streamdet(folder.path(), &[name, "-o", text(&out), "--overwrite", "--hud"]);
            succeeds(&output);
            assert_eq!(times(&out).len(), times(&clip).len(), "{name} to {ending}");
            same_times(&clip, &out);
            let untouched = same.contains(&ending);
            assert_eq!(audio_md5(&clip) == audio_md5(&out), untouched, "{name} to {ending}: {}", said(&output));
            assert_eq!(said(&output).contains("re-encoded"), !untouched, "{name} to {ending}: {}", said(&output));
            let video = if ending == "webm" { "vp9" } else { "h264" };
            assert_eq!(probe(&out, "codec_name"), video);
        }
    }
}

/// Runs it at a small input size: what was said, which must be without an error, and the file.
#[track_caller]
fn written(folder: &Path, input: &str, more: &[&str], out: &str) -> String {
    let output = streamdet(folder, &[&[input, "-o", out, "--overwrite", "--imgsz", "96"], more].concat());
    succeeds(&output);
    said(&output)
}

/// Packets of every audio track.
fn audio_packets(file: &Path) -> Vec<usize> {
    let tracks = witness("ffprobe", &["-show_entries", "format=nb_streams", "-of", "csv=p=0", text(file)]);
    let others: usize = tracks.trim().parse::<usize>().expect("a number") - 1;
    (0..others).map(|track| track_times(file, &format!("a:{track}")).len()).collect()
}

/// Replaces bytes of a file by as many others.
fn replace(file: &Path, from: &[u8], to: &[u8]) {
    let mut bytes = std::fs::read(file).expect("the clip");
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty() && from.len() == to.len());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    std::fs::write(file, bytes).expect("a file");
}

/// Codecs that nobody knows, audio without a layout, and a format that is no format: the video is whole in any case.
#[test]
fn audio_that_cannot_be_had_is_left_out_and_the_video_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let make = |name, options: &[&str]| made_clip(folder.path(), name, "320x240", "1.334", options);
    replace(&make("unknown.mkv", &["-c:a", "flac"]), b"A_FLAC", b"A_WHAT");
    replace(&make("unknown.mov", &[]), b"mp4a", b"what");
    make("five.mkv", &["-c:a", "pcm_s24le", "-ac", "5"]);
    make("latm.ts", &["-mpegts_flags", "latm"]);
    for (name, tracks, words) in [
        ("unknown.mkv", 0, "its unknown audio is left out: GStreamer has no decoder"),
        ("unknown.mov", 0, "its what audio is left out: GStreamer has no decoder"),
        ("five.mkv", 1, "cannot carry pcm audio; it is re-encoded as AAC"),
        ("latm.ts", 1, "cannot carry aac (LATM) audio; it is re-encoded as AAC"),
    ] {
        let said = written(folder.path(), name, &[], "o.mp4");
        let out = folder.path().join("o.mp4");
        assert_eq!((times(&out).len(), audio_packets(&out).len()), (40, tracks), "{name}: {said}");
        assert!(said.contains(words) && said.contains("(audio re-encoded)") == (tracks > 0), "{name}: {said}");
    }
}

/// The audio has ended, has not begun yet, or never comes: no file has a track without packets, which makes an MP4 unreadable.
#[test]
fn no_file_has_an_audio_track_without_packets() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=4"];
    let make = |name: &str, before: &[&str], audio: &str, codec: &str| {
        let out = folder.path().join(name);
        let coded = ["-c:v", "libx264", "-preset", "veryfast", "-c:a", codec, "-y", text(&out)];
        witness("ffmpeg", &[&source[..], before, &["-f", "lavfi", "-i", audio], &coded].concat());
    };
    make("late.mkv", &["-itsoffset", "2"], "sine=duration=2", "pcm_s16le");
    make("late.flv", &["-itsoffset", "2"], "sine=duration=2", "aac");
    make("short.mov", &[], "sine=duration=1", "alac");
    make("never.mp4", &["-itsoffset", "3"], "sine=duration=2", "aac");
    for (name, more, files, audio) in [
        ("late.mkv", vec!["--frames", "10"], vec!["o.ENDING"], 0),
        ("late.flv", vec!["--frames", "10"], vec!["o.ENDING"], 0),
        ("late.mkv", vec![], vec!["o.ENDING"], 1),
        ("short.mov", vec!["--segment", "2s"], vec!["o-*.ENDING"], 1),
        ("never.mp4", vec!["--frames", "50"], vec!["o.ENDING"], 0),
    ] {
        for ending in if name == "late.mkv" { &["mp4", "mov", "mkv", "ts", "webm"][..] } else { &["mp4"] } {
            written(folder.path(), name, &more, &format!("o.{ending}"));
            let frames: usize = if more.contains(&"--frames") { more[1].parse().expect("a number") } else { 100 };
            let files: Vec<_> = match files[..] {
                ["o-*.ENDING"] => segments(folder.path(), "o", ending),
                _ => files.iter().map(|file| folder.path().join(file.replace("ENDING", ending))).collect(),
            };
            let tracks: Vec<usize> = files.iter().flat_map(|file| audio_packets(file)).collect();
            assert_eq!(files.iter().map(|file| times(file).len()).sum::<usize>(), frames, "{name} to {ending}");
            assert!(tracks.len() == audio && !tracks.contains(&0), "{name} to {ending}: {tracks:?}");
            if name == "late.mkv" && audio > 0 {
                let offset = track_times(&files[0], "a:0")[0] - track_times(&files[0], "v:0")[0];
                assert!((offset - 2.0).abs() < 0.03, "{ending}: written at its own time, not {offset}");
            }
        }
    }
}

/// Audio that begins two seconds before its video is kept whole, and as much earlier.
#[test]
fn audio_that_begins_before_its_video_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let inputs = [("aac.flv", "aac"), ("opus.mkv", "libopus"), ("mp3.mkv", "libmp3lame")];
    for (name, codec) in inputs {
        let clip = folder.path().join(name);
        let source = ["-itsoffset", "2", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=3"];
        let coded = ["-f", "lavfi", "-i", "sine=duration=4", "-c:v", "libx264", "-c:a", codec, "-y", text(&clip)];
        witness("ffmpeg", &[&source[..], &coded[..]].concat());
        for ending in ["mp4", "mkv"] {
            let out = format!("o.{ending}");
            let said = written(folder.path(), name, &[], &out);
            let out = folder.path().join(out);
            assert_eq!(times(&out).len(), 75, "{name}");
            let (before, after) = (track_times(&clip, "a:0").len(), track_times(&out, "a:0").len());
            assert!(after + 1 >= before, "{name} to {ending}: {after} of {before} packets: {said}");
            let offset = |file: &Path| track_times(file, "v:0")[0] - track_times(file, "a:0")[0];
            assert!((offset(&out) - offset(&clip)).abs() < 0.03, "{name} to {ending}: {}", offset(&out));
            assert!(said.contains("(audio kept) · 4.0 s of it"), "{said}");
        }
    }
}

#[test]
fn frames_smaller_than_a_block_are_padded() {
    let folder = tempfile::tempdir().expect("a folder");
    for (size, padded) in [("8x8", "16,16"), ("2x30", "16,30")] {
        made_clip(folder.path(), "tiny.mkv", size, "0.334", &["-c:v", "ffv1", "-an"]);
        for ending in ["mp4", "webm"] {
            let said = written(folder.path(), "tiny.mkv", &[], &format!("o.{ending}"));
            let out = folder.path().join(format!("o.{ending}"));
            assert_eq!((times(&out).len(), probe(&out, "width,height").as_str()), (10, padded), "{size} to {ending}");
            assert!(said.contains("are padded to 16×"), "{said}");
        }
    }
}

/// Cameras record full range, which MP4 and MOV hardly state: the encoded video does.
#[test]
fn full_range_stays_full_range() {
    let folder = tempfile::tempdir().expect("a folder");
    let tags = ["-color_primaries", "bt709", "-colorspace", "bt709", "-color_trc", "bt709", "-an"];
    let h264 = ["-c:v", "libx264", "-pix_fmt", "yuvj420p"];
    let h265 = ["-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "range=full:log-level=error"];
    let limited = ["-c:v", "libx264", "-pix_fmt", "yuv420p"];
    for (name, codec, range) in
        [("f.mp4", &h264[..], "pc"), ("f.mov", &h264, "pc"), ("h.mp4", &h265, "pc"), ("l.mp4", &limited, "tv")]
    {
        let clip = made_clip(folder.path(), name, "320x240", "0.334", &[codec, &tags].concat());
        assert_eq!(probe(&clip, "color_range"), range, "the clip is as it should be");
        written(folder.path(), name, &[], "o.mp4");
        assert_eq!(probe(&folder.path().join("o.mp4"), "color_range,color_space"), format!("{range},bt709"), "{name}");
    }
}

/// A clip of one HDR grey, HLG's or PQ's reference white, with 10 bits.
fn hdr_clip(folder: &Path, name: &str, transfer: &str, luma: u16, more: &[&str]) {
    let tags = ["-color_primaries", "bt2020", "-colorspace", "bt2020nc", "-color_trc", transfer];
    let coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-an"];
    let grey = format!("format=yuv420p10le,geq=lum={luma}:cb=512:cr=512");
    made_clip(folder, name, "320x240", "0.334", &[&["-vf", &grey][..], &coded, &tags, more].concat());
}

/// Mean of a plane in the middle of the first frame, in the samples of `format`.
fn mean_sample(file: &Path, format: &str, bytes: usize) -> f64 {
    let crop = format!("crop=64:64:128:88,format={format}");
    let args = ["-v", "error", "-i", text(file), "-vf", &crop, "-frames:v", "1", "-f", "rawvideo", "-"];
    let output = Command::new("ffmpeg").args(args).output().expect("ffmpeg");
    let luma = output.stdout[..64 * 64 * bytes].chunks_exact(bytes);
    let sum: f64 = luma.map(|b| f64::from(b[0]) + f64::from(b[bytes - 1]) * if bytes == 2 { 256.0 } else { 0.0 }).sum();
    sum / (64.0 * 64.0)
}

/// Reference white of HLG and PQ, 75 and 58 %, is 69 % of BT.709, also where frames are turned or interlaced.
#[test]
fn hdr_is_tone_mapped_to_bt709() {
    let folder = tempfile::tempdir().expect("a folder");
    for (transfer, luma, words) in [("arib-std-b67", 721, "HDR (HLG)"), ("smpte2084", 573, "HDR (PQ)")] {
        for (name, more) in [("hdr.mkv", &[][..]), ("interlaced.mkv", &["-flags", "+ilme+ildct", "-top", "1"][..])] {
            hdr_clip(folder.path(), name, transfer, luma, more);
            let said = written(folder.path(), name, &[], "o.mp4");
            assert!(said.contains(&format!("{words} is tone-mapped to BT.709")), "{said}");
            let out = folder.path().join("o.mp4");
            assert_eq!(probe(&out, "pix_fmt,color_space,color_transfer,color_primaries"), "yuv420p,bt709,bt709,bt709");
            let mean = mean_sample(&out, "yuv420p", 1);
            assert!((mean - 166.5).abs() < 3.0, "{transfer}, {name}: {mean}");
        }
    }
    let (clip, turned) = (folder.path().join("hdr.mkv"), folder.path().join("turned.mov"));
    witness("ffmpeg", &["-i", text(&clip), "-c", "copy", "-metadata:s:v:0", "rotate=90", "-y", text(&turned)]);
    written(folder.path(), "turned.mov", &[], "o.mp4");
    assert_eq!(probe(&folder.path().join("o.mp4"), "width,height,color_transfer"), "240,320,bt709");
}

/// 10 bits, tags and samples as they were, and what is drawn has reference white.
#[test]
fn hdr_is_kept_where_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    for (transfer, luma, ending) in
        [("arib-std-b67", 500, "mp4"), ("smpte2084", 400, "mkv"), ("smpte2084", 400, "webm")]
    {
        hdr_clip(folder.path(), "hdr.mkv", transfer, luma, &[]);
        let out = folder.path().join(format!("o.{ending}"));
        let said = written(folder.path(), "hdr.mkv", &["--hdr", "keep", "--hud"], text(&out));
        assert!(said.contains("is written as HDR, with 10 bits"), "{said}");
        let format = probe(&out, "pix_fmt,color_transfer,color_primaries");
        assert_eq!(format, format!("yuv420p10le,{transfer},bt2020"), "{ending}");
        let mean = mean_sample(&out, "yuv420p10le", 2);
        assert!((mean - f64::from(luma)).abs() < 3.0, "{ending}: {mean}");
        let brightest = {
            let args = ["-v", "error", "-i", text(&out), "-vf", "signalstats,metadata=print:file=-", "-f", "null", "-"];
            let output = Command::new("ffmpeg").args(args).output().expect("ffmpeg");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let most =
                text.lines().filter_map(|line| line.strip_prefix("lavfi.signalstats.YMAX=")?.parse::<u32>().ok());
            most.max().expect("a frame")
        };
        let white = if transfer == "smpte2084" { 573 } else { 721 };
        assert!((white - 40..white + 120).contains(&brightest), "{transfer}, {ending}: {brightest}");
    }
    let refused = streamdet(folder.path(), &["hdr.mkv", "--hdr", "keep", "--encoder", "openh264enc", "-o", "no.mp4"]);
    assert!(!refused.status.success());
}

#[test]
fn pixel_aspect_and_rotation_are_kept_or_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "wide.mp4", "320x240", "0.5", &["-vf", "setsar=4/3"]);
    succeeds(&streamdet(folder.path(), &["wide.mp4", "-o", "o.mp4"]));
    assert_eq!(probe(&folder.path().join("o.mp4"), "sample_aspect_ratio"), "4:3");
    let turned = folder.path().join("turned.mp4");
    let wide = folder.path().join("wide.mp4");
    witness("ffmpeg", &["-i", text(&wide), "-c", "copy", "-metadata:s:v:0", "rotate=90", "-y", text(&turned)]);
    succeeds(&streamdet(folder.path(), &["turned.mp4", "-o", "t.mp4", "--json", "d.jsonl"]));
    let out = folder.path().join("t.mp4");
    assert_eq!(probe(&out, "width,height"), "240,320");
    assert_eq!(probe(&out, "sample_aspect_ratio"), "3:4");
    assert_eq!(json_lines(&folder.path().join("d.jsonl"))[0]["width"], 240);
}

/// Whatever the length is said to be, room for the index is reserved by what it is.
#[test]
fn an_mp4_is_as_compact_as_its_input() {
    let folder = tempfile::tempdir().expect("a folder");
    // One too short to state a length, one that states some 3,000 years, and one that is read from a pipe.
    made_clip(folder.path(), "short.ts", "320x240", "1.5", &["-bf", "3"]);
    let clip = made_clip(folder.path(), "years.mkv", "320x240", "1.5", &[]);
    state_duration_ms(&clip, 1e14);
    for (input, name) in [("short.ts", "short.ts"), ("years.mkv", "years.mkv"), ("/dev/stdin", "years.mkv")] {
        let clip = folder.path().join(name);
        for ending in ["mp4", "mov"] {
            let out = folder.path().join(format!("o.{ending}"));
            let file = std::fs::File::open(&clip).expect("the clip");
            let mut cat = Command::new("cat").stdin(file).stdout(Stdio::piped()).spawn().expect("cat");
            let pipe = cat.stdout.take().expect("a pipe");
            // The command that holds the pipe goes, so that `cat` ends where nobody reads.
            succeeds(
                &detect(folder.path(), &[input, "-o", text(&out), "--overwrite"])
                    .stdin(pipe)
                    .output()
                    .expect("it starts"),
            );
            cat.wait().expect("its end");
            let [before, after] = [&clip, &out].map(|file| file.metadata().expect("a file").len());
            assert!(after < before + 150_000, "{input} to {ending}: {before} bytes became {after}");
            same_times(&clip, &out);
            assert!(track_times(&out, "a:0").len() >= track_times(&clip, "a:0").len() - 2, "{input} to {ending}");
            witness("ffmpeg", &["-i", text(&out), "-f", "null", "-"]);
        }
    }
    // A few frames of something long.
    made_clip(folder.path(), "long.mkv", "320x240", "600", &["-preset", "ultrafast"]);
    succeeds(&streamdet(folder.path(), &["long.mkv", "-o", "few.mp4", "--frames", "30"]));
    let few = folder.path().join("few.mp4").metadata().expect("a file").len();
    assert!(few < 300_000, "30 frames take {few} bytes");
}

#[test]
fn joined_recordings_are_as_long_as_all_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "part.ts", "160x120", "4", &["-preset", "ultrafast"]);
    let bytes = std::fs::read(&clip).expect("the clip");
    std::fs::write(folder.path().join("joined.ts"), bytes.repeat(15)).expect("a file");
    let output = streamdet(folder.path(), &["joined.ts", "-o", "o.mp4", "--imgsz", "96", "--report", "r.json", "-v"]);
    succeeds(&output);
    assert!(said(&output).contains("(frame 1/18"), "15 times 120 frames are expected: {}", said(&output));
    let (received, processed, _) = frames(&json(&folder.path().join("r.json")));
    assert_eq!((received, processed), (1800, times(&folder.path().join("o.mp4")).len() as u64));
}

#[test]
fn frames_stops_early_and_the_audio_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mkv", "320x240", "4", &[]);
    succeeds(&streamdet(folder.path(), &["made.mkv", "-o", "o.mkv", "--frames", "30", "--report", "r.json"]));
    let out = folder.path().join("o.mkv");
    assert_eq!(times(&out).len(), 30);
    assert_eq!(frames(&json(&folder.path().join("r.json"))), (30, 30, 0));
    let audio = track_times(&out, "a:0");
    let last = audio.last().copied().expect("audio");
    assert!((0.9..=1.05).contains(&last), "30 frames are 1.001 s, the last audio packet is at {last}");
}

#[test]
fn pictures_give_pictures_labels_and_crops() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(root) = shared() else { return };
    let pictures = folder.path().join("in");
    std::fs::create_dir(&pictures).expect("a folder");
    let source = root.join("data/visdrone/images");
    for name in ["0000271_06001_d_0000402.jpg", "0000295_02400_d_0000033.jpg"] {
        std::fs::copy(source.join(name), pictures.join(name)).expect("a copy");
    }
    std::fs::write(pictures.join("broken.jpg"), b"\xff\xd8\xff\xe0 no picture").expect("a file");
    let output = streamdet(
        folder.path(),
        &["in", "-o", "out", "--save-txt", "txt", "--crops", "crops", "--json", "d.jsonl", "--report", "r.json"],
    );
    succeeds(&output);
    assert!(said(&output).contains("broken.jpg"), "{}", said(&output));
    assert_eq!(frames(&json(&folder.path().join("r.json"))), (3, 2, 1));
    let lines = json_lines(&folder.path().join("d.jsonl"));
    let count = |line: &serde_json::Value| line["detections"].as_array().expect("a list").len();
    let objects: usize = lines.iter().map(count).sum();
    assert_eq!((lines.len(), objects > 10), (2, true));
    let files = |folder: &Path| -> usize { std::fs::read_dir(folder).expect("a folder").count() };
    assert_eq!(files(&folder.path().join("out")), 2);
    let labels: usize = std::fs::read_dir(folder.path().join("txt"))
        .expect("labels")
        .map(|e| std::fs::read_to_string(e.expect("a file").path()).expect("text").lines().count())
        .sum();
    assert_eq!(labels, objects);
    let crops: usize = std::fs::read_dir(folder.path().join("crops"))
        .expect("crops")
        .map(|e| files(&e.expect("a class").path()))
        .sum();
    assert_eq!(crops, objects);
    // A crop is as large as its box.
    let first = &lines[0]["detections"][0];
    let class = first["class"].as_str().expect("a class");
    let crop = folder.path().join("crops").join(class).join("0000271_06001_d_0000402-1.jpg");
    let size = probe(&crop, "width,height");
    let (w, h) = size.split_once(',').expect("a size");
    let corner = |i: usize| first["box"][i].as_f64().expect("a number");
    for (side, low, high) in [(w, 0, 2), (h, 1, 3)] {
        let side: f64 = side.parse().expect("a number");
        assert!((side - (corner(high) - corner(low))).abs() <= 3.0, "{size} for {first}");
    }
}

#[test]
fn an_output_is_not_overwritten_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "1.334", &[]);
    std::fs::write(folder.path().join("o.mp4"), "mine").expect("a file");
    let output = streamdet(folder.path(), &["made.mp4", "-o", "o.mp4"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--overwrite"));
    assert_eq!(std::fs::read(folder.path().join("o.mp4")).expect("a file"), b"mine");
}

#[test]
fn unusable_input_says_what_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("empty.mp4"), "").expect("a file");
    std::fs::write(folder.path().join("text.mp4"), "this is not video\n".repeat(100)).expect("a file");
    std::fs::write(folder.path().join("not.onnx"), "not a model").expect("a file");
    std::fs::create_dir(folder.path().join("nothing")).expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "1.334", &[]);
    for (args, words) in [
        (vec!["missing.mp4"], "missing.mp4: no such file"),
        (vec!["empty.mp4"], "empty"),
        (vec!["text.mp4"], "text.mp4"),
        (vec!["nothing"], "no video or image"),
        (vec!["made.mp4", "-m", "not.onnx", "-o", "x.mp4"], "not.onnx is not a model"),
        (vec!["made.mp4", "-m", "nosuch", "-o", "x.mp4"], "`streamdet model list` shows all"),
        (vec!["made.mp4", "--classes", "caar", "-o", "x.mp4"], "\"car\""),
        (vec!["made.mp4", "--json", "d.jsonl", "--report", "nowhere/r.json"], "no such folder"),
        (vec!["made.mp4", "--json", "d.jsonl", "--metrics", "192.0.2.1:1"], "192.0.2.1:1"),
        (vec!["made.mp4", "--csv", "r.csv", "--trace", "nowhere/t.json"], "--trace nowhere/t.json"),
        (vec!["made.mp4", "--csv", "r.csv", "--html", "r.html", "--json", "nowhere/d.jsonl"], "--json nowhere/d.jsonl"),
        (vec!["made.mp4", "--onnxruntime", "nowhere", "-o", "x.mp4"], "make setup"),
        (vec!["made.mp4", "--onnxruntime", "not.onnx", "-o", "x.mp4"], "make setup"),
    ] {
        let output = streamdet(folder.path(), &args);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .filter_map(|e| e.ok().map(|e| e.file_name()))
            .filter(|n| n.to_string_lossy().contains(".part") || n.to_string_lossy().contains("annotated"))
            .collect();
        assert!(left.is_empty(), "{args:?} left {left:?}");
    }
}

#[test]
fn a_recorded_clip_keeps_every_frame_and_its_audio() {
    let Some(root) = shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let clip = root.join("data/video/car-detection.mp4");
    let model = root.join("models/yolov8n_coco_dynamic.onnx");
    let args = [text(&clip), "-m", text(&model), "-o", "o.mp4", "--json", "d.jsonl", "--report", "r.json"];
    succeeds(&streamdet(folder.path(), &args));
    let out = folder.path().join("o.mp4");
    same_times(&clip, &out);
    assert_eq!(audio_md5(&clip), audio_md5(&out));
    assert_eq!(json_lines(&folder.path().join("d.jsonl")).len(), 377);
    let report = json(&folder.path().join("r.json"));
    assert_eq!(frames(&report), (377, 377, 0));
    assert!(report["latency_ms"]["decode"]["count"].as_u64() > Some(300), "decoding is stamped");
    assert!(report["latency_ms"]["inference"]["p50"].as_f64() > Some(1.0), "inference is measured");
    let shares = report["resources"]["cpu_share"].as_object().expect("shares");
    let sum: f64 = shares.values().map(|v| v.as_f64().expect("a number")).sum();
    assert!((sum - 1.0).abs() < 0.01, "{shares:?}");
}

/// One of the two would replace the other, and nobody would hear of it.
#[test]
fn two_outputs_never_share_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "0.5", &[]);
    std::fs::create_dir(folder.path().join("sub")).expect("a folder");
    for (args, options) in [
        (&["-o", "none", "--json", "x", "--report", "x"][..], "--json and --report"),
        (&["-o", "x.mkv", "--report", "x.mkv"], "-o and --report"),
        (&["-o", "x.mkv", "--json", "sub/../x.mkv", "--overwrite"], "-o and --json"),
        (&["-o", "none", "--csv", "x", "--trace", "./x"], "--csv and --trace"),
    ] {
        let output = streamdet(folder.path(), &[&["made.mp4"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(&format!("{options} both name ")), "{args:?}: {}", said(&output));
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left.len(), 2, "nothing is left but the clip and the folder: {left:?}");
    }
    succeeds(&streamdet(folder.path(), &["made.mp4", "-o", "none", "--json", "/dev/null", "--report", "/dev/null"]));
}
