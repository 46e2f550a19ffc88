//! What every command that runs the whole pipeline does: from options to a run, and its end.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;

use super::messages::{command_line, print_error, print_failures};
use super::options::{Invocation, MonitoringOptions, RunOptions};
use super::settings::{Task, resolved};
use crate::clock::Clock;
use crate::detections::{Crops, DetectionOutput, EventRows, JsonLines, Labels, MotLines};
use crate::detector::Recorded;
use crate::frame::pixelate::Pixelation;
use crate::model::Origin;
use crate::monitoring::Metrics;
use crate::pipeline::instruments::{InstrumentError, InstrumentFiles, Instruments};
use crate::pipeline::plan;
use crate::pipeline::{self, EventLog, Finder, Listener, Outcome, Settings};
use crate::publish::Publisher;
use crate::report::run_folder::RunFolder;
use crate::report::{RunContext, RunReport};
use crate::serve::{self, Limits, Listen, Probes, Server};
use crate::shutdown::Shutdown;
use crate::source::prefer_decoder;
use crate::ui::{self, Presentation, View};

/// How it went.
pub(super) struct Done {
    pub report: RunReport,
    pub screen: Arc<ui::screen::Screen>,
    pub code: u8,
}

/// What a run writes into, checked and set aside for it.
pub(super) struct Claimed {
    /// The task, with the names that its files have.
    pub task: Task,
    files: InstrumentFiles,
    folder: Option<RunFolder>,
    /// What was there before, for people.
    pub left: Vec<String>,
}

/// A run whose outputs are open.
pub(super) struct Ready {
    pub settings: Settings,
    pub instruments: Instruments,
    pub detections: Vec<Box<dyn DetectionOutput>>,
}

impl RunOptions {
    /// Checks that no two files of the run are one, and makes room for its outputs. What is `own`, written by this program before, stays,
    /// whatever is to be replaced.
    pub(super) fn claim(&self, task: &Task, own: &mut HashSet<PathBuf>) -> anyhow::Result<Claimed> {
        let files = self.measure.files();
        let heatmaps = task.heatmaps.iter().map(|path| ("--heatmap", path.as_path()));
        let read = [
            ("--detections", &task.detections),
            ("--geolocate-points", &task.points),
            ("--zones", &self.counting.zones),
        ];
        let read = read.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
        let all: Vec<_> = task.lines().chain(files.named()).chain(heatmaps).chain(read).collect();
        plan::check_distinct(&task.plan.jobs, &all)?;
        let folder = self.keep.claim(task.overwrite)?;
        let (mut task, mut files, overwrite) = (task.clone(), files, task.overwrite);
        let (mut left, mut asked) = (Vec::new(), Vec::new());
        if task.goes_on() {
            for (option, path) in task.places().into_iter().chain(files.named_mut()) {
                asked.push(path.clone());
                if !overwrite || own.contains(path) {
                    left.extend(plan::go_on_beside(option, path));
                }
            }
        }
        left.extend(plan::prepare(&task.plan.jobs, overwrite)?);
        folder.as_ref().map_or(Ok(()), RunFolder::create)?;
        let named = task.files().into_iter().chain(files.named_mut()).collect();
        left.extend(plan::prepare_files(named, overwrite)?);
        own.extend(asked);
        Ok(Claimed { task, files, folder, left })
    }

