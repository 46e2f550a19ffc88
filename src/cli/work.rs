//! `streamdet work`: an archive that many machines share.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use super::detect::{DetectArgs, DetectOptions};
use super::messages::{command_line_notice, or_unusable, print, print_error, print_line, told};
use super::options::Invocation;
use super::run::Ready;
use super::settings::Task;
use super::signals::Signals;
use crate::archive::{
    self, Added, Address, Failure, Item, Keeper, Names, Outcome, Queue, Shard, Staged, Tally, listed, walked,
};
use crate::clock::{Clock, Deadline, RealClock};
use crate::config::{Layers, stream_from};
use crate::detector::{DetectorOptions, Recorded, RecordedError, Service, Wanted};
use crate::model::Origin;
use crate::pipeline::{self, EventLog, Finder, RunError, SourceSpec, plan};
use crate::secrets::redact;
use crate::shutdown::Shutdown;
use crate::source::prefer_decoder;
use crate::text::{counted, grouped, in_one_line};
use crate::units::length;

const EXAMPLES: &str = "Examples:
  streamdet work add nats://queue.example/archive /archive/2026 --conf 0.4 --track
  find /archive -name '*.mp4' | streamdet work add nats://queue.example/archive -
  streamdet work nats://queue.example/archive -o /annotated/ --json /annotated/
  streamdet work status nats://queue.example/archive
  streamdet work retry nats://queue.example/archive       those that failed, again
  streamdet work --manifest files.txt --shard 0/4 -o none --json out/
  sbatch --array=0-7 --wrap 'streamdet work --manifest files.txt -o out/'

A worker takes one file at a time, with its own options (flags, environment, config file) and those of `work add` (flags only) above them. Outputs take their names when all of a file's \
are whole; a file whose outputs are there is done, unless --overwrite is given. So a worker may be killed at any time: its file is taken by \
another one when the lease is over.

Names: -o, --json and the like take a folder (the file's own folders are made below it) or a pattern with {dir}, {name} and {stem}: \
--json 'out/{dir}/{name}.jsonl'. Without -o, the annotated video lies beside its source. Files are the same paths on every machine.

Exit codes: 0 told to stop, or --until-empty and nothing is left; of --manifest, all is done. 1 this machine cannot go on (disk, detector), or \
files of --manifest failed; 2 unusable input or options; 130, 143 --manifest was interrupted.";

/// Options of `work`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct WorkArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// Queue to take files from: nats[s]://[USER:PASSWORD@]HOST[:PORT]/NAME
    #[arg(value_name = "QUEUE", required_unless_present_any = ["manifest", "show_config"])]
    queue: Option<Address>,
    /// End when no file waits and none is worked on
    #[arg(long, help_heading = "Archive")]
    until_empty: bool,
    /// Take a file so often; one that was begun so often and never finished counts as failed
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000), help_heading = "Archive")]
    attempts: u64,
    /// Of a new queue: a file is another worker's when nothing was heard of its own for so long: 10s, 1m [default: 30s]
    #[arg(long, value_name = "LENGTH", value_parser = length, help_heading = "Archive")]
    lease: Option<Duration>,
    /// Take files from a list instead, one name a line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["queue", "until_empty", "attempts", "lease"], help_heading = "Archive")]
    manifest: Option<PathBuf>,
    /// Of the list, share I of N, from 0; N alone under a scheduler that says which [default: as `JOB_COMPLETION_INDEX` or
    /// `SLURM_ARRAY_TASK_ID` and `SLURM_ARRAY_TASK_COUNT` say, else all]
    #[arg(long, value_name = "I/N", requires = "manifest", value_parser = clap::value_parser!(Shard), help_heading = "Archive")]
    shard: Option<Shard>,
    #[command(flatten)]
    options: DetectOptions,
}

/// What else is done with a queue.
#[derive(Debug, Subcommand)]
enum Action {
    /// Add files to a queue, with options of `streamdet detect` for them
    Add(Box<AddArgs>),
    /// How far a queue is, and what failed
    Status(StatusArgs),
    /// Put files that failed into the queue again
    Retry(QueueArgs),
}

