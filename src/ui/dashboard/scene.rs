//! Everything that is drawn, at one moment.

use std::sync::Arc;
use std::time::Duration;

use super::log::Log;
use super::state::{Phase, Stream, View};
use super::theme::{QUIET, Theme};
use crate::controls::Controls;

/// What stays the same during a run.
pub(crate) struct Facts {
    /// `detect` or `bench`.
    pub command: &'static str,
    /// Name, classes and input size.
    pub model: String,
    pub classes: Arc<[String]>,
}

/// Everything that is drawn.
pub(super) struct Scene<'a> {
    pub facts: &'a Facts,
    pub view: &'a View,
    pub controls: &'a Controls,
    pub log: &'a Log,
    pub theme: Theme,
    /// Since the dashboard is up.
    pub elapsed: Duration,
    pub selected: usize,
    pub help: bool,
    /// Whether the end was asked for.
    pub finishing: bool,
}

impl Scene<'_> {
    /// The stream that is shown.
    pub fn stream(&self) -> Option<&Stream> {
        self.view.streams.get(self.selected)
    }

    /// `conf 0.25 · HUD off`.
    pub fn switches(&self) -> String {
        let hud = if self.controls.hud() { "on" } else { "off" };
        format!("conf {:.2} · HUD {hud}", self.controls.confidence())
    }

    /// A sign and a word for where a stream stands, in a style that underlines it.
    pub fn phase(&self, stream: &Stream) -> (char, &'static str, ratatui::style::Style) {
        let theme = self.theme;
        match stream.phase {
            Phase::Opening => ('◌', "opening", QUIET),
            Phase::Running if self.controls.is_paused() && stream.recorded => ('‖', "paused", theme.warning()),
            Phase::Running => ('●', "running", theme.good()),
            Phase::Reconnecting => ('↻', "reconnecting", theme.warning()),
            Phase::Ended => ('■', "ended", QUIET),
            Phase::Failed => ('✗', "failed", theme.bad()),
        }
    }
}
