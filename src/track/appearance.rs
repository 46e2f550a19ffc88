//! What an object looks like: histograms of its samples, upper and lower half apart.
//!
//! Little is read (60 samples an object), and nothing is converted: brightness and the two colour differences as they lie
//! in the planes. It tells a red coat from a white one, not one face from another.

use crate::frame::{FrameView, PixelFormat};
use crate::geometry::FrameBox;

/// Bins of a histogram.
const BINS: usize = 8;
/// Histograms: luma and two of chroma, for each half.
const HISTOGRAMS: usize = 6;
/// Samples across and, for each half, down: with 6×8, what comes out is the same.
const GRID: (u8, u8) = (5, 6);
/// Colour differences of real scenes lie within ±32 of grey; beyond that, they count as the outermost.
const CHROMA_SPAN: u32 = 32;
/// The last of the [`BINS`], in 256ths of a bin.
const LAST_BIN: u32 = 7 * 256;
/// Smaller boxes have no halves, pixels.
const SMALLEST: f32 = 8.0;

/// An object's looks: square roots of the histograms' shares, so that a product of two sums to their Bhattacharyya
/// coefficient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Appearance([f32; BINS * HISTOGRAMS]);

impl Appearance {
    /// Of what is in `bbox`; `None` where the box is too small or outside.
    #[must_use]
    pub fn of(view: &FrameView<'_>, bbox: &FrameBox) -> Option<Self> {
        let (width, height) = (bbox.width(), bbox.height());
        if !bbox.is_finite() || width < SMALLEST || height < SMALLEST {
            return None;
        }
        let mut sums = [0u32; BINS * HISTOGRAMS];
        let mut taken = 0;
        // The box's edges show what is behind the object.
        let (left, top) = (bbox.x1 + width * 0.2, bbox.y1 + height * 0.08);
        let (across, down) = (width * 0.6 / f32::from(GRID.0), height * 0.84 / f32::from(2 * GRID.1));
        let size = view.info.size;
        #[expect(clippy::cast_precision_loss, reason = "a few columns")]
        let columns: [_; GRID.0 as usize] =
            std::array::from_fn(|column| inside(left + across * (column as f32 + 0.5), size.width));
        for row in 0..2 * GRID.1 {
            let Some(y) = inside(top + down * (f32::from(row) + 0.5), size.height) else { continue };
            let Some(samples) = Row::of(view, y) else { continue };
            let first = if row < GRID.1 { 0 } else { BINS * HISTOGRAMS / 2 };
            for x in columns.iter().flatten() {
                let Some(places) = samples.places(*x) else { continue };
                for (histogram, place) in sums[first..].chunks_exact_mut(BINS).zip(places) {
                    // Divided between the two nearest bins.
                    let (bin, share) = (place as usize >> 8, place & 255);
                    histogram[bin] += 256 - share;
                    histogram[(bin + 1).min(BINS - 1)] += share;
                }
                taken += 1;
            }
        }
        if taken < u32::from(GRID.0) * u32::from(GRID.1) {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let shares = sums.map(|sum| (sum as f32 / (taken * 256 * 3) as f32).sqrt());
        Some(Self(shares))
    }

    /// How different two look, `0..=1`.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f64 {
        let coefficient: f32 = self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum();
        f64::from((1.0 - coefficient).clamp(0.0, 1.0))
    }

    /// Goes towards `other` by a share of the way.
    pub fn approach(&mut self, other: &Self, share: f32) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            let mixed = *mine * *mine * (1.0 - share) + *theirs * *theirs * share;
            *mine = mixed.sqrt();
        }
    }
}

/// The pixel, where there are so many.
fn inside(at: f32, pixels: u32) -> Option<usize> {
    if at.is_nan() || at < 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 on")]
    let at = at as u32;
    (at < pixels).then_some(at as usize)
}

/// A row of a frame's samples.
struct Row<'a> {
    luma: &'a [u8],
    chroma: [&'a [u8]; 2],
    /// Samples of luma across one of chroma, as a shift; bytes between chroma samples.
    shift: u32,
    step: usize,
}

