//! The two clocks of the program, as two types that never mix.
//!
//! [`HostTime`] says when something happened on this machine (monotonic, from one [`Clock`] that the whole pipeline is
//! given); [`StreamTime`] says where in the video a frame belongs (its PTS). A latency is a difference of host times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::shutdown::Shutdown;

/// A moment on this machine: time since the clock was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct HostTime(Duration);

impl HostTime {
    /// The moment `since_start` after the clock was made.
    #[must_use]
    pub fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment so much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// Time since the clock was made.
    #[must_use]
    pub fn since_start(self) -> Duration {
        self.0
    }
}

/// A position in the video: presentation time from the stream's own origin, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamTime {
    /// Nanoseconds.
    pub ns: u64,
}

/// Where host time comes from. Everything that stamps takes one, so that tests can turn the hands.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> HostTime;

    /// Returns when so much time has passed on this clock.
    fn sleep(&self, time: Duration);

    /// Returns when so much time has passed on this clock or `shutdown` is requested; whether it was not.
    fn pause(&self, time: Duration, shutdown: &Shutdown) -> bool;
}

/// The clock of this process, which starts when it is first asked for: at the beginning of `main`.
#[must_use]
pub fn process() -> &'static Arc<dyn Clock> {
    static CLOCK: OnceLock<Arc<dyn Clock>> = OnceLock::new();
    CLOCK.get_or_init(|| Arc::new(RealClock::new()))
}

/// The present moment by the clock of this process, where none is injected: what a person sees, and waiting for the network.
#[must_use]
pub fn now() -> HostTime {
    process().now()
}

/// The present moment as libraries take it that keep no time of their own.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "theirs is std's")]
pub fn instant() -> Instant {
    Instant::now()
}

/// A moment on this machine by which something has to be there, where the real time is what counts.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(HostTime);

impl Deadline {
    /// So much later than now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(now().after(time))
    }

    /// The time that is left; zero once it is over.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.since(now())
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

#[expect(clippy::disallowed_methods, reason = "the one place where time is read")]
impl RealClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn now(&self) -> HostTime {
        HostTime(self.start.elapsed())
    }

    fn sleep(&self, time: Duration) {
        #[expect(clippy::disallowed_methods, reason = "the one place where a thread sleeps")]
        std::thread::sleep(time);
    }

    fn pause(&self, time: Duration, shutdown: &Shutdown) -> bool {
        !shutdown.wait(time)
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    ns: AtomicU64,
}

impl SimulatedClock {
    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.ns.fetch_add(ns, Ordering::SeqCst);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> HostTime {
        HostTime(Duration::from_nanos(self.ns.load(Ordering::SeqCst)))
    }

    /// Nobody else turns the hands meanwhile.
    fn sleep(&self, time: Duration) {
        self.advance(time);
    }

    fn pause(&self, time: Duration, shutdown: &Shutdown) -> bool {
        if !shutdown.is_requested() {
            self.advance(time);
        }
        !shutdown.is_requested()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_clock_moves_only_when_told() {
        let clock = SimulatedClock::default();
        let before = clock.now();
        assert_eq!(clock.now().since(before), Duration::ZERO);
        clock.advance(Duration::from_millis(20));
        assert_eq!(clock.now().since(before), Duration::from_millis(20));
        assert_eq!(before.since(clock.now()), Duration::ZERO);
    }
}
