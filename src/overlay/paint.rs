//! Colours, and rectangles of them on every plane.

use std::ops::RangeInclusive;

use opencv::core::{CV_8UC1, CV_8UC2, CV_16UC1, Mat, Point, Scalar};
use opencv::imgproc;

use super::area::Area;
use crate::frame::hdr::graphics;
use crate::frame::{FrameInfo, FrameViewMut, PixelFormat, PlaneMut, Range};

/// Pixels below which an area is thin, as the lines of boxes are: it is filled here. `OpenCV` draws a filled shape's edges pixel by
/// pixel first, which takes several times as long for these (`benches/overlay.rs`).
const THIN: i32 = 16;

/// Why a frame could not be drawn on.
#[derive(Debug, thiserror::Error)]
#[error("drawing failed: {0}")]
pub struct OverlayError(String);

impl From<opencv::Error> for OverlayError {
    fn from(error: opencv::Error) -> Self {
        Self(error.message)
    }
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

/// Fills `area`, clipped to the frame, on every plane.
pub(super) fn fill(frame: &mut FrameViewMut<'_>, area: Area, rgb: [u8; 3]) -> Result<(), OverlayError> {
    let samples = samples(frame, rgb);
    for index in 0..frame.info.format.planes() {
        let Surface { colour, shift, width, height, kind } = surface(frame, index, samples);
        let x1 = (area.x >> shift.0).clamp(0, width);
        let y1 = (area.y >> shift.1).clamp(0, height);
        let x2 = ((area.x + area.width - 1) >> shift.0).min(width - 1);
        let y2 = ((area.y + area.height - 1) >> shift.1).min(height - 1);
        if x2 < x1 || y2 < y1 || area.width <= 0 || area.height <= 0 {
            continue;
        }
        let plane = &mut frame.planes[index];
        if (x2 - x1).min(y2 - y1) < THIN {
            fill_rows(plane, x1..=x2, y1..=y2, kind, colour)?;
            continue;
        }
        let mut mat = plane_mat(plane, height, width, kind)?;
        imgproc::rectangle_points(
            &mut mat,
            Point::new(x1, y1),
            Point::new(x2, y2),
            colour,
            imgproc::FILLED,
            imgproc::LINE_8,
            0,
        )?;
    }
    Ok(())
}

/// Draws a straight line of this thickness, pixels, on every plane; both ends lie in the frame.
pub(super) fn stroke(
    frame: &mut FrameViewMut<'_>,
    from: (i32, i32),
    to: (i32, i32),
    rgb: [u8; 3],
    thickness: i32,
) -> Result<(), OverlayError> {
    let samples = samples(frame, rgb);
    for index in 0..frame.info.format.planes() {
        let Surface { colour, shift, width, height, kind } = surface(frame, index, samples);
        let mut mat = plane_mat(&mut frame.planes[index], height, width, kind)?;
        let point = |(x, y): (i32, i32)| Point::new(x >> shift.0, y >> shift.1);
        let thickness = (thickness >> shift.0.min(shift.1)).max(1);
        imgproc::line(&mut mat, point(from), point(to), colour, thickness, imgproc::LINE_8, 0)?;
    }
    Ok(())
}

/// A plane as it is drawn on: the colour's samples, how far coordinates are shifted, its size, and `OpenCV`'s kind of it.
struct Surface {
    colour: Scalar,
    shift: (u32, u32),
    width: i32,
    height: i32,
    kind: i32,
}

fn surface(frame: &FrameViewMut<'_>, index: usize, [y, u, v]: [f64; 3]) -> Surface {
    let info = frame.info;
    let colour = match (index, info.format) {
        (0, _) => Scalar::all(y),
        (1, PixelFormat::Nv12) => Scalar::new(u, v, 0.0, 0.0),
        (1, _) => Scalar::all(u),
        _ => Scalar::all(v),
    };
    let size = info.plane_size(index);
    Surface {
        colour,
        shift: if index == 0 { (0, 0) } else { info.format.chroma_shift() },
        width: i32::try_from(size.width).unwrap_or(0),
        height: i32::try_from(size.height).unwrap_or(0),
        kind: match (frame.hdr.is_some(), info.format, index) {
            (true, ..) => CV_16UC1,
            (false, PixelFormat::Nv12, 1) => CV_8UC2,
            (false, ..) => CV_8UC1,
        },
    }
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
