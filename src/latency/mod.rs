//! Stamps → the record of a frame → histograms. Metrics receive; they never steer.

mod pace;
mod stages;
mod timeline;

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::{HostTime, StreamTime};
use crate::frame::{DecodedFrame, Stamps};
use crate::stream::StreamId;

pub use pace::SecondCounts;
pub use stages::{INSIDE, STAGES, Stage, StageTimes};
pub use timeline::{Bin, Timeline};

/// Frames at the start of a run that are left out: the first ones pay for caches, pools and lazy set-up.
pub const WARM_UP_FRAMES: u64 = 5;

/// Longest time that is told apart: an hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// What is known of one processed frame, once it has left.
#[derive(Debug, Clone, Copy)]
pub struct FrameRecord {
    /// Its stream.
    pub stream: StreamId,
    /// Its number in the stream, dropped ones included.
    pub frame: u64,
    /// Its time in the stream.
    pub pts: StreamTime,
    /// Host times on its way.
    pub stamps: Stamps,
    /// When it entered and left the encoder, where it was encoded.
    pub encode: Option<(HostTime, HostTime)>,
    /// Objects found in it.
    pub detections: u32,
}

impl FrameRecord {
    /// Of a frame that has not been in an encoder.
    #[must_use]
    pub fn of(frame: &DecodedFrame) -> Self {
        Self {
            stream: frame.stream,
            frame: frame.index,
            pts: frame.pts,
            stamps: frame.stamps,
            encode: None,
            detections: u32::try_from(frame.detections.len()).unwrap_or(u32::MAX),
        }
    }

    /// Its time in every stage.
    #[must_use]
    pub fn times(&self) -> StageTimes {
        StageTimes::new(&self.stamps, self.encode.map(|(entered, left)| left.since(entered)))
    }
}

/// Figures of one stage, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Summary {
    /// Frames counted.
    pub count: u64,
    /// Arithmetic mean, ms.
    pub mean: f64,
    /// Median, ms.
    pub p50: f64,
    /// 90th percentile, ms.
    pub p90: f64,
    /// 99th percentile, ms.
    pub p99: f64,
    /// Largest, ms.
    pub max: f64,
}

struct Row {
    histogram: Histogram<u64>,
    total: Duration,
}

impl Row {
    fn add(&mut self, elapsed: Duration) {
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).min(LONGEST_US);
        self.histogram.record(us).expect("a histogram that grows takes every time");
        self.total += elapsed;
    }
}

/// Histograms of every stage, microseconds inside, three significant digits.
pub struct LatencyBook {
    rows: Vec<Row>,
    /// The first frames, kept aside: a run that ends with them has no others.
    warm_up: Vec<FrameRecord>,
    per_image: [Duration; 3],
    inferred: u64,
}

impl Default for LatencyBook {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyBook {
    /// An empty book.
    ///
    /// # Panics
    /// Never: three digits are possible.
    #[must_use]
    pub fn new() -> Self {
        // Each grows with its times: of an hour it would be 188 kB from the start, and every file of an archive has books of its own.
        let row = || Row { histogram: Histogram::new(3).expect("three digits are possible"), total: Duration::ZERO };
        Self {
            rows: STAGES.iter().map(|_| row()).collect(),
            warm_up: Vec::new(),
            per_image: [Duration::ZERO; 3],
            inferred: 0,
        }
    }

    /// Counts one frame. The first [`WARM_UP_FRAMES`] are left out, unless there are no others.
    pub fn record(&mut self, record: &FrameRecord) {
        if self.warm_up_frames_excluded() < WARM_UP_FRAMES {
            self.warm_up.push(*record);
        } else {
            self.count(record);
        }
    }

    /// Frames that the figures leave out.
    #[must_use]
    pub fn warm_up_frames_excluded(&self) -> u64 {
        self.warm_up.len() as u64
    }

    /// One book of those of several streams. The frames left out are the first of all.
    ///
    /// # Panics
    /// Never: the histograms grow.
    #[must_use]
    pub fn merged(books: impl IntoIterator<Item = Self>) -> Self {
        let mut books = books.into_iter();
        let mut all = books.next().unwrap_or_default();
        let mut first = std::mem::take(&mut all.warm_up);
        for book in books {
            for (row, other) in all.rows.iter_mut().zip(&book.rows) {
                row.histogram.add(&other.histogram).expect("a histogram that grows takes every time");
                row.total += other.total;
            }
            for (sum, part) in all.per_image.iter_mut().zip(book.per_image) {
                *sum += part;
            }
            all.inferred += book.inferred;
            first.extend(book.warm_up);
        }
        first.sort_by_key(|record: &FrameRecord| record.stamps.handed_over);
        for record in &first {
            all.record(record);
        }
        all
    }

    /// To be called at the end of the run: a run of a few frames counts them all, and a stage that only the first frames passed
    /// counts those.
    pub fn settle(&mut self) {
        if self.summary(Stage::EndToEnd).count == 0 {
            for record in std::mem::take(&mut self.warm_up) {
                self.count(&record);
            }
            return;
        }
        for stage in STAGES.into_iter().filter(|stage| self.summary(*stage).count == 0).collect::<Vec<_>>() {
            for elapsed in self.warm_up.iter().filter_map(|record| record.times().get(stage)) {
                self.rows[stage as usize].add(elapsed);
            }
        }
    }

    fn count(&mut self, record: &FrameRecord) {
        let times = record.times();
        for stage in STAGES {
            if let Some(elapsed) = times.get(stage) {
                self.rows[stage as usize].add(elapsed);
            }
        }
        let s = &record.stamps;
        if s.batch_size > 0 {
            self.inferred += 1;
            for (sum, part) in self.per_image.iter_mut().zip([s.preprocess, s.inference, s.postprocess]) {
                *sum += part / s.batch_size;
            }
        }
    }

