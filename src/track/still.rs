//! Whether a camera stands where it stood: small patches of the luma plane, compared in place. It costs microseconds, and since they
//! are compared with what they were when the camera was last looked at, slow motion adds up until it is seen.

use crate::frame::FrameView;
use crate::geometry::{FrameBox, Size};

/// Samples of a patch across and down.
const SIDE: usize = 9;
const SAMPLES: usize = SIDE * SIDE;
#[expect(clippy::cast_precision_loss, reason = "a small number")]
const AREA: f32 = SAMPLES as f32;
/// Patches, at most, and as few as say something.
const MOST: usize = 60;
const FEWEST: usize = 8;
/// A patch that moved further cannot be measured in place, pixels.
const FURTHEST: f64 = 1.0;
/// Levels a pixel by which a patch has to change in every direction.
const SLOPE: f64 = 4.0;
/// One in so many patches, at least, must not have moved: before the others, things pass that no box covers. (On PETS09-S2L1 a third of
/// the strongest corners are people's, and the others stay within 0.1 pixels over 100 frames.)
const STILL_OF: usize = 2;

/// Patches of a frame.
pub struct Patches {
    frame: Size,
    all: Vec<Patch>,
    shifts: [Vec<f64>; 2],
}

struct Patch {
    /// Its first sample.
    x: usize,
    y: usize,
    samples: [u8; SAMPLES],
    /// By how much brightness changes a pixel, across and down, less its mean: a light that goes on moves nothing.
    slopes: [[f32; 2]; SAMPLES],
    /// The inverse of the slopes' squares: xx, xy, yy.
    inverse: [f64; 3],
    /// Squares of the samples, less their mean.
    contrast: f32,
}

impl Patches {
    /// Around `corners`, points of the frame in pixels.
    pub fn of(view: &FrameView<'_>, corners: impl Iterator<Item = [f32; 2]>) -> Self {
        let all = corners.filter_map(|corner| Patch::of(view, corner)).take(MOST).collect();
        Self { frame: view.info.size, all, shifts: Default::default() }
    }

    /// Whether the patches that no object covers are where they were, to `limit` pixels.
    pub fn are_still(&mut self, view: &FrameView<'_>, limit: f64, objects: impl Iterator<Item = FrameBox>) -> bool {
        if view.info.size != self.frame || self.all.len() < FEWEST {
            return false;
        }
        let limit = limit.min(FURTHEST);
        let mut is_covered = [false; MOST];
        for bbox in objects {
            for (is_covered, patch) in is_covered.iter_mut().zip(&self.all) {
                *is_covered |= patch.is_in(&bbox);
            }
        }
        let Self { all, shifts: [across, down], .. } = self;
        across.clear();
        down.clear();
        let mut seen = 0;
        for (patch, _) in all.iter().zip(is_covered).filter(|(_, is_covered)| !is_covered) {
            seen += 1;
            if let Some([x, y]) = patch.shift(view).filter(|shift| shift.iter().all(|by| by.abs() < 2.0 * limit)) {
                across.push(x);
                down.push(y);
            }
        }
        seen >= FEWEST
            && across.len() * STILL_OF >= seen
            && [across, down].into_iter().all(|by| median(by).abs() < limit)
    }
}

/// The middle one of `values`, of which there are some.
pub fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

impl Patch {
    /// Around a point; `None` where it is too close to the edge, or too even.
    fn of(view: &FrameView<'_>, [x, y]: [f32; 2]) -> Option<Self> {
        let Size { width, height } = view.info.size;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "negative ones become 0, and are refused"
        )]
        let [x, y] = [x as usize, y as usize].map(|at| at.checked_sub(SIDE / 2));
        // With one more on every side, for the slopes.
        let (x, y) = (x.filter(|x| *x > 0)?, y.filter(|y| *y > 0)?);
        if x + SIDE >= width as usize || y + SIDE >= height as usize {
            return None;
        }
        let plane = &view.planes[0];
        let at = |column: usize, row: usize| plane.data.get(row * plane.stride + column).copied();
        let (mut samples, mut slopes) = ([0; SAMPLES], [[0.0; 2]; SAMPLES]);
        for row in 0..SIDE {
            for column in 0..SIDE {
                let (x, y) = (x + column, y + row);
                let slope = |after: u8, before: u8| (f32::from(after) - f32::from(before)) / 2.0;
                samples[row * SIDE + column] = at(x, y)?;
                slopes[row * SIDE + column] =
                    [slope(at(x + 1, y)?, at(x - 1, y)?), slope(at(x, y + 1)?, at(x, y - 1)?)];
            }
        }
        let mean = |sum: f32| sum / AREA;
        for axis in 0..2 {
            let offset = mean(slopes.iter().map(|slope| slope[axis]).sum());
            for slope in &mut slopes {
                slope[axis] -= offset;
            }
        }
        let sum = |a: usize, b: usize| slopes.iter().map(|slope| f64::from(slope[a] * slope[b])).sum::<f64>();
        let (xx, xy, yy) = (sum(0, 0), sum(0, 1), sum(1, 1));
        // The smaller eigenvalue: a patch that is even along some direction cannot tell motion along it.
        let smaller = f64::midpoint(xx, yy) - (f64::midpoint(xx, -yy).powi(2) + xy * xy).sqrt();
        if smaller < SLOPE * SLOPE * f64::from(AREA) {
            return None;
        }
        let determinant = xx * yy - xy * xy;
        let inverse = [yy / determinant, -xy / determinant, xx / determinant];
        let offset = mean(samples.iter().map(|sample| f32::from(*sample)).sum());
        let contrast = samples.iter().map(|sample| (f32::from(*sample) - offset).powi(2)).sum();
        Some(Self { x, y, samples, slopes, inverse, contrast })
    }

    /// How far it moved, pixels, where it is still the same (Lucas and Kanade 1981, one step); `None` where it is another.
    fn shift(&self, view: &FrameView<'_>) -> Option<[f64; 2]> {
        let plane = &view.planes[0];
        let (mut sum, mut squares, mut moments) = (0.0, 0.0, [0.0f32; 2]);
        for (row, (samples, slopes)) in self.samples.chunks_exact(SIDE).zip(self.slopes.chunks_exact(SIDE)).enumerate()
        {
            let start = (self.y + row) * plane.stride + self.x;
            for ((now, before), slope) in plane.data.get(start..start + SIDE)?.iter().zip(samples).zip(slopes) {
                let change = f32::from(*now) - f32::from(*before);
                sum += change;
                squares += change * change;
                moments[0] += slope[0] * change;
                moments[1] += slope[1] * change;
            }
        }
        let changed = squares - sum * sum / AREA;
        if changed > self.contrast / 2.0 {
            return None;
        }
        let [bx, by] = moments.map(f64::from);
        let [xx, xy, yy] = self.inverse;
        Some([-(xx * bx + xy * by), -(xy * bx + yy * by)])
    }

    #[expect(clippy::cast_precision_loss, reason = "pixels of a frame")]
    fn is_in(&self, bbox: &FrameBox) -> bool {
        let (x, y, side) = (self.x as f32, self.y as f32, SIDE as f32);
        bbox.x1 < x + side && bbox.x2 > x && bbox.y1 < y + side && bbox.y2 > y
    }
}
