//! Boxes of classes that nobody is to recognise, pixelated on the planes where they lie: luma and chroma become the means of blocks.

use std::sync::Arc;

use super::{FrameViewMut, PixelFormat, PlaneMut};
use crate::detection::Detection;
use crate::geometry::FrameBox;

/// Blocks along the longer side of a box: a face, a seventh of a person's height, is about one block.
const BLOCKS: u32 = 8;
/// Smallest block, pixels.
const SMALLEST: u32 = 8;

/// Classes that are pixelated.
#[derive(Debug, Clone, Default)]
pub struct Pixelation {
    /// By class id.
    classes: Arc<[bool]>,
}

impl Pixelation {
    /// Of the classes for which that is true, by their ids.
    #[must_use]
    pub fn of(classes: &[bool]) -> Self {
        Self { classes: classes.into() }
    }

    /// Those of `detections` that are pixelated.
    pub fn among<'a>(&self, detections: &'a [Detection]) -> impl Iterator<Item = &'a Detection> {
        detections.iter().filter(|found| self.classes.get(usize::from(found.class_id)).is_some_and(|covered| *covered))
    }

    /// Pixelates their boxes in `frame`, which begins at these pixels of the frame that the boxes are in.
    pub fn apply(&self, frame: &mut FrameViewMut<'_>, detections: &[Detection], (left, top): (f32, f32)) {
        for found in self.among(detections) {
            pixelate(frame, &found.bbox.moved(-left, -top));
        }
    }
}

/// A range of samples of a plane, its end exclusive.
#[derive(Clone, Copy)]
struct Span {
    from: usize,
    to: usize,
}

/// Pixelates `bbox`, enlarged to whole chroma samples.
pub fn pixelate(frame: &mut FrameViewMut<'_>, bbox: &FrameBox) {
    if !bbox.is_finite() {
        return;
    }
    let (size, format) = (frame.info.size, frame.info.format);
    let (across, down) = format.chroma_shift();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clipped to the frame")]
    let axis = |low: f32, high: f32, side: u32, shift: u32| {
        let low = (low.floor().max(0.0) as u32).min(side) >> shift << shift;
        let high = (high.ceil().max(0.0) as u32).min(side).next_multiple_of(1 << shift).min(side);
        (low, high.max(low))
    };
    let (x1, x2) = axis(bbox.x1, bbox.x2, size.width, across);
    let (y1, y2) = axis(bbox.y1, bbox.y2, size.height, down);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a box's side: no negative one")]
    let longer = bbox.width().max(bbox.height()).min(1e6).ceil() as u32;
    // Even, so that blocks of luma and chroma cover each other.
    let block = (longer / BLOCKS).max(SMALLEST).next_multiple_of(2);
    for index in 0..format.planes() {
        let shift = if index == 0 { (0, 0) } else { (across, down) };
        let span = |from: u32, to: u32, shift: u32| Span {
            from: (from >> shift) as usize,
            to: to.div_ceil(1 << shift) as usize,
        };
        let (columns, rows) = (span(x1, x2, shift.0), span(y1, y2, shift.1));
        let side = ((block >> shift.0) as usize, (block >> shift.1) as usize);
        let plane = &mut frame.planes[index];
        match (frame.hdr.is_some(), index == 1 && format == PixelFormat::Nv12) {
            (true, _) => flatten::<1, 2>(plane, columns, rows, side),
            (false, true) => flatten::<2, 1>(plane, columns, rows, side),
            (false, false) => flatten::<1, 1>(plane, columns, rows, side),
        }
    }
}

