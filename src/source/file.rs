//! A recorded file or a picture: `filesrc ! parsebin`, the chosen video track decoded, audio passed by untouched.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::probe::{DecoderProbe, offer_video_meta};
use super::{Outlet, Picture, SIDE_PACKETS, SideKind, SideTrack, SourceError, SourceEvent, StreamInfo};
use crate::clock::StreamTime;
use crate::frame::{Frame, Stamps};
use crate::geometry::Size;

/// Compressed bytes that may wait before the decoder, and packets.
const QUEUE_BYTES: u32 = 32 << 20;

/// How long further tracks may take to show up after the first picture: not every parser says that it knows them all.
const TRACKS_DEADLINE: Duration = Duration::from_millis(500);

const DECODE: &str = include_str!("../../pipelines/decode.toml");

/// A file being decoded on `GStreamer`'s threads.
pub struct FileSource {
    pipeline: gst::Pipeline,
    input: String,
    shared: Arc<Shared>,
    sides: Vec<SideTrack>,
    info: StreamInfo,
}

struct Shared {
    probe: DecoderProbe,
    sides: Mutex<Vec<SideTrack>>,
    notices: Mutex<Vec<String>>,
    video_found: AtomicBool,
    all_tracks: AtomicBool,
    frames: AtomicU64,
    stopped: AtomicBool,
    first: Mutex<Option<FirstPicture>>,
    limit: u64,
}

#[derive(Clone)]
struct FirstPicture {
    video: gst_video::VideoInfo,
}

impl FileSource {
    /// Opens `path`, starts decoding into `outlet`, and returns when the first picture is there or it is clear that none
    /// will come. `track` chooses a video track, from 1; `file` is written on every frame of a picture.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] when no picture can be decoded from the file.
    pub fn open(
        path: &Path,
        track: Option<u32>,
        file: Option<Arc<str>>,
        outlet: &Outlet,
        first_index: u64,
        limit: Option<u64>,
    ) -> Result<Self, SourceError> {
        let input = path.display().to_string();
        let unusable = |problem: String, remedy: &str| SourceError::Unusable {
            input: input.clone(),
            problem,
            remedy: remedy.to_owned(),
        };
        let metadata =
            std::fs::metadata(path).map_err(|e| unusable(e.to_string(), "check the path and its permissions"))?;
        if metadata.len() == 0 {
            return Err(unusable("the file is empty".into(), "record or copy it again"));
        }
        let broken =
            |e: &dyn std::fmt::Display| unusable(e.to_string(), "run `make setup` to install GStreamer's plugins");

        let pipeline = gst::Pipeline::new();
        let filesrc =
            gst::ElementFactory::make("filesrc").property("location", path).build().map_err(|e| broken(&e))?;
        let parsebin = gst::ElementFactory::make("parsebin").build().map_err(|e| broken(&e))?;
        pipeline.add_many([&filesrc, &parsebin]).and_then(|()| filesrc.link(&parsebin)).map_err(|e| broken(&e))?;

        let shared = Arc::new(Shared {
            probe: DecoderProbe::new(outlet.clock.clone()),
            sides: Mutex::default(),
            notices: Mutex::default(),
            video_found: AtomicBool::new(false),
            all_tracks: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            first: Mutex::new(None),
            limit: limit.unwrap_or(u64::MAX),
        });
        let (opened_tx, opened_rx) = bounded::<()>(1);

        watch_decoders(&pipeline, &shared);
        let ctx = PadContext {
            pipeline: pipeline.downgrade(),
            shared: shared.clone(),
            outlet: outlet.clone(),
            track,
            file,
            opened: opened_tx,
            first_index,
        };
        parsebin.connect_pad_added(move |_, pad| ctx.on_pad(pad));
        let known = shared.clone();
        parsebin.connect_no_more_pads(move |_| known.all_tracks.store(true, Ordering::SeqCst));

        let source = Self {
            pipeline,
            input: input.clone(),
            shared: shared.clone(),
            sides: Vec::new(),
            info: StreamInfo {
                name: path.file_name().map_or_else(|| input.clone(), |n| n.to_string_lossy().into_owned()),
                size: Size { width: 0, height: 0 },
                frame_rate: None,
                duration: None,
                codec: String::new(),
                audio_codecs: Vec::new(),
                notices: Vec::new(),
            },
        };
        source.start(&opened_rx)
    }

