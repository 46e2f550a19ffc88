//! SIGINT and SIGTERM: the first asks to finish, the second leaves at once.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, iterator, low_level};

use super::messages::{or_unusable, print_error, print_line};
use crate::shutdown::Shutdown;
use crate::thread::{self, Thread, test_panic_point};
use crate::ui::dashboard::terminal::give_back;

/// What is watched for.
const WATCHED: [i32; 2] = [SIGINT, SIGTERM];

/// What has come so far.
pub(super) struct Signals {
    /// The first signal.
    first: Arc<OnceLock<i32>>,
    /// Requested by it.
    pub(super) shutdown: Shutdown,
    /// It ends only by a panic.
    thread: Option<Thread<()>>,
}

impl Signals {
    /// Watches from now on.
    pub(super) fn watch() -> Self {
        let (first, shutdown) = (Arc::<OnceLock<i32>>::default(), Shutdown::new());
        let watcher = Watcher { first: first.clone(), shutdown: shutdown.clone() };
        let started = iterator::Signals::new(WATCHED)
            .map_err(|e| e.to_string())
            .and_then(|signals| thread::spawn("signals", move || watcher.watch(signals)).map_err(|e| e.to_string()));
        if let Err(problem) = &started {
            print_line(&format!(
                "  notice: signals cannot be watched ({problem}): the first one ends the program at once"
            ));
        }
        Self { first, shutdown, thread: started.ok() }
    }

    /// The exit code of a command that has ended or was interrupted; says why, where there was nothing to run.
    pub(super) fn conclude(self, result: anyhow::Result<u8>) -> u8 {
        // What was interrupted before it began did not fail.
        let interrupted = result.is_err() && self.first.get().is_some();
        let code = or_unusable(result);
        self.exit_code(if interrupted { 0 } else { code })
    }

    /// The exit code of a command whose normal end it is to be told to stop.
    pub(super) fn stopped(self, result: anyhow::Result<u8>) -> u8 {
        let is_stopped = self.first.get().is_some();
        match self.conclude(result) {
            code if is_stopped && code > 128 => 0,
            code => code,
        }
    }

    /// The exit code of a command that would else have ended with `code`.
    pub(super) fn exit_code(self, code: u8) -> u8 {
        if let Some(Err(panicked)) = self.thread.filter(Thread::is_finished).map(Thread::join) {
            print_error(&panicked);
            return code.max(1);
        }
        match (code, self.first.get()) {
            (0, Some(signal)) => u8::try_from(128 + signal).unwrap_or(1),
            _ => code,
        }
    }
}

/// The thread's own.
struct Watcher {
    first: Arc<OnceLock<i32>>,
    shutdown: Shutdown,
}

impl Watcher {
    fn watch(self, mut signals: iterator::Signals) {
        for signal in signals.forever() {
            test_panic_point();
            if self.shutdown.is_requested() {
                give_back();
                low_level::exit(128 + signal);
            }
            // An earlier one would have requested the shutdown.
            let _ = self.first.set(signal);
            self.shutdown.request();
        }
    }
}

/// Without its thread a program that ignores signals could not be ended: the run ends, and the next signal leaves at once.
impl Drop for Watcher {
    fn drop(&mut self) {
        self.shutdown.request();
        for signal in WATCHED {
            // Where it fails, SIGKILL is left.
            let _ = flag::register_conditional_shutdown(signal, 128 + signal, Arc::new(AtomicBool::new(true)));
        }
    }
}
