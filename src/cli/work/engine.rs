//! A worker's detector, and what it does with a file.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::archive::{
    Absent, BUSY, Failure, Item, Names, Outcome, Remote, RemoteError, SAID, Staged, Standing, Tally, Turn, unusable,
};
use crate::cli::detect::{DetectArgs, DetectOptions};
use crate::cli::launch::files_of;
use crate::cli::messages::{print_error, print_line, told};
use crate::cli::run::Ready;
use crate::cli::settings::{Task, wanted};
use crate::clock::{Clock, Deadline};
use crate::config::{Layers, stream_from};
use crate::detector::{DetectorOptions, Service};
use crate::model::Origin;
use crate::pipeline::{self, EventLog, Finder, RunError, SourceSpec, plan};
use crate::secrets::redact;
use crate::shutdown::Shutdown;
use crate::text::{counted, grouped, in_one_line};

/// Refuses what means nothing for an archive.
pub fn check(options: &DetectOptions) -> anyhow::Result<()> {
    match options.not_of_an_archive() {
        Some(option) => Err(anyhow!("{option} means nothing for an archive\n  leave it out")),
        None => Ok(()),
    }
}

/// What is done with a file: everything that was chosen, as `streamdet detect` has it.
pub fn file(layers: &Layers, item: &Item, place: &str) -> anyhow::Result<DetectArgs> {
    let mut own = item.options.clone();
    own.insert("source".into(), item.source.clone().into());
    Ok(stream_from::<DetectArgs>(layers, "file", &own, place)?.args)
}

/// The detector that all files share.
pub struct Engine {
    layers: Layers,
    pub service: Arc<Service>,
    pub origin: Origin,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    verbose: bool,
    attempts: u64,
    remote: Remote,
    absent: Absent,
}

impl Engine {
    pub fn start(
        options: &DetectOptions,
        (layers, attempts, remote): (Layers, u64, Remote),
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let run = &options.run;
        let (runtime, model) = run.model.load()?;
        let origin = Origin::from(&model);
        let wanted = wanted(&run.model, &run.detections, &run.tiling, &origin)?;
        let provider = run.model.provider_options();
        let how = DetectorOptions { wanted, provider, clock: clock.clone(), ..DetectorOptions::of(&model) };
        let service = Arc::new(Service::start(&runtime, &model, how, run.model.batch.into())?);
        let verbose = options.invocation.verbose > 0;
        Ok(Self {
            layers,
            service,
            origin,
            clock,
            shutdown: shutdown.clone(),
            verbose,
            attempts,
            remote,
            absent: Absent::new(attempts),
        })
    }

    pub fn close(self) {
        if let Some(Err(panicked)) = Arc::into_inner(self.service).map(Service::close) {
            print_error(&panicked);
        }
    }

    /// Does all files of a list.
    pub fn all(&self, list: &[String], say: &dyn Fn(&str)) -> (Tally, Option<anyhow::Error>) {
        let (mut tally, mut next) = (Tally::default(), Deadline::after(SAID));
        for (number, source) in list.iter().enumerate() {
            if self.shutdown.is_requested() {
                break;
            }
            let outcome = match self.job(&Item { source: source.clone(), options: toml::Table::new() }, None) {
                Ok(outcome) => outcome,
                Err(broken) => return (tally, Some(broken)),
            };
            match &outcome {
                Outcome::Failed(failure) => print_error(&format!("{source}: {}", in_one_line(&failure.message))),
                Outcome::Left(_) if !self.shutdown.is_requested() => {
                    say(&format!("{source}: another worker is at it; passed over"));
                }
                _ => {}
            }
            tally.count(&outcome);
            if next.is_over() {
                next = Deadline::after(SAID);
                say(&format!("{} of {} done", grouped(number as u64 + 1), counted(list.len() as u64, "file")));
            }
        }
        (tally, None)
    }