    fn start(mut self, opened: &Receiver<()>) -> Result<Self, SourceError> {
        if self.pipeline.set_state(gst::State::Playing).is_err() {
            let problem = self.bus_error().unwrap_or_else(|| "cannot be read".into());
            return Err(self.unusable(problem));
        }
        let Some(bus) = self.pipeline.bus() else { return Err(self.unusable("no message bus".into())) };
        let mut picture: Option<Instant> = None;
        loop {
            if opened.try_recv().is_ok() {
                picture = Some(Instant::now());
            }
            // The tracks come one by one: audio may be found after the first picture.
            let all = self.shared.all_tracks.load(Ordering::SeqCst);
            if picture.is_some_and(|since| all || since.elapsed() > TRACKS_DEADLINE) {
                break;
            }
            let Some(message) = bus.timed_pop_filtered(
                gst::ClockTime::from_mseconds(5),
                &[gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::Element],
            ) else {
                continue;
            };
            match message.view() {
                gst::MessageView::Error(error) => {
                    let problem = describe_error(error, self.missing_plugin(&bus));
                    return Err(self.unusable(problem));
                }
                gst::MessageView::Eos(_) => {
                    if picture.is_some() || opened.try_recv().is_ok() {
                        break;
                    }
                    return Err(self.unusable("it holds no picture that could be decoded".into()));
                }
                gst::MessageView::Element(element) => {
                    if let Some(structure) = element.structure().filter(|s| s.name() == "missing-plugin") {
                        let name = structure.get::<String>("name").unwrap_or_else(|_| "a decoder".into());
                        return Err(self.unusable(format!("GStreamer lacks a plugin: {name}")));
                    }
                }
                _ => {}
            }
        }
        let first = self.shared.first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(first) = first {
            let fps = first.video.fps();
            self.info.size = Size { width: first.video.width(), height: first.video.height() };
            self.info.frame_rate = (fps.numer() > 0).then(|| (fps.numer(), fps.denom()));
        }
        self.info.duration = self.pipeline.query_duration::<gst::ClockTime>().map(Duration::from);
        self.info.codec = self.shared.probe.codec().map_or_else(|| "raw".into(), |caps| codec_name(&caps));
        self.sides = std::mem::take(&mut *self.shared.sides.lock().unwrap_or_else(PoisonError::into_inner));
        self.info.audio_codecs = self.sides.iter().map(|s| codec_name(&s.caps)).collect();
        self.info.notices = std::mem::take(&mut *self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(self)
    }

    /// What was learnt on opening.
    #[must_use]
    pub fn info(&self) -> &StreamInfo {
        &self.info
    }

    /// The audio tracks, to be passed to the sink. Can be taken once.
    pub fn take_sides(&mut self) -> Vec<SideTrack> {
        std::mem::take(&mut self.sides)
    }

    /// Asks the source to end: frames still in the channel stay there, nothing more is added.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
    }

