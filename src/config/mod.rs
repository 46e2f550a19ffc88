//! Layered settings: flags override the environment, which overrides the config file, which overrides the defaults.
//!
//! Environment and file become defaults of clap's options. So clap's own parsers check them, a flag beats them by itself,
//! and nothing here lists the options: a new flag is a setting at once. Commands with `--show-config` have settings; the file is
//! theirs together, so a key that another one of them knows is passed over. `[COMMAND]` holds what is for one command alone,
//! `[[stream]]` what is for one stream.

mod changes;
pub mod choices;
mod error;
mod examine;
mod file;
mod kept;
mod known;
mod layers;
mod live;
mod parse;
mod publish;
mod streams;
mod table;
mod telemetry;

pub use changes::{Change, Effect, Settings, Values, changes};
pub use error::ConfigError;
pub use examine::{Examined, examine};
pub use file::{Fault, File, Key, STREAM, Table, check_name};
pub use kept::Kept;
pub use live::LiveArgs;
pub use parse::{Parsed, parse};
pub use publish::PublishOptions;
pub use streams::{Layers, StreamConfig, comparable, stream_from, streams};
pub use telemetry::{TelemetryError, TelemetryOptions};
