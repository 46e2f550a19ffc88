//! What every command that runs the whole pipeline does: from options to a run, and what is said at its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use super::closing;
use super::live::LiveArgs;
use super::measure::{Instruments, MeasureOptions, watchers};
use super::options::{
    DetectionOptions, DrawingOptions, EncodingOptions, Invocation, ModelOptions, MonitoringOptions, SourceOptions,
    TilingOptions,
};
use crate::clock::Clock;
use crate::controls::Controls;
use crate::detections::{Crops, DetectionOutput, JsonLines, Labels};
use crate::model::Model;
use crate::pipeline::plan::{self, Plan};
use crate::pipeline::{self, Outcome, Settings};
use crate::report::RunReport;
use crate::shutdown::Shutdown;
use crate::ui;
use crate::ui::dashboard::{self, Dashboard};
use crate::ui::screen::Screen;

/// Options of every such command.
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
    /// How live sources are dealt with.
    #[command(flatten)]
    pub live: LiveArgs,
    /// How boxes look.
    #[command(flatten)]
    pub drawing: DrawingOptions,
    /// How video is encoded.
    #[command(flatten)]
    pub encoding: EncodingOptions,
    /// What is measured.
    #[command(flatten)]
    pub measure: MeasureOptions,
    /// Who else may watch.
    #[command(flatten)]
    pub monitoring: MonitoringOptions,
    /// Dashboard in the terminal, with keys: q quits (exit code 0, files are finished), ? lists the others
    #[arg(long, help_heading = "Measuring")]
    pub tui: bool,
}

/// What a command adds to the options.
#[derive(Default)]
pub(super) struct Task {
    /// The command's name.
    pub command: &'static str,
    pub plan: Plan,
    /// Outputs that exist are replaced.
    pub overwrite: bool,
    /// Where detections go.
    pub json: Option<PathBuf>,
    pub save_txt: Option<PathBuf>,
    pub crops: Option<PathBuf>,
    pub real_time: bool,
    /// Whether the end says what the run took, and whether it keeps up.
    pub thorough: bool,
}

/// How it went.
pub(super) struct Done {
    pub report: RunReport,
    pub screen: Arc<Screen>,
    pub code: u8,
}

