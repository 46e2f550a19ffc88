//! Tracked objects from their first frame to their last, for messages that tell of each: new, update, end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::StreamTime;
use crate::detection::{Detection, FrameEvent, ZoneEvent};

/// How long an object may be missing before it has ended: as `--track-buffer` by default. A tracker does not use a number again.
const GONE: Duration = Duration::from_secs(3);

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    New,
    Update,
    End,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::End => "end",
        }
    }
}

/// An object as it was seen last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub id: u32,
    pub class_id: u16,
    pub confidence: f32,
    /// The highest so far.
    pub best: f32,
    pub corners: [f32; 4],
    /// Its first frame and its last, in the stream and by the wall clock (s since 1970).
    pub first: (StreamTime, f64),
    pub last: (StreamTime, f64),
    /// Number of its last frame.
    pub frame: u64,
    /// Where it is, and where it was.
    pub zones: Vec<Arc<str>>,
    pub entered: Vec<Arc<str>>,
}

/// What is to be told.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub what: What,
    /// As it was told last.
    pub before: Object,
    pub after: Object,
}

struct Followed {
    now: Object,
    told: Object,
}

/// The objects of a stream.
pub(super) struct Follower {
    objects: BTreeMap<u32, Followed>,
    /// Shortest time between two updates of an object, ns.
    interval_ns: u64,
}

impl Follower {
    pub fn new(interval_ns: u64) -> Self {
        Self { objects: BTreeMap::new(), interval_ns }
    }

    /// A frame's detections and events; `wall` is the time, s since 1970.
    pub fn frame(
        &mut self,
        (index, pts, wall): (u64, StreamTime, f64),
        found: &[Detection],
        events: &[FrameEvent],
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for detection in found {
            let Some(track) = detection.track else { continue };
            let corners = [detection.bbox.x1, detection.bbox.y1, detection.bbox.x2, detection.bbox.y2];
            let known = self.objects.get(&track.id).map(|known| &known.now);
            let now = Object {
                id: track.id,
                class_id: detection.class_id,
                confidence: detection.confidence,
                best: known.map_or(0.0, |known| known.best).max(detection.confidence),
                corners,
                first: known.map_or((pts, wall), |known| known.first),
                last: (pts, wall),
                frame: index,
                zones: known.map_or_else(Vec::new, |known| known.zones.clone()),
                entered: known.map_or_else(Vec::new, |known| known.entered.clone()),
            };
            let is_new = known.is_none();
            let followed =
                self.objects.entry(track.id).or_insert_with(|| Followed { now: now.clone(), told: now.clone() });
            followed.now = now.clone();
            if is_new {
                changes.push(Change { what: What::New, before: now.clone(), after: now });
            }
        }
        for event in events {
            let FrameEvent::Zone { name, what, track_id, .. } = event else { continue };
            let Some(Followed { now, .. }) = self.objects.get_mut(track_id) else { continue };
            now.zones.retain(|zone| zone != name);
            if *what == ZoneEvent::Enter {
                now.zones.push(name.clone());
                if !now.entered.contains(name) {
                    now.entered.push(name.clone());
                }
            }
        }
        let gone = u64::try_from(GONE.as_nanos()).unwrap_or(u64::MAX);
        let is_gone = |object: &Object| pts.ns.saturating_sub(object.last.0.ns) > gone;
        for Followed { now, told } in self.objects.values_mut() {
            let is_due = now.frame > told.frame && now.last.0.ns >= told.last.0.ns.saturating_add(self.interval_ns);
            if !is_gone(now) && (is_due || now.zones != told.zones) {
                let before = std::mem::replace(told, now.clone());
                changes.push(Change { what: What::Update, before, after: now.clone() });
            }
        }
        let ended = self.objects.extract_if(.., |_, followed| is_gone(&followed.now));
        changes.extend(ended.map(|(_, Followed { now, told })| Change { what: What::End, before: told, after: now }));
        changes
    }

    /// The stream has ended, and with it every object.
    pub fn finish(&mut self) -> Vec<Change> {
        let objects = std::mem::take(&mut self.objects);
        objects
            .into_values()
            .map(|Followed { now, told }| Change { what: What::End, before: told, after: now })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Track;
    use crate::geometry::FrameBox;

    fn seen(id: u32, confidence: f32) -> Detection {
        let bbox = FrameBox::new(1.0, 2.0, 3.0, 4.0);
        Detection { class_id: 0, confidence, bbox, track: Some(Track::numbered(id)) }
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn at(tenths: u64) -> (u64, StreamTime, f64) {
        (tenths, StreamTime { ns: tenths * 100_000_000 }, 1000.0 + tenths as f64 / 10.0)
    }

    fn told(changes: &[Change]) -> Vec<(&'static str, u32)> {
        changes.iter().map(|change| (change.what.name(), change.after.id)).collect()
    }

    #[test]
    fn every_object_is_new_once_updated_as_often_as_asked_and_ends_once() {
        let mut follower = Follower::new(1_000_000_000);
        assert_eq!(told(&follower.frame(at(0), &[seen(7, 0.5)], &[])), [("new", 7)]);
        let updates: Vec<_> = (1..=20).flat_map(|n| follower.frame(at(n), &[seen(7, 0.9)], &[])).collect();
        assert_eq!(told(&updates), [("update", 7), ("update", 7)]);
        assert_eq!((updates[0].before.frame, updates[0].after.frame, updates[1].before.frame), (0, 10, 10));
        assert!((updates[1].after.best - 0.9).abs() < 1e-6);
        // Missing for three seconds, it may come back.
        assert!((21..=50).all(|n| follower.frame(at(n), &[], &[]).is_empty()));
        assert_eq!(told(&follower.frame(at(51), &[seen(8, 0.4)], &[])), [("new", 8), ("end", 7)]);
        assert_eq!(told(&follower.finish()), [("end", 8)]);
        assert!(follower.finish().is_empty());
    }

    #[test]
    fn a_change_of_zones_is_told_at_once() {
        let mut follower = Follower::new(u64::MAX);
        let zone =
            |what| FrameEvent::Zone { name: "yard".into(), what, track_id: 7, class_id: 0, at: StreamTime { ns: 0 } };
        follower.frame(at(0), &[seen(7, 0.5)], &[]);
        let entered = follower.frame(at(1), &[seen(7, 0.5)], &[zone(ZoneEvent::Enter)]);
        assert_eq!((told(&entered), entered[0].after.zones.len()), (vec![("update", 7)], 1));
        let left = follower.frame(at(2), &[seen(7, 0.5)], &[zone(ZoneEvent::Leave { dwell: Duration::ZERO })]);
        assert_eq!((told(&left), left[0].after.zones.len(), left[0].after.entered.len()), (vec![("update", 7)], 0, 1));
        assert!(follower.frame(at(3), &[seen(7, 0.5)], &[]).is_empty());
    }
}
