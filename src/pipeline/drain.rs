//! The end of a run: its threads are waited for as long as they get on, and no longer.

use std::time::Duration;

use super::shared::{Running, Shared};
use crate::clock::Deadline;
use crate::report::threads::ProcStat;
use crate::stream::Dropped;
use crate::thread::ThreadError;

/// How long threads that get nowhere are waited for. What they may wait for themselves (a server's answer to a teardown, a
/// disk that spins up, a network mount that comes back) takes seconds.
const IDLE: Duration = Duration::from_secs(15);
/// How long the thread of a recording waits for its outputs, less than what it is waited for itself.
pub(super) const OUTPUT_IDLE: Duration = Duration::from_secs(10);
/// How long they are waited for in any case: longer than an encoder (2 minutes) and a file (2 minutes) may take to be finished.
const LONGEST: Duration = Duration::from_mins(5);
/// How long a thread that has nothing left to do may take to end.
pub(super) const SOON: Duration = Duration::from_secs(5);
/// How often it is seen whether they get on.
const LOOK: Duration = Duration::from_secs(1);
/// What a program that finishes files does in [`LOOK`], at least: CPU time in clock ticks of 1/100 s, or bytes written. A
/// dashboard that is drawn, a server that is asked for metrics, stay below both.
const BUSY: Work = Work { ticks: 20, bytes: 256 << 10 };

/// What the process has done so far.
#[derive(Debug, Clone, Copy)]
struct Work {
    ticks: u64,
    bytes: u64,
}

impl Work {
    fn read() -> Self {
        let ticks = ProcStat::own().map_or(0, |stat| stat.user + stat.system);
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or(0);
        Self { ticks, bytes }
    }

    fn is_busy_since(self, before: Self) -> bool {
        self.ticks.saturating_sub(before.ticks) >= BUSY.ticks || self.bytes.saturating_sub(before.bytes) >= BUSY.bytes
    }
}

/// How long something is waited for.
pub(super) struct Patience {
    length: Duration,
    idle: Deadline,
    last: Deadline,
    work: Work,
}

impl Patience {
    /// `idle` without getting on, or [`LONGEST`].
    pub fn new(idle: Duration) -> Self {
        Self { length: idle, idle: Deadline::after(idle), last: Deadline::after(LONGEST), work: Work::read() }
    }

    /// Waits until `ended` says so within the time that it is given; whether it did.
    pub fn waits(&mut self, ended: &mut dyn FnMut(Duration) -> bool) -> bool {
        if ended(Duration::ZERO) {
            return true;
        }
        loop {
            if ended(LOOK.min(self.idle.left()).min(self.last.left())) {
                // Something got on.
                self.idle = Deadline::after(self.length);
                return true;
            }
            if self.idle.is_over() || self.last.is_over() {
                return false;
            }
            let work = Work::read();
            if work.is_busy_since(self.work) {
                self.idle = Deadline::after(self.length);
            }
            self.work = work;
        }
    }
}

/// Waits for every thread of the run. One that does not end is left alone, and is an error.
pub(super) fn join(shared: &Shared) {
    let mut patience = Patience::new(IDLE);
    // Threads that are waited for may start others: the sink of a file whose turn comes.
    while let Some(Running { stream, thread }) = shared.next_running() {
        let ended = patience.waits(&mut |time| thread.ends_within(time));
        let outcome =
            if ended { thread.join() } else { Err(ThreadError::Late { name: thread.name().to_owned(), within: IDLE }) };
        let Err(error) = outcome else { continue };
        if let Some(stream) = stream.filter(|_| error.thread().starts_with("sink-")) {
            let failed = shared.stream(stream).counters.give_up_sink();
            shared.say_dropped(stream, Dropped { failed, ..Dropped::default() });
        }
        shared.fail_thread(stream, error);
    }
}
