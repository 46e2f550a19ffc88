//! Options that several commands share.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::count::CountingOptions;
use super::measure::MeasureOptions;
use crate::config::LiveArgs;
use crate::config::choices;
use crate::folders;
use crate::geometry::{Size, input_size};
use crate::inference::{self, Precision, ProviderChoice, ProviderOptions, Runtime};
use crate::model::{Model, ModelRef};
use crate::overlay::Labels;
use crate::secrets::Secret;
use crate::serve;
use crate::source::Hdr;
pub(super) use crate::text::fraction;
use crate::tiling::Tiling;
use crate::track;
use crate::ui::logs::{self, LogFormat};
use crate::ui::screen::Verbosity;
use crate::units::moment;

/// Which model, and how it runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelOptions {
    /// ONNX file, model card, or name of a card [default: visdrone-nano, built in]
    #[arg(short, long, value_name = "FILE|NAME")]
    pub model: Option<String>,
    /// Execution provider
    #[arg(long, value_parser = choices::provider(), default_value = "auto")]
    pub provider: ProviderChoice,
    /// Inference precision; one that the provider does not have is refused
    #[arg(long, value_parser = choices::precision(), default_value = "auto")]
    pub precision: Precision,
    /// GPU, as CUDA counts them (after `CUDA_VISIBLE_DEVICES`, fastest first); with `CUDA_DEVICE_ORDER=PCI_BUS_ID`, as nvidia-smi
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..))]
    pub device: i32,
    /// Threads per inference [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// ONNX Runtime library, or the folder that holds it
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Input size, N or HxW, for models with a dynamic input [default: the model's]
    #[arg(long, value_name = "SIZE", value_parser = input_size)]
    pub imgsz: Option<Size>,
    /// Batch size, at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub batch: u16,
    /// Longest wait for a batch to fill, ms
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub batch_timeout: u64,
}

impl ModelOptions {
    /// Loads the runtime, and makes of the model's file, metadata and card what can be run.
    pub(super) fn load(&self) -> anyhow::Result<(Runtime, Model)> {
        self.check()?;
        let reference = ModelRef::resolve(self.model.as_deref())?;
        let runtime = Runtime::load(self.onnxruntime.as_deref(), self.provider)?;
        let facts = inference::inspect(&runtime, reference.file())?;
        let model = Model::build(reference, &facts)?;
        Ok((runtime, model))
    }

    /// Checks what needs neither the model nor the runtime.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        Ok(inference::check_precision(self.provider, self.precision)?)
    }

    pub(super) fn provider_options(&self) -> ProviderOptions {
        ProviderOptions {
            choice: self.provider,
            precision: self.precision,
            device_id: self.device,
            batch: usize::from(self.batch),
            threads: self.threads,
            cache_dir: folders::cache(),
            ..ProviderOptions::default()
        }
    }
}

/// What counts as a detection.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Detections")]
pub struct DetectionOptions {
    /// Confidence threshold, 0 to 1 [default: the model card's, else 0.25]
    #[arg(long, value_name = "THRESHOLD", value_parser = fraction)]
    pub conf: Option<f32>,
    /// IoU threshold of NMS, 0 to 1 [default: the model card's, else 0.7]
    #[arg(long, value_name = "THRESHOLD", value_parser = fraction)]
    pub iou: Option<f32>,
    /// Detect only these classes: names or ids, comma separated
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// Detections per frame, at most
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub max_det: usize,
    /// Class-agnostic NMS
    #[arg(long)]
    pub agnostic: bool,
}

/// Tiles for small objects.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Small objects")]
pub struct TilingOptions {
    /// Infer tiles as well as the whole frame: auto, N or COLSxROWS, with @OVERLAP [default overlap: 0.2]
    #[arg(long, value_name = "TILES")]
    pub tile: Option<Tiling>,
    /// Use fewer tiles where needed to keep preprocessing, inference and postprocessing of a frame within this time, ms
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub target_latency: Option<u64>,
}

