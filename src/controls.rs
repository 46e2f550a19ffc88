//! What a person may change while a run goes on. The pipeline's threads read atomics; only what waits takes a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::select;

use crate::shutdown::Shutdown;
use crate::stream::StreamId;

/// One step of the confidence.
const STEP: f32 = 0.05;
/// Steps between which the confidence is moved: 0.05 to 0.95.
const STEPS: (f32, f32) = (1.0, 19.0);

/// Switches that a person operates while a run goes on.
#[derive(Debug)]
pub struct Controls {
    /// Whether a person operates them at all: then the newest frame is kept for a snapshot.
    attended: bool,
    paused: AtomicBool,
    /// Pauses that have begun so far.
    pauses: AtomicU32,
    /// The end of the pause, while there is one.
    resumed: Mutex<Option<Shutdown>>,
    hud: AtomicBool,
    /// Bits of an `f32`.
    confidence: AtomicU32,
    /// One a stream, set while a snapshot of it is requested.
    snapshots: Vec<AtomicBool>,
}

impl Controls {
    /// As the settings say, unchanged during the run.
    #[must_use]
    pub fn fixed(confidence: f32, hud: bool) -> Self {
        Self {
            attended: false,
            paused: AtomicBool::new(false),
            pauses: AtomicU32::new(0),
            resumed: Mutex::default(),
            hud: AtomicBool::new(hud),
            confidence: AtomicU32::new(confidence.to_bits()),
            snapshots: Vec::new(),
        }
    }

    /// As the settings say, until they are changed by a person who watches `streams` streams.
    #[must_use]
    pub fn attended(confidence: f32, hud: bool, streams: usize) -> Self {
        let snapshots = (0..streams).map(|_| AtomicBool::new(false)).collect();
        Self { attended: true, snapshots, ..Self::fixed(confidence, hud) }
    }

    /// Whether a person operates them.
    #[must_use]
    pub fn is_attended(&self) -> bool {
        self.attended
    }

    /// Whether recorded files stand still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Has recorded files stand still, or go on.
    pub fn pause(&self, paused: bool) {
        let mut resumed = self.resumed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.paused.swap(paused, Ordering::Relaxed) == paused {
            return;
        }
        if paused {
            self.pauses.fetch_add(1, Ordering::Relaxed);
            *resumed = Some(Shutdown::new());
        } else if let Some(resumed) = resumed.take() {
            resumed.request();
        }
    }

    /// Pauses that have begun so far.
    pub(crate) fn pauses(&self) -> u32 {
        self.pauses.load(Ordering::Relaxed)
    }

    /// Returns when the pause, if there is one, is over or `shutdown` is requested; whether there was one.
    pub(crate) fn hold(&self, shutdown: &Shutdown) -> bool {
        if !self.is_paused() {
            return false;
        }
        let resumed = self.resumed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(resumed) = resumed else { return false };
        // Both channels carry nothing: they become ready by being disconnected.
        select! {
            recv(resumed.requested()) -> _ => {}
            recv(shutdown.requested()) -> _ => {}
        }
        true
    }

    /// Whether figures are drawn into the frame.
    #[must_use]
    pub fn hud(&self) -> bool {
        self.hud.load(Ordering::Relaxed)
    }

    /// Draws figures into the frame, or no longer.
    pub fn show_hud(&self, shown: bool) {
        self.hud.store(shown, Ordering::Relaxed);
    }

    /// Confidence above which a box counts, 0 to 1.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        f32::from_bits(self.confidence.load(Ordering::Relaxed))
    }

    /// Sets the confidence; it counts from the next frame on.
    pub fn set_confidence(&self, confidence: f32) {
        self.confidence.store(confidence.to_bits(), Ordering::Relaxed);
    }

    /// Moves the confidence to the next multiple of 0.05, up or down, between 0.05 and 0.95; it counts from the next frame on.
    pub fn step_confidence(&self, up: bool) {
        let now = self.confidence();
        // A hair less than a whole step, so that 0.15000001 is taken for 0.15.
        let steps = now / STEP;
        let next = if up { (steps + 0.01).floor() + 1.0 } else { (steps - 0.01).ceil() - 1.0 };
        let next = next.clamp(STEPS.0, STEPS.1) * STEP;
        let moved = if up { next > now } else { next < now };
        if moved {
            self.set_confidence(next);
        }
    }

    /// Requests a snapshot of `stream`.
    pub fn want_snapshot(&self, stream: StreamId) {
        if let Some(wanted) = self.snapshots.get(stream.0 as usize) {
            wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a snapshot of `stream` was requested since the last call.
    pub(crate) fn take_snapshot(&self, stream: StreamId) -> bool {
        let wanted = self.snapshots.get(stream.0 as usize);
        wanted.is_some_and(|wanted| wanted.load(Ordering::Relaxed) && wanted.swap(false, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_moves_in_steps_and_keeps_within_bounds() {
        let controls = Controls::fixed(0.25, false);
        let mut step = |up| {
            controls.step_confidence(up);
            format!("{:.2}", controls.confidence())
        };
        assert_eq!([true, true, false].map(&mut step), ["0.30", "0.35", "0.30"]);
        for _ in 0..30 {
            step(true);
        }
        assert_eq!(step(true), "0.95");
        for _ in 0..30 {
            step(false);
        }
        assert_eq!(step(false), "0.05");
        let odd = Controls::fixed(0.33, false);
        odd.step_confidence(false);
        assert!((odd.confidence() - 0.3).abs() < 1e-6);
        let low = Controls::fixed(0.001, false);
        low.step_confidence(false);
        assert!((low.confidence() - 0.001).abs() < 1e-9, "what is lower already stays");
    }

    #[test]
    fn a_pause_ends_when_it_is_over_or_the_run_is() {
        let (controls, shutdown) = (Controls::attended(0.25, false, 1), Shutdown::new());
        assert!(!controls.hold(&shutdown));
        controls.pause(true);
        controls.pause(true);
        assert_eq!(controls.pauses(), 1);
        std::thread::scope(|scope| {
            let held = scope.spawn(|| controls.hold(&shutdown));
            controls.pause(false);
            // Whether it came before the end of the pause, the scheduler decides.
            held.join().map(|_| ()).expect("it went on");
        });
        controls.pause(true);
        shutdown.request();
        assert!(controls.hold(&shutdown), "a run that ends holds nothing back");
    }

    #[test]
    fn a_snapshot_is_taken_once() {
        let controls = Controls::attended(0.25, false, 1);
        controls.want_snapshot(StreamId(0));
        controls.want_snapshot(StreamId(7));
        assert!(controls.take_snapshot(StreamId(0)));
        assert!(!controls.take_snapshot(StreamId(0)) && !controls.take_snapshot(StreamId(7)));
    }
}
