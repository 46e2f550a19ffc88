//! Streams of a config file or of a request: each is a `detect` of its own, in one process.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use clap::{Command, FromArgMatches};
use toml::Value;

use super::changes::{RENEWED, Settings, Values};
use super::error::ConfigError;
use super::file::{Fault, File, Key, STREAM, Table, check_name};
use super::kept::value;
use super::known::{is_of_the_process, key, own_settings, setting};
use super::layers::{Entry, Scope, add, check, check_needs, from_environment, from_keys, parted};

/// The command whose options a stream has.
pub(super) const DETECT: &str = "detect";

/// What streams inherit, and the streams of the config file.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The command line, as parsed.
    pub(super) all: Command,
    /// What flags, the environment and the file's top level give every stream.
    pub(super) base: Vec<Entry>,
    /// What they give the process, and, where streams inherit it, requests.
    pub(super) process: Vec<Entry>,
    /// `[[stream]]`.
    pub(super) streams: Vec<Table>,
    /// What is wrong with what streams inherit; commands without streams pass it over.
    pub(super) faults: Vec<Fault>,
}

/// A stream.
#[derive(Debug)]
pub struct StreamConfig<A> {
    /// Its name.
    pub name: String,
    /// Where it was said: `FILE:LINE`, or a request.
    pub place: String,
    /// As `streamdet detect SOURCE` has them, with every layer applied.
    pub args: A,
    /// What was chosen, by key, for [`changes`](super::changes()).
    pub(super) values: Values,
}

impl<A> StreamConfig<A> {
    /// Whether a setting was chosen, by whatever layer.
    #[must_use]
    pub fn chose(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }
}

impl Layers {
    /// Of a command line that says nothing.
    #[must_use]
    pub fn silent(all: Command) -> Self {
        Self { all, ..Self::default() }
    }

    /// The same, of which streams inherit nothing but these settings.
    #[must_use]
    pub fn only(&self, keys: &[&str]) -> Self {
        let base = self.base.iter().filter(|entry| keys.contains(&entry.key.as_str())).cloned().collect();
        Self { base, ..self.clone() }
    }

    /// The same, of which files inherit all that the command was given.
    #[must_use]
    pub fn whole(&self) -> Self {
        let is_of_detect =
            |entry: &&Entry| self.all.find_subcommand(DETECT).is_some_and(|of| setting(of, &entry.key).is_some());
        Self { base: self.process.iter().filter(is_of_detect).cloned().collect(), ..self.clone() }
    }

    /// What the command was given that is the process's, and no file's.
    #[must_use]
    pub fn of_the_process(&self) -> Option<&str> {
        let of = self.all.find_subcommand(DETECT)?;
        let mut given = self.process.iter().map(|entry| entry.key.as_str());
        given.find(|key| setting(of, key).is_some_and(|option| is_of_the_process(of, option)))
    }

    /// What the command was given of the options of `detect`, as a table of the config file.
    ///
    /// # Errors
    /// What holds a secret, which a table does not.
    pub fn table(&self) -> Result<toml::Table, Vec<String>> {
        let (mut table, mut left_out) = (toml::Table::new(), Vec::new());
        for entry in &self.process {
            let Some(option) = self.all.find_subcommand(DETECT).and_then(|of| setting(of, &entry.key)) else {
                continue;
            };
            let values: Vec<&OsStr> = entry.values.iter().map(OsString::as_os_str).collect();
            table.insert(entry.key.clone(), value(option, &values, &mut left_out));
        }
        if left_out.is_empty() { Ok(table) } else { Err(left_out) }
    }

