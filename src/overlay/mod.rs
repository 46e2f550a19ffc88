//! Boxes and labels, drawn on the Y, U and V planes where they lie.
//!
//! `OpenCV` draws the shapes. Text is set from a font with glyphs beyond ASCII, as class names may be UTF-8; a glyph's
//! coverage is rasterised once a size and blended from then on. What is kept between frames keeps its memory: a frame like
//! the one before takes none from the system.

mod area;
mod candidates;
pub mod fonts;
mod grid;
mod labels;
pub mod markings;
mod memory;
mod paint;
mod text;
mod trails;

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use crate::detection::Detection;
use crate::frame::{FrameInfo, FrameViewMut};
use crate::geometry::px;
use area::Area;
use candidates::{Form, Subject};
use fonts::{Fonts, visual};
use labels::Placer;
pub use paint::{OverlayError, opencv_version};
use paint::{class_colour, dims, fill};
use text::{LARGEST, Typesetter};

/// Height of text by the side of a square as large as the box: at 1360x765, a box of 72 pixels a side gets the largest.
const TEXT_BY_SIDE: f32 = 0.25;

/// How it should look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Line thickness, pixels; `None`: scaled to the frame.
    pub line_width: Option<u32>,
    /// Which labels the boxes have.
    pub labels: Labels,
}

/// Which labels boxes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Labels {
    /// As large as befits their boxes, where they cover no other box: moved, shrunk to an initial, or left out.
    #[default]
    Auto,
    /// Every one, above its box, whatever it covers.
    All,
    /// Boxes only.
    None,
}

/// Draws on the frames of one stream; keeps its glyphs, and where labels went, between frames.
pub struct Overlay {
    style: Style,
    /// Names as they are drawn.
    classes: Vec<String>,
    /// Their initials as they are drawn.
    initials: Vec<String>,
    typesetter: Typesetter,
    order: Vec<usize>,
    placer: Placer,
    subjects: Vec<Subject>,
    /// By subject: where in `written` its forms stand.
    texts: Vec<[Range<usize>; 4]>,
    written: String,
    /// Where the labels of lines and zones stand in this frame.
    marked: Vec<Area>,
}

impl Overlay {
    /// For these class names, drawn with `fonts`.
    #[must_use]
    pub fn new(style: Style, classes: &[String], fonts: Arc<Fonts>) -> Self {
        Self {
            style,
            classes: classes.iter().map(|name| visual(name).into_owned()).collect(),
            initials: classes.iter().map(|name| initial(name)).collect(),
            typesetter: Typesetter::new(fonts),
            order: Vec::new(),
            placer: Placer::default(),
            subjects: Vec::new(),
            texts: Vec::new(),
            written: String::new(),
            marked: Vec::new(),
        }
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
        let (width, height) = dims(&frame.info);
        let hud = hud.map(|text| (text, self.typesetter.place([width, height], text, LARGEST, [8, 8])));
        self.draw_boxes(frame, detections, line)?;
        if self.style.labels == Labels::Auto {
            let mut taken = std::mem::take(&mut self.marked);
            taken.extend(hud.map(|(_, area)| area));
            let placed = self.draw_placed(frame, detections, &taken);
            self.marked = taken;
            placed?;
        }
        self.marked.clear();
        if let Some((text, area)) = hud {
            self.typesetter.draw(frame, text, LARGEST, area, [24, 24, 24])?;
        }
        Ok(())
    }

    /// Fits text to the frame's size; how thick lines are, pixels.
    fn fit(&mut self, info: &FrameInfo) -> i32 {
        let mean_side = f32::midpoint(px(info.size.width), px(info.size.height));
        self.typesetter.fit(mean_side);
        #[expect(clippy::cast_possible_truncation, reason = "a thickness of a few pixels")]
        let line = (mean_side * 0.0022).round().max(1.0) as i32 * 2;
        self.style.line_width.map_or(line, |w| i32::try_from(w.clamp(1, 200)).unwrap_or(2))
    }

