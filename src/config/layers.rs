//! Settings as the environment and the config file give them, checked by clap's parsers, and which of them count.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::num::{IntErrorKind, ParseIntError};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use toml::Value;

use super::file::{Fault, File, Key, STREAM};
use super::known::{
    Kind, NOT_SETTINGS, TURN_TRACK_ON, exclusive, has_settings, is_list, is_of_the_process, is_off, key, kind, needs,
    of_a_stream, own_settings, setting, settings,
};
use crate::text::nearest;

/// The origin of what the command line gives.
pub(super) const FLAG: &str = "flag";

/// A setting as one layer gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The option's name.
    pub key: String,
    /// As one would write them on the command line.
    pub values: Vec<OsString>,
    /// The layer: `flag`, `environment NAME`, `FILE:LINE`.
    pub origin: String,
}

impl Entry {
    /// Whether it turns a switch off.
    pub fn is_off(&self, of: &Command) -> bool {
        let is_switch = own_settings(of).any(|option| key(option) == self.key && kind(option) == Kind::Switch);
        is_switch && matches!(self.values.as_slice(), [one] if is_off(one))
    }

    /// Whether it gives way to `higher`, of a layer above its own.
    fn yields(&self, of: &Command, higher: &Entry) -> bool {
        if higher.key == self.key {
            return true;
        }
        let tracks = |entry: &Entry| TURN_TRACK_ON.contains(&entry.key.as_str());
        match (higher.is_off(of), higher.key.as_str()) {
            // It is no choice of labels; it only speaks against having none.
            (true, "hide-labels") => self.key == "labels" && self.values == ["none"],
            (true, "track") => tracks(self),
            (true, _) => false,
            (false, _) if self.key == "track" && self.is_off(of) && tracks(higher) => true,
            (false, _) => exclusive(of, &higher.key, &self.key),
        }
    }
}

/// Which keys a table may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those that commands share, outside of tables.
    Shared,
    /// Those of one command, in `[COMMAND]`.
    Command,
    /// Those of a stream.
    Stream,
}

/// Adds what a lower layer gives, as far as no higher one overrules it.
pub(super) fn add(of: &Command, chosen: &mut Vec<Entry>, layer: Vec<Entry>) {
    let higher = chosen.len();
    for entry in layer {
        if !chosen[..higher].iter().any(|above| entry.yields(of, above)) {
            chosen.push(entry);
        }
    }
}

/// What the environment gives; `wanted` says of which settings.
pub(super) fn from_environment(
    of: &Command,
    variable: &dyn Fn(&str) -> Option<OsString>,
    wanted: &dyn Fn(&Arg) -> bool,
) -> Vec<Entry> {
    let entry = |option: &Arg| {
        let name = variable_of(key(option));
        Some(Entry { key: key(option).into(), values: vec![variable(&name)?], origin: format!("environment {name}") })
    };
    settings(of).filter(|option| wanted(option)).filter_map(entry).collect()
}

/// The name of a setting in the environment.
pub(super) fn variable_of(key: &str) -> String {
    format!("STREAMDET_{}", key.to_ascii_uppercase().replace('-', "_"))
}

/// What keys of the config file give command `of`. Outside of tables, what another command of `all` knows is passed over.
pub(super) fn from_keys(
    all: &Command,
    of: &Command,
    keys: &[Key],
    scope: Scope,
    faults: &mut Vec<Fault>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for Key { name, value, place } in keys {
        let option = match scope {
            Scope::Shared => setting(of, name),
            Scope::Command => own_settings(of).find(|option| key(option) == name),
            Scope::Stream => of_a_stream(of).find(|option| key(option) == name),
        };
        let Some(option) = option else {
            let is_known = |other: &Command| has_settings(other) && setting(other, name).is_some();
            if scope == Scope::Shared && all.get_subcommands().any(is_known) {
                continue;
            }
            faults.push(unknown(of, name, scope, place));
            continue;
        };
        match texts(option, value) {
            Ok(values) => entries.push(Entry { key: name.clone(), values, origin: place.clone() }),
            Err(expected) => {
                let value = value.to_string();
                let problem = format!("{name} = {}: expected {expected}", shown(option, &value));
                faults.push(Fault::new(place, problem, described(of, name)));
            }
        }
    }
    check(all, of, &entries, faults);
    entries
}

/// What to do about a key that is no setting.
fn unknown(of: &Command, name: &str, scope: Scope, place: &str) -> Fault {
    let problem = format!("unknown key `{name}`");
    if NOT_SETTINGS.contains(&name) {
        return Fault::new(place, problem, format!("--{name} belongs on the command line only"));
    }
    if scope == Scope::Stream && setting(of, name).is_some_and(|option| is_of_the_process(of, option)) {
        let problem = format!("`{name}` belongs to the process: all streams share it");
        return Fault::new(place, problem, "write it at the top level");
    }
    if scope == Scope::Stream && name == "name" {
        return Fault::new(place, "the stream has its name already".to_owned(), "leave `name` out");
    }
    let keys: Vec<&str> = match scope {
        Scope::Shared => settings(of).map(key).chain(["source"]).collect(),
        Scope::Command => own_settings(of).map(key).collect(),
        Scope::Stream => of_a_stream(of).map(key).chain(["name", "source"]).collect(),
    };
    let nearest = nearest(name, keys).unwrap_or_default();
    let list = match scope {
        Scope::Shared | Scope::Stream => "--show-config lists every key".to_owned(),
        Scope::Command => format!("`streamdet {} --help` lists every one", of.get_name()),
    };
    Fault::new(place, problem, format!("the nearest is `{nearest}`; {list}"))
}

