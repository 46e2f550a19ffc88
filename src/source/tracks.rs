//! The tracks of a source: one is decoded, audio is passed through in packets, the rest is named in a notice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::audio::{Passthrough, Place};
use super::decoding::Decoding;
use super::filter::{direction, filter, orientation};
use super::flv::keep_times;
use super::frames;
use super::link::{Linked, compressed_queue, discard, link};
use super::selection::Choice;
use super::telemetry::Carries;
use super::telemetry_pads::{note_shown, read};
use crate::stream::codec_name;

/// Puts every track where it belongs, as the demuxer shows them.
pub(super) struct Tracks {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    shared: Arc<Decoding>,
    used: Mutex<Vec<Used>>,
}

/// A track that is decoded or passed through.
struct Used {
    is_video: bool,
    /// Where it comes from now.
    from: gst::Pad,
    /// The sink pad of its queue.
    to: gst::Pad,
}

impl Tracks {
    pub fn new(pipeline: &gst::Pipeline, shared: &Arc<Decoding>) -> Self {
        keep_times(pipeline);
        Self { pipeline: pipeline.downgrade(), shared: shared.clone(), used: Mutex::default() }
    }

    /// Takes in one more track, on a streaming thread.
    pub fn add_guarded(&self, pad: &gst::Pad, place: Option<Place>) {
        self.shared.outlet.guard.run("pads", || self.add(pad, place));
    }

    fn add(&self, pad: &gst::Pad, place: Option<Place>) {
        let Some(pipeline) = self.pipeline.upgrade() else { return };
        self.shared.selection.note_track(&pipeline);
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let name = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        let result = if name.starts_with("video/") || name.starts_with("image/") {
            let ended = self.take_ended(true);
            match self.shared.selection.choose(&pipeline, pad, ended.is_some()) {
                Choice::Decode(notice) => {
                    if let Some(notice) = notice {
                        self.shared.notice(notice);
                    }
                    self.decode(&pipeline, pad)
                }
                Choice::GoOn => ended.map_or(Ok(()), |ended| self.go_on(ended, pad)),
                Choice::Discard => {
                    self.used().extend(ended);
                    discard(&pipeline, pad)
                }
            }
        } else if name.starts_with("audio/") && self.shared.wanted.image.is_none() {
            match self.take_ended(false) {
                Some(ended) => self.go_on(ended, pad),
                None => self.pass_through(&pipeline, pad, place),
            }
        } else {
            self.shared.notice(format!("{} is not carried over", kind(&name)));
            match Carries::of(&name).filter(|_| self.shared.wanted.image.is_none()) {
                Some(carries) => read(&pipeline, pad, carries, &self.shared),
                None => discard(&pipeline, pad),
            }
        };
        if let Err(error) = result {
            gst::element_error!(pipeline, gst::CoreError::Failed, ("cannot decode {name}: {error}"));
        }
        self.shared.wake();
    }

    fn used(&self) -> MutexGuard<'_, Vec<Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A track of which nothing more comes from where it came so far.
    fn take_ended(&self, is_video: bool) -> Option<Used> {
        let mut used = self.used();
        let ended = used.iter().position(|used| used.is_video == is_video && is_cut_off(&used.from))?;
        Some(used.remove(ended))
    }

