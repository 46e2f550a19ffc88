//! When a stream last made progress, and whether it has stalled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, HostTime};

/// The last time that anything happened; streaming threads note it, the thread that waits for the stream reads it.
pub(super) struct Activity {
    clock: Arc<dyn Clock>,
    /// Nanoseconds since the clock was made, plus one; 0 before anything happened.
    last: AtomicU64,
}

impl Activity {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: AtomicU64::new(0) }
    }

    /// Something happens now.
    pub fn note(&self) {
        let ns = u64::try_from(self.clock.now().since_start().as_nanos()).unwrap_or(u64::MAX);
        self.last.fetch_max(ns.saturating_add(1), Ordering::Relaxed);
    }

    /// When something last happened.
    pub fn last(&self) -> Option<HostTime> {
        let ns = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(HostTime::from_start(Duration::from_nanos(ns)))
    }
}

/// Tells when a running stream has stalled: nothing happened for a while, although nothing held it back.
#[derive(Debug)]
pub(super) struct StallTimer {
    timeout: Duration,
    since: HostTime,
}

impl StallTimer {
    pub fn new(timeout: Duration, now: HostTime) -> Self {
        Self { timeout, since: now }
    }

    /// How long it may stay silent from `now` on; `None` when it has stalled. `held` says that it is being held back: by a
    /// full lane, a pause, or because the session is still being made.
    pub fn check(&mut self, now: HostTime, last: Option<HostTime>, held: bool) -> Option<Duration> {
        self.since = self.since.max(last.unwrap_or_default());
        if held {
            self.since = now;
        }
        self.timeout.checked_sub(now.since(self.since)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimulatedClock;

    #[test]
    fn a_stream_stalls_after_its_timeout_unless_it_is_held() {
        let clock = Arc::new(SimulatedClock::default());
        let activity = Activity::new(clock.clone());
        assert_eq!(activity.last(), None);
        let secs = Duration::from_secs;
        let mut timer = StallTimer::new(secs(5), clock.now());
        let mut check = |after, held| {
            clock.advance(secs(after));
            timer.check(clock.now(), activity.last(), held)
        };
        assert_eq!([check(0, false), check(4, false)], [Some(secs(5)), Some(secs(1))]);
        activity.note();
        assert_eq!([check(4, false), check(100, true), check(4, false)], [Some(secs(1)), Some(secs(5)), Some(secs(1))]);
        assert_eq!(check(1, false), None);
        assert_eq!(activity.last(), Some(HostTime::from_start(secs(4))));
    }
}
