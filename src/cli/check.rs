//! `streamdet check`: whether a configuration is right, before anything runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::detect::DetectArgs;
use super::launch::{self, files_of};
use super::messages::{print, print_error, told};
use super::serve::ServeArgs;
use super::settings::Task;
use crate::clock::{Clock, RealClock};
use crate::config::{ConfigError, Examined, StreamConfig, examine};
use crate::model::Origin;
use crate::pipeline::plan::{self, PlanError, check_distinct, survey, taken};
use crate::pipeline::{Finder, first_frames};
use crate::secrets::redact;
use crate::serve;
use crate::source::prefer_decoder;
use crate::text::counted;
use crate::ui::streams::{Row, table};

const EXAMPLES: &str = "Examples:
  streamdet check site.toml
  streamdet check site.toml --probe     opens every source as well, and waits for a frame of it
  streamdet check site.toml && systemctl restart streamdet

What is checked: every key and value of every table, the model, classes, lines and zones, certificates, that outputs can be written \
and no two are one file, and a token where --metrics or [serve] needs one. Nothing is written, served or sent.

Exit codes: 0 it is right; 2 it is not, each fault with its file and line.";

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Config file
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Open every source, and wait for its first frame
    #[arg(long)]
    probe: bool,
}

/// A stream, or what `detect` would do.
struct Planned<'a> {
    name: &'a str,
    place: &'a str,
    args: &'a DetectArgs,
    task: Task,
}

/// Runs the command; returns the exit code. `commands` is the command line.
#[must_use]
pub fn run(args: &CheckArgs, commands: clap::Command) -> u8 {
    let examined = match examine(commands, &args.config, &|name| std::env::var_os(name)) {
        Ok(examined) => examined,
        Err(ConfigError::Refused(faults)) => {
            for fault in &faults {
                print_error(fault);
            }
            return 2;
        }
        Err(usage) => {
            print_error(&usage);
            return 2;
        }
    };
    let faults = match look(args, &examined) {
        Ok((table, faults)) => {
            if faults.is_empty() {
                print(&table);
            }
            faults
        }
        Err(error) => vec![told(&error)],
    };
    for fault in &faults {
        print_error(fault);
    }
    if faults.is_empty() { 0 } else { 2 }
}

/// What would run, and what stands against it.
fn look(args: &CheckArgs, examined: &Examined<DetectArgs, ServeArgs>) -> anyhow::Result<(String, Vec<String>)> {
    gstreamer::init()?;
    let options = examined.detect.options();
    let (file, mut faults) = (args.config.display().to_string(), Vec::new());
    let at = |place: &str, error: &dyn std::fmt::Display| format!("{place}: {error}");
    let mut planned = Vec::new();
    let configured = examined.serve.as_ref().map(|serve| serve.configured(&examined.layers)).transpose();
    let configured = configured.unwrap_or_else(|error| {
        faults.push(told(&error));
        None
    });
    let configured = configured.unwrap_or_default();
    for stream in &configured {
        let StreamConfig { name, place, args, .. } = stream;
        match launch::task(stream) {
            Ok(task) => planned.push(Planned { name, place, args, task }),
            Err(error) => faults.push(at(place, &format!("{name}: {}", told(&error)))),
        }
    }
    if configured.is_empty() && examined.detect.has_sources() {
        match examined.detect.task() {
            Ok(task) => planned.push(Planned { name: "detect", place: &file, args: &examined.detect, task }),
            Err(error) => faults.push(at(&file, &format!("detect: {}", told(&error)))),
        }
    }
    // `serve` has an address of its own.
    if let Some(listen) = options.monitoring.listen().filter(|_| configured.is_empty()) {
        let needs = serve::check_token(&listen);
        faults.extend(needs.err().map(|error| at(&file, &error)));
    }
    faults.extend(prefer_decoder(options.live.decoder.as_deref()).err().map(|error| at(&file, &error)));
    let finder = match options.model.load() {
        Ok((runtime, model)) => Some(Finder::Model(Box::new(model), runtime)),
        Err(error) => {
            faults.push(at(&file, &told(&error)));
            None
        }
    };
    let origin = finder.as_ref().map(Finder::origin);
    let serve = examined.serve.as_ref().map(|serve| serve.unusable(origin.as_ref())).unwrap_or_default();
    faults.extend(serve.iter().map(|error| at(&file, &format!("[serve] {}", told(error)))));
    for Planned { name, place, args, task } in &planned {
        faults
            .extend(unusable(args, task, origin.as_ref()).map(|error| at(place, &format!("{name}: {}", told(&error)))));
    }
    let mut notices = outputs(&mut planned, &file, &mut faults);
    if args.probe {
        probe(&planned, &mut faults);
    }
    notices.extend(planned.iter().flat_map(|planned| planned.task.plan.notices.clone()));
    let rows: Vec<Row> = planned.iter().map(row).collect();
    let model = origin.map_or_else(String::new, |origin| {
        format!("{} · {}", origin.name, counted(origin.classes.len() as u64, "class"))
    });
    Ok((table(&file, &model, &rows, &notices), faults))
}