    /// Runs the pipeline to its end and prints its figures.
    pub(super) fn run(
        &self,
        invocation: &Invocation,
        task: &Task,
        clock: &Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Done> {
        self.model.check()?;
        let listen = self.monitoring.listen();
        if let Some(listen) = &listen {
            serve::check_token(listen)?;
        }
        prefer_decoder(self.live.decoder.as_deref())?;
        let mut to_stdout = task.lines().filter(|(_, path)| path.as_os_str() == "-").map(|(option, _)| option);
        let on_stdout = to_stdout.next();
        if let Some((first, second)) = on_stdout.zip(to_stdout.next()) {
            return Err(anyhow!("{first} and {second} cannot both be standard output\n  give one of them a file"));
        }
        let claimed = self.claim(task, &mut HashSet::new())?;
        let Claimed { task, folder, left, .. } = &claimed;
        let finder = if let Some(path) = &task.detections {
            Finder::File(Arc::new(Recorded::read(path, task.plan.jobs.len())?))
        } else if let Some(path) = &task.points {
            Finder::File(Arc::new(Recorded::read_points(path)?))
        } else {
            let (runtime, model) = self.model.load()?;
            Finder::Model(Box::new(model), runtime)
        };
        let origin = finder.origin();
        task.kept.check_model(&origin)?;
        let presentation = Presentation {
            verbosity: invocation.verbosity(),
            stats: self.measure.stats.map(|every| (every, self.measure.stats_format)),
            dashboard: self.tui.then_some(task.command),
            to_stdout: on_stdout.is_some(),
        };
        let presentation = presentation.resolve();
        let settings = self.settings(task, &origin, presentation.has_dashboard())?;
        let monitoring = match listen {
            Some(listen) => {
                let metrics = Arc::new(metrics(&settings, &origin, clock));
                let server = Server::start(listen, None, serve::probes(probes(&metrics)), Limits::small())?;
                Some((server, metrics))
            }
            None => None,
        };
        if let Some(folder) = folder {
            task.keep_run(folder, &finder)?;
        }
        let Ready { settings, instruments, detections } = claimed.open(settings, &origin, shutdown)?;
        let instruments = Arc::new(instruments);
        let said = resolved(&settings, &origin);
        let notices = task.plan.notices.iter().chain(left).chain(&origin.notices);
        let view = View::open(presentation, &settings, &origin, notices, shutdown);
        let mut listeners: Vec<Arc<dyn Listener>> = view.listeners();
        listeners.push(instruments.clone());
        listeners.push(Arc::new(EventLog));
        if let Some((server, metrics)) = &monitoring {
            view.screen().line(&format!("  metrics at http://{}/metrics", server.address()));
            listeners.push(metrics.clone());
        }
        let listeners: Arc<dyn Listener> = Arc::new(listeners);
        let Outcome { figures, errors } =
            pipeline::run(settings, &finder, clock.clone(), listeners, detections, shutdown);
        let (screen, panicked) = view.close();
        let context =
            RunContext { command: command_line(), origin: &origin, requested: self.model.provider, settings: said };
        let report = RunReport::assemble(&context, &figures, clock.now());
        ui::closing::show(&origin, &figures, &report, &screen, task.thorough);
        let mut code = 0;
        for error in &panicked {
            print_error(&error);
            code = 1;
        }
        for error in instruments.finish(&report, &figures.book) {
            print_error(&error);
            // A signal ended the wait for its reader: the exit code is the signal's.
            code = if matches!(error, InstrumentError::Unread { .. }) { code } else { 1 };
        }
        if let Some(Err(error)) = folder.as_ref().map(|folder| folder.finish(&report, shutdown)) {
            print_error(&error);
            code = 1;
        }
        if let Some(Err(error)) = monitoring.map(|(server, _)| server.close()) {
            print_error(&error);
            code = 1;
        }
        let code = print_failures(&errors, &screen.failures(), report.processed(), code);
        Ok(Done { report, screen, code })
    }
}

impl MonitoringOptions {
    /// Where metrics are served, if they are.
    pub(super) fn listen(&self) -> Option<Listen> {
        self.metrics.map(|address| Listen { option: "--metrics", address, token: self.token.clone() })
    }
}

/// What is measured of a run.
pub(super) fn metrics(settings: &Settings, origin: &Origin, clock: &Arc<dyn Clock>) -> Metrics {
    let sources: Vec<String> = settings.jobs.iter().map(|job| job.name.clone()).collect();
    let live = settings.jobs.iter().map(|job| job.source.is_live());
    let metrics = Metrics::new(&sources, origin, clock.clone()).watching(live, settings.live.stall_timeout);
    let metrics = metrics.publishing(settings.publish.clone());
    match &settings.counting {
        Some(counting) => metrics.counting(&counting.shapes),
        None => metrics,
    }
}

/// What a run's metrics answer.
fn probes(metrics: &Arc<Metrics>) -> Probes {
    let (hung, not_ready, written) = (metrics.clone(), metrics.clone(), metrics.clone());
    Probes {
        hung: Box::new(move || hung.hung()),
        not_ready: Box::new(move || not_ready.not_ready()),
        metrics: Box::new(move |text| written.write(text)),
    }
}

impl Claimed {
    /// Opens the run's outputs, under the names that were free.
    pub(super) fn open(&self, mut settings: Settings, origin: &Origin, shutdown: &Shutdown) -> anyhow::Result<Ready> {
        settings.jobs.clone_from(&self.task.plan.jobs);
        settings.heatmaps.clone_from(&self.task.heatmaps);
        let may_wait = settings.jobs.iter().map(|job| !job.source.is_live() && !job.paced).collect();
        let open = |plan| Publisher::open(plan, origin.classes.clone(), may_wait, settings.pixelation.clone());
        let publisher = settings.publish.clone().map(open).transpose()?;
        let publisher = publisher.map(|publisher| Box::new(publisher) as Box<dyn DetectionOutput>);
        let instruments = Instruments::open(&self.files, shutdown)?;
        // Last: what is refused leaves no empty file.
        let at_once = settings.jobs.iter().any(|job| job.source.is_live());
        match self.task.open_detections(origin, settings.pixelation.clone(), at_once, shutdown) {
            Ok(detections) => {
                let detections = detections.into_iter().chain(publisher).collect();
                Ok(Ready { settings, instruments, detections })
            }
            Err(refusal) => {
                instruments.discard();
                Err(refusal)
            }
        }
    }
}

impl Task {
    /// Whether it writes beside files that exist: a recorder is started again and again.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on || self.plan.jobs.iter().any(|job| job.source.is_live())
    }

