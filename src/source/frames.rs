//! Decoded pictures on their way from `GStreamer` into the bounded channel.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::course::Session;
use super::decoding::Decoding;
use super::rgb;
use crate::clock::{HostTime, StreamTime};
use crate::frame::{Frame, Stamps, VideoBuffer};
use crate::source::SourceEvent;
use crate::stream::Dropped;

/// How far a picture without any time is put after the one before it.
const GUESSED_DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// How far after the one before it a picture is put whose own time lies earlier, as after a damaged stretch.
const LATE: gst::ClockTime = gst::ClockTime::from_mseconds(1);

/// From 1900, where NTP's time begins, to 1970, where Unix' does.
const NTP_TO_UNIX: Duration = Duration::from_hours(25_567 * 24);
/// A difference of wall clocks beyond this says more about the clocks than about the way.
const LONGEST_WAY: Duration = Duration::from_mins(10);

/// Sends what arrives at `sink` to the outlet; the channel's fullness holds the decoder back.
pub(super) fn deliver_from(sink: &gst_app::AppSink, shared: &Arc<Decoding>) {
    let last = shared.session().and_then(|session| session.course.last());
    let last = last.map(|last| gst::ClockTime::from_nseconds(last.ns));
    let resumed = HostTime::default();
    let mut delivery = Delivery { shared: shared.clone(), last, next: gst::ClockTime::ZERO, resumed };
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(move |sink| delivery.one(sink)).build());
}

struct Delivery {
    shared: Arc<Decoding>,
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
            if let Some(session) = shared.session().filter(|session| session.course.last().is_some()) {
                let (pts, _) = self.live(session, sink, &sample);
                let pts = self.last.map_or(pts, |last| pts.max(last + LATE));
                let _ = session.first.set(StreamTime { ns: pts.nseconds() });
            }
            let _ = shared.first.set(video.clone());
            // Opens when its sender is dropped.
            let _ = shared.gate.recv();
        }
        if shared.is_stopped() {
            return Err(gst::FlowError::Eos);
        }
        let outlet = &shared.outlet;
        if !shared.waits() && outlet.is_waiting() {
            // A live stream has not begun for us until there is somebody to look at it.
            return Ok(gst::FlowSuccess::Ok);
        }
        let (decode_in, decoded) =
            buffer.pts().map_or_else(|| (None, outlet.clock.now()), |pts| shared.probe.take(pts));
        let (pts, due) = if let Some(session) = shared.session() {
            self.live(session, sink, &sample)
        } else {
            let pts = shared.stream_time(&sample, buffer.pts()).unwrap_or(self.next);
            (pts, buffer.pts().and_then(|pts| shared.probe.due(pts)))
        };
        // Times increase: an encoder that is handed an earlier one loses track.
        let pts = self.last.map_or(pts, |last| pts.max(last + LATE));
        self.last = Some(pts);
        self.next = pts + buffer.duration().unwrap_or(GUESSED_DURATION);
        let pts = StreamTime { ns: pts.nseconds() };
        let in_session = shared.frames.fetch_add(1, Ordering::SeqCst);
        let so_far = shared.session().map_or(in_session, |session| session.count(pts));
        if so_far >= outlet.head && outlet.is_waiting() {
            outlet.wait_until_ready();
        }
        if shared.can_pause() && outlet.controls.hold(&shared.stop) {
            self.resumed = outlet.clock.now();
        }
        let captured = shared.session().and_then(|_| captured(&buffer, outlet.clock.now()));
        let mut stamps = Stamps { decode_in, decoded, due, captured, ..Stamps::default() };
        // What stood still meanwhile, here or in the decoder, was not late.
        stamps.not_before(self.resumed);
        let (file, index) = match &shared.wanted.picture {
            Some((file, number)) => (Some(file.clone()), number + so_far),
            None => (None, so_far),
        };
        let event = if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            SourceEvent::Corrupt(outlet.stream, 1)
        } else {
            let duration = buffer.duration().map(Duration::from);
            let pixels = rgb::to_yuv(buffer, &video)
                .and_then(|(buffer, video)| VideoBuffer::map(buffer, video, shared.probe.states_colours()))
                .ok_or(gst::FlowError::NotSupported)?;
            SourceEvent::Frame(Box::new(Frame {
                stream: outlet.stream,
                index,
                pts,
                duration,
                pixels,
                file,
                stamps,
                detections: Vec::new(),
                letterbox: None,
            }))
        };
        shared.say_late();
        outlet.counters.received(1);
        if outlet.events.send(event).is_err() {
            // The worker is gone.
            outlet.counters.dropped(Dropped { failed: 1, ..Dropped::default() });
            return Err(gst::FlowError::Eos);
        }
        if shared.wanted.limit.is_some_and(|limit| so_far + 1 >= limit) {
            shared.delivered(sink.upcast_ref());
            return Err(gst::FlowError::Eos);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// The time in the stream of a live picture, and when it was due.
    fn live(
        &self,
        session: &Session,
        sink: &gst_app::AppSink,
        sample: &gst::SampleRef,
    ) -> (gst::ClockTime, Option<HostTime>) {
        let shared = &*self.shared;
        let now = || sink.current_running_time();
        let raw = sample.buffer().and_then(gst::BufferRef::pts);
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let running = segment.zip(raw).and_then(|(segment, pts)| segment.to_running_time(pts));
        let running = running.or_else(now).unwrap_or_default();
        let due = session.due(running, || match raw.and_then(|pts| shared.probe.due(pts)) {
            // What is paced here comes long before its time.
            Some(due) => (due, running),
            None if shared.probe.is_paced() => (shared.outlet.clock.now(), running),
            None => (shared.outlet.clock.now(), now().unwrap_or(running)),
        });
        (gst::ClockTime::from_nseconds(session.begin(due).ns), Some(due).filter(|_| !shared.waits()))
    }
}

/// When the sender says that it captured a picture, which is there at `now`; `None` where it does not say, or the clocks of
/// the two machines do not agree.
fn captured(buffer: &gst::BufferRef, now: HostTime) -> Option<HostTime> {
    let is_ntp = |caps: &gst::CapsRef| caps.structure(0).is_some_and(|s| s.name() == "timestamp/x-ntp");
    let meta = buffer.iter_meta::<gst::ReferenceTimestampMeta>().find(|meta| is_ntp(meta.reference()))?;
    let at = Duration::from(meta.timestamp()).checked_sub(NTP_TO_UNIX)?;
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let way = wall.checked_sub(at).filter(|way| *way <= LONGEST_WAY)?;
    Some(HostTime::from_start(now.since_start().checked_sub(way)?))
}
