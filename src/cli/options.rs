//! Options that several commands share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;

use crate::clock::Clock;
use crate::geometry::Size;
use crate::inference::{self, Precision, ProviderChoice, ProviderOptions, Runtime};
use crate::model::{Model, ModelRef};
use crate::monitoring::{self, Metrics, Server};
use crate::overlay::Style;
use crate::pipeline::Job;
use crate::postprocess::Thresholds;
use crate::sink::EncoderOptions;
use crate::text::nearest;
use crate::tiling::Tiling;
use crate::ui::screen::Verbosity;

/// Which model, and how it runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelOptions {
    /// ONNX file, model card or card's name [default: visdrone-nano, built in]
    #[arg(short, long)]
    pub model: Option<String>,
    /// Where the model runs
    #[arg(long, value_enum, default_value_t)]
    pub provider: ProviderChoice,
    /// Arithmetic of the provider
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    /// GPU number
    #[arg(long, default_value_t = 0)]
    pub device: i32,
    /// Threads of one inference [default: one a core]
    #[arg(long)]
    pub threads: Option<usize>,
    /// ONNX Runtime's library or its folder
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Input size, N or `HxW`, for models that leave it open [default: the model's]
    #[arg(long, value_parser = image_size)]
    pub imgsz: Option<Size>,
    /// Frames a run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub batch: u16,
    /// How long a batch may wait to fill, ms
    #[arg(long, default_value_t = 20)]
    pub batch_timeout: u64,
}

impl ModelOptions {
    /// Loads the runtime, and makes of the model's file, metadata and card what can be run.
    pub(super) fn load(&self) -> anyhow::Result<(Runtime, Model)> {
        let reference = ModelRef::resolve(self.model.as_deref())?;
        let runtime = Runtime::load(self.onnxruntime.as_deref(), self.provider)?;
        let facts = inference::inspect(&runtime, reference.file())?;
        let model = Model::build(reference, &facts)?;
        Ok((runtime, model))
    }

    pub(super) fn provider_options(&self) -> ProviderOptions {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        ProviderOptions {
            choice: self.provider,
            precision: self.precision,
            device_id: self.device,
            threads: self.threads,
            cache_dir: cache.map(|folder| folder.join("streamdet")),
            ..ProviderOptions::default()
        }
    }
}

/// What counts as a detection.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Detections")]
pub struct DetectionOptions {
    /// Confidence above which a box counts, 0 to 1 [default: the model card's, else 0.25]
    #[arg(long, value_parser = fraction)]
    pub conf: Option<f32>,
    /// Overlap above which the less certain of two boxes goes, 0 to 1 [default: the model card's, else 0.7]
    #[arg(long, value_parser = fraction)]
    pub iou: Option<f32>,
    /// Only these classes: names or ids, comma separated
    #[arg(long, value_delimiter = ',')]
    pub classes: Vec<String>,
    /// Boxes a frame, at most
    #[arg(long, default_value_t = 300)]
    pub max_det: usize,
    /// Suppress overlapping boxes across classes
    #[arg(long)]
    pub agnostic: bool,
}

impl DetectionOptions {
    pub(super) fn thresholds(&self, model: &Model) -> anyhow::Result<Thresholds> {
        Ok(Thresholds {
            conf: self.conf.unwrap_or(model.conf),
            iou: self.iou.unwrap_or(model.iou),
            max_det: self.max_det,
            agnostic: self.agnostic,
            classes: wanted_classes(&self.classes, model)?,
        })
    }
}

/// Tiles for small objects.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Small objects")]
pub struct TilingOptions {
    /// Let the model see tiles as well as the whole picture: auto, N or `COLSxROWS`, with @OVERLAP [default overlap: 0.2]
    #[arg(long, value_name = "TILES")]
    pub tile: Option<Tiling>,
    /// Leave tiles out, frame by frame, so that a frame takes no longer in the model than this, ms
    #[arg(long, value_name = "MS", requires = "tile", value_parser = clap::value_parser!(u64).range(1..))]
    pub target_latency: Option<u64>,
}

/// Which frames of a source.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Source")]
pub struct SourceOptions {
    /// Stop after so many frames of each source
    #[arg(long)]
    pub frames: Option<u64>,
    /// Infer every Nth frame, keep the boxes in between
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub stride: u64,
    /// Video track, from 1 [default: the container's default]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub track: Option<u32>,
}

