//! What is learnt at the decoder's pads: when an encoded frame went in, when it came out decoded, and which never did.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::activity::Activity;
use super::outlet::Outlet;
use super::pace::Pacer;
use super::zeroed::zeroed;
use crate::clock::{Clock, HostTime};
use crate::thread::Guard;

/// Encoded frames a decoder may hold at once: 16 reference frames plus a frame a thread, with room to spare.
const PENDING: usize = 128;
/// qtdemux rounds times of frames and of what is shown apart from each other.
const ROUNDING: gst::ClockTime = gst::ClockTime::from_useconds(1);

/// An encoded frame in the decoder.
struct Entered {
    pts: gst::ClockTime,
    at: HostTime,
    is_lead_in: bool,
}

#[derive(Default)]
struct Inner {
    entered: VecDeque<Entered>,
    left: VecDeque<(gst::ClockTime, Option<HostTime>, HostTime)>,
    tagged: bool,
    interlaced: bool,
    has_edit_lists: bool,
    codec: Option<gst::Caps>,
    /// Frames but for the lead-in.
    encoded: u64,
    decoded: u64,
    /// Decoded frames, the lead-in's among them.
    left_in_all: u64,
    /// Where the first keyframe is.
    first_key: Option<gst::ClockTime>,
    /// Encoded frames before the first that was decoded.
    skipped: u64,
    /// Encoded frames without a time that entered since a frame left.
    untimed: u64,
    /// The latest decoded frame.
    newest: Option<gst::ClockTime>,
}

impl Inner {
    /// Whether the encoded frame that enters can be decoded only with frames that the stream does not have: one before the first
    /// keyframe, in decoding order or as they are shown. It may come out all the same.
    fn is_lead_in(&mut self, pts: Option<gst::ClockTime>, is_key: bool) -> bool {
        if is_key {
            self.first_key.get_or_insert(pts.unwrap_or_default());
        }
        self.first_key.map_or(self.left_in_all == 0, |key| pts.is_some_and(|pts| pts < key))
    }
}

/// Stamps of one decoder, filled by pad probes on its streaming threads.
#[derive(Clone)]
pub(super) struct DecoderProbe {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
    guard: Guard,
    pacer: Option<Arc<Pacer>>,
    delay: Duration,
    live: bool,
    /// Where frames that enter are noted.
    activity: Option<Arc<Activity>>,
}

impl DecoderProbe {
    /// `pacer` holds back what enters; `delay` is added to every frame's time in the decoder.
    pub(super) fn new(outlet: &Outlet, pacer: Option<Pacer>, delay: Duration) -> Self {
        let live = pacer.is_some();
        Self {
            inner: Arc::default(),
            clock: outlet.clock.clone(),
            guard: outlet.guard.clone(),
            pacer: pacer.map(Arc::new),
            delay,
            live,
            activity: None,
        }
    }

    /// For a source that does not wait: decoders are told not to hold frames back.
    pub(super) fn live(self) -> Self {
        Self { live: true, ..self }
    }

    /// Frames that enter the decoder are noted there.
    pub(super) fn note_in(self, activity: &Arc<Activity>) -> Self {
        Self { activity: Some(activity.clone()), ..self }
    }

