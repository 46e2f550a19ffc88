//! The command line with everything that lies below it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::error::ConfigError;
use super::file::{Fault, File, Key};
use super::kept::{self, Kept};
use super::known::{Kind, command, has_settings, key, kind, own_settings};
use super::layers::{
    Entry, FLAG, Scope, add, check, check_needs, check_tables, from_environment, from_keys, no_source, parted, texts_of,
};
use super::streams::{Layers, with_defaults};
use super::table;

/// Where a source stands that is no key of the file.
const ON_THE_COMMAND_LINE: &str = "command line";

/// The command line with its settings.
#[derive(Debug)]
pub struct Parsed<C> {
    /// What was asked for, with every layer applied.
    pub cli: C,
    /// For `--show-config`: what to print instead of running.
    pub table: Option<String>,
    /// What streams inherit, and the streams of the config file.
    pub layers: Layers,
    /// What `--run-dir` keeps.
    pub kept: Kept,
}

/// Parses the command line and lays the environment and the config file below it. `variable` reads the environment; an
/// empty variable counts as absent.
///
/// # Errors
/// When any layer holds what cannot be used, even where a higher one overrules it.
pub fn parse<C: CommandFactory + FromArgMatches>(
    args: &[OsString],
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Parsed<C>, ConfigError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let all = command(C::command());
    let named = args.get(1).and_then(|name| name.to_str()).and_then(|name| all.find_subcommand(name));
    let Some(of) = named.filter(|of| has_settings(of)) else {
        let cli = C::from_arg_matches(&all.try_get_matches_from(args)?)?;
        return Ok(Parsed { cli, table: None, layers: Layers::default(), kept: Kept::default() });
    };
    let name = of.get_name();
    if let Some(nested) = args.get(2).and_then(|name| name.to_str()).and_then(|name| of.find_subcommand(name)) {
        // What it does is done elsewhere, with the settings of there.
        let matches = all.clone().try_get_matches_from(args)?;
        let set = matches.subcommand_matches(name).and_then(|set| set.subcommand_matches(nested.get_name()));
        let process = set.map(|set| flags(nested, set)).unwrap_or_default();
        let layers = Layers { all: all.clone(), process, ..Layers::default() };
        return Ok(Parsed { cli: C::from_arg_matches(&matches)?, table: None, layers, kept: Kept::default() });
    }
    // Sources may be the file's: those of the command line are not asked for yet.
    let mut lenient = args.to_vec();
    lenient.insert(2, "--show-config".into());
    let matches = all.clone().try_get_matches_from(&lenient)?;
    let set = matches.subcommand_matches(name).unwrap_or(&matches);
    let path = |id: &str| set.try_get_one::<PathBuf>(id).ok().flatten().cloned();

    let mut faults = Vec::new();
    let repeats = path("repeat");
    let file = match &repeats {
        Some(folder) => Some(kept::read(folder, name, path("run_dir").as_deref())?),
        None => path("config")
            .or_else(|| variable("STREAMDET_CONFIG").map(PathBuf::from))
            .or_else(|| default_file(&variable))
            .map(|path| File::read(&path))
            .transpose()?,
    };
    let file = file.unwrap_or_default();
    // What is done again has the settings of then; only what is not kept comes from elsewhere.
    let wanted = |option: &Arg| repeats.is_none() || kind(option) == Kind::Secret;
    let from_variables = from_environment(of, &variable, &wanted);
    check(&all, of, &from_variables, &mut faults);
    let own = from_keys(&all, of, file.table(name), Scope::Command, &mut faults);
    let (source, shared) = parted(&file);
    let top = from_keys(&all, of, &shared, Scope::Shared, &mut faults);
    check_tables(&all, of, &file, &mut faults);
    let sources = sources(set, source.as_ref(), &mut faults);
    let flags = flags(of, set);
    if repeats.is_some() {
        let is_source = sources.as_ref().is_some_and(|sources| sources.origin == ON_THE_COMMAND_LINE);
        let is_given = |name: &str| flags.iter().any(|flag| flag.key == name) || (name == "source" && is_source);
        kept::check_left_out(&file, &is_given, &mut faults);
    }
    if !faults.is_empty() {
        return Err(faults.into());
    }
    let mut layers = Layers::of(&all, (of, &flags), &variable, &file);
    let (mut chosen, overruling) = (flags.clone(), flags.len());
    for layer in [from_variables, own, top] {
        add(of, &mut chosen, layer);
    }
    check_needs(of, &chosen, &mut faults);
    if !faults.is_empty() {
        return Err(faults.into());
    }

    let mut strict = args.to_vec();
    if let Some(sources) = sources.as_ref().filter(|sources| sources.origin != ON_THE_COMMAND_LINE) {
        if !strict.iter().any(|arg| arg == "--") {
            strict.push("--".into());
        }
        strict.extend(sources.values.iter().cloned());
    }
    let matches = with_defaults(all.clone(), name, &chosen[overruling..]).try_get_matches_from(strict)?;
    let cli = C::from_arg_matches(&matches)?;
    let set = matches.subcommand_matches(name).unwrap_or(&matches);
    let table = set.get_flag("show_config").then(|| table::table(of, set, &chosen, sources.as_ref()));
    let kept = Kept::of(of, set, &chosen, sources.as_ref(), repeats);
    layers.process = chosen;
    Ok(Parsed { cli, table, layers, kept })
}

/// What flags say.
fn flags(of: &Command, set: &ArgMatches) -> Vec<Entry> {
    let id = |option: &Arg| option.get_id().as_str().to_owned();
    let given = |option: &&Arg| set.value_source(&id(option)) == Some(ValueSource::CommandLine);
    let values = |option: &Arg| set.get_raw(&id(option)).into_iter().flatten().map(OsString::from).collect();
    own_settings(of)
        .filter(given)
        .map(|option| Entry { key: key(option).into(), values: values(option), origin: FLAG.into() })
        .collect()
}

/// The sources of a command that takes several: those of the command line, else those of the file.
fn sources(set: &ArgMatches, key: Option<&Key>, faults: &mut Vec<Fault>) -> Option<Entry> {
    let given: Vec<OsString> = set.try_get_raw("sources").ok()?.into_iter().flatten().map(OsString::from).collect();
    let entry = |values, origin: &str| Entry { key: "source".into(), values, origin: origin.to_owned() };
    if !given.is_empty() {
        return Some(entry(given, ON_THE_COMMAND_LINE));
    }
    let key = key?;
    let Some(texts) = texts_of(&key.value) else {
        faults.push(no_source(key));
        return None;
    };
    Some(entry(texts.into_iter().map(OsString::from).collect(), &key.place))
}

/// `streamdet/config.toml` in the user's config folder, if it is there.
fn default_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(folder.join("streamdet/config.toml")).filter(|path| path.exists())
}
