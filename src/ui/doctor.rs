//! Tables of `streamdet doctor`.

use std::io::IsTerminal;

use console::{Style, Term, truncate_str};

use crate::doctor::{Check, State, gstreamer_version};
use crate::report::Machine;
use crate::secrets::redact;
use crate::source::cameras::Camera;
use crate::text::{append, printable};

/// Every check, by group, with its remedy.
pub(crate) fn table(machine: &Machine, checks: &[Check]) -> String {
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
        gstreamer_version(),
    );
    let name_width = checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let mut group = "";
    for check in checks {
        if check.group != group {
            group = check.group;
            append(&mut text, format_args!("\n  {}\n", shown(group, Style::new().bold())));
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
            append(&mut text, format_args!("    {}           {remedy}\n", " ".repeat(name_width)));
        }
    }
    let lacking: Vec<&str> =
        checks.iter().filter(|c| c.essential && c.state == State::Missing).map(|c| c.name.as_str()).collect();
    let verdict = match lacking.as_slice() {
        [] => "\n  everything that a run needs is here\n".to_owned(),
        _ => format!("\n  nothing runs without {}\n", lacking.join(", ")),
    };
    text.push_str(&verdict);
    text
}

fn rate(rates: &[u32]) -> String {
    let rates: Vec<String> = rates.iter().map(u32::to_string).collect();
    if rates.is_empty() { "any rate".into() } else { format!("{} fps", rates.join(", ")) }
}

/// Every camera with its formats, sizes and rates.
pub(crate) fn cameras_table(cameras: &[Camera]) -> String {
    if cameras.is_empty() {
        return "no camera\n  plug one in; `ls -l /dev/video*` shows whether the system sees it, and you need to be in the group video\n".into();
    }
    let mut text = String::new();
    for (number, camera) in cameras.iter().enumerate() {
        let node = camera.node.as_deref().map_or_else(String::new, |node| format!("  {}", printable(node)));
        append(&mut text, format_args!("camera:{number}  {}{node}\n", printable(&camera.name)));
        let formats = camera.modes.iter().map(|mode| mode.format.len()).max().unwrap_or(0);
        for mode in &camera.modes {
            let size = format!("{}x{}", mode.size.0, mode.size.1);
            append(&mut text, format_args!("  {:<formats$}  {size:>9}  {}\n", mode.format, rate(&mode.rates)));
        }
    }
    text + &format!("\nwatch one with `streamdet detect camera:{}`\n", cameras.len() - 1)
}
