//! The field's trackers, as `trackforge` has them, with their authors' or Ultralytics' settings. They count frames and know
//! no time: [`Kind::Timed`](super::Kind) does.

use trackforge::trackers::botsort::BotSort;
use trackforge::trackers::byte_track::ByteTrack;
use trackforge::trackers::common::CameraMotion;
use trackforge::trackers::ocsort::OcSort;
use trackforge::trackers::sort::Sort;

use super::Kind;
use super::motion::Motion;
use crate::detection::Detection;
use crate::geometry::FrameBox;

/// Confidence thresholds and frames, as in Ultralytics' bytetrack.yaml and botsort.yaml.
const HIGH: f32 = 0.25;
const NEW: f32 = 0.25;
const MATCH: f32 = 0.8;
const BUFFER: usize = 30;

/// Detections of a frame, at most: what they take grows with the cube.
const MOST: usize = 300;

/// One of them.
pub enum ByFrames {
    /// `ByteTrack`.
    Byte(ByteTrack),
    /// BoT-SORT, without looks.
    BotSort(BotSort),
    /// OC-SORT.
    OcSort(OcSort),
    /// SORT.
    Sort(Sort),
}

impl ByFrames {
    /// `None` for the tracker that goes by time.
    pub fn new(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Timed => None,
            Kind::Byte => Some(Self::Byte(ByteTrack::new(HIGH, BUFFER, MATCH, NEW))),
            Kind::BotSort => Some(Self::BotSort(BotSort::new(HIGH, BUFFER, MATCH, NEW, 0.5, 0.25))),
            Kind::OcSort => Some(Self::OcSort(OcSort::new(BUFFER, 3, 0.3, 3, 0.2))),
            Kind::Sort => Some(Self::Sort(Sort::new(BUFFER, 3, 0.3))),
        }
    }

    /// The next frame's detections: for each the tracker's own number of its object.
    pub fn frame(&mut self, camera: Option<&Motion>, detections: &[Detection]) -> Vec<Option<u64>> {
        let usable =
            detections.iter().filter(|d| d.bbox.is_finite() && d.bbox.area() > 0.0 && d.confidence.is_finite());
        let given = usable.take(MOST).map(|d| (tlwh(&d.bbox), d.confidence, i64::from(d.class_id))).collect();
        let objects: Vec<(u64, [f32; 4])> = match self {
            Self::Byte(tracker) => tracker.update(given).iter().map(|t| (t.track_id, t.tlwh)).collect(),
            Self::BotSort(tracker) => {
                #[expect(clippy::cast_possible_truncation, reason = "pixels")]
                let theirs = |m: &Motion| {
                    let [a, b, dx, dy] = [m.a, m.b, m.dx, m.dy].map(|v| v as f32);
                    CameraMotion::new(a, -b, dx, b, a, dy)
                };
                let camera = camera.map_or_else(CameraMotion::identity, theirs);
                let tracks = tracker.update_with_camera_motion(given, &[], &camera);
                tracks.iter().map(|t| (t.track_id, t.tlwh)).collect()
            }
            Self::OcSort(tracker) => tracker.update(given).iter().map(|t| (t.track_id, t.tlwh)).collect(),
            Self::Sort(tracker) => tracker.update(given).iter().map(|t| (t.track_id, t.tlwh)).collect(),
        };
        // They say where an object is, not which detection it was: the one that it covers most.
        let mut of = vec![None; detections.len()];
        for (id, [x, y, width, height]) in objects {
            let bbox = FrameBox::new(x, y, x + width, y + height);
            let free = (0..detections.len()).filter(|place| of[*place].is_none());
            let covered =
                free.map(|place| (place, detections[place].bbox.iou(&bbox))).max_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((place, _)) = covered.filter(|(_, iou)| *iou > 0.3) {
                of[place] = Some(id);
            }
        }
        of
    }
}

fn tlwh(bbox: &FrameBox) -> [f32; 4] {
    [bbox.x1, bbox.y1, bbox.width(), bbox.height()]
}
