//! Layered settings: flags override the environment, which overrides the config file, which overrides the defaults.
//!
//! Environment and file become defaults of clap's options. So clap's own parsers check them, a flag beats them by itself,
//! and nothing here lists the options: a new flag is a setting at once. Commands with `--show-config` have settings; the file is
//! theirs together, so a key that another one of them knows is passed over.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::num::{IntErrorKind, ParseIntError};
use std::path::{Path, PathBuf};

use clap::builder::{BoolishValueParser, ValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, value_parser};
use toml::{Spanned, Value};

use super::Cli;
use crate::model::ModelRef;
use crate::secrets::redact;
use crate::text::{append, nearest, printable};

/// Options of one invocation; every other option with a long name is a setting, unless it is hidden.
const NOT_SETTINGS: [&str; 4] = ["config", "show-config", "verbose", "quiet"];
/// Options of a command that mean something else there than the setting of that name: a threshold to watch with is none to
/// measure with, and a folder of charts is no video.
const OF_A_COMMAND: [(&str, &[&str]); 1] =
    [("val", &["conf", "iou", "max-det", "output", "report", "mot", "mot-format", "mot-frames"])];

/// Why there are no settings to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line is wrong, or asked for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The environment or the config file holds what cannot be used: where, what was expected, and the remedy.
    #[error("{0}")]
    Refused(String),
}

fn refused(place: &str, problem: &str, remedy: &str) -> ConfigError {
    ConfigError::Refused(format!("{place}: {problem}\n  {remedy}"))
}

/// The command line with its settings.
#[derive(Debug)]
pub struct Parsed {
    /// What was asked for, with every layer applied.
    pub cli: Cli,
    /// For `--show-config`: what to print instead of running.
    pub table: Option<String>,
}

/// A setting as one layer gives it.
struct Entry<'a> {
    option: &'a Arg,
    values: Vec<OsString>,
    origin: String,
}

/// Parses the command line and lays the environment and the config file below it. `variable` reads the environment; an
/// empty variable counts as absent.
///
/// # Errors
/// When any layer holds what cannot be used, even where a higher one overrules it.
pub fn parse(args: &[OsString], variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Parsed, ConfigError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let matches = command().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let bare = command();
    let Some((name, set)) = matches.subcommand() else { return Ok(Parsed { cli, table: None }) };
    let Some(of) = bare.find_subcommand(name).filter(|of| has_settings(of)) else {
        return Ok(Parsed { cli, table: None });
    };
    let mut chosen: Vec<Entry> = settings(of)
        .filter(|option| set.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine))
        .map(|option| Entry { option, values: Vec::new(), origin: "flag".into() })
        .collect();
    let overruling = chosen.len();
    let named = set.get_one::<PathBuf>("config").cloned();
    let named = named.or_else(|| variable("STREAMDET_CONFIG").map(PathBuf::from));
    let file = named.or_else(|| default_file(&variable)).map(|path| from_file(&bare, of, &path)).transpose()?;
    for layer in [from_environment(of, &variable), file.unwrap_or_default()] {
        check(of, &layer)?;
        let higher = chosen.len();
        for entry in layer {
            let yields = |to: &Entry| to.option == entry.option || exclusive(of, to.option, entry.option);
            if !chosen[..higher].iter().any(yields) {
                chosen.push(entry);
            }
        }
    }

    let layered = command().mut_subcommand(name, |of| {
        chosen[overruling..].iter().fold(of, |of, entry| {
            of.mut_arg(entry.option.get_id(), |option| option.default_values(entry.values.clone()))
        })
    });
    let matches = layered.try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let table = matches.subcommand_matches(name).filter(|set| set.get_flag("show_config")).map(|set| {
        let model = set.try_get_one::<String>("model").ok().flatten();
        table(of, set, &chosen, ModelRef::resolve(model.map(String::as_str)).ok().as_ref())
    });
    Ok(Parsed { cli, table })
}

fn has_settings(of: &clap::Command) -> bool {
    of.get_arguments().any(|option| key(option) == "show-config")
}