    /// Figures of one stage.
    #[must_use]
    pub fn summary(&self, stage: Stage) -> Summary {
        let row = &self.rows[stage as usize];
        let count = row.histogram.len();
        if count == 0 {
            return Summary::default();
        }
        let at = |q: f64| self.quantile_ms(stage, q);
        #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
        let mean = row.total.as_secs_f64() * 1000.0 / count as f64;
        Summary { count, mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: us_as_ms(row.histogram.max()) }
    }

    /// The time that the share `q` of the frames stays below, ms.
    #[must_use]
    pub fn quantile_ms(&self, stage: Stage, q: f64) -> f64 {
        us_as_ms(self.rows[stage as usize].histogram.value_at_quantile(q))
    }

    /// The share of frames whose time in `stage` lies in each of the ranges between `edges_ms`, which increase.
    #[must_use]
    pub fn shares(&self, stage: Stage, edges_ms: &[f64]) -> Vec<f64> {
        let histogram = &self.rows[stage as usize].histogram;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, below an hour")]
        let us = |ms: f64| (ms * 1000.0).round() as u64;
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let share = |pair: &[f64]| {
            let (from, to) = (us(pair[0]), us(pair[1]).saturating_sub(1));
            // What it has not grown to would be taken for its last slot.
            if to < from || from > histogram.max() {
                0.0
            } else {
                histogram.count_between(from, to) as f64 / histogram.len().max(1) as f64
            }
        };
        edges_ms.windows(2).map(share).collect()
    }

    /// Mean milliseconds per image of preprocess, inference, postprocess: a batch's time divided by its frames.
    #[must_use]
    pub fn per_image_ms(&self) -> [f64; 3] {
        #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
        let frames = self.inferred.max(1) as f64;
        self.per_image.map(|d| d.as_secs_f64() * 1000.0 / frames)
    }

    /// Total time spent in a stage.
    #[must_use]
    pub fn total(&self, stage: Stage) -> Duration {
        self.rows[stage as usize].total
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
fn us_as_ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn at(ms: u64) -> HostTime {
        HostTime::from_start(Duration::from_millis(ms))
    }

    /// A frame that began at `ms` and took 24 ms, 10 of them in the model.
    pub(crate) fn frame_at(ms: u64) -> FrameRecord {
        let stamps = Stamps {
            decode_in: Some(at(ms)),
            decoded: at(ms + 3),
            taken: at(ms + 5),
            batch_closed: at(ms + 6),
            ran_from: Some(at(ms + 6)),
            preprocess: Duration::from_millis(1),
            inference: Duration::from_millis(10),
            postprocess: Duration::from_millis(1),
            drawn_from: Some(at(ms + 19)),
            overlay: Duration::from_millis(2),
            handed_over: at(ms + 24),
            batch_size: 2,
            ..Stamps::default()
        };
        let encode = Some((at(ms + 22), at(ms + 29)));
        let pts = StreamTime { ns: ms * 1_000_000 };
        FrameRecord { stream: StreamId(0), frame: ms, pts, stamps, encode, detections: 2 }
    }

    #[test]
    fn rows_inside_end_to_end_sum_to_it_and_warm_up_is_left_out() {
        let mut book = LatencyBook::new();
        for n in 0..WARM_UP_FRAMES + 3 {
            book.record(&frame_at(n * 40));
        }
        assert_eq!(book.summary(Stage::EndToEnd).count, 3);
        let sum: Duration = INSIDE.iter().map(|s| book.total(*s)).sum();
        assert_eq!(sum, book.total(Stage::EndToEnd));
        assert!((book.summary(Stage::Inference).p50 - 10.0).abs() < 0.05);
        assert!((book.summary(Stage::HandOver).mean - 4.0).abs() < 1e-9);
        assert!((book.summary(Stage::Encode).p50 - 7.0).abs() < 0.05);
        assert!((book.per_image_ms()[1] - 5.0).abs() < 1e-9);
        assert_eq!(book.summary(Stage::BehindLive).count, 0);
        let shares = book.shares(Stage::Inference, &[0.0, 5.0, 20.0]);
        assert_eq!(shares, [0.0, 1.0]);
        book.settle();
        assert_eq!((book.summary(Stage::EndToEnd).count, book.warm_up_frames_excluded()), (3, WARM_UP_FRAMES));
    }

    #[test]
    fn streams_that_are_counted_apart_leave_out_the_first_frames_of_all() {
        let mut books = [LatencyBook::new(), LatencyBook::new()];
        let mut together = LatencyBook::new();
        for n in 0..20 {
            books[usize::from(n % 3 == 0)].record(&frame_at(n * 40));
            together.record(&frame_at(n * 40));
        }
        let merged = LatencyBook::merged(books);
        assert_eq!(merged.warm_up_frames_excluded(), WARM_UP_FRAMES);
        for stage in STAGES {
            assert_eq!((merged.summary(stage), merged.total(stage)), (together.summary(stage), together.total(stage)));
        }
        assert_eq!((merged.per_image, merged.inferred), (together.per_image, together.inferred));
    }

    #[test]
    fn a_short_run_counts_all_its_frames() {
        let mut short = LatencyBook::new();
        short.record(&frame_at(0));
        short.settle();
        assert_eq!((short.summary(Stage::EndToEnd).count, short.warm_up_frames_excluded()), (1, 0));
        assert_eq!(short.summary(Stage::Encode).count, 1);
    }
}
