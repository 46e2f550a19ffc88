//! The tracks of a file: one is decoded, audio is passed by in packets, the rest is named in a notice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::decoding::Decoding;
use super::frames;
use super::probe::{DecoderProbe, offer_video_meta};
use super::skip::Skipper;
use crate::stream::{AUDIO_PACKETS, AudioTrack};

/// Compressed bytes that may wait before the decoder, and packets: enough that audio which a container keeps seconds
/// away from its video is reached while the video waits.
const QUEUE_BYTES: u32 = 64 << 20;
const QUEUE_PACKETS: u32 = 512;

const DECODE: &str = include_str!("../../pipelines/decode.toml");

/// An audio track being demuxed, on whatever connection: its clones are the same track.
#[derive(Clone)]
pub(super) struct Side {
    /// Set when its first caps arrive.
    pub format: Arc<OnceLock<gst::Caps>>,
    packets: Arc<Mutex<Option<Receiver<gst::Buffer>>>>,
    sender: Arc<Entrance>,
    /// Time of the newest packet, ns.
    newest_ns: Arc<AtomicU64>,
}

/// Where packets enter a track's channel; taken when nothing more will come, which closes it.
type Entrance = Mutex<Option<Sender<gst::Buffer>>>;

impl Side {
    pub fn new() -> Self {
        let (tx, rx) = bounded(AUDIO_PACKETS);
        Self {
            format: Arc::default(),
            packets: Arc::new(Mutex::new(Some(rx))),
            sender: Arc::new(Mutex::new(Some(tx))),
            newest_ns: Arc::default(),
        }
    }

    pub fn has_format(&self) -> bool {
        self.format.get().is_some()
    }

    /// The track for the sink, once its format is known and it was not taken.
    pub fn take_track(&self) -> Option<AudioTrack> {
        let caps = self.format.get()?.clone();
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(AudioTrack { caps, packets })
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Sends a packet: where the channel is full, one of a recording waits, one of a live stream goes. One that goes back in
    /// time, as after an outage, would break the file.
    fn send(&self, packet: gst::Buffer, live: bool) {
        let Some(tx) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        let gone = if live {
            let ns = packet.pts().map_or(0, gst::ClockTime::nseconds);
            if ns > 0 && self.newest_ns.fetch_max(ns, Ordering::SeqCst) >= ns {
                return;
            }
            matches!(tx.try_send(packet), Err(TrySendError::Disconnected(_)))
        } else {
            tx.send(packet).is_err()
        };
        if gone {
            // Nobody wants the audio: the demuxer goes on for the video.
            self.close();
        }
    }
}

/// Puts every track where it belongs, as the demuxer shows them.
pub(super) struct Tracks {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    shared: Arc<Decoding>,
}

type Linked = Result<(), gst::glib::BoolError>;

impl Tracks {
    pub fn new(pipeline: &gst::Pipeline, shared: &Arc<Decoding>) -> Self {
        Self { pipeline: pipeline.downgrade(), shared: shared.clone() }
    }

    /// Takes in one more track.
    pub fn add(&self, pad: &gst::Pad) {
        let Some(pipeline) = self.pipeline.upgrade() else { return };
        self.shared.tracks.fetch_add(1, Ordering::SeqCst);
        if let Some(name) = demuxers(&pipeline).find_map(|d| d.factory()).map(|f| f.name().to_string()) {
            let _ = self.shared.demuxer.set(name);
        }
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let name = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        let result = if name.starts_with("video/") || name.starts_with("image/") {
            if self.is_chosen(&pipeline, pad) && !self.shared.video_found.swap(true, Ordering::SeqCst) {
                self.decode(&pipeline, pad)
            } else {
                ignore(&pipeline, pad)
            }
        } else if name.starts_with("audio/") && self.shared.wanted.picture.is_none() {
            self.pass_by(&pipeline, pad)
        } else {
            let kind = match name.split('/').next() {
                Some("text" | "subpicture") => "a subtitle track",
                _ if name.starts_with("application/x-subtitle") || name.starts_with("closedcaption") => {
                    "a subtitle track"
                }
                _ => "a data track",
            };
            self.shared.notice(format!("{kind} is not carried over"));
            ignore(&pipeline, pad)
        };
        if let Err(error) = result {
            gst::element_error!(pipeline, gst::CoreError::Failed, ("cannot decode {name}: {error}"));
        }
    }

