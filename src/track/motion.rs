//! How the camera moved between two frames: a similarity, from sparse optical flow on the luma plane.
//!
//! The frame is looked at small ([`WIDTH`] pixels across): a pixel there is a few of the frame's, and pyramidal
//! Lucas-Kanade flow is exact to a fraction of a pixel. Points inside tracked boxes are left out, since objects move by
//! themselves; what still disagrees with the rest is left out by the fit. Once the camera stands still, patches of the frame
//! say whether it still does ([`Patches`]), and nothing is followed until they moved.

use opencv::core::{self, CV_8UC1, Mat, Point2f, Size as CvSize, TermCriteria, Vector};
use opencv::prelude::*;
use opencv::{imgproc, video};

use super::still::{Patches, median};
use crate::frame::FrameView;
use crate::geometry::{FrameBox, Size, px};

/// Pixels across of the frame that is looked at. At 240 a shift is right to about 0.1 of its pixels.
const WIDTH: u32 = 240;
/// Points that are followed, at most: the fit has four unknowns.
const POINTS: i32 = 60;
/// Fewer points say nothing.
const FEWEST: usize = 12;
/// Pixels by which a point may miss the fit.
const TOLERANCE: f64 = 0.5;
/// A shift of the median point below this, in small pixels, is a camera that stands still: no jitter of the flow reaches
/// the tracks.
const STILL: f64 = 0.06;
/// Where patches stay within this, in small pixels, nothing is followed. It is more than [`STILL`], so that what they show is
/// motion to the flow as well.
const STAYS: f64 = 1.5 * STILL;

/// A similarity: `x' = a·x − b·y + dx`, `y' = b·x + a·y + dy`, in pixels of the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    /// Scale times cosine of the rotation.
    pub a: f64,
    /// Scale times sine of the rotation.
    pub b: f64,
    /// Shift across, pixels.
    pub dx: f64,
    /// Shift down, pixels.
    pub dy: f64,
}

impl Motion {
    /// Where a point goes.
    #[must_use]
    pub fn point(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.a * x - self.b * y + self.dx, self.b * x + self.a * y + self.dy]
    }

    /// Where a difference of points goes.
    #[must_use]
    pub fn vector(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.a * x - self.b * y, self.b * x + self.a * y]
    }

    /// How much longer lengths become.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.a.hypot(self.b)
    }
}

/// Looks at one frame after the other.
#[derive(Default)]
pub struct CameraMotion {
    before: Option<Small>,
    /// Of the frame before, where the camera stands still.
    patches: Option<Patches>,
    now: Mat,
    mask: Mat,
    corners: Vector<Point2f>,
    moved: Vector<Point2f>,
    found: Vector<u8>,
    errors: Vector<f32>,
    pairs: Vec<[f64; 4]>,
}

/// A small luma plane, and the size of the frame that it is of.
struct Small {
    luma: Mat,
    frame: Size,
}

impl CameraMotion {
    /// How the camera moved since the last frame in which it did, or the one before. `objects` are left out. `None` where there is
    /// no frame before of the same size, it shows nothing that can be followed, or the camera stands still.
    pub fn frame(&mut self, view: &FrameView<'_>, objects: impl Iterator<Item = FrameBox> + Clone) -> Option<Motion> {
        let per_pixel = f64::from(factor(view.info.size.width));
        if self.patches.as_mut().is_some_and(|patches| patches.are_still(view, STAYS * per_pixel, objects.clone())) {
            return None;
        }
        // What OpenCV refuses is a frame too small to follow anything in: tracking goes on without.
        let motion = self.follow(view, objects).ok().flatten();
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        let corner = |corner: Point2f| [corner.x, corner.y].map(|at| at * per_pixel as f32);
        self.patches = motion.is_none().then(|| Patches::of(view, self.corners.iter().map(corner)));
        motion
    }

    /// The next frame has none before it.
    pub fn forget(&mut self) {
        self.before = None;
        self.patches = None;
    }

    fn follow(
        &mut self,
        view: &FrameView<'_>,
        objects: impl Iterator<Item = FrameBox>,
    ) -> opencv::Result<Option<Motion>> {
        let frame = view.info.size;
        shrink(view, &mut self.now)?;
        let Some(mut before) = self.before.take() else {
            self.before = Some(Small { luma: std::mem::take(&mut self.now), frame });
            return Ok(None);
        };
        let fit = if before.frame == frame { self.fit(&before.luma, frame, objects)? } else { Fit::None };
        // What moved too little to be seen is compared again, so that it adds up.
        if !matches!(fit, Fit::Still) {
            std::mem::swap(&mut before.luma, &mut self.now);
        }
        self.before = Some(Small { luma: before.luma, frame });
        Ok(if let Fit::Moved(motion) = fit { Some(motion) } else { None })
    }

