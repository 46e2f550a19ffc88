//! What is put between the detector and the outputs sees every frame's detections, and what it makes of them goes out.

mod program;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use program::{json_lines, made_clip};
use streamdet::clock::{self, StreamTime};
use streamdet::controls::Controls;
use streamdet::detection::{Detection, DetectionStage, StageFactory, Track, TrackState};
use streamdet::detections::{DetectionOutput, JsonLines};
use streamdet::frame::pixelate::Pixelation;
use streamdet::geometry::{FrameBox, Size};
use streamdet::inference::{self, ProviderChoice, ProviderOptions, Runtime};
use streamdet::model::{Model, ModelRef};
use streamdet::overlay::Style;
use streamdet::pipeline::{self, Delays, EventLog, Job, OutputSpec, Settings, SourceSpec};
use streamdet::postprocess::Thresholds;
use streamdet::shutdown::Shutdown;
use streamdet::sink::EncoderOptions;
use streamdet::source::{Hdr, LiveOptions};
use streamdet::stream::Gap;

/// Finds one object, the same in every frame.
struct OneObject {
    last: Option<StreamTime>,
    frames: Arc<AtomicU64>,
}

impl DetectionStage for OneObject {
    fn frame(&mut self, pts: StreamTime, size: Size, detections: &mut Vec<Detection>) {
        assert!(self.last.replace(pts) < Some(pts), "in order");
        assert_eq!((size.width, size.height), (320, 240));
        let bbox = FrameBox::new(10.0, 20.0, 30.0, 40.0);
        let track = Track { id: 7, age: Duration::from_secs(1), state: TrackState::Confirmed, speed: [1.5, -2.0] };
        detections.clear();
        detections.push(Detection { class_id: 0, confidence: 0.5, bbox, track: Some(track) });
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    fn gap(&mut self, _: &Gap) {
        unreachable!("a file has no outage");
    }
}

#[test]
fn a_stage_changes_what_goes_out() {
    gstreamer::init().expect("GStreamer");
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    let runtime = Runtime::load(None, ProviderChoice::Cpu).expect("ONNX Runtime is installed");
    let reference = ModelRef::resolve(None).expect("the built-in model");
    let facts = inference::inspect(&runtime, reference.file()).expect("it can be read");
    let model = Model::build(reference, &facts).expect("its layout is known");
    let frames = Arc::new(AtomicU64::new(0));
    let streams = Arc::<Mutex<Vec<u32>>>::default();
    let (seen, made) = (frames.clone(), streams.clone());
    let stage: StageFactory = Arc::new(move |stream| {
        made.lock().expect("streams").push(stream.0);
        Box::new(OneObject { last: None, frames: seen.clone() })
    });
    let job = Job { name: "made.mp4".into(), source: SourceSpec::Video(clip), output: OutputSpec::None, paced: false };
    let settings = Settings {
        jobs: vec![job],
        track: None,
        imgsz: Size { width: 96, height: 96 },
        thresholds: Thresholds { conf: 0.25, iou: 0.7, max_det: 300, agnostic: false, classes: None },
        batch: 2,
        batch_timeout: Duration::from_millis(20),
        stages: vec![stage],
        counting: None,
        heatmaps: Vec::new(),
        pixelation: Pixelation::default(),
        tiling: None,
        target_latency: None,
        frames: None,
        // Frames that carry the boxes of another one pass the stage as well.
        stride: 3,
        real_time: false,
        hdr: Hdr::ToneMap,
        live: LiveOptions::default(),
        delays: Delays::default(),
        provider: ProviderOptions { choice: ProviderChoice::Cpu, ..ProviderOptions::default() },
        style: Style::default(),
        controls: Arc::new(Controls::fixed(0.25, false)),
        encoder: EncoderOptions::default(),
    };
    let lines = folder.path().join("d.jsonl");
    let stopping = Shutdown::new();
    let json = JsonLines::create(&lines, model.classes.clone(), false, &stopping).expect("a file");
    let detections: Vec<Box<dyn DetectionOutput>> = vec![Box::new(json)];
    let clock = clock::process().clone();
    let outcome = pipeline::run(settings, model, &runtime, clock, Arc::new(EventLog), detections, &stopping);
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    assert_eq!(*streams.lock().expect("streams"), [0]);
    let lines = json_lines(&lines);
    assert_eq!(lines.len() as u64, frames.load(Ordering::Relaxed));
    assert_eq!(lines.len(), 30);
    for line in lines {
        assert_eq!(line["detections"].as_array().expect("detections").len(), 1, "{line}");
        assert_eq!(line["detections"][0]["track_id"], 7, "{line}");
        let track = serde_json::json!({"age_s": 1.0, "state": "confirmed", "speed_px_s": [1.5, -2.0]});
        assert_eq!(line["detections"][0]["track"], track, "{line}");
        assert_eq!(line["detections"][0]["box"], serde_json::json!([10.0, 20.0, 30.0, 40.0]));
    }
}