impl RunOptions {
    /// Runs the pipeline to its end and prints its figures.
    pub(super) fn run(
        &self,
        invocation: &Invocation,
        task: Task,
        clock: &Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Done> {
        let Task { command, plan: Plan { jobs, notices }, overwrite, json, save_txt, crops, real_time, thorough } =
            task;
        let live = self.live.options()?;
        plan::prepare(&jobs, overwrite)?;
        let (runtime, model) = self.model.load()?;
        let thresholds = self.detections.thresholds(&model)?;
        let monitoring = self.monitoring.serve(&jobs, &model, clock)?;
        let to_stdout = json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let no_dashboard = if self.tui { dashboard::unsuitable(to_stdout) } else { None };
        let log = (self.tui && no_dashboard.is_none()).then(Arc::<dashboard::Log>::default);
        let instruments = Instruments::open(&self.measure)?;
        // Last: what is refused leaves no empty file.
        let at_once = jobs.iter().any(|job| job.source.is_live());
        let detections = match open_detections((json, save_txt, crops), &model, at_once) {
            Ok(detections) => detections,
            Err(refusal) => {
                instruments.discard();
                return Err(refusal);
            }
        };
        let instruments = Arc::new(instruments);
        let imgsz = self.model.imgsz.unwrap_or(model.default_size);
        let screen = Screen::new(invocation.verbosity(), &jobs, self.source.frames, &model, imgsz);
        let screen = Arc::new(screen.lines_every(self.measure.frame_lines()).logged(log.clone()));
        let no_dashboard = no_dashboard.map(|why| format!("{why}; there are lines instead"));
        for notice in no_dashboard.into_iter().chain(notices).chain(model.notices.iter().cloned()) {
            screen.notice(&notice);
        }
        let mut encoder = self.encoding.encoder();
        encoder.delay = self.measure.delay.encode;
        let controls = Arc::new(match log {
            Some(_) => Controls::attended(thresholds.conf, self.drawing.hud, jobs.len()),
            None => Controls::fixed(thresholds.conf, self.drawing.hud),
        });
        let settings = Settings {
            jobs,
            track: self.source.track,
            imgsz,
            thresholds,
            batch: usize::from(self.model.batch),
            batch_timeout: Duration::from_millis(self.model.batch_timeout),
            tiling: self.tiling.tile,
            target_latency: self.tiling.target_latency.map(Duration::from_millis),
            frames: self.source.frames,
            stride: self.source.stride,
            real_time,
            live,
            delays: self.measure.delay,
            provider: self.model.provider_options(),
            style: self.drawing.style(),
            controls,
            encoder,
        };
        let said = resolved(&settings, &model);
        let (mut listeners, stats) = watchers(&self.measure, &screen, &instruments);
        if let Some((metrics, server)) = &monitoring {
            screen.line(&format!("  metrics at http://{}/metrics", server.address()));
            listeners.push(metrics.clone());
        }
        let dashboard = log.and_then(|log| dashboard(command, &settings, &model, &screen, &log, shutdown));
        listeners.extend(dashboard.as_ref().map(Dashboard::listener));
        let listeners: Arc<dyn pipeline::Listener> = Arc::new(listeners);
        let Outcome { figures, errors } =
            pipeline::run(settings, model.clone(), &runtime, clock.clone(), listeners, detections, shutdown);
        stats.into_iter().for_each(ui::stats::Stats::stop);
        dashboard.into_iter().for_each(Dashboard::finish);
        screen.finish();
        let mut report = closing::run_report(self.model.provider, &model, &figures, clock.now());
        report.settings = said;
        ui::closing::show(&model, &figures, &report, &screen, thorough);
        let instruments = Arc::into_inner(instruments).expect("the run has ended: nobody watches it any more");
        let code = instruments.close(&report, &figures.book, 0);
        let code = closing::failures(&errors, report.processed(), code);
        Ok(Done { report, screen, code })
    }
}

/// The dashboard, if the terminal can be had; else says why not.
fn dashboard(
    command: &'static str,
    settings: &Settings,
    model: &Model,
    screen: &Screen,
    log: &Arc<dashboard::Log>,
    shutdown: &Shutdown,
) -> Option<Dashboard> {
    let facts = dashboard::Facts { command, model: screen.model().to_owned(), classes: model.classes.clone() };
    let classes = model.classes.len();
    let state = dashboard::State::new(&settings.jobs, settings.frames, settings.real_time, classes, log.clone());
    let started = Dashboard::start(facts, state, &settings.controls, log, shutdown);
    started.map_err(|e| screen.line(&format!("  notice: --tui: {e}; there are lines instead"))).ok()
}

/// Where detections go: `--save-txt`, `--crops`, and last `--json`, so that what is refused leaves no empty file.
fn open_detections(
    (json, save_txt, crops): (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>),
    model: &Model,
    at_once: bool,
) -> anyhow::Result<Vec<Box<dyn DetectionOutput>>> {
    let mut outputs: Vec<Box<dyn DetectionOutput>> = Vec::new();
    if let Some(folder) = save_txt {
        outputs.push(Box::new(Labels::create(&folder).map_err(|e| no_folder(&folder, &e))?));
    }
    if let Some(folder) = crops {
        outputs.push(Box::new(Crops::create(&folder, model.classes.clone()).map_err(|e| no_folder(&folder, &e))?));
    }
    if let Some(path) = json {
        let json = JsonLines::create(&path, model.classes.clone(), at_once);
        outputs.push(Box::new(
            json.map_err(|e| anyhow!("--json {}: {e}\n  name a file in a folder that can be written", path.display()))?,
        ));
    }
    Ok(outputs)
}

fn no_folder(folder: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow!("{}: {error}\n  choose another folder", folder.display())
}

/// The settings that decide how fast it is, as text.
fn resolved(settings: &Settings, model: &Model) -> BTreeMap<&'static str, String> {
    let Settings { imgsz, thresholds, provider, .. } = settings;
    let size = model.static_size.unwrap_or(*imgsz);
    let mut said = BTreeMap::from([
        ("imgsz", format!("{}x{}", size.height, size.width)),
        ("conf", thresholds.conf.to_string()),
        ("iou", thresholds.iou.to_string()),
        ("max-det", thresholds.max_det.to_string()),
        ("provider", provider.choice.name().to_owned()),
        ("batch", settings.batch.to_string()),
        ("batch-timeout", format!("{} ms", settings.batch_timeout.as_millis())),
        ("stride", settings.stride.to_string()),
        ("real-time", settings.real_time.to_string()),
    ]);
    if settings.jobs.iter().any(|job| job.source.is_live()) {
        let live = &settings.live;
        said.extend([
            ("max-lag", format!("{} ms", live.max_lag.as_millis())),
            ("jitter", format!("{} ms", live.jitter.as_millis())),
            ("stall-timeout", format!("{} s", live.stall_timeout.as_secs_f64())),
            ("reconnect", live.reconnect.map_or_else(|| "forever".into(), |n| n.to_string())),
        ]);
    }
    let mut maybe = |key, value: Option<String>| said.extend(value.map(|value| (key, value)));
    maybe("frames", settings.frames.map(|n| n.to_string()));
    maybe("threads", provider.threads.map(|n| n.to_string()));
    maybe("tile", settings.tiling.map(|tiling| tiling.to_string()));
    maybe("target-latency", settings.target_latency.map(|time| format!("{} ms", time.as_millis())));
    maybe("encoder", settings.encoder.name.clone());
    maybe("preset", settings.encoder.preset.clone());
    said
}