/// Which frames of a source.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Source")]
pub struct SourceOptions {
    /// Stop after this many frames of each source
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    /// Infer every Nth frame, keep the boxes in between
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub stride: u64,
    /// Video track, from 1 [default: the container's default]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub video_track: Option<u32>,
}

/// Which object is which.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tracking")]
pub struct TrackingOptions {
    /// Track objects: ids in labels, --json and --save-txt; --track=false turns off what --tracker and --trails of a lower layer turn on
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false",
        value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub track: Option<bool>,
    /// Tracker; implies --track [default: timed]
    #[arg(long, value_name = "TRACKER", value_parser = choices::tracker())]
    pub tracker: Option<track::Kind>,
    /// Keep the ids of objects that are not seen for so long: 3s, 1m (tracker timed)
    #[arg(long, value_name = "LENGTH", value_parser = moment, default_value = "3s")]
    pub track_buffer: Duration,
    /// Draw where objects were, so long back; implies --track [default without a length: 2s]
    #[arg(long, value_name = "LENGTH", value_parser = trails, num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    pub trails: Option<Duration>,
    /// The camera stands still: do not look for its motion
    #[arg(long)]
    pub fixed_camera: bool,
}

impl TrackingOptions {
    /// Refuses `--track N`, which chose a file's video track once: now N would be a source.
    pub(super) fn check(&self, sources: &[OsString]) -> anyhow::Result<()> {
        let is_number = |source: &&OsString| {
            source.to_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                && !Path::new(source).exists()
        };
        match sources.iter().find(is_number).and_then(|source| source.to_str()) {
            Some(number) if self.track == Some(true) => anyhow::bail!(
                "--track {number}: --track follows objects, and {number} is no file\n  a file's video track is chosen with \
                 --video-track {number}"
            ),
            _ => Ok(()),
        }
    }

    /// How objects are tracked, where they are; `implied` by other options.
    pub(super) fn tracking(&self, implied: bool) -> Option<track::Options> {
        let trails = self.trails.is_some_and(|length| !length.is_zero());
        let wanted = implied || self.track.unwrap_or(self.tracker.is_some() || trails);
        wanted.then(|| track::Options {
            kind: self.tracker.unwrap_or_default(),
            buffer: self.track_buffer,
            camera_motion: !self.fixed_camera,
            trails: self.trails.unwrap_or_default(),
        })
    }
}

/// How boxes look.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Drawing")]
pub struct DrawingOptions {
    /// Which labels boxes have
    #[arg(long, value_name = "WHICH", value_parser = choices::labels(), default_value = "auto")]
    pub labels: Labels,
    /// Draw boxes without labels: --labels none
    #[arg(long, conflicts_with = "labels")]
    pub hide_labels: bool,
    /// Line width, pixels [default: from the frame size]
    #[arg(long, value_name = "PIXELS")]
    pub line_width: Option<u32>,
    /// Pixelate the boxes of these classes in everything that is written, crops and snapshots too: names or ids, comma separated. What is not
    /// detected is not pixelated: consider a low --conf
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub blur: Vec<String>,
    /// Draw FPS and latency into the frame
    #[arg(long)]
    pub hud: bool,
}

/// How video is encoded.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Encoding")]
pub struct EncodingOptions {
    /// H.264 encoder element, e.g. x264enc, or several, comma separated, of which the first that opens is used [default: hardware, else software]
    #[arg(long, value_name = "ELEMENT", value_delimiter = ',', value_parser = trimmed)]
    pub encoder: Vec<String>,
    /// Constant quality, lower is better [default: 23 for H.264, 31 for VP9]
    #[arg(long, value_name = "N", conflicts_with = "bitrate", value_parser = clap::value_parser!(u32).range(0..=63))]
    pub crf: Option<u32>,
    /// Bitrate, kbit/s
    #[arg(long, value_name = "KBIT")]
    pub bitrate: Option<u32>,
    /// What HDR video (HLG, PQ) is written as
    #[arg(long, value_name = "MODE", value_parser = choices::hdr(), default_value = "tone-map")]
    pub hdr: Hdr,
    /// Speed preset of x264 [default: superfast]
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
}