    /// The track asked for, or the container's default one, or the first.
    fn is_chosen(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> bool {
        let videos = demuxed_videos(pipeline);
        let number = match self.shared.wanted.track {
            Some(number) if number as usize > videos.len().max(1) => {
                let problem = format!("there is no video track {number}; it has {}", videos.len().max(1));
                *self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
                return false;
            }
            Some(number) => number.saturating_sub(1) as usize,
            None => {
                let number = videos.iter().position(|(_, is_default)| *is_default).unwrap_or(0);
                if videos.len() > 1 && !self.shared.video_found.load(Ordering::SeqCst) {
                    let others = format!("it has {} video tracks; this is number {}", videos.len(), number + 1);
                    self.shared.notice(format!("{others}, --track chooses another"));
                }
                number
            }
        };
        // Without a demuxer there is but one track.
        videos.get(number).is_none_or(|(id, _)| pad.stream_id().as_deref() == Some(id))
    }

    fn pass_by(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> Linked {
        let number = self.shared.sides().len();
        let side = self.shared.session().map_or_else(Side::new, |session| session.course.sound(number));
        let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
        let (shared, to_sink, at_end) = (self.shared.clone(), side.clone(), side.clone());
        let (format, owner, recorded) = (side.format.clone(), self.shared.clone(), self.shared.session().is_none());
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_event(move |sink| {
                    if let Ok(object) = sink.pull_object()
                        && let Some(event) = object.downcast_ref::<gst::Event>()
                        && let gst::EventView::Caps(caps) = event.view()
                    {
                        let known = format.get_or_init(|| caps.caps_owned());
                        if let Some(session) = owner.session()
                            && !caps.caps().is_subset(known)
                        {
                            session.sound_changed.store(true, Ordering::SeqCst);
                        }
                    }
                    false
                })
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let live = !shared.waits();
                    if shared.is_stopped() {
                        if !live {
                            to_sink.close();
                        }
                        return Err(gst::FlowError::Eos);
                    }
                    let Some(mut buffer) = sample.buffer_owned() else { return Ok(gst::FlowSuccess::Ok) };
                    shared.packets.fetch_add(1, Ordering::SeqCst);
                    let (pts, dts) =
                        (shared.stream_time(&sample, buffer.pts()), shared.stream_time(&sample, buffer.dts()));
                    let early = pts.is_none() && buffer.pts().is_some();
                    let same =
                        to_sink.format.get().zip(sample.caps()).is_none_or(|(first, caps)| caps.is_subset(first));
                    if early || !same {
                        // Before the stream's own beginning, as in a recording cut out of a broadcast; or in a format
                        // that the container was not told of, as where the file is damaged.
                        return Ok(gst::FlowSuccess::Ok);
                    }
                    let b = buffer.make_mut();
                    b.set_pts(pts);
                    b.set_dts(dts);
                    to_sink.send(buffer, live);
                    Ok(gst::FlowSuccess::Ok)
                })
                .eos(move |_| {
                    // A live stream may come back.
                    if recorded {
                        at_end.close();
                    }
                })
                .build(),
        );
        self.shared.sides().push(side);
        let queue = compressed_queue(&format!("sound{}", self.shared.sides().len()))?;
        pipeline.add_many([&queue, sink.upcast_ref()])?;
        queue.link(&sink)?;
        queue.sync_state_with_parent()?;
        sink.sync_state_with_parent()?;
        link(pad, &queue)
    }

    fn decode(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> Linked {
        let queue = compressed_queue("coded")?;
        let decodebin = gst::ElementFactory::make("decodebin").build()?;
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).build();
        frames::deliver_from(&sink, &self.shared);
        pipeline.add_many([&queue, &decodebin, sink.upcast_ref()])?;
        queue.link(&decodebin)?;
        let (pipeline, probe, end) = (pipeline.downgrade(), self.shared.probe.clone(), sink.clone());
        let coded = pad.clone();
        if self.shared.session().is_some() {
            let shared = self.shared.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                if let Some((session, running)) = shared.session().zip(running_time(pad, info)) {
                    session.arrives(running);
                }
                gst::PadProbeReturn::Ok
            });
            if let Some(pad) = queue.static_pad("src") {
                skip_late(&pad, &self.shared);
            }
        }
        decodebin.connect_pad_added(move |_, pad| {
            let Some(pipeline) = pipeline.upgrade() else { return };
            // What says how it lies comes before the first packet, so it has passed the coded track's pad by now.
            if let Err(error) = filter(&pipeline, pad, is_turned(&coded), &probe, &end) {
                gst::element_error!(pipeline, gst::CoreError::Failed, ("pipelines/decode.toml: {error}"));
            }
        });
        for element in [sink.upcast_ref::<gst::Element>(), &decodebin, &queue] {
            element.sync_state_with_parent()?;
        }
        link(pad, &queue)
    }
}