    /// Waits for the end of the file. Returns the coded frames that never became a picture.
    ///
    /// # Errors
    /// [`SourceError::Broken`] when decoding could not go on.
    pub fn wait(&self, interrupted: &dyn Fn() -> bool) -> Result<u64, SourceError> {
        let Some(bus) = self.pipeline.bus() else { return Ok(0) };
        loop {
            if interrupted() || self.shared.stopped.load(Ordering::SeqCst) {
                self.stop();
                return Ok(0);
            }
            let message = bus.timed_pop_filtered(
                gst::ClockTime::from_mseconds(100),
                &[gst::MessageType::Error, gst::MessageType::Eos],
            );
            match message.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Eos(_)) => return Ok(self.shared.probe.lost()),
                Some(gst::MessageView::Error(error)) => {
                    return Err(SourceError::Broken {
                        input: self.input.clone(),
                        frames: self.shared.frames.load(Ordering::SeqCst),
                        problem: describe_error(error, None),
                    });
                }
                _ => {}
            }
        }
    }

    fn unusable(&self, problem: String) -> SourceError {
        let has_sides = !self.shared.sides.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let no_video = !self.shared.video_found.load(Ordering::SeqCst);
        let (problem, remedy) = if has_sides && no_video {
            ("it has audio but no video".to_owned(), "give a file with a video track")
        } else if problem.contains("lacks a plugin") || problem.contains("missing a plug-in") {
            (problem, "install gstreamer1.0-libav, gstreamer1.0-plugins-bad and gstreamer1.0-plugins-ugly")
        } else {
            (problem, "check that it plays (`ffprobe FILE`); a recording cut short may need repair")
        };
        SourceError::Unusable { input: self.input.clone(), problem, remedy: remedy.to_owned() }
    }

    fn bus_error(&self) -> Option<String> {
        let bus = self.pipeline.bus()?;
        let message = bus.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(describe_error(error, None)),
            _ => None,
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the source")]
    fn missing_plugin(&self, bus: &gst::Bus) -> Option<String> {
        let message = bus.pop_filtered(&[gst::MessageType::Element])?;
        let structure = message.structure()?;
        (structure.name() == "missing-plugin").then(|| structure.get::<String>("name").ok()).flatten()
    }
}

impl Drop for FileSource {
    fn drop(&mut self) {
        self.stop();
        // Going to Null joins the streaming threads; whoever holds the channel must be draining it or have dropped it.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn describe_error(error: &gst::message::Error, missing: Option<String>) -> String {
    if let Some(name) = missing {
        return format!("GStreamer lacks a plugin: {name}");
    }
    error.error().message().to_owned()
}

/// The codec for people: `h264`, `aac`, …
fn codec_name(caps: &gst::CapsRef) -> String {
    let Some(structure) = caps.structure(0) else { return "unknown".into() };
    let version = structure.get::<i32>("mpegversion").ok();
    match (structure.name().as_str(), version) {
        ("audio/mpeg", Some(1)) => "mp3".into(),
        ("audio/mpeg", _) => "aac".into(),
        ("audio/x-raw", _) => "pcm".into(),
        ("video/mpeg", Some(4)) => "mpeg4".into(),
        ("video/mpeg", _) => "mpeg2".into(),
        ("image/jpeg", _) => "jpeg".into(),
        (name, _) => name.rsplit('/').next().unwrap_or(name).trim_start_matches("x-").into(),
    }
}

/// Every decoder that `decodebin` plugs: goes on after errors, flags what is damaged, is stamped.
fn watch_decoders(pipeline: &gst::Pipeline, shared: &Arc<Shared>) {
    let probe = shared.probe.clone();
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory() else { return };
        if !factory.has_type(gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO)
            && !factory.has_type(gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_IMAGE)
        {
            return;
        }
        if element.has_property("max-errors") {
            element.set_property("max-errors", -1);
        }
        probe.attach(element);
    });
}

struct PadContext {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    shared: Arc<Shared>,
    outlet: Outlet,
    track: Option<u32>,
    file: Option<Arc<str>>,
    opened: Sender<()>,
    first_index: u64,
}

impl PadContext {
    fn on_pad(&self, pad: &gst::Pad) {
        let Some(pipeline) = self.pipeline.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let name = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        let result = if name.starts_with("video/") || name.starts_with("image/") {
            if self.is_chosen(pad) && !self.shared.video_found.swap(true, Ordering::SeqCst) {
                self.add_video(&pipeline, pad)
            } else {
                self.ignore(&pipeline, pad, None)
            }
        } else if name.starts_with("audio/") {
            self.add_side(&pipeline, pad, caps)
        } else {
            self.ignore(&pipeline, pad, Some(format!("a track of {name} is not carried over")))
        };
        if let Err(error) = result {
            gst::element_error!(pipeline, gst::CoreError::Failed, ("cannot decode {name}: {error}"));
        }
    }

