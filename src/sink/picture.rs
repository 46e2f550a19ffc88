//! Stills: encoded one by one by an encoder that is kept, written by way of `.part`.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::SinkError;
use crate::part::part_path;

/// How long one picture may take.
const DEADLINE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Writes stills; keeps its encoders from picture to picture.
#[derive(Default)]
pub struct PictureWriter {
    jpeg: Option<Encoder>,
    png: Option<Encoder>,
}

struct Encoder {
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSrc,
    files: gst_app::AppSink,
}

impl PictureWriter {
    /// Writes `buffer` as the kind of picture that the ending of `path` says: JPEG for `.jpg` and `.jpeg`, else PNG.
    ///
    /// # Errors
    /// When it cannot be encoded or the file cannot be written.
    pub fn write(&mut self, path: &Path, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<(), SinkError> {
        let unwritable = |problem: String| SinkError::Unwritable { path: path.to_owned(), problem };
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let (slot, element) = match ending.as_str() {
            "jpg" | "jpeg" => (&mut self.jpeg, "jpegenc quality=92"),
            _ => (&mut self.png, "pngenc"),
        };
        let encoder = match slot {
            Some(encoder) => encoder,
            None => slot.insert(Encoder::start(element).map_err(unwritable)?),
        };
        let encoded = match encoder.encode(buffer, video) {
            Ok(encoded) => encoded,
            Err(problem) => {
                // A failed encoder takes nothing more.
                *slot = None;
                return Err(unwritable(problem));
            }
        };
        let map = encoded.map_readable().map_err(|e| unwritable(e.to_string()))?;
        let part = part_path(path);
        std::fs::write(&part, &map).and_then(|()| std::fs::rename(&part, path)).map_err(|e| unwritable(e.to_string()))
    }
}

impl Encoder {
    fn start(element: &str) -> Result<Self, String> {
        let description = format!(
            "appsrc name=pictures format=time ! videoconvert ! {element} ! appsink name=files sync=false max-buffers=1"
        );
        let pipeline = gst::parse::launch(&description)
            .map_err(|e| e.to_string())?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "not a pipeline")?;
        let pictures = pipeline.by_name("pictures").and_then(|e| e.downcast().ok()).ok_or("no picture input")?;
        let files = pipeline.by_name("files").and_then(|e| e.downcast().ok()).ok_or("no output")?;
        pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
        Ok(Self { pipeline, pictures, files })
    }

    fn encode(&self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<gst::Buffer, String> {
        self.pictures.set_caps(Some(&video.to_caps().map_err(|e| e.to_string())?));
        self.pictures.push_buffer(buffer).map_err(|e| e.to_string())?;
        let sample = self.files.try_pull_sample(DEADLINE);
        sample.and_then(|s| s.buffer_owned()).ok_or_else(|| {
            let error = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            match error.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Error(e)) => e.error().message().to_owned(),
                _ => "the picture encoder did not finish".into(),
            }
        })
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
