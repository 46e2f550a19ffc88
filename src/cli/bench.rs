//! `streamdet bench`: the streaming test. The whole pipeline, with its resources and whether it runs in real time.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::measure::MeasureOptions;
use super::messages::{command_line_notice, print_error, print_line};
use super::options::{Invocation, RunOptions};
use super::run::Done;
use super::settings::Task;
use super::signals::Signals;
use crate::clock::{Clock, RealClock};
use crate::config::Kept;
use crate::part::write_whole;
use crate::pipeline::plan::{self, OutputRequest};
use crate::report::baseline::Baseline;
use crate::shutdown::Shutdown;
use crate::trials::capacity::{self, Sla};
use crate::trials::comparison::{self, Axis};
use crate::trials::process;
use crate::units::length;

const EXAMPLES: &str = "Examples:
  streamdet bench clip.mp4                            decode, detect; nothing is written
  streamdet bench clip.mp4 --imgsz 96 --frames 10 --save
  streamdet bench clip.mp4 --real-time --html run.html
  streamdet bench clip.mp4 --report now.json --baseline before.json --fail-above 5
  streamdet bench clip.mp4 --frames 200 --compare provider=cpu,openvino imgsz=320,640
  streamdet bench clip.mp4 --max-streams --sla p99=200ms --report capacity.json

REAL-TIME: for a file, yes if it was processed at least at its frame rate. With --real-time, frames arrive at the file's frame \
rate and the newest one wins: yes if at most 1 % of the frames were dropped (stale, queue_full), and 99 % were at most ten frame \
times (or half a second, if that is more) behind when they were handed to the output. \"no\" is not a failure.

--max-streams runs SOURCE several times beside itself, each at its own frame rate: the promise is kept if every stream drops at most 1 % of its \
frames, and frames are handed on in time. The number is searched by runs of ten seconds, and confirmed by a longer one; a shorter clip \
makes them shorter.

Measuring begins when the model is loaded; latencies exclude the first five frames (warm-up).

Exit codes: 0 done, whatever the verdict; 1 failed while running, or slower than --baseline allows; 2 unusable input or options; \
130, 143 interrupted.";

/// Options of `bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// Files, folders of images or video, globs, live sources
    #[arg(required_unless_present = "show_config", value_name = "SOURCE")]
    sources: Vec<OsString>,
    /// Draw, encode and save as well: a file, folder (`out/`) or pattern (`out/{stem}.mp4`) [default: `STEM-annotated.EXT`]
    #[arg(long, value_name = "OUT", num_args = 0..=1, default_missing_value = "", help_heading = "Output")]
    save: Option<OsString>,
    /// Replace existing outputs
    #[arg(long, help_heading = "Output")]
    overwrite: bool,
    /// Read files at their own frame rate, as a live source: the newest frame wins
    #[arg(long, help_heading = "Source")]
    real_time: bool,
    #[command(flatten)]
    run: RunOptions,
    /// Run every combination of these settings in turns: provider=cpu,openvino imgsz=320,640 batch=1,4
    #[arg(long, value_name = "SETTING=VALUES", num_args = 1.., value_parser = axis, conflicts_with_all = ["csv", "html", "trace", "KeepOptions"], help_heading = "Comparing")]
    compare: Vec<Axis>,
    /// Runs per combination
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Comparing")]
    rounds: u16,
    /// Compare with the report of an earlier run
    #[arg(long, value_name = "REPORT", conflicts_with = "compare", help_heading = "Comparing")]
    baseline: Option<PathBuf>,
    /// Exit with 1 if slower than the baseline by more than this, per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, value_parser = percent, help_heading = "Comparing")]
    fail_above: f32,
    /// Find how many streams like SOURCE this machine keeps up with, as --sla says
    #[arg(long, conflicts_with_all = ["compare", "save", "baseline", "frames", "csv", "html", "trace", "KeepOptions"], help_heading = "Capacity")]
    max_streams: bool,
    /// What keeping up means: a percentile (p50, p90, p99) of the time from when a frame is due until it is handed on
    #[arg(long, value_name = "pN=TIME", value_parser = clap::value_parser!(Sla), default_value_t, help_heading = "Capacity")]
    sla: Sla,
    /// Confirm the number by a run of this length
    #[arg(long, value_name = "LENGTH", value_parser = length, default_value = "60s", help_heading = "Capacity")]
    confirm: Duration,
    /// One run of several: its report goes here
    #[arg(long, hide = true)]
    into: Option<PathBuf>,
    /// So many streams, of the sources in turn
    #[arg(long, hide = true, requires = "into")]
    streams: Option<u16>,
    /// So many frames of each of them
    #[arg(long, hide = true, requires = "streams")]
    frames_each: Option<u64>,
    #[command(flatten)]
    invocation: Invocation,
}

