//! Whether the program's threads get done with what they are at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, HostTime};
use crate::thread::Turns;

/// How long a thread may be at one frame before it counts as hung: longer than any model takes for a batch.
const HUNG: Duration = Duration::from_secs(30);

/// What threads are at, and since when that was seen.
pub struct Liveness {
    clock: Arc<dyn Clock>,
    under_way: Mutex<HashMap<(String, u64), HostTime>>,
}

impl Liveness {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, under_way: Mutex::default() }
    }

    /// Threads that have been at one frame for too long, by what was seen so far.
    #[must_use]
    pub fn hung(&self) -> Vec<String> {
        let now = self.clock.now();
        let mut known = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // By name and number: threads of several runs share their names.
        let under_way = Turns::under_way().into_iter().map(|turn| {
            let since = known.get(&turn).copied().unwrap_or(now);
            (turn, since)
        });
        *known = under_way.collect();
        known.iter().filter(|(_, since)| now.since(**since) > HUNG).map(|((name, _), _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimulatedClock;

    #[test]
    fn a_thread_that_is_at_one_frame_for_too_long_is_named() {
        let clock = Arc::new(SimulatedClock::default());
        let liveness = Liveness::new(clock.clone());
        let hangs = |liveness: &Liveness| liveness.hung().iter().any(|name| name == "hangs");
        // Another thread of its name, which gets done with its frames.
        let (turns, other) = (Turns::of("hangs"), Turns::of("hangs"));
        turns.take(|| {
            assert!(!hangs(&liveness));
            clock.advance(HUNG / 2);
            other.take(|| assert!(!hangs(&liveness)));
            clock.advance(HUNG);
            other.take(|| assert!(hangs(&liveness)));
        });
        assert!(!hangs(&liveness));
    }
}
