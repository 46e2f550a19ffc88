//! Scenes as PNG: twice the scene's pixels, light colours, text from the built-in font.

use ab_glyph::{Font, FontRef, OutlineCurve, Point};
use zeno::{Command, Fill, Join, Mask, PathBuilder, Stroke, Style, Vector};

use super::{Anchor, Paint, Scene, Shape};

/// Pixels of the picture per pixel of the scene.
const SCALE: f32 = 2.0;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The built-in font cannot be read.
    #[error("the built-in font cannot be read: {0}")]
    Font(#[from] ab_glyph::InvalidFont),
    /// The picture cannot be encoded.
    #[error("the picture cannot be encoded: {0}")]
    Encoding(#[from] png::EncodingError),
}

/// RGB, 8 bits, rows from the top.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    font: FontRef<'static>,
}

/// Draws `scene` and encodes it.
///
/// # Errors
/// When the font cannot be read or the picture cannot be encoded.
pub fn to_png(scene: &Scene) -> Result<Vec<u8>, PngError> {
    let side = |length: f64| whole(length * f64::from(SCALE)).max(1);
    let (width, height) = (side(scene.width), side(scene.height));
    let paper = rgb(Paint::Paper);
    let mut canvas = Canvas {
        width,
        height,
        pixels: paper.repeat(width * height),
        font: FontRef::try_from_slice(dejavu::sans::regular())?,
    };
    for shape in &scene.shapes {
        canvas.draw(shape);
    }
    let mut file = Vec::new();
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(&mut file, size(width), size(height));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&canvas.pixels)?;
    writer.finish()?;
    Ok(file)
}

fn rgb(paint: Paint) -> [u8; 3] {
    let [_, r, g, b] = paint.colours()[0].to_be_bytes();
    [r, g, b]
}

#[expect(clippy::cast_possible_truncation, reason = "a drawing's coordinates need no more than f32")]
fn scaled(length: f64) -> f32 {
    length as f32 * SCALE
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a drawing's side, some thousand pixels")]
fn whole(length: f64) -> usize {
    length.round().clamp(0.0, 20_000.0) as usize
}

impl Canvas {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Line { points, width, paint, dashed, opacity, .. } => {
                let mut path: Vec<Command> = Vec::with_capacity(points.len());
                for (n, [x, y]) in points.iter().enumerate() {
                    let to = [scaled(*x), scaled(*y)];
                    if n == 0 {
                        path.move_to(to)
                    } else {
                        path.line_to(to)
                    };
                }
                let dashes = [4.0 * SCALE, 4.0 * SCALE];
                let mut stroke = Stroke::new(scaled(*width));
                stroke.join(Join::Round);
                if *dashed {
                    stroke.dash(&dashes, 0.0);
                }
                self.fill(&path, stroke.into(), *paint, *opacity);
            }
            Shape::Rect { at: [x, y, w, h], paint, opacity, .. } => {
                let (x, y, right, bottom) = (scaled(*x), scaled(*y), scaled(x + w), scaled(y + h));
                let mut path: Vec<Command> = Vec::new();
                path.move_to([x, y]).line_to([right, y]).line_to([right, bottom]).line_to([x, bottom]).close();
                self.fill(&path, Fill::NonZero.into(), *paint, *opacity);
            }
            Shape::Text { at: [x, y], text, px, anchor, paint, turned } => {
                let path = self.outline(text, [scaled(*x), scaled(*y)], scaled(*px), *anchor, *turned);
                self.fill(&path, Fill::NonZero.into(), *paint, 1.0);
            }
        }
    }

    fn outline(&self, text: &str, [x, y]: [f32; 2], px: f32, anchor: Anchor, turned: bool) -> Vec<Command> {
        let unit = px / self.font.units_per_em().unwrap_or(2048.0);
        let advance = |c: char| self.font.h_advance_unscaled(self.font.glyph_id(c)) * unit;
        let length: f32 = text.chars().map(advance).sum();
        let mut pen = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -length / 2.0,
            Anchor::End => -length,
        };
        let mut path = Vec::new();
        for c in text.chars() {
            let place = |p: Point| {
                let (along, up) = (pen + p.x * unit, p.y * unit);
                if turned { Vector::new(x - up, y - along) } else { Vector::new(x + along, y - up) }
            };
            let mut last = None;
            for curve in self.font.outline(self.font.glyph_id(c)).into_iter().flat_map(|o| o.curves) {
                let start = match &curve {
                    OutlineCurve::Line(p, _) | OutlineCurve::Quad(p, ..) | OutlineCurve::Cubic(p, ..) => place(*p),
                };
                if last != Some(start) {
                    path.move_to(start);
                }
                let end = match curve {
                    OutlineCurve::Line(_, to) => {
                        path.line_to(place(to));
                        to
                    }
                    OutlineCurve::Quad(_, by, to) => {
                        path.quad_to(place(by), place(to));
                        to
                    }
                    OutlineCurve::Cubic(_, a, b, to) => {
                        path.curve_to(place(a), place(b), place(to));
                        to
                    }
                };
                last = Some(place(end));
            }
            pen += advance(c);
        }
        path
    }

    /// Blends a path's coverage.
    fn fill(&mut self, path: &[Command], style: Style, paint: Paint, opacity: f64) {
        if path.is_empty() {
            return;
        }
        let (mask, placed) = Mask::new(path).style(style).render();
        let colour = rgb(paint);
        let width = placed.width as usize;
        for (row, coverage) in (i64::from(placed.top)..).zip(mask.chunks_exact(width.max(1))) {
            for (column, coverage) in (i64::from(placed.left)..).zip(coverage) {
                let (Ok(x), Ok(y)) = (usize::try_from(column), usize::try_from(row)) else { continue };
                if *coverage == 0 || x >= self.width || y >= self.height {
                    continue;
                }
                let at = 3 * (y * self.width + x);
                let share = f64::from(*coverage) / 255.0 * opacity;
                for (pixel, colour) in self.pixels[at..at + 3].iter_mut().zip(colour) {
                    let blended = f64::from(*pixel) + (f64::from(colour) - f64::from(*pixel)) * share;
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
                    {
                        *pixel = blended.round() as u8;
                    }
                }
            }
        }
    }
}
