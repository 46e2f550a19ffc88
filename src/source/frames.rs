//! Decoded frames on their way from `GStreamer` into the bounded lane.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::decoding::Decoding;
use super::hdr::ToneMapper;
use super::options::Hdr;
use super::outlet::SourceEvent;
use super::rate::Fraction;
use super::rgb;
use super::stream_clock::ConnectionClock;
use crate::clock::{HostTime, StreamTime};
use crate::frame::{Frame, Stamps, VideoBuffer};

/// How far a frame without any time is put after the one before it.
const GUESSED_DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// How far after the one before it a frame is put whose own time lies earlier, as after a damaged stretch.
const LATE: gst::ClockTime = gst::ClockTime::from_mseconds(1);

/// Damaged frames at the start of a connection that are a lead-in, at most: a stream without keyframes (periodic intra refresh) that is
/// joined midway is whole once it was refreshed, which x264 does every 250 frames unless told otherwise.
const LEAD_IN: u64 = 300;

/// From 1900, where NTP's time begins, to 1970, where Unix' does.
const NTP_TO_UNIX: Duration = Duration::from_hours(25_567 * 24);
/// A difference of wall clocks beyond this says more about the clocks than about the delay.
const LONGEST_DELAY: Duration = Duration::from_mins(10);

/// Sends what arrives at `sink` to the outlet; a full lane holds the decoder back.
pub(super) fn deliver_from(sink: &gst_app::AppSink, shared: &Arc<Decoding>) {
    let last = shared.connection().and_then(ConnectionClock::last);
    let mut delivery = Delivery {
        shared: shared.clone(),
        last: last.map(|last| gst::ClockTime::from_nseconds(last.ns)),
        next: gst::ClockTime::ZERO,
        good: 0,
        lead_in: 0,
        resumed: HostTime::default(),
        tone_mapper: None,
    };
    let guard = shared.outlet.guard.clone();
    let callback =
        move |sink: &gst_app::AppSink| guard.run("frames", || delivery.one(sink)).unwrap_or(Err(gst::FlowError::Error));
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(callback).build());
}

struct Delivery {
    shared: Arc<Decoding>,
    last: Option<gst::ClockTime>,
    /// Where a frame without a time goes.
    next: gst::ClockTime,
    /// Frames that are not damaged.
    good: u64,
    /// Damaged ones of a live stream before the first of those.
    lead_in: u64,
    /// When the last pause ended.
    resumed: HostTime,
    /// For frames like the last one, where it was HDR.
    tone_mapper: Option<ToneMapper>,
}