/// A queue.
#[derive(Debug, Args)]
struct QueueArgs {
    /// Queue: nats[s]://[USER:PASSWORD@]HOST[:PORT]/NAME
    queue: Address,
    /// CA certificates to trust for natss://, a PEM file [default: the system's]
    #[arg(long, value_name = "FILE")]
    publish_ca: Option<PathBuf>,
}

/// Options of `work status`.
#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    at: QueueArgs,
    /// As JSON on standard output
    #[arg(long)]
    json: bool,
    /// Name so many files that failed
    #[arg(long, value_name = "N", default_value_t = 10)]
    failed: usize,
}

/// Options of `work add`.
#[derive(Debug, Args)]
struct AddArgs {
    /// Queue: nats[s]://[USER:PASSWORD@]HOST[:PORT]/NAME
    queue: Address,
    /// Files, folders with all that is below them, globs; `-` reads names from standard input, one a line
    #[arg(required = true, value_name = "FILE")]
    files: Vec<OsString>,
    /// Of a new queue: a file is another worker's when nothing was heard of its own for so long: 10s, 1m [default: 30s]
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    lease: Option<Duration>,
    #[command(flatten)]
    options: DetectOptions,
}

/// Between two lines that say how far it is.
const SAID: Duration = Duration::from_secs(10);
/// How often a file is taken by machines that lack its folder before it fails; how many such files a machine meets in a row before it ends, since
/// it is the machine; how long the file is left to others.
const ELSEWHERE: u64 = 5;
const IN_A_ROW: u32 = 3;
const MISSING: Duration = Duration::from_secs(2);
/// The longest name that `NAME.part` has room for.
const LONGEST: usize = 255 - ".part".len();
/// How long a file is left alone that another worker is at.
const BUSY: Duration = Duration::from_secs(10);

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &WorkArgs, layers: &Layers) -> u8 {
    match &args.action {
        Some(Action::Add(add)) => or_unusable(add.run(layers)),
        Some(Action::Status(status)) => or_unusable(status.run()),
        Some(Action::Retry(at)) => or_unusable(at.retry()),
        None => {
            // Before signals are watched: who is waited for may never come.
            let list = args.list().map_err(Box::new);
            let signals = Signals::watch();
            let result = list.map_err(|error| *error).and_then(|list| args.run(layers, list, &signals.shutdown));
            // Being told to stop is a worker's normal end; a share of a list is not done then.
            if args.manifest.is_some() { signals.conclude(result) } else { signals.stopped(result) }
        }
    }
}

impl AddArgs {
    fn run(&self, layers: &Layers) -> anyhow::Result<u8> {
        check(&self.options)?;
        if let Some(option) = layers.of_the_process() {
            anyhow::bail!("--{option}: files of all kinds share a worker's process\n  give it to the workers");
        }
        let Invocation { config, show_config, .. } = &self.options.invocation;
        if config.is_some() || *show_config {
            return Err(anyhow!(
                "a queue's files have options of the command line only\n  leave --config out, or give it to the workers"
            ));
        }
        let Ok(mut options) = layers.table() else {
            return Err(anyhow!(
                "a password on the command line: a queue holds no secrets\n  give it to the workers, in the environment or the config file"
            ));
        };
        make_absolute(&mut options);
        // What is wrong with the options is said here, and not by every worker for every file.
        let example = file(layers, &Item { source: "/archive/clip.mp4".into(), options: options.clone() }, "work add")?;
        example.named(&Names::of(Path::new("/archive/clip.mp4")))?;
        let (mut left_out, mut next) = (0, Deadline::after(SAID));
        let sources = self.files.iter().flat_map(|name| sources(name));
        let items = sources.filter_map(|source| match source.and_then(|source| absolute(&source)) {
            Ok(source) => Some(Item { source, options: options.clone() }),
            Err(fault) => {
                print_error(&told(&fault));
                left_out += 1;
                None
            }
        });
        let say = |Added { new, known }: Added| {
            if next.is_over() {
                next = Deadline::after(SAID);
                print_line(&format!("  {} added", counted(new + known, "file")));
            }
        };
        let added = archive::with_queue(&self.queue, self.options.publish.ca(), (self.lease, false), async |queue| {
            queue.add(items, say).await
        })?;
        let known = match added.known {
            0 => String::new(),
            known => format!("; {} had been added a moment ago", grouped(known)),
        };
        print_line(&format!("  {} added to {}{known}", counted(added.new, "file"), self.queue));
        if left_out > 0 {
            return Err(anyhow!("{} left out, as said above; the others are in the queue", counted(left_out, "name")));
        }
        if added == Added::default() {
            return Err(anyhow!("no video or image among what was named\n  name files, or folders with some"));
        }
        Ok(0)
    }
}

