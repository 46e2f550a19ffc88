//! Combinations of settings in turns (`--compare`): every run is a process of its own, started anew in every round.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::anyhow;
use crossbeam_channel::{bounded, never, select};
use serde_json::{Value, json};

use super::messages::{print_error, print_line};
use crate::part::write_whole;
use crate::report::comparison::{summary, table};
use crate::secrets::{is_secret_key, redact};
use crate::shutdown::Shutdown;
use crate::text::nearest;
use crate::thread;

/// Runs of one comparison, at most.
const MOST: usize = 256;

/// A setting with the values it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    key: String,
    values: Vec<String>,
}

/// `SETTING=VALUE[,VALUE…]`, the setting one of `comparable`.
pub(super) fn axis(text: &str, comparable: &[String]) -> Result<Axis, String> {
    let (key, values) = text.split_once('=').ok_or("give SETTING=VALUE,VALUE; sources stand before --compare")?;
    let values: Vec<String> = values.split(',').filter(|v| !v.is_empty()).map(str::to_owned).collect();
    if values.is_empty() {
        return Err(format!("{key} has no value"));
    }
    if !comparable.iter().any(|k| k == key) || is_secret_key(key) {
        let nearest = nearest(key, comparable).map_or("", String::as_str);
        return Err(format!("{key} cannot be compared; the nearest that can is {nearest}"));
    }
    Ok(Axis { key: key.to_owned(), values })
}

/// Every combination, the last setting changing fastest.
fn combinations(axes: &[Axis]) -> Vec<Vec<(&str, &str)>> {
    axes.iter().fold(vec![Vec::new()], |rows, axis| {
        let with = |row: &Vec<_>, value| [row.as_slice(), &[(axis.key.as_str(), value)]].concat();
        rows.iter().flat_map(|row| axis.values.iter().map(move |value| with(row, value.as_str()))).collect()
    })
}