    /// Files of lines, with the options that name them.
    fn lines(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let lines = [("--json", &self.json), ("--mot-output", &self.mot_output), ("--events-csv", &self.events_csv)];
        lines.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)))
    }

    /// Opens `--save-txt`, `--crops`, and last the files of lines, so that what is refused leaves no empty file. `at_once`: lines
    /// are flushed one by one.
    fn open_detections(
        &self,
        origin: &Origin,
        pixelation: Pixelation,
        at_once: bool,
        stopping: &Shutdown,
    ) -> anyhow::Result<Vec<Box<dyn DetectionOutput>>> {
        let no_folder =
            |folder: &Path, e: &std::io::Error| anyhow!("{}: {e}\n  choose another folder", folder.display());
        let mut outputs: Vec<Box<dyn DetectionOutput>> = Vec::new();
        if let Some(folder) = &self.save_txt {
            outputs.push(Box::new(Labels::create(folder).map_err(|e| no_folder(folder, &e))?));
        }
        if let Some(folder) = &self.crops {
            let crops = Crops::create(folder, origin.classes.clone(), pixelation, self.best_crops);
            outputs.push(Box::new(crops.map_err(|e| no_folder(folder, &e))?));
        }
        let no_file = |option: &str, path: &Path, e: &std::io::Error| {
            let remedy = match e.kind() {
                ErrorKind::Interrupted => "start its reader first",
                _ => "name a file in a folder that can be written",
            };
            anyhow!("{option} {}: {e}\n  {remedy}", path.display())
        };
        if let Some(path) = &self.mot_output {
            if self.plan.jobs.len() > 1 {
                let sources = self.plan.jobs.len();
                return Err(anyhow!(
                    "--mot-output: MOTChallenge text has no streams, and there are {sources} sources\n  give one source, or use --json"
                ));
            }
            let tracks = MotLines::create(path, at_once, stopping).map_err(|e| no_file("--mot-output", path, &e))?;
            outputs.push(Box::new(tracks));
        }
        let rows = self.events_csv.as_ref().map(|path| {
            EventRows::create(path, origin.classes.clone(), at_once, stopping)
                .map_err(|e| no_file("--events-csv", path, &e))
        });
        let rows = rows.transpose()?;
        if let Some(path) = &self.json {
            let json = JsonLines::create(path, origin.classes.clone(), at_once, stopping);
            outputs.push(Box::new(json.map_err(|e| {
                if let Some(rows) = &rows {
                    rows.discard(stopping);
                }
                no_file("--json", path, &e)
            })?));
        }
        outputs.extend(rows.map(|rows| Box::new(rows) as Box<dyn DetectionOutput>));
        Ok(outputs)
    }
}
