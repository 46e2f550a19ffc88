//! `streamdet detect`: the main job.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::messages::command_line_notice;
use super::options::{Invocation, RunOptions};
use super::settings::Task;
use super::signals::Signals;
use crate::archive::{NameError, Names};
use crate::clock::{Clock, RealClock};
use crate::config::{Kept, PublishOptions, TelemetryOptions};
use crate::controls::Controls;
use crate::pipeline::plan::{self, MAX_CLIENTS, OutputRequest};
use crate::shutdown::Shutdown;
use crate::sink::{Gaps, Segments};
use crate::stills::Kind;
use crate::units::{Bytes, length};

const EXAMPLES: &str = "Examples:
  streamdet detect clip.mp4                          writes clip-annotated.mp4
  streamdet detect clip.mp4 -o out.mkv --imgsz 960   larger input: slower, detects smaller objects
  streamdet detect a.mp4 b.mp4 -o out/               several files, one detector
  streamdet detect images/ -o out/ --save-txt labels/
  streamdet detect clip.mp4 -m yolov8n.onnx --classes person,car --json found.jsonl
  streamdet detect clip.mp4 -o none --json - | jq .  detections only
  streamdet detect clip.mp4 -o rtsp://:8554/clip     serves it: ffplay rtsp://127.0.0.1:8554/clip
  streamdet detect clip.mp4 -o day.mkv --segment 10m --keep 24h -o rtsp://:8554/clip
  streamdet detect a.mp4 b.mp4 -o 'rtsp://0.0.0.0:8554/{stem}'
  streamdet detect rtsp://cam/main -o flight.mkv     a camera: newest frame first, reconnects
  streamdet detect test:ball --frames 300            GStreamer's test pattern
  streamdet detect rtsp://cam/main --publish mqtt://broker/site      detections to a broker (docs/publishing.md)
  streamdet detect flight.ts --json -                drone telemetry: detections with positions (docs/telemetry.md)
  streamdet detect clip.mp4 --tui                    dashboard; ? lists its keys
  streamdet detect clip.mp4 --detections found.jsonl draws what was found before; no model is loaded
  streamdet detect clip.mp4 -o runs/a/out.mp4 --run-dir runs/a
  streamdet detect --repeat runs/a --run-dir runs/b  the same again, into runs/b

Settings: every option but --config, --show-config, --run-dir, --repeat, -v and -q can also be set in the environment (--max-det as \
STREAMDET_MAX_DET) or in the config file (max-det = 100). Flags override the environment, which overrides the file; --hud=false \
overrides a true.

While an output is live (served, pushed or shown), a file is read at its own frame rate. Frames that a client is too slow for \
are dropped for that client; the detector does not wait. The report counts them under live_outputs.

Logs: STREAMDET_LOG=streamdet=debug (levels by target, as of RUST_LOG), -vv, --log-format json.

Exit codes: 0 done; 1 failed while running, what was written plays; 2 unusable input or options; 130, 143 interrupted.";

/// Arguments of `detect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DetectArgs {
    /// Files, folders of images or video, globs; `rtsp[s]://`, `http[s]://`, `udp://`, `rtp://`, `srt://`, /dev/videoN, `camera:N`,
    /// `test:PATTERN`, `-` (standard input)
    #[arg(required_unless_present = "show_config", value_name = "SOURCE")]
    sources: Vec<OsString>,
    #[command(flatten)]
    options: DetectOptions,
}

