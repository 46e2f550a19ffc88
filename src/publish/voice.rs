//! What the user is told while it is published.

use std::sync::{Mutex, PoisonError};

use crate::detections::Say;
use crate::secrets::redact;
use crate::text::Once;

/// Says things, and keeps what comes before anybody listens.
#[derive(Default)]
pub(super) struct Voice {
    state: Mutex<State>,
    /// What is said once.
    said: Once,
}

#[derive(Default)]
struct State {
    say: Option<Say>,
    early: Vec<String>,
}

/// Notices before anybody listens, at most.
const EARLY: usize = 32;

impl Voice {
    /// From now on it is told here.
    pub fn listen(&self, say: &Say) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let early = std::mem::take(&mut state.early);
        state.say = Some(say.clone());
        drop(state);
        for text in &early {
            say(text);
        }
    }

    /// Says it.
    pub fn say(&self, text: &str) {
        let text = redact(text);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.say.clone() {
            Some(say) => {
                drop(state);
                say(&text);
            }
            None if state.early.len() < EARLY => state.early.push(text),
            None => {}
        }
    }

    /// Says it, unless it was said before.
    pub fn once(&self, text: &str) {
        if self.said.is_new(text) {
            self.say(text);
        }
    }
}
