//! Streams of `serve`: from their options to a run.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, anyhow};

use super::detect::DetectArgs;
use super::messages::{command_line, print_line, told};
use super::options::RunOptions;
use super::run::{Ready, metrics};
use super::settings::{Task, resolved};
use crate::clock::Clock;
use crate::config::{Layers, StreamConfig, stream_from};
use crate::detections::Feed;
use crate::detector::{Recorded, Service};
use crate::model::Origin;
use crate::pipeline::{self, EventLog, Finder, Listener, Outcome, OutputSpec, SourceSpec, plan};
use crate::report::{RunContext, RunReport};
use crate::secrets::redact;
use crate::serve::streams::{self, Allowed, Begins, Launch, Launched, Options, Prepared, Status, StreamError};
use crate::sink::{Hub, Target};
use crate::text::counted;
use crate::ui::said::Said;

/// Makes streams' runs.
pub(super) struct Launcher {
    clients: RwLock<Clients>,
    service: Arc<Service>,
    origin: Origin,
    clock: Arc<dyn Clock>,
    /// What streams of this program have written, by the names that were asked for.
    written: Arc<Mutex<HashSet<PathBuf>>>,
}

/// What holds for streams that clients and the fleet start.
pub(super) struct Clients {
    /// What those of clients inherit, and those of the fleet.
    inherited: Layers,
    whole: Layers,
    allowed: Vec<Allowed>,
}

impl Clients {
    /// As configured.
    pub(super) fn new(layers: &Layers, allowed: &[Allowed]) -> Self {
        let inherited: Vec<&str> = streams::inherited_by_clients().collect();
        let allowed = if allowed.is_empty() { Allowed::by_default() } else { allowed.to_vec() };
        Self { inherited: layers.only(&inherited), whole: layers.clone(), allowed }
    }
}

impl Launch for Launcher {
    fn prepare(&self, name: &str, options: &Options) -> Result<Prepared, StreamError> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        streams::check_client(options, &clients.allowed)?;
        let config = stream_from::<DetectArgs>(&clients.inherited, name, options, &format!("PUT /v1/streams/{name}"));
        let config = config.map_err(|error| StreamError::Options(redact(&error.to_string())))?;
        self.checked(&config, true)
    }

    fn prepare_for_fleet(&self, name: &str, options: &Options, epoch: u64) -> Result<Prepared, StreamError> {
        let whole = self.clients.read().unwrap_or_else(PoisonError::into_inner).whole.clone();
        let config = stream_from::<DetectArgs>(&whole, name, options, &format!("fleet: {name}"));
        let config = config.map_err(|error| StreamError::Options(redact(&error.to_string())))?;
        self.run_of(&config, false, Some(epoch))
    }
}

impl Launcher {
    /// With the detector that all share.
    pub(super) fn new(clients: Clients, service: Arc<Service>, origin: Origin, clock: Arc<dyn Clock>) -> Self {
        Self { clients: RwLock::new(clients), service, origin, clock, written: Arc::default() }
    }