/// A value of the config file as one would write it on the command line, or what was expected.
fn texts(option: &Arg, value: &Value) -> Result<Vec<OsString>, &'static str> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.into()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Some(value.to_string().into()),
        _ => None,
    };
    if is_list(option) {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        return items.iter().map(scalar).collect::<Option<_>>().ok_or("a list, as [\"a\", \"b\"] or \"a,b\"");
    }
    let (fits, expected) = match kind(option) {
        Kind::Switch => (value.is_bool(), "true or false"),
        Kind::Text => (value.is_str(), "text in quotes"),
        Kind::Number => (value.is_integer() || value.is_float(), "a number, without quotes"),
        Kind::Secret | Kind::Other => (scalar(value).is_some(), "text in quotes or a number"),
    };
    let text = scalar(value).unwrap_or_else(|| value.to_string().into());
    if fits { Ok(vec![text]) } else { Err(expected) }
}

/// Every value of a layer must pass clap's parsers, and no two of its settings exclude each other.
pub(super) fn check(all: &Command, of: &Command, layer: &[Entry], faults: &mut Vec<Fault>) {
    for (number, entry) in layer.iter().enumerate() {
        let Entry { key: name, values, origin } = entry;
        let Some(option) = own_settings(of).find(|option| key(option) == name) else { continue };
        for value in values {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            let alone = [OsStr::new("streamdet"), OsStr::new(of.get_name()), OsStr::new("--show-config"), &flag];
            if let Err(e) = all.clone().try_get_matches_from(alone) {
                let value = value.to_string_lossy();
                let problem = format!("{name} = {}: {}", shown(option, &value), reason(&e));
                faults.push(Fault::new(origin, problem, described(of, name)));
            }
        }
        let excluded = |other: &&Entry| !other.is_off(of) && !entry.is_off(of) && exclusive(of, name, &other.key);
        if let Some(other) = layer[..number].iter().find(excluded) {
            let problem = format!("`{name}` cannot be combined with `{}` ({})", other.key, other.origin);
            faults.push(Fault::new(origin, problem, "keep one of the two"));
        }
    }
}

/// Every setting that needs another one has it, in whatever layer.
pub(super) fn check_needs(of: &Command, chosen: &[Entry], faults: &mut Vec<Fault>) {
    let is_there = |key: &str| chosen.iter().any(|entry| entry.key == key && !entry.is_off(of));
    for entry in chosen.iter().filter(|entry| !entry.is_off(of)) {
        if let Some(needed) = needs(of, &entry.key).find(|needed| !is_there(needed)) {
            let (place, dashes) = if entry.origin == FLAG { ("command line", "--") } else { (&*entry.origin, "") };
            let problem = format!("{dashes}{} needs {dashes}{needed}", entry.key);
            faults.push(Fault::new(place, problem, format!("give both, or leave {} out", entry.key)));
        }
    }
}

/// The file's `source`, and its other keys outside of tables.
pub(super) fn parted(file: &File) -> (Option<Key>, Vec<Key>) {
    let (source, shared): (Vec<Key>, Vec<Key>) = file.keys.iter().cloned().partition(|key| key.name == "source");
    (source.into_iter().next(), shared)
}

/// Texts of a list, or of one that stands alone.
pub(super) fn texts_of(value: &Value) -> Option<Vec<&str>> {
    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()))
}

/// `source` is no text.
pub(super) fn no_source(key: &Key) -> Fault {
    let problem = format!("source is no source: {}", key.value.type_str());
    Fault::new(&key.place, problem, "write source = \"clip.mp4\", or several as [\"a.mp4\", \"b.mp4\"]")
}

/// Adds the tables that are no command's.
pub(super) fn check_tables(all: &Command, of: &Command, file: &File, faults: &mut Vec<Fault>) {
    let commands: Vec<&Command> = all.get_subcommands().filter(|of| has_settings(of)).collect();
    for table in file.tables.iter().filter(|table| !commands.iter().any(|of| of.get_name() == table.name)) {
        let mut options = std::iter::once(&of).chain(&commands).filter_map(|of| setting(of, &table.name));
        faults.push(if let Some(option) = options.next() {
            let problem = match texts(option, &table.value()) {
                Ok(_) => "a table is no value".to_owned(),
                Err(expected) => format!("{} = {}: expected {expected}", table.name, table.value()),
            };
            Fault::new(&table.place, problem, described(of, &table.name))
        } else {
            let names = commands.iter().map(|of| of.get_name()).chain([STREAM]);
            let nearest = nearest(&table.name, names).unwrap_or_default();
            let nearest = if nearest == STREAM { format!("[[{STREAM}]]") } else { format!("[{nearest}]") };
            let remedy = format!("the nearest is {nearest}; other keys are at the top level, outside of [tables]");
            Fault::new(&table.place, format!("unknown table `{}`", table.name), remedy)
        });
    }
}

/// A setting's value, unless it is a secret.
pub(super) fn shown<'a>(option: &Arg, value: &'a str) -> &'a str {
    if kind(option) == Kind::Secret { "***" } else { value }
}

fn described(of: &Command, name: &str) -> String {
    format!("`streamdet {} --help` describes --{name}", of.get_name())
}

/// Why clap refuses a value, without the command line's way of putting it.
fn reason(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(valid)) = error.get(ContextKind::ValidValue)
        && !valid.is_empty()
    {
        return format!("expected one of {}", valid.join(", "));
    }
    let Some(source) = error.source() else { return "expected a value".into() };
    match source.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::InvalidDigit) => "expected a whole number, not below 0".into(),
        _ => source.to_string(),
    }
}