impl Delivery {
    fn one(&mut self, sink: &gst_app::AppSink) -> Result<gst::FlowSuccess, gst::FlowError> {
        let shared = &*self.shared;
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps()) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let mut video = described(caps).ok_or(gst::FlowError::NotNegotiated)?;
        if !shared.first.is_decoded() {
            if let Some(connection) = shared.connection().filter(|connection| connection.last().is_some()) {
                let (pts, ..) = self.live(connection, sink, &sample);
                let pts = self.last.map_or(pts, |last| pts.max(last + LATE));
                connection.resume_at(StreamTime { ns: pts.nseconds() });
            }
            shared.first.pass(&video);
        }
        let rate = shared.rate.corrected();
        if let Some(rate) = rate {
            // One that is not known is 0/1.
            let caps = video.to_caps().map_err(|_| gst::FlowError::NotNegotiated)?;
            let rate = rate.rate.unwrap_or((0, 1));
            video = with(&caps, "framerate", rate).ok_or(gst::FlowError::NotNegotiated)?;
        }
        if shared.is_stopped() {
            return Err(gst::FlowError::Eos);
        }
        let outlet = &shared.outlet;
        if !shared.is_lossless() && outlet.is_waiting() {
            // A live stream begins once the session is there.
            return Ok(gst::FlowSuccess::Ok);
        }
        let (decode_in, decoded) =
            buffer.pts().map_or_else(|| (None, outlet.clock.now()), |pts| shared.probe.take(pts));
        let (pts, due, arrived) = if let Some(connection) = shared.connection() {
            let (pts, due, arrived) = self.live(connection, sink, &sample);
            // What was never encoded arrives here: a source that is late itself, on a machine that is too slow for it.
            (pts, due, arrived.or_else(|| decode_in.is_none().then_some(decoded)))
        } else {
            let pts = shared.stream_time(&sample, buffer.pts()).unwrap_or(self.next);
            (pts, buffer.pts().and_then(|pts| shared.probe.due(pts)), None)
        };
        let is_damaged = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        if is_damaged && !shared.is_lossless() && self.good == 0 && self.lead_in < LEAD_IN {
            // Of what came before the stream was joined: nothing was lost.
            self.lead_in += 1;
            shared.activity.note();
            return Ok(gst::FlowSuccess::Ok);
        }
        // Times increase: an encoder that is handed an earlier one loses track.
        let pts = self.last.map_or(pts, |last| pts.max(last + LATE));
        self.last = Some(pts);
        let duration = rate.map_or(buffer.duration(), |rate| rate.interval);
        self.next = pts + duration.unwrap_or(GUESSED_DURATION);
        let pts = shared.wanted.image_time().unwrap_or(StreamTime { ns: pts.nseconds() });
        let in_connection = shared.count_frame();
        let so_far = shared.connection().map_or(in_connection, |connection| connection.count(pts));
        if self.good >= outlet.head && outlet.is_waiting() {
            outlet.wait_until_ready();
        }
        if shared.can_pause() && outlet.controls.hold(&shared.stop) {
            self.resumed = outlet.clock.now();
        }
        let captured = shared.connection().and_then(|_| captured(&buffer, outlet.clock.now()));
        let mut stamps = Stamps { decode_in, decoded, due, arrived, captured, ..Stamps::default() };
        // What stood still meanwhile, here or in the decoder, was not late.
        stamps.not_before(self.resumed);
        let (file, index) = match &shared.wanted.image {
            Some((file, number)) => (Some(file.clone()), number + so_far),
            None => (None, so_far),
        };
        let event = if is_damaged {
            SourceEvent::Corrupt(outlet.stream, 1)
        } else {
            let pixels =
                to_pixels(buffer, &video, &mut self.tone_mapper, shared).ok_or(gst::FlowError::NotSupported)?;
            self.good += 1;
            let duration = duration.map(Duration::from);
            let telemetry = shared.known_at(&sample, pts);
            SourceEvent::Frame(Box::new(Frame {
                duration,
                file,
                telemetry,
                ..Frame::new((outlet.stream, index), pts, pixels, stamps)
            }))
        };
        shared.report_late();
        if !outlet.send(event) {
            return Err(gst::FlowError::Eos);
        }
        // However long the lane was full, the stream goes on now.
        shared.activity.note();
        if shared.wanted.limit.is_some_and(|limit| so_far + 1 >= limit) {
            shared.finish();
            return Err(gst::FlowError::Eos);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// The time in the stream of a live frame, when it was due, and when it arrived.
    fn live(
        &self,
        connection: &ConnectionClock,
        sink: &gst_app::AppSink,
        sample: &gst::SampleRef,
    ) -> (gst::ClockTime, Option<HostTime>, Option<HostTime>) {
        let shared = &*self.shared;
        let now = || sink.current_running_time();
        let raw = sample.buffer().and_then(gst::BufferRef::pts);
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let running = segment.zip(raw).and_then(|(segment, pts)| segment.to_running_time(pts));
        let running = running.or_else(now).unwrap_or_default();
        let due = connection.due(running, || match raw.and_then(|pts| shared.probe.due(pts)) {
            // What is paced here comes long before its time.
            Some(due) => (due, running),
            None if shared.probe.is_paced() => (shared.outlet.clock.now(), running),
            None => (shared.outlet.clock.now(), now().unwrap_or(running)),
        });
        let begun = gst::ClockTime::from_nseconds(connection.begin(due).ns);
        (begun, Some(due).filter(|_| !shared.is_lossless()), connection.arrived(running))
    }
}

/// The frame in `buffer`, in a layout that the pipeline works on. `mapper` is kept from frame to frame.
fn to_pixels(
    buffer: gst::Buffer,
    video: &gst_video::VideoInfo,
    mapper: &mut Option<ToneMapper>,
    shared: &Decoding,
) -> Option<VideoBuffer> {
    if !mapper.as_ref().is_some_and(|mapper| mapper.is_for(video)) {
        *mapper = ToneMapper::new(video);
    }
    let Some(mapper) = mapper else {
        let (buffer, video) = rgb::to_yuv(buffer, video)?;
        return VideoBuffer::map(buffer, video, shared.probe.states_colours());
    };
    let (mapped, sdr) = mapper.map(buffer.clone())?;
    let pixels = VideoBuffer::map(mapped, sdr, true)?;
    if shared.wanted.hdr == Hdr::Keep && video.format() == gst_video::VideoFormat::I42010le {
        return pixels.written_as(buffer, video.clone());
    }
    Some(pixels)
}

/// What `caps` say; pixels are square where they say nonsense of that.
pub(super) fn described(caps: &gst::CapsRef) -> Option<gst_video::VideoInfo> {
    let video = gst_video::VideoInfo::from_caps(caps).ok()?;
    let is_sane = video.par().numer() > 0 && video.par().denom() > 0;
    if is_sane { Some(video) } else { with(caps, "pixel-aspect-ratio", (1, 1)) }
}

/// What `caps` say, but for this field.
fn with(caps: &gst::CapsRef, field: &str, (numer, denom): Fraction) -> Option<gst_video::VideoInfo> {
    let mut caps = caps.to_owned();
    caps.make_mut().set(field, gst::Fraction::new(numer, denom));
    gst_video::VideoInfo::from_caps(&caps).ok()
}

/// When the sender says that it captured a frame, which is there at `now`; `None` where it does not say, or the clocks of
/// the two machines do not agree.
fn captured(buffer: &gst::BufferRef, now: HostTime) -> Option<HostTime> {
    let is_ntp = |caps: &gst::CapsRef| caps.structure(0).is_some_and(|s| s.name() == "timestamp/x-ntp");
    let meta = buffer.iter_meta::<gst::ReferenceTimestampMeta>().find(|meta| is_ntp(meta.reference()))?;
    let at = Duration::from(meta.timestamp()).checked_sub(NTP_TO_UNIX)?;
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let delay = wall.checked_sub(at).filter(|delay| *delay <= LONGEST_DELAY)?;
    Some(HostTime::from_start(now.since_start().checked_sub(delay)?))
}