/// Settings that decide how a run goes: only they can be compared.
fn comparable() -> Vec<String> {
    const OTHERS: [&str; 24] = [
        "save",
        "overwrite",
        "run-dir",
        "repeat",
        "compare",
        "max-streams",
        "sla",
        "confirm",
        "rounds",
        "baseline",
        "fail-above",
        "report",
        "csv",
        "html",
        "trace",
        "stats",
        "stats-format",
        "config",
        "show-config",
        "verbose",
        "log-format",
        "quiet",
        "onnxruntime",
        "help",
    ];
    let bench = BenchArgs::augment_args(clap::Command::new("bench"));
    let keys = bench.get_arguments().filter(|option| !option.is_hide_set()).filter_map(clap::Arg::get_long);
    keys.filter(|key| !OTHERS.contains(key)).map(str::to_owned).collect()
}

/// `SETTING=VALUE[,VALUE…]`.
fn axis(text: &str) -> Result<Axis, String> {
    comparison::axis(text, &comparable())
}

fn percent(text: &str) -> Result<f32, String> {
    text.parse::<f32>().ok().filter(|p| (0.0..=1e6).contains(p)).ok_or_else(|| "give a number, not below 0".into())
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &BenchArgs, kept: &Kept) -> u8 {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let signals = Signals::watch();
    let result = match &args.into {
        None if !args.compare.is_empty() || args.max_streams => {
            if args.run.tui {
                print_line("  notice: --tui shows one run, and many are made; printing lines instead");
            }
            if let Some(notice) = command_line_notice() {
                print_line(&format!("  notice: {notice}"));
            }
            several(args, &signals.shutdown)
        }
        _ => one_run(args, kept, &clock, &signals.shutdown),
    };
    signals.conclude(result)
}

/// Makes several runs; the report is of all of them.
fn several(args: &BenchArgs, shutdown: &Shutdown) -> anyhow::Result<u8> {
    let mut report = args.run.measure.report.clone();
    plan::prepare_files(report.iter_mut().map(|path| ("--report", path)).collect(), args.overwrite)?;
    let own: Vec<OsString> = std::env::args_os().collect();
    let found = if args.max_streams {
        capacity::find(&own, &args.sla, args.confirm, &print_line, shutdown)?
    } else {
        comparison::run(&own, (&args.compare, args.rounds), &print_line, shutdown)?
    };
    let Some((path, found)) = report.zip(found) else { return Ok(0) };
    let written = write_whole(&path, format!("{found:#}\n").as_bytes(), Some(shutdown));
    let written = written.map_err(|e| print_error(&format!("--report {}: {e}", path.display())));
    Ok(u8::from(written.is_err()))
}

fn one_run(args: &BenchArgs, kept: &Kept, clock: &Arc<dyn Clock>, shutdown: &Shutdown) -> anyhow::Result<u8> {
    args.invocation.start_logs()?;
    gstreamer::init()?;
    let mut options = args.run.clone();
    let (mut save, mut baseline) = (args.save.clone(), None);
    if let Some(into) = &args.into {
        let delay = options.measure.delay;
        options.tui = false;
        options.source.frames = args.frames_each.or(options.source.frames);
        process::end_with_parent()?;
        options.measure = MeasureOptions { report: Some(into.clone()), delay, ..MeasureOptions::default() };
        // What a comparison's runs save is deleted with their folder.
        save = save.map(|_| into.with_extension("saved").join("").into());
    } else if let Some(path) = &args.baseline {
        baseline = Some(Baseline::read(path)?);
    }
    let outputs = match save {
        None => vec!["none".into()],
        Some(default) if default.is_empty() => Vec::new(),
        Some(output) => vec![output],
    };
    let credentials = args.run.live.credentials();
    let overwrite = args.overwrite || args.into.is_some();
    let request = OutputRequest { outputs, overwrite, ..OutputRequest::default() };
    args.run.tracking.check(&args.sources)?;
    let copies = args.streams.map_or(args.sources.len(), usize::from);
    let sources: Vec<OsString> = args.sources.iter().cycle().take(copies).cloned().collect();
    let mut plan = plan::plan(&sources, credentials.as_ref(), &request)?;
    if args.streams.is_some() && plan.jobs.len() != copies {
        anyhow::bail!("--max-streams takes files and addresses, no folders and patterns\n  name one clip");
    }
    if args.real_time && plan.jobs.iter().any(|job| matches!(job.source, crate::pipeline::SourceSpec::Images(_))) {
        plan.notices.push("images have no time of their own: they come as fast as they can".into());
    }
    plan.notices.extend(command_line_notice().map(str::to_owned));
    let task = Task {
        command: "bench",
        plan,
        kept: kept.clone(),
        overwrite,
        real_time: args.real_time || args.streams.is_some(),
        thorough: true,
        ..Task::default()
    };
    let Done { report, screen, code } = options.run(&args.invocation, &task, clock, shutdown)?;
    let Some(baseline) = baseline.filter(|_| code == 0) else { return Ok(code) };
    let (text, held) = baseline.compare(&report, f64::from(args.fail_above));
    screen.line(&text);
    if !held {
        print_error(&format!("slower than {} by more than {} %", baseline.path.display(), args.fail_above));
    }
    Ok(u8::from(!held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for (wrong, word) in
            [("clip.mp4", "before --compare"), ("imgsize=1", "imgsz"), ("imgsz=", "no value"), ("csv=a", "csv")]
        {
            let refused = axis(wrong).expect_err("it is wrong");
            assert!(refused.contains(word), "{wrong}: {refused}");
        }
    }
}
