//! A decoder that is slower than its stream: encoded frames are dropped until a keyframe comes that is in time, so that it
//! falls behind no further and shows something now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::HostTime;

/// How long to wait for a keyframe: some streams have none, and refresh their frames bit by bit.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing is dropped at first: many senders begin with a burst of what they still have, up to a keyframe long ago, which
/// is decoded faster than it was filmed.
const CATCH_UP: Duration = Duration::from_secs(3);

/// Encoded frames of a live stream that are dropped before the decoder because they are late.
pub(super) struct LateFrames {
    skipper: Mutex<Skipper>,
    /// Those that were not reported downstream yet.
    unreported: AtomicU64,
}

impl LateFrames {
    /// Later than `max_lag` is late.
    pub fn new(max_lag: Duration) -> Self {
        Self { skipper: Mutex::new(Skipper { max_lag, first: None, since: None }), unreported: AtomicU64::new(0) }
    }

    /// Whether an encoded frame that is `late` passes at `now`; `is_key` says that it can be decoded without those before it.
    pub fn passes(&self, late: Duration, is_key: bool, now: HostTime) -> bool {
        self.skipper.lock().unwrap_or_else(PoisonError::into_inner).passes(late, is_key, now)
    }

    /// One was dropped.
    pub fn count(&self) {
        self.unreported.fetch_add(1, Ordering::SeqCst);
    }

    /// How many were dropped since the last call.
    pub fn take(&self) -> u64 {
        if self.unreported.load(Ordering::SeqCst) == 0 { 0 } else { self.unreported.swap(0, Ordering::SeqCst) }
    }
}

/// Which encoded frames go into the decoder.
#[derive(Debug)]
struct Skipper {
    max_lag: Duration,
    first: Option<HostTime>,
    since: Option<HostTime>,
}

impl Skipper {
    fn passes(&mut self, late: Duration, is_key: bool, now: HostTime) -> bool {
        let catches_up = now.since(*self.first.get_or_insert(now)) <= CATCH_UP;
        match self.since {
            None if catches_up => {}
            None if late > self.max_lag => self.since = Some(now),
            Some(since) if late <= self.max_lag / 2 && (is_key || now.since(since) > PATIENCE) => self.since = None,
            _ => {}
        }
        self.since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_dropped_until_a_keyframe_in_time() {
        let late_frames = LateFrames::new(Duration::from_millis(500));
        let passes = |late, is_key, at: u64| {
            let at = at + 3001;
            late_frames.passes(Duration::from_millis(late), is_key, HostTime::from_start(Duration::from_millis(at)))
        };
        let at_first = |late, at| {
            late_frames.passes(Duration::from_millis(late), false, HostTime::from_start(Duration::from_millis(at)))
        };
        assert!(at_first(0, 0) && at_first(5000, 1) && at_first(3000, 3000), "a burst at the start is taken");
        let seen = [
            passes(400, false, 0),
            passes(501, false, 10),
            passes(490, true, 20),
            passes(100, false, 30),
            passes(100, true, 40),
            passes(100, false, 50),
        ];
        assert_eq!(seen, [true, false, false, false, true, true]);
        assert!(!passes(600, true, 1000));
        assert!(!passes(0, false, 11_000));
        assert!(passes(0, false, 11_001));
    }
}
