//! The streaming test, as a user runs it: what it prints and writes, whether its figures are true, and whether it says so when
//! the program cannot keep up.

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use program::{
    events, frames, json, made_clip, said, shared, skipped, streamdet_command, succeeds, text, times, witness,
};
use serde_json::Value;
use streamdet::clock;

/// `streamdet bench`, run in `folder`.
fn bench(folder: &Path, args: &[&str]) -> Output {
    streamdet_command(folder, "bench").args(args).output().expect("it starts")
}

/// A clip that costs little to decode: `seconds` at `rate` frames a second, no B-frames.
fn small_clip(folder: &Path, rate: u32, seconds: u32) -> PathBuf {
    let path = folder.join("small.mp4");
    let source = format!("testsrc2=size=320x240:rate={rate}");
    let mut args = vec!["-f", "lavfi", "-i", &source];
    let seconds = seconds.to_string();
    args.extend(["-t", &seconds, "-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p", "-y", text(&path)]);
    witness("ffmpeg", &args);
    path
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

/// Rows of a CSV file by column.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).expect("rows");
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    lines.map(|row| head.iter().cloned().zip(row).collect()).collect()
}

#[test]
fn the_streaming_test_closes_with_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "1.334", &[]);
    let args = ["made.mp4", "--imgsz", "96", "--frames", "10", "--save", "--report", "r.json", "--csv", "f.csv"];
    let output = bench(folder.path(), &args);
    succeeds(&output);
    let said = said(&output);
    for words in
        ["p50", "mean", "decode", "encode", "end to end", "Speed: ", "fps ", "lowest second", "0 dropped", "of CPU"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    for words in ["threads", "no GPU", "bottleneck ", "REAL-TIME: yes", "ms per frame", "made-annotated.mp4"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(times(&folder.path().join("made-annotated.mp4")).len(), 10);
    let report = json(&folder.path().join("r.json"));
    assert_eq!(frames(&report), (10, 10, 0));
    assert_eq!(report["settings"]["imgsz"], "96x96");
    assert_eq!(report["model"]["input"], serde_json::json!([1, 3, 96, 96]));
    let rows = rows(&folder.path().join("f.csv"));
    assert_eq!(rows.len(), 10);
    assert!(rows.iter().all(|row| !row["encode_ms"].is_empty() && !row["overlay_ms"].is_empty()), "{rows:?}");
}

#[test]
fn rows_are_the_processed_frames_and_sum_to_end_to_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(root) = shared() else { return };
    let clip = root.join("data/video/seq0000289_slideshow_1360x766_5fps.mp4");
    let args =
        [text(&clip), "--imgsz", "320", "--save", "o.mkv", "--csv", "f.csv", "--report", "r.json", "--stride", "2"];
    succeeds(&bench(folder.path(), &args));
    let report = json(&folder.path().join("r.json"));
    let (_, processed, _) = frames(&report);
    let rows = rows(&folder.path().join("f.csv"));
    assert_eq!(rows.len() as u64, processed);
    let ms = |row: &BTreeMap<String, String>, column: &str| row[column].parse::<f64>().ok();
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(row["frame"], n.to_string());
        let inside =
            ["queue_wait", "batch_wait", "preprocess", "inference", "postprocess", "track", "overlay", "hand_over"];
        let sum: f64 = inside.iter().filter_map(|stage| ms(row, &format!("{stage}_ms"))).sum();
        let end_to_end = ms(row, "end_to_end_ms").expect("every frame has it");
        assert!((sum - end_to_end).abs() < 1e-5, "{sum} against {end_to_end}: {row:?}");
        assert_eq!(ms(row, "inference_ms").is_some(), n % 2 == 0, "every second frame is inferred: {row:?}");
        assert!(ms(row, "encode_ms").is_some(), "{row:?}");
    }
    let detections: u64 = rows.iter().map(|row| row["detections"].parse::<u64>().expect("a count")).sum();
    assert!(detections > 0);
}

/// The least time of every stage in a paced run with `delay`, ms: whatever else the machine does only adds to it.
fn least(folder: &Path, delay: &str) -> BTreeMap<String, f64> {
    let args = ["small.mp4", "--real-time", "--imgsz", "96", "--provider", "cpu", "--save", "o.mp4", "--overwrite"];
    let more = ["--report", "r.json", "--csv", "f.csv", "--delay", delay];
    let output = bench(folder, &[args.as_slice(), &more].concat());
    succeeds(&output);
    assert_eq!(frames(&json(&folder.join("r.json"))), (40, 40, 0));
    let mut least = BTreeMap::new();
    for row in rows(&folder.join("f.csv")) {
        let stages = row.iter().filter_map(|(column, ms)| Some((column.strip_suffix("_ms")?, ms.parse::<f64>().ok()?)));
        // That one is a time of day, so to speak.
        for (stage, ms) in stages.filter(|(stage, _)| *stage != "handed_over") {
            least.entry(stage.to_owned()).and_modify(|before: &mut f64| *before = before.min(ms)).or_insert(ms);
        }
    }
    least
}