/// Lets coded frames go that are too late to be decoded.
fn skip_late(pad: &gst::Pad, shared: &Arc<Decoding>) {
    let Some(session) = shared.session() else { return };
    let skipper = Mutex::new(Skipper::new(session.max_lag));
    let shared = shared.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let late = shared.session().zip(running_time(pad, info)).and_then(|(session, at)| session.lateness(at));
        let Some(late) = late.filter(|_| !shared.waits()) else { return gst::PadProbeReturn::Ok };
        let is_key = info.buffer().is_some_and(|buffer| !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        let outlet = &shared.outlet;
        if skipper.lock().unwrap_or_else(PoisonError::into_inner).passes(late, is_key, outlet.clock.now()) {
            return gst::PadProbeReturn::Ok;
        }
        shared.late.fetch_add(1, Ordering::SeqCst);
        if !outlet.is_waiting() {
            shared.late_unsaid.fetch_add(1, Ordering::SeqCst);
        }
        gst::PadProbeReturn::Drop
    });
}

fn running_time(pad: &gst::Pad, info: &gst::PadProbeInfo) -> Option<gst::ClockTime> {
    let pts = info.buffer()?.pts()?;
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(pts)
}

/// Lets a track run into nothing. Its packets are dropped before the sink, which would else wait for the pictures to begin
/// and the demuxer with it.
pub(super) fn ignore(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Linked {
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, |_, _| gst::PadProbeReturn::Drop);
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()?;
    pipeline.add(&sink)?;
    sink.sync_state_with_parent()?;
    link(pad, &sink)
}

/// Puts the filter of `pipelines/decode.toml` between the decoder's pad and the end.
fn filter(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    turned: bool,
    probe: &DecoderProbe,
    end: &gst_app::AppSink,
) -> Linked {
    let description = description();
    let description = if turned { description.turned } else { description.upright };
    let filter = gst::parse::bin_from_description(&description.replace('\n', " "), true)
        .map_err(|e| gst::glib::bool_error!("{}", e))?;
    if let Some(pad) = filter.static_pad("sink") {
        offer_video_meta(&pad);
        probe.watch_pictures(&pad);
    }
    pipeline.add(&filter)?;
    filter.link(end)?;
    filter.sync_state_with_parent()?;
    link(pad, filter.upcast_ref())
}

/// Whether the container or the picture says that it is to be shown turned or mirrored.
fn is_turned(pad: &gst::Pad) -> bool {
    (0..)
        .map_while(|index| pad.sticky_event::<gst::event::Tag>(index))
        .filter_map(|event| event.tag().get::<gst::tags::ImageOrientation>().map(|o| o.get().to_owned()))
        .last()
        .is_some_and(|orientation| orientation != "rotate-0")
}

fn demuxers(pipeline: &gst::Pipeline) -> impl Iterator<Item = gst::Element> {
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    elements.filter(|e| e.factory().is_some_and(|f| f.has_type(gst::ElementFactoryType::DEMUXER)))
}

/// The demuxer's video tracks in the container's order: the stream's id, and whether it is the default. They are all there
/// before parsebin shows the first one.
fn demuxed_videos(pipeline: &gst::Pipeline) -> Vec<(String, bool)> {
    let mut tracks = Vec::new();
    for pad in demuxers(pipeline).flat_map(|demuxer| demuxer.src_pads()) {
        let is_video = pad.current_caps().is_some_and(|caps| {
            caps.structure(0).is_some_and(|s| s.name().starts_with("video/") || s.name().starts_with("image/"))
        });
        let Some(start) = pad.sticky_event::<gst::event::StreamStart>(0).filter(|_| is_video) else { continue };
        tracks.push((start.stream_id().to_owned(), start.stream_flags().contains(gst::StreamFlags::SELECT)));
    }
    tracks
}

/// Its name is that of the thread it feeds.
fn compressed_queue(name: &str) -> Result<gst::Element, gst::glib::BoolError> {
    gst::ElementFactory::make("queue")
        .name(name)
        .property("max-size-buffers", QUEUE_PACKETS)
        .property("max-size-time", 0u64)
        .property("max-size-bytes", QUEUE_BYTES)
        .build()
}

fn link(pad: &gst::Pad, element: &gst::Element) -> Linked {
    let sink = element.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("no sink pad"))?;
    pad.link(&sink).map(|_| ()).map_err(|e| gst::glib::bool_error!("{:?}", e))
}

/// `pipelines/decode.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    upright: String,
    turned: String,
}

fn description() -> Description {
    toml::from_str(DECODE).expect("pipelines/decode.toml is checked by a test")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_decode_description_parses() {
        let description = super::description();
        assert!(!description.upright.contains("videoflip"));
        assert!(description.turned.contains("videoflip"));
    }
}
