//! The rows of the latency table, and one frame's time in each of them.

use std::time::Duration;

use crate::frame::Stamps;

/// One row of the latency table, in the order of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Encoded frame enters the decoder → decoded frame leaves it.
    Decode,
    /// Decoded frame leaves the decoder → taken from the bounded channel.
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
    /// Annotated frame enters the encoder → encoded frame leaves it.
    Encode,
    /// Decoded frame leaves the decoder → annotated frame handed to the sink.
    EndToEnd,
    /// Live only: pipeline clock now − running time, when handed to the sink.
    BehindLive,
    /// Live only, where the sender tells its wall clock: capture → handed to the sink, by both machines' clocks.
    CaptureToDisplay,
}

/// Every stage, in order.
pub const STAGES: [Stage; 13] = [
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
    Stage::CaptureToDisplay,
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
            Self::CaptureToDisplay => "capture_to_display",
        }
    }
}

/// The rows inside `end_to_end`, which sum to it.
pub const INSIDE: [Stage; 8] = [
    Stage::QueueWait,
    Stage::BatchWait,
    Stage::Preprocess,
    Stage::Inference,
    Stage::Postprocess,
    Stage::Track,
    Stage::Overlay,
    Stage::HandOver,
];

/// One frame's time in every stage; none where it did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimes([Option<Duration>; STAGES.len()]);

impl StageTimes {
    /// From a frame's stamps and, where it was encoded, its time in the encoder.
    #[must_use]
    pub fn new(s: &Stamps, encode: Option<Duration>) -> Self {
        let mut times = Self::default();
        let mut set = |stage: Stage, elapsed| times.0[stage as usize] = elapsed;
        let inferred = |elapsed| Some(elapsed).filter(|_| s.batch_size > 0);
        let inside = [
            (Stage::QueueWait, Some(s.taken.since(s.decoded))),
            (Stage::BatchWait, Some(s.batch_closed.since(s.taken))),
            (Stage::Preprocess, inferred(s.preprocess)),
            (Stage::Inference, inferred(s.inference)),
            (Stage::Postprocess, inferred(s.postprocess)),
            (Stage::Track, s.tracked_from.map(|_| s.track)),
            (Stage::Overlay, s.drawn_from.map(|_| s.overlay)),
        ];
        let end_to_end = s.handed_over.since(s.decoded);
        let mut named = Duration::ZERO;
        for (stage, elapsed) in inside {
            set(stage, elapsed);
            named += elapsed.unwrap_or_default();
        }
        set(Stage::Decode, s.decode_in.map(|entered| s.decoded.since(entered)));
        set(Stage::HandOver, Some(end_to_end.saturating_sub(named)));
        set(Stage::Encode, encode);
        set(Stage::EndToEnd, Some(end_to_end));
        set(Stage::BehindLive, s.due.map(|due| s.handed_over.since(due)));
        set(Stage::CaptureToDisplay, s.captured.map(|captured| s.handed_over.since(captured)));
        times
    }

    /// The time in one stage.
    #[must_use]
    pub fn get(&self, stage: Stage) -> Option<Duration> {
        self.0[stage as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::HostTime;

    proptest! {
        /// Whatever a frame's way was like: what lies inside `end_to_end` sums to it, to the nanosecond.
        #[test]
        fn rows_inside_sum_to_end_to_end(
            steps in prop::array::uniform11(0_u64..5_000_000_000),
            inferred in any::<bool>(),
            tracked in any::<bool>(),
            drawn in any::<bool>(),
        ) {
            let mut now = Duration::ZERO;
            let mut next = |step: u64| {
                now += Duration::from_nanos(step);
                HostTime::from_start(now)
            };
            let [entered, decoded, taken, batch_closed, ran_from] = std::array::from_fn(|i| next(steps[i]));
            let mut stamps = Stamps { decode_in: Some(entered), decoded, taken, batch_closed, ..Stamps::default() };
            if inferred {
                stamps.ran_from = Some(ran_from);
                stamps.batch_size = 1;
                let parts = [&mut stamps.preprocess, &mut stamps.inference, &mut stamps.postprocess];
                for (part, step) in parts.into_iter().zip(&steps[5..8]) {
                    *part = Duration::from_nanos(*step);
                    next(*step);
                }
            }
            if tracked {
                stamps.tracked_from = Some(next(0));
                stamps.track = Duration::from_nanos(steps[10]);
                next(steps[10]);
            }
            if drawn {
                stamps.drawn_from = Some(next(0));
                stamps.overlay = Duration::from_nanos(steps[8]);
                next(steps[8]);
            }
            stamps.handed_over = next(steps[9]);
            let times = StageTimes::new(&stamps, None);
            let sum: Duration = INSIDE.iter().filter_map(|stage| times.get(*stage)).sum();
            prop_assert_eq!(Some(sum), times.get(Stage::EndToEnd));
            prop_assert_eq!(times.get(Stage::Inference).is_some(), inferred);
            prop_assert_eq!(times.get(Stage::Track).is_some(), tracked);
            prop_assert_eq!(times.get(Stage::Decode), Some(Duration::from_nanos(steps[1])));
        }
    }
}
