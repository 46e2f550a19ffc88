//! The thread that takes access units from the encoder, lays the audio beside them and hands both to every branch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::audio::{AudioCounts, AudioFeed};
use super::branches::Branches;
use super::encode::KeyframeRequester;
use super::error::SinkError;
use super::output::{AccessUnit, Branch, FinishedOutputs, OutputEvent, OutputListener};
use super::pipeline::Progress;
use crate::thread::test_panic_point;

/// How often it looks after the audio while no frame comes: the demuxer waits for that only after minutes of audio.
const IDLE: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// An encoder's access units, and of whom keyframes are requested.
pub(super) type Units = (gst_app::AppSink, KeyframeRequester);

/// What the writer and its owner share.
pub(super) struct WriterState {
    /// What went wrong, to be told by the owner once.
    failure: Mutex<Option<SinkError>>,
    /// Names of the branches, and number of the one that is busy; past the last: none.
    names: Vec<String>,
    busy: AtomicUsize,
    /// Times of the first frames after outages that have not left the encoder yet.
    gaps: Mutex<VecDeque<gst::ClockTime>>,
    /// The audio ends with the last frame.
    pub cut: AtomicBool,
    /// Counts what is done.
    pub progress: Progress,
}

impl WriterState {
    /// For these branches.
    pub fn new(branches: &Branches, progress: Progress) -> Self {
        let names = branches.names();
        let busy = AtomicUsize::new(names.len());
        Self { failure: Mutex::default(), gaps: Mutex::default(), names, busy, cut: AtomicBool::new(false), progress }
    }

    fn gaps(&self) -> MutexGuard<'_, VecDeque<gst::ClockTime>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame at `pts`, which goes into the encoder now, is the first after an outage.
    pub fn add_gap(&self, pts: gst::ClockTime) {
        self.gaps().push_back(pts);
    }

    /// Whether there was an outage before the frame at `pts`.
    fn passes_gap(&self, pts: gst::ClockTime) -> bool {
        let mut gaps = self.gaps();
        let passed = gaps.iter().take_while(|gap| **gap <= pts).count();
        gaps.drain(..passed).count() > 0
    }

    pub fn take_failure(&self) -> Option<SinkError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The branch of this number is busy; past the last, none.
    fn set_busy(&self, number: usize) {
        self.busy.store(number, Ordering::SeqCst);
    }

    /// The branch that is busy.
    pub fn busy(&self) -> Option<&str> {
        self.names.get(self.busy.load(Ordering::SeqCst)).map(String::as_str)
    }
}

pub(super) struct Writer {
    pub encoders: Receiver<Units>,
    pub audio: Vec<AudioFeed>,
    pub branches: Branches,
    pub state: Arc<WriterState>,
    /// When the last frame is over.
    pub end: gst::ClockTime,
    /// No branch works any more: nothing more is written.
    pub failed: bool,
    /// The source is live.
    pub live: bool,
    pub listener: OutputListener,
    /// Dropped when every access unit is written, or will not be: the encoder is not needed any more.
    pub drained: Sender<()>,
    /// Dropped with the thread.
    pub alive: Sender<()>,
}

impl Writer {
    /// Writes what comes, from one encoder after the other, until there are no more.
    pub fn run(mut self) -> FinishedOutputs {
        while let Ok((units, keyframes)) = self.encoders.recv() {
            let mut caps = None;
            loop {
                test_panic_point();
                match units.try_pull_sample(IDLE) {
                    Some(sample) if !self.failed => {
                        if let Err(error) = self.sample(&sample, &mut caps, &keyframes) {
                            self.fail(error);
                        }
                        self.state.progress.advance();
                    }
                    // The encoder goes on, so that nothing waits for it.
                    Some(_) => self.state.progress.advance(),
                    None if units.is_eos() => break,
                    None => self.relieve(),
                }
            }
        }
        let Self { mut audio, mut branches, state, end, failed, live, listener, drained, alive, .. } = self;
        drop(drained);
        let cut_at = (state.cut.load(Ordering::SeqCst) || failed).then_some(end);
        for (track, feed) in audio.iter_mut().enumerate() {
            feed.finish(cut_at, &mut |next| {
                state.progress.advance();
                branches.hand_over(track, &next);
            });
        }
        let counts: Vec<AudioCounts> = audio.iter().map(AudioFeed::counts).collect();
        let mut finished = branches.finish(|number| state.set_busy(number));
        account(&counts, &mut finished, (!live).then_some(&listener));
        drop(alive);
        finished
    }

