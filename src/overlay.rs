//! Boxes and labels, lines and zones, drawn on the Y, U and V planes where they lie.
//!
//! `OpenCV` draws the shapes. Text is set from a font with glyphs beyond ASCII, as class names may be UTF-8; a glyph's
//! coverage is rasterised once and blended from then on.

pub mod fonts;
pub mod markings;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ab_glyph::{Font, PxScale, ScaleFont};
use opencv::core::{CV_8UC1, CV_8UC2, CV_16UC1, Mat, MatTraitConst, Point, Scalar};
use opencv::imgproc;

use crate::detection::Detection;
use crate::frame::hdr::graphics;
use crate::frame::{FrameInfo, FrameViewMut, PixelFormat, PlaneMut, Range};
use crate::geometry::px;
use fonts::{Fonts, visual};

/// Why a frame could not be drawn on.
#[derive(Debug, thiserror::Error)]
#[error("drawing failed: {0}")]
pub struct OverlayError(String);

impl From<opencv::Error> for OverlayError {
    fn from(error: opencv::Error) -> Self {
        Self(error.message)
    }
}

/// How it should look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Line thickness, pixels; `None`: scaled to the frame.
    pub line_width: Option<u32>,
    /// Boxes only.
    pub hide_labels: bool,
}

/// A glyph's coverage, 0..255, row by row, with its place relative to the pen.
struct Glyph {
    left: i32,
    top: i32,
    width: usize,
    coverage: Vec<u8>,
    advance: f32,
}

/// Draws on frames; keeps its glyphs between frames.
pub struct Overlay {
    style: Style,
    /// Names as they are drawn.
    classes: Vec<String>,
    fonts: Arc<Fonts>,
    text_px: f32,
    glyphs: HashMap<char, Glyph>,
    order: Vec<usize>,
    label: String,
}

/// A rectangle of whole luma pixels, right and bottom exclusive.
#[derive(Clone, Copy)]
struct Area {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
}

impl Overlay {
    /// For these class names, drawn with `fonts`.
    #[must_use]
    pub fn new(style: Style, classes: &[String], fonts: Arc<Fonts>) -> Self {
        let classes = classes.iter().map(|name| visual(name).into_owned()).collect();
        Self { style, classes, fonts, text_px: 0.0, glyphs: HashMap::new(), order: Vec::new(), label: String::new() }
    }

