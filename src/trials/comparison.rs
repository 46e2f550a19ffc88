//! Combinations of settings in turns (`--compare`): every run is a process of its own, started anew in every round.

use std::ffi::OsString;
use std::path::Path;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::process::{self, Folder};
use crate::report::comparison::{summary, table};
use crate::secrets::{is_secret_key, redact};
use crate::shutdown::Shutdown;
use crate::text::nearest;

/// Runs of one comparison, at most.
const MOST: usize = 256;

/// A setting with the values it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    key: String,
    values: Vec<String>,
}

/// `SETTING=VALUE[,VALUE…]`, the setting one of `comparable`.
///
/// # Errors
/// When it is none, or cannot be compared.
pub fn axis(text: &str, comparable: &[String]) -> Result<Axis, String> {
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

/// Runs every combination `rounds` times, in turns, with the command line `args`, and says one table; the report of all of them. `None` where
/// it was interrupted.
///
/// # Errors
/// When a run fails, or combinations cannot be run.
pub fn run(
    args: &[OsString],
    (axes, rounds): (&[Axis], u16),
    say: &dyn Fn(&str),
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Value>> {
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
    let into = Folder::create()?;
    let runs = take_turns((args, &into.report()), (&rows, rounds), say, shutdown)?;
    if runs.iter().any(Vec::is_empty) {
        return Ok(None);
    }
    let names: Vec<String> = rows.iter().map(|row| redact(&named(row))).collect();
    say(&format!("\n{}", table(&names, &runs)));
    let all: Vec<Value> = rows.iter().zip(&runs).map(|(row, runs)| summary(row, runs)).collect();
    Ok(Some(json!({ "rounds": rounds, "rows": all })))
}

/// The reports of every row's runs; fewer than asked for when it was interrupted.
fn take_turns(
    (args, into): (&[OsString], &Path),
    (rows, rounds): (&[Vec<(&str, &str)>], u16),
    say: &dyn Fn(&str),
    shutdown: &Shutdown,
) -> anyhow::Result<Vec<Vec<Value>>> {
    let mut runs = vec![Vec::new(); rows.len()];
    for round in 1..=rounds {
        for (row, reports) in rows.iter().zip(&mut runs) {
            let Some(report) = one(args, row, into, shutdown)? else { return Ok(runs) };
            let fps = report["fps"]["mean"].as_f64().unwrap_or(0.0);
            say(&format!("  round {round}/{rounds}  {:<40}{fps:>8.1} fps", redact(&named(row))));
            reports.push(report);
        }
    }
    Ok(runs)
}

/// One run in a process of its own; `None` when it was interrupted.
fn one(args: &[OsString], row: &[(&str, &str)], into: &Path, shutdown: &Shutdown) -> anyhow::Result<Option<Value>> {
    process::run(args, &[], row, into, shutdown).map_err(|error| anyhow!("{}: {error}", named(row)))
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
