//! Decoded pictures on their way from `GStreamer` into the bounded channel.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::file::Shared;
use super::{Picture, SourceEvent};
use crate::clock::{HostTime, StreamTime};
use crate::frame::{Frame, Stamps};

/// How far a picture without any time is put after the one before it.
const GUESSED_DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// How far after the one before it a picture is put whose own time lies earlier, as after a damaged stretch.
const LATE: gst::ClockTime = gst::ClockTime::from_mseconds(1);

/// Sends what arrives at `sink` to the outlet; the channel's fullness holds the decoder back.
pub(super) fn deliver_from(sink: &gst_app::AppSink, shared: &Arc<Shared>) {
    let mut delivery =
        Delivery { shared: shared.clone(), last: None, next: gst::ClockTime::ZERO, resumed: HostTime::default() };
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(move |sink| delivery.one(sink)).build());
}

struct Delivery {
    shared: Arc<Shared>,
    last: Option<gst::ClockTime>,
    /// Where a picture without a time goes.
    next: gst::ClockTime,
    /// When the last pause ended.
    resumed: HostTime,
}

impl Delivery {
    fn one(&mut self, sink: &gst_app::AppSink) -> Result<gst::FlowSuccess, gst::FlowError> {
        let shared = &*self.shared;
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps()) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let video = gst_video::VideoInfo::from_caps(caps).map_err(|_| gst::FlowError::NotNegotiated)?;
        if shared.first.get().is_none() {
            let _ = shared.first.set(video.clone());
            // Opens when its sender is dropped.
            let _ = shared.gate.recv();
        }
        if shared.is_stopped() {
            return Err(gst::FlowError::Eos);
        }
        let outlet = &shared.outlet;
        let (decode_in, decoded) =
            buffer.pts().map_or_else(|| (None, outlet.clock.now()), |pts| shared.probe.take(pts));
        let pts = shared.stream_time(&sample, buffer.pts()).unwrap_or(self.next);
        // Times increase: an encoder that is handed an earlier one loses track.
        let pts = self.last.map_or(pts, |last| pts.max(last + LATE));
        self.last = Some(pts);
        self.next = pts + buffer.duration().unwrap_or(GUESSED_DURATION);
        let due = buffer.pts().and_then(|pts| shared.probe.due(pts));
        let so_far = shared.frames.fetch_add(1, Ordering::SeqCst);
        if so_far >= outlet.head && outlet.is_waiting() {
            outlet.wait_until_ready();
        }
        if shared.can_pause() && outlet.controls.hold(&|| shared.is_stopped()) {
            self.resumed = outlet.clock.now();
        }
        let mut stamps = Stamps { decode_in, decoded, due, ..Stamps::default() };
        // What stood still meanwhile, here or in the decoder, was not late.
        stamps.not_before(self.resumed);
        let (file, index) = match &shared.options.picture {
            Some((file, number)) => (Some(file.clone()), number + so_far),
            None => (None, so_far),
        };
        let event = if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            SourceEvent::Corrupt(outlet.stream, 1)
        } else {
            let duration = buffer.duration().map(Duration::from);
            let picture =
                Picture::map(buffer, &video, shared.probe.states_colours()).ok_or(gst::FlowError::NotSupported)?;
            SourceEvent::Frame(Box::new(Frame {
                stream: outlet.stream,
                index,
                pts: StreamTime { ns: pts.nseconds() },
                duration,
                picture,
                file,
                stamps,
                detections: Vec::new(),
                letterbox: None,
            }))
        };
        outlet.events.send(event).map_err(|_| gst::FlowError::Eos)?;
        if shared.options.limit.is_some_and(|limit| so_far + 1 >= limit) {
            shared.delivered(sink.upcast_ref());
            return Err(gst::FlowError::Eos);
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