    /// Draws `detections` in place, the most certain on top, and `hud` in the top left corner.
    ///
    /// # Errors
    /// When `OpenCV` refuses a plane.
    pub fn draw(
        &mut self,
        frame: &mut FrameViewMut<'_>,
        detections: &[Detection],
        hud: Option<&str>,
    ) -> Result<(), OverlayError> {
        let line = self.fit(&frame.info);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..detections.len());
        order.sort_by(|a, b| detections[*a].confidence.total_cmp(&detections[*b].confidence));
        for index in &order {
            self.draw_one(frame, &detections[*index], line)?;
        }
        self.order = order;
        if let Some(text) = hud {
            self.draw_text(frame, text, 8, 8, [24, 24, 24])?;
        }
        Ok(())
    }

    /// Fits text to the frame's size; how thick lines are, pixels.
    fn fit(&mut self, info: &FrameInfo) -> i32 {
        let mean_side = f32::midpoint(px(info.size.width), px(info.size.height));
        let text_px = (mean_side * 0.0165).clamp(11.0, 64.0).round();
        if (text_px - self.text_px).abs() > 0.1 {
            self.text_px = text_px;
            self.glyphs.clear();
        }
        #[expect(clippy::cast_possible_truncation, reason = "a thickness of a few pixels")]
        let line = (mean_side * 0.0022).round().max(1.0) as i32 * 2;
        self.style.line_width.map_or(line, |w| i32::try_from(w.clamp(1, 200)).unwrap_or(2))
    }

    fn draw_one(&mut self, frame: &mut FrameViewMut<'_>, d: &Detection, line: i32) -> Result<(), OverlayError> {
        if !d.bbox.is_finite() {
            return Ok(());
        }
        let (width, height) = dims(&frame.info);
        let rgb = class_colour(d.class_id);
        #[expect(clippy::cast_possible_truncation, reason = "inside the frame")]
        let [x1, y1, x2, y2] = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(|v| v.round() as i32);
        let (x1, y1) = (x1.clamp(0, width - 1), y1.clamp(0, height - 1));
        let (x2, y2) = (x2.clamp(x1, width), y2.clamp(y1, height));
        let (w, h) = (x2 - x1, y2 - y1);
        // A small object would vanish under a line made for the frame's size.
        let t = line.min((w.min(h) / 8).max(2)).min(w.max(1)).min(h.max(1));
        for area in [
            Area { x: x1, y: y1, width: w, height: t },
            Area { x: x1, y: y2 - t, width: w, height: t },
            Area { x: x1, y: y1, width: t, height: h },
            Area { x: x2 - t, y: y1, width: t, height: h },
        ] {
            fill(frame, area, rgb)?;
        }
        if self.style.hide_labels {
            return Ok(());
        }
        let mut label = std::mem::take(&mut self.label);
        label.clear();
        label.push_str(self.classes.get(usize::from(d.class_id)).map_or("?", String::as_str));
        write!(label, " {:.2}", d.confidence).expect("memory takes everything");
        let (_, text_height) = self.measure(&label);
        let above = y1 - text_height;
        self.draw_text(frame, &label, x1, if above >= 0 { above } else { y1 }, rgb)?;
        self.label = label;
        Ok(())
    }

    /// Width and height of a label with its margins, pixels.
    fn measure(&mut self, text: &str) -> (i32, i32) {
        let mut width = 0.0;
        for c in text.chars() {
            width += self.glyph(c).advance;
        }
        let margin = self.text_px * 0.3;
        #[expect(clippy::cast_possible_truncation, reason = "a label's size")]
        let size = ((width + 2.0 * margin).ceil() as i32, (self.text_px * 1.25).ceil() as i32);
        size
    }

    fn draw_text(
        &mut self,
        frame: &mut FrameViewMut<'_>,
        text: &str,
        x: i32,
        y: i32,
        background: [u8; 3],
    ) -> Result<(), OverlayError> {
        let (width, height) = dims(&frame.info);
        let (text_width, text_height) = self.measure(text);
        let (x, y) = (x.min(width - text_width).max(0) & !1, y.min(height - text_height).max(0) & !1);
        fill(frame, Area { x, y, width: text_width, height: text_height }, background)?;
        let [luma, _, _] = yuv(&frame.info, background);
        let ink = samples(frame, if luma > 140.0 { [0, 0, 0] } else { [255, 255, 255] });
        #[expect(clippy::cast_possible_truncation, reason = "inside the frame")]
        let baseline = y + (self.text_px * 0.95).round() as i32;
        #[expect(clippy::cast_precision_loss, reason = "inside the frame")]
        let mut pen = x as f32 + self.text_px * 0.3;
        for c in text.chars() {
            let glyph = self.glyph(c);
            #[expect(clippy::cast_possible_truncation, reason = "inside the frame")]
            let left = pen.round() as i32 + glyph.left;
            blend_glyph(frame, glyph, left, baseline + glyph.top, ink);
            pen += glyph.advance;
        }
        Ok(())
    }

    fn glyph(&mut self, c: char) -> &Glyph {
        let (fonts, size) = (&self.fonts, self.text_px);
        self.glyphs.entry(c).or_insert_with(|| {
            let shown = if c.is_control() { '\u{FFFD}' } else { c };
            let (font, scale) = (fonts.face(shown), PxScale::from(fonts.scale(shown, size)));
            let id = font.glyph_id(shown);
            let advance = font.as_scaled(scale).h_advance(id);
            let Some(outline) = font.outline_glyph(id.with_scale(scale)) else {
                return Glyph { left: 0, top: 0, width: 0, coverage: Vec::new(), advance };
            };
            let bounds = outline.px_bounds();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a glyph's size")]
            let (width, height) = (bounds.width() as usize, bounds.height() as usize);
            let mut coverage = vec![0; width * height];
            outline.draw(|gx, gy, alpha| {
                let at = gy as usize * width + gx as usize;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=255")]
                if let Some(value) = coverage.get_mut(at) {
                    *value = (alpha.clamp(0.0, 1.0) * 255.0) as u8;
                }
            });
            #[expect(clippy::cast_possible_truncation, reason = "a glyph's place")]
            let (left, top) = (bounds.min.x as i32, bounds.min.y as i32);
            Glyph { left, top, width, coverage, advance }
        })
    }
}

