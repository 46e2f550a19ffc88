//! `streamdet profile`: where a model's time goes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;

use super::messages::{print, print_error, told};
use super::options::{Invocation, ModelOptions};
use super::signals::Signals;
use crate::clock::{Clock, RealClock};
use crate::pipeline::first_frames;
use crate::pipeline::plan::{self, OutputRequest};
use crate::profile::{self, FrameInput, Input, Profile, ProfileError, Request};
use crate::report::write_json;
use crate::shutdown::Shutdown;
use crate::source::LiveOptions;

const EXAMPLES: &str = "Examples:
  streamdet profile                                    the built-in model on noise
  streamdet profile clip.mp4 --provider cpu            operator by operator, on the clip's first frames
  streamdet profile -m yolov8n.onnx --imgsz 384x640 --provider cpu --trace trace.json
  streamdet profile -m yolov8n.onnx --report - | jq .types

A trace opens in https://ui.perfetto.dev or chrome://tracing.

Exit codes: 0 done; 1 the model failed; 2 unusable input or options; 130, 143 interrupted.";

/// Options of `profile`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ProfileArgs {
    /// File or folder whose first frames are the input [default: noise of --imgsz]
    #[arg(value_name = "SOURCE")]
    source: Option<OsString>,
    #[command(flatten)]
    model: ModelOptions,
    /// Measured runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Profile")]
    runs: u16,
    /// Rows per table, at most
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Profile")]
    top: u16,
    /// Keep ONNX Runtime's trace (Chrome trace format)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    trace: Option<PathBuf>,
    /// The profile as JSON, with every node; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,
    #[command(flatten)]
    invocation: Invocation,
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &ProfileArgs) -> u8 {
    let signals = Signals::watch();
    let failed = |error: anyhow::Error, code| {
        print_error(&told(&error));
        code
    };
    match prepare_and_run(args, &signals.shutdown) {
        Ok(Ok(profile)) => match close(args, &profile, &signals.shutdown) {
            Ok(()) => signals.exit_code(0),
            Err(error) => failed(error, 1),
        },
        Ok(Err(ProfileError::Interrupted)) => signals.exit_code(0),
        Ok(Err(error)) => failed(error.into(), 1),
        Err(error) => failed(error, 2),
    }
}

fn prepare_and_run(args: &ProfileArgs, shutdown: &Shutdown) -> anyhow::Result<Result<Profile, ProfileError>> {
    args.invocation.start_logs()?;
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let job = match &args.source {
        Some(source) => {
            gstreamer::init()?;
            plan::plan(std::slice::from_ref(source), None, &OutputRequest::none())?.jobs.into_iter().next()
        }
        None => None,
    };
    let (runtime, model) = args.model.load()?;
    let batch = model.batch.unwrap_or(usize::from(args.model.batch));
    let imgsz = args.model.imgsz.unwrap_or(model.default_size);
    let input = match &job {
        Some(job) => {
            let mut frames = FrameInput::new(&runtime, &model, imgsz, batch);
            let count = frames.wanted();
            first_frames(&job.source, &LiveOptions::default(), count, &clock, &mut |frame| frames.add(frame))?;
            frames
                .finish(&job.name)
                .ok_or_else(|| anyhow!("{}: no frame came out of it\n  give another source, or none", job.name))?
        }
        None => Input::noise(&model, imgsz, batch),
    };
    // Beside the file that is to be kept, so that it only has to be renamed.
    let beside = args.trace.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    let beside = beside.map(Path::to_owned).or_else(|| args.trace.as_ref().map(|_| PathBuf::from(".")));
    let beside = beside.unwrap_or_else(std::env::temp_dir);
    let scratch = tempfile::Builder::new().prefix(".streamdet-profile-").tempdir_in(&beside);
    let scratch = scratch.map_err(|e| anyhow!("{}: {e}\n  choose a folder that can be written", beside.display()))?;
    let request = Request {
        runtime: &runtime,
        model: &model,
        provider: args.model.provider_options(),
        input,
        runs: usize::from(args.runs),
        scratch: scratch.path().to_owned(),
    };
    let profile = profile::profile(&request, &clock, &|| shutdown.is_requested());
    if let (Ok(profile), Some(kept)) = (&profile, &args.trace) {
        std::fs::rename(&profile.trace, kept).map_err(|e| anyhow!("--trace {}: {e}", kept.display()))?;
    }
    Ok(profile)
}

/// Says what was found.
fn close(args: &ProfileArgs, profile: &Profile, shutdown: &Shutdown) -> anyhow::Result<()> {
    let to_stdout = args.report.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if !args.invocation.quiet && !to_stdout {
        print(&profile::text(profile, usize::from(args.top)));
    }
    if let Some(path) = &args.report {
        write_json(profile, path, shutdown).map_err(|e| anyhow!("--report {}: {e}", path.display()))?;
    }
    Ok(())
}
