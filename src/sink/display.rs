//! A window that shows annotated frames. It never blocks: frames that it cannot show in time are dropped.

use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::error::{OutputError, SinkError};
use super::pipeline::Pipeline;
use crate::stream::LiveOutput;

/// Frames that wait to be shown; newer ones take their place.
const FRAMES: u64 = 2;
/// What can show frames, as `autovideosink` chooses.
const WINDOWS: [&str; 5] = ["waylandsink", "glimagesink", "xvimagesink", "ximagesink", "gtkwaylandsink"];

/// An open window.
pub(super) struct Display {
    pipeline: Pipeline,
    frames: gst_app::AppSrc,
    caps: Option<gst::Caps>,
    shown: u64,
}

/// Checks that a window can be opened.
///
/// # Errors
/// When there is no display server, or nothing that draws.
pub fn check_display() -> Result<(), SinkError> {
    let refused = |source, remedy| Err(SinkError::NoDisplay { source, remedy });
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
        return refused(
            OutputError::NoDisplayServer,
            "run it on a desktop, over `ssh -X`, or serve the stream instead: -o rtsp://:8554/NAME",
        );
    }
    if !WINDOWS.iter().any(|name| gst::ElementFactory::find(name).is_some()) {
        return refused(OutputError::NoWindow, "apt-get install gstreamer1.0-x");
    }
    Ok(())
}

impl Display {
    /// Opens it, titled `name`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open() -> Result<Self, SinkError> {
        Self::try_open().map_err(|source| SinkError::NoDisplay {
            source,
            remedy: "check that DISPLAY or WAYLAND_DISPLAY names a display that is there",
        })
    }

    fn try_open() -> Result<Self, OutputError> {
        let description = format!(
            "appsrc name=frames format=time is-live=true leaky-type=downstream max-buffers={FRAMES} max-bytes=0 max-time=0 \
             ! videoconvert ! autovideosink name=window sync=false"
        );
        let pipeline = Pipeline::parse("window", &description)?;
        let frames = pipeline.app_source("frames")?;
        pipeline.start()?;
        match pipeline.error() {
            Some(error) => Err(error.into()),
            None => Ok(Self { pipeline, frames, caps: None, shown: 0 }),
        }
    }

    /// Shows a frame; `false` once the window is closed.
    pub fn show(&mut self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> bool {
        if let Ok(caps) = video.to_caps()
            && self.caps.as_ref() != Some(&caps)
        {
            self.frames.set_caps(Some(&caps));
            self.caps = Some(caps);
        }
        self.shown += u64::from(self.frames.push_buffer(buffer).is_ok());
        self.pipeline.error().is_none()
    }

    /// What it was given.
    pub fn figures(&self) -> LiveOutput {
        LiveOutput { uri: "window".into(), frames_sent: self.shown, ..LiveOutput::default() }
    }
}
