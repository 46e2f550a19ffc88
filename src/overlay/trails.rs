//! Where objects were, as lines under their boxes, in the colours of their classes.

use super::paint::{class_colour, stroke};
use super::{Overlay, OverlayError};
use crate::detection::Trail;
use crate::frame::FrameViewMut;

impl Overlay {
    /// Draws `trails` in place; the older half of each is thinner.
    ///
    /// # Errors
    /// When `OpenCV` refuses a plane.
    pub fn draw_trails(&mut self, frame: &mut FrameViewMut<'_>, trails: &[Trail]) -> Result<(), OverlayError> {
        let thickness = self.fit(&frame.info);
        for trail in trails {
            let colour = class_colour(trail.class_id);
            let points = trail.points.iter().map(|(_, [x, y])| (f64::from(*x), f64::from(*y)));
            for (number, (from, to)) in points.clone().zip(points.skip(1)).enumerate() {
                let thickness = if number * 2 < trail.points.len() { (thickness / 2).max(1) } else { thickness };
                stroke(frame, from, to, colour, thickness)?;
            }
        }
        Ok(())
    }
}