    fn fit(&mut self, before: &Mat, frame: Size, objects: impl Iterator<Item = FrameBox>) -> opencv::Result<Fit> {
        let per_pixel = px(frame.width) / f32::from(u16::try_from(before.cols()).unwrap_or(1)).max(1.0);
        self.mask_objects(before, per_pixel, objects)?;
        imgproc::good_features_to_track(before, &mut self.corners, POINTS, 0.02, 8.0, &self.mask, 3, false, 0.04)?;
        if self.corners.len() < FEWEST {
            return Ok(Fit::None);
        }
        let criteria =
            TermCriteria { typ: core::TermCriteria_COUNT + core::TermCriteria_EPS, max_count: 10, epsilon: 0.03 };
        video::calc_optical_flow_pyr_lk(
            before,
            &self.now,
            &self.corners,
            &mut self.moved,
            &mut self.found,
            &mut self.errors,
            CvSize::new(11, 11),
            2,
            criteria,
            0,
            1e-3,
        )?;
        self.pairs.clear();
        for ((from, to), found) in self.corners.iter().zip(self.moved.iter()).zip(self.found.iter()) {
            if found != 0 {
                self.pairs.push([from.x, from.y, to.x, to.y].map(f64::from));
            }
        }
        let small = match similarity(&self.pairs) {
            Fit::Moved(motion) => motion,
            fit => return Ok(fit),
        };
        // Pixel centres lie half a pixel in: the frame's, and those of the small one.
        let k = f64::from(per_pixel);
        let half = k / 2.0 - 0.5;
        let centre = small.point([-half / k, -half / k]);
        Ok(Fit::Moved(Motion { dx: centre[0] * k + half, dy: centre[1] * k + half, ..small }))
    }

    /// Zero where objects are, with a margin.
    fn mask_objects(
        &mut self,
        before: &Mat,
        per_pixel: f32,
        objects: impl Iterator<Item = FrameBox>,
    ) -> opencv::Result<()> {
        let (rows, cols) = (before.rows(), before.cols());
        if self.mask.rows() != rows || self.mask.cols() != cols {
            self.mask = Mat::zeros(rows, cols, CV_8UC1)?.to_mat()?;
        }
        self.mask.set_to(&core::Scalar::all(255.0), &core::no_array())?;
        for bbox in objects.filter(FrameBox::is_finite) {
            #[expect(clippy::cast_possible_truncation, reason = "clamped to the frame")]
            let [x1, y1, x2, y2] = [
                bbox.x1 / per_pixel - 2.0,
                bbox.y1 / per_pixel - 2.0,
                bbox.x2 / per_pixel + 2.0,
                bbox.y2 / per_pixel + 2.0,
            ]
            .map(|v| v.clamp(-1e6, 1e6) as i32);
            let (x1, y1, x2, y2) = (x1.max(0), y1.max(0), x2.min(cols - 1), y2.min(rows - 1));
            if x2 >= x1 && y2 >= y1 {
                let area = core::Rect::new(x1, y1, x2 - x1 + 1, y2 - y1 + 1);
                imgproc::rectangle(&mut self.mask, area, core::Scalar::all(0.0), imgproc::FILLED, imgproc::LINE_8, 0)?;
            }
        }
        Ok(())
    }
}

/// Pixels of the frame across one of the small frame.
fn factor(width: u32) -> u32 {
    (width / WIDTH).max(1)
}

/// The luma plane at about [`WIDTH`] pixels across, by area.
fn shrink(view: &FrameView<'_>, small: &mut Mat) -> opencv::Result<()> {
    let Size { width, height } = view.info.size;
    let plane = &view.planes[0];
    let needed = (height.max(1) as usize - 1) * plane.stride + width as usize;
    if plane.data.len() < needed || width < 16 || height < 16 {
        return Err(opencv::Error::new(core::StsBadArg, "a plane too small to follow anything in"));
    }
    let side = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    // SAFETY: the slice holds `height` rows of `stride` bytes (checked above), outlives the Mat, and is only read.
    let luma = unsafe {
        Mat::new_rows_cols_with_data_unsafe(
            side(height),
            side(width),
            CV_8UC1,
            plane.data.as_ptr().cast_mut().cast(),
            plane.stride,
        )?
    };
    // Whole factors are averaged by blocks, which is several times as fast.
    let factor = factor(width);
    let size = CvSize::new(side(width / factor), side((height / factor).max(1)));
    let whole = core::Rect::new(0, 0, size.width * side(factor), size.height * side(factor));
    imgproc::resize(&Mat::roi(&luma, whole)?, small, size, 0.0, 0.0, imgproc::INTER_AREA)
}