/// What is done with sources.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
pub struct DetectOptions {
    /// Output file, folder (`out/`), pattern (`out/{stem}.mp4`), rtsp[s]://:PORT/NAME to serve (with USER:PASSWORD@, who has them), rtmp://, udp:// or srt:// to push,
    /// hls:FOLDER/, or `none`; repeatable [default: `STEM-annotated.EXT`; none for live sources]
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    output: Vec<OsString>,
    /// Show the annotated video in a window as well
    #[arg(long, help_heading = "Output")]
    display: bool,
    /// Split the output file at keyframes into segments this long: 30s, 10m, 1h. Each is named by the UTC time at which it begins:
    /// NAME-20261129T090500Z.EXT, or as the fields in the name say (cam-%Y-%m-%d_%H%M.mkv)
    #[arg(long, value_name = "LENGTH", value_parser = length, help_heading = "Output")]
    segment: Option<Duration>,
    /// Delete segments that ended this long ago, those of earlier runs too: 24h, 7d
    #[arg(long, value_name = "LENGTH", value_parser = length, help_heading = "Output")]
    keep: Option<Duration>,
    /// Delete the oldest segments where all complete ones in the folder take more: 500MB, 50GB
    #[arg(long, value_name = "SIZE", value_parser = clap::value_parser!(Bytes), help_heading = "Output")]
    keep_bytes: Option<Bytes>,
    /// Keep outages of a live source in the file, as time without frames, instead of going on where it stopped
    #[arg(long, help_heading = "Output")]
    keep_gaps: bool,
    /// Serve so many RTSP clients at once, of all streams at one address; further ones are refused (503)
    #[arg(long, value_name = "N", default_value_t = MAX_CLIENTS, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Output")]
    max_clients: u16,
    /// Certificate for rtsps:// outputs, a PEM file, followed by those that signed it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, a PEM file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    tls_key: Option<PathBuf>,
    /// Read files as fast as possible even while an output is live
    #[arg(long, help_heading = "Output")]
    full_speed: bool,
    /// Replace existing outputs
    #[arg(long, help_heading = "Output")]
    overwrite: bool,
    /// Detections as JSON Lines; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// Tracked detections as MOTChallenge text, frames from 1; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    mot_output: Option<PathBuf>,
    /// Labels in YOLO text format, one file per frame
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    save_txt: Option<PathBuf>,
    /// Crop of every detection: FOLDER/CLASS/NAME-N.jpg
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    crops: Option<PathBuf>,
    /// Of --crops, only the best view of every tracked object: FOLDER/CLASS/NAME-idN.jpg; implies --track
    #[arg(long, help_heading = "Output")]
    best_crops: bool,
    /// Take detections from a file instead of a model: MOTChallenge text (its frame 1 is the first), or lines of --json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ModelOptions", "TilingOptions", "iou", "agnostic"], help_heading = "Detections")]
    detections: Option<PathBuf>,
    /// Crossings of --count-line and visits of --zone as CSV, one row each; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    events_csv: Option<PathBuf>,
    /// Image of where tracked objects stood, by time, over the newest frame: PNG, or JPEG by its ending; of several sources one each, FILE-STEM.png
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    heatmap: Option<PathBuf>,
    #[command(flatten)]
    pub(super) publish: PublishOptions,
    #[command(flatten)]
    telemetry: TelemetryOptions,
    #[command(flatten)]
    pub(super) run: RunOptions,
    #[command(flatten)]
    pub(super) invocation: Invocation,
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &DetectArgs, kept: &Kept) -> u8 {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let signals = Signals::watch();
    let result = prepare_and_run(args, kept, &clock, &signals.shutdown);
    signals.conclude(result)
}

fn prepare_and_run(args: &DetectArgs, kept: &Kept, clock: &Arc<dyn Clock>, shutdown: &Shutdown) -> anyhow::Result<u8> {
    let DetectOptions { run, invocation, .. } = &args.options;
    invocation.start_logs()?;
    gstreamer::init()?;
    let mut task = args.task()?;
    task.plan.notices.extend(command_line_notice().map(str::to_owned));
    task.kept = kept.clone();
    run.run(invocation, &task, clock, shutdown).map(|done| done.code)
}

impl DetectArgs {
    /// What is to be done: sources with their outputs, checked against each other.
    pub(super) fn task(&self) -> anyhow::Result<Task> {
        self.options.task(&self.sources)
    }

    /// Whether it has anything to detect in.
    pub(super) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether files are read as fast as possible.
    pub(super) fn is_at_full_speed(&self) -> bool {
        self.options.full_speed
    }

