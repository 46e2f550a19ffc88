//! Buffers for frames that are made here, used again and again.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

/// Buffers for frames of one format, which may change.
#[derive(Debug, Default)]
pub struct FramePool(Option<(gst_video::VideoInfo, gst::BufferPool)>);

impl FramePool {
    /// A frame like `video` to be written, its samples undefined.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn take(
        &mut self,
        video: &gst_video::VideoInfo,
    ) -> Result<gst_video::VideoFrame<gst_video::video_frame::Writable>, gst::glib::BoolError> {
        let buffer = self.pool(video)?.acquire_buffer(None);
        let buffer = buffer.map_err(|error| gst::glib::bool_error!("no buffer for a frame: {:?}", error))?;
        let frame = gst_video::VideoFrame::from_buffer_writable(buffer, video);
        frame.map_err(|_| gst::glib::bool_error!("the buffer of a frame cannot be mapped"))
    }

    fn pool(&mut self, video: &gst_video::VideoInfo) -> Result<&gst::BufferPool, gst::glib::BoolError> {
        if self.0.as_ref().is_none_or(|(known, _)| known != video) {
            let pool = gst_video::VideoBufferPool::new();
            let caps = video.to_caps()?;
            let mut config = pool.config();
            config.set_params(Some(&caps), u32::try_from(video.size()).unwrap_or(u32::MAX), 2, 0);
            pool.set_config(config)?;
            pool.set_active(true)?;
            self.0 = Some((video.clone(), pool.upcast()));
        }
        self.0.as_ref().map(|(_, pool)| pool).ok_or_else(|| gst::glib::bool_error!("no pool"))
    }
}
