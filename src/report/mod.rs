//! The figures of a run: JSON report, CSV, trace and page.

mod assemble;
pub mod baseline;
pub mod comparison;
pub mod csv;
pub mod figures;
pub mod gpu;
pub mod page;
pub mod plot;
pub mod run_folder;
pub mod sheet;
pub mod threads;
pub mod trace;
pub mod verdict;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use self::threads::ProcStat;
use crate::counting::{LineFigures, ZoneFigures};
use crate::detector::TilingFigures;
use crate::inference::{ProviderChoice, ProviderReport};
use crate::latency::Summary;
use crate::model::RecordedIn;
use crate::part::PartFile;
use crate::publish::PublishReport;
use crate::shutdown::Shutdown;
use crate::stream::{FrameCounts, LiveOutput, TelemetryCounts};

pub use assemble::RunContext;
pub use verdict::Verdict;

/// The run report (`--report`).
#[derive(Debug, serde::Serialize)]
pub struct RunReport {
    /// Version of the program.
    pub version: &'static str,
    /// The command line, without secrets.
    pub command: String,
    /// What it ran on.
    pub machine: Machine,
    /// The model; none where detections come from a file.
    pub model: Option<ModelReport>,
    /// The file that detections come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detections: Option<RecordedIn>,
    /// The execution provider.
    pub provider: ProviderFigures,
    /// One a source.
    pub streams: Vec<StreamReport>,
    /// Whether every frame of every stream is accounted for.
    pub accounted: bool,
    /// Frames per second over `run_s`.
    pub fps: Fps,
    /// Milliseconds a stage.
    pub latency_ms: BTreeMap<&'static str, Summary>,
    /// How many frames the model's runs took.
    pub batches: Batches,
    /// Whether it keeps up.
    pub real_time: Verdict,
    /// Time and memory.
    pub resources: Resources,
    /// Frames left out of the latencies.
    pub warm_up_frames_excluded: u64,
    /// Files written.
    pub outputs: Vec<String>,
    /// What live outputs sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub live_outputs: Vec<LiveOutput>,
    /// What was asked for, as resolved.
    pub settings: BTreeMap<&'static str, String>,
}

/// The machine.
#[derive(Debug, serde::Serialize)]
pub struct Machine {
    /// CPU model.
    pub cpu: String,
    /// Logical cores.
    pub cores: usize,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// GPU, where one is used.
    pub gpu: Option<String>,
}

impl Machine {
    /// Reads `/proc`.
    #[must_use]
    pub fn read() -> Self {
        let field = |file: &str, key: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, v)| v.trim().to_owned())
        };
        let kib = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: kib * 1024,
            gpu: None,
        }
    }
}

/// The model in the report.
#[derive(Debug, serde::Serialize)]
pub struct ModelReport {
    /// Short name.
    pub name: String,
    /// Checksum of the file.
    pub sha256: String,
    /// Shape of the last run's input, `[B,3,H,W]`.
    pub input: [usize; 4],
}

/// The provider in the report.
#[derive(Debug, serde::Serialize)]
pub struct ProviderFigures {
    /// What was asked for.
    pub requested: &'static str,
    /// What ran.
    pub actual: &'static str,
    /// Its precision.
    pub detail: String,
    /// Nodes of the graph that each provider runs, as ONNX Runtime says; empty where it does not say.
    pub nodes: BTreeMap<String, usize>,
}

impl ProviderFigures {
    /// Of what runs.
    #[must_use]
    pub fn new(report: &ProviderReport) -> Self {
        Self {
            requested: report.requested.name(),
            actual: report.actual.name(),
            detail: report.detail.clone(),
            nodes: report.nodes.iter().cloned().collect(),
        }
    }

    /// Of a run that ended before any did.
    #[must_use]
    pub fn none(requested: ProviderChoice) -> Self {
        Self { requested: requested.name(), actual: "none", detail: String::new(), nodes: BTreeMap::new() }
    }
}

/// One source in the report.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct StreamReport {
    /// The source, without secrets.
    pub uri: String,
    /// As a fraction; `0/1` when it is not constant.
    pub frame_rate: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Every frame accounted for.
    pub frames: FrameCounts,
    /// Whether they were: received = processed + Σ dropped, three counts that are made apart.
    pub accounted: bool,
    /// Times the stream was re-established.
    pub reconnects: u64,
    /// Seconds without a stream.
    pub outages_s: f64,
    /// Each of them; the first thousand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
    /// Tiles, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiling: Option<TilingReport>,
    /// What was counted at lines, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, LineFigures>,
    /// What was counted in zones, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, ZoneFigures>,
    /// Packets of its telemetry, where it carries any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetryCounts>,
    /// What was published, by broker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PublishReport>,
}

