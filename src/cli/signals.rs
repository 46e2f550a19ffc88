//! SIGINT, SIGTERM and SIGHUP: the first asks to finish, the second leaves at once. Of a server, SIGHUP asks to read the configuration again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator, low_level};

use super::messages::{or_unusable, print_error, print_line};
use crate::shutdown::Shutdown;
use crate::thread::{self, Thread, test_panic_point};
use crate::ui::dashboard::terminal::give_back;

/// What ends a server.
const OF_A_SERVER: [i32; 2] = [SIGINT, SIGTERM];
/// What ends everything else: a terminal that is closed, too, so that outputs are finished.
const ALL: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// What has come so far.
pub(super) struct Signals {
    /// The first signal.
    first: Arc<OnceLock<i32>>,
    /// Requested by it.
    pub(super) shutdown: Shutdown,
    /// It ends only by a panic.
    thread: Option<Thread<()>>,
}

/// Set by SIGHUP.
#[derive(Clone, Default)]
pub(super) struct HungUp(Arc<AtomicBool>);

impl HungUp {
    /// Whether it came since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Signals {
    /// Watches from now on.
    pub(super) fn watch() -> Self {
        // `nohup` has it ignored.
        if is_ignored(SIGHUP) { Self::watch_for(&OF_A_SERVER) } else { Self::watch_for(&ALL) }
    }

    /// Watches for what ends a server, and for SIGHUP.
    pub(super) fn of_a_server() -> (Self, HungUp) {
        let hung_up = HungUp::default();
        // Where it fails, a request does the same.
        let _ = flag::register(SIGHUP, hung_up.0.clone());
        (Self::watch_for(&OF_A_SERVER), hung_up)
    }

    fn watch_for(watched: &'static [i32]) -> Self {
        let (first, shutdown) = (Arc::<OnceLock<i32>>::default(), Shutdown::new());
        let watcher = Watcher { first: first.clone(), shutdown: shutdown.clone(), watched };
        let started = iterator::Signals::new(watched)
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

/// Whether a signal was ignored when the program started, as `nohup` has it (proc(5)).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    ignored >> (signal - 1) & 1 == 1
}

/// The thread's own.
struct Watcher {
    first: Arc<OnceLock<i32>>,
    shutdown: Shutdown,
    watched: &'static [i32],
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
        for signal in self.watched {
            // Where it fails, SIGKILL is left.
            let _ = flag::register_conditional_shutdown(*signal, 128 + *signal, Arc::new(AtomicBool::new(true)));
        }
    }
}