    fn draw_boxes(
        &mut self,
        frame: &mut FrameViewMut<'_>,
        detections: &[Detection],
        line: i32,
    ) -> Result<(), OverlayError> {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..detections.len());
        order.sort_unstable_by(|a, b| detections[*a].confidence.total_cmp(&detections[*b].confidence).then(a.cmp(b)));
        for index in &order {
            let d = &detections[*index];
            let Some(area) = area_of(frame, d) else { continue };
            outline(frame, area, line, class_colour(d.class_id))?;
            if self.style.labels == Labels::All {
                self.draw_above(frame, d, area)?;
            }
        }
        self.order = order;
        Ok(())
    }

    /// The whole label above its box; inside, where there is no room.
    fn draw_above(&mut self, frame: &mut FrameViewMut<'_>, d: &Detection, own: Area) -> Result<(), OverlayError> {
        self.written.clear();
        let [text, ..] = self.write(d);
        let (width, height) = dims(&frame.info);
        let text = &self.written[text];
        let above = own.y - self.typesetter.measure(text, LARGEST)[1];
        let y = if above >= 0 { above } else { own.y };
        let area = self.typesetter.place([width, height], text, LARGEST, [own.x, y]);
        self.typesetter.draw(frame, text, LARGEST, area, class_colour(d.class_id))
    }

    /// Labels where they hide nothing; `taken` is drawn on otherwise.
    fn draw_placed(
        &mut self,
        frame: &mut FrameViewMut<'_>,
        detections: &[Detection],
        taken: &[Area],
    ) -> Result<(), OverlayError> {
        self.subjects.clear();
        self.texts.clear();
        self.written.clear();
        let (smallest, largest) = (self.typesetter.px(0), self.typesetter.px(LARGEST));
        for d in detections {
            let Some(area) = area_of(frame, d) else { continue };
            let [full, name, id] = self.write(d);
            let start = self.written.len();
            self.written.push_str(self.initials.get(usize::from(d.class_id)).map_or("?", String::as_str));
            self.texts.push([full, name, id, start..self.written.len()]);
            #[expect(clippy::cast_precision_loss, reason = "a box's size")]
            let wanted = (area.pixels() as f32).sqrt() * TEXT_BY_SIDE;
            let share = ((wanted - smallest) / (largest - smallest).max(1.0)).clamp(0.0, 1.0);
            #[expect(clippy::cast_precision_loss, reason = "a few steps")]
            let step = share * LARGEST as f32;
            let track = d.track.map(|track| track.id);
            self.subjects.push(Subject { area, class: d.class_id, track, confidence: d.confidence, step });
        }
        let (width, height) = dims(&frame.info);
        let Self { typesetter, placer, subjects, texts, written, .. } = self;
        let text = |subject: usize, form: Form| &written[texts[subject][form as usize].clone()];
        let placed = placer.place([width, height], subjects, taken, &mut |subject, form, step| {
            typesetter.measure(text(subject, form), step)
        });
        for (subject, label) in placed.iter().enumerate() {
            let Some(label) = label else { continue };
            let colour = class_colour(subjects[subject].class);
            typesetter.draw(frame, text(subject, label.form), label.step, label.area, colour)?;
        }
        Ok(())
    }

    /// Writes a detection's label; where in `written` it stands, and its class and id in it. The order is that of Ultralytics.
    fn write(&mut self, d: &Detection) -> [Range<usize>; 3] {
        let class = self.classes.get(usize::from(d.class_id)).map_or("?", String::as_str);
        let written = &mut self.written;
        let start = written.len();
        let mut id = start..start;
        if let Some(track) = d.track {
            written.push_str("id:");
            id.start = written.len();
            write!(written, "{}", track.id).expect("memory takes everything");
            id.end = written.len();
            written.push(' ');
        }
        let name = written.len()..written.len() + class.len();
        written.push_str(class);
        write!(written, " {:.2}", d.confidence).expect("memory takes everything");
        [start..written.len(), name, id]
    }
}

/// What a class's name begins with, as it is drawn.
fn initial(name: &str) -> String {
    let first = name.chars().find(|c| c.is_alphanumeric()).or_else(|| name.chars().next()).unwrap_or('?');
    visual(&first.to_string()).into_owned()
}

/// Where a detection's box is drawn; nowhere, when it is no box.
fn area_of(frame: &FrameViewMut<'_>, d: &Detection) -> Option<Area> {
    if !d.bbox.is_finite() {
        return None;
    }
    let (width, height) = dims(&frame.info);
    #[expect(clippy::cast_possible_truncation, reason = "inside the frame")]
    let [x1, y1, x2, y2] = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(|v| v.round() as i32);
    let (x1, y1) = (x1.clamp(0, width - 1), y1.clamp(0, height - 1));
    let (x2, y2) = (x2.clamp(x1, width), y2.clamp(y1, height));
    Some(Area { x: x1, y: y1, width: x2 - x1, height: y2 - y1 })
}

fn outline(frame: &mut FrameViewMut<'_>, area: Area, line: i32, rgb: [u8; 3]) -> Result<(), OverlayError> {
    let Area { x, y, width, height } = area;
    // A small object would vanish under a line made for the frame's size.
    let t = line.min((width.min(height) / 8).max(2)).min(width.max(1)).min(height.max(1));
    for edge in [
        Area { x, y, width, height: t },
        Area { x, y: y + height - t, width, height: t },
        Area { x, y, width: t, height },
        Area { x: x + width - t, y, width: t, height },
    ] {
        fill(frame, edge, rgb)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
