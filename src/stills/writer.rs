//! Encodes frames as still images, with encoders that are kept from image to image.

use std::path::Path;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::{EncodeError, StillError};
use crate::part::write_whole;
use crate::teardown::tear_down;

/// How long one image may take, seconds: a PNG of 8K takes less than ten on one slow core.
const DEADLINE_SECONDS: u64 = 60;

/// A kind of image that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `.jpg`, `.jpeg`.
    Jpeg,
    /// `.png`.
    Png,
}

impl Kind {
    /// What the ending of `path` says; `None` for every other one.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        match ending.as_str() {
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            _ => None,
        }
    }
}

/// Quality of JPEGs (0 to 100): nothing shows but under a magnifying glass.
const QUALITY: u8 = 92;

/// Writes still images; keeps its encoders from image to image.
pub struct StillWriter {
    quality: u8,
    jpeg: Option<Encoder>,
    png: Option<Encoder>,
}

struct Encoder {
    pipeline: gst::Pipeline,
    frames: gst_app::AppSrc,
    images: gst_app::AppSink,
}

impl Default for StillWriter {
    fn default() -> Self {
        Self::of_quality(QUALITY)
    }
}

impl StillWriter {
    /// One that writes JPEGs of this quality, 0 to 100.
    #[must_use]
    pub fn of_quality(quality: u8) -> Self {
        Self { quality, jpeg: None, png: None }
    }

    /// Writes the frame in `buffer` as the kind of image that the ending of `path` says: JPEG (quality 92) for `.jpg` and
    /// `.jpeg`, else PNG. The file appears whole or not at all.
    ///
    /// # Errors
    /// When it cannot be encoded or the file cannot be written.
    pub fn write(&mut self, path: &Path, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<(), StillError> {
        let kind = Kind::of(path).unwrap_or(Kind::Png);
        let image =
            self.encode(kind, buffer, video).map_err(|source| StillError::Encode { path: path.to_owned(), source })?;
        write_whole(path, &image, None).map_err(|source| StillError::Unwritable { path: path.to_owned(), source })
    }

    /// The frame in `buffer` as an image.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn encode(
        &mut self,
        kind: Kind,
        buffer: gst::Buffer,
        video: &gst_video::VideoInfo,
    ) -> Result<gst::MappedBuffer<gst::buffer::Readable>, EncodeError> {
        let (slot, element) = match kind {
            // JFIF has one meaning: full range, BT.601. `jpegenc` writes what it gets.
            Kind::Jpeg => {
                (&mut self.jpeg, format!("video/x-raw,colorimetry=(string)1:4:7:1 ! jpegenc quality={}", self.quality))
            }
            Kind::Png => (&mut self.png, "pngenc".to_owned()),
        };
        let encoder = match slot {
            Some(encoder) => encoder,
            None => slot.insert(Encoder::start(&element)?),
        };
        let encoded = encoder.encode(buffer, video);
        if encoded.is_err() {
            // A failed encoder takes nothing more.
            *slot = None;
        }
        let unmapped = |_| glib::bool_error!("the image cannot be mapped").into();
        encoded.and_then(|image| image.into_mapped_buffer_readable().map_err(unmapped))
    }
}

impl Encoder {
    fn start(element: &str) -> Result<Self, EncodeError> {
        let description = format!(
            "appsrc name=frames format=time ! videoconvert ! {element} ! appsink name=images sync=false max-buffers=1"
        );
        let missing = |what: &str| glib::bool_error!("the image encoder has no {}", what);
        let pipeline = gst::parse::launch(&description)?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| missing("pipeline"))?;
        let frames = pipeline.by_name("frames").and_then(|e| e.downcast().ok()).ok_or_else(|| missing("input"))?;
        let images = pipeline.by_name("images").and_then(|e| e.downcast().ok()).ok_or_else(|| missing("output"))?;
        let encoder = Self { pipeline, frames, images };
        encoder.pipeline.set_state(gst::State::Playing)?;
        Ok(encoder)
    }

    fn encode(&self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<gst::Buffer, EncodeError> {
        self.frames.set_caps(Some(&video.to_caps()?));
        self.frames.push_buffer(buffer)?;
        let sample = self.images.try_pull_sample(gst::ClockTime::from_seconds(DEADLINE_SECONDS));
        sample.and_then(|s| s.buffer_owned()).ok_or_else(|| {
            let error = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            match error.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Error(e)) => EncodeError::Failed(e.error()),
                _ => EncodeError::Late(DEADLINE_SECONDS),
            }
        })
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        tear_down(&self.pipeline);
    }
}
