//! What works on this machine: decoders, sources, inference, outputs; each with the remedy where it does not.

mod checks;

pub use checks::{all, gstreamer_version, versions};

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// It is missing; what needs it does not work.
    Missing,
    /// There is none, which is no fault.
    None,
}

impl State {
    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::None => "none",
        }
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Check {
    /// What it belongs to: `decode`.
    pub group: &'static str,
    /// What was checked.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found, or why there is nothing.
    pub detail: String,
    /// How to get it.
    pub remedy: Option<String>,
    /// Whether every run needs it.
    pub essential: bool,
}