    /// What command `of` was given that streams inherit: by its `flags`, the environment and the top level of `file`.
    pub(super) fn of(
        all: &Command,
        (of, flags): (&Command, &[Entry]),
        variable: &dyn Fn(&str) -> Option<OsString>,
        file: &File,
    ) -> Self {
        let mut layers = Self { all: all.clone(), streams: file.streams.clone(), ..Self::default() };
        let Some(detect) = all.find_subcommand(DETECT) else { return layers };
        let shared = |entry: &&Entry| setting(of, &entry.key).is_some() && setting(detect, &entry.key).is_some();
        layers.base = flags.iter().filter(shared).cloned().collect();
        let variables = from_environment(detect, variable, &|_| true);
        check(all, detect, &variables, &mut layers.faults);
        let keys = from_keys(all, detect, &parted(file).1, Scope::Shared, &mut layers.faults);
        for layer in [variables, keys] {
            add(detect, &mut layers.base, layer);
        }
        layers
    }

    /// Whether streams inherit a setting: it is then each stream's, and no longer the process's.
    pub(super) fn inherits(&self, name: &str) -> bool {
        let detect = self.all.find_subcommand(DETECT);
        detect.is_some_and(|of| setting(of, name).is_some_and(|option| !is_of_the_process(of, option)))
    }
}

/// The streams of the config file, in its order.
///
/// # Errors
/// Every key and value of every table that cannot be used, with its line; names that are none, or given twice.
pub fn streams<A: FromArgMatches>(layers: &Layers) -> Result<Vec<StreamConfig<A>>, ConfigError> {
    let (mut found, mut faults) = (Vec::new(), layers.faults.clone());
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for table in &layers.streams {
        let named = match table.key("name") {
            Some(Key { value: Value::String(name), place, .. }) => {
                let twice = taken.insert(name, place).map(|first| {
                    Fault::new(
                        place,
                        format!("name = {name:?}: {first} has that name"),
                        "give each stream a name of its own",
                    )
                });
                faults.extend(twice);
                Some(name.as_str())
            }
            Some(Key { value, place, .. }) => {
                faults.push(Fault::new(place, format!("name = {value}: expected text in quotes"), NAME));
                None
            }
            None => {
                faults.push(Fault::new(&table.place, "a stream without a name", NAME));
                None
            }
        };
        let keys: Vec<Key> = table.keys.iter().filter(|key| key.name != "name").cloned().collect();
        // What else is wrong with one that has no name is said as well.
        match stream(layers, named.unwrap_or("unnamed"), &keys, &table.place) {
            Ok(stream) => found.push(stream),
            Err(ConfigError::Refused(more)) => {
                let new = more.into_iter().filter(|fault| !faults.contains(fault)).collect::<Vec<_>>();
                faults.extend(new);
            }
            Err(usage) => return Err(usage),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults.into()) }
}

/// A stream that is not in the file: `own` are its settings and its `source`, `place` is where they were said, as `PUT
/// /v1/streams/gate`.
///
/// # Errors
/// Every key and value that cannot be used.
pub fn stream_from<A: FromArgMatches>(
    layers: &Layers,
    name: &str,
    own: &toml::Table,
    place: &str,
) -> Result<StreamConfig<A>, ConfigError> {
    let key = |(name, value): (&String, &Value)| Key { name: name.clone(), value: value.clone(), place: place.into() };
    stream(layers, name, &own.iter().map(key).collect::<Vec<_>>(), place)
}

/// What two configurations are compared by: see [`changes`](super::changes()).
#[must_use]
pub fn comparable<A>(layers: &Layers, streams: &[StreamConfig<A>]) -> Settings {
    let values = |entry: &Entry| (entry.key.clone(), texts(entry));
    // The certificate is the server's.
    let is_of_requests = |key: &str| layers.inherits(key) && !RENEWED.contains(&key);
    let of_all_streams = layers.base.iter().filter(|entry| entry.key == OF_ALL_STREAMS);
    let (requests, process): (Values, Values) =
        layers.process.iter().chain(of_all_streams).map(values).partition(|(key, _)| is_of_requests(key));
    Settings {
        // Of streams there is more to say.
        process: process.into_iter().filter(|(key, _)| key != STREAM).collect(),
        requests,
        streams: streams.iter().map(|stream| (stream.name.clone(), stream.values.clone())).collect(),
    }
}

/// Settings that name a file that is read.
const READ: [&str; 9] =
    ["zones", "pipeline", "detections", "geolocate-points", "telemetry", "camera", "terrain", "tls-cert", "tls-key"];
