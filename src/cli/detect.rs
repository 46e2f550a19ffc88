//! `streamdet detect`: from arguments to a run, and what is said at its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use super::options::{
    DetectionOptions, DrawingOptions, EncodingOptions, Invocation, ModelOptions, MonitoringOptions, SourceOptions,
    TilingOptions,
};
use super::{Unusable, closing, jobs, show::Screen, signals::Signals};
use crate::clock::{Clock, HostTime, RealClock};
use crate::model::Model;
use crate::pipeline::{self, Observer, Observers, Outcome, Settings};
use crate::report::redact;
use crate::sink::part_path;

const EXAMPLES: &str = "Examples:
  streamdet detect clip.mp4                          writes clip-annotated.mp4
  streamdet detect clip.mp4 -o out.mkv --imgsz 960   larger input: slower, finds smaller things
  streamdet detect a.mp4 b.mp4 -o out/               several files, one detector
  streamdet detect pictures/ -o out/ --save-txt labels/
  streamdet detect clip.mp4 -m yolov8n.onnx --classes person,car --json found.jsonl
  streamdet detect clip.mp4 -o none --json - | jq .  detections only

Settings: every option but --config, --show-config, -v and -q can also be given in the environment (--max-det as \
STREAMDET_MAX_DET) or in the config file (max-det = 100). Flags beat the environment, which beats the file; --hud=false \
overrules a true.

Exit codes: 0 done; 1 failed midway, what was written plays; 2 unusable input or options; 130, 143 interrupted.";

/// Options of `detect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DetectArgs {
    /// Files, folders of pictures or video, globs
    #[arg(required_unless_present = "show_config", value_name = "SOURCE")]
    sources: Vec<String>,
    /// Output file, folder (`out/`), pattern (`out/{stem}.mp4`) or `none`
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    output: Option<String>,
    /// Replace outputs that exist
    #[arg(long, help_heading = "Output")]
    overwrite: bool,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    detections: DetectionOptions,
    #[command(flatten)]
    tiling: TilingOptions,
    #[command(flatten)]
    source: SourceOptions,
    /// Detections as JSON Lines; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// Run report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,
    /// Labels in YOLO's text format, one file a frame
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    save_txt: Option<PathBuf>,
    /// Every object cut out as a picture: FOLDER/CLASS/NAME-N.jpg
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    crops: Option<PathBuf>,
    #[command(flatten)]
    drawing: DrawingOptions,
    #[command(flatten)]
    encoding: EncodingOptions,
    #[command(flatten)]
    monitoring: MonitoringOptions,
    #[command(flatten)]
    invocation: Invocation,
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &DetectArgs) -> u8 {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let signals = Signals::watch();
    match prepare_and_run(args, &clock, &signals.stop) {
        Ok(code) => signals.exit_code(code),
        Err(message) => {
            eprintln!("error: {}", redact(&message));
            2
        }
    }
}

fn prepare_and_run(args: &DetectArgs, clock: &Arc<dyn Clock>, stop: &Arc<AtomicBool>) -> Result<u8, Unusable> {
    gstreamer::init().map_err(|e| e.to_string())?;
    let mut notices = Vec::new();
    let jobs = jobs::plan(&args.sources, args.output.as_deref(), args.overwrite, &mut notices)?;
    let (runtime, model) = args.model.load()?;
    let thresholds = args.detections.thresholds(&model)?;
    if let Some(path) = args.report.as_ref().filter(|p| p.as_os_str() != "-") {
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        if folder.is_some_and(|f| !f.is_dir()) {
            return Err(format!("--report {}: no such folder\n  create it, or name another", path.display()));
        }
    }
    for folder in args.save_txt.iter().chain(&args.crops) {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}\n  choose another folder", folder.display()))?;
    }
    let json = args.json.as_ref().map(|path| open_json(path)).transpose()?;
    let imgsz = args.model.imgsz.unwrap_or(model.default_size);
    let screen = Arc::new(Screen::new(&args.invocation, &jobs, args.source.frames, &model, imgsz));
    for notice in notices {
        pipeline::Observer::notice(screen.as_ref(), &notice);
    }
    let settings = Settings {
        jobs,
        track: args.source.track,
        imgsz,
        thresholds,
        batch: usize::from(args.model.batch),
        batch_timeout: Duration::from_millis(args.model.batch_timeout),
        tiling: args.tiling.tile,
        target_latency: args.tiling.target_latency.map(Duration::from_millis),
        frames: args.source.frames,
        stride: args.source.stride,
        real_time: false,
        delays: pipeline::Delays::default(),
        provider: args.model.provider_options(),
        style: args.drawing.style(),
        hud: args.drawing.hud,
        encoder: args.encoding.encoder(),
        save_txt: args.save_txt.clone(),
        crops: args.crops.clone(),
    };
    let monitoring = args.monitoring.serve(&settings.jobs, &model, clock)?;
    let mut observers: Vec<Arc<dyn Observer>> = vec![screen.clone()];
    if let Some((metrics, server)) = &monitoring {
        screen.line(&format!("  metrics at http://{}/metrics", server.address()));
        observers.push(metrics.clone());
    }
    let observers = Arc::new(Observers(observers));
    let outcome = pipeline::run(settings, model.clone(), &runtime, clock.clone(), observers, json, stop.clone());
    screen.finish();
    Ok(close(args, &model, &outcome, clock.now(), &screen))
}

/// Where detections go: standard output, or a file that takes its name when it is whole.
fn open_json(path: &Path) -> Result<Box<dyn std::io::Write + Send>, Unusable> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::BufWriter::new(std::io::stdout())));
    }
    let file = std::fs::File::create(part_path(path)).map_err(|e| format!("--json {}: {e}", path.display()))?;
    Ok(Box::new(std::io::BufWriter::new(file)))
}

/// Gives the file of detections its name; one without a single frame goes, and what was there before stays.
fn close_json(path: &Path, frames: u64) -> std::io::Result<()> {
    if path.as_os_str() == "-" {
        return Ok(());
    }
    let part = part_path(path);
    if frames == 0 { std::fs::remove_file(part) } else { std::fs::rename(part, path) }
}

/// Says how it went, writes the report, chooses the exit code.
fn close(args: &DetectArgs, model: &Model, outcome: &Outcome, now: HostTime, screen: &Screen) -> u8 {
    let report = closing::run_report(args.model.provider, model, outcome, now);
    closing::show(model, outcome, &report, screen);
    let processed = report.processed();
    let mut code = 0;
    if let Some(path) = &args.json
        && let Err(e) = close_json(path, processed)
    {
        eprintln!("error: --json {}: {e}", path.display());
        code = 1;
    }
    if let Some(path) = &args.report
        && let Err(e) = report.write(path)
    {
        eprintln!("error: --report {}: {e}", path.display());
        code = 1;
    }
    closing::failures(outcome, processed, code)
}
