//! Lines and zones: what happens there is in the JSON lines, the rows, the report, the metrics and the frame.

mod program;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use program::{bare, json_lines, said, text, witness};
use streamdet::clock::{self, StreamTime};
use streamdet::controls::Controls;
use streamdet::counting::{Anchor, Counting, Line, Shapes, Zone};
use streamdet::detection::{Detection, DetectionStage, StageFactory, Track, TrackState};
use streamdet::detections::{Crops, DetectionOutput, EventRows, JsonLines};
use streamdet::frame::pixelate::Pixelation;
use streamdet::geometry::{FrameBox, Size};
use streamdet::inference::{self, ProviderChoice, ProviderOptions, Runtime};
use streamdet::model::{Model, ModelRef};
use streamdet::monitoring::Metrics;
use streamdet::overlay::Style;
use streamdet::pipeline::plan::{OutputRequest, plan, prepare};
use streamdet::pipeline::{self, Delays, EventLog, Job, Listener, Outcome, Settings};
use streamdet::postprocess::Thresholds;
use streamdet::shutdown::Shutdown;
use streamdet::sink::EncoderOptions;
use streamdet::source::{Hdr, LiveOptions};
use streamdet::stream::Gap;

/// Objects that walk from the left to the right, 120 pixels a second: one that is confirmed, and below it one that is not.
struct Walkers;

impl DetectionStage for Walkers {
    fn frame(&mut self, pts: StreamTime, _: Size, detections: &mut Vec<Detection>) {
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        let x = (Duration::from_nanos(pts.ns).as_secs_f64() * 120.0) as f32;
        let walker = |y: f32, track| Detection {
            class_id: 0,
            confidence: 0.5,
            bbox: FrameBox::new(x, y, x + 20.0, y + 40.0),
            track,
        };
        let (age, state, speed) = (Duration::ZERO, TrackState::Confirmed, [120.0, 0.0]);
        detections.clear();
        detections.push(walker(100.0, Some(Track { id: 7, age, state, speed })));
        detections.push(walker(180.0, None));
    }

    fn gap(&mut self, _: &Gap) {
        unreachable!("a file has no outage");
    }
}

/// One a process.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::load(None, ProviderChoice::Cpu).expect("ONNX Runtime is installed"));

fn built_in_model() -> Model {
    gstreamer::init().expect("GStreamer");
    let reference = ModelRef::resolve(None).expect("the built-in model");
    let facts = inference::inspect(&RUNTIME, reference.file()).expect("it can be read");
    Model::build(reference, &facts).expect("its layout is known")
}

/// What a run over `jobs` needs, with `stage` in place of a tracker.
fn settings(jobs: Vec<Job>, stage: StageFactory) -> Settings {
    Settings {
        jobs,
        track: None,
        imgsz: Size { width: 96, height: 96 },
        thresholds: Thresholds { conf: 0.25, iou: 0.7, max_det: 300, agnostic: false, classes: None },
        batch: 1,
        batch_timeout: Duration::from_millis(20),
        stages: vec![stage],
        counting: None,
        heatmaps: Vec::new(),
        pixelation: Pixelation::default(),
        tiling: None,
        target_latency: None,
        frames: None,
        stride: 1,
        real_time: false,
        hdr: Hdr::ToneMap,
        live: LiveOptions::default(),
        delays: Delays::default(),
        provider: ProviderOptions { choice: ProviderChoice::Cpu, ..ProviderOptions::default() },
        style: Style::default(),
        controls: Arc::new(Controls::fixed(0.25, false)),
        encoder: EncoderOptions::default(),
    }
}

