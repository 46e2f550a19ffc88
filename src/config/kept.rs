//! What `--run-dir` keeps of the settings, and how `--repeat` takes them again.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf, absolute};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::Value;

use super::error::ConfigError;
use super::file::{Fault, File};
use super::known::{Kind, exclusive, is_list, is_off, key, kind, own_settings};
use super::layers::{Entry, variable_of};
use crate::report::run_folder::{CONFIG, KeptRun};
use crate::secrets::{redact, split_user_info};
use crate::text::{append, printable};

/// Settings that are given anew each time: what may be replaced is not decided by an earlier run.
const ANEW: [&str; 1] = ["overwrite"];
/// What stands for a secret.
const HIDDEN: &str = "***";

/// The settings of a run, every layer applied.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// A config file: settings and sources.
    pub config: String,
    /// Secrets that are not in it, and where each is given.
    pub left_out: Vec<String>,
    /// The run that is done again.
    pub repeats: Option<PathBuf>,
}

impl Kept {
    pub(super) fn of(
        of: &Command,
        set: &ArgMatches,
        chosen: &[Entry],
        sources: Option<&Entry>,
        repeats: Option<PathBuf>,
    ) -> Self {
        let (mut text, mut left_out) = (String::new(), Vec::new());
        if let Some(sources) = sources {
            let own = |source: &OsString| Value::from(without_user(source, &mut left_out));
            let list: Vec<Value> = sources.values.iter().map(own).collect();
            append(&mut text, format_args!("source = {}\n", Value::Array(list)));
        }
        for option in own_settings(of).filter(|option| !ANEW.contains(&key(option))) {
            let (name, id) = (key(option), option.get_id().as_str());
            let values: Vec<&OsStr> = set.get_raw(id).into_iter().flatten().collect();
            let entry = chosen.iter().find(|entry| entry.key == name);
            let is_default = entry.is_none() && set.value_source(id) == Some(ValueSource::DefaultValue);
            let is_excluded = || chosen.iter().any(|other| exclusive(of, name, &other.key));
            if values.is_empty() || (is_default && (kind(option) == Kind::Switch || is_excluded())) {
                continue;
            }
            if kind(option) == Kind::Secret {
                left_out.push(format!("{name} ({})", variable_of(name)));
                continue;
            }
            let origin = entry.map_or("default", |entry| entry.origin.as_str());
            let value = value(option, &values, &mut left_out);
            append(&mut text, format_args!("{name} = {value}  # {}\n", printable(&redact(origin))));
        }
        let mut config = format!(
            "# Settings of a run. `streamdet {} --repeat FOLDER` does it again; so does --config with this file.\n",
            of.get_name()
        );
        for secret in &left_out {
            append(&mut config, format_args!("# Left out: {}\n", printable(secret)));
        }
        Self { config: config + &text, left_out, repeats }
    }
}

/// What the config file has for values that were given.
pub(super) fn value(option: &Arg, values: &[&OsStr], left_out: &mut Vec<String>) -> Value {
    let mut one = |value: &OsStr| {
        let text = value.to_string_lossy();
        let number = || text.parse().map(Value::Integer).or_else(|_| text.parse().map(Value::Float));
        match kind(option) {
            Kind::Switch => Value::Boolean(!is_off(value)),
            Kind::Number => number().unwrap_or_else(|_| Value::String(text.clone().into_owned())),
            _ => {
                let shown = redact(&text);
                if shown != text {
                    left_out.push(format!("a part of {shown} (give --{} anew)", key(option)));
                }
                Value::String(shown)
            }
        }
    };
    if is_list(option) {
        return Value::Array(values.iter().map(|value| one(value)).collect());
    }
    values.last().map_or(Value::Boolean(true), |value| one(value))
}

/// A source without user and password, which the environment can give as well.
fn without_user(source: &OsStr, left_out: &mut Vec<String>) -> String {
    let text = source.to_string_lossy().into_owned();
    let shown = redact(&text);
    if shown == text {
        return text;
    }
    if let Some((scheme, rest)) = text.split_once("://")
        && let (Some(_), rest) = split_user_info(rest)
    {
        let bare = format!("{scheme}://{rest}");
        if redact(&bare) == bare {
            left_out.push(format!("user and password of {shown} (STREAMDET_USER, STREAMDET_PASSWORD)"));
            return bare;
        }
    }
    left_out.push(format!("a part of {shown} (give the source anew)"));
    shown
}

/// The settings of the run in `folder`, which `command` is to do again; outputs that lie in that folder go to `into` instead.
pub(super) fn read(folder: &Path, command: &str, into: Option<&Path>) -> Result<File, ConfigError> {
    let place = folder.display().to_string();
    let run = KeptRun::read(folder)
        .map_err(|e| Fault::new(&place, e.to_string(), "give a folder of an earlier --run-dir"))?;
    if run.command != command {
        let problem = format!("this run was made by streamdet {}", run.command);
        return Err(Fault::new(&place, problem, format!("use streamdet {} --repeat {place}", run.command)).into());
    }
    let mut file = File::read(&folder.join(CONFIG))?;
    if let Some(into) = into {
        for key in file.keys.iter_mut().filter(|key| key.name != "source") {
            match &mut key.value {
                Value::String(text) => moved(text, folder, into),
                Value::Array(items) => {
                    for item in items {
                        if let Value::String(text) = item {
                            moved(text, folder, into);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    Ok(file)
}

/// A path in `folder` becomes the same in `into`.
fn moved(text: &mut String, folder: &Path, into: &Path) {
    let (Ok(path), Ok(folder)) = (absolute(&*text), absolute(folder)) else { return };
    if !text.contains("://")
        && let Ok(rest) = path.strip_prefix(&folder)
        && !rest.as_os_str().is_empty()
    {
        let is_folder = text.ends_with('/');
        *text = into.join(rest).display().to_string();
        if is_folder && !text.ends_with('/') {
            text.push('/');
        }
    }
}

/// Adds the keys of a kept run of which a secret part was left out, unless `is_given` says that there is another value.
pub(super) fn check_left_out(file: &File, is_given: &dyn Fn(&str) -> bool, faults: &mut Vec<Fault>) {
    for key in file.keys.iter().filter(|key| !is_given(&key.name)) {
        if key.value.to_string().contains(HIDDEN) {
            let problem = format!("{} = {}: a secret was left out", key.name, key.value);
            let remedy = match key.name.as_str() {
                "source" => "give the sources again on the command line".to_owned(),
                name => format!("give --{name} again"),
            };
            faults.push(Fault::new(&key.place, problem, remedy));
        }
    }
}