/// What two frames say of the camera.
enum Fit {
    /// Nothing.
    None,
    /// It stands still, or moved too little to be told from jitter.
    Still,
    /// It moved so.
    Moved(Motion),
}

/// The similarity that most `pairs` (x, y before, x, y after) agree on.
fn similarity(pairs: &[[f64; 4]]) -> Fit {
    if pairs.len() < FEWEST {
        return Fit::None;
    }
    let all = pairs.len();
    let shift =
        |pairs: &[[f64; 4]], from: usize| median(&mut pairs.iter().map(|p| p[from + 2] - p[from]).collect::<Vec<_>>());
    let (dx, dy) = (shift(pairs, 0), shift(pairs, 1));
    let mut motion = Motion { a: 1.0, b: 0.0, dx, dy };
    // Rotation and zoom move points by more the further out they are: the first round is wide.
    for tolerance in [8.0, 3.0, TOLERANCE, TOLERANCE] {
        let misses = |p: &[f64; 4]| {
            let [x, y] = motion.point([p[0], p[1]]);
            (x - p[2]).hypot(y - p[3])
        };
        let inside: Vec<[f64; 4]> = pairs.iter().filter(|p| misses(p) <= tolerance).copied().collect();
        if inside.len() < FEWEST || inside.len() * 3 < all {
            return Fit::None;
        }
        let Some(closer) = least_squares(&inside) else { return Fit::None };
        motion = closer;
    }
    let furthest = dx.abs().max(dy.abs());
    if furthest < STILL && (motion.scale() - 1.0).abs() < 2e-3 && motion.b.abs() < 1e-3 {
        return Fit::Still;
    }
    if (0.5..2.0).contains(&motion.scale()) { Fit::Moved(motion) } else { Fit::None }
}

