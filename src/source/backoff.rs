//! How long to wait before a source is tried again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first wait, and the longest.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that double, each shortened by up to half at random: many who lost the same server do not all come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    random: fn() -> u64,
}

impl Default for Backoff {
    fn default() -> Self {
        // Every hasher of the standard library has a seed of its own: random enough to spread attempts.
        Self { next: FIRST, random: || RandomState::new().build_hasher().finish() }
    }
}

impl Backoff {
    /// The next wait.
    pub fn next(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        let share = u32::try_from((self.random)() % 512).unwrap_or(0);
        longest / 2 + longest * share / 1024
    }

    /// It worked: the next wait is the first again.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let ms = |backoff: &mut Backoff| backoff.next().as_millis();
        let mut least = Backoff { random: || 0, ..Backoff::default() };
        let mut most = Backoff { random: || 511, ..Backoff::default() };
        let waits: Vec<_> = (0..8).map(|_| (ms(&mut least), ms(&mut most))).collect();
        assert_eq!(waits[..3], [(250, 499), (500, 999), (1000, 1998)]);
        assert_eq!(waits[7], (15_000, 29_970));
        least.reset();
        assert_eq!(ms(&mut least), 250);
        let mut real = Backoff::default();
        for longest in [500, 1000, 2000] {
            assert!((longest / 2..=longest).contains(&ms(&mut real)));
        }
    }
}