/// A source at 10 frames a second and 20 ms put into one stage: that row grows by it, and so does what it lies in; no other. Six
/// tries, since a machine may be busy for a whole run.
#[test]
fn a_delay_shows_in_its_stage_and_in_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 10, 4);
    let wrong = |stage: &str, base: &BTreeMap<String, f64>| -> Vec<String> {
        let with = least(folder.path(), &format!("{stage}=20"));
        let mut wrong = Vec::new();
        for (row, before) in base {
            let grown = with[row] - before;
            let inside = ["inference", "overlay"].contains(&stage);
            let grows = row == stage
                || (inside && ["end_to_end", "behind_live"].contains(&row.as_str()))
                || (stage == "decode" && row == "behind_live");
            // A delay is 20 ms at least, however busy the machine is, and a busy machine's own are less.
            let right = if grows { grown >= 18.0 } else { grown <= 15.0 };
            if !right {
                wrong.push(format!("20 ms in {stage}: {row} from {before:.2} by {grown:+.2} ms"));
            }
        }
        wrong
    };
    let mut left = vec!["decode", "inference", "overlay", "encode"];
    let mut complaints = Vec::new();
    for _ in 0..6 {
        let base = least(folder.path(), "decode=0");
        for stage in ["decode", "encode", "end_to_end", "behind_live", "overlay", "inference"] {
            assert!(base.contains_key(stage), "{base:?}");
        }
        complaints.clear();
        left.retain(|stage| {
            let wrong = wrong(stage, &base);
            complaints.extend(wrong.iter().cloned());
            !wrong.is_empty()
        });
        if left.is_empty() {
            return;
        }
        eprintln!("once more: {complaints:?}");
    }
    panic!("{complaints:?}");
}

#[test]
fn the_verdict_follows_the_load() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 10, 4);
    let run = |more: &[&str]| {
        let args = ["small.mp4", "--real-time", "--provider", "cpu", "--report", "r.json", "--overwrite"];
        let output = bench(folder.path(), &[args.as_slice(), more].concat());
        succeeds(&output);
        (json(&folder.path().join("r.json")), said(&output))
    };
    let (light, words) = run(&["--imgsz", "96"]);
    assert_eq!(light["real_time"]["verdict"], "yes", "{words}");
    let behind = number(&light["latency_ms"]["behind_live"]["p50"]);
    assert!(behind > 0.0 && behind < 500.0, "{behind}");
    // Paced: as many frames a second as the clip has.
    assert!((8.0..=12.0).contains(&number(&light["fps"]["mean"])), "{}", light["fps"]);

    // The model alone takes longer than a frame, whatever the machine.
    let (heavy, words) = run(&["--imgsz", "96", "--delay", "inference=250"]);
    let reason = heavy["real_time"]["reason"].as_str().expect("a reason");
    assert_eq!(heavy["real_time"]["verdict"], "no", "{words}");
    assert!(reason.contains("dropped") && reason.contains("the model alone takes 2"), "{reason}");
    let (received, processed, _) = frames(&heavy);
    assert!(received == 40 && processed < 25, "{processed} of {received}");
    assert!(words.contains("REAL-TIME: no") && words.contains("queue_full"), "{words}");
    // The newest frame wins: what is shown is not long past.
    assert!(number(&heavy["latency_ms"]["behind_live"]["p99"]) < 1500.0, "{}", heavy["latency_ms"]["behind_live"]);
}

#[test]
fn times_agree_with_a_clock_outside() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 10, 4);
    let start = clock::now();
    let args = ["small.mp4", "--real-time", "--imgsz", "96", "--provider", "cpu", "--report", "r.json"];
    succeeds(&bench(folder.path(), &args));
    let outside = clock::now().since(start).as_secs_f64();
    let report = json(&folder.path().join("r.json"));
    let resources = &report["resources"];
    let [wall, start_up, run, close] = ["wall_s", "start_up_s", "run_s", "close_s"].map(|key| number(&resources[key]));
    assert!((start_up + run + close - wall).abs() < 1e-6, "{resources}");
    // Starting and ending a process lie outside.
    assert!(wall <= outside && outside - wall < 0.02 * outside + 1.0, "{wall} s against {outside} s");
    let (_, processed, _) = frames(&report);
    #[expect(clippy::cast_precision_loss, reason = "forty frames")]
    let by_rate = processed as f64 / number(&report["fps"]["mean"]);
    assert!((by_rate - run).abs() < 1e-6, "{by_rate} against {run}");
    assert!((3.5..=8.0).contains(&run), "40 frames at 10 a second: {run} s");
}