    /// Has a track come from `pad` from now on.
    fn go_on(&self, mut track: Used, pad: &gst::Pad) -> Linked {
        track.from.unlink(&track.to)?;
        // It is the same stream: told of another one, the decoder lets go of what the last frame, still in the parser, is made
        // from.
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| match info.event().map(|event| event.type_()) {
            Some(gst::EventType::StreamStart) => gst::PadProbeReturn::Handled,
            _ => gst::PadProbeReturn::Ok,
        });
        if track.is_video && self.shared.connection().is_some() {
            note_arrivals(pad, &self.shared);
        }
        pad.link(&track.to).map_err(|e| gst::glib::bool_error!("{:?}", e))?;
        track.from = pad.clone();
        self.used().push(track);
        Ok(())
    }

    /// Links a track to its queue.
    fn link(&self, is_video: bool, pad: &gst::Pad, queue: &gst::Element) -> Linked {
        link(pad, queue)?;
        let to = pad.peer().ok_or_else(|| gst::glib::bool_error!("it is not linked"))?;
        self.used().push(Used { is_video, from: pad.clone(), to });
        Ok(())
    }

    fn pass_through(&self, pipeline: &gst::Pipeline, pad: &gst::Pad, place: Option<Place>) -> Linked {
        let (track, number) = self.shared.audio.add(place);
        let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
        sink.set_callbacks(audio_callbacks(&self.shared, &track, number));
        let queue = compressed_queue(&format!("demuxed-audio{number}"))?;
        pipeline.add_many([&queue, sink.upcast_ref()])?;
        queue.link(&sink)?;
        queue.sync_state_with_parent()?;
        sink.sync_state_with_parent()?;
        self.link(false, pad, &queue)
    }

    fn decode(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> Linked {
        let queue = compressed_queue("demuxed")?;
        let decodebin = gst::ElementFactory::make("decodebin").build()?;
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).build();
        frames::deliver_from(&sink, &self.shared);
        pipeline.add_many([&queue, &decodebin, sink.upcast_ref()])?;
        queue.link(&decodebin)?;
        note_first(pad, &self.shared);
        note_shown(pad, &self.shared);
        if self.shared.connection().is_some() {
            note_arrivals(pad, &self.shared);
            if let Some(pad) = queue.static_pad("src") {
                drop_late(&pad, &self.shared);
            }
        }
        let (pipeline, probe, end) = (pipeline.downgrade(), self.shared.probe.clone(), sink.clone());
        let (encoded, guard) = (pad.clone(), self.shared.outlet.guard.clone());
        let exif = self.shared.wanted.orientation;
        decodebin.connect_pad_added(move |_, pad| {
            let Some(pipeline) = pipeline.upgrade() else { return };
            // What says how it lies comes before the first packet, so it has passed the encoded track's pad by now.
            let filtered = guard.run("pads", || {
                filter(&pipeline, pad, direction(exif, orientation(&encoded).as_deref()), &probe, &end)
            });
            if let Some(Err(error)) = filtered {
                gst::element_error!(pipeline, gst::CoreError::Failed, ("pipelines/decode.toml: {error}"));
            }
        });
        for element in [sink.upcast_ref::<gst::Element>(), &decodebin, &queue] {
            element.sync_state_with_parent()?;
        }
        self.link(true, pad, &queue)
    }
}

/// Whether the demuxer has taken away the pad that a pad of parsebin shows, as it does where the packets of a program go on
/// under other numbers: new pads follow.
fn is_cut_off(pad: &gst::Pad) -> bool {
    let mut shown = pad.downcast_ref::<gst::GhostPad>().and_then(gst::GhostPad::target);
    while let Some(element) = shown.and_then(|pad| pad.parent_element()) {
        let is_demuxer = element.factory().is_some_and(|f| f.has_type(gst::ElementFactoryType::DEMUXER));
        let Some(sink) = element.static_pad("sink").filter(|_| !is_demuxer) else { return false };
        shown = sink.peer();
        if shown.is_none() {
            return true;
        }
    }
    false
}

/// What a track is that is neither video nor audio.
fn kind(media_type: &str) -> &'static str {
    let is_subtitle = media_type.starts_with("text/")
        || media_type.starts_with("subpicture/")
        || media_type.starts_with("application/x-subtitle")
        || media_type.starts_with("closedcaption");
    if is_subtitle { "a subtitle track" } else { "a data track" }
}