/// Gives every sample of a block the block's mean; a sample has `CHANNELS` values of `BYTES` bytes, little-endian.
fn flatten<const CHANNELS: usize, const BYTES: usize>(
    plane: &mut PlaneMut<'_>,
    columns: Span,
    rows: Span,
    (width, height): (usize, usize),
) {
    let sample = CHANNELS * BYTES;
    for top in (rows.from..rows.to).step_by(height) {
        let bottom = (top + height).min(rows.to);
        for left in (columns.from..columns.to).step_by(width) {
            let right = (left + width).min(columns.to);
            let part = |row: usize| row * plane.stride + left * sample..row * plane.stride + right * sample;
            let mut sums = [0u64; CHANNELS];
            for bytes in (top..bottom).filter_map(|row| plane.data.get(part(row))) {
                for values in bytes.chunks_exact(sample) {
                    for (sum, value) in sums.iter_mut().zip(values.chunks_exact(BYTES)) {
                        *sum += value.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                    }
                }
            }
            let count = ((right - left) * (bottom - top)) as u64;
            let mut flat = [0; 4];
            for (bytes, sum) in flat.chunks_exact_mut(BYTES).zip(sums) {
                bytes.copy_from_slice(&((sum + count / 2) / count).to_le_bytes()[..BYTES]);
            }
            for row in top..bottom {
                let part = part(row);
                for values in plane.data.get_mut(part).into_iter().flat_map(|bytes| bytes.chunks_exact_mut(sample)) {
                    values.copy_from_slice(&flat[..sample]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hdr::Transfer;
    use super::super::{ChromaSite, Colour, FrameInfo, Matrix, Range};
    use super::*;
    use crate::geometry::Size;
    use proptest::prelude::*;

    const FORMATS: [PixelFormat; 4] = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444];

    /// A frame of noise: its planes with their strides, and how many bytes and values a sample has.
    struct Noise {
        info: FrameInfo,
        hdr: bool,
        planes: [Vec<u8>; 3],
        strides: [usize; 3],
    }

    impl Noise {
        fn new(format: PixelFormat, size: Size, hdr: bool) -> Self {
            let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
            let info = FrameInfo { format, size, colour };
            let mut noise = Self { info, hdr, planes: Default::default(), strides: [0; 3] };
            let mut state = 7u32;
            for index in 0..format.planes() {
                let plane = info.plane_size(index);
                noise.strides[index] = plane.width as usize * noise.sample(index) + 5;
                noise.planes[index] = (0..noise.strides[index] * plane.height as usize)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        if hdr { (state >> 24) as u8 & 3 } else { (state >> 24) as u8 }
                    })
                    .collect();
            }
            noise
        }

        fn sample(&self, index: usize) -> usize {
            if self.hdr || (index == 1 && self.info.format == PixelFormat::Nv12) { 2 } else { 1 }
        }

        fn view(&mut self) -> FrameViewMut<'_> {
            let mut planes = self.planes.iter_mut().zip(self.strides).map(|(data, stride)| PlaneMut { data, stride });
            let planes = std::array::from_fn(|_| planes.next().expect("three planes"));
            FrameViewMut { info: self.info, planes, hdr: self.hdr.then_some(Transfer::Hlg) }
        }

        fn at(&self, index: usize, x: usize, y: usize) -> &[u8] {
            let sample = self.sample(index);
            &self.planes[index][y * self.strides[index] + x * sample..][..sample]
        }
    }

    /// Pixelates a box of noise, and checks every sample of every plane.
    fn check(format: PixelFormat, hdr: bool, size: Size, bbox: FrameBox) {
        let before = Noise::new(format, size, hdr);
        let mut after = Noise::new(format, size, hdr);
        pixelate(&mut after.view(), &bbox);
        let longer = bbox.width().max(bbox.height());
        for index in 0..format.planes() {
            let plane = before.info.plane_size(index);
            let (across, down) = if index == 0 { (0, 0) } else { format.chroma_shift() };
            let (whole_x, whole_y) = format.chroma_shift();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let inside = |at: usize, shift: u32, whole: u32, low: f32, high: f32| {
                // In luma pixels, as far as a chroma sample reaches.
                let from = (at << shift) >> whole << whole;
                let to = from + (1 << whole);
                (to as f32) > low && (from as f32) < high
            };
            let mut distinct = std::collections::HashSet::new();
            let mut covered = 0;
            for y in 0..plane.height as usize {
                for x in 0..plane.width as usize {
                    let is_inside =
                        inside(x, across, whole_x, bbox.x1, bbox.x2) && inside(y, down, whole_y, bbox.y1, bbox.y2);
                    if is_inside {
                        distinct.insert(after.at(index, x, y).to_vec());
                        covered += 1;
                    } else {
                        assert_eq!(
                            after.at(index, x, y),
                            before.at(index, x, y),
                            "{format:?} {index} {x},{y}: outside"
                        );
                    }
                }
            }
            // Partial blocks at the edges add a row and a column.
            let blocks = usize::try_from((BLOCKS + 2) * (BLOCKS + 2)).expect("a hundred");
            assert!(distinct.len() <= blocks, "{format:?} plane {index}: {} values of {covered}", distinct.len());
            if longer > 60.0 && covered > 400 {
                assert!(covered > 8 * distinct.len(), "{format:?} plane {index}: detail is left");
            }
            let padding = before.strides[index] - plane.width as usize * before.sample(index);
            for y in 0..plane.height as usize {
                let end = (y + 1) * before.strides[index];
                assert_eq!(
                    after.planes[index][end - padding..end],
                    before.planes[index][end - padding..end],
                    "padding"
                );
            }
        }
    }

    #[test]
    fn no_detail_of_a_box_is_left_and_nothing_outside_changes() {
        let size = Size { width: 161, height: 121 };
        for format in FORMATS {
            for hdr in [false, true] {
                if hdr && format == PixelFormat::Nv12 {
                    continue;
                }
                check(format, hdr, size, FrameBox::new(20.0, 10.0, 84.0, 110.0));
                check(format, hdr, size, FrameBox::new(21.3, 11.7, 83.9, 99.2));
                check(format, hdr, size, FrameBox::new(100.0, 100.0, 161.0, 121.0));
            }
        }
    }

    #[test]
    fn blocks_are_constant_and_have_the_box_s_mean() {
        let size = Size { width: 64, height: 64 };
        let before = Noise::new(PixelFormat::Y444, size, false);
        let mut after = Noise::new(PixelFormat::Y444, size, false);
        pixelate(&mut after.view(), &FrameBox::new(0.0, 0.0, 64.0, 64.0));
        for (top, left) in (0..8).flat_map(|row| (0..8).map(move |column| (row * 8, column * 8))) {
            let block = || (0..64).map(|n| (left + n % 8, top + n / 8));
            let sum: u32 = block().map(|(x, y)| u32::from(before.at(0, x, y)[0])).sum();
            let mean = u8::try_from((sum + 32) / 64).expect("a byte");
            assert!(block().all(|(x, y)| after.at(0, x, y)[0] == mean), "block at {left},{top}");
        }
    }

    #[test]
    fn only_the_classes_that_were_named_are_pixelated() {
        let size = Size { width: 64, height: 64 };
        let found = |class_id, x: f32| Detection {
            class_id,
            confidence: 0.5,
            bbox: FrameBox::new(x, 0.0, x + 30.0, 64.0),
            track: None,
        };
        let before = Noise::new(PixelFormat::I420, size, false);
        let mut after = Noise::new(PixelFormat::I420, size, false);
        Pixelation::of(&[false, true]).apply(
            &mut after.view(),
            &[found(0, 0.0), found(1, 32.0), found(9, 0.0)],
            (0.0, 0.0),
        );
        assert_eq!(after.at(0, 5, 5), before.at(0, 5, 5));
        assert_eq!(after.at(0, 33, 1), after.at(0, 34, 3));
    }

    proptest! {
        #[test]
        fn no_box_harms_anything(
            w in 1u32..60, h in 1u32..60, f in 0usize..4, hdr: bool,
            x1 in -80f32..140.0, y1 in -80f32..140.0, x2 in -80f32..140.0, y2 in -80f32..140.0
        ) {
            let mut noise = Noise::new(FORMATS[f], Size { width: w, height: h }, hdr && f != 1);
            pixelate(&mut noise.view(), &FrameBox::new(x1, y1, x2, y2));
            pixelate(&mut noise.view(), &FrameBox::new(f32::NAN, y1, x2, f32::INFINITY));
        }
    }
}