/// The command line as parsed: a switch that is a setting also takes `=false`, so that a flag can overrule a file's `true`.
fn command() -> clap::Command {
    let switch = |option: Arg| {
        if NOT_SETTINGS.contains(&key(&option)) || !matches!(option.get_action(), ArgAction::SetTrue) {
            return option;
        }
        option
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .value_name("true|false")
            .value_parser(BoolishValueParser::new())
            .hide_possible_values(true)
    };
    Cli::command().mut_subcommands(|of| if has_settings(&of) { of.mut_args(switch) } else { of })
}

/// The settings, in the order of `--help`.
fn settings(of: &clap::Command) -> impl Iterator<Item = &Arg> {
    let own =
        |name: &str| OF_A_COMMAND.iter().any(|(command, names)| *command == of.get_name() && names.contains(&name));
    let is_setting = move |name: &str| !NOT_SETTINGS.contains(&name) && !own(name);
    of.get_arguments().filter(move |option| !option.is_hide_set() && option.get_long().is_some_and(is_setting))
}

fn setting<'a>(of: &'a clap::Command, name: &str) -> Option<&'a Arg> {
    settings(of).find(|option| key(option) == name)
}

fn key(option: &Arg) -> &str {
    option.get_long().unwrap_or_default()
}

/// Whether two settings cannot both be given.
fn exclusive(of: &clap::Command, a: &Arg, b: &Arg) -> bool {
    of.get_arg_conflicts_with(a).contains(&b) || of.get_arg_conflicts_with(b).contains(&a)
}

fn from_environment<'a>(of: &'a clap::Command, variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<Entry<'a>> {
    let entry = |option| {
        let name = format!("STREAMDET_{}", key(option).to_ascii_uppercase().replace('-', "_"));
        Some(Entry { option, values: vec![variable(&name)?], origin: format!("environment {name}") })
    };
    settings(of).filter_map(entry).collect()
}

/// `streamdet/config.toml` in the user's config folder, if it is there.
fn default_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(folder.join("streamdet/config.toml")).filter(|path| path.exists())
}

fn from_file<'a>(all: &clap::Command, of: &'a clap::Command, path: &Path) -> Result<Vec<Entry<'a>>, ConfigError> {
    let file = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| {
        refused(
            &file.to_string(),
            &e.to_string(),
            "give the path of a TOML file to --config or STREAMDET_CONFIG, or leave both out",
        )
    })?;
    let place = |offset: usize| format!("{file}:{}", text[..offset].matches('\n').count() + 1);
    let table: BTreeMap<Spanned<String>, Spanned<Value>> = toml::from_str(&text).map_err(|e| {
        let offset = e.span().map_or(0, |span| span.start);
        refused(&place(offset), e.message(), "write `key = value`, one per line, text in quotes")
    })?;
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let entry = |(name, value): (&Spanned<String>, &Spanned<Value>)| {
        let (place, name, value) = (place(name.span().start), name.get_ref(), value.get_ref());
        let Some(option) = setting(of, name) else {
            if all.get_subcommands().filter(|other| has_settings(other)).any(|other| setting(other, name).is_some()) {
                return Ok(None);
            }
            return Err(refused(&place, &format!("unknown key `{name}`"), &instead_of(of, name, value)));
        };
        match texts(option, value) {
            Ok(values) => Ok(Some(Entry { option, values, origin: place })),
            Err(expected) => {
                let value = value.to_string();
                let problem = format!("{name} = {}: expected {expected}", shown(name, &value));
                Err(refused(&place, &problem, &described(of, name)))
            }
        }
    };
    entries.into_iter().filter_map(|pair| entry(pair).transpose()).collect()
}

/// What to do about a key that is no setting.
fn instead_of(of: &clap::Command, name: &str, value: &Value) -> String {
    if value.is_table() {
        return "keys are at the top level, outside of [tables]".into();
    }
    if NOT_SETTINGS.contains(&name) {
        return format!("--{name} belongs on the command line only");
    }
    let nearest = nearest(name, settings(of).map(key)).unwrap_or_default();
    format!("the nearest is `{nearest}`; --show-config lists every key")
}