    /// The demuxer's segments are what edit lists show: frames outside are decoded only for those inside.
    pub(super) fn expect_edit_lists(&self) {
        self.lock().has_edit_lists = true;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches `decoder`: its input caps, what enters and what leaves. Its output also offers `GstVideoMeta`, without
    /// which libav copies every frame to tight planes.
    pub(super) fn attach(&self, decoder: &gst::Element) {
        if let Some(pad) = decoder.static_pad("sink") {
            let this = self.clone();
            pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
                this.guarded(|| this.enters(pad, info))
            });
        }
        if let Some(pad) = decoder.static_pad("src") {
            let this = self.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| this.guarded(|| this.leaves(info)));
        }
    }

    /// Runs a probe; what it panics at is dropped.
    fn guarded(&self, probe: impl FnOnce()) -> gst::PadProbeReturn {
        self.guard.run("decode", probe).map_or(gst::PadProbeReturn::Handled, |()| gst::PadProbeReturn::Ok)
    }

    /// An encoded frame enters the decoder, or its format is known.
    fn enters(&self, pad: &gst::Pad, info: &mut gst::PadProbeInfo) {
        if let Some(buffer) = info.buffer_mut() {
            // AVI gives most packets a decoding time only; without reordering it is the presentation time.
            let pts = buffer.pts().or(buffer.dts());
            let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            let is_lead_in = self.lock().is_lead_in(pts, is_key);
            if self.lock().has_edit_lists && hide(pad, buffer) {
                return;
            }
            if let Some((pacer, pts)) = self.pacer.as_ref().zip(pts) {
                // The first frame comes as soon as it can: the session is made for it.
                if self.lock().left_in_all > 0 {
                    pacer.hold(pts);
                }
            }
            if let Some(activity) = &self.activity {
                activity.note();
            }
            let now = self.clock.now();
            let mut inner = self.lock();
            inner.encoded += u64::from(!is_lead_in);
            if let Some(pts) = pts {
                if inner.entered.len() == PENDING {
                    inner.entered.pop_front();
                }
                inner.entered.push_back(Entered { pts, at: now, is_lead_in });
            } else {
                inner.untimed += u64::from(!is_lead_in);
            }
        } else if let Some(gst::EventView::Caps(caps)) = info.event().map(|e| e.view()) {
            let mut inner = self.lock();
            inner.tagged = caps.structure().is_some_and(|s| s.has_field("colorimetry"));
            inner.codec = Some(caps.caps_owned());
        }
    }

    /// A frame leaves the decoder.
    fn leaves(&self, info: &gst::PadProbeInfo) {
        if let Some(buffer) = info.buffer() {
            if !self.delay.is_zero() {
                self.clock.sleep(self.delay);
            }
            let now = self.clock.now();
            let mut inner = self.lock();
            inner.left_in_all += 1;
            inner.untimed = 0;
            if inner.left_in_all == 1 {
                // Those before it waited for a keyframe: they are not counted as lost.
                inner.skipped = inner.encoded.saturating_sub(1);
            }
            let at = buffer.pts().and_then(|pts| inner.entered.iter().position(|entered| entered.pts == pts));
            let entered = at.and_then(|at| inner.entered.remove(at));
            inner.decoded += u64::from(entered.as_ref().is_none_or(|entered| !entered.is_lead_in));
            // Bare JPEG has no times.
            let Some(pts) = buffer.pts() else { return };
            inner.newest = inner.newest.max(Some(pts));
            if inner.left.len() == PENDING {
                inner.left.pop_front();
            }
            inner.left.push_back((pts, entered.map(|entered| entered.at), now));
        }
    }

    /// `(entered, left)` of the frame with this PTS; now, when the decoder did not say.
    pub(super) fn take(&self, pts: gst::ClockTime) -> (Option<HostTime>, HostTime) {
        let mut inner = self.lock();
        let found = inner.left.iter().position(|(p, _, _)| *p == pts).and_then(|at| inner.left.remove(at));
        drop(inner);
        found.map_or_else(|| (None, self.clock.now()), |(_, entered, left)| (entered, left))
    }

    /// When the frame with this PTS was due, where the source is paced.
    pub(super) fn due(&self, pts: gst::ClockTime) -> Option<HostTime> {
        self.pacer.as_ref()?.due(pts)
    }

    /// Whether frames are held back at all.
    pub(super) fn is_paced(&self) -> bool {
        self.pacer.is_some()
    }

    /// Whether frames are held back until they are due.
    pub(super) fn is_holding(&self) -> bool {
        self.pacer.as_ref().is_some_and(|pacer| pacer.is_holding())
    }

    /// Holds nothing back any more.
    pub(super) fn stop_pacing(&self) {
        if let Some(pacer) = &self.pacer {
            pacer.stop();
        }
    }

    /// Watches what enters the filter at `pad`: whether its frames are interlaced.
    pub(super) fn watch_decoded(&self, pad: &gst::Pad) {
        let this = self.clone();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            this.guarded(|| {
                if let Some(gst::EventView::Caps(caps)) = info.event().map(|e| e.view())
                    && let Ok(video) = gstreamer_video::VideoInfo::from_caps(caps.caps())
                {
                    this.lock().interlaced = video.is_interlaced();
                }
            })
        });
    }

    /// Whether the encoded stream states its colours.
    pub(super) fn states_colours(&self) -> bool {
        self.lock().tagged
    }

    /// Caps of the encoded stream.
    pub(super) fn codec(&self) -> Option<gst::Caps> {
        self.lock().codec.clone()
    }

    /// Encoded frames of a live stream that were never decoded: neither those before the first, nor those that were still
    /// in the decoder when it was cut off.
    pub(super) fn lost_midway(&self) -> u64 {
        let lost = self.lost();
        let inner = self.lock();
        // Parts of one read of a multipart stream have the same time.
        let inside = inner.entered.iter().filter(|frame| !frame.is_lead_in && Some(frame.pts) >= inner.newest).count();
        let inside = u64::try_from(inside).unwrap_or(u64::MAX).saturating_add(inner.untimed);
        lost.saturating_sub(inner.skipped).saturating_sub(inside)
    }

    /// Encoded frames that were never decoded, but for the lead-in.
    pub(super) fn lost(&self) -> u64 {
        let inner = self.lock();
        // Codecs with invisible frames (VP8, VP9, AV1) have more packets than frames by design.
        let one_to_one = inner.codec.as_ref().and_then(|c| c.structure(0)).is_some_and(|s| {
            matches!(s.name().as_str(), "video/x-h264" | "video/x-h265" | "video/mpeg" | "image/jpeg")
        });
        // Two fields, encoded apart, become one frame.
        let fields = inner.interlaced && inner.encoded >= inner.decoded + inner.decoded / 2;
        let expected = if fields { inner.encoded / 2 } else { inner.encoded };
        if one_to_one { expected.saturating_sub(inner.decoded) } else { 0 }
    }
}