/// Options that name files and folders.
const PATHS: [&str; 9] =
    ["output", "json", "mot-output", "events-csv", "heatmap", "save-txt", "crops", "detections", "zones"];

/// Workers have other working folders.
fn make_absolute(options: &mut toml::Table) {
    for (_, value) in options.iter_mut().filter(|(key, _)| PATHS.contains(&key.as_str())) {
        let texts = match value {
            toml::Value::Array(several) => several.iter_mut().collect(),
            one => vec![one],
        };
        for text in texts {
            if let toml::Value::String(text) = text
                && text != "none"
                && let Ok(path) = std::path::absolute(&*text)
            {
                *text = path.to_string_lossy().into_owned();
            }
        }
    }
}

/// What a name stands for: a file, all media below a folder, what a glob matches, lines of standard input.
fn sources(name: &OsString) -> Box<dyn Iterator<Item = anyhow::Result<PathBuf>> + '_> {
    let path = Path::new(name);
    if name == "-" {
        let lines = listed(BufReader::new(std::io::stdin()));
        return Box::new(lines.map(|line| line.context("standard input")));
    }
    if path.is_dir() {
        return Box::new(walked(path, |path| plan::is_media(path) && !is_annotated(path)).map(Ok));
    }
    if path.exists() {
        return Box::new(std::iter::once(Ok(path.to_owned())));
    }
    let found =
        name.to_str().filter(|name| name.contains(['*', '?', '['])).and_then(|pattern| glob::glob(pattern).ok());
    let found: Vec<PathBuf> = found.into_iter().flatten().filter_map(Result::ok).collect();
    match found.len() {
        1.. => Box::new(found.into_iter().map(Ok)),
        0 => Box::new(std::iter::once(Err(anyhow!(
            "{}: no such file\n  check the path",
            redact(&path.display().to_string())
        )))),
    }
}

/// Whether it is what a worker has written beside its source.
fn is_annotated(path: &Path) -> bool {
    let source = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.strip_suffix("-annotated"));
    source.is_some_and(|source| path.with_file_name(source).is_file())
}

/// A path that means the same on another machine.
fn absolute(path: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path).with_context(|| path.display().to_string())?;
    let text = absolute.to_str().ok_or_else(|| anyhow!("{}: a name that is not UTF-8\n  rename it", path.display()))?;
    Ok(text.to_owned())
}

impl StatusArgs {
    fn run(&self) -> anyhow::Result<u8> {
        let QueueArgs { queue, publish_ca } = &self.at;
        let (figures, failures) =
            archive::with_queue(queue, publish_ca.as_deref(), (None, true), async |queue: &Queue| {
                Ok((queue.figures().await?, queue.failures(self.failed).await?))
            })?;
        let failures: Vec<_> = failures.into_iter().map(|(_, buried)| buried).collect();
        if self.json {
            print(&format!("{}\n", serde_json::json!({"figures": figures, "failures": failures})));
            return Ok(0);
        }
        print_line(&format!("  {queue}: {figures}"));
        for buried in &failures {
            let Failure { exit_code, message } = &buried.failure;
            let attempts = counted(buried.attempts, "attempt");
            print_line(&format!(
                "    {} ({attempts}, exit code {exit_code}): {}",
                buried.source(),
                in_one_line(message)
            ));
        }
        let more = figures.failed.saturating_sub(failures.len() as u64);
        if more > 0 {
            print_line(&format!("    and {} more; --failed {} names them all", grouped(more), figures.failed));
        }
        Ok(0)
    }
}

