//! What the streaming threads of a source and its owner share while it is decoded, whatever it is read from.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::activity::Activity;
use super::audio::AudioTracks;
use super::first_frame::{FirstFrame, Gate};
use super::late::LateFrames;
use super::options::{Beside, Hdr, Wanted};
use super::outlet::{Outlet, SourceEvent};
use super::probe::DecoderProbe;
use super::rate::FrameRate;
use super::selection::TrackSelection;
use super::stream_clock::ConnectionClock;
use super::telemetry::TelemetryTracks;
use super::timing::Timing;
use super::wake::Waker;
use crate::clock::StreamTime;
use crate::frame::hdr::Transfer;
use crate::geometry::Size;
use crate::shutdown::Shutdown;
use crate::stream::{StreamInfo, codec_name};
use crate::telemetry::Sample;

/// What a source is decoded with.
pub(super) struct Setup {
    pub outlet: Outlet,
    pub wanted: Wanted,
    pub timing: Timing,
    pub probe: DecoderProbe,
    pub audio: AudioTracks,
    /// Encoded frames that are later are dropped, where the source is live.
    pub late: LateFrames,
    /// Where progress is noted.
    pub activity: Arc<Activity>,
    /// Whether a packet of audio is progress.
    pub audio_is_progress: bool,
    pub waker: Waker,
    pub stop: Shutdown,
}

/// Shared by a source's threads.
pub(super) struct Decoding {
    pub outlet: Outlet,
    pub wanted: Wanted,
    pub timing: Timing,
    pub probe: DecoderProbe,
    pub audio: AudioTracks,
    pub telemetry: TelemetryTracks,
    pub selection: TrackSelection,
    pub first: FirstFrame,
    pub rate: FrameRate,
    pub activity: Arc<Activity>,
    /// Nothing more is decoded once it is requested.
    pub stop: Shutdown,
    late: LateFrames,
    audio_is_progress: bool,
    waker: Waker,
    notices: Mutex<Vec<String>>,
    /// It waits for us: nothing of it is dropped.
    is_lossless: AtomicBool,
    /// Frames that left the decoder.
    frames: AtomicU64,
}

impl Decoding {
    /// Nothing is decoded yet; the first frame waits until the gate is dropped.
    pub fn new(setup: Setup) -> (Arc<Self>, Gate) {
        let Setup { outlet, wanted, timing, probe, audio, late, activity, audio_is_progress, waker, stop } = setup;
        let (first, gate) = FirstFrame::new(waker.clone());
        let decoding = Self {
            selection: TrackSelection::new(wanted.track),
            is_lossless: AtomicBool::new(matches!(timing, Timing::Recorded(_))),
            outlet,
            wanted,
            timing,
            probe,
            audio,
            telemetry: TelemetryTracks::default(),
            first,
            rate: FrameRate::default(),
            activity,
            stop,
            late,
            audio_is_progress,
            waker,
            notices: Mutex::default(),
            frames: AtomicU64::new(0),
        };
        (Arc::new(decoding), gate)
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.is_requested()
    }

    /// Whether it waits for us: nothing of it is dropped.
    pub fn is_lossless(&self) -> bool {
        self.is_lossless.load(Ordering::SeqCst)
    }

    /// It turned out to be a recording: it waits for us from now on, and for nothing else.
    pub fn make_lossless(&self) {
        self.is_lossless.store(true, Ordering::SeqCst);
        self.probe.stop_pacing();
    }

    /// Whether it may be paused: not while it comes in its own time, as a live source does.
    pub fn can_pause(&self) -> bool {
        !self.wanted.real_time && self.is_lossless()
    }

    /// Whether something keeps it from making progress: a pause, a full lane, a session that is still being made, or a frame
    /// that is not due yet.
    pub fn is_held(&self) -> bool {
        let outlet = &self.outlet;
        let paused = self.can_pause() && outlet.controls.is_paused();
        let full = self.is_lossless() && outlet.events.is_full();
        paused || full || outlet.is_waiting() || self.probe.is_holding()
    }

    /// Decodes nothing more, and holds nothing back.
    pub fn stop(&self) {
        self.stop.request();
        self.probe.stop_pacing();
    }

    /// All that was asked for is delivered: wakes the thread that waits at the bus.
    pub fn finish(&self) {
        self.stop.request();
        self.waker.wake();
    }

    /// Something changed that the thread at the bus may be waiting for.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// The clock of the connection, where the source is live.
    pub fn connection(&self) -> Option<&ConnectionClock> {
        self.timing.connection()
    }

