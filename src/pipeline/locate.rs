//! Where on the ground a stream's objects are, on its sink thread.

use super::shared::Shared;
use crate::counting::Anchor;
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::telemetry::ground::{Geolocation, Unlocated};

/// Computes positions, where the stream has telemetry.
pub(super) struct StreamPositions<'a> {
    with: &'a Geolocation,
    anchor: Anchor,
    has_telemetry: bool,
}

impl<'a> StreamPositions<'a> {
    pub fn new(shared: &'a Shared) -> Self {
        Self { with: &shared.settings.geolocation, anchor: shared.settings.anchor, has_telemetry: false }
    }

    /// Gives each of the frame's detections its position, or why it has none. A stream without telemetry has neither.
    pub fn frame(&mut self, frame: &mut DecodedFrame, size: Size) {
        self.has_telemetry |= frame.telemetry.is_some();
        if !self.has_telemetry {
            return;
        }
        let size = (f64::from(size.width), f64::from(size.height));
        let view = match &frame.telemetry {
            Some(sample) => self.with.view(&sample.known, size),
            None => Err(Unlocated::NoPosition),
        };
        let anchor = self.anchor;
        frame.positions.extend(frame.detections.iter().map(|detection| {
            let at = anchor.of(&detection.bbox);
            view.and_then(|view| view.locate(at.x, at.y))
        }));
    }
}