#[test]
fn a_trace_is_json_even_of_a_program_that_was_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 10, 20);
    let args = ["small.mp4", "--real-time", "--imgsz", "96", "--provider", "cpu", "--trace", "t.json"];
    let mut child =
        streamdet_command(folder.path(), "bench").args(args).stderr(Stdio::null()).spawn().expect("it starts");
    let part = folder.path().join("t.json.part");
    // Until frames are in it.
    events::file(&part, |text| text.windows(9).any(|word| word == b"inference"));
    child.kill().expect("it is running");
    child.wait().expect("it ends");
    let events = json(&part);
    let events = events.as_array().expect("a list");
    assert!(events.iter().any(|event| event["ph"] == "X" && event["name"] == "inference"), "{events:?}");
}

#[test]
fn a_full_disk_is_an_error_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 30, 4);
    for flag in ["--csv", "--trace", "--html"] {
        let output = bench(folder.path(), &["small.mp4", "--imgsz", "96", "--provider", "cpu", flag, "/dev/full"]);
        assert_eq!(output.status.code(), Some(1), "{flag}: {}", said(&output));
        assert!(said(&output).contains(flag) && said(&output).contains("REAL-TIME"), "{}", said(&output));
    }
    let output = bench(folder.path(), &["small.mp4", "--csv", "no/such/folder/f.csv"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn combinations_are_compared_in_turns() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 10, 2);
    let args =
        ["small.mp4", "--save", "--report", "all.json", "--rounds", "2", "--compare", "imgsz=96,128", "provider=cpu"];
    let output = bench(folder.path(), &args);
    succeeds(&output);
    let said_all = said(&output);
    assert!(said_all.contains("imgsz=128 provider=cpu") && said_all.contains("ratio"), "{said_all}");
    let order: Vec<&str> =
        said_all.lines().filter(|line| line.contains("round")).filter_map(|line| line.split("imgsz=").nth(1)).collect();
    let order: Vec<&str> = order.iter().filter_map(|rest| rest.split(' ').next()).take(4).collect();
    assert_eq!(order, ["96", "128", "96", "128"]);
    let all = json(&folder.path().join("all.json"));
    for (row, side) in all["rows"].as_array().expect("rows").iter().zip([96, 128]) {
        let runs = row["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 2);
        assert!(runs.iter().all(|run| run["model"]["input"][3] == side), "{row}");
        assert!(number(&row["fps"]["min"]) <= number(&row["fps"]["median"]));
    }
    assert!(!folder.path().join("small-annotated.mp4").exists(), "what a comparison saves is thrown away");
    for (args, words) in [
        (vec!["small.mp4", "--imgsz", "96", "--compare", "imgsz=96,128"], "twice"),
        (vec!["small.mp4", "--compare", "imgsize=96,128"], "imgsz"),
        (vec!["small.mp4", "--compare", "provider=cpu,gpu"], "gpu"),
    ] {
        let output = bench(folder.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{args:?}: {}", said(&output));
    }
}

#[test]
fn a_baseline_that_was_faster_fails_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 10, 3);
    let args = ["small.mp4", "--real-time", "--imgsz", "96", "--provider", "cpu"];
    let with = |more: &[&str]| bench(folder.path(), &[args.as_slice(), more].concat());
    succeeds(&with(&["--report", "before.json"]));
    // Paced, frames a second are the clip's; a slow machine's latencies may differ, but not twentyfold.
    let output = with(&["--baseline", "before.json", "--fail-above", "2000"]);
    succeeds(&output);
    assert!(said(&output).contains("against before.json"), "{}", said(&output));
    let mut report = json(&folder.path().join("before.json"));
    report["fps"]["mean"] = 100.0.into();
    std::fs::write(folder.path().join("faster.json"), report.to_string()).expect("a file");
    let output = with(&["--baseline", "faster.json", "--fail-above", "50"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("worse") && said(&output).contains("slower than faster.json"), "{}", said(&output));
    // A stage's median counts as well.
    let output = with(&["--baseline", "before.json", "--fail-above", "50", "--delay", "inference=60"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    std::fs::write(folder.path().join("no.json"), "{}").expect("a file");
    assert_eq!(with(&["--baseline", "no.json"]).status.code(), Some(2));
}

#[test]
fn lines_while_it_runs_have_the_shape_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 10, 3);
    for (format, words) in [
        ("streamdet", ["stats: ", " dropped (all 0)", "queue 0/"]),
        ("deepstream", ["**PERF:  FPS 0 (Avg)\t", "**PERF:  1", ")\t"]),
        ("ultralytics", ["video 1/1 (frame ", "small.mp4: 96x96 ", "ms"]),
    ] {
        let args = ["small.mp4", "--real-time", "--imgsz", "96", "--provider", "cpu", "--stats", "500ms"];
        let output = bench(folder.path(), &[args.as_slice(), &["--stats-format", format]].concat());
        succeeds(&output);
        for words in words {
            assert!(said(&output).contains(words), "{format}: {words}: {}", said(&output));
        }
    }
}

/// Chromium, if it is installed.
fn browser() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok());
    if found.is_none() {
        skipped("no Chromium to open the page in");
    }
    found
}

