//! Colours, and rectangles of them on every plane.

use std::ops::RangeInclusive;

use opencv::core::{CV_8UC1, CV_8UC2, CV_16UC1, Mat, Point, Scalar};
use opencv::imgproc;

use super::area::Area;
use crate::frame::hdr::graphics;
use crate::frame::{FrameInfo, FrameViewMut, PixelFormat, PlaneMut, Range};
use crate::geometry::px;

/// Pixels below which an area is thin, as the lines of boxes are: it is filled here. `OpenCV` draws a filled shape's edges pixel by
/// pixel first, which takes several times as long for these (`benches/overlay.rs`).
const THIN: i32 = 16;

/// Across and down, pixels.
pub(super) type Place = (f64, f64);

/// Why a frame could not be drawn on.
#[derive(Debug, thiserror::Error)]
#[error("drawing failed: {0}")]
pub struct OverlayError(String);

impl From<opencv::Error> for OverlayError {
    fn from(error: opencv::Error) -> Self {
        Self(error.message)
    }
}

/// The version of `OpenCV` that runs.
#[must_use]
pub fn opencv_version() -> String {
    opencv::core::get_version_string().unwrap_or_else(|_| opencv::core::CV_VERSION.to_owned())
}

/// Width and height, luma pixels.
pub(super) fn dims(info: &FrameInfo) -> (i32, i32) {
    (i32::try_from(info.size.width).unwrap_or(i32::MAX), i32::try_from(info.size.height).unwrap_or(i32::MAX))
}

/// One stable colour a class: the hue turns by the golden ratio from class to class, lightness alternates.
pub(super) fn class_colour(class_id: u16) -> [u8; 3] {
    let hue = (f32::from(class_id) * 0.618_034 + 0.02).fract() * 6.0;
    let (saturation, value) = if class_id % 3 == 2 { (0.55, 1.0) } else { (0.85, 0.95) };
    [5.0f32, 3.0, 1.0].map(|n| {
        let k = (n + hue) % 6.0;
        let level = value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=255")]
        let byte = (level * 255.0).round() as u8;
        byte
    })
}

/// An RGB colour as Y, U, V samples of this frame's matrix and range.
pub(super) fn yuv(info: &FrameInfo, rgb: [u8; 3]) -> [f64; 3] {
    let (kr, kb) = info.colour.matrix.coefficients();
    let (kr, kb) = (f64::from(kr), f64::from(kb));
    let [r, g, b] = rgb.map(|v| f64::from(v) / 255.0);
    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
    let (u, v) = ((b - y) / (2.0 * (1.0 - kb)), (r - y) / (2.0 * (1.0 - kr)));
    match info.colour.range {
        Range::Full => [y * 255.0, u * 255.0 + 128.0, v * 255.0 + 128.0],
        Range::Limited => [y * 219.0 + 16.0, u * 224.0 + 128.0, v * 224.0 + 128.0],
    }
}

/// An RGB colour as the frame's samples.
pub(super) fn samples(frame: &FrameViewMut<'_>, rgb: [u8; 3]) -> [f64; 3] {
    let Some(transfer) = frame.hdr else { return yuv(&frame.info, rgb) };
    let [y, u, v] = graphics(transfer, rgb.map(|value| f64::from(value) / 255.0));
    [y * 876.0 + 64.0, u * 896.0 + 512.0, v * 896.0 + 512.0]
}

/// One plane of a frame, with its own samples of a colour.
pub(super) struct Canvas<'a, 'b> {
    plane: &'a mut PlaneMut<'b>,
    /// Columns and rows.
    size: [i32; 2],
    kind: i32,
    pub colour: Scalar,
    /// By how many bits the plane's coordinates are shifted, across and down.
    pub shift: (u32, u32),
}

impl Canvas<'_, '_> {
    /// For `OpenCV` to draw on.
    pub fn mat(&mut self) -> Result<Mat, OverlayError> {
        plane_mat(self.plane, self.size[1], self.size[0], self.kind)
    }
}

