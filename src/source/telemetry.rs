//! Telemetry tracks of a source. Packets are read where the demuxer shows them, on its thread; a frame that leaves the decoder has what was
//! said last before it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;

use crate::stream::TelemetryCounters;
use crate::telemetry::klv::{Packets, UAS_KEY, camera, carriage, checksum};
use crate::telemetry::{Sample, Timeline, dji, gpmf};

/// A recording's frame waits until its demuxer is so far beyond it: packets may lie that far behind the frames that they are about.
const AHEAD: gst::ClockTime = gst::ClockTime::from_mseconds(1000);
/// For so long, once: a demuxer that gets no further waits for something else.
const PATIENCE: Duration = Duration::from_secs(2);
/// Packets without a time that wait for the next frame, at most.
const UNTIMED: usize = 64;

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    /// Sets of MISB standards.
    Klv,
    /// Texts, which may be DJI's.
    Text,
    /// `GoPro`'s.
    Gpmf,
}

impl Carries {
    /// By the media type of the pad.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "meta/x-klv" => Some(Self::Klv),
            "text/x-raw" => Some(Self::Text),
            "meta/x-gst-fourcc-gpmd" => Some(Self::Gpmf),
            _ => None,
        }
    }
}

/// What telemetry tracks have said.
#[derive(Default)]
pub(super) struct TelemetryTracks {
    /// Whether there is one.
    is_there: AtomicBool,
    /// Whether a frame has waited in vain.
    waits_no_more: AtomicBool,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    timeline: Timeline,
    /// How far the demuxer has shown the video.
    shown: Option<gst::ClockTime>,
    has_ended: bool,
    /// Of packets that have no time: they are about the next frame.
    untimed: Vec<gst::Buffer>,
}

impl TelemetryTracks {
    /// There is one.
    pub fn begin(&self) {
        self.is_there.store(true, Ordering::Release);
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the camera at `time`. `waits` says that the demuxer may be waited for.
    pub fn at(&self, time: gst::ClockTime, waits: bool) -> Option<Sample> {
        if !self.is_there() {
            return None;
        }
        let mut state = self.state();
        if waits && !self.waits_no_more.load(Ordering::Relaxed) {
            let is_behind =
                |state: &mut State| !state.has_ended && state.shown.is_none_or(|shown| shown < time + AHEAD);
            let waited = self.moved.wait_timeout_while(state, PATIENCE, is_behind);
            let (now, result) = waited.unwrap_or_else(PoisonError::into_inner);
            if result.timed_out() {
                self.waits_no_more.store(true, Ordering::Relaxed);
            }
            state = now;
        }
        state.timeline.at(time.nseconds())
    }

    /// The demuxer has shown video up to `time`.
    pub fn show(&self, time: Option<gst::ClockTime>, counters: &TelemetryCounters) {
        let mut state = self.state();
        state.shown = state.shown.max(time);
        if let Some(time) = time {
            for packet in std::mem::take(&mut state.untimed) {
                state.read(Carries::Klv, &packet, time, counters);
            }
        }
        drop(state);
        self.moved.notify_all();
    }

    /// Nothing more comes.
    pub fn end(&self) {
        self.state().has_ended = true;
        self.moved.notify_all();
    }

    /// Takes a packet that is shown at `time`; one without waits for the next frame.
    pub fn take(
        &self,
        carries: Carries,
        packet: &gst::BufferRef,
        time: Option<gst::ClockTime>,
        counters: &TelemetryCounters,
    ) {
        let mut state = self.state();
        match time {
            Some(time) => state.read(carries, packet, time, counters),
            None if state.untimed.len() < UNTIMED => state.untimed.push(packet.to_owned()),
            None => counters.unreadable(),
        }
    }
}

impl State {
    fn read(&mut self, carries: Carries, packet: &gst::BufferRef, time: gst::ClockTime, counters: &TelemetryCounters) {
        let Ok(bytes) = packet.map_readable() else { return counters.unreadable() };
        let (from, length) = (time.nseconds(), packet.duration().map(gst::ClockTime::nseconds));
        match carries {
            Carries::Klv => {
                let bytes = carriage::packets(&bytes);
                let mut packets = Packets::new(&bytes);
                for packet in packets.by_ref() {
                    counters.packet();
                    match checksum(&packet) {
                        Some(checksum) if !checksum.is_good() => counters.bad_checksum(),
                        _ if packet.key == UAS_KEY => self.timeline.add(from, None, camera::known(packet.value)),
                        _ => counters.unknown(),
                    }
                }
                if packets.skipped() > 0 {
                    counters.unreadable();
                }
            }
            Carries::Text => {
                // Of other texts there is nothing to be said: they are subtitles.
                if let Some(cue) = dji::Cue::read(&String::from_utf8_lossy(&bytes)) {
                    counters.packet();
                    self.timeline.add(from, length.map(|length| from.saturating_add(length)), cue.known());
                }
            }
            Carries::Gpmf => {
                counters.packet();
                for (at, known) in gpmf::known(&bytes, length.unwrap_or(gst::ClockTime::SECOND.nseconds())) {
                    self.timeline.add(from.saturating_add(at), None, known);
                }
            }
        }
    }
}