#[test]
fn the_page_needs_nothing_else_and_opens_without_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 30, 10);
    let args = ["small.mp4", "--imgsz", "96", "--provider", "cpu", "--save", "o.mp4", "--html", "p.html"];
    succeeds(&bench(folder.path(), &args));
    let page = std::fs::read_to_string(folder.path().join("p.html")).expect("a page");
    assert!(page.len() < 400_000, "{} bytes", page.len());
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for reference in ["http:", "https:", "src=", "<script", "@import", "url("] {
        assert!(!elsewhere.contains(reference), "{reference}");
    }
    for words in ["Latency over time", "Frames per second", "Share of frames below a time", "end to end", "Settings"] {
        assert!(page.contains(words), "{words}");
    }
    let Some(browser) = browser() else { return };
    for scheme in ["0", "1"] {
        let shot = folder.path().join("page.png");
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1300,1900"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("--screenshot={}", shot.display()))
            .arg(format!("file://{}", folder.path().join("p.html").display()))
            .output()
            .expect("it starts");
        let log = said(&output);
        assert!(output.status.success() && !log.contains("CONSOLE"), "{log}");
        // The ground's colour at the corner, as ffmpeg sees it: dark, then light.
        let raw = Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-i",
                text(&shot),
                "-vf",
                "crop=4:4:0:0,format=gray,scale=1:1",
                "-f",
                "rawvideo",
                "-",
            ])
            .output()
            .expect("ffmpeg is installed");
        let ground = raw.stdout.first().copied().expect("a pixel");
        assert_eq!(ground > 128, scheme == "1", "scheme {scheme}: {ground}");
    }
}

#[test]
fn how_many_streams_it_keeps_up_with_is_searched_and_confirmed() {
    let folder = tempfile::tempdir().expect("a folder");
    small_clip(folder.path(), 10, 2);
    let search = |more: &[&str]| {
        let args = ["small.mp4", "--max-streams", "--confirm", "2s", "--report", "r.json", "--overwrite"];
        let output = bench(folder.path(), &[&args[..], more].concat());
        succeeds(&output);
        (json(&folder.path().join("r.json"))["capacity"].take(), said(&output))
    };
    let (capacity, said) = search(&["--imgsz", "640", "--sla", "p50=2s"]);
    let trials = capacity["trials"].as_array().expect("trials");
    let streams = number(&capacity["streams"]);
    let last = trials.last().expect("one at least");
    assert_eq!(capacity["frame_rate"], 10.0, "{capacity}");
    if streams > 0.0 {
        assert!(number(&last["streams"]) == streams && last["kept"] == true, "{capacity}");
        assert_eq!(capacity["confirmed_s"], last["run_s"]);
        assert!(number(&last["run_s"]) > 1.0, "{capacity}");
    }
    // The number above it was too much.
    assert!(trials.iter().any(|t| number(&t["streams"]) == streams + 1.0 && t["kept"] == false), "{capacity}");
    assert!(said.contains("; bound by "), "{said}");

    // What no machine keeps.
    let (capacity, said) = search(&["--imgsz", "96", "--sla", "p99=0.001ms"]);
    assert_eq!((number(&capacity["streams"]), number(&capacity["confirmed_s"])), (0.0, 0.0), "{capacity}");
    assert!(said.contains("0 streams at 10.00 frames/s"), "{said}");
    for (wrong, words) in [
        (&["missing.mp4", "--max-streams"][..], "missing.mp4"),
        (&["small.mp4", "--max-streams", "--frames", "3"], "--frames"),
        (&["small.mp4", "--max-streams", "--sla", "p95=1s"], "p99=200ms"),
    ] {
        let output = bench(folder.path(), wrong);
        assert!(output.status.code() == Some(2) && self::said(&output).contains(words), "{}", self::said(&output));
    }
}
