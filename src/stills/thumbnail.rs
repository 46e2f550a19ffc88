//! Small JPEGs of image files, for pages.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::geometry::Size;
use crate::teardown::tear_down;

/// How long one image may take.
const DEADLINE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// The image at `path`, turned as EXIF's `orientation` (1..=8) says and scaled to `size` (pixels), as JPEG; `None` when it
/// cannot be decoded. `GStreamer` must be initialised.
#[must_use]
pub fn thumbnail(path: &Path, orientation: u8, size: Size) -> Option<Vec<u8>> {
    let turn = match orientation {
        2 => "horiz",
        3 => "180",
        4 => "vert",
        5 => "ul-lr",
        6 => "90r",
        7 => "ur-ll",
        8 => "90l",
        _ => "identity",
    };
    let Size { width, height } = size;
    let description = format!(
        "filesrc name=file ! decodebin ! videoconvert ! videoflip video-direction={turn} ! videoscale method=lanczos ! \
         video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1 ! jpegenc quality=82 ! \
         appsink name=jpeg sync=false max-buffers=1"
    );
    let pipeline = gst::parse::launch(&description).ok()?.downcast::<gst::Pipeline>().ok()?;
    pipeline.by_name("file")?.set_property("location", path);
    let jpeg = pipeline.by_name("jpeg")?.downcast::<gst_app::AppSink>().ok()?;
    let sample = pipeline.set_state(gst::State::Playing).ok().and_then(|_| jpeg.try_pull_sample(DEADLINE));
    let bytes = sample.and_then(|s| s.buffer_owned()).and_then(|b| b.map_readable().ok().map(|map| map.to_vec()));
    tear_down(&pipeline);
    bytes
}
