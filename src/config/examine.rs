//! A whole config file, whatever command it is for: every key and value of every table.

use std::ffi::OsString;
use std::path::Path;

use clap::{Command, FromArgMatches};

use super::error::ConfigError;
use super::file::{Fault, File, Key};
use super::known::{command, has_settings, setting};
use super::layers::{Scope, check_tables, from_keys, no_source, parted, texts_of};
use super::streams::{DETECT, Layers, StreamConfig, streams, with_defaults};

/// What a config file asks for.
#[derive(Debug)]
pub struct Examined<A> {
    /// `[[stream]]`.
    pub streams: Vec<StreamConfig<A>>,
    /// The top level, as `streamdet detect` has it.
    pub detect: A,
}

/// Reads the config file at `path`, with the environment above it; `bare` is the command line.
///
/// # Errors
/// Every key, value and name that cannot be used, each with its line.
pub fn examine<A: FromArgMatches>(
    bare: Command,
    path: &Path,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Examined<A>, ConfigError> {
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
    let found = match streams(&layers) {
        Ok(found) => found,
        Err(ConfigError::Refused(more)) => {
            faults.extend(more);
            Vec::new()
        }
        Err(usage) => return Err(usage),
    };
    if !faults.is_empty() {
        return Err(in_order(faults).into());
    }
    let mut args: Vec<OsString> = ["streamdet", DETECT, "--show-config", "--"].map(OsString::from).into();
    args.extend(sources.unwrap_or_default().into_iter().map(OsString::from));
    let matches = with_defaults(all.clone(), DETECT, &layers.base).try_get_matches_from(args)?;
    let set = matches.subcommand_matches(DETECT).ok_or_else(missing)?;
    Ok(Examined { streams: found, detect: A::from_arg_matches(set)? })
}

/// By their lines, each once.
fn in_order(mut faults: Vec<Fault>) -> Vec<Fault> {
    let line = |fault: &Fault| fault.place.rsplit_once(':').and_then(|(_, line)| line.parse::<usize>().ok());
    faults.sort_by(|a, b| line(a).cmp(&line(b)).then_with(|| a.problem.cmp(&b.problem)));
    faults.dedup();
    faults
}
