//! Real feeds and files, held against the test data's `reports/expected.tsv`: what of each is decoded, and what is written.

#[path = "feeds/clips.rs"]
mod clips;
#[path = "feeds/parity.rs"]
mod parity;
mod program;

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use program::running::Running;
use program::{frames, json, shared, text, track_times, witness};

/// Rows that do not hold yet. One that holds fails the test until it is taken out of here.
const NOT_YET: &[&str] = &[];
/// No input here takes a tenth of this; one that does hangs.
const HANGS: Duration = Duration::from_mins(2);
/// How far the length of the written video may be from the expected one: these have two decimals, and frames of 30 Hz.
const LENGTH_TOLERANCE_S: f64 = 0.05;

/// What must come out of an input.
struct Row<'a> {
    file: &'a str,
    frames: RangeInclusive<u64>,
    corrupt: u64,
    video_s: Option<f64>,
    /// No more than the input itself has.
    audio_packets: usize,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Self {
        let [file, frames, corrupt, video_s, audio_packets, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("six columns: {line}");
        };
        let number = |text: &str| text.parse::<u64>().expect("a number of frames");
        let (low, high) = frames.split_once('-').unwrap_or((frames, frames));
        Self {
            file,
            frames: number(low)..=number(high),
            corrupt: number(corrupt),
            video_s: (video_s != "-").then(|| video_s.parse().expect("seconds")),
            audio_packets: audio_packets.parse().expect("a number of packets"),
        }
    }

    /// Runs it; `Err` says what differs.
    fn check(&self, input: &Path) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = program::bare(folder.path(), "detect");
        command.args([text(input), "--imgsz", "96", "-o", "o.mp4", "--report", "r.json", "--preset", "ultrafast"]);
        let mut run = Running::start(command);
        let Some(status) = run.ends_within(HANGS) else {
            return Err(format!("it hangs: not ended after {} s", HANGS.as_secs()));
        };
        if status.code() != Some(0) {
            return Err(format!("exit {:?}: {}", status.code(), run.said()));
        }
        let (received, processed, corrupt) = frames(&json(&folder.path().join("r.json")));
        let out = folder.path().join("o.mp4");
        let Some(written) = Written::read(&out) else {
            return Err(format!("{received}/{processed}/{corrupt}, and ffprobe does not open what is written"));
        };
        let Written { video_packets, video_s, audio_packets } = written;
        let empty_track = audio_packets.contains(&0);
        let audio: usize = audio_packets.iter().sum();
        let found = format!(
            "{received} received, {processed} processed, {corrupt} corrupt, {video_packets} written in {video_s:.3} s, \
             audio packets {audio_packets:?}"
        );
        // Where more or fewer frames may come out, so much longer or shorter may it be.
        let number = |frames: &u64| f64::from(u32::try_from(*frames).expect("a small number"));
        let (low, high) = (number(self.frames.start()), number(self.frames.end()));
        let length = self
            .video_s
            .is_none_or(|expected| (video_s - expected).abs() <= LENGTH_TOLERANCE_S + (high - low) / high * expected);
        let right = self.frames.contains(&processed)
            && corrupt <= self.corrupt
            && video_packets as u64 == processed
            && length
            && audio >= self.audio_packets.min(track_times(input, "a").len())
            && !empty_track;
        if right {
            return Ok(found);
        }
        let Self { frames, corrupt, video_s, audio_packets, .. } = self;
        Err(format!("{found}; expected {frames:?}, corrupt {corrupt}, {video_s:?} s, audio packets >= {audio_packets}"))
    }
}

/// What `ffprobe` finds in a written file.
struct Written {
    video_packets: usize,
    video_s: f64,
    /// Of every audio track.
    audio_packets: Vec<usize>,
}

impl Written {
    /// `None` where `ffprobe` does not open it.
    fn read(file: &Path) -> Option<Self> {
        let opens = std::process::Command::new("ffprobe").args(["-v", "error"]).arg(file).output();
        if !opens.expect("ffprobe is installed").status.success() {
            return None;
        }
        let entry = ["-show_entries", "stream=codec_type", "-of", "csv=p=0", text(file)];
        let tracks = witness("ffprobe", &entry);
        let audio_tracks = tracks.lines().filter(|line| line.starts_with("audio")).count();
        Some(Self {
            video_packets: track_times(file, "v:0").len(),
            video_s: program::probe(file, "duration").parse().unwrap_or(f64::NAN),
            audio_packets: (0..audio_tracks).map(|n| track_times(file, &format!("a:{n}")).len()).collect(),
        })
    }
}