/// A grey clip of two seconds, 30 frames a second.
fn grey_clip(folder: &Path) -> std::path::PathBuf {
    let clip = folder.join("grey.mkv");
    let source = "color=0x808080:size=320x240:rate=30";
    witness(
        "ffmpeg",
        &["-f", "lavfi", "-i", source, "-t", "2", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-y", text(&clip)],
    );
    clip
}

/// Luma of the frame of `clip` at `s` seconds, or of an image.
fn luma(clip: &Path, s: Option<&str>) -> Vec<u8> {
    let seek = s.map(|s| ["-ss", s]).into_iter().flatten();
    let rest = ["-i", text(clip), "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"];
    let args = ["-v", "error"].into_iter().chain(seek).chain(rest);
    Command::new("ffmpeg").args(args).output().expect("ffmpeg is installed").stdout
}

#[test]
fn what_crosses_a_line_or_visits_a_zone_is_told_everywhere() {
    let model = built_in_model();
    let folder = tempfile::tempdir().expect("a folder");
    let clip = grey_clip(folder.path());
    let annotated = folder.path().join("annotated.mkv");
    let request = OutputRequest { outputs: vec![annotated.clone().into()], ..OutputRequest::default() };
    let jobs = plan(&[clip.into()], None, &request).expect("a plan").jobs;
    prepare(&jobs, false).expect("an output");
    // Walked upwards: its right-hand side is the right of the frame.
    let gate = Line::new("gate", [0.3, 1.0], [0.3, 0.0]).expect("a line");
    let yard = Zone::new("yard", &[[0.4, 0.4], [0.6, 0.4], [0.6, 0.7], [0.4, 0.7]]).expect("a zone");
    let shapes = Arc::new(Shapes::new(vec![gate], vec![yard]).expect("shapes"));
    let counting = Counting { shapes: shapes.clone(), anchor: Anchor::default(), kept: Duration::from_secs(9) };
    let stage: StageFactory = Arc::new(|_| Box::new(Walkers));
    let settings = Settings { counting: Some(counting), ..settings(jobs, stage) };
    let (lines, rows) = (folder.path().join("d.jsonl"), folder.path().join("events.csv"));
    let stopping = Shutdown::new();
    let json = JsonLines::create(&lines, model.classes.clone(), false, &stopping).expect("a file");
    let csv = EventRows::create(&rows, model.classes.clone(), false, &stopping).expect("a file");
    let detections: Vec<Box<dyn DetectionOutput>> = vec![Box::new(json), Box::new(csv)];
    let clock = clock::process().clone();
    let metrics = Arc::new(Metrics::new(&["grey.mkv".to_owned()], &model, clock.clone()).counting(&shapes));
    let listener: Arc<dyn Listener> = metrics.clone();
    let class = model.classes[0].clone();
    let Outcome { figures, errors } = pipeline::run(settings, model, &RUNTIME, clock, listener, detections, &stopping);
    assert!(errors.is_empty(), "{errors:?}");

    // Its point is 10 pixels into its box: at the line, 96 pixels, after 86/120 s, in the zone from 118/120 s to 182/120 s.
    let lines = json_lines(&lines);
    let events: Vec<_> = lines
        .iter()
        .filter_map(|line| Some((line["frame"].as_u64()?, line["events"].as_array()?)))
        .flat_map(|(frame, events)| events.iter().map(move |event| (frame, event.clone())))
        .collect();
    let told: Vec<(u64, &str, &str, u64)> = events
        .iter()
        .map(|(frame, event)| {
            let what = event["direction"].as_str().or(event["what"].as_str()).expect("what happened");
            (*frame, event["kind"].as_str().expect("a kind"), what, event["track_id"].as_u64().expect("an id"))
        })
        .collect();
    assert_eq!(told, [(31, "line", "in", 7), (39, "zone", "enter", 7), (55, "zone", "leave", 7)]);
    let (line, leave) = (&events[0].1, &events[2].1);
    assert_eq!((&line["name"], &line["class"]), (&"gate".into(), &class.as_str().into()), "{line}");
    let pts = |frame: usize| lines[frame]["pts_ns"].as_u64().expect("a time");
    assert_eq!(line["at_pts_ns"], pts(22), "the first frame on the other side");
    assert!((leave["dwell_s"].as_f64().expect("a length") - 0.5).abs() < 0.01, "{leave}");
    assert_eq!(lines.iter().filter(|line| line.get("events").is_some()).count(), 3, "others have none");

    let counted = serde_json::to_value(&figures.streams[0]).expect("JSON");
    assert_eq!(counted["lines"]["gate"]["in"]["total"], 1, "{counted}");
    assert_eq!(counted["lines"]["gate"]["in"]["by_class"][&class], 1, "{counted}");
    assert_eq!(counted["lines"]["gate"]["out"]["total"], 0, "{counted}");
    let yard = &counted["zones"]["yard"];
    assert_eq!((&yard["entered"], &yard["left"], &yard["now"]), (&1.into(), &1.into(), &0.into()), "{yard}");
    assert_eq!(yard["dwell_s"], leave["dwell_s"]);

    let rows = std::fs::read_to_string(&rows).expect("rows");
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split(',').collect()).collect();
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}");
    assert_eq!((rows[1][1], rows[1][4], rows[1][6]), ("31", "line", "in"));

    let mut samples = String::new();
    metrics.write(&mut samples);
    for sample in [
        &format!(r#"streamdet_line_crossings_total{{stream="0",line="gate",direction="in",class="{class}"}} 1"#),
        r#"streamdet_zone_entries_total{stream="0",zone="yard"} 1"#,
        r#"streamdet_zone_occupancy{stream="0",zone="yard"} 0"#,
    ] {
        assert!(samples.lines().any(|line| line == sample), "{sample}: {samples}");
    }

    // Before anything walks there, the line and the zone's border are drawn, and nothing between.
    let luma = luma(&annotated, Some("0.1"));
    let at = |x: usize, y: usize| luma[y * 320 + x].abs_diff(luma[230 * 320 + 310]);
    assert!(at(96, 40) > 30 && at(96, 220) > 30, "the line");
    assert!(at(128, 130) > 30 && at(191, 130) > 30 && at(160, 167) > 30, "the zone's border");
    assert!(at(160, 130) < 8 && at(250, 130) < 8, "inside and outside");
}