impl QueueArgs {
    fn retry(&self) -> anyhow::Result<u8> {
        let ca = self.publish_ca.as_deref();
        let count = archive::with_queue(&self.queue, ca, (None, true), async |queue: &Queue| queue.retry().await)?;
        print_line(&format!("  {} in the queue again", counted(count, "file")));
        Ok(0)
    }
}

impl WorkArgs {
    /// The files of `--manifest` that are this machine's.
    fn list(&self) -> anyhow::Result<Option<Vec<String>>> {
        let Some(path) = &self.manifest else { return Ok(None) };
        let shard = Shard::resolve(self.shard, &|name| std::env::var(name).ok())?;
        read(path, shard).map(Some)
    }

    fn run(&self, layers: &Layers, list: Option<Vec<String>>, shutdown: &Shutdown) -> anyhow::Result<u8> {
        let DetectOptions { run, invocation, publish, .. } = &self.options;
        invocation.start_logs()?;
        gstreamer::init()?;
        check(&self.options)?;
        let layers = layers.whole();
        // Before a model is loaded for it.
        let example = file(&layers, &Item { source: "/archive/clip.mp4".into(), options: toml::Table::new() }, "work")?;
        example.named(&Names::of(Path::new("/archive/clip.mp4")))?;
        prefer_decoder(run.live.decoder.as_deref())?;
        let keeper = match &self.queue {
            Some(queue) if list.is_none() => Some(Keeper::open(queue.clone(), publish.ca(), self.lease)?),
            _ => None,
        };
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
        let engine = Engine::start(&self.options, (layers, self.attempts), clock, shutdown)?;
        print_line(&format!("  {} · {}", engine.origin.name, engine.service.provider().summary()));
        command_line_notice().into_iter().for_each(|notice| print_line(&format!("  notice: {notice}")));
        let say = |line: &str| {
            if !invocation.quiet {
                print_line(&format!("  {line}"));
            }
        };
        let (tally, ended) = match (keeper, list) {
            (Some(keeper), _) => {
                let worked = archive::work(
                    &keeper,
                    self.until_empty,
                    &mut |item, taken| engine.job(item, Some(taken)),
                    &say,
                    shutdown,
                );
                if let Err(panicked) = keeper.close() {
                    print_error(&panicked);
                }
                worked
            }
            (None, list) => engine.all(&list.unwrap_or_default(), &say),
        };
        print_line(&format!("  {tally}"));
        engine.close();
        match ended {
            Some(broken) => {
                print_error(&told(&broken));
                Ok(1)
            }
            // What is left then is not done, whatever failed before.
            None if shutdown.is_requested() => Ok(0),
            None => Ok(u8::from(self.manifest.is_some() && tally.failed + tally.left > 0)),
        }
    }
}

/// Refuses what means nothing for an archive.
fn check(options: &DetectOptions) -> anyhow::Result<()> {
    match options.not_of_an_archive() {
        Some(option) => Err(anyhow!("{option} means nothing for an archive\n  leave it out")),
        None => Ok(()),
    }
}

/// The names of a list that are this machine's.
fn read(path: &Path, shard: Shard) -> anyhow::Result<Vec<String>> {
    let input: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let file = std::fs::File::open(path);
        let file = file.map_err(|error| anyhow!("--manifest {}: {error}\n  give a list of files", path.display()))?;
        Box::new(BufReader::new(file))
    };
    let mut own = Vec::new();
    for (line, name) in listed(input).enumerate() {
        let name = name.with_context(|| format!("--manifest {}", path.display()))?;
        if shard.has(line) {
            // One that is not UTF-8 is not found, and counts as failed.
            own.push(std::path::absolute(&name)?.to_string_lossy().into_owned());
        }
    }
    Ok(own)
}