    fn sample(
        &mut self,
        sample: &gst::Sample,
        known: &mut Option<gst::Caps>,
        keyframes: &KeyframeRequester,
    ) -> Result<(), SinkError> {
        let Some((unit, caps)) = access_unit_of(sample) else { return Ok(()) };
        if known.as_ref().is_none_or(|known| *known != caps) {
            self.branches.format(&caps, keyframes, |number| self.state.set_busy(number))?;
            *known = Some(caps);
        }
        if self.state.passes_gap(unit.pts) {
            self.pass_gap(unit.pts)?;
        }
        for (track, feed) in self.audio.iter_mut().enumerate() {
            feed.advance(unit.pts, &mut |next| self.branches.hand_over(track, &next));
        }
        self.end = unit.end;
        self.branches.access_unit(&unit, |number| self.state.set_busy(number))
    }

    /// There was an outage up to `to`. Audio that came before the first frame after it goes with it: there is no video beside it.
    fn pass_gap(&mut self, to: gst::ClockTime) -> Result<(), SinkError> {
        let end = self.end;
        for (track, feed) in self.audio.iter_mut().enumerate() {
            feed.advance(end, &mut |next| self.branches.hand_over(track, &next));
            feed.pass_gap(to, &mut |next| self.branches.hand_over(track, &next));
        }
        let pass = |branch: &mut dyn Branch| {
            branch.gap(to);
            Ok(())
        };
        self.branches.each(|number| self.state.set_busy(number), pass)
    }

    fn relieve(&mut self) {
        for (track, feed) in self.audio.iter_mut().enumerate() {
            feed.relieve(&mut |next| self.branches.hand_over(track, &next));
        }
    }

    fn fail(&mut self, error: SinkError) {
        *self.state.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.failed = true;
    }
}

/// Compares what a recording's source received of every audio track with what the recordings have of it; what a recording's track lacks for a
/// reason goes to the listener.
fn account(counts: &[AudioCounts], finished: &mut FinishedOutputs, listener: Option<&OutputListener>) {
    for (index, counts) in counts.iter().enumerate() {
        let AudioCounts { received, early, dropped, handed_over, is_complete } = *counts;
        let track = index + 1;
        let unseen = received.saturating_sub(early + dropped + handed_over);
        let unseen = if is_complete && listener.is_some() { unseen } else { 0 };
        for (path, written) in &finished.audio {
            let written = &written[index];
            // Not a packet came out of what was taken.
            let swallowed = if written.packets == 0 { written.taken.saturating_sub(written.untimed) } else { 0 };
            let lost = unseen + swallowed.max(handed_over.saturating_sub(written.taken + written.dropped));
            if lost > 0 {
                finished.failure.get_or_insert(SinkError::AudioLost { path: path.clone(), track, lost, received });
            }
        }
        let Some(listener) = listener.filter(|_| !finished.audio.is_empty()) else { continue };
        if handed_over == 0 {
            listener(OutputEvent::Notice(format!("audio track {track} has no packets, and is left out")));
        }
        let untimed = finished.audio.iter().map(|(_, written)| written[index].untimed).max().unwrap_or_default();
        for (packets, why) in [
            (early, "lie before the beginning"),
            (dropped, "are in another format than it began with"),
            (untimed, "have no time"),
        ] {
            if packets > 0 {
                let notice = format!("{packets} of {received} packets of audio track {track} {why}, and are left out");
                listener(OutputEvent::Notice(notice));
            }
        }
    }
}

/// The access unit in the stream's own time: encoders shift theirs.
fn access_unit_of(sample: &gst::Sample) -> Option<(AccessUnit, gst::Caps)> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?.clone();
    let caps = sample.caps_owned()?;
    let mut buffer = sample.buffer_owned()?;
    let pts = segment.to_running_time(buffer.pts()?)?;
    let dts = buffer.dts().and_then(|dts| segment.to_running_time(dts)).unwrap_or(pts);
    let own = buffer.make_mut();
    own.set_pts(pts);
    own.set_dts(dts.min(pts));
    let end = pts + own.duration().unwrap_or_default();
    let is_keyframe = !own.flags().contains(gst::BufferFlags::DELTA_UNIT);
    Some((AccessUnit { buffer, pts, end, is_keyframe }, caps))
}