impl<'a> Row<'a> {
    fn of(view: &FrameView<'a>, y: usize) -> Option<Self> {
        let (across, down) = view.info.format.chroma_shift();
        let row = |plane: usize, y: usize, offset: usize| {
            let plane = &view.planes[plane];
            plane.data.get(y * plane.stride + offset..)
        };
        let (v_plane, v_offset, step) = if view.info.format == PixelFormat::Nv12 { (1, 1, 2) } else { (2, 0, 1) };
        let chroma = [row(1, y >> down, 0)?, row(v_plane, y >> down, v_offset)?];
        Some(Self { luma: row(0, y, 0)?, chroma, shift: across, step })
    }

    /// Where luma and both colour differences of a pixel fall in their histograms, in 256ths of a bin.
    fn places(&self, x: usize) -> Option<[u32; 3]> {
        let chroma = |plane: &[u8]| {
            let value = u32::from(*plane.get((x >> self.shift) * self.step)?);
            let value = value.clamp(128 - CHROMA_SPAN, 128 + CHROMA_SPAN) - (128 - CHROMA_SPAN);
            Some(value * LAST_BIN / (2 * CHROMA_SPAN))
        };
        let [u, v] = self.chroma;
        Some([u32::from(*self.luma.get(x)?) * LAST_BIN / 255, chroma(u)?, chroma(v)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChromaSite, Colour, FrameInfo, Matrix, Plane, Range};
    use crate::geometry::Size;

    const SIZE: Size = Size { width: 100, height: 80 };

    /// A frame whose left half has one colour, whose right half another.
    fn frame(format: PixelFormat, left: [u8; 3], right: [u8; 3]) -> (FrameInfo, Vec<Vec<u8>>) {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
        let info = FrameInfo { format, size: SIZE, colour };
        let planes = (0..format.planes()).map(|index| {
            let size = info.plane_size(index);
            let mut data = Vec::new();
            for _ in 0..size.height {
                for x in 0..size.width {
                    let colour = if x < size.width / 2 { left } else { right };
                    if index == 1 && format == PixelFormat::Nv12 {
                        data.extend([colour[1], colour[2]]);
                    } else {
                        data.push(colour[index]);
                    }
                }
            }
            data
        });
        (info, planes.collect())
    }

    fn view(info: FrameInfo, data: &[Vec<u8>]) -> FrameView<'_> {
        let planes = std::array::from_fn(|index| {
            let stride = info.plane_size(index.min(info.format.planes() - 1)).width as usize;
            let stride = if index == 1 && info.format == PixelFormat::Nv12 { stride * 2 } else { stride };
            data.get(index).map_or(Plane { data: &[], stride: 0 }, |data| Plane { data, stride })
        });
        FrameView { info, planes }
    }

    #[test]
    fn colours_tell_objects_apart_in_every_layout() {
        let mut seen = Vec::new();
        for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444] {
            let (info, data) = frame(format, [90, 100, 150], [90, 140, 120]);
            let view = view(info, &data);
            let left = Appearance::of(&view, &FrameBox::new(5.0, 5.0, 45.0, 75.0)).expect("large enough");
            let also_left = Appearance::of(&view, &FrameBox::new(10.0, 20.0, 40.0, 60.0)).expect("large enough");
            let right = Appearance::of(&view, &FrameBox::new(55.0, 5.0, 95.0, 75.0)).expect("large enough");
            assert!(left.distance(&also_left) < 1e-5, "{format:?}");
            assert!(left.distance(&right) > 0.3, "{format:?}: {}", left.distance(&right));
            seen.push(left);
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "the layout of the planes makes no difference");
    }

    #[test]
    fn what_cannot_be_looked_at_has_no_looks() {
        let (info, data) = frame(PixelFormat::I420, [90, 100, 150], [90, 140, 120]);
        let view = view(info, &data);
        for bbox in [
            FrameBox::new(0.0, 0.0, 7.0, 70.0),
            FrameBox::new(-300.0, 0.0, -200.0, 70.0),
            FrameBox::new(90.0, 0.0, 300.0, 70.0),
            FrameBox::new(f32::NAN, 0.0, 50.0, 50.0),
            FrameBox::new(50.0, 50.0, 10.0, 10.0),
        ] {
            assert_eq!(Appearance::of(&view, &bbox), None, "{bbox:?}");
        }
    }
}