/// Has `draw` draw on every plane.
pub(super) fn on_planes(
    frame: &mut FrameViewMut<'_>,
    rgb: [u8; 3],
    mut draw: impl FnMut(&mut Canvas<'_, '_>) -> Result<(), OverlayError>,
) -> Result<(), OverlayError> {
    let info = frame.info;
    let wide = frame.hdr.is_some();
    let [y, u, v] = samples(frame, rgb);
    for index in 0..info.format.planes() {
        let shift = if index == 0 { (0, 0) } else { info.format.chroma_shift() };
        let colour = match (index, info.format) {
            (0, _) => Scalar::all(y),
            (1, PixelFormat::Nv12) => Scalar::new(u, v, 0.0, 0.0),
            (1, _) => Scalar::all(u),
            _ => Scalar::all(v),
        };
        let size = info.plane_size(index);
        let size = [size.width, size.height].map(|side| i32::try_from(side).unwrap_or(0));
        let kind = match (wide, info.format, index) {
            (true, ..) => CV_16UC1,
            (false, PixelFormat::Nv12, 1) => CV_8UC2,
            (false, ..) => CV_8UC1,
        };
        draw(&mut Canvas { plane: &mut frame.planes[index], size, kind, colour, shift })?;
    }
    Ok(())
}

/// Fills `area`, clipped to the frame, on every plane.
pub(super) fn fill(frame: &mut FrameViewMut<'_>, area: Area, rgb: [u8; 3]) -> Result<(), OverlayError> {
    if area.width <= 0 || area.height <= 0 {
        return Ok(());
    }
    on_planes(frame, rgb, |canvas| {
        let ([width, height], shift) = (canvas.size, canvas.shift);
        let x1 = (area.x >> shift.0).clamp(0, width);
        let y1 = (area.y >> shift.1).clamp(0, height);
        let x2 = ((area.x + area.width - 1) >> shift.0).min(width - 1);
        let y2 = ((area.y + area.height - 1) >> shift.1).min(height - 1);
        if x2 < x1 || y2 < y1 {
            return Ok(());
        }
        let colour = canvas.colour;
        if (x2 - x1).min(y2 - y1) < THIN {
            return fill_rows(canvas.plane, x1..=x2, y1..=y2, canvas.kind, colour);
        }
        let (from, to) = (Point::new(x1, y1), Point::new(x2, y2));
        Ok(imgproc::rectangle_points(&mut canvas.mat()?, from, to, colour, imgproc::FILLED, imgproc::LINE_8, 0)?)
    })
}

/// A straight line of this thickness, pixels, clipped to the frame.
pub(super) fn stroke(
    frame: &mut FrameViewMut<'_>,
    from: Place,
    to: Place,
    rgb: [u8; 3],
    thickness: i32,
) -> Result<(), OverlayError> {
    let Some((from, to)) = visible(from, to, frame) else { return Ok(()) };
    on_planes(frame, rgb, |canvas| {
        let (colour, shift) = (canvas.colour, canvas.shift);
        #[expect(clippy::cast_possible_truncation, reason = "inside the frame")]
        let point = |(x, y): Place| Point::new(x.floor() as i32 >> shift.0, y.floor() as i32 >> shift.1);
        let thickness = (thickness >> shift.0.min(shift.1)).max(1);
        Ok(imgproc::line(&mut canvas.mat()?, point(from), point(to), colour, thickness, imgproc::LINE_8, 0)?)
    })
}

/// The part of a straight line inside the frame (Liang and Barsky, 1984).
pub(super) fn visible(from: Place, to: Place, frame: &FrameViewMut<'_>) -> Option<(Place, Place)> {
    let size = frame.info.size;
    let (right, bottom) = (f64::from(px(size.width)) - 1.0, f64::from(px(size.height)) - 1.0);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enters, mut leaves) = (0.0f64, 1.0f64);
    for (step, room) in [(-dx, from.0), (dx, right - from.0), (-dy, from.1), (dy, bottom - from.1)] {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            enters = enters.max(room / step);
        } else {
            leaves = leaves.min(room / step);
        }
    }
    let at = |share: f64| (from.0 + dx * share, from.1 + dy * share);
    (enters <= leaves).then(|| (at(enters), at(leaves)))
}