    /// What is to be done with a file; what stands against it on any machine.
    fn prepared(&self, item: &Item, names: &Names) -> Result<(Task, DetectArgs), String> {
        let planned = file(&self.layers, item, "a file's options").and_then(|args| {
            let args = args.named(names)?;
            check(args.all())?;
            Ok((args.task()?, args))
        });
        let (mut task, args) = planned.map_err(|error| told(&error))?;
        // An .sdp file is one.
        if task.plan.jobs.iter().any(|job| matches!(job.source, SourceSpec::Live(_))) {
            return Err("a live source: an archive has recorded files".into());
        }
        let places = task.staged();
        let unusable = places.iter().find_map(|place| unusable(place));
        if let Some(problem) = unusable {
            return Err(problem);
        }
        if places.is_empty() && task.save_txt.is_none() && task.crops.is_none() && task.publish.is_none() {
            return Err("nothing would be written of it\n  give -o, --json or another output".into());
        }
        // Where they go in the end: none onto another, nor onto the source.
        let named = files_of(&mut task, args.options());
        let named: Vec<(&'static str, &Path)> = named.iter().map(|(option, path)| (*option, path.as_path())).collect();
        plan::check_distinct(&task.plan.jobs, &named).map_err(|error| error.to_string())?;
        Ok((task, args))
    }

    /// Does a file that was `taken` so often. What keeps this machine from doing any is an error.
    pub fn job(&self, item: &Item, taken: Option<u64>) -> anyhow::Result<Outcome> {
        let source = Path::new(&item.source);
        let mut turn = match self.remote.turn(item) {
            Ok(turn) => turn,
            Err(error) => return Ok(failed(2, source, &error.to_string())),
        };
        match self.done(item, &mut turn, taken).map_err(anyhow::Error::downcast::<RemoteError>) {
            Err(Ok(error)) => {
                let say = |problem: &str| print_line(&format!("  {}: {problem}", item.source));
                self.absent.store(&error, taken, say).map_err(anyhow::Error::msg)
            }
            Err(Err(error)) => Err(error),
            Ok(Outcome::Failed(failure)) => Ok(Outcome::Failed(turn.named(failure))),
            Ok(outcome) => Ok(outcome),
        }
    }

    fn done(&self, item: &Item, turn: &mut Turn, taken: Option<u64>) -> anyhow::Result<Outcome> {
        let path = turn.path().to_owned();
        let source = path.as_path();
        if !source.is_absolute() {
            return Ok(failed(2, source, "give an absolute path, as `streamdet work add` does"));
        }
        turn.begin()?;
        if let Some(folder) = source.parent().filter(|folder| !folder.is_dir()) {
            return self.absent.folder(folder, taken).map_err(anyhow::Error::msg);
        }
        if turn.is_local() {
            self.absent.reached();
        }
        if !source.is_file() {
            let problem = if source.is_dir() { "a folder: add the files in it" } else { "no such file" };
            return Ok(failed(2, source, problem));
        }
        let names = turn.names(item);
        let (mut task, args) = match self.prepared(&turn.read(item), &names) {
            Ok(prepared) => prepared,
            Err(problem) => return Ok(failed(2, source, &problem)),
        };
        let mut places: Vec<PathBuf> = task.staged().into_iter().map(|place| place.clone()).collect();
        turn.sends(&names, &mut places)?;
        let are_kept = !task.overwrite;
        if are_kept && turn.standing(&places)? == Standing::All {
            Staged::clear(&item.id(), &places);
            return Ok(Outcome::There);
        }
        let run = args.options();
        let finder = Finder::Service(self.service.clone(), Box::new(self.origin.clone()));
        let settings = match run.settings(&task, &self.origin, false) {
            Ok(settings) => settings,
            Err(error) => return Ok(failed(2, source, &error.to_string())),
        };
        let here = task.staged().into_iter().filter(|place| places.contains(place)).collect();
        let mut staged = match Staged::begin(&item.id(), here) {
            Ok(staged) => staged,
            Err(error) if error.kind() == ErrorKind::ResourceBusy => return Ok(Outcome::Left(BUSY)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(failed(2, source, &error.to_string())),
            Err(error) => {
                return Err(anyhow!("outputs of {}: {error}\n  choose a folder that can be written", item.source));
            }
        };
        if staged.is_whole() {
            staged.finish().context("an output cannot take its name")?;
            return Ok(Outcome::Done);
        }
        // Not before: while another worker is at it, it comes again and again.
        if taken.is_some_and(|taken| taken > self.attempts) {
            let attempts = self.attempts;
            let problem =
                format!("taken {attempts} times and never finished: its workers were killed, stopped, or gave it back");
            return Ok(failed(1, source, &problem));
        }
        // As it is now that no other worker is at it.
        match turn.standing(&places)? {
            Standing::All if are_kept => return Ok(Outcome::There),
            Standing::Some(there, lacking) if are_kept => {
                let problem =
                    format!("{there} exists already, and {lacking} does not\n  give --overwrite, or another name");
                return Ok(failed(2, source, &problem));
            }
            _ => {}
        }
        turn.fetch()?;
        task.overwrite = true;
        let claimed = run.claim(&task, &mut HashSet::new())?;
        let Ready { settings, detections, .. } = claimed.open(settings, &self.origin, &self.shutdown)?;
        let begun = self.clock.now();
        let listeners: Arc<dyn pipeline::Listener> = Arc::new(EventLog);
        let outcome = pipeline::run(settings, &finder, self.clock.clone(), listeners, detections, &self.shutdown);
        if self.shutdown.is_requested() {
            return Ok(Outcome::Left(Duration::ZERO));
        }
        if let Some(error) = outcome.errors.into_iter().next() {
            // An encoder may refuse what a file has; a disk refuses every file.
            let is_of_the_file = match &error {
                RunError::Detect(_) | RunError::Service(_) => false,
                RunError::Sink(_) | RunError::Detections(_) | RunError::Stalled { .. } => {
                    staged.is_writable() && turn.is_writable()
                }
                _ => true,
            };
            return if is_of_the_file {
                Ok(failed(if error.is_usage() { 2 } else { 1 }, source, &error.to_string()))
            } else {
                // It says where it is.
                staged.keep();
                Err(error.into())
            };
        }
        turn.send(!are_kept)?;
        staged.finish().context("an output cannot take its name")?;
        self.absent.reached();
        if self.verbose {
            print_line(&format!("  {}: {:.2} s", item.source, self.clock.now().since(begun).as_secs_f64()));
        }
        Ok(Outcome::Done)
    }
}

fn failed(exit_code: u8, source: &Path, message: &str) -> Outcome {
    // Which file it is is said beside it.
    let message = message.strip_prefix(&format!("{}: ", source.display())).unwrap_or(message);
    Outcome::Failed(Failure { exit_code, message: redact(message) })
}

impl Task {
    /// Outputs that take their names in the end: files; those of many files are written in their folders.
    fn staged(&mut self) -> Vec<&mut PathBuf> {
        let is_file = |(option, _): &(&str, &mut PathBuf)| !["--save-txt", "--crops"].contains(option);
        self.places().into_iter().filter(is_file).map(|(_, path)| path).collect()
    }
}