    /// Has a stream that runs take over what it can; `usual` is the model's confidence threshold.
    pub(super) fn adjust(usual: f32) -> impl Fn(&Self, &Controls) {
        move |args, controls| {
            controls.set_confidence(args.options().detections.conf.unwrap_or(usual));
            controls.show_hud(args.options().drawing.hud);
        }
    }

    /// Everything that is done with them.
    pub(super) fn all(&self) -> &DetectOptions {
        &self.options
    }

    /// The options of a run.
    pub(super) fn options(&self) -> &RunOptions {
        &self.options.run
    }

    /// The same, with outputs that are called by the file's own name.
    pub(super) fn named(mut self, names: &Names) -> Result<Self, NameError> {
        let DetectOptions { output, json, mot_output, events_csv, heatmap, save_txt, crops, .. } = &mut self.options;
        let asked = std::mem::take(output);
        *output = match &asked[..] {
            [] => vec![names.output(None)?],
            asked => asked.iter().map(|one| names.output(Some(one))).collect::<Result<_, _>>()?,
        };
        for (option, path, ending) in [
            ("--json", json, ".jsonl"),
            ("--mot-output", mot_output, ".txt"),
            ("--events-csv", events_csv, ".csv"),
            ("--heatmap", heatmap, "-heatmap.png"),
        ] {
            *path = path.as_deref().map(|asked| names.file(option, asked, ending)).transpose()?;
        }
        for (option, folder) in [("--save-txt", save_txt), ("--crops", crops)] {
            *folder = folder.as_deref().map(|asked| names.folder(option, asked)).transpose()?;
        }
        Ok(self)
    }
}

impl DetectOptions {
    fn task(&self, sources: &[OsString]) -> anyhow::Result<Task> {
        let request = OutputRequest {
            outputs: self.output.clone(),
            overwrite: self.overwrite,
            display: self.display,
            gaps: if self.keep_gaps { Gaps::Keep } else { Gaps::Close },
            segments: self.segment.map(|length| Segments {
                length,
                keep: self.keep,
                keep_bytes: self.keep_bytes.map(|Bytes(most)| most),
            }),
            full_speed: self.full_speed,
            max_clients: self.max_clients.into(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
        };
        self.run.tracking.check(sources)?;
        let mut plan = plan::plan(sources, self.run.live.credentials().as_ref(), &request)?;
        plan.notices.extend(self.publish.notice());
        if let Some(path) = self.heatmap.as_deref().filter(|path| Kind::of(path).is_none()) {
            anyhow::bail!("--heatmap {}: unknown ending\n  name a .png, .jpg or .jpeg", path.display());
        }
        let heatmaps = self.heatmap.as_deref().map(|path| plan::heatmaps(path, &plan.jobs)).unwrap_or_default();
        Ok(Task {
            command: "detect",
            plan,
            overwrite: self.overwrite,
            detections: self.detections.clone(),
            points: self.telemetry.points().map(Path::to_owned),
            json: self.json.clone(),
            save_txt: self.save_txt.clone(),
            crops: self.crops.clone(),
            best_crops: self.best_crops,
            mot_output: self.mot_output.clone(),
            events_csv: self.events_csv.clone(),
            publish: self.publish.request()?,
            telemetry: self.telemetry.timeline(sources.len())?,
            geolocation: self.telemetry.geolocation()?,
            heatmaps,
            ..Task::default()
        })
    }

    /// Options that mean nothing for an archive, of those that were given.
    pub(super) fn not_of_an_archive(&self) -> Option<&'static str> {
        let RunOptions { measure, monitoring, keep, tui, .. } = &self.run;
        let given = [
            ("--tui", *tui),
            ("--display", self.display),
            ("--detections", self.detections.is_some()),
            ("--geolocate-points", self.telemetry.points().is_some()),
            ("--segment", self.segment.is_some()),
            ("--run-dir", keep.run_dir.is_some()),
            ("--repeat", keep.repeat.is_some()),
            ("--report", measure.report.is_some()),
            ("--csv", measure.csv.is_some()),
            ("--html", measure.html.is_some()),
            ("--trace", measure.trace.is_some()),
            ("--stats", measure.stats.is_some()),
            ("--metrics", monitoring.metrics.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }
}
