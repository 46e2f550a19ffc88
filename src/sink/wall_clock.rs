//! What time it is, for deleting by age: a wall clock that was set ahead would take all that is there for old.

use std::time::{Duration, SystemTime};

use crate::clock::HostTime;

/// What clocks of machines that share a folder, and one clock from one look to the next, may differ by.
pub(super) const CLOCK_ERROR: Duration = Duration::from_mins(1);
/// How long a clock that was set ahead is doubted, at most: a wrong time from the network or a satellite is gone by then.
const LONGEST_DOUBT: Duration = Duration::from_hours(24);

/// The wall clock, held against the time that passes.
#[derive(Debug, Clone)]
pub(super) struct WallClock {
    /// A moment by both.
    wall: SystemTime,
    host: HostTime,
    /// Since when it is ahead.
    ahead: Option<HostTime>,
}

impl WallClock {
    /// Right at this moment.
    pub fn new(wall: SystemTime, host: HostTime) -> Self {
        Self { wall, host, ahead: None }
    }

    /// The time by which what is older than `keep` is deleted. A clock that was set ahead counts once it has stayed so for as long as that,
    /// a day at most; by how much it is ahead is given once.
    pub fn look(&mut self, wall: SystemTime, host: HostTime, keep: Duration) -> (SystemTime, Option<Duration>) {
        let expected = self.wall + host.since(self.host);
        let ahead = wall.duration_since(expected).unwrap_or_default();
        if ahead > CLOCK_ERROR {
            let is_new = self.ahead.is_none();
            let since = *self.ahead.get_or_insert(host);
            if host.since(since) < keep.min(LONGEST_DOUBT) {
                return (expected, is_new.then_some(ahead));
            }
        }
        // As it is set, or goes a little wrong.
        *self = Self::new(wall, host);
        (wall, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_clock_that_is_set_ahead_counts_once_it_has_stayed_so() {
        let start = SystemTime::UNIX_EPOCH + 1000 * HOUR;
        let at = |hours: u32| HostTime::from_start(hours * HOUR);
        let week = 7 * 24 * HOUR;
        let mut clock = WallClock::new(start, at(0));
        assert_eq!(clock.look(start + HOUR, at(1), week), (start + HOUR, None));
        // 20 years ahead for a while, as where a satellite's week number overflows.
        let years = 175_320 * HOUR;
        let right = |hours: u32| start + hours * HOUR;
        assert_eq!(clock.look(right(2) + years, at(2), week), (right(2), Some(years)));
        assert_eq!(clock.look(right(3) + years, at(3), week), (right(3), None), "said once");
        assert_eq!(clock.look(right(4), at(4), week), (right(4), None));
        // Set right, from a time long ago.
        assert_eq!(clock.look(right(5) + years, at(5), week), (right(5), Some(years)));
        assert_eq!(clock.look(right(28) + years, at(28), week), (right(28), None));
        assert_eq!(clock.look(right(29) + years, at(29), week), (right(29) + years, None), "after a day");
        // Set back, nothing is too old.
        assert_eq!(clock.look(right(30), at(30), week), (right(30), None));
        // What is kept for minutes is not kept for a day.
        assert_eq!(clock.look(right(31) + years, at(31), HOUR), (right(31), Some(years)));
        assert_eq!(clock.look(right(32) + years, at(32), HOUR), (right(32) + years, None));
    }
}
