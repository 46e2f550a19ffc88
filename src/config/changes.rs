//! What differs between the configuration that runs and a new one, and when it applies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a stream takes over while it runs: its `Controls` can change them.
const LIVE: [&str; 2] = ["conf", "hud"];
/// What the process takes over while it runs.
const LIVE_OF_THE_PROCESS: [&str; 1] = ["allow"];
/// The certificate of the process, which it takes over where it had one before, and of streams that are served by `rtsps://`.
pub(super) const RENEWED: [&str; 2] = ["tls-cert", "tls-key"];

/// Settings by their keys, as text.
pub type Values = BTreeMap<String, Vec<String>>;

/// What a configuration says, with every layer applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of the process: model, addresses.
    pub process: Values,
    /// What requests get where they do not say.
    pub requests: Values,
    /// Of each stream, by its name.
    pub streams: BTreeMap<String, Values>,
}

/// When a change applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// At once; nothing else notices.
    Now,
    /// At once; the stream stops and starts again, and the others go on.
    Stream,
    /// With the next start of the program.
    Restart,
}

/// One difference. Values are left out: one may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A stream is new.
    Added {
        /// Its name.
        stream: String,
    },
    /// A stream is as before, but a client has stopped or replaced it, or it has failed.
    Restored {
        /// Its name.
        stream: String,
    },
    /// A stream is gone.
    Removed {
        /// Its name.
        stream: String,
    },
    /// A key has another value, or is new or gone.
    Key {
        /// The stream's name; `None`: of the process.
        stream: Option<String>,
        /// The key.
        key: String,
        /// When it applies.
        effect: Effect,
    },
}

impl Change {
    /// When it applies.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Added { .. } | Self::Removed { .. } | Self::Restored { .. } => Effect::Now,
            Self::Key { effect, .. } => *effect,
        }
    }

    /// Whose it is; `None`: of the process, or of requests.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        match self {
            Self::Added { stream } | Self::Removed { stream } | Self::Restored { stream } => Some(stream),
            Self::Key { stream, .. } => stream.as_deref(),
        }
    }

    /// The setting; `None`: the whole stream.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Key { key, .. } => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { stream } => write!(f, "stream {stream} is new: it starts now"),
            Self::Removed { stream } => write!(f, "stream {stream} is gone: it stops now"),
            Self::Restored { stream } => write!(f, "stream {stream} did not run as configured: it starts again"),
            Self::Key { stream: None, key, effect: Effect::Restart } => write!(f, "{key} needs a restart"),
            Self::Key { stream: None, key, .. } => write!(f, "{key} applies now"),
            Self::Key { stream: Some(stream), key, effect: Effect::Now } => {
                write!(f, "stream {stream}: {key} applies now")
            }
            Self::Key { stream: Some(stream), key, effect: Effect::Stream } => {
                write!(f, "stream {stream}: {key} applies now, the stream starts again")
            }
            Self::Key { stream: Some(stream), key, effect: Effect::Restart } => {
                write!(f, "stream {stream}: {key} needs a restart")
            }
        }
    }
}

/// Every difference between what runs and what is to run: of the process first, then by stream.
#[must_use]
pub fn changes(running: &Settings, new: &Settings) -> Vec<Change> {
    let is_renewed = |key: &str| [running, new].iter().all(|all| all.process.contains_key(key));
    let process = different(&running.process, &new.process).map(|key| {
        let is_live =
            LIVE_OF_THE_PROCESS.contains(&key.as_str()) || (RENEWED.contains(&key.as_str()) && is_renewed(key));
        (key, if is_live { Effect::Now } else { Effect::Restart })
    });
    let requests = different(&running.requests, &new.requests).map(|key| (key, Effect::Now));
    let mut found: Vec<Change> =
        process.chain(requests).map(|(key, effect)| Change::Key { stream: None, key: key.clone(), effect }).collect();
    let names: BTreeSet<&String> = running.streams.keys().chain(new.streams.keys()).collect();
    for name in names {
        let stream = name.clone();
        match (running.streams.get(name), new.streams.get(name)) {
            (None, _) => found.push(Change::Added { stream }),
            (_, None) => found.push(Change::Removed { stream }),
            (Some(runs), Some(is_to)) => found.extend(different(runs, is_to).map(|key| {
                let effect = if LIVE.contains(&key.as_str()) { Effect::Now } else { Effect::Stream };
                Change::Key { stream: Some(stream.clone()), key: key.clone(), effect }
            })),
        }
    }
    found
}

/// Keys whose values differ.
fn different<'a>(a: &'a Values, b: &'a Values) -> impl Iterator<Item = &'a String> {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|key| a.get(*key) != b.get(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect()
    }

    fn settings(process: &[(&str, &str)], streams: &[(&str, &[(&str, &str)])]) -> Settings {
        let streams = streams.iter().map(|(name, pairs)| ((*name).to_owned(), values(pairs))).collect();
        Settings { process: values(process), requests: Values::new(), streams }
    }

    #[test]
    fn every_change_says_when_it_applies() {
        let running = settings(
            &[("model", "a.onnx"), ("batch", "4"), ("tls-cert", "a.pem"), ("tls-key", "a.key")],
            &[("gate", &[("source", "rtsp://a"), ("conf", "0.3")]), ("yard", &[("source", "rtsp://b")])],
        );
        let new = settings(
            &[("model", "b.onnx"), ("batch", "4"), ("token", "x"), ("tls-cert", "b.pem"), ("allow", "rtsp")],
            &[("gate", &[("source", "rtsp://c"), ("hud", "true")]), ("roof", &[("source", "rtsp://b")])],
        );
        let said: Vec<String> = changes(&running, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "allow applies now",
                "model needs a restart",
                "tls-cert applies now",
                "tls-key needs a restart",
                "token needs a restart",
                "stream gate: conf applies now",
                "stream gate: hud applies now",
                "stream gate: source applies now, the stream starts again",
                "stream roof is new: it starts now",
                "stream yard is gone: it stops now",
            ]
        );
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let same = settings(&[("model", "a.onnx")], &[("gate", &[("source", "rtsp://a")])]);
        assert_eq!(changes(&same, &same.clone()), []);
    }

    #[test]
    fn no_value_is_shown() {
        let (before, after) =
            (settings(&[("token", "old-s3cret")], &[("a", &[])]), settings(&[("token", "new-s3cret")], &[]));
        let said = format!("{:?} {}", changes(&before, &after), changes(&before, &after)[0]);
        assert!(said.contains("token") && !said.contains("s3cret"), "{said}");
    }
}
