//! What is scored: the boxes of one sequence that count, frame by frame.

use std::collections::BTreeMap;

use crate::mot::MotBox;

/// A box of a track.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tracked {
    /// Tracks are numbered from 0 without gaps.
    pub(super) track: usize,
    pub(super) bbox: MotBox,
}

/// The boxes of a frame, in the order of the files: where boxes tie, that decides.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    pub(super) gt: Vec<Tracked>,
    pub(super) result: Vec<Tracked>,
}

/// A sequence, with frames that hold something only: an empty one changes no figure.
#[derive(Debug, Clone, Default)]
pub(super) struct Scene {
    pub(super) frames: Vec<Frame>,
    /// How many tracks, and boxes, in ground truth and result.
    pub(super) gt_tracks: usize,
    pub(super) result_tracks: usize,
    pub(super) gt_boxes: usize,
    pub(super) result_boxes: usize,
}

impl Scene {
    /// Numbers the tracks of frames whose boxes stand with their ids.
    pub(super) fn of(frames: impl IntoIterator<Item = [Vec<(i64, MotBox)>; 2]>) -> Self {
        let (mut gt_ids, mut result_ids) = (BTreeMap::new(), BTreeMap::new());
        let numbered = |boxes: Vec<(i64, MotBox)>, ids: &mut BTreeMap<i64, usize>| {
            let number = |(id, bbox)| {
                let next = ids.len();
                Tracked { track: *ids.entry(id).or_insert(next), bbox }
            };
            boxes.into_iter().map(number).collect::<Vec<_>>()
        };
        let mut scene = Self::default();
        for [gt, result] in frames {
            let frame = Frame { gt: numbered(gt, &mut gt_ids), result: numbered(result, &mut result_ids) };
            scene.gt_boxes += frame.gt.len();
            scene.result_boxes += frame.result.len();
            if !frame.gt.is_empty() || !frame.result.is_empty() {
                scene.frames.push(frame);
            }
        }
        (scene.gt_tracks, scene.result_tracks) = (gt_ids.len(), result_ids.len());
        scene
    }
}
