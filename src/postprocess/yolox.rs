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

#[cfg(test)]
mod tests {
    use super::*;

    const TENSOR: Size = Size { width: 32, height: 32 };
    /// 4 × 4, 2 × 2 and 1 × 1 cells at strides 8, 16 and 32.
    const CELLS: usize = 21;
    /// Of two classes.
    const WIDTH: usize = 7;

    /// Two frames of nothing but what is given: frame, cell, values.
    fn output(rows: &[(usize, usize, [f32; WIDTH])]) -> Vec<f32> {
        let mut data = vec![0.0; 2 * CELLS * WIDTH];
        for (item, cell, values) in rows {
            data[(item * CELLS + cell) * WIDTH..][..WIDTH].copy_from_slice(values);
        }
        data
    }

    fn run(data: &[f32], shape: &[usize], item: usize) -> Result<Vec<Candidate>, PostprocessError> {
        let mut found = Vec::new();
        let output = OutputView { name: "output", shape, data };
        decode(&output, item, 2, TENSOR, 0.25, &mut found)?;
        Ok(found)
    }

    #[test]
    fn cells_decode_as_computed_by_hand() {
        let two = 2.0_f32.ln();
        let data = output(&[
            // Stride 8, column 3, row 2: centre ((0.5 + 3) 8, (0 + 2) 8), size (1 × 8, 2 × 8).
            (0, 11, [0.5, 0.0, 0.0, two, 0.5, 1.0, 0.25]),
            // Stride 16, column 1, row 0: centre ((0.5 + 1) 16, 0.25 × 16), size (2 × 16, 1 × 16).
            (0, 17, [0.5, 0.25, two, 0.0, 0.75, 0.5, 1.0]),
            // Stride 32, its only cell, shifted left beyond the cell and the picture.
            (0, 20, [-0.25, 0.5, 0.0, 0.0, 1.0, 0.5, 0.0]),
            // Certain of the class, not of there being anything: 0.3 × 0.8 is below the threshold.
            (0, 5, [0.0, 0.0, 0.0, 0.0, 0.3, 0.8, 0.0]),
            // The other frame's.
            (1, 0, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]),
        ]);
        let found = run(&data, &[2, CELLS, WIDTH], 0).expect("the layout fits");
        let expected =
            [(0, 0.5, [24.0, 8.0, 32.0, 24.0]), (1, 0.75, [8.0, -4.0, 40.0, 12.0]), (0, 0.5, [-24.0, 0.0, 8.0, 32.0])];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (candidate, (class_id, confidence, corners)) in found.iter().zip(expected) {
            assert_eq!(candidate.class_id, class_id);
            assert!((candidate.confidence - confidence).abs() < 1e-6, "{candidate:?}");
            let b = candidate.bbox;
            for (is, should) in [b.x1, b.y1, b.x2, b.y2].iter().zip(corners) {
                assert!((is - should).abs() < 1e-4, "{b:?}, should be {corners:?}");
            }
        }
        let second = run(&data, &[2, CELLS, WIDTH], 1).expect("the layout fits");
        assert_eq!(second.len(), 1);
        assert_eq!(second[0].bbox, ModelBox::new(-4.0, -4.0, 4.0, 4.0));
    }

    #[test]
    fn another_shape_is_refused_with_what_was_expected() {
        let data = output(&[]);
        for (shape, item) in [
            (vec![2, CELLS, WIDTH], 2),
            (vec![2, CELLS - 1, WIDTH], 0),
            (vec![2, CELLS, WIDTH + 1], 0),
            (vec![CELLS, WIDTH], 0),
        ] {
            let error = run(&data, &shape, item).expect_err("not the layout's shape");
            assert_eq!(error.found, shape);
            assert!(error.expected.starts_with("[B,21,7]"), "{error}");
        }
        run(&data[..data.len() - 1], &[2, CELLS, WIDTH], 1).expect_err("one value is missing");
    }
}
