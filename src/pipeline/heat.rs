//! The heatmap of a stream, on its sink thread.

use std::path::Path;

use super::RunError;
use super::shared::Shared;
use crate::counting::{Anchor, sightings};
use crate::frame::{DecodedFrame, FramePool, FrameViewMut, planes_mut};
use crate::geometry::Size;
use crate::heatmap::Heatmap;
use crate::stills::StillWriter;
use crate::stream::{AudioKept, StreamId};

/// Where a stream's objects stand, where that is asked for.
pub(super) struct StreamHeat<'a> {
    shared: &'a Shared,
    stream: StreamId,
    path: &'a Path,
    anchor: Anchor,
    map: Heatmap,
}

impl<'a> StreamHeat<'a> {
    pub fn new(shared: &'a Shared, stream: StreamId) -> Option<Self> {
        let settings = &shared.settings;
        let path = settings.heatmaps.get(stream.0 as usize)?;
        let anchor = settings.counting.as_ref().map(|counting| counting.anchor).unwrap_or_default();
        Some(Self { shared, stream, path, anchor, map: Heatmap::default() })
    }

    /// Takes where the frame's objects stand.
    pub fn frame(&mut self, frame: &DecodedFrame, size: Size) {
        let seen = sightings(&frame.detections, self.anchor).filter(|sighting| sighting.seen);
        self.map.frame(frame.pts, size, seen.map(|sighting| (sighting.at.x, sighting.at.y)));
    }

    /// Writes the image, over `newest`; an error goes on record.
    pub fn finish(mut self, newest: &DecodedFrame) {
        match self.write(newest) {
            Ok(()) => {
                let mut own = self.shared.stream(self.stream).figures();
                own.outputs.push((self.path.to_owned(), AudioKept::default()));
            }
            Err(error) => self.shared.fail(error),
        }
    }

    fn write(&mut self, newest: &DecodedFrame) -> Result<(), RunError> {
        let fail = |e: gstreamer::glib::BoolError| RunError::FrameCopy { problem: e.to_string() };
        let shown = newest.pixels.shown();
        // What nobody is to recognise is not recognised here either.
        let mut copy = FramePool::default().take(shown.video).map_err(fail)?;
        shown.frame.copy(&mut copy).map_err(fail)?;
        let mut view = FrameViewMut { info: newest.pixels.info(), planes: planes_mut(&mut copy), hdr: None };
        self.shared.settings.pixelation.apply(&mut view, &newest.detections, (0.0, 0.0));
        let Some(below) = view.reading() else { return Ok(()) };
        let (image, video) = self.map.image(&below).map_err(fail)?;
        Ok(StillWriter::default().write(self.path, image, &video)?)
    }
}
