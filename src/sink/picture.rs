//! An annotated still: encoded in one go, by way of `.part`.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::{SinkError, part_path};

/// Writes `buffer` as the kind of picture that the ending of `path` says (JPEG or PNG).
///
/// # Errors
/// When the file cannot be written.
pub fn write_picture(path: &Path, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<(), SinkError> {
    let unwritable = |problem: String| SinkError::Unwritable { path: path.to_owned(), problem };
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let encoder = if ending == "jpg" || ending == "jpeg" { "jpegenc quality=92" } else { "pngenc" };
    let description = format!("appsrc name=pictures format=time ! videoconvert ! {encoder} ! filesink name=file");
    let pipeline = gst::parse::launch(&description)
        .map_err(|e| unwritable(e.to_string()))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| unwritable("not a pipeline".into()))?;
    let part = part_path(path);
    let (Some(file), Some(pictures)) =
        (pipeline.by_name("file"), pipeline.by_name("pictures").and_then(|e| e.downcast::<gst_app::AppSrc>().ok()))
    else {
        return Err(unwritable("the picture encoder is incomplete".into()));
    };
    file.set_property("location", part.display().to_string());
    pictures.set_caps(Some(&video.to_caps().map_err(|e| unwritable(e.to_string()))?));
    let _ = pipeline.set_state(gst::State::Playing);
    let _ = pictures.push_buffer(buffer);
    let _ = pictures.end_of_stream();
    let message = pipeline.bus().and_then(|bus| {
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos, gst::MessageType::Error])
    });
    let _ = pipeline.set_state(gst::State::Null);
    match message.as_ref().map(|m| m.view()) {
        Some(gst::MessageView::Eos(_)) => std::fs::rename(&part, path).map_err(|e| unwritable(e.to_string())),
        Some(gst::MessageView::Error(e)) => Err(unwritable(e.error().message().to_owned())),
        _ => Err(unwritable("the picture encoder did not finish".into())),
    }
}
