//! Stamps → histograms. Metrics receive; they never steer.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::frame::Stamps;

/// Frames at the start of a run that are left out: the first ones pay for caches, pools and lazy set-up.
pub const WARM_UP_FRAMES: u64 = 5;

/// Longest time that is told apart: an hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// One row of the latency table, in the order of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Compressed frame enters the decoder → picture leaves it.
    Decode,
    /// Picture leaves the decoder → taken from the bounded channel.
    QueueWait,
    /// Taken → its batch is closed.
    BatchWait,
    /// Letterbox and tensor packing.
    Preprocess,
    /// The session's run that this frame was part of.
    Inference,
    /// Decode of the output, NMS, mapping back.
    Postprocess,
    /// Tracking.
    Track,
    /// Drawing.
    Overlay,
    /// Whatever inside `end_to_end` no other row covers.
    HandOver,
    /// Annotated picture enters the encoder → compressed frame leaves it.
    Encode,
    /// Picture leaves the decoder → annotated picture handed to the sink.
    EndToEnd,
    /// Live only: pipeline clock now − running time, when handed to the sink.
    BehindLive,
}

/// Every stage, in order.
pub const STAGES: [Stage; 12] = [
    Stage::Decode,
    Stage::QueueWait,
    Stage::BatchWait,
    Stage::Preprocess,
    Stage::Inference,
    Stage::Postprocess,
    Stage::Track,
    Stage::Overlay,
    Stage::HandOver,
    Stage::Encode,
    Stage::EndToEnd,
    Stage::BehindLive,
];

impl Stage {
    /// Key in the report.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::QueueWait => "queue_wait",
            Self::BatchWait => "batch_wait",
            Self::Preprocess => "preprocess",
            Self::Inference => "inference",
            Self::Postprocess => "postprocess",
            Self::Track => "track",
            Self::Overlay => "overlay",
            Self::HandOver => "hand_over",
            Self::Encode => "encode",
            Self::EndToEnd => "end_to_end",
            Self::BehindLive => "behind_live",
        }
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

/// Histograms of every stage, microseconds inside, three significant digits.
pub struct LatencyBook {
    rows: Vec<Row>,
    /// The first frames, kept aside: a run that ends with them has no others.
    warm_up: Vec<Stamps>,
    warm_up_encoded: Vec<Duration>,
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
    /// Never: the histogram's bounds are constant and valid.
    #[must_use]
    pub fn new() -> Self {
        let row = || Row {
            histogram: Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid"),
            total: Duration::ZERO,
        };
        Self {
            rows: STAGES.iter().map(|_| row()).collect(),
            warm_up: Vec::new(),
            warm_up_encoded: Vec::new(),
            per_image: [Duration::ZERO; 3],
            inferred: 0,
        }
    }

    /// Counts one frame's stamps; the first [`WARM_UP_FRAMES`] are left out, unless there are no others.
    pub fn record(&mut self, s: &Stamps) {
        if self.warm_up_frames_excluded() < WARM_UP_FRAMES {
            self.warm_up.push(*s);
        } else {
            self.count(s);
        }
    }

    /// Frames that the figures leave out.
    #[must_use]
    pub fn warm_up_frames_excluded(&self) -> u64 {
        self.warm_up.len() as u64
    }

    /// To be called at the end of the run: a run of a few frames counts them all.
    pub fn settle(&mut self) {
        if self.summary(Stage::EndToEnd).count == 0 {
            for stamps in std::mem::take(&mut self.warm_up) {
                self.count(&stamps);
            }
            for elapsed in std::mem::take(&mut self.warm_up_encoded) {
                self.add(Stage::Encode, elapsed);
            }
        }
    }

