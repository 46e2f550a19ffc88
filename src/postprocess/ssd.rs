//! `TensorFlow`'s detection API: boxes `[B,K,4]` (y1, x1, y2, x2 in 0..1 of the input), classes `[B,K]` from 1, scores `[B,K]`
//! and how many of the K are used, `[B]`; NMS is inside.

use super::PostprocessError;
use super::reading::{Found, Reading};
use crate::geometry::{ModelBox, px};
use crate::model::layout::Role;

/// Appends every used box whose score is above the threshold.
pub(super) fn decode(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    let (across, down) = (px(reading.tensor.width), px(reading.tensor.height));
    for_used(reading, found, |b, class| {
        (class - 1.0, ModelBox::new(b[1] * across, b[0] * down, b[3] * across, b[2] * down))
    })
}

/// Goes through boxes, classes and scores as far as their number says; `read` turns four numbers and a class into a box and
/// a class counted from 0.
pub(super) fn for_used(
    reading: &Reading<'_>,
    found: &mut Found,
    read: impl Fn(&[f32], f32) -> (f32, ModelBox),
) -> Result<(), PostprocessError> {
    let wrong = || reading.wrong("boxes [B,K,4], classes [B,K], scores [B,K], their number [B]");
    let roles = [Role::Boxes, Role::Scores, Role::Classes].map(|role| reading.role(role));
    let [Some(boxes), Some(scores), Some(classes)] = roles else { return Err(wrong()) };
    if classes.len() != scores.len() || boxes.len() != 4 * scores.len() {
        return Err(wrong());
    }
    let used = match reading.role(Role::Count) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast holds to the range")]
        Some(count) => *count.first().ok_or_else(wrong)? as usize,
        None => scores.len(),
    };
    for ((b, score), class) in boxes.chunks_exact(4).zip(scores).zip(classes).take(used) {
        let (class, bbox) = read(b, *class);
        reading.chosen(class, *score, bbox, found);
    }
    Ok(())
}
