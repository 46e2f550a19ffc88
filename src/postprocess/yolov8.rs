//! `YOLOv8`, v9, v11, v12: `[B,4+C,N]` (or transposed), centre and size in input pixels, class scores 0..1, no objectness.

use super::{Candidate, PostprocessError};
use crate::geometry::ModelBox;
use crate::tensor::OutputView;

/// The best class of every anchor so far; reused from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Best {
    score: Vec<f32>,
    class_id: Vec<u16>,
}

/// Appends every anchor whose best class scores above `conf`. `scale` turns box coordinates into input pixels.
pub(super) fn decode(
    output: &OutputView<'_>,
    item: usize,
    classes: usize,
    scale: [f32; 2],
    conf: f32,
    best: &mut Best,
    out: &mut Vec<Candidate>,
) -> Result<(), PostprocessError> {
    let channels = classes + 4;
    let wrong = || PostprocessError {
        found: output.shape.to_vec(),
        expected: format!("[B,{channels},N] or [B,N,{channels}] with B > {item}"),
    };
    let &[batch, rows, columns] = output.shape else { return Err(wrong()) };
    let len = rows * columns;
    let data = output.data.get(item * len..(item + 1) * len).filter(|_| item < batch).ok_or_else(wrong)?;
    let mut push = |class_id: u16, confidence: f32, [cx, cy, w, h]: [f32; 4]| {
        let bbox = ModelBox::from_centre(cx * scale[0], cy * scale[1], w * scale[0], h * scale[1]);
        out.push(Candidate { class_id, confidence, bbox });
    };
    if rows == channels {
        let anchors = columns;
        best.score.clear();
        best.score.resize(anchors, conf);
        best.class_id.clear();
        best.class_id.resize(anchors, u16::MAX);
        // Class by class over contiguous anchors: the compiler vectorises this.
        for (class_id, scores) in (0u16..).zip(data[4 * anchors..].chunks_exact(anchors)) {
            for ((best, winner), score) in best.score.iter_mut().zip(&mut best.class_id).zip(scores) {
                let better = *score > *best;
                *best = if better { *score } else { *best };
                *winner = if better { class_id } else { *winner };
            }
        }
        for (anchor, (score, class_id)) in best.score.iter().zip(&best.class_id).enumerate() {
            if *class_id != u16::MAX {
                let at = |channel: usize| data[channel * anchors + anchor];
                push(*class_id, *score, [at(0), at(1), at(2), at(3)]);
            }
        }
    } else if columns == channels {
        for row in data.chunks_exact(channels) {
            let (mut score, mut winner) = (conf, None);
            for (class_id, s) in (0u16..).zip(&row[4..]) {
                if *s > score {
                    (score, winner) = (*s, Some(class_id));
                }
            }
            if let Some(class_id) = winner {
                push(class_id, score, [row[0], row[1], row[2], row[3]]);
            }
        }
    } else {
        return Err(wrong());
    }
    Ok(())
}