    fn count(&mut self, s: &Stamps) {
        if let Some(entered) = s.decode_in {
            self.add(Stage::Decode, s.decoded.since(entered));
        }
        let queue_wait = s.taken.since(s.decoded);
        let batch_wait = s.batch_closed.since(s.taken);
        let end_to_end = s.handed_over.since(s.decoded);
        let named = queue_wait + batch_wait + s.preprocess + s.inference + s.postprocess + s.overlay;
        self.add(Stage::QueueWait, queue_wait);
        self.add(Stage::BatchWait, batch_wait);
        if s.batch_size > 0 {
            self.add(Stage::Preprocess, s.preprocess);
            self.add(Stage::Inference, s.inference);
            self.add(Stage::Postprocess, s.postprocess);
            self.inferred += 1;
            for (sum, part) in self.per_image.iter_mut().zip([s.preprocess, s.inference, s.postprocess]) {
                *sum += part / s.batch_size;
            }
        }
        self.add(Stage::Overlay, s.overlay);
        self.add(Stage::HandOver, end_to_end.saturating_sub(named));
        self.add(Stage::EndToEnd, end_to_end);
    }

    /// Counts one frame's time in the encoder.
    pub fn record_encode(&mut self, elapsed: Duration) {
        if (self.warm_up_encoded.len() as u64) < WARM_UP_FRAMES {
            self.warm_up_encoded.push(elapsed);
        } else {
            self.add(Stage::Encode, elapsed);
        }
    }

    fn add(&mut self, stage: Stage, elapsed: Duration) {
        let row = &mut self.rows[stage as usize];
        row.histogram.saturating_record(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
        row.total += elapsed;
    }

    /// Figures of one stage.
    #[must_use]
    pub fn summary(&self, stage: Stage) -> Summary {
        let row = &self.rows[stage as usize];
        let count = row.histogram.len();
        if count == 0 {
            return Summary::default();
        }
        #[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |q: f64| ms(row.histogram.value_at_quantile(q));
        #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
        let mean = row.total.as_secs_f64() * 1000.0 / count as f64;
        Summary { count, mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: ms(row.histogram.max()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HostTime;

    #[test]
    fn rows_inside_end_to_end_sum_to_it_and_warm_up_is_left_out() {
        let at = |ms| HostTime::from_start(Duration::from_millis(ms));
        let stamps = Stamps {
            decode_in: Some(at(0)),
            decoded: at(3),
            taken: at(5),
            batch_closed: at(6),
            preprocess: Duration::from_millis(1),
            inference: Duration::from_millis(10),
            postprocess: Duration::from_millis(1),
            overlay: Duration::from_millis(2),
            handed_over: at(24),
            batch_size: 2,
        };
        let mut book = LatencyBook::new();
        for _ in 0..WARM_UP_FRAMES + 3 {
            book.record(&stamps);
        }
        assert_eq!(book.summary(Stage::EndToEnd).count, 3);
        let inside = [
            Stage::QueueWait,
            Stage::BatchWait,
            Stage::Preprocess,
            Stage::Inference,
            Stage::Postprocess,
            Stage::Overlay,
            Stage::HandOver,
        ];
        let sum: Duration = inside.iter().map(|s| book.total(*s)).sum();
        assert_eq!(sum, book.total(Stage::EndToEnd));
        assert!((book.summary(Stage::Inference).p50 - 10.0).abs() < 0.05);
        assert!((book.summary(Stage::HandOver).mean - 4.0).abs() < 1e-9);
        assert!((book.per_image_ms()[1] - 5.0).abs() < 1e-9);
        book.settle();
        assert_eq!((book.summary(Stage::EndToEnd).count, book.warm_up_frames_excluded()), (3, WARM_UP_FRAMES));

        let mut short = LatencyBook::new();
        short.record(&stamps);
        short.record_encode(Duration::from_millis(7));
        short.settle();
        assert_eq!((short.summary(Stage::EndToEnd).count, short.warm_up_frames_excluded()), (1, 0));
        assert_eq!(short.summary(Stage::Encode).count, 1);
    }
}
