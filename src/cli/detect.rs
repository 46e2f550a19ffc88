//! `streamdet detect`: from arguments to a run, and what is said at its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::{jobs, show::Screen};
use crate::clock::{Clock, HostTime, RealClock};
use crate::geometry::Size;
use crate::inference::{self, Precision, ProviderChoice, ProviderOptions, Runtime};
use crate::latency::STAGES;
use crate::model::{Model, ModelRef};
use crate::pipeline::{self, Outcome, Settings, SourceSpec};
use crate::postprocess::Thresholds;
use crate::report::{
    self, Fps, Machine, ModelReport, ProviderFigures, Resources, RunReport, Verdict, redact, terminal,
};
use crate::sink::{EncoderOptions, part_path};

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
#[expect(clippy::struct_excessive_bools, reason = "flags")]
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
    /// ONNX file, model card or card's name [default: visdrone-nano, built in]
    #[arg(short, long, help_heading = "Model")]
    pub(super) model: Option<String>,
    /// Where the model runs
    #[arg(long, value_enum, default_value_t, help_heading = "Model")]
    provider: ProviderChoice,
    /// Arithmetic of the provider
    #[arg(long, value_enum, default_value_t, help_heading = "Model")]
    precision: Precision,
    /// GPU number
    #[arg(long, default_value_t = 0, help_heading = "Model")]
    device: i32,
    /// Threads of one inference [default: one a core]
    #[arg(long, help_heading = "Model")]
    threads: Option<usize>,
    /// ONNX Runtime's library or its folder
    #[arg(long, value_name = "PATH", help_heading = "Model")]
    onnxruntime: Option<PathBuf>,
    /// Input size, N or `HxW`, for models that leave it open [default: the model's]
    #[arg(long, value_parser = image_size, help_heading = "Model")]
    imgsz: Option<Size>,
    /// Confidence above which a box counts, 0 to 1 [default: the model card's, else 0.25]
    #[arg(long, value_parser = fraction, help_heading = "Detections")]
    conf: Option<f32>,
    /// Overlap above which the less certain of two boxes goes, 0 to 1 [default: the model card's, else 0.7]
    #[arg(long, value_parser = fraction, help_heading = "Detections")]
    iou: Option<f32>,
    /// Only these classes: names or ids, comma separated
    #[arg(long, value_delimiter = ',', help_heading = "Detections")]
    classes: Vec<String>,
    /// Boxes a frame, at most
    #[arg(long, default_value_t = 300, help_heading = "Detections")]
    max_det: usize,
    /// Suppress overlapping boxes across classes
    #[arg(long, help_heading = "Detections")]
    agnostic: bool,
    /// Frames a run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Model")]
    batch: u16,
    /// How long a batch may wait to fill, ms
    #[arg(long, default_value_t = 20, help_heading = "Model")]
    batch_timeout: u64,
    /// Stop after so many frames of each source
    #[arg(long, help_heading = "Source")]
    frames: Option<u64>,
    /// Infer every Nth frame, keep the boxes in between
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Source")]
    stride: u64,
    /// Video track, from 1 [default: the container's default]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Source")]
    track: Option<u32>,
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
    /// Boxes without labels
    #[arg(long, help_heading = "Drawing")]
    hide_labels: bool,
    /// Line width, pixels [default: by the picture's size]
    #[arg(long, help_heading = "Drawing")]
    line_width: Option<u32>,
    /// FPS and latency in the picture
    #[arg(long, help_heading = "Drawing")]
    hud: bool,
    /// Encoder element, e.g. x264enc [default: the best one present]
    #[arg(long, help_heading = "Encoding")]
    encoder: Option<String>,
    /// Constant quality, lower is better [default: 23 for H.264, 31 for VP9]
    #[arg(long, conflicts_with = "bitrate", value_parser = clap::value_parser!(u32).range(0..=63), help_heading = "Encoding")]
    crf: Option<u32>,
    /// Bitrate, kbit/s
    #[arg(long, help_heading = "Encoding")]
    bitrate: Option<u32>,
    /// x264's speed preset [default: superfast]
    #[arg(long, help_heading = "Encoding")]
    preset: Option<String>,
    /// Config file [default: ~/.config/streamdet/config.toml, if there]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print every setting and where it came from, and stop
    #[arg(long)]
    pub(super) show_config: bool,
    /// One line a frame
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

fn fraction(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(v) if (0.0..=1.0).contains(&v) => Ok(v),
        _ => Err("give a number from 0 to 1".into()),
    }
}

fn image_size(text: &str) -> Result<Size, String> {
    let side = |t: &str| t.parse::<u32>().ok().filter(|n| (32..=8192).contains(n));
    let size = match text.split_once(['x', 'X']) {
        Some((h, w)) => side(h).zip(side(w)).map(|(height, width)| Size { width, height }),
        None => side(text).map(|n| Size { width: n, height: n }),
    };
    size.ok_or_else(|| "give N or HxW, each from 32 to 8192".into())
}

