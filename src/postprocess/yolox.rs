//! YOLOX as published: `[B,N,5+C]`, offsets in grid cells and log sizes over strides 8, 16, 32, objectness × class.

use super::{Candidate, PostprocessError};
use crate::geometry::{ModelBox, Size, px};
use crate::tensor::OutputView;

const STRIDES: [u32; 3] = [8, 16, 32];

/// Appends every cell whose best class scores above `conf`.
pub(super) fn decode(
    output: &OutputView<'_>,
    item: usize,
    classes: usize,
    tensor: Size,
    conf: f32,
    out: &mut Vec<Candidate>,
) -> Result<(), PostprocessError> {
    let width = classes + 5;
    let cells: usize = STRIDES.iter().map(|s| ((tensor.width / s) * (tensor.height / s)) as usize).sum();
    let wrong =
        || PostprocessError { found: output.shape.to_vec(), expected: format!("[B,{cells},{width}] with B > {item}") };
    let len = cells * width;
    let data = output
        .data
        .get(item * len..(item + 1) * len)
        .filter(|_| matches!(output.shape, [b, n, w] if *b > item && *n == cells && *w == width))
        .ok_or_else(wrong)?;
    let mut rows = data.chunks_exact(width);
    for stride in STRIDES {
        for y in 0..tensor.height / stride {
            for x in 0..tensor.width / stride {
                let Some(row) = rows.next() else { return Err(wrong()) };
                let (mut best, mut winner) = (conf, None);
                for (class_id, score) in (0u16..).zip(&row[5..]) {
                    let score = score * row[4];
                    if score > best {
                        (best, winner) = (score, Some(class_id));
                    }
                }
                if let Some(class_id) = winner {
                    let s = px(stride);
                    let bbox = ModelBox::from_centre(
                        (row[0] + px(x)) * s,
                        (row[1] + px(y)) * s,
                        row[2].exp() * s,
                        row[3].exp() * s,
                    );
                    out.push(Candidate { class_id, confidence: best, bbox });
                }
            }
        }
    }
    Ok(())
}
