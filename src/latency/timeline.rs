//! Latency and frame rate over the time of the run, in bins that widen as it goes on: bounded memory for any length.

use std::time::Duration;

use super::{FrameRecord, STAGES};
use crate::clock::HostTime;

/// Bins, at most; when they are full, two become one.
const BINS: usize = 480;
/// Width of the first bins.
const WIDTH: Duration = Duration::from_millis(100);

/// What a stretch of the run brought.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// Frames handed over.
    pub frames: u32,
    /// Frames dropped.
    pub dropped: u32,
    sums: [Duration; STAGES.len()],
    largest: [Duration; STAGES.len()],
    counts: [u32; STAGES.len()],
}

impl Bin {
    /// Mean and largest time in the stage with this index into [`STAGES`], ms; `None` where no frame passed it.
    #[must_use]
    pub fn stage_ms(&self, stage: usize) -> Option<(f64, f64)> {
        let count = self.counts[stage];
        let ms = |elapsed: Duration| elapsed.as_secs_f64() * 1000.0;
        (count > 0).then(|| (ms(self.sums[stage]) / f64::from(count), ms(self.largest[stage])))
    }

    /// Adds what another stretch brought.
    pub fn merge(&mut self, other: &Self) {
        self.frames += other.frames;
        self.dropped += other.dropped;
        for stage in 0..STAGES.len() {
            self.sums[stage] += other.sums[stage];
            self.counts[stage] += other.counts[stage];
            self.largest[stage] = self.largest[stage].max(other.largest[stage]);
        }
    }
}

/// The run's bins.
#[derive(Debug)]
pub struct Timeline {
    bins: Vec<Bin>,
    width: Duration,
    origin: Option<HostTime>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { bins: Vec::with_capacity(BINS), width: WIDTH, origin: None }
    }
}

impl Timeline {
    /// Adds a frame, at the time it was handed over.
    pub fn add(&mut self, record: &FrameRecord) {
        let times = record.times();
        let bin = self.bin(record.stamps.handed_over);
        bin.frames += 1;
        for stage in STAGES {
            if let Some(elapsed) = times.get(stage) {
                let at = stage as usize;
                bin.sums[at] += elapsed;
                bin.counts[at] += 1;
                bin.largest[at] = bin.largest[at].max(elapsed);
            }
        }
    }

    /// Adds frames that were dropped at `at`.
    pub fn drop_frames(&mut self, at: HostTime, frames: u64) {
        self.bin(at).dropped += u32::try_from(frames).unwrap_or(u32::MAX);
    }

    fn bin(&mut self, at: HostTime) -> &mut Bin {
        let since = at.since(*self.origin.get_or_insert(at));
        let place = |width: Duration| usize::try_from(since.as_nanos() / width.as_nanos()).unwrap_or(usize::MAX);
        while place(self.width) >= BINS {
            self.width *= 2;
            for n in 0..self.bins.len().div_ceil(2) {
                let mut bin = self.bins[2 * n];
                if let Some(second) = self.bins.get(2 * n + 1) {
                    bin.merge(second);
                }
                self.bins[n] = bin;
            }
            self.bins.truncate(self.bins.len().div_ceil(2));
        }
        let place = place(self.width);
        if self.bins.len() <= place {
            self.bins.resize(place + 1, Bin::default());
        }
        &mut self.bins[place]
    }

    /// Seconds that a bin is wide.
    #[must_use]
    pub fn width_s(&self) -> f64 {
        self.width.as_secs_f64()
    }

    /// The bins, from the first frame on.
    #[must_use]
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Stage;
    use crate::latency::tests::frame_at;

    #[test]
    fn a_long_run_widens_the_bins_and_keeps_every_frame() {
        let mut timeline = Timeline::default();
        for n in 0..5000 {
            timeline.add(&frame_at(n * 40));
        }
        timeline.drop_frames(HostTime::from_start(Duration::from_secs(150)), 7);
        assert!(timeline.bins().len() <= BINS && timeline.width_s() > 0.3, "{}", timeline.width_s());
        let frames: u32 = timeline.bins().iter().map(|bin| bin.frames).sum();
        let dropped: u32 = timeline.bins().iter().map(|bin| bin.dropped).sum();
        assert_eq!((frames, dropped), (5000, 7));
        let (mean, largest) = timeline.bins()[100].stage_ms(Stage::Inference as usize).expect("frames");
        assert!((mean - 10.0).abs() < 1e-9 && (largest - 10.0).abs() < 1e-9);
    }
}