/// How boxes look.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Drawing")]
pub struct DrawingOptions {
    /// Boxes without labels
    #[arg(long)]
    pub hide_labels: bool,
    /// Line width, pixels [default: by the picture's size]
    #[arg(long)]
    pub line_width: Option<u32>,
    /// FPS and latency in the picture
    #[arg(long)]
    pub hud: bool,
}

impl DrawingOptions {
    pub(super) fn style(&self) -> Style {
        Style { line_width: self.line_width, hide_labels: self.hide_labels }
    }
}

/// How video is encoded.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Encoding")]
pub struct EncodingOptions {
    /// Encoder element, e.g. x264enc [default: the best one present]
    #[arg(long)]
    pub encoder: Option<String>,
    /// Constant quality, lower is better [default: 23 for H.264, 31 for VP9]
    #[arg(long, conflicts_with = "bitrate", value_parser = clap::value_parser!(u32).range(0..=63))]
    pub crf: Option<u32>,
    /// Bitrate, kbit/s
    #[arg(long)]
    pub bitrate: Option<u32>,
    /// x264's speed preset [default: superfast]
    #[arg(long)]
    pub preset: Option<String>,
}

impl EncodingOptions {
    pub(super) fn encoder(&self) -> EncoderOptions {
        EncoderOptions {
            name: self.encoder.clone(),
            crf: self.crf,
            bitrate: self.bitrate,
            preset: self.preset.clone(),
            delay: std::time::Duration::ZERO,
        }
    }
}

/// Who else may watch.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct MonitoringOptions {
    /// Serve Prometheus metrics, /healthz and /readyz over HTTP: `:PORT` (this machine only) or `HOST:PORT`
    #[arg(long, value_name = "ADDR", value_parser = monitoring::address)]
    pub metrics: Option<SocketAddr>,
}

impl MonitoringOptions {
    /// Starts answering, if that was asked for: the observer that counts, and the server that lives as long as it is held.
    pub(super) fn serve(
        &self,
        jobs: &[Job],
        model: &Model,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Option<(Arc<Metrics>, Server)>> {
        let Some(address) = self.metrics else { return Ok(None) };
        let sources: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
        let metrics = Arc::new(Metrics::new(&sources, model, clock.clone()));
        let server = monitoring::serve(address, &metrics)?;
        Ok(Some((metrics, server)))
    }
}

/// How the command itself behaves.
#[derive(Debug, Clone, Args)]
pub struct Invocation {
    /// Config file [default: ~/.config/streamdet/config.toml, if there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print every setting and where it came from, and stop
    #[arg(long)]
    pub show_config: bool,
    /// One line a frame
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

impl Invocation {
    /// How much the terminal says.
    pub(super) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, _) => Verbosity::Frames,
        }
    }
}

/// A number from 0 to 1.
pub(super) fn fraction(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(v) if (0.0..=1.0).contains(&v) => Ok(v),
        _ => Err("give a number from 0 to 1".into()),
    }
}

/// `N` or `HxW`.
pub(super) fn image_size(text: &str) -> Result<Size, String> {
    let side = |t: &str| t.parse::<u32>().ok().filter(|n| (32..=8192).contains(n));
    let size = match text.split_once(['x', 'X']) {
        Some((h, w)) => side(h).zip(side(w)).map(|(height, width)| Size { width, height }),
        None => side(text).map(|n| Size { width: n, height: n }),
    };
    size.ok_or_else(|| "give N or HxW, each from 32 to 8192".into())
}

fn wanted_classes(wanted: &[String], model: &Model) -> anyhow::Result<Option<Vec<bool>>> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut keep = vec![false; model.classes.len()];
    for class in wanted {
        let id = model.classes.iter().position(|c| c.eq_ignore_ascii_case(class)).or_else(|| class.parse().ok());
        if let Some(slot) = id.and_then(|id| keep.get_mut(id)) {
            *slot = true;
        } else {
            let nearest = nearest(class, model.classes.iter()).map_or("", String::as_str);
            return Err(anyhow!(
                "--classes {class}: {} has no such class; the nearest is {nearest:?}, ids are 0 to {}",
                model.name,
                model.classes.len() - 1
            ));
        }
    }
    Ok(Some(keep))
}
