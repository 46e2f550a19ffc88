//! The telemetry that a file carries, read without decoding its video.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::SourceError;
use super::link::{Linked, discard};
use super::mpeg::help_demuxers;
use super::selection::demuxer_of;
use super::telemetry::Carries;
use super::timing::Timing;
use crate::shutdown::Shutdown;
use crate::teardown::tear_down;
use crate::telemetry::packet::{Packet, Reader};

/// Packets on their way.
const PACKETS: usize = 64;
/// How often it is seen whether the file has come to its end.
const LOOK: Duration = Duration::from_millis(20);

/// A packet as the file has it, and of which track.
type Raw = (usize, Carries, Option<gst::ClockTime>, gst::Buffer);

/// Reads every packet of telemetry in the file at `path`, in its order, until `shutdown` is requested. How many tracks may carry telemetry.
///
/// # Errors
/// When the file cannot be read.
pub fn read_telemetry(path: &Path, shutdown: &Shutdown, take: &mut dyn FnMut(Packet)) -> Result<usize, SourceError> {
    let unusable = |problem: String, remedy: &str| SourceError::Unusable {
        input: path.display().to_string(),
        problem,
        remedy: remedy.to_owned(),
    };
    std::fs::File::open(path).map_err(|e| unusable(e.to_string(), "check the path and its permissions"))?;
    let broken = |e: gst::glib::BoolError| unusable(e.to_string(), "run `make setup` to install GStreamer's plugins");
    let pipeline = gst::Pipeline::new();
    let file = gst::ElementFactory::make("filesrc").property("location", path).build().map_err(broken)?;
    let parsebin = gst::ElementFactory::make("parsebin").build().map_err(broken)?;
    pipeline.add_many([&file, &parsebin]).and_then(|()| file.link(&parsebin)).map_err(broken)?;
    help_demuxers(&pipeline, Some(path));
    let (packets, came) = bounded(PACKETS);
    let tracks = Arc::new(AtomicUsize::new(0));
    let (owner, count, timing) = (pipeline.downgrade(), tracks.clone(), Arc::new(Timing::recorded()));
    parsebin.connect_pad_added(move |_, pad| {
        let Some(pipeline) = owner.upgrade() else { return };
        if let Err(error) = attach(&pipeline, pad, &packets, (&count, &timing)) {
            gst::element_error!(pipeline, gst::CoreError::Failed, ("cannot read: {error}"));
        }
    });
    let bus = pipeline.bus().ok_or_else(|| unusable("no bus".into(), "this is a bug"))?;
    let started = pipeline.set_state(gst::State::Playing);
    let mut readers: Vec<Reader> = Vec::new();
    let mut read = |(track, carries, time, buffer): Raw| {
        readers.resize_with(readers.len().max(track + 1), Reader::default);
        packets_of(&mut readers[track], carries, time, &buffer).into_iter().for_each(&mut *take);
    };
    let ended = loop {
        let is_idle = came.recv_timeout(LOOK).map(&mut read).is_err();
        let message = bus.pop_filtered(&[gst::MessageType::Eos, gst::MessageType::Error]);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => {
                break Err(unusable(
                    error.error().message().to_owned(),
                    "check that it plays elsewhere (`ffprobe FILE`)",
                ));
            }
            // What is still on its way came before the end.
            Some(_) => {
                came.try_iter().for_each(&mut read);
                break Ok(());
            }
            None if is_idle && started.is_err() => break Err(unusable("it cannot be read".into(), "check the file")),
            None if shutdown.is_requested() => break Ok(()),
            None => {}
        }
    };
    // Whoever waits to send is let go.
    drop(came);
    tear_down(&pipeline);
    ended.map(|()| tracks.load(Ordering::SeqCst))
}

fn attach(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    packets: &Sender<Raw>,
    (tracks, timing): (&AtomicUsize, &Arc<Timing>),
) -> Linked {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let name = caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default();
    if let Some(carries) = Carries::of(&name) {
        let track = tracks.fetch_add(1, Ordering::SeqCst);
        let (packets, timing, demuxer) = (packets.clone(), timing.clone(), demuxer_of(pipeline));
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let time = segment.zip(buffer.pts());
            let time = time.and_then(|(segment, pts)| timing.track_time(segment.segment(), pts, demuxer.as_deref()));
            // Where nobody takes it any more, the pipeline is being stopped.
            packets.send((track, carries, time, buffer.to_owned())).ok();
            gst::PadProbeReturn::Ok
        });
    }
    discard(pipeline, pad)
}

fn packets_of(
    reader: &mut Reader,
    carries: Carries,
    time: Option<gst::ClockTime>,
    buffer: &gst::Buffer,
) -> Vec<Packet> {
    let Ok(bytes) = buffer.map_readable() else { return Vec::new() };
    let (pts, length) = (time.map(gst::ClockTime::nseconds), buffer.duration().map(gst::ClockTime::nseconds));
    match carries {
        Carries::Klv => reader.klv(&bytes, pts),
        Carries::Text => Reader::cue(&String::from_utf8_lossy(&bytes), pts, length).into_iter().collect(),
        Carries::Gpmf => vec![Reader::gpmf(&bytes, pts, length.unwrap_or(gst::ClockTime::SECOND.nseconds()))],
    }
}