/// A time without a stream.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outage {
    /// Time in the stream of the last frame before it, s.
    pub from_s: f64,
    /// Of the first after it, or of the run's end, s.
    pub to_s: f64,
    /// Why, without secrets.
    pub reason: String,
}

/// Runs of the model by how many frames they took.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Batches {
    /// Runs.
    pub count: u64,
    /// Frames a run.
    pub mean: f64,
    /// Most frames of a run.
    pub max: usize,
    /// Runs by their number of frames.
    pub sizes: BTreeMap<usize, u64>,
}

impl Batches {
    /// Sums up runs by their number of frames.
    #[must_use]
    pub fn new(sizes: BTreeMap<usize, u64>) -> Self {
        let count = sizes.values().sum();
        let frames: u64 = sizes.iter().map(|(size, runs)| *size as u64 * runs).sum();
        #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
        let mean = if count > 0 { frames as f64 / count as f64 } else { 0.0 };
        Self { count, mean, max: sizes.keys().max().copied().unwrap_or(0), sizes }
    }
}

/// The tiles a stream's frames were seen in, beside the whole frame.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TilingReport {
    /// As asked for.
    pub requested: String,
    /// The grid it became, `COLSxROWS@overlap`, or `none`; several, where images differ in size.
    pub grid: String,
    /// Fewest tiles a frame.
    pub tiles_min: u64,
    /// Tiles a frame.
    pub tiles_mean: f64,
    /// Most tiles a frame.
    pub tiles_max: u64,
}

impl From<TilingFigures> for TilingReport {
    fn from(figures: TilingFigures) -> Self {
        let TilingFigures { requested, grids, tiles_min, tiles_mean, tiles_max } = figures;
        let grids: Vec<String> = grids.iter().map(ToString::to_string).collect();
        let grid = if grids.is_empty() { "none".into() } else { grids.join(", ") };
        Self { requested: requested.to_string(), grid, tiles_min, tiles_mean, tiles_max }
    }
}

/// Frames per second.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Fps {
    /// Over the whole run.
    pub mean: f64,
    /// The slowest full second.
    pub min_1s: f64,
    /// Standard deviation of the full seconds; `None` for fewer than two.
    pub std_dev_1s: Option<f64>,
}

/// Time and memory of the process.
#[derive(Debug, Default, serde::Serialize)]
pub struct Resources {
    /// From start to end, s.
    pub wall_s: f64,
    /// Until the first frame, s.
    pub start_up_s: f64,
    /// Processing, s.
    pub run_s: f64,
    /// Finishing the files, s.
    pub close_s: f64,
    /// CPU time in the program, s.
    pub cpu_user_s: f64,
    /// CPU time in the kernel, s.
    pub cpu_system_s: f64,
    /// Share of the CPU time that each of decode, inference, overlay and encode took, 0..1.
    pub cpu_share: BTreeMap<&'static str, f64>,
    /// Peak resident memory.
    pub max_rss_bytes: u64,
    /// Cores that were busy on average, over the whole process.
    pub cores_used: f64,
    /// Threads at most.
    pub threads: usize,
    /// Share of the time in which the GPU was busy, with whatever program, where there is one.
    pub gpu_utilisation: Option<f64>,
    /// Most GPU memory that this program held.
    pub gpu_memory_bytes: Option<u64>,
}

impl Resources {
    /// CPU times and peak memory of this process so far.
    #[must_use]
    pub fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .and_then(|v| v.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or(0);
        let own = ProcStat::own();
        #[expect(clippy::cast_precision_loss, reason = "clock ticks of one run")]
        let seconds = |ticks: fn(&ProcStat) -> u64| own.as_ref().map_or(0.0, |own| ticks(own) as f64 / 100.0);
        let (cpu_user_s, cpu_system_s) = (seconds(|own| own.user), seconds(|own| own.system));
        Self { cpu_user_s, cpu_system_s, max_rss_bytes: kib * 1024, ..Self::default() }
    }
}

impl RunReport {
    /// Frames processed, over all streams.
    #[must_use]
    pub fn processed(&self) -> u64 {
        self.streams.iter().map(|s| s.frames.processed).sum()
    }

    /// Writes the report; see [`write_json`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path, stopping: &Shutdown) -> std::io::Result<()> {
        write_json(self, path, stopping)
    }

    /// Writes it into a file that was created for it.
    ///
    /// # Errors
    /// When it cannot be written, or something else has taken its name.
    pub fn write_into(&self, mut file: PartFile) -> std::io::Result<()> {
        file.write_all(json_text(self)?.as_bytes())?;
        file.finish()
    }
}

/// Writes a report; a file appears whole or not at all. `-` is standard output.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(report: &impl serde::Serialize, path: &Path, stopping: &Shutdown) -> std::io::Result<()> {
    crate::part::write_whole(path, json_text(report)?.as_bytes(), Some(stopping))
}

fn json_text(report: &impl serde::Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}