/// A setting that is the process's, and that only streams make use of.
const OF_ALL_STREAMS: &str = "decoder";

/// What changes when a file is written again.
fn state_of(path: &str) -> String {
    let state = std::fs::metadata(path).and_then(|file| Ok((file.len(), file.modified()?)));
    state.map_or_else(|error| error.kind().to_string(), |state| format!("{state:?}"))
}

const NAME: &str = "write name = \"gate\": letters, digits, -, _ and ., 64 at most";
const SOURCE: &str = "write source = \"rtsp://CAMERA/STREAM\", a file, or what else `streamdet detect` takes";

fn texts(entry: &Entry) -> Vec<String> {
    entry.values.iter().map(|value| value.to_string_lossy().into_owned()).collect()
}

/// One stream, of its keys but for its name.
fn stream<A: FromArgMatches>(
    layers: &Layers,
    name: &str,
    keys: &[Key],
    place: &str,
) -> Result<StreamConfig<A>, ConfigError> {
    let of = layers.all.find_subcommand(DETECT);
    let of = of.ok_or_else(|| Fault::new(place, "this command has no streams", "use `streamdet serve`"))?;
    let mut faults = layers.faults.clone();
    faults.extend(check_name(name).err().map(|problem| Fault::new(place, problem, NAME)));
    let source = match keys.iter().find(|key| key.name == "source") {
        Some(Key { value: Value::String(source), .. }) if !source.is_empty() => Some(source.as_str()),
        Some(Key { value, place, .. }) => {
            // It may hold a password: what is no text is no address.
            let shown = if value.is_str() { value.to_string() } else { value.type_str().to_owned() };
            faults.push(Fault::new(place, format!("source = {shown}: expected one source, in quotes"), SOURCE));
            None
        }
        None => {
            faults.push(Fault::new(place, format!("stream {name} has no source"), SOURCE));
            None
        }
    };
    let keys: Vec<Key> = keys.iter().filter(|key| key.name != "source").cloned().collect();
    let mut chosen = from_keys(&layers.all, of, &keys, Scope::Stream, &mut faults);
    let (Some(source), true) = (source, faults.is_empty()) else { return Err(faults.into()) };
    add(of, &mut chosen, layers.base.clone());
    check_needs(of, &chosen, &mut faults);
    if !faults.is_empty() {
        return Err(faults.into());
    }
    let matches = with_defaults(layers.all.clone(), DETECT, &chosen).try_get_matches_from([
        OsString::from("streamdet"),
        DETECT.into(),
        "--".into(),
        source.into(),
    ])?;
    let set = matches.subcommand_matches(DETECT).ok_or_else(|| Fault::new(place, "no stream", SOURCE))?;
    let mut values: Values = chosen.iter().map(|entry| (entry.key.clone(), texts(entry))).collect();
    values.insert("source".into(), vec![source.to_owned()]);
    values.retain(|key, _| key == "source" || layers.inherits(key));
    let has_tls = values.get("output").is_some_and(|all| all.iter().any(|output| output.starts_with("rtsps://")));
    values.retain(|key, _| has_tls || !RENEWED.contains(&key.as_str()));
    for (_, paths) in values.iter_mut().filter(|(key, _)| READ.contains(&key.as_str())) {
        let states: Vec<String> = paths.iter().map(|path| state_of(path)).collect();
        paths.extend(states);
    }
    Ok(StreamConfig { name: name.to_owned(), place: place.to_owned(), args: A::from_arg_matches(set)?, values })
}

/// The command line with what `chosen` gives command `name` as defaults.
pub(super) fn with_defaults(all: Command, name: &str, chosen: &[Entry]) -> Command {
    all.mut_subcommand(name, |of| {
        chosen.iter().fold(of, |of, entry| {
            let id = own_settings(&of).find(|option| key(option) == entry.key).map(|option| option.get_id().clone());
            match id {
                Some(id) => of.mut_arg(id, |option| option.default_values(entry.values.clone())),
                None => of,
            }
        })
    })
}
