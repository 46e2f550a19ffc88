//! A run of the whole pipeline that is watched.

use std::sync::Arc;
use std::time::Duration;

use streamdet::clock;
use streamdet::controls::Controls;
use streamdet::counting::Anchor;
use streamdet::detector::Recorded;
use streamdet::frame::pixelate::Pixelation;
use streamdet::geometry::Size;
use streamdet::inference::ProviderOptions;
use streamdet::overlay::Style;
use streamdet::pipeline::{self, Delays, Finder, Job, Listener, Outcome, OutputSpec, RunEvent, Settings, SourceSpec};
use streamdet::postprocess::Thresholds;
use streamdet::shutdown::Shutdown;
use streamdet::sink::{EncoderOptions, Hub, Target};
use streamdet::source::{Address, Hdr, LiveOptions};
use streamdet::telemetry::ground::Geolocation;
use streamdet::thread::{Thread, spawn};

/// A run that goes on.
pub struct Run {
    stop: Shutdown,
    thread: Thread<Outcome>,
}

/// Nobody but the viewers.
struct Quiet;

impl Listener for Quiet {
    fn on(&self, _: &RunEvent<'_>) {}
}

impl Run {
    /// Begins to show a live source, with the boxes of a file.
    pub fn start(source: &str, hub: &Hub) -> Self {
        gstreamer::init().expect("GStreamer");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("found.jsonl");
        let found = r#"{"frame":0,"detections":[{"class_id":0,"class":"ball","confidence":0.9,"box":[9,9,90,90]}]}"#;
        std::fs::write(&file, found).expect("a file");
        let finder = Finder::File(Arc::new(Recorded::read(&file, 1).expect("detections")));
        let (settings, stop) = (settings(source, hub), Shutdown::new());
        let requested = stop.clone();
        let run =
            move || pipeline::run(settings, &finder, clock::process().clone(), Arc::new(Quiet), Vec::new(), &requested);
        Self { stop, thread: spawn("run", run).expect("it starts") }
    }

    /// Ends it.
    pub fn end(self) -> Outcome {
        self.stop.request();
        self.thread.join().expect("it ends")
    }
}

fn settings(source: &str, hub: &Hub) -> Settings {
    let address = Address::parse(source, None).expect("an address").expect("a live one");
    let thresholds = Thresholds { conf: 0.25, iou: 0.7, max_det: 300, agnostic: false, classes: None };
    Settings {
        jobs: vec![Job {
            name: source.to_owned(),
            source: SourceSpec::Live(address),
            output: OutputSpec::Stream(vec![Target::Viewers(hub.clone())]),
            paced: false,
        }],
        video_track: None,
        imgsz: Size { width: 640, height: 640 },
        controls: Arc::new(Controls::fixed(thresholds.conf, false)),
        thresholds,
        batch: 1,
        batch_timeout: Duration::ZERO,
        tracking: None,
        counting: None,
        anchor: Anchor::default(),
        telemetry: None,
        geolocation: Geolocation::default(),
        heatmaps: Vec::new(),
        publish: None,
        pixelation: Pixelation::default(),
        tiling: None,
        target_latency: None,
        frames: None,
        stride: 1,
        real_time: false,
        hdr: Hdr::default(),
        live: LiveOptions::default(),
        delays: Delays::default(),
        provider: ProviderOptions::default(),
        style: Style::default(),
        encoder: EncoderOptions::default(),
    }
}
