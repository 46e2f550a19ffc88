//! Whether a run is in real time.

use super::threads::{ThreadTimes, WORKERS};
use crate::text::append;

/// Share of the frames that a live run may drop and still run in real time.
pub const LOSS: f64 = 0.01;
/// Frame times that a live run may be behind at p99, and the least that is allowed, ms.
const BEHIND_FRAMES: f64 = 10.0;
const BEHIND_MS: f64 = 500.0;

/// The verdict in the report.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// `yes`, `no` or `n/a`.
    pub verdict: &'static str,
    /// Time per frame at the streams' frame rates, ms: all streams together.
    pub budget_ms: f64,
    /// In words.
    pub reason: String,
}

/// What it is judged by.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Frame rates of the streams that have one.
    pub rates: Vec<f64>,
    /// Frames processed a second, all streams.
    pub fps: f64,
    /// Frames received.
    pub received: u64,
    /// Frames dropped as stale or since the queue was full.
    pub dropped: u64,
    /// For a live run: how far behind it was at p99, ms.
    pub behind_p99_ms: Option<f64>,
    /// Preprocessing, inference and postprocessing of a frame, ms.
    pub model_ms: f64,
    /// Bottleneck: the stages with the most CPU time.
    pub bound_by: String,
}

impl Load {
    /// A recorded file keeps up when it ran at least as fast as it plays. A live run (or a file paced like one) keeps up when it
    /// dropped at most 1 % of the frames as stale or for a full queue, and 99 % were at most ten frame times (or half a second, if that is more)
    /// behind the stream when they were handed on.
    #[must_use]
    pub fn judge(&self) -> Verdict {
        let rate: f64 = self.rates.iter().sum();
        if self.received == 0 || rate <= 0.0 {
            let reason = if self.received == 0 { "no frame was received" } else { "no constant frame rate" };
            return Verdict { verdict: "n/a", budget_ms: 0.0, reason: reason.into() };
        }
        let budget_ms = 1000.0 / rate;
        let slowest = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let limit_ms = (BEHIND_FRAMES * 1000.0 / slowest).max(BEHIND_MS);
        #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
        let loss = self.dropped as f64 / self.received as f64;
        let speed = format!("{:.1} of {rate:.2} frames/s", self.fps);
        let (keeps_up, mut reason) = match self.behind_p99_ms {
            Some(behind) if loss > LOSS => {
                (false, format!("{speed}: {:.0} % of the frames were dropped, p99 {behind:.0} ms behind", loss * 100.0))
            }
            Some(behind) if behind > limit_ms => {
                (false, format!("{speed}, but p99 is {behind:.0} ms behind the stream, more than {limit_ms:.0}"))
            }
            Some(behind) => (true, format!("{speed}, p99 {behind:.0} ms behind the stream, {} dropped", self.dropped)),
            None => (self.fps >= rate, format!("{:.1} frames/s against the stream's {rate:.2}", self.fps)),
        };
        if !keeps_up && self.model_ms > budget_ms {
            append(&mut reason, format_args!("; the model alone takes {:.1} ms a frame", self.model_ms));
        }
        if !self.bound_by.is_empty() {
            append(&mut reason, format_args!("; {}", self.bound_by));
        }
        Verdict { verdict: if keeps_up { "yes" } else { "no" }, budget_ms, reason }
    }
}

/// What holds the run back: the two that take most of the CPU time, with their shares.
#[must_use]
pub fn bound_by(threads: &ThreadTimes) -> String {
    let Some(shares) = threads.shares() else { return "too short a run to say what bounds it".into() };
    let mut parts: Vec<(&str, f64)> = WORKERS.into_iter().zip(shares).collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let share = |p: &(&str, f64)| format!("{} {:.0} %", p.0, p.1 * 100.0);
    format!("bound by {}, {}", share(&parts[0]), share(&parts[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_up_when_it_is_as_fast_as_it_plays() {
        let load = Load { rates: vec![25.0, 5.0], fps: 30.0, received: 100, ..Load::default() };
        let verdict = load.judge();
        assert_eq!(verdict.verdict, "yes");
        assert!((verdict.budget_ms - 33.333).abs() < 0.001);
        let slow = Load { fps: 29.0, model_ms: 34.0, bound_by: "bound by inference 90 %".into(), ..load };
        let verdict = slow.judge();
        assert_eq!(verdict.verdict, "no");
        assert_eq!(
            verdict.reason,
            "29.0 frames/s against the stream's 30.00; the model alone takes 34.0 ms a frame; bound by inference 90 %"
        );
    }

    #[test]
    fn a_live_run_keeps_up_when_it_neither_loses_frames_nor_lags() {
        let load = Load {
            rates: vec![30.0],
            fps: 30.0,
            received: 1000,
            dropped: 10,
            behind_p99_ms: Some(499.0),
            ..Load::default()
        };
        assert_eq!(load.judge().verdict, "yes");
        let lossy = Load { dropped: 11, ..load.clone() };
        assert_eq!(lossy.judge().verdict, "no");
        let late = Load { behind_p99_ms: Some(501.0), ..load.clone() };
        assert!(late.judge().reason.contains("501 ms behind the stream, more than 500"), "{}", late.judge().reason);
        let slow_stream = Load { rates: vec![2.0], behind_p99_ms: Some(4000.0), ..load };
        assert_eq!(slow_stream.judge().verdict, "yes");
        assert_eq!(Load::default().judge().verdict, "n/a");
    }
}
