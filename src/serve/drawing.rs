//! Annotated images, made as `detect` makes them of an image file.

use std::sync::{Arc, Mutex, PoisonError};

use super::aside::aside;
use super::defaults::Defaults;
use super::problem::Problem;
use crate::frame::{DecodedFrame, FramePool, FrameViewMut, planes_mut};
use crate::overlay::Overlay;
use crate::overlay::fonts::Fonts;
use crate::stills::{Kind, StillWriter};

/// Draws boxes on images and encodes them; what it works with is kept from image to image.
pub(super) struct Drawing {
    classes: Arc<[String]>,
    fonts: Arc<Fonts>,
    tools: Mutex<Vec<Tools>>,
}

#[derive(Default)]
struct Tools {
    pool: FramePool,
    stills: StillWriter,
}

impl Drawing {
    pub fn new(classes: Arc<[String]>) -> Self {
        let fonts = Arc::new(Fonts::for_names(&classes));
        Self { classes, fonts, tools: Mutex::default() }
    }

    /// The image with its detections, encoded, on another thread.
    pub async fn annotated(
        self: &Arc<Self>,
        frame: Box<DecodedFrame>,
        kind: Kind,
        defaults: Arc<Defaults>,
    ) -> Result<Vec<u8>, Problem> {
        let own = self.clone();
        let drawn = aside(move || own.annotated_here(&frame, kind, &defaults)).await?;
        drawn.map_err(|problem| Problem::failed(format!("the image cannot be drawn on: {problem}")))
    }

    fn annotated_here(&self, frame: &DecodedFrame, kind: Kind, defaults: &Defaults) -> Result<Vec<u8>, String> {
        let lock = || self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lock().pop();
        let mut tools = kept.unwrap_or_default();
        let drawable = frame.pixels.shown();
        let buffer = if frame.detections.is_empty() {
            drawable.frame.buffer().copy()
        } else {
            let mut copy = tools.pool.take(drawable.video).map_err(|e| e.to_string())?;
            drawable.frame.copy(&mut copy).map_err(|e| e.to_string())?;
            let mut view = FrameViewMut { info: frame.pixels.info(), planes: planes_mut(&mut copy), hdr: None };
            defaults.pixelation.apply(&mut view, &frame.detections, (0.0, 0.0));
            // Where labels went in another image is nothing to this one.
            let mut overlay = Overlay::new(defaults.style, &self.classes, self.fonts.clone());
            overlay.draw(&mut view, &frame.detections, None).map_err(|e| e.to_string())?;
            copy.into_buffer()
        };
        let image = tools.stills.encode(kind, buffer, drawable.video).map_err(|e| e.to_string())?.to_vec();
        lock().push(tools);
        Ok(image)
    }
}