/// The similarity with the least squares.
fn least_squares(pairs: &[[f64; 4]]) -> Option<Motion> {
    #[expect(clippy::cast_precision_loss, reason = "a number of points")]
    let n = pairs.len() as f64;
    let mean = |at: usize| pairs.iter().map(|p| p[at]).sum::<f64>() / n;
    let [mx, my, mu, mv] = [mean(0), mean(1), mean(2), mean(3)];
    let (mut dot, mut cross, mut square) = (0.0, 0.0, 0.0);
    for p in pairs {
        let (x, y, u, v) = (p[0] - mx, p[1] - my, p[2] - mu, p[3] - mv);
        dot += x * u + y * v;
        cross += x * v - y * u;
        square += x * x + y * y;
    }
    if square <= 1e-9 {
        return None;
    }
    let (a, b) = (dot / square, cross / square);
    Some(Motion { a, b, dx: mu - a * mx + b * my, dy: mv - b * mx - a * my })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChromaSite, Colour, FrameInfo, Matrix, PixelFormat, Plane, Range};

    /// Luma of a textured ground, seen by a camera at `(x, y)` that is turned by `angle` and zoomed in by `zoom`.
    fn seen(x: f64, y: f64, angle: f64, zoom: f64, (width, height): (u32, u32)) -> Vec<u8> {
        let (sin, cos) = angle.sin_cos();
        let mut luma = Vec::new();
        for row in 0..height {
            for column in 0..width {
                let (dx, dy) = (
                    (f64::from(column) - f64::from(width) / 2.0) / zoom,
                    (f64::from(row) - f64::from(height) / 2.0) / zoom,
                );
                let (u, v) = (cos * dx - sin * dy + x, sin * dx + cos * dy + y);
                let value = [(31.0, 0.3), (47.0, 1.7), (83.0, 2.9), (139.0, 4.1)]
                    .iter()
                    .map(|(length, phase)| {
                        ((u / length * 6.3 + phase).sin() * (v / length * 5.1 + phase * 2.0).cos()) * length / 5.0
                    })
                    .sum::<f64>();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
                luma.push((value + 128.0).clamp(0.0, 255.0) as u8);
            }
        }
        luma
    }

    fn look(
        camera: &mut CameraMotion,
        luma: &[u8],
        (width, height): (u32, u32),
        objects: &[FrameBox],
    ) -> Option<Motion> {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
        let info = FrameInfo { format: PixelFormat::I420, size: Size { width, height }, colour };
        let empty = Plane { data: &[], stride: 0 };
        let planes = [Plane { data: luma, stride: width as usize }, empty, empty];
        camera.frame(&FrameView { info, planes }, objects.iter().copied())
    }

    #[test]
    fn a_pan_a_turn_and_a_zoom_are_seen() {
        let size = (960, 540);
        let still = seen(0.0, 0.0, 0.0, 1.0, size);
        for (x, y, angle, zoom) in
            [(12.0, -5.0, 0.0, 1.0), (-24.0, 3.0, 0.0, 1.0), (0.0, 0.0, 0.02, 1.0), (4.0, 2.0, -0.01, 1.03)]
        {
            let mut camera = CameraMotion::default();
            assert_eq!(look(&mut camera, &still, size, &[]), None, "nothing before it");
            let motion = look(&mut camera, &seen(x, y, angle, zoom, size), size, &[]).expect("it moved");
            // A point of the ground, in the first frame and in the second.
            for [px, py] in [[480.0, 270.0], [200.0, 100.0], [800.0, 450.0]] {
                let (u, v) = (px - 480.0 - x, py - 270.0 - y);
                let (sin, cos) = angle.sin_cos();
                let there = [(cos * u + sin * v) * zoom + 480.0, (-sin * u + cos * v) * zoom + 270.0];
                let [mx, my] = motion.point([px, py]);
                let miss = (mx - there[0]).hypot(my - there[1]);
                assert!(miss < 0.8, "{x} {y} {angle} {zoom}: {miss} pixels off at {px},{py}");
            }
        }
    }

    #[test]
    fn a_camera_that_stands_still_moves_nothing() {
        let size = (640, 360);
        let still = seen(0.0, 0.0, 0.0, 1.0, size);
        let mut camera = CameraMotion::default();
        look(&mut camera, &still, size, &[]);
        for _ in 0..20 {
            assert_eq!(look(&mut camera, &still, size, &[]), None);
        }
        let panned = look(&mut camera, &seen(6.0, 0.0, 0.0, 1.0, size), size, &[]).expect("it moved");
        assert!((panned.dx + 6.0).abs() < 0.5, "{panned:?}");
    }

    #[test]
    fn a_camera_that_creeps_is_seen_to_move() {
        for size in [(640, 360), (1920, 1080)] {
            let mut camera = CameraMotion::default();
            let mut moved = 0.0;
            for frame in 0..=60 {
                let luma = seen(f64::from(frame) * 0.1, 0.0, 0.0, 1.0, size);
                moved += look(&mut camera, &luma, size, &[]).map_or(0.0, |motion| motion.dx);
            }
            assert!((moved + 6.0).abs() < 1.0, "{size:?}: {moved}");
        }
    }

    #[test]
    fn a_light_that_goes_on_and_an_object_without_a_box_are_no_motion() {
        let size = (640, 360);
        let still = seen(0.0, 0.0, 0.0, 1.0, size);
        let mut camera = CameraMotion::default();
        for _ in 0..3 {
            assert_eq!(look(&mut camera, &still, size, &[]), None);
        }
        let brighter: Vec<u8> = still.iter().map(|sample| sample.saturating_add(12)).collect();
        assert_eq!(look(&mut camera, &brighter, size, &[]), None);
        let mut hidden = brighter;
        (120..200).for_each(|row| hidden[row * 640 + 200..row * 640 + 300].fill(40));
        assert_eq!(look(&mut camera, &hidden, size, &[]), None);
    }

    #[test]
    fn what_moves_by_itself_is_no_motion_of_the_camera() {
        let size = (640, 360);
        let mut first = seen(0.0, 0.0, 0.0, 1.0, size);
        let mut second = first.clone();
        let paint = |luma: &mut Vec<u8>, left: usize| {
            for row in 100..200 {
                for column in left..left + 120 {
                    luma[row * 640 + column] = if (row / 8 + (column - left) / 8).is_multiple_of(2) { 20 } else { 235 };
                }
            }
        };
        paint(&mut first, 100);
        paint(&mut second, 118);
        let object = FrameBox::new(100.0, 100.0, 220.0, 200.0);
        let mut camera = CameraMotion::default();
        look(&mut camera, &first, size, &[]);
        assert_eq!(look(&mut camera, &second, size, &[object]), None);
    }

    #[test]
    fn frames_that_show_nothing_or_are_tiny_do_no_harm() {
        let mut camera = CameraMotion::default();
        for size in [(640, 360), (640, 360), (3, 2), (3, 2), (0, 0), (640, 360), (17, 2000), (17, 2000)] {
            let luma = vec![90; (size.0 * size.1) as usize];
            assert_eq!(look(&mut camera, &luma, size, &[FrameBox::new(f32::NAN, 0.0, 5.0, f32::INFINITY)]), None);
        }
    }
}
