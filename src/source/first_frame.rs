//! The first frame of a connection or file, which waits until the stream is announced downstream.

use std::sync::OnceLock;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer_video as gst_video;

use super::wake::Waker;

/// Whether the first frame is decoded, and how it looks.
pub(super) struct FirstFrame {
    video: OnceLock<gst_video::VideoInfo>,
    gate: Receiver<()>,
    waker: Waker,
}

/// Closed until it is dropped: the first frame waits at it.
pub(super) struct Gate(#[expect(dead_code, reason = "dropping it opens the gate")] Sender<()>);

impl FirstFrame {
    /// Not decoded yet; `waker` wakes the thread that waits for it.
    pub fn new(waker: Waker) -> (Self, Gate) {
        let (tx, rx) = bounded(0);
        (Self { video: OnceLock::new(), gate: rx, waker }, Gate(tx))
    }

    pub fn is_decoded(&self) -> bool {
        self.video.get().is_some()
    }

    /// Its format, size and frame rate.
    pub fn video(&self) -> Option<&gst_video::VideoInfo> {
        self.video.get()
    }

    /// The first frame is decoded; returns once the gate is open. For any other frame, at once.
    pub fn pass(&self, video: &gst_video::VideoInfo) {
        if self.video.get().is_none() && self.video.set(video.clone()).is_ok() {
            self.waker.wake();
            // Nothing is ever sent: the gate opens by being dropped.
            self.gate.recv().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use gstreamer as gst;

    use super::*;

    #[test]
    fn the_first_frame_waits_at_the_gate_and_no_other_does() {
        gst::init().expect("GStreamer");
        let (first, gate) = FirstFrame::new(Waker::new(&gst::Pipeline::new()));
        let video = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 16, 8).build().expect("a format");
        std::thread::scope(|scope| {
            let passing = scope.spawn(|| first.pass(&video));
            drop(gate);
            passing.join().expect("no panic");
        });
        assert!(first.is_decoded());
        first.pass(&video);
        assert_eq!(first.video().map(gst_video::VideoInfo::width), Some(16));
    }
}
