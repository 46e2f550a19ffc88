//! YOLOX: `[B,N,5+C]` over the cells of strides 8, 16, 32; confidence is objectness × class score.
//!
//! As published boxes are raw: offsets in grid cells and log sizes. An export with `decode_in_inference` has centres and
//! sizes in input pixels. The shape is the same; the values tell, as a box is near the cell it belongs to.

use super::PostprocessError;
use super::reading::{Found, Reading, Table, cell_count, cells};
use crate::geometry::{ModelBox, px};

const STRIDES: [u32; 3] = [8, 16, 32];

/// Appends every cell whose best class, times its objectness, is above the threshold.
pub(super) fn decode(reading: &Reading<'_>, found: &mut Found) -> Result<(), PostprocessError> {
    let width = reading.classes + 5;
    let count = cell_count(reading.tensor, &STRIDES);
    let table = reading.table().filter(|t| t.rows == count && t.columns == width);
    let table = table.ok_or_else(|| reading.wrong(format!("[B,{count},{width}]")))?;
    let decoded = is_decoded(reading, &table);
    for ((stride, x, y), row) in cells(reading.tensor, &STRIDES).zip(table.data.chunks_exact(width)) {
        if let Some((class_id, confidence)) = reading.best(&row[5..], row[4]) {
            let s = px(stride);
            let bbox = if decoded {
                ModelBox::from_centre(row[0], row[1], row[2], row[3])
            } else {
                let (cx, cy) = ((row[0] + px(x)) * s, (row[1] + px(y)) * s);
                ModelBox::from_centre(cx, cy, row[2].exp() * s, row[3].exp() * s)
            };
            found.push(class_id, confidence, bbox);
        }
    }
    Ok(())
}

/// Which reading of the centres leaves the boxes nearer to their cells, over the whole frame.
fn is_decoded(reading: &Reading<'_>, table: &Table<'_>) -> bool {
    let (mut as_offset, mut as_pixels) = (0.0, 0.0);
    for ((stride, x, _), row) in cells(reading.tensor, &STRIDES).zip(table.data.chunks_exact(table.columns)) {
        let centre = (px(x) + 0.5) * px(stride);
        if row[0].is_finite() {
            as_offset += f64::from((row[0] * px(stride)).abs());
            as_pixels += f64::from((row[0] - centre).abs());
        }
    }
    as_pixels < as_offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use crate::postprocess::reading::Candidate;
    use crate::tensor::OutputView;

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
        let mut found = Found::default();
        let outputs = [OutputView { name: "output", shape, data }];
        decode(&Reading { outputs: &outputs, item, classes: 2, tensor: TENSOR, conf: 0.25 }, &mut found)?;
        Ok(found.candidates)
    }

    #[test]
    fn cells_decode_as_computed_by_hand() {
        let two = 2.0_f32.ln();
        let data = output(&[
            // Stride 8, column 3, row 2: centre ((0.5 + 3) 8, (0 + 2) 8), size (1 × 8, 2 × 8).
            (0, 11, [0.5, 0.0, 0.0, two, 0.5, 1.0, 0.25]),
            // Stride 16, column 1, row 0: centre ((0.5 + 1) 16, 0.25 × 16), size (2 × 16, 1 × 16).
            (0, 17, [0.5, 0.25, two, 0.0, 0.75, 0.5, 1.0]),
            // Stride 32, its only cell, shifted left beyond the cell and the frame.
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
            assert_eq!(error.found, [shape]);
            assert!(error.expected.starts_with("[B,21,7]"), "{error}");
        }
        run(&data[..data.len() - 1], &[2, CELLS, WIDTH], 1).expect_err("one value is missing");
    }

    #[test]
    fn decoded_boxes_are_told_from_raw_ones() {
        // Every cell's centre and a size of 10 × 20: what an export with its decode inside gives.
        let mut data = Vec::new();
        for (stride, x, y) in cells(TENSOR, &STRIDES) {
            let [cx, cy] = [x, y].map(|n| (px(n) + 0.6) * px(stride));
            data.extend([cx, cy, 10.0, 20.0, 0.5, 0.0, 0.25]);
        }
        data[3 * WIDTH + 6] = 1.0;
        let found = run(&data, &[1, CELLS, WIDTH], 0).expect("the layout fits");
        assert_eq!(found.len(), 1);
        let b = found[0].bbox;
        for (is, should) in [b.x1, b.y1, b.x2, b.y2].iter().zip([23.8, -5.2, 33.8, 14.8]) {
            assert!((is - should).abs() < 1e-4, "{b:?}");
        }
    }
}