/// Something unusable before the run: exit code 2.
type Unusable = String;

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &DetectArgs) -> u8 {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let interrupt = Arc::new(AtomicBool::new(false));
    let terminate = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    for (signal, flag, code) in
        [(signal_hook::consts::SIGINT, &interrupt, 130), (signal_hook::consts::SIGTERM, &terminate, 143)]
    {
        // In this order the second signal leaves at once.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, code, stop.clone());
        let _ = signal_hook::flag::register(signal, flag.clone());
        let _ = signal_hook::flag::register(signal, stop.clone());
    }
    match prepare_and_run(args, &clock, &stop) {
        Ok(0) if interrupt.load(Ordering::SeqCst) => 130,
        Ok(0) if terminate.load(Ordering::SeqCst) => 143,
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {}", redact(&message));
            2
        }
    }
}

fn prepare_and_run(args: &DetectArgs, clock: &Arc<dyn Clock>, stop: &Arc<AtomicBool>) -> Result<u8, Unusable> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    gstreamer::init().map_err(|e| text(&e))?;
    let mut notices = Vec::new();
    let jobs = jobs::plan(&args.sources, args.output.as_deref(), args.overwrite, &mut notices)?;
    let reference = ModelRef::resolve(args.model.as_deref()).map_err(|e| text(&e))?;
    let runtime = Runtime::load(args.onnxruntime.as_deref(), args.provider).map_err(|e| text(&e))?;
    let facts = inference::inspect(&runtime, reference.file()).map_err(|e| text(&e))?;
    let model = Model::build(reference, &facts).map_err(|e| text(&e))?;
    let classes = classes(&args.classes, &model)?;
    for folder in args.save_txt.iter().chain(&args.crops) {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}\n  choose another folder", folder.display()))?;
    }
    let json = args.json.as_ref().map(|path| open_json(path)).transpose()?;
    if let Some(path) = args.report.as_ref().filter(|p| p.as_os_str() != "-") {
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        if folder.is_some_and(|f| !f.is_dir()) {
            return Err(format!("--report {}: no such folder", path.display()));
        }
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")))
        .map(|c| c.join("streamdet"));
    let imgsz = args.imgsz.unwrap_or(model.default_size);
    let pictures =
        jobs.iter().map(|j| if let SourceSpec::Pictures(p) = &j.source { p.len() as u64 } else { 0 }).sum::<u64>();
    let only_pictures = jobs.iter().all(|j| matches!(j.source, SourceSpec::Pictures(_)));
    let fixed_total = if only_pictures { Some(pictures) } else { args.frames.filter(|_| jobs.len() == 1) };
    let shape = model.static_size.unwrap_or(imgsz);
    let label = format!(
        "{} · {} class{} · {}",
        terminal::printable(&model.name),
        model.classes.len(),
        if model.classes.len() == 1 { "" } else { "es" },
        if shape.width == shape.height {
            shape.width.to_string()
        } else {
            format!("{}×{}", shape.height, shape.width)
        }
    );
    let screen =
        Arc::new(Screen::new(args.quiet, args.verbose, jobs.len(), fixed_total, label, model.classes.to_vec()));
    for notice in notices {
        pipeline::Observer::notice(screen.as_ref(), &notice);
    }
    let settings = Settings {
        jobs,
        track: args.track,
        imgsz,
        thresholds: Thresholds {
            conf: args.conf.unwrap_or(model.conf),
            iou: args.iou.unwrap_or(model.iou),
            max_det: args.max_det,
            agnostic: args.agnostic,
            classes,
        },
        batch: usize::from(args.batch),
        batch_timeout: Duration::from_millis(args.batch_timeout),
        frames: args.frames,
        stride: args.stride,
        provider: ProviderOptions {
            choice: args.provider,
            precision: args.precision,
            device_id: args.device,
            threads: args.threads,
            cache_dir: cache,
        },
        style: crate::overlay::Style { line_width: args.line_width, hide_labels: args.hide_labels },
        hud: args.hud,
        encoder: EncoderOptions {
            name: args.encoder.clone(),
            crf: args.crf,
            bitrate: args.bitrate,
            preset: args.preset.clone(),
        },
        save_txt: args.save_txt.clone(),
        crops: args.crops.clone(),
    };
    let outcome = pipeline::run(settings, model.clone(), &runtime, clock.clone(), screen.clone(), json, stop.clone());
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
    match path.as_os_str() == "-" {
        true => Ok(()),
        false if frames == 0 => std::fs::remove_file(part_path(path)),
        false => std::fs::rename(part_path(path), path),
    }
}

fn classes(wanted: &[String], model: &Model) -> Result<Option<Vec<bool>>, Unusable> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut keep = vec![false; model.classes.len()];
    for class in wanted {
        let id = model.classes.iter().position(|c| c.eq_ignore_ascii_case(class)).or_else(|| class.parse().ok());
        if let Some(slot) = id.and_then(|id| keep.get_mut(id)) {
            *slot = true;
        } else {
            let nearest = model
                .classes
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, class).total_cmp(&strsim::jaro_winkler(b, class)))
                .map_or("", String::as_str);
            return Err(format!(
                "--classes {class}: {} has no such class; the nearest is {nearest:?}, ids are 0 to {}",
                model.name,
                model.classes.len() - 1
            ));
        }
    }
    Ok(Some(keep))
}