/// Two objects that stand still and overlap: one of class 0, one of class 1.
struct Standing;

impl DetectionStage for Standing {
    fn frame(&mut self, _: StreamTime, _: Size, detections: &mut Vec<Detection>) {
        let (age, state, speed) = (Duration::ZERO, TrackState::Confirmed, [0.0, 0.0]);
        let found = |class_id, x1, x2| Detection {
            class_id,
            confidence: 0.5,
            bbox: FrameBox::new(x1, 60.0, x2, 220.0),
            track: Some(Track { id: u32::from(class_id) + 1, age, state, speed }),
        };
        detections.clear();
        detections.extend([found(0, 80.0, 200.0), found(1, 160.0, 300.0)]);
    }

    fn gap(&mut self, _: &Gap) {
        unreachable!("a file has no outage");
    }
}

/// How much pixels differ from those beside them, in a part of an image of this width: in noise a lot.
fn detail(luma: &[u8], width: usize, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> u32 {
    let count = u32::try_from(columns.len() * rows.len()).expect("a small image");
    let at = |x: usize, y: usize| luma[y * width + x];
    let differences = rows.flat_map(|y| columns.clone().map(move |x| u32::from(at(x, y).abs_diff(at(x + 1, y)))));
    differences.sum::<u32>() / count
}

#[test]
fn pixelated_classes_show_no_detail_in_the_video_the_crops_and_the_heatmap() {
    let model = built_in_model();
    let folder = tempfile::tempdir().expect("a folder");
    let clip = folder.path().join("noise.mkv");
    let noise = "nullsrc=size=320x240:rate=10,geq=lum=random(1)*255:cb=128:cr=128";
    let coding = ["-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", "-y"];
    witness("ffmpeg", &[&["-f", "lavfi", "-i", noise, "-t", "1"][..], &coding, &[text(&clip)]].concat());
    let annotated = folder.path().join("annotated.mkv");
    let request = OutputRequest { outputs: vec![annotated.clone().into()], ..OutputRequest::default() };
    let jobs = plan(&[clip.into()], None, &request).expect("a plan").jobs;
    prepare(&jobs, false).expect("an output");
    let (heatmap, crops) = (folder.path().join("heat.png"), folder.path().join("crops"));
    let pixelation = Pixelation::of(&[true, false]);
    let made = Crops::create(&crops, model.classes.clone(), pixelation.clone()).expect("a folder");
    let style = Style { hide_labels: true, ..Style::default() };
    let stage: StageFactory = Arc::new(|_| Box::new(Standing));
    let settings = Settings { pixelation, heatmaps: vec![heatmap.clone()], style, ..settings(jobs, stage) };
    let clock = clock::process().clone();
    let classes = model.classes.clone();
    let outputs: Vec<Box<dyn DetectionOutput>> = vec![Box::new(made)];
    let Outcome { figures, errors } =
        pipeline::run(settings, model, &RUNTIME, clock, Arc::new(EventLog), outputs, &Shutdown::new());
    assert!(errors.is_empty(), "{errors:?}");

    let frame = luma(&annotated, Some("0.5"));
    assert!(detail(&frame, 320, 90..155, 75..205) < 6, "the box of class 0: {}", detail(&frame, 320, 90..155, 75..205));
    assert!(detail(&frame, 320, 210..290, 75..205) > 25, "that of class 1");
    assert!(detail(&frame, 320, 10..70, 10..230) > 25, "outside");

    let crop =
        |class: usize, number: usize| luma(&crops.join(&classes[class]).join(format!("noise_5-{number}.jpg")), None);
    let (hidden, shown) = (crop(0, 1), crop(1, 2));
    assert_eq!((hidden.len(), shown.len()), (120 * 160, 140 * 160));
    assert!(detail(&hidden, 120, 0..119, 0..160) < 6, "the crop of class 0");
    assert!(detail(&shown, 140, 2..36, 0..160) < 6, "the part of class 0 in the crop of class 1");
    assert!(detail(&shown, 140, 45..139, 0..160) > 25, "the rest of it");

    assert!(figures.outputs.iter().any(|(path, _)| *path == heatmap), "{:?}", figures.outputs);
    assert!(!heatmap.with_extension("png.part").exists());
    let heat = luma(&heatmap, None);
    assert_eq!(heat.len(), 320 * 240);
    let mean = |columns: std::ops::Range<usize>, rows: std::ops::Range<usize>| {
        let count = columns.len() * rows.len();
        rows.flat_map(|y| columns.clone().map(move |x| y * 320 + x)).map(|at| usize::from(heat[at])).sum::<usize>()
            / count
    };
    assert!(mean(136..144, 216..224) > 150, "where one stood: {}", mean(136..144, 216..224));
    assert!(mean(10..60, 20..60) < 80, "where nobody stood: {}", mean(10..60, 20..60));
    assert!(detail(&heat, 320, 90..150, 70..150) < 4, "who is pixelated is so under the heat");
}

#[test]
fn lines_and_zones_that_cannot_be_counted_at_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let zones = folder.path().join("zones.toml");
    std::fs::write(&zones, "[[zone]]\nname = \"yard\"\ncorners = [[0, 0], [1, 0], [1, 1]]\n").expect("a file");
    let taken = folder.path().join("heat.png");
    std::fs::write(&taken, "something").expect("a file");
    let yard = "yard=0,0,1,0,1,1";
    for (args, expected) in [
        (vec!["--count-line", "gate=0.5,0.5,0.5,0.5"], "its ends are one point"),
        (vec!["--count-line", "gate=0.5,0.5,0.5"], "give NAME=x1,y1,x2,y2"),
        (vec!["--zone", "yard=0,0,1,1,1,0,0,1"], "its border meets itself"),
        (vec!["--zone", yard, "--count-line", "yard=0,0,1,1"], "`yard` names two of them"),
        (vec!["--zones", text(&zones)], "zones.toml:3: unknown key `corners`; the nearest is"),
        (vec!["--zones", "nowhere.toml"], "give the path of a TOML or GeoJSON file"),
        (vec!["--zone", yard, "--anchor", "feet"], "bottom-center"),
        (vec!["--blur", "persn"], "--blur persn: "),
        (vec!["--blur", "pedestrian", "--classes", "car"], "--blur pedestrian: --classes leaves it out"),
        (vec!["--heatmap", text(&taken)], "--overwrite"),
    ] {
        let mut command = bare(folder.path(), "detect");
        let output =
            command.args(["test:ball", "--frames", "1", "-o", "none"]).args(&args).output().expect("it starts");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn lines_and_zones_are_settings_of_the_config_file_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("c.toml");
    let written =
        "count-line = [\"gate=0.5,0,0.5,1\", \"exit=9,0,9,240\"]\nzone = \"yard=0,0,1,0,1,1\"\nanchor = \"center\"\n";
    std::fs::write(&config, written).expect("a file");
    let shown =
        bare(folder.path(), "detect").args(["--show-config", "--config", text(&config)]).output().expect("it starts");
    let table = String::from_utf8_lossy(&shown.stdout).into_owned();
    let row = |key: &str| {
        table.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap_or_default().to_owned()
    };
    assert!(row("count-line").contains("gate=0.5,0,0.5,1,exit=9,0,9,240"), "{table}{}", said(&shown));
    assert!(row("zone").contains("yard=0,0,1,0,1,1") && row("anchor").contains("center"), "{table}");
    std::fs::write(&config, "count-line = [\"gate=0.5,0,0.5\"]\n").expect("a file");
    let refused =
        bare(folder.path(), "detect").args(["--show-config", "--config", text(&config)]).output().expect("it starts");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said(&refused).contains("c.toml:1: count-line = ") && said(&refused).contains("3 coordinates"),
        "{}",
        said(&refused)
    );
}