#[test]
fn every_feed_yields_what_it_has() {
    let Some(root) = shared() else { return };
    let folder = root.join("data/reports");
    let table = std::fs::read_to_string(folder.join("expected.tsv")).expect("the table");
    let rows: Vec<Row> = table.lines().filter(|line| !line.starts_with('#')).map(Row::parse).collect();
    for name in NOT_YET {
        assert!(rows.iter().any(|row| row.file == *name), "{name} is no row");
    }
    let mut wrong = 0;
    for row in rows {
        let known = NOT_YET.contains(&row.file);
        let (word, found) = match row.check(&folder.join(row.file)) {
            Ok(found) if known => ("HOLDS", found),
            Ok(found) => ("ok", found),
            Err(found) if known => ("not yet", found),
            Err(found) => ("WRONG", found),
        };
        wrong += usize::from(["HOLDS", "WRONG"].contains(&word));
        println!("{word:<8}{:<36} {}", row.file, found.trim_end());
    }
    assert_eq!(wrong, 0, "rows that do not hold, or hold and are still in NOT_YET; see above");
}

/// Runs it as a file and on standard input; received, processed and corrupt frames of each.
fn both_ways(folder: &Path, input: &Path) -> [(u64, u64, u64); 2] {
    let run = |source: &str| {
        let mut command = program::bare(folder, "detect");
        command.args([source, "--imgsz", "96", "-o", "o.mp4", "--overwrite", "--report", "r.json"]);
        command.stdin(std::fs::File::open(input).expect("the input"));
        program::succeeds(&command.output().expect("it starts"));
        let counts = frames(&json(&folder.join("r.json")));
        assert_eq!(track_times(&folder.join("o.mp4"), "v:0").len() as u64, counts.1, "{source}");
        counts
    };
    [run(text(input)), run("-")]
}

/// Frames that `ffmpeg` decodes.
fn shown(input: &Path) -> u64 {
    let frames =
        witness("ffmpeg", &["-i", text(input), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framehash", "-"]);
    frames.lines().filter(|line| !line.starts_with('#')).count() as u64
}

#[test]
fn of_a_trimmed_clip_what_is_shown_is_decoded() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["-g", "40", "-bf", "3", "-video_track_timescale", "30000"];
    let clip = program::made_clip(folder.path(), "clip.mp4", "320x240", "6", &options);
    // Between frames, on one, and behind a lead-in that is longer than what qtdemux takes for a lag of the other track; and
    // with frames shown before they would be decoded, as phones have them.
    for (name, start, flags) in [
        ("between.mp4", "1.11", "+faststart"),
        ("on.mov", "2.002", "+faststart"),
        ("late.mov", "3.9", "+negative_cts_offsets"),
        ("negative.mp4", "0.7", "+negative_cts_offsets"),
    ] {
        let trimmed = folder.path().join(name);
        let cut = ["-ss", start, "-i", text(&clip), "-t", "1.9", "-c", "copy", "-movflags", flags, text(&trimmed)];
        witness("ffmpeg", &cut);
        let expected = shown(&trimmed);
        assert!((50..60).contains(&expected), "{name}: {expected}");
        assert_eq!(both_ways(folder.path(), &trimmed), [(expected, expected, 0); 2], "{name}");
    }
}

#[test]
fn a_short_video_track_is_no_preview_where_there_is_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, codec) in [("short.mov", "mpeg4"), ("short.mp4", "mjpeg")] {
        let input = folder.path().join(name);
        let video = ["-f", "lavfi", "-t", "1", "-i", "testsrc2=size=320x240:rate=30"];
        let audio = ["-f", "lavfi", "-t", "20", "-i", "sine", "-c:a", "aac", "-c:v", codec];
        witness("ffmpeg", &[video.as_slice(), &audio, &[text(&input)]].concat());
        assert_eq!(both_ways(folder.path(), &input), [(30, 30, 0); 2], "{name}");
    }
}

/// A track that another, longer one follows is the one that ffmpeg shows; and a length of the movie that is far too short is not
/// believed, of which the written file's index would run over.
#[test]
fn what_the_movie_says_of_its_tracks_is_held_against_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let two = folder.path().join("two.mp4");
    let videos = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=4", "-f", "lavfi", "-i"];
    let other = ["testsrc=size=160x120:rate=1:duration=40", "-map", "0", "-map", "1", "-c:v", "libx264", text(&two)];
    witness("ffmpeg", &[videos.as_slice(), &other].concat());
    assert_eq!(both_ways(folder.path(), &two), [(100, 100, 0); 2]);
    let short = program::made_clip(folder.path(), "short.mp4", "96x96", "240", &["-an", "-preset", "ultrafast"]);
    let mut bytes = std::fs::read(&short).expect("a clip");
    let at = bytes.windows(4).position(|kind| kind == b"mvhd").expect("a header") + 4 + 16;
    bytes[at..at + 4].copy_from_slice(&2400_u32.to_be_bytes());
    std::fs::write(&short, bytes).expect("a file");
    let expected = shown(&short);
    assert!(expected > 5000, "{expected}");
    assert_eq!(both_ways(folder.path(), &short)[0], (expected, expected, 0));
}

