//! How many frames every second brought.

use std::collections::VecDeque;

use crate::clock::HostTime;

/// Seconds that are still added to: streams hand over on threads of their own, and one may be late.
const OPEN: usize = 64;

/// Frames handed over in every second since the first, by all streams of a run together: figures of the seconds that are over, in
/// memory that does not grow with them.
#[derive(Debug, Default)]
pub struct SecondCounts {
    first: Option<HostTime>,
    last: Option<HostTime>,
    over: Figures,
    /// Of the newest seconds, those after `over`.
    open: VecDeque<u32>,
}

/// Figures of seconds, as Welford sums them up.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    seconds: u64,
    slowest: Option<u32>,
    mean: f64,
    /// Sum of the squared differences from the mean.
    squares: f64,
}

impl Figures {
    fn add(&mut self, frames: u32) {
        self.seconds += 1;
        self.slowest = Some(self.slowest.map_or(frames, |slowest| slowest.min(frames)));
        let off = f64::from(frames) - self.mean;
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        let seconds = self.seconds as f64;
        self.mean += off / seconds;
        self.squares += off * (f64::from(frames) - self.mean);
    }
}

impl SecondCounts {
    /// Counts a frame that was handed over at `at`.
    pub fn add(&mut self, at: HostTime) {
        let first = *self.first.get_or_insert(at);
        self.last = self.last.max(Some(at));
        let second = at.since(first).as_secs();
        // One that is later than that counts for the oldest second that is open.
        while second.saturating_sub(self.over.seconds) >= self.open.len() as u64 {
            if self.open.len() == OPEN
                && let Some(frames) = self.open.pop_front()
            {
                self.over.add(frames);
            }
            self.open.push_back(0);
        }
        let place = usize::try_from(second.saturating_sub(self.over.seconds)).unwrap_or(0);
        self.open[place] += 1;
    }

    /// Those of every full second: the last one is cut off.
    fn figures(&self) -> Figures {
        let mut figures = self.over;
        let full = self.first.zip(self.last).map_or(0, |(first, last)| last.since(first).as_secs());
        let left = usize::try_from(full.saturating_sub(figures.seconds)).unwrap_or(usize::MAX);
        self.open.iter().take(left).for_each(|frames| figures.add(*frames));
        figures
    }

    /// Frames in the slowest full second; `None` for a run shorter than one.
    #[must_use]
    pub fn slowest(&self) -> Option<f64> {
        self.figures().slowest.map(f64::from)
    }

    /// Standard deviation of the full seconds' frames; `None` for fewer than two seconds.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        let Figures { seconds, squares, .. } = self.figures();
        #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
        (seconds > 1).then(|| (squares / (seconds - 1) as f64).sqrt())
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
        assert_eq!((counts.figures().seconds, counts.slowest()), (3, Some(0.0)));
        let deviation = counts.deviation().expect("three seconds");
        assert!((deviation - 5.033).abs() < 0.001, "{deviation}");
        // Another stream's thread is late with a frame of the second one.
        counts.add(HostTime::from_start(Duration::from_millis(1600)));
        assert_eq!((counts.figures().seconds, counts.slowest()), (3, Some(1.0)));
    }

    #[test]
    fn a_million_seconds_take_no_more_memory_than_a_minute() {
        let mut counts = SecondCounts::default();
        let mut add = |second: u64, times: u64| {
            for n in 0..times {
                counts.add(HostTime::from_start(Duration::from_millis(second * 1000 + n * 100)));
            }
        };
        // 2 and 4 in turn, but once 1 alone, long ago.
        for second in 0..1_000_000 {
            add(second, if second == 1234 { 1 } else { 2 + 2 * (second % 2) });
        }
        assert!(counts.open.len() <= OPEN && counts.open.capacity() <= 2 * OPEN);
        assert_eq!((counts.figures().seconds, counts.slowest()), (999_999, Some(1.0)));
        let deviation = counts.deviation().expect("many seconds");
        assert!((deviation - 1.0).abs() < 1e-4, "{deviation}");
    }
}
