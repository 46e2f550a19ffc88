//! What is known when: samples by the time of the stream.

use std::collections::VecDeque;
use std::time::Duration;

use super::Known;

/// What was known when a frame was shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// What was said last.
    pub known: Known,
    /// How long before the frame that was.
    pub age: Duration,
}

/// Said at a time of the stream.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    from_ns: u64,
    /// It holds no longer than this.
    until_ns: Option<u64>,
    known: Known,
}

/// Entries of a track that wait for their frames, at most: a minute of 50 a second.
const ENTRIES: usize = 3000;
/// For how long an item holds that later packets leave out.
const HOLD_NS: u64 = 10_000_000_000;

/// What a track or a file says, by time.
#[derive(Debug, Default)]
pub struct Timeline {
    entries: VecDeque<Entry>,
    /// Of a file, which is read from its beginning to its end before the first frame.
    is_file: bool,
    /// What last said a position, and what a direction, and when.
    last: [Option<(u64, Known)>; 2],
}

impl Timeline {
    /// Of a file that is read before the first frame.
    #[must_use]
    pub fn of_file(said: impl IntoIterator<Item = (u64, Option<u64>, Known)>) -> Self {
        let mut timeline = Self { is_file: true, ..Self::default() };
        for (from_ns, until_ns, known) in said {
            timeline.add(from_ns, until_ns, known);
        }
        timeline
    }

    /// `known` holds from `from_ns` on: until `until_ns` where that is said, else until something else does. What it leaves out of a
    /// series of packets is as it was said before, for ten seconds.
    pub fn add(&mut self, from_ns: u64, until_ns: Option<u64>, mut known: Known) {
        if until_ns.is_none() {
            let said = known;
            let says = [said.lat.is_some(), said.attitude.is_some() || said.gimbal.is_some()];
            for (last, says) in self.last.iter_mut().zip(says) {
                if says {
                    *last = Some((from_ns, said));
                } else if let Some((_, before)) = last.filter(|(at, _)| from_ns.saturating_sub(*at) < HOLD_NS) {
                    known = known.or(&before);
                }
            }
        }
        let entry = Entry { from_ns, until_ns, known };
        let at = self.entries.partition_point(|entry| entry.from_ns <= from_ns);
        self.entries.insert(at, entry);
        if !self.is_file && self.entries.len() > ENTRIES {
            self.entries.pop_front();
        }
    }

    /// What a file says at `ns`.
    #[must_use]
    pub fn look(&self, ns: u64) -> Option<Sample> {
        let last = self.entries.partition_point(|entry| entry.from_ns <= ns).checked_sub(1)?;
        let entry = self.entries[last];
        let holds = entry.until_ns.is_none_or(|until| ns < until);
        holds.then(|| Sample { known: entry.known, age: Duration::from_nanos(ns - entry.from_ns) })
    }

    /// What holds at `ns`; of a track, what was said before that is forgotten, as frames come in order.
    pub fn at(&mut self, ns: u64) -> Option<Sample> {
        let found = self.look(ns);
        let last = self.entries.partition_point(|entry| entry.from_ns <= ns).saturating_sub(1);
        self.entries.drain(..last);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Attitude;

    const S: u64 = 1_000_000_000;

    fn at(lat: f64) -> Known {
        Known { lat: Some(lat), attitude: Some(Attitude::default()), ..Known::default() }
    }

    #[test]
    fn a_frame_has_what_was_said_last_before_it() {
        let mut timeline = Timeline::default();
        for (from, lat) in [(2, 2.0), (1, 1.0), (3, 3.0)] {
            timeline.add(from * S, None, at(lat));
        }
        let lat = |timeline: &mut Timeline, ns| timeline.at(ns).map(|sample| (sample.known.lat, sample.age.as_nanos()));
        assert_eq!(lat(&mut timeline, S - 1), None);
        assert_eq!(lat(&mut timeline, S), Some((Some(1.0), 0)));
        assert_eq!(lat(&mut timeline, 3 * S - 1), Some((Some(2.0), u128::from(S) - 1)));
        assert_eq!(lat(&mut timeline, 9 * S), Some((Some(3.0), 6 * u128::from(S))));
        assert_eq!(timeline.entries.len(), 1);
    }

    #[test]
    fn a_cue_holds_until_it_ends() {
        let timeline = Timeline::of_file([(0, Some(S), at(1.0)), (2 * S, Some(3 * S), at(2.0))]);
        let found: Vec<_> = [0, S - 1, S, 2 * S, 3 * S, 0].map(|ns| timeline.look(ns).and_then(|s| s.known.lat)).into();
        assert_eq!(found, [Some(1.0), Some(1.0), None, Some(2.0), None, Some(1.0)]);
    }

    #[test]
    fn what_packets_leave_out_holds_for_ten_seconds() {
        let mut timeline = Timeline::default();
        timeline.add(0, None, Known { hfov_deg: Some(9.0), ..at(1.0) });
        let time = |s| Known { time_us: Some(s), ..Known::default() };
        timeline.add(9 * S, None, time(9));
        timeline.add(10 * S, None, time(10));
        let known = timeline.at(9 * S).expect("a sample").known;
        assert_eq!((known.lat, known.hfov_deg, known.time_us), (Some(1.0), Some(9.0), Some(9)));
        assert_eq!(timeline.at(10 * S).expect("a sample").known, time(10));
    }

    #[test]
    fn a_track_without_frames_takes_no_more_memory() {
        let mut timeline = Timeline::default();
        for ns in 0..10_000 {
            timeline.add(ns, None, at(0.0));
        }
        assert_eq!(timeline.entries.len(), ENTRIES);
    }
}
