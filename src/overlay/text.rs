//! Text: glyphs rasterised once a size, and blended from then on.

use std::collections::HashMap;
use std::sync::Arc;

use ab_glyph::{Font, PxScale, ScaleFont};

use super::area::Area;
use super::fonts::Fonts;
use super::paint::{OverlayError, dims, fill, samples, yuv};
use crate::frame::{FrameViewMut, PixelFormat};

/// Sizes of text in one frame: few, as each keeps glyphs of its own.
pub(super) const STEPS: usize = 4;
/// The largest one.
pub(super) const LARGEST: usize = STEPS - 1;
/// Height of a line, pixels, below which text of `DejaVu` Sans is hard to read: lower-case letters are 6 pixels high at 11.
const READABLE: f32 = 11.0;
/// The smallest size by the largest: what is readable on a screen that shows the whole frame grows with it.
const SMALLEST: f32 = 0.6;

/// A glyph's coverage, 0..255, row by row, with its place relative to the pen.
struct Glyph {
    left: i32,
    top: i32,
    width: usize,
    coverage: Vec<u8>,
    advance: f32,
}

/// Glyphs of one size. There are as many as the class names and figures have characters.
struct Face {
    px: f32,
    /// By code, as nearly all text is ASCII.
    ascii: [Option<Glyph>; 128],
    others: HashMap<char, Glyph>,
}

/// Sets text in the sizes of a frame.
pub(super) struct Typesetter {
    fonts: Arc<Fonts>,
    faces: [Face; STEPS],
}

impl Typesetter {
    pub fn new(fonts: Arc<Fonts>) -> Self {
        let face = || Face { px: 0.0, ascii: [const { None }; 128], others: HashMap::new() };
        Self { fonts, faces: std::array::from_fn(|_| face()) }
    }

    /// Chooses the sizes of a frame whose width and height are `mean_side` in the mean.
    pub fn fit(&mut self, mean_side: f32) {
        let largest = (mean_side * 0.0165).clamp(READABLE, 64.0).round();
        let smallest = (largest * SMALLEST).round().max(READABLE);
        for (face, share) in self.faces.iter_mut().zip([0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]) {
            let px = (smallest + (largest - smallest) * share).round();
            if (px - face.px).abs() > 0.1 {
                *face = Face { px, ascii: [const { None }; 128], others: HashMap::new() };
            }
        }
    }

    /// Height of a line in pixels, by size.
    pub fn px(&self, step: usize) -> f32 {
        self.faces[step].px
    }

    /// Width and height of a label with its margins, pixels.
    pub fn measure(&mut self, text: &str, step: usize) -> [i32; 2] {
        let (fonts, face) = (&self.fonts, &mut self.faces[step]);
        let mut width = 0.0;
        for c in text.chars() {
            width += face.glyph(fonts, c).advance;
        }
        let margin = face.px * 0.3;
        #[expect(clippy::cast_possible_truncation, reason = "a label's size")]
        let size = [(width + 2.0 * margin).ceil() as i32, (face.px * 1.25).ceil() as i32];
        size
    }

    /// Where a label goes that is wanted at `x`, `y`: inside the frame, and on whole chroma samples.
    pub fn place(&mut self, frame: [i32; 2], text: &str, step: usize, [x, y]: [i32; 2]) -> Area {
        let [width, height] = self.measure(text, step);
        let [x, y] = [x.min(frame[0] - width).max(0) & !1, y.min(frame[1] - height).max(0) & !1];
        Area { x, y, width, height }
    }

