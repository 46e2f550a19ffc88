//! Exponential backoff with jitter: how long to wait before something is tried again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Delays that double from the first to the longest, each shortened by up to half at random, so that clients of one server
/// do not all reconnect at the same moment.
///
/// ```
/// # use std::time::Duration;
/// use streamdet::backoff::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// assert!(backoff.next_delay() <= Duration::from_millis(500));
/// assert!(backoff.next_delay() <= Duration::from_secs(1));
/// backoff.reset();
/// assert!(backoff.next_delay() <= Duration::from_millis(500));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: fn() -> u64,
}

impl Backoff {
    /// Delays from `first`, doubled up to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        // Every hasher of the standard library has a seed of its own: random enough to spread attempts.
        Self::with_random(first, longest, || RandomState::new().build_hasher().finish())
    }

    /// The same with a source of random numbers of one's own: 0 gives half of each delay, 511 nearly all of it.
    #[must_use]
    pub fn with_random(first: Duration, longest: Duration, random: fn() -> u64) -> Self {
        let next = first.min(longest);
        Self { first: next, longest, next, random }
    }

    /// The delay before the next attempt: half to all of `first · 2ⁿ`, after n calls.
    #[must_use]
    pub fn next_delay(&mut self) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(self.longest);
        let share = u32::try_from((self.random)() % 512).unwrap_or(0);
        most / 2 + most * share / 1024
    }

    /// An attempt succeeded: the next delay is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_again() {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(30));
        let ms = |backoff: &mut Backoff| backoff.next_delay().as_millis();
        let mut least = Backoff::with_random(first, longest, || 0);
        let mut most = Backoff::with_random(first, longest, || 511);
        let delays: Vec<_> = (0..8).map(|_| (ms(&mut least), ms(&mut most))).collect();
        assert_eq!(delays[..3], [(250, 499), (500, 999), (1000, 1998)]);
        assert_eq!(delays[7], (15_000, 29_970));
        least.reset();
        assert_eq!(ms(&mut least), 250);
        let mut real = Backoff::new(first, longest);
        for most in [500, 1000, 2000] {
            assert!((most / 2..=most).contains(&ms(&mut real)));
        }
        assert_eq!(Backoff::with_random(longest, first, || 0).next_delay(), first / 2, "never beyond the longest");
    }
}
