//! SIGINT and SIGTERM: the first asks to finish, the second leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::{Unusable, or_unusable};
use crate::ui::dashboard::terminal::give_back;

/// What has come so far.
pub(super) struct Signals {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    /// Set by either.
    pub(super) stop: Arc<AtomicBool>,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn watch() -> Self {
        let signals = Self { interrupt: Arc::default(), terminate: Arc::default(), stop: Arc::default() };
        for (signal, came, code) in [(SIGINT, &signals.interrupt, 130), (SIGTERM, &signals.terminate, 143)] {
            let stop = signals.stop.clone();
            let leaving = move || {
                if stop.load(Ordering::SeqCst) {
                    give_back();
                }
            };
            // SAFETY: reading an atomic and giving the terminal back are allowed in a signal handler.
            let _ = unsafe { signal_hook::low_level::register(signal, leaving) };
            // In this order the second signal leaves at once.
            let _ = flag::register_conditional_shutdown(signal, code, signals.stop.clone());
            let _ = flag::register(signal, came.clone());
            let _ = flag::register(signal, signals.stop.clone());
        }
        signals
    }

    /// The exit code of a command that has ended or was interrupted; says why, where there was nothing to run.
    pub(super) fn conclude(&self, result: Result<u8, Unusable>) -> u8 {
        self.exit_code(or_unusable(result))
    }

    /// The exit code of a command that would else have ended with `code`.
    pub(super) fn exit_code(&self, code: u8) -> u8 {
        match code {
            0 if self.interrupt.load(Ordering::SeqCst) => 130,
            0 if self.terminate.load(Ordering::SeqCst) => 143,
            _ => code,
        }
    }
}
