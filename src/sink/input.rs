//! Where frames or encoded frames enter a pipeline. An input holds so much and never blocks; a channel tells that there is room
//! for more, so that a thread can wait for that and for a failure or a stop request at once.

use crossbeam_channel::{Receiver, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

/// What it holds at most.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    Buffers(u64),
    Bytes(u64),
}

/// An `appsrc` that never blocks.
pub(super) struct Input {
    source: gst_app::AppSrc,
    limit: Limit,
    /// Something left it.
    room: Receiver<()>,
}

impl Input {
    /// Times are in the stream's running time.
    pub fn new(source: gst_app::AppSrc, limit: Limit) -> Self {
        source.set_format(gst::Format::Time);
        source.set_block(false);
        source.set_max_bytes(0);
        source.set_max_buffers(0);
        source.set_max_time(gst::ClockTime::ZERO);
        let (left, room) = bounded(1);
        if let Some(pad) = source.static_pad("src") {
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                // Full: one notification is waiting already, which is enough.
                let _ = left.try_send(());
                gst::PadProbeReturn::Ok
            });
        }
        Self { source, limit, room }
    }

    /// Format of what follows.
    pub fn set_caps(&self, caps: &gst::Caps) {
        self.source.set_caps(Some(caps));
    }

    /// Whether one more may be pushed.
    pub fn has_room(&self) -> bool {
        match self.limit {
            Limit::Buffers(most) => self.source.current_level_buffers() < most,
            Limit::Bytes(most) => self.source.current_level_bytes() < most,
        }
    }

    /// Ready when something left it.
    pub fn room(&self) -> &Receiver<()> {
        &self.room
    }

    /// Hands one over; whether it was taken. Does not wait.
    pub fn push(&self, buffer: gst::Buffer) -> bool {
        self.source.push_buffer(buffer).is_ok()
    }

    /// Nothing comes any more.
    pub fn end(&self) {
        // A pipeline that failed needs no end: its error is on the bus.
        let _ = self.source.end_of_stream();
    }
}
