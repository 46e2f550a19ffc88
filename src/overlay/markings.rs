//! Lines and zones at which is counted, drawn under the boxes: a line with an arrow to where `in` leads, a zone's border.

use super::paint::{Place, dims, stroke, visible};
use super::text::LARGEST;
use super::{Overlay, OverlayError};
use crate::frame::FrameViewMut;

/// Colours that few classes have, and that differ in lightness too.
const LINE: [u8; 3] = [255, 214, 10];
const ZONE: [u8; 3] = [100, 210, 255];

/// A line or a zone's border with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Marking {
    /// Pixels of the frame.
    points: Vec<Place>,
    /// A border, which leads back to its first point.
    closed: bool,
    label: String,
}

impl Marking {
    /// A line from its first point to its second.
    #[must_use]
    pub fn line(ends: [Place; 2], label: String) -> Self {
        Self { points: ends.to_vec(), closed: false, label }
    }

    /// A zone of these corners.
    #[must_use]
    pub fn zone(corners: Vec<Place>, label: String) -> Self {
        Self { points: corners, closed: true, label }
    }
}

impl Overlay {
    /// Draws `markings` in place, before the boxes of the same frame, whose labels keep off theirs.
    ///
    /// # Errors
    /// When `OpenCV` refuses a plane.
    pub fn draw_markings(&mut self, frame: &mut FrameViewMut<'_>, markings: &[Marking]) -> Result<(), OverlayError> {
        let thickness = self.fit(&frame.info);
        self.marked.clear();
        for marking in markings {
            let rgb = if marking.closed { ZONE } else { LINE };
            let points = &marking.points;
            let back = marking.closed.then(|| points.last().zip(points.first())).flatten();
            for (from, to) in points.windows(2).map(|pair| (&pair[0], &pair[1])).chain(back) {
                stroke(frame, *from, *to, rgb, thickness)?;
            }
            let [width, height] = self.typesetter.measure(&marking.label, LARGEST).map(f64::from);
            let place = match points[..] {
                [a, b] if !marking.closed => {
                    self.arrow(frame, (a, b), rgb, thickness)?.map(|(middle, across)| {
                        // On the side that the arrow comes from, clear of the line.
                        let reach = f64::midpoint(across.0.abs() * width, across.1.abs() * height);
                        let off = reach + f64::from(thickness * 2);
                        (middle.0 - across.0 * off - width / 2.0, middle.1 - across.1 * off - height / 2.0)
                    })
                }
                _ => topmost(points).map(|(x, y)| (x, y - height)),
            };
            let Some((x, y)) = place else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "it is moved into the frame")]
            let (x, y) = (x.clamp(-1e6, 1e6) as i32, y.clamp(-1e6, 1e6) as i32);
            let (width, height) = dims(&frame.info);
            let area = self.typesetter.place([width, height], &marking.label, LARGEST, [x, y]);
            self.typesetter.draw(frame, &marking.label, LARGEST, area, rgb)?;
            self.marked.push(area);
        }
        Ok(())
    }

    /// An arrow across the middle of what can be seen of a line, to the right of who walks along it; that middle, and the arrow's
    /// direction.
    fn arrow(
        &self,
        frame: &mut FrameViewMut<'_>,
        (a, b): (Place, Place),
        rgb: [u8; 3],
        thickness: i32,
    ) -> Result<Option<(Place, Place)>, OverlayError> {
        let Some((a, b)) = visible(a, b, frame) else { return Ok(None) };
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy);
        if length < 1.0 {
            return Ok(None);
        }
        let (along, across) = ((dx / length, dy / length), (-dy / length, dx / length));
        let reach = f64::from(self.typesetter.px(LARGEST)) * 1.5;
        let middle = (f64::midpoint(a.0, b.0), f64::midpoint(a.1, b.1));
        let at = |right: f64, on: f64| {
            let (right, on) = (right * reach, on * reach);
            (middle.0 + across.0 * right + along.0 * on, middle.1 + across.1 * right + along.1 * on)
        };
        for from in [middle, at(0.6, 0.3), at(0.6, -0.3)] {
            stroke(frame, from, at(1.0, 0.0), rgb, thickness)?;
        }
        Ok(Some((middle, across)))
    }
}

/// The highest corner.
fn topmost(points: &[Place]) -> Option<Place> {
    points.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.total_cmp(&b.0)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Style;
    use super::super::fonts::Fonts;
    use super::super::tests::on_grey;
    use super::*;
    use crate::frame::PixelFormat;
    use crate::geometry::Size;
    use proptest::prelude::*;

    const FORMATS: [PixelFormat; 4] = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444];

    /// Luma of a grey frame with these markings, row by row.
    fn drawn(format: PixelFormat, size: Size, markings: &[Marking]) -> Vec<u8> {
        let mut overlay = Overlay::new(Style::default(), &[], Arc::new(Fonts::built_in()));
        let draw = |frame: &mut FrameViewMut<'_>| overlay.draw_markings(frame, markings).expect("it draws");
        let [luma, ..] = on_grey((format, size, 0), draw);
        luma
    }

    #[test]
    fn a_line_has_an_arrow_to_where_in_leads_and_a_zone_its_border() {
        let size = Size { width: 320, height: 240 };
        for format in FORMATS {
            // Walked downwards, its right-hand side is the left of the frame.
            let line = Marking::line([(160.0, 0.0), (160.0, 240.0)], "gate: 1 in, 0 out".into());
            let luma = drawn(format, size, &[line]);
            let at = |x: usize, y: usize| luma[y * 320 + x];
            assert!([10, 120, 230].iter().all(|y| at(160, *y) != 128), "{format:?}: the line");
            assert!(at(150, 120) != 128 && at(150, 60) == 128, "{format:?}: the arrow");
            assert!((175..300).any(|x| at(x, 120) != 128), "{format:?}: the label on the other side");
            assert_eq!(at(80, 120), 128, "{format:?}: nothing elsewhere");
            let zone =
                Marking::zone(vec![(40.0, 60.0), (280.0, 60.0), (280.0, 200.0), (40.0, 200.0)], "yard: 3".into());
            let luma = drawn(format, size, &[zone]);
            let at = |x: usize, y: usize| luma[y * 320 + x];
            assert!(at(40, 130) != 128 && at(280, 130) != 128 && at(160, 200) != 128, "{format:?}: its border");
            assert_eq!((at(160, 130), at(20, 130)), (128, 128), "{format:?}: inside and outside are untouched");
        }
    }

    #[test]
    fn what_lies_outside_of_the_frame_is_not_drawn() {
        let size = Size { width: 64, height: 48 };
        let far = Marking::line([(-500.0, 900.0), (-400.0, -900.0)], "far".into());
        assert!(drawn(PixelFormat::I420, size, &[far]).iter().all(|luma| *luma == 128));
    }

    proptest! {
        #[test]
        fn no_marking_harms_anything(
            w in 1u32..90, h in 1u32..90, f in 0usize..4, closed: bool,
            points in prop::collection::vec((-1e6f64..1e6, -1e6f64..1e6), 0..6), near in prop::collection::vec((-9f64..99.0, -9f64..99.0), 2)
        ) {
            let label = "name: 1 in, 2 out".to_owned();
            let far = Marking { points, closed, label: label.clone() };
            drawn(FORMATS[f], Size { width: w, height: h }, &[far, Marking { points: near, closed, label }]);
        }
    }
}