/// Fills an area as `OpenCV` does.
fn fill_rows(
    plane: &mut PlaneMut<'_>,
    columns: RangeInclusive<i32>,
    rows: RangeInclusive<i32>,
    kind: i32,
    colour: Scalar,
) -> Result<(), OverlayError> {
    let whole = |value: f64, most: f64| value.round_ties_even().clamp(0.0, most);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sample values")]
    let (sample, bytes) = match kind {
        CV_16UC1 => ((whole(colour[0], 65535.0) as u16).to_le_bytes(), 2),
        CV_8UC2 => ([whole(colour[0], 255.0) as u8, whole(colour[1], 255.0) as u8], 2),
        _ => ([whole(colour[0], 255.0) as u8; 2], 1),
    };
    let at = |v: i32| usize::try_from(v).unwrap_or(0);
    let (first, last) = (at(*columns.start()) * bytes, (at(*columns.end()) + 1) * bytes);
    let size = plane.data.len();
    for row in rows {
        let start = at(row) * plane.stride;
        let Some(samples) = plane.data.get_mut(start + first..start + last) else {
            return Err(OverlayError(format!("a plane of {size} bytes where {} are needed", start + last)));
        };
        if bytes == 1 {
            samples.fill(sample[0]);
        } else {
            samples.chunks_exact_mut(2).for_each(|pair| pair.copy_from_slice(&sample));
        }
    }
    Ok(())
}

fn plane_mat(plane: &mut PlaneMut<'_>, rows: i32, columns: i32, kind: i32) -> Result<Mat, OverlayError> {
    let bytes = usize::try_from(columns).unwrap_or(0) * if kind == CV_8UC1 { 1 } else { 2 };
    let needed = usize::try_from(rows - 1).unwrap_or(0) * plane.stride + bytes;
    if plane.data.len() < needed {
        return Err(OverlayError(format!("a plane of {} bytes where {needed} are needed", plane.data.len())));
    }
    // SAFETY: the slice holds `rows` rows of `stride` bytes (checked above) and outlives the Mat, which is dropped before
    // the slice is used again.
    unsafe {
        Ok(Mat::new_rows_cols_with_data_unsafe(rows, columns, kind, plane.data.as_mut_ptr().cast(), plane.stride)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_area_is_filled_as_opencv_fills_it(
            x in 0..20i32, y in 0..20i32, width in 1..20i32, height in 1..20i32, value in 0.0..300f64, other in -9.0..255.5f64
        ) {
            for (kind, bytes) in [(CV_8UC1, 1), (CV_8UC2, 2), (CV_16UC1, 2)] {
                let colour = Scalar::new(value, other, 0.0, 0.0);
                let [mut ours, mut theirs] = [(); 2].map(|()| vec![7u8; 80 * 40]);
                let mut plane = PlaneMut { data: &mut ours, stride: 40 * bytes };
                fill_rows(&mut plane, x..=x + width - 1, y..=y + height - 1, kind, colour).expect("it fills");
                let mut plane = PlaneMut { data: &mut theirs, stride: 40 * bytes };
                let mut mat = plane_mat(&mut plane, 40, 40, kind).expect("a plane");
                let (first, last) = (Point::new(x, y), Point::new(x + width - 1, y + height - 1));
                imgproc::rectangle_points(&mut mat, first, last, colour, imgproc::FILLED, imgproc::LINE_8, 0)
                    .expect("it fills");
                drop(mat);
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn a_plane_that_is_too_small_is_an_error() {
        let mut data = vec![0; 99];
        let mut plane = PlaneMut { data: &mut data, stride: 10 };
        let filled = fill_rows(&mut plane, 0..=3, 0..=20, CV_8UC1, Scalar::all(1.0));
        assert!(filled.is_err_and(|e| e.to_string().contains("99 bytes where 104 are needed")));
    }
}