/// Has the packets of an audio track go into its channel.
fn audio_callbacks(shared: &Arc<Decoding>, track: &Passthrough, number: usize) -> gst_app::AppSinkCallbacks {
    let (owner, formats) = (shared.clone(), track.clone());
    let (shared, packets) = (shared.clone(), track.clone());
    let (at_end, recorded) = (track.clone(), shared.connection().is_none());
    gst_app::AppSinkCallbacks::builder()
        .new_event(move |sink| {
            if let Ok(object) = sink.pull_object()
                && let Some(event) = object.downcast_ref::<gst::Event>()
                && let gst::EventView::Caps(caps) = event.view()
            {
                if !formats.set_format(caps.caps()) && owner.connection().is_some() {
                    owner.audio.note_change();
                    // Before the first frame, another connection takes it.
                    if owner.frames() > 0 && formats.end_changed() {
                        let codec = codec_name(&caps.caps_owned());
                        owner.notice(format!(
                            "audio track {number} changes to {codec}, of another format: it ends there"
                        ));
                    }
                }
                owner.wake();
            }
            false
        })
        .new_sample(move |sink| {
            let passed = shared.outlet.guard.run("audio", || pass(sink, &shared, &packets));
            passed.unwrap_or(Err(gst::FlowError::Error))
        })
        .eos(move |_| {
            // A live stream may be re-established.
            if recorded {
                at_end.close();
            }
        })
        .build()
}

fn pass(sink: &gst_app::AppSink, shared: &Decoding, track: &Passthrough) -> Result<gst::FlowSuccess, gst::FlowError> {
    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
    if let Some(connection) = shared.connection() {
        connection.wait_until_begun(&shared.stop);
    }
    let live = !shared.is_lossless();
    if shared.is_stopped() {
        if !live {
            track.close();
        }
        return Err(gst::FlowError::Eos);
    }
    let Some(mut buffer) = sample.buffer_owned() else { return Ok(gst::FlowSuccess::Ok) };
    shared.note_audio();
    let (pts, dts) = (shared.stream_time(&sample, buffer.pts()), shared.stream_time(&sample, buffer.dts()));
    let early = pts.is_none() && buffer.pts().is_some();
    let counters = track.counters();
    counters.received();
    if early {
        // Before the stream's own beginning, as in a recording cut out of a broadcast.
        counters.early();
        return Ok(gst::FlowSuccess::Ok);
    }
    if !track.takes(sample.caps()) {
        // In a format that the container was not told of, as where the file is damaged.
        counters.dropped();
        return Ok(gst::FlowSuccess::Ok);
    }
    let b = buffer.make_mut();
    b.set_pts(pts);
    b.set_dts(dts);
    track.send(buffer, live);
    // However long the channel was full, the track goes on now.
    shared.note_audio();
    Ok(gst::FlowSuccess::Ok)
}

/// Notes the first encoded frames, by which the stated frame rate is judged.
fn note_first(pad: &gst::Pad, shared: &Arc<Decoding>) {
    let shared = shared.clone();
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let wants_more = shared.outlet.guard.run("rate", || match (info.buffer(), info.event()) {
            (Some(frame), _) => shared.rate.note(frame),
            (None, Some(event)) if event.type_() == gst::EventType::Eos => shared.rate.end(),
            _ => true,
        });
        if wants_more == Some(false) {
            shared.wake();
        }
        match wants_more {
            Some(true) => gst::PadProbeReturn::Ok,
            Some(false) => gst::PadProbeReturn::Remove,
            None => gst::PadProbeReturn::Handled,
        }
    });
}

/// Tells the connection's clock when encoded frames arrive.
fn note_arrivals(pad: &gst::Pad, shared: &Arc<Decoding>) {
    let shared = shared.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let noted = shared.outlet.guard.run("arrivals", || {
            if let Some((connection, running)) = shared.connection().zip(running_time(pad, info)) {
                connection.arrives(running);
            }
        });
        noted.map_or(gst::PadProbeReturn::Handled, |()| gst::PadProbeReturn::Ok)
    });
}

/// Drops encoded frames that are too late to be decoded.
fn drop_late(pad: &gst::Pad, shared: &Arc<Decoding>) {
    let shared = shared.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let is_key = info.buffer().is_some_and(|buffer| !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        let late = || running_time(pad, info).is_some_and(|running| !shared.admits(running, is_key));
        match shared.outlet.guard.run("late", late) {
            Some(false) => gst::PadProbeReturn::Ok,
            Some(true) | None => gst::PadProbeReturn::Handled,
        }
    });
}

fn running_time(pad: &gst::Pad, info: &gst::PadProbeInfo) -> Option<gst::ClockTime> {
    let pts = info.buffer()?.pts()?;
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(pts)
}