    /// The time of a buffer of `sample` in the stream, the same zero for all tracks; `None` before it.
    pub fn stream_time(&self, sample: &gst::SampleRef, time: Option<gst::ClockTime>) -> Option<gst::ClockTime> {
        self.timing.stream_time(sample, time, self.selection.demuxer())
    }

    /// By which packets of all tracks of one connection compare: when a buffer at `pad` is shown.
    pub fn track_time(&self, pad: &gst::Pad, time: Option<gst::ClockTime>) -> Option<gst::ClockTime> {
        let segment = pad.sticky_event::<gst::event::Segment>(0)?;
        self.timing.track_time(segment.segment(), time?, self.selection.demuxer())
    }

    /// What was known of the camera when the frame of `sample` was shown, at `pts` in the stream.
    pub fn known_at(&self, sample: &gst::SampleRef, pts: StreamTime) -> Option<Sample> {
        let beside = self.wanted.telemetry.as_ref();
        let carried = || self.carried(sample);
        let said = |beside: &Beside| beside.timeline.look(pts.ns);
        match beside.filter(|beside| beside.is_named) {
            Some(named) => said(named),
            None => carried().or_else(|| beside.and_then(said)),
        }
    }

    /// The same, by the source's own telemetry.
    fn carried(&self, sample: &gst::SampleRef) -> Option<Sample> {
        let shown = sample.buffer()?.pts()?;
        let time = self.timing.track_time(sample.segment()?, shown, self.selection.demuxer())?;
        self.telemetry.at(time, self.is_lossless() && self.connection().is_none())
    }

    /// Counts a decoded frame; how many there were before it.
    pub fn count_frame(&self) -> u64 {
        self.activity.note();
        self.frames.fetch_add(1, Ordering::SeqCst)
    }

    /// Frames that left the decoder.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::SeqCst)
    }

    /// A packet of audio was passed through.
    pub fn note_audio(&self) {
        if self.audio_is_progress {
            self.activity.note();
        }
    }

    /// Whether the encoded frame at `running` goes to the decoder; one that is too late is dropped and counted.
    pub fn admits(&self, running: gst::ClockTime, is_key: bool) -> bool {
        let late = self.connection().and_then(|connection| connection.lateness(running));
        let Some(late) = late.filter(|_| !self.is_lossless()) else { return true };
        if self.late.passes(late, is_key, self.outlet.clock.now()) {
            return true;
        }
        self.activity.note();
        if !self.outlet.is_waiting() {
            self.late.count();
        }
        false
    }

    /// Reports downstream how many encoded frames were dropped as too late since it last did.
    pub fn report_late(&self) {
        let late = self.late.take();
        // Where the receiver is gone, the run has ended and counts no more.
        if late > 0 && self.outlet.events.note(SourceEvent::Late(self.outlet.stream, late)).is_ok() {
            self.outlet.counters.received(late);
        }
    }

    fn notices(&self) -> MutexGuard<'_, Vec<String>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn notice(&self, text: String) {
        self.notices().push(text);
    }

    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices())
    }

    /// Whether there are audio tracks, but none to be decoded.
    pub fn is_audio_only(&self) -> bool {
        !self.audio.is_empty() && !self.selection.has_video()
    }

    /// What is known of the stream called `name`, once its first frame is there; not its length.
    pub fn describe(&self, name: String) -> StreamInfo {
        let mut info = StreamInfo {
            name,
            recorded: matches!(self.timing, Timing::Recorded(_)),
            size: Size { width: 0, height: 0 },
            frame_rate: None,
            duration: None,
            sure_duration: None,
            codec: self.probe.codec().map_or_else(|| "raw".into(), |caps| codec_name(&caps)),
            audio_codecs: Vec::new(),
            notices: Vec::new(),
        };
        if let Some(video) = self.first.video() {
            let fps = video.fps();
            info.size = Size { width: video.width(), height: video.height() };
            info.frame_rate = self.rate.believed((fps.numer(), fps.denom()));
            if let Some(transfer) = Transfer::of(video) {
                let name = transfer.name();
                self.notice(if self.wanted.hdr == Hdr::Keep {
                    format!("HDR ({name}) is written as HDR, with 10 bits; the model sees it tone-mapped to BT.709")
                } else {
                    format!("HDR ({name}) is tone-mapped to BT.709; give --hdr keep to write HDR")
                });
            }
        }
        for codec in self.audio.codecs() {
            match codec {
                Some(codec) => info.audio_codecs.push(codec),
                None => self.notice("an audio track without data is left out".into()),
            }
        }
        info
    }
}