/// What is done with a file: everything that was chosen, as `streamdet detect` has it.
fn file(layers: &Layers, item: &Item, place: &str) -> anyhow::Result<DetectArgs> {
    let mut own = item.options.clone();
    own.insert("source".into(), item.source.clone().into());
    Ok(stream_from::<DetectArgs>(layers, "file", &own, place)?.args)
}

/// The detector that all files share.
struct Engine {
    layers: Layers,
    service: Arc<Service>,
    origin: Origin,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    verbose: bool,
    attempts: u64,
    /// Files in a row whose folders are not there.
    missing: Cell<u32>,
}

impl Engine {
    fn start(
        options: &DetectOptions,
        (layers, attempts): (Layers, u64),
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let run = &options.run;
        let (runtime, model) = run.model.load()?;
        let origin = Origin::from(&model);
        let wanted = Wanted {
            imgsz: run.model.imgsz.unwrap_or(origin.default_size),
            thresholds: run.detections.thresholds(&origin)?,
            tiling: run.tiling.tile,
            target_latency: run.tiling.target_latency.map(Duration::from_millis),
        };
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
            missing: Cell::new(0),
        })
    }

    fn close(self) {
        if let Some(Err(panicked)) = Arc::into_inner(self.service).map(Service::close) {
            print_error(&panicked);
        }
    }

    /// Does all files of a list.
    fn all(&self, list: &[String], say: &dyn Fn(&str)) -> (Tally, Option<anyhow::Error>) {
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
                    say(&format!("{source}: another worker is at it; passed over"))
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

    /// What finds objects in its frames.
    fn finder(&self, task: &Task) -> Result<Finder, RecordedError> {
        Ok(match &task.detections {
            Some(path) => Finder::File(Arc::new(Recorded::read(path, 1)?)),
            None => Finder::Service(self.service.clone(), Box::new(self.origin.clone())),
        })
    }

    /// A file's folder is not there. It may be another machine's, of which some are given the time to take it; else it was deleted.
    fn missing(&self, source: &Path, folder: &Path, taken: Option<u64>) -> anyhow::Result<Outcome> {
        self.missing.set(self.missing.get() + 1);
        let problem = format!("{}: no such folder on this machine", folder.display());
        if taken.is_none_or(|taken| taken > ELSEWHERE) {
            return Ok(failed(2, source, &problem));
        }
        if self.missing.get() >= IN_A_ROW {
            anyhow::bail!("{problem}, {IN_A_ROW} times in a row\n  is its file system mounted?");
        }
        Ok(Outcome::Left(MISSING))
    }

    /// Does a file that was `taken` so often. What keeps this machine from doing any is an error.
    fn job(&self, item: &Item, taken: Option<u64>) -> anyhow::Result<Outcome> {
        let source = Path::new(&item.source);
        if !source.is_absolute() {
            return Ok(failed(2, source, "give an absolute path, as `streamdet work add` does"));
        }
        if let Some(folder) = source.parent().filter(|folder| !folder.is_dir()) {
            return self.missing(source, folder, taken);
        }
        self.missing.set(0);
        if !source.is_file() {
            let problem = if source.is_dir() { "a folder: add the files in it" } else { "no such file" };
            return Ok(failed(2, source, problem));
        }
        let prepared = file(&self.layers, item, "a file's options").and_then(|args| {
            let args = args.named(&Names::of(source))?;
            check(args.all())?;
            Ok((args.task()?, args))
        });
        let (mut task, args) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(failed(2, source, &told(&error))),
        };
        // An .sdp file is one.
        if task.plan.jobs.iter().any(|job| matches!(job.source, SourceSpec::Live(_))) {
            return Ok(failed(2, source, "a live source: an archive has recorded files"));
        }
        let places: Vec<PathBuf> = task.staged().into_iter().map(|place| place.clone()).collect();
        if places.is_empty() && task.save_txt.is_none() && task.crops.is_none() && task.publish.is_none() {
            return Ok(failed(2, source, "nothing would be written of it\n  give -o, --json or another output"));
        }
        if let Some(problem) = places.iter().find_map(|place| unusable(place)) {
            return Ok(failed(2, source, &problem));
        }
        let (there, lacking): (Vec<_>, Vec<_>) = places.iter().partition(|place| place.symlink_metadata().is_ok());
        let is_kept = !there.is_empty() && !task.overwrite;
        if is_kept && lacking.is_empty() {
            return Ok(Outcome::There);
        }
        let (run, finder) = (args.options(), self.finder(&task));
        let finder = match finder {
            Ok(finder) => finder,
            Err(error) => return Ok(failed(2, source, &error.to_string())),
        };
        let origin = finder.origin();
        let settings = match run.settings(&task, &origin, false) {
            Ok(settings) => settings,
            Err(error) => return Ok(failed(2, source, &error.to_string())),
        };
        let staged = match Staged::begin(&item.id(), task.staged()) {
            Ok(staged) => staged,
            Err(error) if error.kind() == ErrorKind::ResourceBusy => return Ok(Outcome::Left(BUSY)),
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
        if let Some((first, other)) = there.first().zip(lacking.first()).filter(|_| is_kept) {
            let (first, other) = (first.display(), other.display());
            return Ok(failed(
                2,
                source,
                &format!("{first} exists already, and {other} does not\n  give --overwrite, or another name"),
            ));
        }
        task.overwrite = true;
        let mut staged = staged;
        let claimed = run.claim(&task, &mut HashSet::new())?;
        let Ready { settings, detections, .. } = claimed.open(settings, &origin, &self.shutdown)?;
        let begun = self.clock.now();
        let listeners: Arc<dyn pipeline::Listener> = Arc::new(EventLog);
        let outcome = pipeline::run(settings, &finder, self.clock.clone(), listeners, detections, &self.shutdown);
        if self.shutdown.is_requested() {
            return Ok(Outcome::Left(Duration::ZERO));
        }
        if let Some(error) = outcome.errors.into_iter().next() {
            return if is_of_the_file(&error) {
                Ok(failed(if error.is_usage() { 2 } else { 1 }, source, &error.to_string()))
            } else {
                // It says where it is.
                staged.keep();
                Err(error.into())
            };
        }
        staged.finish().context("an output cannot take its name")?;
        if self.verbose {
            print_line(&format!("  {}: {:.2} s", item.source, self.clock.now().since(begun).as_secs_f64()));
        }
        Ok(Outcome::Done)
    }
}

