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
    /// Pixels of an image's longer side, at most.
    longest: Option<u32>,
    jpeg: Option<Encoder>,
    png: Option<Encoder>,
}

struct Encoder {
    pipeline: gst::Pipeline,
    frames: gst_app::AppSrc,
    /// Where the size is set.
    scaled: Option<gst::Element>,
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
        Self { quality, longest: None, jpeg: None, png: None }
    }

    /// Images whose longer side has more than `longest` pixels are made smaller.
    #[must_use]
    pub fn within(self, longest: u32) -> Self {
        Self { longest: Some(longest), ..self }
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
            None => slot.insert(Encoder::start(&element, self.longest.is_some())?),
        };
        let (width, height) = (video.width(), video.height());
        let longest = self.longest.unwrap_or(u32::MAX).min(width.max(height));
        // At least a pixel, and no overflow: neither side is larger than the longer one.
        let side = |side: u32| {
            let side = u64::from(side) * u64::from(longest) / u64::from(width.max(height).max(1));
            u32::try_from(side).unwrap_or(longest).max(1)
        };
        let encoded = encoder.encode(buffer, video, (side(width), side(height)));
        if encoded.is_err() {
            // A failed encoder takes nothing more.
            *slot = None;
        }
        let unmapped = |_| glib::bool_error!("the image cannot be mapped").into();
        encoded.and_then(|image| image.into_mapped_buffer_readable().map_err(unmapped))
    }
}

impl Encoder {
    fn start(element: &str, is_scaled: bool) -> Result<Self, EncodeError> {
        let scale = if is_scaled { "videoscale add-borders=false ! capsfilter name=scaled ! " } else { "" };
        let description = format!(
            "appsrc name=frames format=time ! {scale}videoconvert ! {element} ! appsink name=images sync=false max-buffers=1"
        );
        let missing = |what: &str| glib::bool_error!("the image encoder has no {}", what);
        let pipeline = gst::parse::launch(&description)?;
        let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| missing("pipeline"))?;
        let frames = pipeline.by_name("frames").and_then(|e| e.downcast().ok()).ok_or_else(|| missing("input"))?;
        let images = pipeline.by_name("images").and_then(|e| e.downcast().ok()).ok_or_else(|| missing("output"))?;
        let scaled = pipeline.by_name("scaled");
        let encoder = Self { pipeline, frames, scaled, images };
        encoder.pipeline.set_state(gst::State::Playing)?;
        Ok(encoder)
    }

    fn encode(
        &self,
        buffer: gst::Buffer,
        video: &gst_video::VideoInfo,
        (width, height): (u32, u32),
    ) -> Result<gst::Buffer, EncodeError> {
        if let Some(scaled) = &self.scaled {
            let (width, height) = (width.cast_signed(), height.cast_signed());
            let caps = gst_video::VideoCapsBuilder::new().width(width).height(height);
            scaled.set_property("caps", caps.pixel_aspect_ratio(gst::Fraction::new(1, 1)).build());
        }
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
