//! `streamdet doctor`: what works on this machine, each with its remedy.

mod checks;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;

use clap::Args;
use console::{Style, Term, truncate_str};
use serde_json::json;

use crate::report::Machine;
use crate::secrets::redact;
use crate::source::cameras::{Camera, cameras};
use crate::text::printable;

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
    /// The same as JSON
    #[arg(long)]
    json: bool,
    /// ONNX Runtime's library or its folder
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Not there; what needs it does not work.
    Missing,
    /// There is none, and nothing is wrong with that.
    None,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::None => "none",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, serde::Serialize)]
struct Check {
    /// What it belongs to: `decode`.
    group: &'static str,
    name: String,
    state: State,
    /// What was found, or why there is nothing.
    detail: String,
    /// What to do.
    remedy: Option<String>,
    /// Whether every run needs it.
    essential: bool,
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &DoctorArgs) -> u8 {
    if let Err(e) = gstreamer::init() {
        eprintln!(
            "error: GStreamer does not start: {e}\n  run `make setup`, or install what scripts/packages.txt lists"
        );
        return 1;
    }
    let cameras = cameras();
    if args.cameras {
        print(&if args.json { cameras_json(&cameras) } else { cameras_table(&cameras) });
        return 0;
    }
    let checks = checks::all(args.onnxruntime.as_deref(), &cameras);
    let machine = Machine::read();
    if args.json {
        print(&format!("{:#}\n", json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "checks": checks})));
    } else {
        print(&table(&machine, &checks));
    }
    u8::from(checks.iter().any(|check| check.essential && check.state == State::Missing))
}

/// What was asked for, on standard output.
fn print(text: &str) {
    // A reader that left has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn table(machine: &Machine, checks: &[Check]) -> String {
    let colours = std::io::stdout().is_terminal() && console::colors_enabled();
    let shown = |text: &str, how: Style| {
        if colours { how.force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    };
    // On a terminal a line is cut rather than wrapped; in a file it is whole.
    let width = std::io::stdout().is_terminal().then(|| usize::from(Term::stdout().size().1));
    let memory = machine.memory_bytes / 1_000_000_000;
    let mut text = format!(
        "streamdet {} on {}, {} cores, {memory} GB, GStreamer {}\n",
        env!("CARGO_PKG_VERSION"),
        printable(&machine.cpu),
        machine.cores,
        checks::gstreamer_version(),
    );
    let name_width = checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let mut group = "";
    for check in checks {
        if check.group != group {
            group = check.group;
            let _ = writeln!(text, "\n  {}", shown(group, Style::new().bold()));
        }
        let how = match check.state {
            State::Ok => Style::new().green(),
            State::Missing if check.essential => Style::new().red(),
            State::Missing => Style::new().yellow(),
            State::None => Style::new().dim(),
        };
        let state = shown(&format!("{:<7}", check.state.name()), how);
        let gap = " ".repeat(name_width - check.name.chars().count());
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(name_width + 15));
        let detail = redact(&printable(&check.detail));
        let detail = truncate_str(&detail, room, "…");
        text += format!("    {}{gap}  {state}  {detail}", check.name).trim_end();
        text.push('\n');
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "    {}           {remedy}", " ".repeat(name_width));
        }
    }
    let lacking: Vec<&str> =
        checks.iter().filter(|c| c.essential && c.state == State::Missing).map(|c| c.name.as_str()).collect();
    let _ = match lacking.as_slice() {
        [] => writeln!(text, "\n  everything that a run needs is here"),
        _ => writeln!(text, "\n  nothing runs without {}", lacking.join(", ")),
    };
    text
}

fn rate(rates: &[u32]) -> String {
    let rates: Vec<String> = rates.iter().map(u32::to_string).collect();
    if rates.is_empty() { "any rate".into() } else { format!("{} fps", rates.join(", ")) }
}

fn cameras_table(cameras: &[Camera]) -> String {
    if cameras.is_empty() {
        return "no camera\n  plug one in; `ls -l /dev/video*` shows whether the system sees it, and you need to be in the group video\n".into();
    }
    let mut text = String::new();
    for (number, camera) in cameras.iter().enumerate() {
        let node = camera.node.as_deref().map_or_else(String::new, |node| format!("  {}", printable(node)));
        let _ = writeln!(text, "camera:{number}  {}{node}", printable(&camera.name));
        let formats = camera.modes.iter().map(|mode| mode.format.len()).max().unwrap_or(0);
        for mode in &camera.modes {
            let size = format!("{}x{}", mode.size.0, mode.size.1);
            let _ = writeln!(text, "  {:<formats$}  {size:>9}  {}", mode.format, rate(&mode.rates));
        }
    }
    text + &format!("\nwatch one with `streamdet detect camera:{}`\n", cameras.len() - 1)
}

fn cameras_json(cameras: &[Camera]) -> String {
    let rows: Vec<_> = cameras
        .iter()
        .enumerate()
        .map(|(number, camera)| {
            let mode = |mode: &crate::source::cameras::Mode| json!({"format": mode.format, "width": mode.size.0, "height": mode.size.1, "fps": mode.rates});
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
