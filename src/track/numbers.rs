//! What is known of objects that others have numbered: when each was first and last seen, and where.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::StreamTime;
use crate::detection::{Detection, Track, TrackState};
use crate::geometry::FrameBox;

/// Objects that are not seen for so long are forgotten: none of the trackers here keeps one that long.
const KEPT: Duration = Duration::from_mins(1);
/// Numbers that are known at once, at most: a file may give a new one to every box.
const MOST: usize = 20_000;

/// The program's ids of another tracker's objects, and what is known of those.
#[derive(Default)]
pub(super) struct Numbers {
    last_id: u32,
    of: HashMap<u64, Known>,
}

/// An object.
struct Known {
    id: u32,
    first: StreamTime,
    last: StreamTime,
    bbox: FrameBox,
    speed: [f32; 2],
}

impl Known {
    fn new(id: u32, now: StreamTime, bbox: &FrameBox) -> Self {
        Self { id, first: now, last: now, bbox: *bbox, speed: [0.0; 2] }
    }

    /// Its track, where it is seen at `bbox`.
    fn seen(&mut self, now: StreamTime, bbox: &FrameBox) -> Track {
        let passed = between(self.last, now).as_secs_f64();
        if passed > 0.0 {
            let ([x, y], [before_x, before_y]) = (bbox.centre(), self.bbox.centre());
            #[expect(clippy::cast_possible_truncation, reason = "pixels a second")]
            let speed = [(f64::from(x - before_x) / passed) as f32, (f64::from(y - before_y) / passed) as f32];
            self.speed = speed;
        }
        (self.last, self.bbox) = (now, *bbox);
        self.track(now)
    }

    fn track(&self, now: StreamTime) -> Track {
        Track { id: self.id, age: between(self.first, now), state: TrackState::Confirmed, speed: self.speed }
    }
}

impl Numbers {
    /// The track of what another tracker calls `number`.
    pub fn track(&mut self, number: u64, now: StreamTime, bbox: &FrameBox) -> Track {
        let last_id = &mut self.last_id;
        let known = self.of.entry(number).or_insert_with(|| {
            *last_id += 1;
            Known::new(*last_id, now, bbox)
        });
        known.seen(now, bbox)
    }

    /// Forgets what was not seen for a minute.
    pub fn forget(&mut self, now: StreamTime) {
        self.of.retain(|_, known| between(known.last, now) < KEPT);
    }
}

/// Objects with ids that nothing here gave them, as those of a file: how old they are and how fast they move is seen from what passes.
#[derive(Default)]
pub struct Given(Numbers);

impl Given {
    /// Completes the tracks of a frame's detections; one that was not inferred shows what the one before it did.
    pub fn frame(&mut self, now: StreamTime, inferred: bool, detections: &mut [Detection]) {
        for detection in detections {
            let Some(track) = &mut detection.track else { continue };
            if self.0.of.len() >= MOST && !self.0.of.contains_key(&track.id.into()) {
                self.0.of.retain(|_, known| known.last == now);
            }
            let known = self.0.of.entry(track.id.into()).or_insert_with(|| Known::new(track.id, now, &detection.bbox));
            *track = if inferred { known.seen(now, &detection.bbox) } else { known.track(now) };
        }
    }
}

fn between(from: StreamTime, to: StreamTime) -> Duration {
    Duration::from_nanos(to.ns.saturating_sub(from.ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_file_have_an_age_and_a_speed() {
        let mut given = Given::default();
        let mut at = |ms: u64, x: f32, inferred: bool| {
            let bbox = FrameBox::new(x, 10.0, x + 20.0, 50.0);
            let track = Some(Track::numbered(7));
            let mut found = [Detection { class_id: 0, confidence: 0.9, bbox, track }];
            given.frame(StreamTime { ns: ms * 1_000_000 }, inferred, &mut found);
            let track = found[0].track.expect("it has an id");
            (track.id, track.age.as_millis(), track.speed)
        };
        assert_eq!(at(1000, 10.0, true), (7, 0, [0.0, 0.0]));
        assert_eq!(at(1500, 60.0, true), (7, 500, [100.0, 0.0]));
        // Carried over: it stands where it was, and is no slower for that.
        assert_eq!(at(1600, 60.0, false), (7, 600, [100.0, 0.0]));
        assert_eq!(at(2000, 85.0, true), (7, 1000, [50.0, 0.0]));
        assert_eq!(at(100_000, 85.0, true).1, 99_000, "the file says that it is the same object");
    }

    #[test]
    fn a_file_with_a_new_id_for_every_box_fills_no_memory() {
        let mut given = Given::default();
        let bbox = FrameBox::new(0.0, 0.0, 9.0, 9.0);
        for n in 0..30 {
            let ids = (0..1000).map(|id| Some(Track::numbered(n * 1000 + id)));
            let mut found: Vec<_> = ids.map(|track| Detection { class_id: 0, confidence: 0.9, bbox, track }).collect();
            given.frame(StreamTime { ns: u64::from(n) * 1_000_000 }, true, &mut found);
            assert!(given.0.of.len() <= MOST);
        }
    }
}