    /// Draws a label at `area`, where it was placed.
    pub fn draw(
        &mut self,
        frame: &mut FrameViewMut<'_>,
        text: &str,
        step: usize,
        area: Area,
        background: [u8; 3],
    ) -> Result<(), OverlayError> {
        fill(frame, area, background)?;
        let [luma, _, _] = yuv(&frame.info, background);
        let ink = samples(frame, if luma > 140.0 { [0, 0, 0] } else { [255, 255, 255] });
        let (most, grey) = if frame.hdr.is_some() { (1023.0, 512) } else { (255.0, 128) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sample value")]
        let ink = [ink[0].round().clamp(0.0, most) as u32, grey];
        let blend = if frame.hdr.is_some() { blend_glyph::<2> } else { blend_glyph::<1> };
        let (fonts, face) = (&self.fonts, &mut self.faces[step]);
        #[expect(clippy::cast_possible_truncation, reason = "inside the frame")]
        let baseline = area.y + (face.px * 0.95).round() as i32;
        #[expect(clippy::cast_precision_loss, reason = "inside the frame")]
        let mut pen = area.x as f32 + face.px * 0.3;
        for c in text.chars() {
            let glyph = face.glyph(fonts, c);
            #[expect(clippy::cast_possible_truncation, reason = "inside the frame")]
            let left = pen.round() as i32 + glyph.left;
            blend(frame, glyph, left, baseline + glyph.top, ink);
            pen += glyph.advance;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Typesetter {
    /// How many glyphs it holds.
    pub fn glyphs(&self) -> usize {
        self.faces.iter().map(|face| face.others.len() + face.ascii.iter().flatten().count()).sum()
    }
}

impl Face {
    fn glyph(&mut self, fonts: &Fonts, c: char) -> &Glyph {
        let px = self.px;
        match self.ascii.get_mut(c as usize) {
            Some(slot) => slot.get_or_insert_with(|| rasterised(fonts, c, px)),
            None => self.others.entry(c).or_insert_with(|| rasterised(fonts, c, px)),
        }
    }
}

fn rasterised(fonts: &Fonts, c: char, px: f32) -> Glyph {
    let shown = if c.is_control() { '\u{FFFD}' } else { c };
    let (font, scale) = (fonts.face(shown), PxScale::from(fonts.scale(shown, px)));
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
}

/// Blends the ink into Y by coverage; chroma follows where a block is covered: each luma pixel pulls its sample towards grey by
/// its share of the block. Samples have so many bytes.
fn blend_glyph<const BYTES: usize>(
    frame: &mut FrameViewMut<'_>,
    glyph: &Glyph,
    left: i32,
    top: i32,
    [luma, grey]: [u32; 2],
) {
    let (width, height) = dims(&frame.info);
    let (across, down) = frame.info.format.chroma_shift();
    let interleaved = frame.info.format == PixelFormat::Nv12;
    let columns = left.max(0)..left.saturating_add(i32::try_from(glyph.width).unwrap_or(0)).min(width);
    for (row, line) in (top..height).zip(glyph.coverage.chunks_exact(glyph.width.max(1))) {
        if row < 0 {
            continue;
        }
        for (index, plane) in frame.planes.iter_mut().enumerate().take(frame.info.format.planes()) {
            let (over, across, down) = if index == 0 { (luma, 0, 0) } else { (grey, across, down) };
            let samples = if index > 0 && interleaved { 2 } else { 1 };
            let start = usize::try_from(row >> down).unwrap_or(0) * plane.stride;
            if across == 0 && down == 0 && samples == 1 {
                // A sample a pixel: without a look at each one's place.
                let [first, skipped] = [columns.start, columns.start - left].map(|v| usize::try_from(v).unwrap_or(0));
                let line = &line[skipped.min(line.len())..];
                let Some(under) = plane.data.get_mut(start + first * BYTES..) else { continue };
                let count = columns.len();
                for (sample, alpha) in under.chunks_exact_mut(BYTES).zip(line).take(count) {
                    mix(sample, over, u32::from(*alpha));
                }
                continue;
            }
            for column in columns.clone() {
                let alpha = line[usize::try_from(column - left).unwrap_or(0)] >> (across + down);
                if alpha == 0 {
                    continue;
                }
                let at = start + usize::try_from(column >> across).unwrap_or(0) * samples * BYTES;
                let Some(block) = plane.data.get_mut(at..at + samples * BYTES) else { continue };
                block.chunks_exact_mut(BYTES).for_each(|sample| mix(sample, over, u32::from(alpha)));
            }
        }
    }
}

/// A sample, of which `alpha` parts in 255 become `over`.
fn mix(sample: &mut [u8], over: u32, alpha: u32) {
    let under = sample.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
    let mixed = ((under * (255 - alpha) + over * alpha + 127) / 255).to_le_bytes();
    for (byte, mixed) in sample.iter_mut().zip(mixed) {
        *byte = mixed;
    }
}