/// Whether an edit list hides the encoded frame that enters at `pad`. One of which it hides the beginning is not shown at all, as in
/// ffmpeg: the decoder drops what ends where the shown part begins.
fn hide(pad: &gst::Pad, buffer: &mut gst::Buffer) -> bool {
    let Some(event) = pad.sticky_event::<gst::event::Segment>(0) else { return false };
    let segment = event.segment().downcast_ref::<gst::ClockTime>();
    let Some((pts, start, stop)) = segment.and_then(|s| Some((buffer.pts()?, s.start()?, s.stop()))) else {
        return false;
    };
    let Some(early) = start.checked_sub(pts).filter(|early| *early > ROUNDING) else {
        return stop.is_some_and(|stop| pts >= stop);
    };
    if buffer.duration().is_none_or(|duration| duration > early) {
        buffer.make_mut().set_duration(early);
    }
    true
}

/// Every decoder that `decodebin` plugs goes on after errors, flags what is damaged, and is stamped.
pub(super) fn watch_decoders(pipeline: &gst::Pipeline, probe: &DecoderProbe) {
    let probe = probe.clone();
    pipeline.connect_deep_element_added(move |_, _, element| {
        let decodes =
            |media| element.factory().is_some_and(|factory| factory.has_type(gst::ElementFactoryType::DECODER | media));
        if !decodes(gst::ElementFactoryType::MEDIA_VIDEO) && !decodes(gst::ElementFactoryType::MEDIA_IMAGE) {
            return;
        }
        bear_errors(element);
        // As libav decodes a live stream: threads that share a frame do not delay it, threads that take one each do.
        if probe.live && element.has_property("thread-type") {
            element.set_property_from_str("thread-type", "slice");
        }
        probe.attach(element);
    });
}

/// Has a decoder go on after errors.
pub(super) fn bear_errors(decoder: &gst::Element) {
    if decoder.has_property("max-errors") {
        decoder.set_property("max-errors", -1);
    }
}

/// Answers the decoder's allocation query in the sink's stead: strides and offsets are understood.
pub(super) fn offer_video_meta(pad: &gst::Pad) {
    offer(pad, None);
}

/// The same, and frames are in memory that holds nothing else.
pub(super) fn offer_clean_memory(pad: &gst::Pad) {
    offer(pad, Some(zeroed()));
}

fn offer(pad: &gst::Pad, allocator: Option<&'static gst::Allocator>) {
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH, move |_, info| {
        if let Some(query) = info.query_mut()
            && let gst::QueryViewMut::Allocation(allocation) = query.view_mut()
        {
            allocation.add_allocation_meta::<gstreamer_video::VideoMeta>(None);
            if allocator.is_some() {
                allocation.add_allocation_param(allocator, gst::AllocationParams::default());
            }
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}