/// Whether it is the file that failed, and not the machine.
fn is_of_the_file(error: &RunError) -> bool {
    !matches!(
        error,
        RunError::Sink(_)
            | RunError::Detect(_)
            | RunError::Service(_)
            | RunError::Detections(_)
            | RunError::Stalled { .. }
    )
}

fn failed(exit_code: u8, source: &Path, message: &str) -> Outcome {
    // Which file it is is said beside it.
    let message = message.strip_prefix(&format!("{}: ", source.display())).unwrap_or(message);
    Outcome::Failed(Failure { exit_code, message: redact(message) })
}

/// Why a file cannot be written under a name, which no machine changes.
fn unusable(place: &Path) -> Option<String> {
    let shown = place.display();
    if place.is_dir() {
        return Some(format!("{shown} is a folder\n  choose another name"));
    }
    let length = place.file_name().map_or(0, OsStr::len);
    (length > LONGEST)
        .then(|| format!("{shown}: a name of {length} bytes; {LONGEST} are possible\n  choose a shorter one"))
}

impl Task {
    /// Outputs that take their names in the end: files; those of many files are written in their folders.
    fn staged(&mut self) -> Vec<&mut PathBuf> {
        let is_file = |(option, _): &(&str, &mut PathBuf)| !["--save-txt", "--crops"].contains(option);
        self.places().into_iter().filter(is_file).map(|(_, path)| path).collect()
    }
}