/// Says how it went, writes the report, chooses the exit code.
fn close(args: &DetectArgs, model: &Model, outcome: &Outcome, now: HostTime, screen: &Screen) -> u8 {
    let report = run_report(args, model, outcome, now);
    let processed: u64 = report.streams.iter().map(|s| s.frames.processed).sum();
    let dropped: u64 = report.streams.iter().map(|s| s.frames.dropped.total()).sum();
    if processed > 0 {
        screen.line("");
        screen.line(&terminal::stage_table(&outcome.book));
        screen.line(&terminal::speed_line(&outcome.book, outcome.input));
        screen.line(&format!(
            "\n  {} in {:.1} s · {:.1} fps · {dropped} dropped\n  {}",
            terminal::counted(processed, "frame"),
            report.resources.run_s,
            report.fps.mean,
            terminal::bound_by(&outcome.threads)
        ));
        let mut seen: Vec<(u64, &String)> =
            outcome.objects.iter().copied().zip(model.classes.iter()).filter(|(n, _)| *n > 0).collect();
        seen.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        if !seen.is_empty() {
            let parts: Vec<String> = seen.iter().map(|(n, c)| terminal::counted(*n, c)).collect();
            screen.line(&format!("  {}", terminal::as_many_as_fit(&parts, Screen::width().saturating_sub(2))));
        }
    }
    for (path, audio) in &outcome.outputs {
        let audio = if *audio > 0 { " (audio kept)" } else { "" };
        screen.line(&format!("  → {}{audio}", path.display()));
    }
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
    for error in &outcome.errors {
        eprintln!("error: {}", redact(&error.to_string()));
        code = if error.is_usage() && processed == 0 && code != 1 { 2 } else { 1 };
    }
    code
}

fn run_report(args: &DetectArgs, model: &Model, outcome: &Outcome, now: HostTime) -> RunReport {
    let wall_s = now.since_start().as_secs_f64();
    let start_up_s = outcome.first_frame.map_or(wall_s, |t| t.since_start().as_secs_f64());
    let run_s = match (outcome.first_frame, outcome.last_frame) {
        (Some(first), Some(last)) => last.since(first).as_secs_f64(),
        _ => 0.0,
    };
    let processed: u64 = outcome.streams.iter().map(|s| s.frames.processed).sum();
    #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
    let mean = if run_s > 0.0 { processed as f64 / run_s } else { 0.0 };
    let rate = outcome.streams.first().and_then(|s| {
        let (n, d) = s.frame_rate.split_once('/')?;
        let (n, d): (f64, f64) = (n.parse().ok()?, d.parse().ok()?);
        (n > 0.0 && d > 0.0).then_some(n / d)
    });
    let real_time = match rate {
        Some(rate) if processed > 0 => Verdict {
            verdict: if mean >= rate { "yes" } else { "no" },
            budget_ms: 1000.0 / rate,
            reason: format!("{mean:.1} fps against the stream's {rate:.2}; {}", terminal::bound_by(&outcome.threads)),
        },
        _ => Verdict { verdict: "n/a", budget_ms: 0.0, reason: "no constant frame rate".into() },
    };
    RunReport {
        version: env!("CARGO_PKG_VERSION"),
        command: redact(&std::env::args().collect::<Vec<_>>().join(" ")),
        machine: Machine::read(),
        model: ModelReport { name: model.name.clone(), sha256: model.sha256.clone(), input: outcome.input },
        provider: outcome.provider.as_ref().map_or_else(
            || ProviderFigures { requested: args.provider.name(), actual: "none", detail: String::new() },
            |p| ProviderFigures { requested: p.requested.name(), actual: p.actual.name(), detail: p.detail.clone() },
        ),
        streams: outcome.streams.clone(),
        fps: Fps { mean, min_1s: slowest_second(&outcome.handed_over).unwrap_or(mean) },
        latency_ms: STAGES.iter().map(|s| (s.key(), outcome.book.summary(*s))).collect(),
        real_time,
        resources: Resources {
            wall_s,
            start_up_s,
            run_s,
            cpu_share: report::threads::WORKERS
                .into_iter()
                .zip(outcome.threads.shares().into_iter().flatten())
                .collect(),
            close_s: (wall_s - start_up_s - run_s).max(0.0),
            ..report::Resources::read()
        },
        warm_up_frames_excluded: outcome.book.warm_up_frames_excluded(),
        outputs: outcome.outputs.iter().map(|(p, _)| p.display().to_string()).collect(),
    }
}

/// Frames in the slowest full second; `None` for a run shorter than one.
fn slowest_second(times: &[f64]) -> Option<f64> {
    let (first, last) = (times.first()?, times.last()?);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds of a run")]
    let seconds = (last - first) as usize;
    let mut counts = vec![0u32; seconds];
    for t in times {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds of a run")]
        if let Some(n) = counts.get_mut((t - first).max(0.0) as usize) {
            *n += 1;
        }
    }
    counts.into_iter().min().map(f64::from)
}