/// A value of the config file as one would write it on the command line, or what was expected.
fn texts(option: &Arg, value: &Value) -> Result<Vec<OsString>, &'static str> {
    let kind = option.get_value_parser().type_id();
    let is = |parsers: &[ValueParser]| parsers.iter().any(|parser| parser.type_id() == kind);
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.into()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Some(value.to_string().into()),
        _ => None,
    };
    if option.get_value_delimiter().is_some() || matches!(option.get_action(), ArgAction::Append) {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        return items.iter().map(scalar).collect::<Option<_>>().ok_or("a list, as [\"a\", \"b\"] or \"a,b\"");
    }
    let numbers: [ValueParser; 6] = [
        value_parser!(u16).into(),
        value_parser!(u32).into(),
        value_parser!(u64).into(),
        value_parser!(usize).into(),
        value_parser!(i32).into(),
        value_parser!(f32).into(),
    ];
    let (fits, expected) = if is(&[ValueParser::bool()]) {
        (value.is_bool(), "true or false")
    } else if is(&[ValueParser::string(), ValueParser::path_buf()]) {
        (value.is_str(), "text in quotes")
    } else if is(&numbers) {
        (value.is_integer() || value.is_float(), "a number, without quotes")
    } else {
        (scalar(value).is_some(), "text in quotes or a number")
    };
    let text = scalar(value).unwrap_or_else(|| value.to_string().into());
    if fits { Ok(vec![text]) } else { Err(expected) }
}

/// Every value of a layer must pass clap's parsers, and no two of its settings exclude each other.
fn check(of: &clap::Command, layer: &[Entry]) -> Result<(), ConfigError> {
    for (number, Entry { option, values, origin }) in layer.iter().enumerate() {
        let name = key(option);
        for value in values {
            let mut flag = OsString::from(format!("--{name}="));
            flag.push(value);
            let alone = [OsStr::new("streamdet"), OsStr::new(of.get_name()), OsStr::new("--show-config"), &flag];
            if let Err(e) = command().try_get_matches_from(alone) {
                let value = value.to_string_lossy();
                let problem = format!("{name} = {}: {}", shown(name, &value), reason(&e));
                return Err(refused(origin, &problem, &described(of, name)));
            }
        }
        if let Some(other) = layer[..number].iter().find(|other| exclusive(of, option, other.option)) {
            let problem = format!("`{name}` cannot be combined with `{}` ({})", key(other.option), other.origin);
            return Err(refused(origin, &problem, "keep one of the two"));
        }
    }
    Ok(())
}

/// A setting's value, unless it is a secret.
fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if ["password", "token"].contains(&name) { "***" } else { value }
}

fn described(of: &clap::Command, name: &str) -> String {
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

/// What `--show-config` prints: key, value, and where it came from.
fn table(of: &clap::Command, set: &ArgMatches, chosen: &[Entry], model: Option<&ModelRef>) -> String {
    let mut rows = vec![["key".to_owned(), "value".to_owned(), "from".to_owned()]];
    for option in settings(of) {
        let values = set.get_raw(option.get_id().as_str()).unwrap_or_default();
        let value = values.map(|value| redact(&value.to_string_lossy())).collect::<Vec<_>>().join(",");
        let told =
            || option.get_help()?.to_string().split_once("[default: ").map(|(_, d)| d.trim_end_matches(']').into());
        let (value, origin) = if let Some(entry) = chosen.iter().find(|entry| entry.option == option) {
            (value, entry.origin.clone())
        } else if let Some(other) = chosen.iter().find(|entry| exclusive(of, option, entry.option)) {
            (value, format!("not used with {}", key(other.option)))
        } else if let Some(card) = model.and_then(|model| model.card_default(key(option))) {
            (card, "model card".into())
        } else {
            (if value.is_empty() { told().unwrap_or(value) } else { value }, "default".into())
        };
        let value = if value.is_empty() { "-".into() } else { shown(key(option), &value).to_owned() };
        rows.push([key(option).to_owned(), printable(&value), printable(&redact(&origin))]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(0), width(1));
    rows.iter().fold(String::new(), |mut text, [key, value, origin]| {
        append(&mut text, format_args!("{key:keys$}  {value:values$}  {origin}\n"));
        text
    })
}
