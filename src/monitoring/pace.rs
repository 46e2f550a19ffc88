//! How many frames a second are processed.

use crate::clock::HostTime;

/// Frames of the second that goes on and of the one before it.
#[derive(Debug, Default)]
pub struct Pace {
    second: u64,
    frames: u64,
    before: u64,
}

impl Pace {
    fn turn(&mut self, now: HostTime) {
        let second = now.since_start().as_secs();
        if second != self.second {
            self.before = if second == self.second + 1 { self.frames } else { 0 };
            (self.second, self.frames) = (second, 0);
        }
    }

    /// One more frame.
    pub fn frame(&mut self, now: HostTime) {
        self.turn(now);
        self.frames += 1;
    }

    /// Frames of the last full second.
    pub fn before(&mut self, now: HostTime) -> u64 {
        self.turn(now);
        self.before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_full_second() {
        let mut pace = Pace::default();
        let mut at = |ms| {
            let now = HostTime::from_start(Duration::from_millis(ms));
            pace.frame(now);
            pace.before(now)
        };
        let before: Vec<u64> = [0, 400, 999, 1000, 1999, 2000, 5000].map(&mut at).to_vec();
        assert_eq!(before, [0, 0, 0, 3, 3, 2, 0]);
    }
}
