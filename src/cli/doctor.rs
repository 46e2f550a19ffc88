//! `streamdet doctor`: what works on this machine, each with its remedy.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::messages::{print, print_error};
use crate::doctor::{self, State};
use crate::report::Machine;
use crate::source::cameras::{Camera, Mode, cameras};
use crate::ui::doctor::{cameras_table, table};

const EXAMPLES: &str = "Examples:
  streamdet doctor
  streamdet doctor --cameras
  streamdet doctor --json | jq -r '.checks[] | select(.state == \"missing\") | .remedy'

It ends with 1 where something is missing that every run needs: a decoder for H.264, an encoder, ONNX Runtime, or a provider \
that runs the built-in model.";

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Only the cameras, with every format, size and rate
    #[arg(long)]
    cameras: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// ONNX Runtime library, or the folder that holds it
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &DoctorArgs) -> u8 {
    if let Err(e) = gstreamer::init() {
        print_error(&format!(
            "GStreamer does not start: {e}\n  run `make setup`, or install what scripts/packages-run.txt lists"
        ));
        return 1;
    }
    let cameras = cameras();
    if args.cameras {
        print(&if args.json { cameras_json(&cameras) } else { cameras_table(&cameras) });
        return 0;
    }
    let checks = doctor::all(args.onnxruntime.as_deref(), &cameras);
    let machine = Machine::read();
    if args.json {
        print(&format!("{:#}\n", json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "checks": checks})));
    } else {
        print(&table(&machine, &checks));
    }
    u8::from(checks.iter().any(|check| check.essential && check.state == State::Missing))
}

fn cameras_json(cameras: &[Camera]) -> String {
    let rows: Vec<_> = cameras
        .iter()
        .enumerate()
        .map(|(number, camera)| {
            let mode = |mode: &Mode| json!({"format": mode.format, "width": mode.size.0, "height": mode.size.1, "fps": mode.rates});
            json!({
                "source": format!("camera:{number}"),
                "name": camera.name,
                "node": camera.node,
                "modes": camera.modes.iter().map(mode).collect::<Vec<_>>(),
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::Array(rows))
}
