//! What happens to a stream of `serve`, line by line.

use super::logs::print_error;
use crate::pipeline::{Listener, RunEvent};
use crate::secrets::redact;
use crate::text::{Once, in_one_line, print_stderr, printable};

/// Says what happens to a stream, when it does.
pub struct Said {
    name: String,
    notices: Once,
}

impl Said {
    /// What happens to the stream of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), notices: Once::default() }
    }

    /// Something failed.
    pub fn error(&self, error: &dyn std::fmt::Display) {
        print_error(&format!("{}: {error}", self.name));
    }

    fn occurrence(&self, text: &str) {
        print_stderr(&format!("  {}: {}", self.name, printable(&redact(&in_one_line(text)))));
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Said {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::Notice(text) => {
                if self.notices.is_new(text) {
                    self.occurrence(text);
                }
            }
            RunEvent::Occurrence(text) => self.occurrence(text),
            RunEvent::Failed { error, .. } => self.error(error),
            RunEvent::StreamUp { .. }
            | RunEvent::Disconnected { .. }
            | RunEvent::Reconnected { .. }
            | RunEvent::Outage { .. }
            | RunEvent::StreamEnded { .. }
            | RunEvent::FrameDone { .. }
            | RunEvent::FrameRecorded(_)
            | RunEvent::Dropped { .. }
            | RunEvent::Occupancy { .. }
            | RunEvent::Queue { .. }
            | RunEvent::Output { .. }
            | RunEvent::Serving { .. } => {}
        }
    }
}