    /// For streams that start from now on.
    pub(super) fn allow(&self, clients: Clients) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = clients;
    }

    /// Checks a stream's options; nothing is opened yet.
    pub(super) fn checked(
        &self,
        config: &StreamConfig<DetectArgs>,
        from_client: bool,
    ) -> Result<Prepared, StreamError> {
        self.run_of(config, from_client, None)
    }

    fn run_of(
        &self,
        config: &StreamConfig<DetectArgs>,
        from_client: bool,
        epoch: Option<u64>,
    ) -> Result<Prepared, StreamError> {
        let name = config.name.clone();
        let mut task = task(config).map_err(unusable)?;
        if let Some(published) = &mut task.publish {
            published.epoch = epoch;
        }
        // Before one that runs is ended for it.
        let named = files_of(&mut task, config.args.options());
        let named: Vec<(&'static str, &Path)> = named.iter().map(|(option, path)| (*option, path.as_path())).collect();
        let (refused, _) = plan::survey(&task.plan.jobs, &named);
        let taken = plan::taken(&task.plan.jobs).filter(|_| !task.overwrite);
        if let Some(refused) = refused.into_iter().chain(taken).next() {
            return Err(unusable(refused.into()));
        }
        let hub = Hub::new(&name);
        let [job] = &mut task.plan.jobs[..] else { return Err(StreamError::Options("a stream has one source".into())) };
        let source = job.name.clone();
        match &mut job.output {
            OutputSpec::Stream(targets) => targets.push(Target::Viewers(hub.clone())),
            output @ OutputSpec::None if !matches!(job.source, SourceSpec::Images(_)) => {
                *output = OutputSpec::Stream(vec![Target::Viewers(hub.clone())]);
            }
            // Images are written one by one.
            _ => {}
        }
        let finder = match &task.detections {
            Some(path) => Finder::File(Arc::new(Recorded::read(path, 1).map_err(|e| unusable(e.into()))?)),
            None if task.points.is_some() => {
                return Err(unusable(anyhow!("geolocate-points is for `detect`, whose run ends\n  remove it")));
            }
            None => Finder::Service(self.service.clone(), Box::new(self.origin.clone())),
        };
        let run = config.args.options();
        let (requested, origin, clock) = (run.model.provider, finder.origin(), self.clock.clone());
        let mut settings = run.settings(&task, &origin, false).map_err(|e| unusable(e.into()))?;
        // A camera that is not there yet is no reason to give up.
        settings.live.wait |= !config.chose("wait");
        // Where a client may go was checked; where a server sends it was not.
        settings.live.redirects = !from_client;
        let run = run.clone();
        let written = self.written.clone();
        Ok(Box::new(move |Begins { changed, shutdown }| {
            let claimed = {
                let mut own = written.lock().unwrap_or_else(PoisonError::into_inner);
                run.claim(&task, &mut own).map_err(unusable)?
            };
            claimed.left.iter().for_each(|left| print_line(&format!("  {name}: {left}")));
            let Ready { settings, instruments, mut detections } =
                claimed.open(settings, &origin, &shutdown).map_err(unusable)?;
            let controls = settings.controls.clone();
            let metrics = Arc::new(metrics(&settings, &origin, &clock).named(&name));
            let mut shapes = (Vec::new(), Vec::new());
            if let Some(counting) = &settings.counting {
                shapes.0 = counting.shapes.lines.iter().map(|line| line.name().clone()).collect();
                shapes.1 = counting.shapes.zones.iter().map(|zone| zone.name().to_string()).collect();
            }
            let status = Arc::new(Status::new(&name, &source, origin.classes.clone(), shapes, clock.clone()));
            let feed = Feed::new(origin.classes.clone(), changed);
            detections.push(Box::new(feed.clone()));
            let instruments = Arc::new(instruments);
            let said = Arc::new(Said::new(&name));
            let listeners: Vec<Arc<dyn Listener>> =
                vec![status.clone(), metrics.clone(), instruments.clone(), said.clone(), Arc::new(EventLog)];
            let run = Box::new(move || {
                let resolved = resolved(&settings, &origin);
                let Outcome { figures, errors } =
                    pipeline::run(settings, &finder, clock.clone(), Arc::new(listeners), detections, &shutdown);
                let context = RunContext { command: command_line(), origin: &origin, requested, settings: resolved };
                let report = RunReport::assemble(&context, &figures, clock.now());
                let mut failed: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let unwritten = instruments.finish(&report, &figures.book);
                for error in &unwritten {
                    said.error(error);
                }
                failed.extend(unwritten.iter().map(ToString::to_string));
                (!failed.is_empty()).then(|| redact(&failed.join("; ")))
            });
            Ok(Launched { run, status, feed, metrics, hub, controls })
        }))
    }
}

/// What a stream is to do: of one source. Unasked, nothing is written; a recording is shown in its own time.
pub(super) fn task(config: &StreamConfig<DetectArgs>) -> anyhow::Result<Task> {
    let mut task = config.args.task()?;
    task.goes_on = true;
    task.stream_name = Some(config.name.clone());
    let sources = task.plan.jobs.len();
    let [job] = &mut task.plan.jobs[..] else {
        let sources = counted(sources as u64, "source");
        anyhow::bail!("stream {} has {sources}, and may have one\n  write a [[stream]] for each", config.name);
    };
    if !config.chose("output") {
        job.output = OutputSpec::None;
    }
    job.paced = !config.args.is_at_full_speed();
    Ok(task)
}

/// Checks that no two of these streams write one file, or are served under one name.
pub(super) fn check_distinct(streams: &[StreamConfig<DetectArgs>]) -> anyhow::Result<()> {
    let (mut jobs, mut files) = (Vec::new(), Vec::new());
    for config in streams {
        let mut task = task(config).with_context(|| config.place.clone())?;
        files.extend(files_of(&mut task, config.args.options()));
        jobs.append(&mut task.plan.jobs);
    }
    let files: Vec<(&'static str, &Path)> = files.iter().map(|(option, path)| (*option, path.as_path())).collect();
    Ok(plan::check_distinct(&jobs, &files)?)
}

/// The files that a task writes beside video, with their options.
pub(super) fn files_of(task: &mut Task, options: &RunOptions) -> Vec<(&'static str, PathBuf)> {
    let mut instruments = options.measure.files();
    let named = task.files().into_iter().chain(instruments.named_mut());
    named.map(|(option, path)| (option, path.clone())).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unusable(error: anyhow::Error) -> StreamError {
    StreamError::Options(redact(&told(&error)))
}
