//! A decoder that is slower than its stream: coded frames are let go until a key frame comes that is in time, so that it
//! falls behind no further and shows something now and then.

use std::time::Duration;

use crate::clock::HostTime;

/// How long a key frame is waited for: some streams have none, and refresh their pictures bit by bit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which coded frames go into the decoder.
#[derive(Debug)]
pub(super) struct Skipper {
    max_lag: Duration,
    since: Option<HostTime>,
}

impl Skipper {
    pub fn new(max_lag: Duration) -> Self {
        Self { max_lag, since: None }
    }

    /// Whether a coded frame that is `late` passes at `now`; `is_key` says that it can be decoded without those before it.
    pub fn passes(&mut self, late: Duration, is_key: bool, now: HostTime) -> bool {
        match self.since {
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
    fn frames_are_let_go_until_a_key_frame_in_time() {
        let mut skipper = Skipper::new(Duration::from_millis(500));
        let mut passes = |late, is_key, at| {
            skipper.passes(Duration::from_millis(late), is_key, HostTime::from_start(Duration::from_millis(at)))
        };
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
