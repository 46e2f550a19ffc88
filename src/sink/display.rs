//! A window that shows the annotated pictures. It makes nobody wait: what it cannot show in time it leaves out.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::{SinkError, bus_error};
use crate::stream::LiveOutput;

/// Pictures that wait to be shown; newer ones take their place.
const PICTURES: u64 = 2;
/// What can show pictures, as `autovideosink` chooses.
const WINDOWS: [&str; 5] = ["waylandsink", "glimagesink", "xvimagesink", "ximagesink", "gtkwaylandsink"];

/// An open window.
pub(super) struct Display {
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSrc,
    caps: Option<gst::Caps>,
    shown: u64,
}

/// Checks that a window can be opened.
///
/// # Errors
/// When there is no display server, or nothing that draws.
pub fn check_display() -> Result<(), SinkError> {
    let refused = |problem: &str, remedy: &str| {
        Err(SinkError::NoDisplay { problem: problem.to_owned(), remedy: remedy.to_owned() })
    };
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
        return refused(
            "there is no display server: neither DISPLAY nor WAYLAND_DISPLAY is set",
            "run it on a desktop, over `ssh -X`, or serve the stream instead: -o rtsp://:8554/NAME",
        );
    }
    if !WINDOWS.iter().any(|name| gst::ElementFactory::find(name).is_some()) {
        return refused("GStreamer has nothing that opens a window", "apt-get install gstreamer1.0-x");
    }
    Ok(())
}

impl Display {
    /// Opens it, titled `name`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open() -> Result<Self, SinkError> {
        let refused = |problem: String| SinkError::NoDisplay {
            problem,
            remedy: "check that DISPLAY or WAYLAND_DISPLAY names a display that is there".into(),
        };
        let description = format!(
            "appsrc name=pictures format=time is-live=true leaky-type=downstream max-buffers={PICTURES} max-bytes=0 max-time=0 \
             ! videoconvert ! autovideosink name=window sync=false"
        );
        let pipeline = gst::parse::launch(&description)
            .map_err(|e| refused(e.to_string()))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| refused("not a pipeline".into()))?;
        let pictures = pipeline.by_name("pictures").and_then(|e| e.downcast::<gst_app::AppSrc>().ok());
        let pictures = pictures.ok_or_else(|| refused("no picture input".into()))?;
        let display = Self { pipeline, pictures, caps: None, shown: 0 };
        let started = display.pipeline.set_state(gst::State::Playing);
        match (bus_error(&display.pipeline), started) {
            (Some(error), _) => Err(refused(error.message)),
            (None, Err(_)) => Err(refused("the window does not open".into())),
            (None, Ok(_)) => Ok(display),
        }
    }

    /// Shows a picture; `false` once the window is closed.
    pub fn show(&mut self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> bool {
        if let Ok(caps) = video.to_caps()
            && self.caps.as_ref() != Some(&caps)
        {
            self.pictures.set_caps(Some(&caps));
            self.caps = Some(caps);
        }
        self.shown += u64::from(self.pictures.push_buffer(buffer).is_ok());
        bus_error(&self.pipeline).is_none()
    }

    /// What it was given.
    pub fn figures(&self) -> LiveOutput {
        LiveOutput { uri: "window".into(), frames_sent: self.shown, ..LiveOutput::default() }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
