//! How many frames every second brought.

use std::sync::{Arc, OnceLock};

use crate::clock::HostTime;

/// When the first frame of a run was handed over: several streams that count apart count from it.
pub type FirstFrame = Arc<OnceLock<HostTime>>;

/// Frames handed over in every second since the first; four bytes a second, however long the run.
#[derive(Debug, Default)]
pub struct SecondCounts {
    counts: Vec<u32>,
    first: FirstFrame,
    last: Option<HostTime>,
}

impl SecondCounts {
    /// Counts from `first` on, or sets it.
    #[must_use]
    pub fn since(first: FirstFrame) -> Self {
        Self { first, ..Self::default() }
    }

    /// Adds what another stream, which counts from the same frame on, brought.
    pub fn add_counts(&mut self, other: &Self) {
        if self.first.get().is_none() {
            self.first = other.first.clone();
        }
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
        self.last = self.last.max(other.last);
    }

    /// Counts a frame that was handed over at `at`.
    pub fn add(&mut self, at: HostTime) {
        let first = *self.first.get_or_init(|| at);
        self.last = self.last.max(Some(at));
        let second = usize::try_from(at.since(first).as_secs()).unwrap_or(usize::MAX);
        if self.counts.len() <= second {
            self.counts.resize(second + 1, 0);
        }
        self.counts[second] += 1;
    }

    /// Frames of every full second.
    #[must_use]
    pub fn full_seconds(&self) -> &[u32] {
        let full = self.first.get().copied().zip(self.last).map_or(0, |(first, last)| last.since(first).as_secs());
        &self.counts[..usize::try_from(full).unwrap_or(0).min(self.counts.len())]
    }

    /// Frames in the slowest full second; `None` for a run shorter than one.
    #[must_use]
    pub fn slowest(&self) -> Option<f64> {
        self.full_seconds().iter().min().copied().map(f64::from)
    }

    /// Standard deviation of the full seconds' frames; `None` for fewer than two seconds.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        let seconds = self.full_seconds();
        if seconds.len() < 2 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        let n = seconds.len() as f64;
        let mean = seconds.iter().map(|c| f64::from(*c)).sum::<f64>() / n;
        let squares: f64 = seconds.iter().map(|c| (f64::from(*c) - mean).powi(2)).sum();
        Some((squares / (n - 1.0)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_full_seconds_count() {
        let mut counts = SecondCounts::default();
        assert_eq!((counts.slowest(), counts.deviation()), (None, None));
        // 10 frames in the first second, none in the second, 4 in the third, the fourth is cut off.
        for ms in (0..1000).step_by(100).chain([2000, 2100, 2200, 2300, 3100]) {
            counts.add(HostTime::from_start(Duration::from_millis(500 + ms)));
        }
        assert_eq!(counts.full_seconds(), [10, 0, 4]);
        assert_eq!(counts.slowest(), Some(0.0));
        let first = FirstFrame::default();
        let mut apart = [SecondCounts::since(first.clone()), SecondCounts::since(first.clone())];
        for (n, ms) in (0..1000).step_by(100).chain([2000, 2100, 2200, 2300, 3100]).enumerate() {
            apart[n % 2].add(HostTime::from_start(Duration::from_millis(500 + ms)));
        }
        // As the run sums them up.
        let mut together = SecondCounts::default();
        for counts in &apart {
            together.add_counts(counts);
        }
        assert_eq!(together.full_seconds(), counts.full_seconds(), "streams that count apart");
        let deviation = counts.deviation().expect("three seconds");
        assert!((deviation - 5.033).abs() < 0.001, "{deviation}");
    }
}
