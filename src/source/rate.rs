//! The frame rate that a stream states, held against the times of its first frames.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use gstreamer as gst;

const SECOND: u64 = 1_000_000_000;
/// Frames a second of the fastest camera: what is said to have more, as where a time base is taken for a rate, is not believed.
const FASTEST: u64 = 1000;
/// First frames that are looked at, in the order in which they are decoded; those shown last may have gaps between them.
const FIRST: usize = 16;
const LAST: usize = 4;
/// A frame rate as a fraction.
pub(super) type Fraction = (i32, i32);

/// Times of the first encoded frames.
#[derive(Default)]
pub(super) struct FrameRate {
    first: Mutex<First>,
    /// Where what is stated is not believed.
    corrected: OnceLock<Corrected>,
}

/// What holds in place of a stated rate that is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corrected {
    /// `None` where no other is known.
    pub rate: Option<Fraction>,
    /// From one frame to the next.
    pub interval: Option<gst::ClockTime>,
}

#[derive(Default)]
struct First {
    frames: usize,
    times: Vec<gst::ClockTime>,
    has_ended: bool,
}

impl FrameRate {
    fn first(&self) -> MutexGuard<'_, First> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an encoded frame; whether more are wanted.
    pub fn note(&self, frame: &gst::BufferRef) -> bool {
        let mut first = self.first();
        first.frames += 1;
        first.times.extend(frame.pts());
        first.frames < FIRST
    }

    /// Nothing more comes, or is wanted.
    pub fn end(&self) -> bool {
        self.first().has_ended = true;
        false
    }

    /// Whether as much is known as will be.
    pub fn is_known(&self) -> bool {
        let first = self.first();
        first.has_ended || first.frames >= FIRST
    }

    /// The rate, by what is stated where the frames do not say otherwise.
    pub fn believed(&self, stated: Fraction) -> Option<Fraction> {
        let (numer, denom) = (u64::try_from(stated.0).ok().filter(|n| *n > 0)?, u64::try_from(stated.1).ok()?);
        let measured = interval(&mut self.first().times.clone());
        let agrees = |interval: &gst::ClockTime| {
            let (frames, seconds) = (numer.saturating_mul(interval.nseconds()), denom.saturating_mul(SECOND));
            frames <= seconds + seconds / 2 && seconds <= frames.saturating_add(frames / 2)
        };
        if numer <= FASTEST * denom && measured.as_ref().is_none_or(agrees) {
            return Some(stated);
        }
        self.corrected.get_or_init(|| Corrected { rate: measured.and_then(fraction), interval: measured }).rate
    }

    /// What holds in place of the stated rate, where that is not believed.
    pub fn corrected(&self) -> Option<Corrected> {
        self.corrected.get().copied()
    }
}

/// From one frame to the next, where that is always the same.
fn interval(times: &mut [gst::ClockTime]) -> Option<gst::ClockTime> {
    times.sort_unstable();
    let times = times.get(..times.len().checked_sub(LAST)?)?;
    let mut gaps: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).nseconds()).collect();
    gaps.sort_unstable();
    let (least, most) = (*gaps.first()?, *gaps.last()?);
    let is_regular = gaps.len() >= LAST && least > 0 && most <= least + least / 2;
    let mean = gaps.iter().sum::<u64>().checked_div(u64::try_from(gaps.len()).ok()?)?;
    // Containers round times: the mean is closer than any.
    is_regular.then(|| gst::ClockTime::from_nseconds(mean))
}

/// A rate as it is usually written: whole, 1000/1001 of a whole one, a half; else in thousandths.
fn fraction(interval: gst::ClockTime) -> Option<Fraction> {
    let interval = interval.nseconds();
    let usual = [(SECOND, 1, 1), (SECOND / 1000 * 1001, 1000, 1001), (2 * SECOND, 1, 2)];
    let close = usual.into_iter().find_map(|(span, factor, denom)| {
        let whole = (span + interval / 2).checked_div(interval).filter(|whole| *whole > 0)?;
        ((whole * interval).abs_diff(span) <= span / 5000).then_some((whole * factor, denom))
    });
    let (numer, denom) = close.or_else(|| Some(((1000 * SECOND + interval / 2).checked_div(interval)?, 1000)))?;
    Some((i32::try_from(numer).ok().filter(|numer| *numer > 0)?, denom))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(times_ms: &[u64], stated: Fraction) -> Option<Fraction> {
        let rate = FrameRate::default();
        for ms in times_ms {
            let mut buffer = gst::Buffer::new();
            buffer.make_mut().set_pts(gst::ClockTime::from_mseconds(*ms));
            rate.note(&buffer);
        }
        rate.believed(stated)
    }

    #[test]
    fn a_stated_rate_is_believed_unless_the_frames_say_otherwise() {
        gst::init().expect("GStreamer");
        let every = |ms: u64| (0..16).map(|n| n * ms).collect::<Vec<_>>();
        // As they are decoded: the last ones have gaps.
        let reordered = [0, 320, 160, 80, 240, 640, 480, 400, 560, 960, 800, 720, 880, 1280, 1120, 1040];
        for (times, stated, expected) in [
            (every(40), (25, 1), Some((25, 1))),
            (every(33), (30000, 1001), Some((30000, 1001))),
            (reordered.to_vec(), (60, 1), Some((25, 2))),
            (every(40), (705_600_000, 1), Some((25, 1))),
            (vec![0, 40], (705_600_000, 1), None),
            (vec![0, 40], (60, 1), Some((60, 1))),
            // A variable rate has no other.
            (vec![0, 10, 90, 100, 200, 210, 300, 400, 410, 420, 430, 440], (60, 1), Some((60, 1))),
            (every(40), (0, 1), None),
        ] {
            assert_eq!(rate(&times, stated), expected, "{times:?} {stated:?}");
        }
    }

    #[test]
    fn intervals_are_written_as_rates() {
        for (ns, expected) in [
            (33_366_667, (30000, 1001)),
            (80_000_000, (25, 2)),
            (16_666_667, (60, 1)),
            (1_000_000_000, (1, 1)),
            (90_000_000, (11_111, 1000)),
        ] {
            assert_eq!(fraction(gst::ClockTime::from_nseconds(ns)), Some(expected));
        }
    }
}
