//! `streamdet profile`: where a model's time goes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;

use super::messages::told;
use super::options::{Invocation, ModelOptions};
use super::signals::Signals;
use crate::clock::{Clock, RealClock};
use crate::detector::{Detector, DetectorOptions};
use crate::geometry::Size;
use crate::inference::Runtime;
use crate::model::Model;
use crate::pipeline::plan::{self, OutputRequest};
use crate::pipeline::{Job, first_frames};
use crate::profile::{self, Profile, ProfileError, Request};
use crate::report::write_json;
use crate::secrets::redact;
use crate::shutdown::Shutdown;
use crate::source::LiveOptions;
use crate::tensor::{InputShape, InputTensor};

const EXAMPLES: &str = "Examples:
  streamdet profile                                    the built-in model on noise
  streamdet profile clip.mp4 --provider cpu            operator by operator, on the clip's first frames
  streamdet profile -m yolov8n.onnx --imgsz 384x640 --provider cpu --trace trace.json
  streamdet profile -m yolov8n.onnx --report - | jq .types

A trace opens in https://ui.perfetto.dev or chrome://tracing.

Exit codes: 0 done; 1 the model failed; 2 unusable input or options; 130, 143 interrupted.";

/// Tensors that runs take in turns.
const TENSORS: usize = 8;

/// Options of `profile`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ProfileArgs {
    /// File or folder whose first frames are the input [default: noise of --imgsz]
    #[arg(value_name = "SOURCE")]
    source: Option<String>,
    #[command(flatten)]
    model: ModelOptions,
    /// Runs that count
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Profile")]
    runs: u16,
    /// Rows a table, at most
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Profile")]
    top: u16,
    /// Keep ONNX Runtime's trace (Chrome's format)
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
        eprintln!("error: {}", redact(&told(&error)));
        code
    };
    match prepare_and_run(args, &signals.shutdown) {
        Ok(Ok(profile)) => match close(args, &profile) {
            Ok(()) => signals.exit_code(0),
            Err(error) => failed(error, 1),
        },
        Ok(Err(ProfileError::Interrupted)) => signals.exit_code(0),
        Ok(Err(error)) => failed(error.into(), 1),
        Err(error) => failed(error, 2),
    }
}

fn prepare_and_run(args: &ProfileArgs, shutdown: &Shutdown) -> anyhow::Result<Result<Profile, ProfileError>> {
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
    let input = match &job {
        Some(job) => frames(job, &runtime, &model, args.model.imgsz, batch, &clock)?,
        None => noise(&model, args.model.imgsz, batch),
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
        tensors: &input.tensors,
        input: input.name,
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
fn close(args: &ProfileArgs, profile: &Profile) -> anyhow::Result<()> {
    let to_stdout = args.report.as_ref().is_some_and(|path| path.as_os_str() == "-");
    if !args.invocation.quiet && !to_stdout {
        let text = profile::text(profile, usize::from(args.top));
        // A reader that left has seen enough.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    if let Some(path) = &args.report {
        write_json(profile, path).map_err(|e| anyhow!("--report {}: {e}", path.display()))?;
    }
    Ok(())
}

/// What the model is fed.
struct Input {
    tensors: Vec<InputTensor>,
    name: String,
}

/// The first frames of a source, letterboxed.
fn frames(
    job: &Job,
    runtime: &Runtime,
    model: &Model,
    imgsz: Option<Size>,
    batch: usize,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Input> {
    let imgsz = imgsz.unwrap_or(model.default_size);
    let mut detector = Detector::new(runtime, model, DetectorOptions { imgsz, ..DetectorOptions::of(model) });
    let mut size: Option<Size> = None;
    let mut packed: Vec<InputTensor> = Vec::new();
    let count = TENSORS.max(batch);
    first_frames(&job.source, &LiveOptions::default(), count as u64, clock, &mut |frame| {
        let view = frame.pixels.view();
        // All tensors are of one shape: that of the first frame.
        let size = *size.get_or_insert_with(|| detector.tensor_size(view.info.size));
        packed.push(detector.pack(&view, size));
    })?;
    if packed.is_empty() {
        return Err(anyhow!("{}: no frame came out of it\n  give another source, or none", job.name));
    }
    let frames = packed.len();
    let whole = (frames / batch).max(1);
    let tensors = (0..whole)
        .filter_map(|t| InputTensor::stacked((0..batch).map(|i| &packed[(t * batch + i) % frames])))
        .collect();
    let name = format!("{} of {}", crate::text::counted(frames.min(whole * batch) as u64, "frame"), job.name);
    Ok(Input { tensors, name })
}

/// One tensor of noise, in the model's range of values.
fn noise(model: &Model, imgsz: Option<Size>, batch: usize) -> Input {
    let imgsz = imgsz.unwrap_or(model.default_size);
    let shape = InputShape { batch, size: model.tensor_size(imgsz, imgsz) };
    let mut tensor = InputTensor::filled(shape, 0.0);
    let mut state = 1u32;
    let spec = &model.input;
    for mut slot in tensor.slots() {
        for ((plane, mean), std) in slot.planes().into_iter().zip(spec.mean).zip(spec.std) {
            for value in plane {
                // Numerical Recipes' linear congruential generator; its upper bits are the random ones.
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value = (f32::from(state.to_be_bytes()[0]) * spec.scale - mean) / std;
            }
        }
    }
    Input { tensors: vec![tensor], name: "noise".into() }
}
