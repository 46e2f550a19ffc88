//! `streamdet work`: an archive that many machines share.

mod add;
mod engine;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use super::detect::DetectOptions;
use super::messages::{command_line_notice, or_unusable, print, print_error, print_line, told};
use super::signals::Signals;
use crate::archive::{self, Address, CACHE, Failure, Item, Keeper, Names, Queue, Remote, Shard, listed};
use crate::clock::{Clock, RealClock};
use crate::config::Layers;
use crate::shutdown::Shutdown;
use crate::source::prefer_decoder;
use crate::text::{counted, grouped, in_one_line};
use crate::units::{Bytes, length};
use add::AddArgs;
use engine::{Engine, check, file};

const EXAMPLES: &str = "Examples:
  streamdet work add nats://queue.example/archive /archive/2026 --conf 0.4 --track
  find /archive -name '*.mp4' | streamdet work add nats://queue.example/archive -
  streamdet work nats://queue.example/archive -o /annotated/ --json /annotated/
  streamdet work add nats://queue.example/archive s3://footage/2026/ https://host/clip.mp4
  streamdet work nats://queue.example/archive -o s3://annotated/ --json s3://annotated/ --cache-size 200GB
  streamdet work status nats://queue.example/archive
  streamdet work retry nats://queue.example/archive       those that failed, again
  streamdet work --manifest files.txt --shard 0/4 -o none --json out/
  sbatch --array=0-7 --wrap 'streamdet work --manifest files.txt -o out/'

A worker takes one file at a time, with its own options (flags, environment, config file) and those of `work add` (flags only) above them. Outputs take their names when all of a file's \
are whole; a file whose outputs are there is done, unless --overwrite is given. So a worker may be killed at any time: its file is taken by \
another one when the lease is over.

Names: -o, --json and the like take a folder (the file's own folders are made below it) or a pattern with {dir}, {name} and {stem}: \
--json 'out/{dir}/{name}.jsonl'. Without -o, the annotated video lies beside its source. Files are the same paths on every machine, \
s3://BUCKET/KEY (credentials as AWS' tools have them: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …) or https://HOST/PATH; those of the last two have no annotated video without -o.

Exit codes: 0 told to stop, or --until-empty and nothing is left; of --manifest, all is done. 1 this machine cannot go on (disk, detector), or \
files of --manifest failed; 2 unusable input or options; 130, 143 --manifest was interrupted.";

/// Options of `work`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct WorkArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// Queue to take files from: nats[s]://[USER:PASSWORD@]HOST[:PORT]/NAME [default: what `STREAMDET_QUEUE` says]
    #[arg(value_name = "QUEUE")]
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
    /// Where files of s3:// and http(s):// are while they are worked on [default: ~/.cache/streamdet/archive]
    #[arg(long, value_name = "FOLDER", help_heading = "Archive")]
    cache: Option<PathBuf>,
    /// What they may take there, all workers' together: 200GB, 1TB [default: 50GB]
    #[arg(long, value_name = "SIZE", help_heading = "Archive")]
    cache_size: Option<Bytes>,
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
    /// Queue: nats[s]://[USER:PASSWORD@]HOST[:PORT]/NAME [default: what `STREAMDET_QUEUE` says]
    queue: Option<Address>,
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

impl StatusArgs {
    fn run(&self) -> anyhow::Result<u8> {
        let (queue, ca) = (self.at.queue()?, self.at.publish_ca.as_deref());
        let (figures, failures) = archive::with_queue(&queue, ca, (None, true), async |queue: &Queue| {
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
    fn queue(&self) -> anyhow::Result<Address> {
        queue(self.queue.as_ref())
    }

    fn retry(&self) -> anyhow::Result<u8> {
        let ca = self.publish_ca.as_deref();
        let count = archive::with_queue(&self.queue()?, ca, (None, true), async |queue: &Queue| queue.retry().await)?;
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
        let keeper = match &list {
            None => Some(Keeper::open(queue(self.queue.as_ref())?, publish.ca(), self.lease)?),
            Some(_) => None,
        };
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
        let remote = Remote::new(self.cache.as_deref(), self.cache_size.unwrap_or(CACHE), shutdown);
        let engine = Engine::start(&self.options, (layers, self.attempts, remote), clock, shutdown)?;
        let say = |line: &str| {
            if !invocation.quiet {
                print_line(&format!("  {line}"));
            }
        };
        say(&format!("{} · {}", engine.origin.name, engine.service.provider().summary()));
        if let Some(notice) = command_line_notice() {
            say(&format!("notice: {notice}"));
        }
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
        say(&tally.to_string());
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

/// The queue that is given, else that of the environment, where other users do not see its password.
fn queue(given: Option<&Address>) -> anyhow::Result<Address> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let set = std::env::var_os("STREAMDET_QUEUE").filter(|set| !set.is_empty());
    let set = set.ok_or_else(|| anyhow!("no queue\n  give nats://HOST/NAME, or set STREAMDET_QUEUE"))?;
    let set = set.into_string().map_err(|_| anyhow!("STREAMDET_QUEUE is not UTF-8"))?;
    set.parse().context("STREAMDET_QUEUE")
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
            own.push(archive::whole(&name)?);
        }
    }
    Ok(own)
}
