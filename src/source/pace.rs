//! A file played as a live source would send it: an encoded frame enters the decoder when its time has come, not before.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gstreamer as gst;

use super::outlet::Outlet;
use crate::clock::HostTime;
use crate::shutdown::Shutdown;

/// Holds encoded frames back. Time begins once the session is there: a camera does not wait for it, but a measurement does.
pub(super) struct Pacer {
    outlet: Outlet,
    /// The PTS of the first frame that was held, and when it went on.
    origin: OnceLock<(gst::ClockTime, HostTime)>,
    holding: AtomicBool,
    stop: Shutdown,
}

impl Pacer {
    /// Holds nothing back once `stop` is requested.
    pub(super) fn new(outlet: Outlet, stop: Shutdown) -> Self {
        Self { outlet, origin: OnceLock::new(), holding: AtomicBool::new(false), stop }
    }

    /// Returns when the frame with this PTS is due. Frames that are stored before one that is shown earlier come when that one
    /// comes, as an encoder would send them.
    pub(super) fn hold(&self, pts: gst::ClockTime) {
        let clock = &self.outlet.clock;
        self.holding.store(true, Ordering::SeqCst);
        self.origin.get_or_init(|| {
            self.outlet.wait_until_ready();
            (pts, clock.now())
        });
        let left = self.due(pts).map(|due| due.since(clock.now())).unwrap_or_default();
        if !left.is_zero() {
            // Whether it was cut short does not matter: the frame goes on.
            clock.pause(left, &self.stop);
        }
        self.holding.store(false, Ordering::SeqCst);
    }

    /// When the frame with this PTS is due, or was.
    pub(super) fn due(&self, pts: gst::ClockTime) -> Option<HostTime> {
        let (first, at) = *self.origin.get()?;
        let offset = |a: gst::ClockTime, b: gst::ClockTime| Duration::from(a.saturating_sub(b));
        Some(HostTime::from_start((at.since_start() + offset(pts, first)).saturating_sub(offset(first, pts))))
    }

    /// Whether nothing comes because it is not due yet.
    pub(super) fn is_holding(&self) -> bool {
        self.holding.load(Ordering::SeqCst)
    }

    /// Holds nothing back from now on.
    pub(super) fn stop(&self) {
        self.stop.request();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::clock::{Clock, SimulatedClock};
    use crate::controls::Controls;
    use crate::stream::StreamId;
    use crate::thread::Guard;

    #[test]
    fn frames_go_on_when_they_are_due() {
        let clock = Arc::new(SimulatedClock::default());
        clock.advance(Duration::from_secs(7));
        let (mut lanes, _rx) = crate::channel::lanes("test", 1, 1);
        let events = lanes.remove(0);
        let (open, ready) = bounded(0);
        drop(open);
        let controls = Arc::new(Controls::fixed(0.25, false));
        let outlet = Outlet {
            stream: StreamId(0),
            events,
            clock: clock.clone(),
            ready,
            head: 1,
            guard: Guard::default(),
            counters: Arc::default(),
            controls,
        };
        let pacer = Pacer::new(outlet, Shutdown::new());
        let ms = gst::ClockTime::from_mseconds;
        assert_eq!(pacer.due(ms(500)), None);
        let went = |pts| {
            pacer.hold(ms(pts));
            clock.now().since_start().as_millis()
        };
        // Time begins with the first; the third is shown before the second, and was due when that one came.
        assert_eq!([went(500), went(740), went(620), went(780)], [7000, 7240, 7240, 7280]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(went(820), 8280);
        assert_eq!(pacer.due(ms(400)), Some(HostTime::from_start(Duration::from_millis(6900))));
        pacer.stop();
        assert_eq!(went(5000), 8280, "nothing is held any more");
    }
}