fn dims(info: &FrameInfo) -> (i32, i32) {
    (i32::try_from(info.size.width).unwrap_or(i32::MAX), i32::try_from(info.size.height).unwrap_or(i32::MAX))
}

/// One stable colour a class: the hue turns by the golden ratio from class to class, lightness alternates.
fn class_colour(class_id: u16) -> [u8; 3] {
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
fn yuv(info: &FrameInfo, rgb: [u8; 3]) -> [f64; 3] {
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
fn samples(frame: &FrameViewMut<'_>, rgb: [u8; 3]) -> [f64; 3] {
    let Some(transfer) = frame.hdr else { return yuv(&frame.info, rgb) };
    let [y, u, v] = graphics(transfer, rgb.map(|value| f64::from(value) / 255.0));
    [y * 876.0 + 64.0, u * 896.0 + 512.0, v * 896.0 + 512.0]
}

/// Fills `area`, clipped to the frame, on every plane.
fn fill(frame: &mut FrameViewMut<'_>, area: Area, rgb: [u8; 3]) -> Result<(), OverlayError> {
    if area.width <= 0 || area.height <= 0 {
        return Ok(());
    }
    on_planes(frame, rgb, |plane, colour, shift| {
        let (width, height) = (plane.cols(), plane.rows());
        let x1 = (area.x >> shift.0).clamp(0, width);
        let y1 = (area.y >> shift.1).clamp(0, height);
        let x2 = ((area.x + area.width - 1) >> shift.0).min(width - 1);
        let y2 = ((area.y + area.height - 1) >> shift.1).min(height - 1);
        if x2 < x1 || y2 < y1 {
            return Ok(());
        }
        let (from, to) = (Point::new(x1, y1), Point::new(x2, y2));
        Ok(imgproc::rectangle_points(plane, from, to, colour, imgproc::FILLED, imgproc::LINE_8, 0)?)
    })
}

/// Has `draw` draw on every plane, in the plane's own samples of `rgb`; it is told how far the plane's coordinates are shifted.
fn on_planes(
    frame: &mut FrameViewMut<'_>,
    rgb: [u8; 3],
    draw: impl Fn(&mut Mat, Scalar, (u32, u32)) -> Result<(), OverlayError>,
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
        let (width, height) = (i32::try_from(size.width).unwrap_or(0), i32::try_from(size.height).unwrap_or(0));
        let kind = match (wide, info.format, index) {
            (true, ..) => CV_16UC1,
            (false, PixelFormat::Nv12, 1) => CV_8UC2,
            (false, ..) => CV_8UC1,
        };
        let mut mat = plane_mat(&mut frame.planes[index], height, width, kind)?;
        draw(&mut mat, colour, shift)?;
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

/// Blends the ink into Y by coverage; chroma follows where a block is covered.
fn blend_glyph(frame: &mut FrameViewMut<'_>, glyph: &Glyph, left: i32, top: i32, ink: [f64; 3]) {
    if glyph.width == 0 {
        return;
    }
    let (width, height) = dims(&frame.info);
    let (across, down) = frame.info.format.chroma_shift();
    let (most, grey, bytes) = if frame.hdr.is_some() { (1023.0, 512, 2) } else { (255.0, 128, 1) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sample value")]
    let luma = ink[0].round().clamp(0.0, most) as u16;
    let mix = |plane: &mut PlaneMut<'_>, at: usize, over: u16, alpha: u8| {
        let Some(sample) = plane.data.get_mut(at..at + bytes) else { return };
        let under = sample.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
        let (over, alpha) = (u32::from(over), u32::from(alpha));
        let mixed = ((under * (255 - alpha) + over * alpha + 127) / 255).to_le_bytes();
        sample.copy_from_slice(&mixed[..bytes]);
    };
    for (row, line) in (0i32..).zip(glyph.coverage.chunks_exact(glyph.width)) {
        for (column, alpha) in (0i32..).zip(line) {
            let (x, y) = (left + column, top + row);
            if *alpha == 0 || x < 0 || y < 0 || x >= width || y >= height {
                continue;
            }
            let place = |shift: (u32, u32), step: usize, stride: usize| {
                let (x, y) = (x >> shift.0, y >> shift.1);
                usize::try_from(y).unwrap_or(0) * stride + usize::try_from(x).unwrap_or(0) * step
            };
            let at = place((0, 0), bytes, frame.planes[0].stride);
            mix(&mut frame.planes[0], at, luma, *alpha);
            // Each luma pixel pulls its chroma sample by its share of the block.
            let share = *alpha >> (across + down);
            if frame.info.format == PixelFormat::Nv12 {
                let at = place((across, down), 2, frame.planes[1].stride);
                for offset in 0..2 {
                    mix(&mut frame.planes[1], at + offset, grey, share);
                }
            } else {
                for plane in &mut frame.planes[1..] {
                    let at = place((across, down), bytes, plane.stride);
                    mix(plane, at, grey, share);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChromaSite, Colour, Matrix};
    use crate::geometry::{FrameBox, Size};
    use proptest::prelude::*;

    fn draw_on(format: PixelFormat, size: Size, detections: &[Detection], name: &str) -> [Vec<u8>; 3] {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
        let info = FrameInfo { format, size, colour };
        let mut data: [Vec<u8>; 3] = Default::default();
        let mut strides = [0; 3];
        for index in 0..format.planes() {
            let plane = info.plane_size(index);
            let bytes = plane.width as usize * if format == PixelFormat::Nv12 && index == 1 { 2 } else { 1 };
            strides[index] = bytes + 3;
            data[index] = vec![128; strides[index] * plane.height as usize];
            for row in data[index].chunks_exact_mut(strides[index]) {
                row[bytes..].fill(0xEE);
            }
        }
        let mut planes = data.iter_mut().zip(strides).map(|(data, stride)| PlaneMut { data, stride });
        let planes = std::array::from_fn(|_| planes.next().expect("three planes"));
        let mut frame = FrameViewMut { info, planes, hdr: None };
        let mut overlay = Overlay::new(Style::default(), &[name.to_owned()], Arc::new(Fonts::built_in()));
        overlay.draw(&mut frame, detections, Some("30.0 fps")).expect("it draws");
        for index in 0..format.planes() {
            let plane = info.plane_size(index);
            let bytes = plane.width as usize * if format == PixelFormat::Nv12 && index == 1 { 2 } else { 1 };
            for row in data[index].chunks_exact(strides[index]) {
                assert!(row[bytes..].iter().all(|b| *b == 0xEE), "padding is untouched");
            }
        }
        data
    }

    #[test]
    fn a_box_is_drawn_in_the_class_colour_and_nothing_outside() {
        let d = Detection { class_id: 0, confidence: 0.9, bbox: FrameBox::new(40.0, 60.0, 90.0, 100.0), track: None };
        let size = Size { width: 161, height: 121 };
        for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444] {
            let data = draw_on(format, size, &[d], "é\u{7}x");
            let stride = 161 + 3;
            let [y, ..] = yuv(
                &FrameInfo {
                    format,
                    size,
                    colour: Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left },
                },
                class_colour(0),
            );
            assert!((f64::from(data[0][99 * stride + 60]) - y).abs() <= 1.0, "{format:?}: bottom edge");
            assert_eq!(data[0][80 * stride + 60], 128, "{format:?}: inside");
            assert_eq!(data[0][110 * stride + 60], 128, "{format:?}: below");
        }
    }

    #[test]
    fn colours_of_eighty_classes_differ() {
        let colours: std::collections::HashSet<_> = (0..80).map(class_colour).collect();
        assert_eq!(colours.len(), 80);
    }

    proptest! {
        #[test]
        fn no_box_harms_anything(
            w in 1u32..80, h in 1u32..80, x1 in -100f32..200., y1 in -100f32..200., x2 in -100f32..200., y2 in -100f32..200., f in 0usize..4
        ) {
            let format = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444][f];
            let d = Detection { class_id: 3, confidence: 0.5, bbox: FrameBox::new(x1, y1, x2, y2), track: None };
            draw_on(format, Size { width: w, height: h }, &[d], "name");
        }
    }
}
