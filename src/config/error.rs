//! Why there are no settings to run with.

use super::file::Fault;

/// Why there are no settings to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line is wrong, or asked for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The environment or the config file holds what cannot be used: every place, what was expected, and the remedy.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: "))]
    Refused(Vec<Fault>),
}

impl From<Vec<Fault>> for ConfigError {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Refused(faults)
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self::Refused(vec![fault])
    }
}
