//! What the streaming threads of a source and its owner share while it is decoded, whatever it is read from.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel::Receiver;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::course::Session;
use super::probe::DecoderProbe;
use super::tracks::Side;
use crate::geometry::Size;
use crate::shutdown::Shutdown;
use crate::source::{Outlet, SourceEvent};
use crate::stream::{StreamInfo, codec_name};

/// Name of the message with which the frame callback says that it has delivered enough.
const DELIVERED: &str = "streamdet-delivered";

/// What of a source is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Video track, from 1; `None`: the container's default one.
    pub track: Option<u32>,
    /// Frames to deliver, at most.
    pub limit: Option<u64>,
    /// For a picture: its path, written on its frame, and its number in its stream.
    pub picture: Option<(Arc<str>, u64)>,
    /// Frames enter the decoder when they are due, as from a live source.
    pub real_time: bool,
    /// Added to every frame's time in the decoder, to see that the figures show it.
    pub delay: Duration,
}

/// How a buffer's time becomes the stream's.
pub(super) enum Timing {
    /// By its segment; or by where time zero lies in the buffers' own times, where their segments do not say it reliably.
    Recorded(OnceLock<Option<gst::ClockTime>>),
    /// By the moment at which the pipeline's clock showed it.
    Live(Session),
}

/// Shared by a source's threads.
pub(super) struct Decoding {
    pub probe: DecoderProbe,
    pub outlet: Outlet,
    pub wanted: Wanted,
    pub sides: Mutex<Vec<Side>>,
    pub notices: Mutex<Vec<String>>,
    /// The demuxer's factory.
    pub demuxer: OnceLock<String>,
    /// None of it may be lost: it waits for us.
    pub waits: AtomicBool,
    /// Tracks shown so far.
    pub tracks: AtomicU64,
    /// A track was chosen to be decoded.
    pub video_found: AtomicBool,
    /// Why the chosen track cannot be had.
    pub refused: Mutex<Option<String>>,
    /// Frames that left the decoder.
    pub frames: AtomicU64,
    /// Audio packets passed by.
    pub packets: AtomicU64,
    /// Coded frames that were not decoded, since they were late.
    pub late: AtomicU64,
    /// Those of them that nobody downstream has heard of.
    pub late_unsaid: AtomicU64,
    /// Nothing more is decoded.
    pub stop: Shutdown,
    pub timing: Timing,
    /// The first picture's description.
    pub first: OnceLock<gst_video::VideoInfo>,
    /// Closed until the opening is known downstream: the first picture waits at it.
    pub gate: Receiver<()>,
}

impl Decoding {
    pub fn new(outlet: &Outlet, wanted: Wanted, timing: Timing, probe: DecoderProbe, gate: Receiver<()>) -> Self {
        Self {
            probe,
            outlet: outlet.clone(),
            wanted,
            sides: Mutex::default(),
            notices: Mutex::default(),
            demuxer: OnceLock::new(),
            waits: AtomicBool::new(matches!(timing, Timing::Recorded(_))),
            tracks: AtomicU64::new(0),
            video_found: AtomicBool::new(false),
            refused: Mutex::default(),
            frames: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            late: AtomicU64::new(0),
            late_unsaid: AtomicU64::new(0),
            stop: Shutdown::new(),
            timing,
            first: OnceLock::new(),
            gate,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.is_requested()
    }

    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::SeqCst)
    }

    /// Whether it may stand still: not while it comes in its own time, as a live source does.
    pub fn can_pause(&self) -> bool {
        !self.wanted.real_time && self.waits()
    }

    /// Nothing more is wanted, and nothing is held back.
    pub fn stop(&self) {
        self.stop.request();
        self.probe.stop_pacing();
    }

    /// Says so to whoever waits at the bus: all that was asked for is delivered.
    pub fn delivered(&self, element: &gst::Element) {
        self.stop.request();
        let message = gst::message::Application::builder(gst::Structure::new_empty(DELIVERED)).src(element).build();
        let _ = element.post_message(message);
    }

    /// The time of a buffer of `sample` in the stream, the same zero for all tracks; `None` before it.
    pub fn stream_time(&self, sample: &gst::SampleRef, time: Option<gst::ClockTime>) -> Option<gst::ClockTime> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let time = time?;
        match &self.timing {
            Timing::Recorded(origin) => {
                match origin.get_or_init(|| self.is_matroska().then(|| matroska_origin(segment))) {
                    Some(origin) => time.checked_sub(*origin),
                    None => segment.to_running_time(time),
                }
            }
            Timing::Live(session) => session.stream_time(segment.to_running_time(time)?),
        }
    }

    /// The connection, where the source is live.
    pub fn session(&self) -> Option<&Session> {
        match &self.timing {
            Timing::Live(session) => Some(session),
            Timing::Recorded(_) => None,
        }
    }

    fn is_matroska(&self) -> bool {
        self.demuxer.get().is_some_and(|name| name == "matroskademux")
    }

    pub fn sides(&self) -> MutexGuard<'_, Vec<Side>> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn notice(&self, text: String) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    pub fn refusal(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there are audio tracks, but none to be decoded.
    pub fn is_audio_only(&self) -> bool {
        !self.sides().is_empty() && !self.video_found.load(Ordering::SeqCst)
    }

    /// Whether the format of every audio track is known.
    pub fn sides_are_known(&self) -> bool {
        self.sides().iter().all(Side::has_format)
    }

    /// What is known of the stream called `name`, once its first picture is there; not its length.
    pub fn describe(&self, name: String) -> StreamInfo {
        let mut info = StreamInfo {
            name,
            size: Size { width: 0, height: 0 },
            frame_rate: None,
            duration: None,
            sure_duration: None,
            codec: self.probe.codec().map_or_else(|| "raw".into(), |caps| codec_name(&caps)),
            audio_codecs: Vec::new(),
            notices: Vec::new(),
        };
        if let Some(video) = self.first.get() {
            let fps = video.fps();
            info.size = Size { width: video.width(), height: video.height() };
            info.frame_rate = (fps.numer() > 0).then(|| (fps.numer(), fps.denom()));
        }
        for side in self.sides().iter() {
            match side.format.get() {
                Some(caps) => info.audio_codecs.push(codec_name(caps)),
                None => self.notice("an audio track that does not begin is left out".into()),
            }
        }
        info
    }

    /// Says downstream how many coded frames were too late to be decoded since it last did.
    pub fn say_late(&self) {
        let late = self.late_unsaid.swap(0, Ordering::SeqCst);
        // Without a worker there is nobody to count them.
        if late > 0 && self.outlet.events.note(SourceEvent::Late(self.outlet.stream, late)).is_ok() {
            self.outlet.counters.received(late);
        }
    }

    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// matroskademux begins its segment at the first packet of the file, and moves it when another track's first packet turns
/// out to be earlier: the first picture would be moved and those after it not. Times in the file are taken as they are, but
/// for a recording that was cut out of a longer one.
fn matroska_origin(segment: &gst::FormattedSegment<gst::ClockTime>) -> gst::ClockTime {
    let start = segment.start().unwrap_or_default();
    if start < gst::ClockTime::from_seconds(1) { gst::ClockTime::ZERO } else { start }
}
