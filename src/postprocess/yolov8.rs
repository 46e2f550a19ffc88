//! `YOLOv8`, v9, v11, v12: `[B,4+C,N]` (or transposed), centre and size in input pixels, class scores 0..1, no objectness.
//!
//! Channels after the classes are masks or keypoints, passed over, or with rotated boxes their angle.

use super::PostprocessError;
use super::reading::{Found, Reading};
use crate::geometry::ModelBox;

/// Anchors that are looked at together: so many that their best scores stay in registers. Measured: 16 take 7 % less time
/// than all at once, 32 a third more.
const BLOCK: usize = 16;
/// No class is above the threshold.
const NONE: u16 = u16::MAX;

/// Where the angle of a rotated box is, in radians.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Angle {
    /// Boxes are upright.
    None,
    /// In the last channel.
    Last,
}

/// Appends every anchor whose best class scores above the threshold.
pub(super) fn decode(reading: &Reading<'_>, angle: Angle, found: &mut Found) -> Result<(), PostprocessError> {
    let (classes, least) = (reading.classes, reading.classes + 4 + usize::from(angle == Angle::Last));
    let wrong = || reading.wrong(format!("[B,{least},N] or [B,N,{least}]"));
    let table = reading.table().ok_or_else(wrong)?;
    let exact = [table.rows, table.columns].map(|n| n == least);
    // Anchors outnumber channels, but where a dimension is just what is expected.
    let channels_first = match exact {
        [true, _] => true,
        [_, true] => false,
        _ => table.rows < table.columns,
    };
    let bbox = |[cx, cy, w, h]: [f32; 4], turn: f32| match angle {
        Angle::None => ModelBox::from_centre(cx, cy, w, h),
        Angle::Last => hull(cx, cy, w, h, turn),
    };
    let data = table.data;
    if channels_first && table.rows >= least {
        let (channels, anchors) = (table.rows, table.columns);
        let scores = &data[4 * anchors..(4 + classes) * anchors];
        for start in (0..anchors).step_by(BLOCK) {
            let (mut best, mut winners) = ([reading.conf; BLOCK], [u32::from(NONE); BLOCK]);
            // Class by class over contiguous anchors: the compiler vectorises whole blocks.
            for (class_id, scores) in (0..).zip(scores.chunks_exact(anchors)) {
                match scores[start..].first_chunk::<BLOCK>() {
                    Some(scores) => raise(&mut best, &mut winners, scores, class_id),
                    None => raise(&mut best, &mut winners, &scores[start..], class_id),
                }
            }
            for ((score, winner), anchor) in best.iter().zip(winners).zip(start..anchors) {
                if let Some(class_id) = u16::try_from(winner).ok().filter(|id| *id != NONE) {
                    let at = |channel: usize| data[channel * anchors + anchor];
                    found.push(class_id, *score, bbox([at(0), at(1), at(2), at(3)], at(channels - 1)));
                }
            }
        }
    } else if !channels_first && table.columns >= least {
        for row in data.chunks_exact(table.columns) {
            if let Some((class_id, score)) = reading.best(&row[4..4 + classes], 1.0) {
                found.push(class_id, score, bbox([row[0], row[1], row[2], row[3]], row[table.columns - 1]));
            }
        }
    } else {
        return Err(wrong());
    }
    Ok(())
}

/// Compares a class's scores with the best so far. What is not a number wins for good, see [`Reading::best`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for whole blocks, once for the rest")]
fn raise(best: &mut [f32], winners: &mut [u32], scores: &[f32], class_id: u32) {
    for ((best, winner), score) in best.iter_mut().zip(winners).zip(scores) {
        let better = (*score > *best) | score.is_nan();
        *best = if better { *score } else { *best };
        *winner = if better { class_id } else { *winner };
    }
}

/// The upright box around one that is turned by `angle` radians about its centre.
pub(super) fn hull(cx: f32, cy: f32, width: f32, height: f32, angle: f32) -> ModelBox {
    let (sin, cos) = (angle.sin().abs(), angle.cos().abs());
    ModelBox::from_centre(cx, cy, width * cos + height * sin, width * sin + height * cos)
}