/// What is HDR may go on as SDR; raw RGB in AVI has no pixel aspect ratio, which is none at all.
#[test]
fn every_frame_of_a_stream_that_changes_its_layout_is_decoded() {
    let folder = tempfile::tempdir().expect("a folder");
    let part = |name: &str, colours: &str, pixels: &str| {
        let file = folder.path().join(name);
        let source = ["-f", "lavfi", "-i", "testsrc2=rate=25:duration=1:size=322x182", "-c:v", "libx265"];
        let coded = ["-x265-params", colours, "-pix_fmt", pixels, "-preset", "ultrafast", text(&file)];
        witness("ffmpeg", &[source.as_slice(), &coded].concat());
        std::fs::read(file).expect("a file")
    };
    let hdr = part("hdr.ts", "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc", "yuv420p10le");
    let [sdr, ten] =
        [("sdr.ts", "yuv420p"), ("ten.ts", "yuv420p10le")].map(|(name, pixels)| part(name, "log-level=none", pixels));
    for (name, parts) in [("from.ts", [&hdr, &sdr]), ("to.ts", [&sdr, &hdr]), ("ten-bits.ts", [&hdr, &ten])] {
        let input = folder.path().join(name);
        std::fs::write(&input, parts.map(Vec::as_slice).concat()).expect("a file");
        assert_eq!(both_ways(folder.path(), &input), [(50, 50, 0); 2], "{name}");
    }
    for pixels in ["bgr24", "bgra"] {
        let raw = folder.path().join("raw.avi");
        let source = ["-f", "lavfi", "-i", "testsrc=rate=25:duration=1:size=176x144", "-c:v", "rawvideo"];
        witness("ffmpeg", &[source.as_slice(), &["-pix_fmt", pixels, "-y", text(&raw)]].concat());
        assert_eq!(both_ways(folder.path(), &raw)[0], (25, 25, 0), "{pixels}");
    }
}

/// Several packets of Opus have one time in a transport stream; a silence that is not sent is not the length of a packet.
#[test]
fn audio_keeps_its_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = |name: &str, options: &[&str]| {
        program::made_clip(
            folder.path(),
            name,
            "320x240",
            "8",
            &[["-preset", "ultrafast"].as_slice(), options].concat(),
        )
    };
    let opus = made("opus.ts", &["-c:a", "libopus", "-ar", "48000"]);
    let gap = made("gap.mkv", &["-af", "aselect='not(between(t,2,5))'", "-c:a", "aac"]);
    for ending in ["mp4", "mkv", "ts"] {
        for (input, least, irregular) in [(&opus, 380, 0), (&gap, 200, 1)] {
            let out = folder.path().join(format!("o.{ending}"));
            let mut command = program::bare(folder.path(), "detect");
            command.args([text(input), "--imgsz", "96", "-o", text(&out), "--overwrite"]);
            program::succeeds(&command.output().expect("it starts"));
            let audio = track_times(&out, "a:0");
            let jumps = audio.windows(2).filter(|pair| !(0.001..0.05).contains(&(pair[1] - pair[0]))).count();
            assert!(audio.len() >= least && jumps == irregular, "{} {jumps} in {audio:?}", out.display());
            let length =
                program::probe(&out, "duration").lines().filter_map(|s| s.parse::<f64>().ok()).fold(0.0, f64::max);
            assert!(length < 8.2, "{}: {length}", out.display());
        }
    }
}

/// A recording that begins somewhere begins with frames that refer to others before it. They are not damaged; nor does one that
/// is decoded in spite of that, flagged as damaged, keep the run from beginning.
#[test]
fn what_comes_before_the_first_keyframe_is_no_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let cut = |name: &str, options: &[&str]| {
        let options = [["-an", "-g", "30"].as_slice(), options].concat();
        let whole = program::made_clip(folder.path(), "whole.ts", "320x240", "4", &options);
        let bytes = std::fs::read(whole).expect("a clip");
        let cut = folder.path().join(name);
        std::fs::write(&cut, &bytes[bytes.len() / 188 / 5 * 188..]).expect("a file");
        cut
    };
    let closed = cut("closed.ts", &["-bf", "3"]);
    let open = cut("open.ts", &["-x264-params", "open-gop=1:bframes=3"]);
    let mpeg2 = cut("mpeg2.ts", &["-c:v", "mpeg2video", "-bf", "2"]);
    let hevc_options = ["-c:v", "libx265", "-x265-params", "log-level=none:open-gop=1:keyint=30:bframes=3"];
    let hevc_from_the_start = program::made_clip(folder.path(), "hevc.ts", "320x240", "4", &hevc_options);
    let hevc = folder.path().join("hevc.mkv");
    witness("ffmpeg", &["-ss", "1.3", "-i", text(&hevc_from_the_start), "-an", "-c", "copy", text(&hevc)]);
    for (input, most_corrupt) in [(closed, 0), (open, 1), (mpeg2, 0), (hevc, 0)] {
        let expected = shown(&input);
        for (_, processed, corrupt) in both_ways(folder.path(), &input) {
            assert!(processed == expected && corrupt <= most_corrupt, "{}: {processed} {corrupt}", input.display());
        }
    }
}