fn named(combination: &[(&str, &str)]) -> String {
    combination.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// Runs every combination `rounds` times, in turns, and prints one table; the exit code.
pub(super) fn run(axes: &[Axis], rounds: u16, report: Option<&Path>, shutdown: &Shutdown) -> anyhow::Result<u8> {
    let args: Vec<OsString> = std::env::args_os().collect();
    for axis in axes {
        let flag = format!("--{}", axis.key);
        let given = |arg: &OsString| {
            let arg = arg.to_string_lossy();
            arg == flag || arg.starts_with(&format!("{flag}=")) || (axis.key == "model" && arg.starts_with("-m"))
        };
        if args.iter().any(given) || axes.iter().filter(|other| other.key == axis.key).count() > 1 {
            return Err(anyhow!("--compare {0}=…: {0} is given twice\n  leave one of them out", axis.key));
        }
    }
    let rows = combinations(axes);
    if rows.len() * usize::from(rounds) > MOST {
        let runs = rows.len() * usize::from(rounds);
        return Err(anyhow!("--compare: {runs} runs, more than {MOST}\n  compare fewer settings, or lower --rounds"));
    }
    let folder = std::env::temp_dir().join(format!("streamdet-compare-{}", std::process::id()));
    std::fs::create_dir(&folder).map_err(|e| anyhow!("{}: {e}\n  set TMPDIR to another folder", folder.display()))?;
    let result = take_turns(&args, &rows, rounds, &folder, shutdown);
    // Left behind, it lies where the system cleans up.
    let _ = std::fs::remove_dir_all(&folder);
    let runs = result?;
    if runs.iter().any(Vec::is_empty) {
        return Ok(0);
    }
    let names: Vec<String> = rows.iter().map(|row| redact(&named(row))).collect();
    print_line(&format!("\n{}", table(&names, &runs)));
    if let Some(path) = report {
        let all: Vec<Value> = rows.iter().zip(&runs).map(|(row, runs)| summary(row, runs)).collect();
        let text = format!("{:#}\n", json!({ "rounds": rounds, "rows": all }));
        if let Err(e) = write_whole(path, text.as_bytes(), Some(shutdown)) {
            print_error(&format!("--report {}: {e}", path.display()));
            return Ok(1);
        }
    }
    Ok(0)
}

/// The reports of every row's runs; fewer than asked for when it was interrupted.
fn take_turns(
    args: &[OsString],
    rows: &[Vec<(&str, &str)>],
    rounds: u16,
    folder: &Path,
    shutdown: &Shutdown,
) -> anyhow::Result<Vec<Vec<Value>>> {
    let mut runs = vec![Vec::new(); rows.len()];
    for round in 1..=rounds {
        for (row, reports) in rows.iter().zip(&mut runs) {
            let into = folder.join("report.json");
            let Some(report) = one(args, row, &into, shutdown)? else { return Ok(runs) };
            let fps = report["fps"]["mean"].as_f64().unwrap_or(0.0);
            print_line(&format!("  round {round}/{rounds}  {:<40}{fps:>8.1} fps", redact(&named(row))));
            reports.push(report);
        }
    }
    Ok(runs)
}

/// One run in a process of its own; `None` when it was interrupted.
fn one(args: &[OsString], row: &[(&str, &str)], into: &Path, shutdown: &Shutdown) -> anyhow::Result<Option<Value>> {
    let failed = |problem: &dyn std::fmt::Display| anyhow!("{}: {problem}", named(row));
    let program = std::env::current_exe().map_err(|e| failed(&e))?;
    let said = into.with_extension("stderr");
    let stderr = std::fs::File::create(&said).map_err(|e| failed(&e))?;
    let mut command = Command::new(program);
    // Behind the command's name: sources may follow a `--`. What varies is given as the environment gives settings.
    command.args(&args[1..2]).arg("--into").arg(into).args(&args[2..]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    for (key, value) in row {
        command.env(format!("STREAMDET_{}", key.to_ascii_uppercase().replace('-', "_")), value);
    }
    let child = command.spawn().map_err(|e| failed(&e))?;
    let process = rustix::process::Pid::from_child(&child);
    let status = wait(child, process, shutdown).map_err(|e| failed(&e))?;
    if shutdown.is_requested() {
        return Ok(None);
    }
    if !status.success() {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        let errors = said.split_once("error: ").map_or(said.as_str(), |(_, errors)| errors);
        return Err(failed(&errors.trim_end()));
    }
    let text = std::fs::read_to_string(into).map_err(|e| failed(&e))?;
    serde_json::from_str(&text).map(Some).map_err(|e| failed(&e))
}

/// Waits for a process to end; it is told to when `shutdown` is requested.
fn wait(mut child: Child, process: rustix::process::Pid, shutdown: &Shutdown) -> std::io::Result<ExitStatus> {
    let (ended, end) = bounded(1);
    let waiting = move || {
        // The receiver waits for it.
        let _ = ended.send(child.wait());
    };
    let thread = thread::spawn("compare", waiting).map_err(std::io::Error::other)?;
    let mut requested = shutdown.requested().clone();
    let status = loop {
        select! {
            recv(end) -> status => break status,
            recv(requested) -> _ => {
                // It may have ended by itself: that is seen next.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
                requested = never();
            }
        }
    };
    thread.join().map_err(std::io::Error::other)?;
    status.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_every_one_in_order() {
        let known = ["provider", "imgsz"].map(str::to_owned);
        let axes = [
            axis("provider=cpu,openvino", &known).expect("an axis"),
            axis("imgsz=320,384x640", &known).expect("an axis"),
        ];
        let names: Vec<String> = combinations(&axes).iter().map(|row| named(row)).collect();
        assert_eq!(
            names,
            [
                "provider=cpu imgsz=320",
                "provider=cpu imgsz=384x640",
                "provider=openvino imgsz=320",
                "provider=openvino imgsz=384x640"
            ]
        );
    }
}