/// Metrics over HTTP.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct MonitoringOptions {
    /// Serve Prometheus metrics, /healthz and /readyz over HTTP: `:PORT` (loopback only) or `HOST:PORT` (with --token)
    #[arg(long, value_name = "ADDR", value_parser = serve::address)]
    pub metrics: Option<SocketAddr>,
    /// Bearer token for --metrics, needed where other machines reach it; visible in the process list, unlike `STREAMDET_TOKEN`
    /// and the config file
    #[arg(long, value_name = "TOKEN", value_parser = serve::token)]
    pub token: Option<Secret>,
}

/// Runs that are kept.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Keeping")]
pub struct KeepOptions {
    /// Keep this run in a folder: its settings and sources (config.toml, without secrets), report.json, the model's checksum and the
    /// versions of what ran (run.json)
    #[arg(long, value_name = "FOLDER")]
    pub run_dir: Option<PathBuf>,
    /// Do a kept run again: the settings, sources and outputs of then, other options above them. Outputs that lay in its folder go to
    /// that of --run-dir; others are replaced with --overwrite only
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    pub repeat: Option<PathBuf>,
}

/// Options of every command that runs the whole pipeline.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// Which model, and how it runs.
    #[command(flatten)]
    pub model: ModelOptions,
    /// What counts as a detection.
    #[command(flatten)]
    pub detections: DetectionOptions,
    /// Tiles.
    #[command(flatten)]
    pub tiling: TilingOptions,
    /// Which frames.
    #[command(flatten)]
    pub source: SourceOptions,
    /// Which object is which.
    #[command(flatten)]
    pub tracking: TrackingOptions,
    /// How live sources are read.
    #[command(flatten)]
    pub live: LiveArgs,
    /// Where tracked objects are counted.
    #[command(flatten)]
    pub counting: CountingOptions,
    /// How boxes look.
    #[command(flatten)]
    pub drawing: DrawingOptions,
    /// How video is encoded.
    #[command(flatten)]
    pub encoding: EncodingOptions,
    /// What is measured.
    #[command(flatten)]
    pub measure: MeasureOptions,
    /// Metrics over HTTP.
    #[command(flatten)]
    pub monitoring: MonitoringOptions,
    /// Runs that are kept.
    #[command(flatten)]
    pub keep: KeepOptions,
    /// Dashboard in the terminal; q quits (exit code 0, files are finished), ? lists the keys
    #[arg(long, help_heading = "Measuring")]
    pub tui: bool,
}

/// How the command itself behaves.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "General")]
pub struct Invocation {
    /// Config file [default: ~/.config/streamdet/config.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print every setting with its origin, and exit
    #[arg(long)]
    pub show_config: bool,
    /// Print one line per frame; -vv prints debug logs as well, -vvv traces
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Format of logs on standard error; with json, every line is an object
    #[arg(long, value_parser = choices::log_format(), default_value = "text")]
    pub log_format: LogFormat,
}

impl Invocation {
    /// Starts logging, as `STREAMDET_LOG` (targets and levels, as `streamdet=debug`) and the options ask.
    pub(super) fn start_logs(&self) -> anyhow::Result<()> {
        let filter = std::env::var("STREAMDET_LOG").ok().filter(|filter| !filter.is_empty());
        Ok(logs::init(self.log_format, self.verbose, filter.as_deref())?)
    }

    /// How much the terminal says.
    pub(super) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, _) => Verbosity::Frames,
        }
    }
}

/// How long trails are; as a switch, 2 s or none.
fn trails(text: &str) -> Result<Duration, String> {
    match text {
        "true" => Ok(Duration::from_secs(2)),
        "false" => Ok(Duration::ZERO),
        _ => moment(text),
    }
}

/// One of several values between commas.
#[expect(clippy::unnecessary_wraps, reason = "as clap takes it")]
fn trimmed(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.trim().to_owned())
}
