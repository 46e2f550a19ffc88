//! A whole config file, whatever command it is for: every key and value of every table.

use std::ffi::OsString;
use std::path::Path;

use clap::{Command, FromArgMatches};

use super::error::ConfigError;
use super::file::{Fault, File, Key};
use super::known::{command, has_settings, setting};
use super::layers::{Scope, add, check_needs, check_tables, from_environment, from_keys, no_source, parted, texts_of};
use super::streams::{DETECT, Layers, streams, with_defaults};

/// The command that streams are for.
const SERVE: &str = "serve";

/// What a config file asks for.
#[derive(Debug)]
pub struct Examined<A, S> {
    /// The top level, as `streamdet detect` has it.
    pub detect: A,
    /// `[serve]` with what it shares, as `streamdet serve` has it, where the file has that or streams.
    pub serve: Option<S>,
    /// What streams inherit, and the streams of the file.
    pub layers: Layers,
}

/// Reads the config file at `path`, with the environment above it; `bare` is the command line.
///
/// # Errors
/// Every key, value and name that cannot be used, each with its line.
pub fn examine<A: FromArgMatches, S: FromArgMatches>(
    bare: Command,
    path: &Path,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Examined<A, S>, ConfigError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let all = command(bare);
    let file = File::read(path)?;
    let missing = || Fault::new(&path.display().to_string(), "there is no command for it", "use another version");
    let detect = all.find_subcommand(DETECT).ok_or_else(missing)?;
    let mut faults = Vec::new();
    check_tables(&all, detect, &file, &mut faults);
    let (source, mut left) = parted(&file);
    let others = all.get_subcommands().filter(|of| has_settings(of) && of.get_name() != DETECT);
    for of in std::iter::once(detect).chain(others) {
        from_keys(&all, of, file.table(of.get_name()), Scope::Command, &mut faults);
        let (own, rest): (Vec<Key>, Vec<Key>) = left.into_iter().partition(|key| setting(of, &key.name).is_some());
        from_keys(&all, of, &own, Scope::Shared, &mut faults);
        left = rest;
    }
    // No command knows them.
    from_keys(&all, detect, &left, Scope::Shared, &mut faults);
    let sources = source.as_ref().and_then(|key| texts_of(&key.value));
    faults.extend(source.as_ref().filter(|_| sources.is_none()).map(no_source));
    let layers = Layers::of(&all, (detect, &[]), &variable, &file);
    match streams::<A>(&layers) {
        Ok(_) => {}
        Err(ConfigError::Refused(more)) => faults.extend(more),
        Err(usage) => return Err(usage),
    }
    if !faults.is_empty() {
        return Err(in_order(faults).into());
    }
    let is_served = !file.streams.is_empty() || file.tables.iter().any(|table| table.name == SERVE);
    // What streams inherit may need what they have.
    let is_run = sources.is_some() || !is_served;
    let mut args = vec![OsString::from("--show-config"), "--".into()];
    args.extend(sources.unwrap_or_default().into_iter().map(OsString::from));
    let detect = command_of(&all, detect, (&file, is_run), &args, &variable)?;
    let of = all.find_subcommand(SERVE).filter(|_| is_served);
    let serve = of.map(|of| command_of(&all, of, (&file, true), &[], &variable)).transpose()?;
    Ok(Examined { detect, serve, layers })
}

/// What `of`, with `args`, has of a file without faults; where it `is_run`, nothing that it needs is missing.
fn command_of<C: FromArgMatches>(
    all: &Command,
    of: &Command,
    (file, is_run): (&File, bool),
    args: &[OsString],
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<C, ConfigError> {
    let mut faults = Vec::new();
    let mut chosen = from_environment(of, variable, &|_| true);
    let own = from_keys(all, of, file.table(of.get_name()), Scope::Command, &mut faults);
    let top = from_keys(all, of, &parted(file).1, Scope::Shared, &mut faults);
    for layer in [own, top] {
        add(of, &mut chosen, layer);
    }
    if is_run {
        check_needs(of, &chosen, &mut faults);
    }
    if !faults.is_empty() {
        return Err(in_order(faults).into());
    }
    let line = ["streamdet", of.get_name()].map(OsString::from).into_iter().chain(args.iter().cloned());
    let matches = with_defaults(all.clone(), of.get_name(), &chosen).try_get_matches_from(line)?;
    Ok(C::from_arg_matches(matches.subcommand_matches(of.get_name()).unwrap_or(&matches))?)
}

/// By their lines, each once.
fn in_order(mut faults: Vec<Fault>) -> Vec<Fault> {
    let line = |fault: &Fault| fault.place.rsplit_once(':').and_then(|(_, line)| line.parse::<usize>().ok());
    faults.sort_by(|a, b| line(a).cmp(&line(b)).then_with(|| a.problem.cmp(&b.problem)));
    faults.dedup();
    faults
}