/// Why the settings of one cannot be used with the model.
fn unusable(args: &DetectArgs, task: &Task, origin: Option<&Origin>) -> Option<anyhow::Error> {
    if let Some(path) = &task.detections {
        let recorded = match crate::detector::Recorded::read(path, task.plan.jobs.len()) {
            Ok(recorded) => recorded,
            Err(error) => return Some(error.into()),
        };
        return args.options().settings(task, &recorded.origin(), false).err().map(Into::into);
    }
    match origin {
        Some(origin) => args.options().settings(task, origin, false).err().map(Into::into),
        // Without its model no class is known.
        None => args.options().counting.counting().err().map(Into::into),
    }
}

/// Looks at the outputs of all of them together; notices of what exists.
fn outputs(planned: &mut [Planned], file: &str, faults: &mut Vec<String>) -> Vec<String> {
    let (mut jobs, mut files, mut notices) = (Vec::new(), Vec::new(), Vec::new());
    for Planned { name, place, args, task } in planned {
        let own = files_of(task, args.options());
        let named: Vec<(&'static str, &Path)> = own.iter().map(|(option, path)| (*option, path.as_path())).collect();
        let (mut refused, exist) = survey(&task.plan.jobs, &named);
        let replaces = |path: &PathBuf| format!("{} exists, and is replaced (overwrite)", path.display());
        let beside = |path: &PathBuf| format!("{} exists: a file with the time in its name is written", path.display());
        if task.overwrite {
            notices.extend(exist.iter().map(replaces));
        } else if let Some(taken) = taken(&task.plan.jobs) {
            refused.push(taken);
        } else if task.goes_on() {
            notices.extend(exist.iter().map(beside));
        } else {
            refused.extend(exist.into_iter().map(|path| PlanError::Exists { option: "output", path }));
        }
        faults.extend(refused.iter().map(|error| format!("{place}: {name}: {error}")));
        jobs.extend(task.plan.jobs.iter().cloned());
        files.extend(own);
    }
    let files: Vec<(&'static str, &Path)> = files.iter().map(|(option, path)| (*option, path.as_path())).collect();
    faults.extend(check_distinct(&jobs, &files).err().map(|error| format!("{file}: {error}")));
    notices
}

/// Opens every source, and waits for a frame of it.
fn probe(planned: &[Planned], faults: &mut Vec<String>) {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    for Planned { name, place, args, task } in planned {
        // What is wrong with them is said already.
        let Ok(live) = args.options().live.options() else { continue };
        for job in &task.plan.jobs {
            let mut seen = 0;
            let opened = first_frames(&job.source, &live, 1, &clock, &mut |_| seen += 1);
            let silent = (seen == 0).then(|| format!("{}: no frame came out of it\n  check the source", job.name));
            let fault = opened.err().map(|error| error.to_string()).or(silent);
            faults.extend(fault.map(|fault| format!("{place}: {name}: {fault}")));
        }
    }
}

fn row(planned: &Planned) -> Row {
    let jobs = &planned.task.plan.jobs;
    let source = match jobs.as_slice() {
        [one] => one.name.clone(),
        several => counted(several.len() as u64, "source"),
    };
    let written = jobs.iter().flat_map(|job| plan::names(&job.output));
    let mut task = planned.task.clone();
    let published = planned.task.publish.iter().flat_map(|request| &request.targets).map(ToString::to_string);
    let lines = task.files().into_iter().map(|(option, path)| format!("{option} {}", path.display()));
    let outputs: Vec<String> = written.chain(published).chain(lines).map(|output| redact(&output)).collect();
    Row { name: planned.name.to_owned(), source: redact(&source), outputs }
}