    /// The track asked for, or the container's default one, or the first.
    fn is_chosen(&self, pad: &gst::Pad) -> bool {
        let collection = pad.sticky_event::<gst::event::StreamCollection>(0).map(|e| e.stream_collection());
        let (Some(collection), Some(own)) = (collection, pad.stream_id()) else { return true };
        let videos: Vec<_> = collection.iter().filter(|s| s.stream_type().contains(gst::StreamType::VIDEO)).collect();
        let chosen = match self.track {
            Some(number) => videos.get(number.saturating_sub(1) as usize),
            None => videos.iter().find(|s| s.stream_flags().contains(gst::StreamFlags::SELECT)).or(videos.first()),
        };
        chosen.is_some_and(|s| s.stream_id().is_some_and(|id| id == own))
    }

    fn ignore(
        &self,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
        notice: Option<String>,
    ) -> Result<(), gst::glib::BoolError> {
        if let Some(notice) = notice {
            self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
        }
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()?;
        pipeline.add(&sink)?;
        sink.sync_state_with_parent()?;
        link(pad, &sink)
    }

    fn add_side(&self, pipeline: &gst::Pipeline, pad: &gst::Pad, caps: gst::Caps) -> Result<(), gst::glib::BoolError> {
        let (tx, rx) = bounded(SIDE_PACKETS);
        let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
        let sender = Mutex::new(Some(tx));
        let closer = Arc::new(sender);
        let on_end = closer.clone();
        let shared = self.shared.clone();
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if shared.stopped.load(Ordering::SeqCst) {
                        closer.lock().unwrap_or_else(PoisonError::into_inner).take();
                        return Err(gst::FlowError::Eos);
                    }
                    let Some(mut buffer) = sample.buffer_owned() else { return Ok(gst::FlowSuccess::Ok) };
                    let time = |t: Option<gst::ClockTime>| {
                        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
                        segment.to_running_time(t?)
                    };
                    let (pts, dts) = (time(buffer.pts()), time(buffer.dts()));
                    {
                        let b = buffer.make_mut();
                        b.set_pts(pts);
                        b.set_dts(dts);
                    }
                    let guard = closer.lock().unwrap_or_else(PoisonError::into_inner);
                    match guard.as_ref() {
                        Some(tx) if tx.send(buffer).is_ok() => Ok(gst::FlowSuccess::Ok),
                        // Nobody wants the audio: let the demuxer go on for the video.
                        _ => Ok(gst::FlowSuccess::Ok),
                    }
                })
                .eos(move |_| {
                    on_end.lock().unwrap_or_else(PoisonError::into_inner).take();
                })
                .build(),
        );
        let queue = gst::ElementFactory::make("queue")
            .property("max-size-buffers", 0u32)
            .property("max-size-time", 0u64)
            .property("max-size-bytes", QUEUE_BYTES)
            .build()?;
        pipeline.add_many([&queue, sink.upcast_ref()])?;
        queue.link(&sink)?;
        queue.sync_state_with_parent()?;
        sink.sync_state_with_parent()?;
        let side = SideTrack { kind: SideKind::Audio, caps, packets: rx };
        self.shared.sides.lock().unwrap_or_else(PoisonError::into_inner).push(side);
        link(pad, &queue)
    }

    fn add_video(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<(), gst::glib::BoolError> {
        let queue = gst::ElementFactory::make("queue")
            .property("max-size-buffers", 64u32)
            .property("max-size-time", 0u64)
            .property("max-size-bytes", QUEUE_BYTES)
            .build()?;
        let decodebin = gst::ElementFactory::make("decodebin").build()?;
        let description = crate::source::file::filter_description();
        let filter = gst::parse::bin_from_description(&description, true)
            .map_err(|e| gst::glib::bool_error!("pipelines/decode.toml: {}", e))?;
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).build();
        self.install_frame_callback(&sink);
        if let Some(pad) = filter.static_pad("sink") {
            offer_video_meta(&pad);
        }
        pipeline.add_many([&queue, &decodebin, filter.upcast_ref(), sink.upcast_ref()])?;
        queue.link(&decodebin)?;
        filter.link(&sink)?;
        let entry = filter.clone();
        decodebin.connect_pad_added(move |_, pad| {
            let _ = link(pad, entry.upcast_ref());
        });
        for element in [sink.upcast_ref::<gst::Element>(), filter.upcast_ref(), &decodebin, &queue] {
            element.sync_state_with_parent()?;
        }
        link(pad, &queue)
    }

    fn install_frame_callback(&self, sink: &gst_app::AppSink) {
        let shared = self.shared.clone();
        let outlet = self.outlet.clone();
        let opened = self.opened.clone();
        let file = self.file.clone();
        let first_index = self.first_index;
        let mut index = first_index;
        let mut last_pts = gst::ClockTime::ZERO;
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if shared.stopped.load(Ordering::SeqCst) {
                        return Err(gst::FlowError::Eos);
                    }
                    if index - first_index >= shared.limit {
                        shared.stopped.store(true, Ordering::SeqCst);
                        return Err(gst::FlowError::Eos);
                    }
                    let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps()) else {
                        return Ok(gst::FlowSuccess::Ok);
                    };
                    let video = gst_video::VideoInfo::from_caps(caps).map_err(|_| gst::FlowError::NotNegotiated)?;
                    let (decode_in, decoded) =
                        buffer.pts().map_or_else(|| (None, outlet.clock.now()), |pts| shared.probe.take(pts));
                    let running = sample
                        .segment()
                        .and_then(|s| s.downcast_ref::<gst::ClockTime>())
                        .zip(buffer.pts())
                        .and_then(|(segment, pts)| segment.to_running_time(pts));
                    let pts = running.unwrap_or(last_pts);
                    last_pts = pts + buffer.duration().unwrap_or(gst::ClockTime::from_mseconds(40));
                    let number = index;
                    index += 1;
                    shared.frames.store(index, Ordering::SeqCst);
                    let corrupt = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
                    let duration = buffer.duration().map(Duration::from);
                    let mut first = shared.first.lock().unwrap_or_else(PoisonError::into_inner);
                    let is_first = first.is_none();
                    if is_first {
                        *first = Some(FirstPicture { video: video.clone() });
                    }
                    drop(first);
                    let picture =
                        Picture::map(buffer, &video, shared.probe.tagged()).ok_or(gst::FlowError::NotSupported)?;
                    if is_first {
                        let _ = opened.try_send(());
                    }
                    let event = if corrupt {
                        SourceEvent::Corrupt(outlet.stream, number)
                    } else {
                        SourceEvent::Frame(Box::new(Frame {
                            stream: outlet.stream,
                            index: number,
                            pts: StreamTime { ns: pts.nseconds() },
                            duration,
                            picture,
                            file: file.clone(),
                            stamps: Stamps { decode_in, decoded, ..Stamps::default() },
                            detections: Vec::new(),
                            letterbox: None,
                        }))
                    };
                    outlet.events.send(event).map_err(|_| gst::FlowError::Eos)?;
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
    }
}

fn link(pad: &gst::Pad, element: &gst::Element) -> Result<(), gst::glib::BoolError> {
    let sink = element.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("no sink pad"))?;
    pad.link(&sink).map(|_| ()).map_err(|e| gst::glib::bool_error!("{:?}", e))
}

/// The description in `pipelines/decode.toml`.
fn filter_description() -> String {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(rename = "kind")]
        _kind: String,
        description: String,
    }
    let file: File = toml::from_str(DECODE).expect("pipelines/decode.toml is checked by a test");
    file.description.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_decode_description_parses() {
        assert!(super::filter_description().contains("videoconvert"));
    }
}
