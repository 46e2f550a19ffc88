//! The time of a live stream over all its connections: it goes on during an outage, and frames are numbered on.
//!
//! A frame's time in the stream is the moment it was due on this machine, counted from the first frame's: outages take as long
//! in the stream as they took.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use gstreamer as gst;

use crate::clock::{Clock, HostTime, StreamTime};
use crate::shutdown::Shutdown;

/// Host time minus running time before anything is known of it.
const UNKNOWN: i64 = i64::MAX;
/// A difference no larger than this says nothing new about the sender's clock.
const JITTER_NS: u64 = 20_000_000;
/// How long a frame that came earlier than others is remembered, and no more than twice as long: most of a second of old
/// frames may come at once at the start, the last of them in time; and `rtspsrc` corrects the running times that it guessed
/// at first.
const MEMORY: Duration = Duration::from_secs(2);
/// Encoded frames whose arrival is remembered: those on their way to the decoder's other end.
const ARRIVALS: usize = 1024;
/// How long audio waits for the first frame. The demuxer may stand still meanwhile.
const BEGINNING: Duration = Duration::from_secs(2);

/// The stream's time and its count of frames, which stay from one connection to the next.
pub(super) struct StreamClock {
    clock: Arc<dyn Clock>,
    /// When the first frame was due.
    zero: OnceLock<HostTime>,
    /// Dropped when the first frame is there.
    beginning: Mutex<Option<Sender<()>>>,
    begun: Receiver<()>,
    frames: AtomicU64,
    last: Mutex<Option<StreamTime>>,
}

impl StreamClock {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (beginning, begun) = bounded(0);
        let beginning = Mutex::new(Some(beginning));
        Self { clock, zero: OnceLock::new(), beginning, begun, frames: AtomicU64::new(0), last: Mutex::default() }
    }

    /// The present in the stream.
    pub fn now(&self) -> StreamTime {
        self.zero
            .get()
            .map_or_else(StreamTime::default, |zero| stream_time(self.clock.now(), *zero).unwrap_or_default())
    }

    /// When the newest frame was.
    pub fn last(&self) -> Option<StreamTime> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ns(time: HostTime) -> i64 {
    i64::try_from(time.since_start().as_nanos()).unwrap_or(i64::MAX)
}

fn ns_of(running: gst::ClockTime) -> i64 {
    i64::try_from(running.nseconds()).unwrap_or(i64::MAX)
}

fn stream_time(at: HostTime, zero: HostTime) -> Option<StreamTime> {
    u64::try_from(ns(at) - ns(zero)).ok().map(|ns| StreamTime { ns })
}

/// The earliest arrivals of late: host time minus running time, ns, in this stretch of time and the one before it.
#[derive(Debug)]
struct Earliest {
    since: Option<HostTime>,
    now: i64,
    before: i64,
}

impl Default for Earliest {
    fn default() -> Self {
        Self { since: None, now: UNKNOWN, before: UNKNOWN }
    }
}

impl Earliest {
    /// The smallest offset, `offset` at `at` among them.
    fn add(&mut self, at: HostTime, offset: i64) -> i64 {
        if at.since(*self.since.get_or_insert(at)) > MEMORY {
            (self.since, self.before, self.now) = (Some(at), self.now, UNKNOWN);
        }
        self.now = self.now.min(offset);
        self.now.min(self.before)
    }
}

/// One connection's place in the stream's time.
pub(super) struct ConnectionClock {
    stream: Arc<StreamClock>,
    /// Host time minus running time, ns; [`UNKNOWN`] until a frame is there, encoded or decoded.
    offset: AtomicI64,
    by_arrival: bool,
    /// The first frame did not come in time, or the connection does not wait for it.
    waits_no_more: AtomicBool,
    earliest: Mutex<Earliest>,
    /// Running times of the encoded frames that came last, and when they did.
    arrivals: Mutex<VecDeque<(gst::ClockTime, HostTime)>>,
    /// Stream time of its first frame, where the stream had frames before.
    first: OnceLock<StreamTime>,
}

impl ConnectionClock {
    /// `by_arrival` is for senders whose clock is another one, of which running times are guessed: a frame is due when it
    /// comes, if it comes as early as any.
    pub fn new(stream: Arc<StreamClock>, by_arrival: bool) -> Self {
        Self {
            stream,
            offset: AtomicI64::new(UNKNOWN),
            by_arrival,
            waits_no_more: AtomicBool::new(by_arrival),
            earliest: Mutex::default(),
            arrivals: Mutex::default(),
            first: OnceLock::new(),
        }
    }

    /// Stream time of the newest frame, on whatever connection.
    pub fn last(&self) -> Option<StreamTime> {
        self.stream.last()
    }

    /// Its first frame lies at `pts`, after an outage.
    pub fn resume_at(&self, pts: StreamTime) {
        self.first.get_or_init(|| pts);
    }

    /// Stream time of its first frame; the present before that is known.
    pub fn resumes_at(&self) -> StreamTime {
        self.first.get().copied().unwrap_or_else(|| self.stream.now())
    }

    /// The encoded frame at `running` arrives.
    pub fn arrives(&self, running: gst::ClockTime) {
        let now = self.stream.clock.now();
        let mut arrivals = self.arrivals();
        if arrivals.len() == ARRIVALS {
            arrivals.pop_front();
        }
        arrivals.push_back((running, now));
        drop(arrivals);
        if self.by_arrival {
            let offset = ns(now) - ns_of(running);
            let earliest = self.earliest.lock().unwrap_or_else(PoisonError::into_inner).add(now, offset);
            if earliest.abs_diff(self.offset.load(Ordering::SeqCst)) > JITTER_NS {
                self.offset.store(earliest, Ordering::SeqCst);
            }
        }
    }

    fn arrivals(&self) -> MutexGuard<'_, VecDeque<(gst::ClockTime, HostTime)>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the encoded frame at `running` arrived, where that is known. Senders such as `ffmpeg -re` send most of a second at
    /// once, again and again: what they held back is not late here.
    pub fn arrived(&self, running: gst::ClockTime) -> Option<HostTime> {
        self.arrivals().iter().rev().find_map(|(at, arrived)| (*at == running).then_some(*arrived))
    }

    /// How late the encoded frame at `running` is, where that is known yet.
    pub fn lateness(&self, running: gst::ClockTime) -> Option<Duration> {
        let offset = self.offset.load(Ordering::SeqCst);
        let due = offset.checked_add(ns_of(running)).filter(|_| offset != UNKNOWN)?;
        let due = self.arrived(running).map_or(due, |arrived| due.max(ns(arrived)));
        let late = ns(self.stream.clock.now()).saturating_sub(due).max(0);
        Some(Duration::from_nanos(late.unsigned_abs()))
    }

    /// When the frame at `running` is, or was, due; `host` is asked once for a moment on both clocks.
    pub fn due(&self, running: gst::ClockTime, host: impl FnOnce() -> (HostTime, gst::ClockTime)) -> HostTime {
        if self.offset.load(Ordering::SeqCst) == UNKNOWN {
            let (at, running) = host();
            self.offset.store(ns(at) - ns_of(running), Ordering::SeqCst);
        }
        let due = self.offset.load(Ordering::SeqCst).saturating_add(ns_of(running)).max(0);
        HostTime::from_start(Duration::from_nanos(due.unsigned_abs()))
    }

    /// The time in the stream of a frame that was due at `due`; the stream begins with the first one that asks.
    pub fn begin(&self, due: HostTime) -> StreamTime {
        let zero = *self.stream.zero.get_or_init(|| due);
        self.stream.beginning.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream_time(due, zero).unwrap_or_default()
    }

    /// Returns when the first frame is there, where packets come in a burst: audio that is read before it would have no time.
    pub fn wait_until_begun(&self, stop: &Shutdown) {
        if self.waits_no_more.load(Ordering::SeqCst) {
            return;
        }
        select! {
            recv(self.stream.begun) -> _ => {}
            recv(stop.requested()) -> _ => {}
            default(BEGINNING) => {}
        }
        self.waits_no_more.store(true, Ordering::SeqCst);
    }

    /// The time in the stream of what is not video; `None` before the first frame.
    pub fn stream_time(&self, running: gst::ClockTime) -> Option<gst::ClockTime> {
        let (offset, zero) = (self.offset.load(Ordering::SeqCst), *self.stream.zero.get()?);
        let time = offset.checked_add(ns_of(running))?.checked_sub(ns(zero)).filter(|_| offset != UNKNOWN)?;
        u64::try_from(time).ok().map(gst::ClockTime::from_nseconds)
    }

    /// Numbers a frame, whose time is `pts`.
    pub fn count(&self, pts: StreamTime) -> u64 {
        *self.stream.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(pts);
        self.stream.frames.fetch_add(1, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimulatedClock;

    #[test]
    fn a_senders_clock_is_read_from_what_comes_earliest() {
        let clock = Arc::new(SimulatedClock::default());
        let connection = ConnectionClock::new(Arc::new(StreamClock::new(clock.clone())), true);
        let ms = gst::ClockTime::from_mseconds;
        clock.advance(Duration::from_secs(2));
        // Thirty old frames at once, then each in its time, one of them late.
        for n in 0..30 {
            connection.arrives(ms(n * 40));
        }
        let due = |pts| connection.due(ms(pts), || panic!("it is known")).since_start().as_millis();
        assert_eq!(due(1160), 2000);
        clock.advance(Duration::from_millis(70));
        connection.arrives(ms(1200));
        assert_eq!(due(1200), 2040);
        // Running times are corrected by a second: five seconds later that is known.
        for n in 1..=125 {
            clock.advance(Duration::from_millis(40));
            connection.arrives(ms(200 + n * 40));
        }
        assert_eq!(due(5200), clock.now().since_start().as_millis());
    }

    #[test]
    fn what_a_sender_held_back_is_not_late_when_it_arrives() {
        let clock = Arc::new(SimulatedClock::default());
        let connection = ConnectionClock::new(Arc::new(StreamClock::new(clock.clone())), true);
        let ms = gst::ClockTime::from_mseconds;
        for burst in 0..5 {
            clock.advance(Duration::from_millis(800));
            (0..10).for_each(|n| connection.arrives(ms((burst * 10 + n) * 80)));
            for n in 0..10 {
                assert_eq!(connection.lateness(ms((burst * 10 + n) * 80)), Some(Duration::ZERO), "{burst} {n}");
            }
        }
        // From then on, it is.
        clock.advance(Duration::from_millis(600));
        assert_eq!(connection.lateness(ms(49 * 80)), Some(Duration::from_millis(600)));
        assert_eq!(connection.arrived(ms(1)), None);
    }

    #[test]
    fn time_goes_on_during_an_outage() {
        let clock = Arc::new(SimulatedClock::default());
        let stream = Arc::new(StreamClock::new(clock.clone()));
        let ms = gst::ClockTime::from_mseconds;
        clock.advance(Duration::from_secs(5));
        let first = ConnectionClock::new(stream.clone(), false);
        // Half a second after the pipeline began, a frame of 200 ms comes.
        let due = first.due(ms(200), || (clock.now(), ms(500)));
        assert_eq!(due, HostTime::from_start(Duration::from_millis(4700)));
        assert_eq!(first.stream_time(ms(200)), None);
        assert_eq!(first.begin(due).ns, 0);
        let later = first.due(ms(240), || panic!("asked once"));
        assert_eq!(first.begin(later).ns, 40_000_000);
        assert_eq!(first.stream_time(ms(100)), None);
        assert_eq!(first.stream_time(ms(300)), Some(ms(100)));
        assert_eq!([first.count(first.begin(due)), first.count(first.begin(later))], [0, 1]);
        // An outage of three seconds; the next connection counts from its own zero.
        clock.advance(Duration::from_secs(3));
        let second = ConnectionClock::new(stream.clone(), false);
        let due = second.due(ms(10), || (clock.now(), ms(10)));
        assert_eq!(second.begin(due).ns, 3_300_000_000);
        assert_eq!(second.count(second.begin(due)), 2);
        assert_eq!(stream.last(), Some(StreamTime { ns: 3_300_000_000 }));
        assert_eq!(stream.now().ns, 3_300_000_000);
    }
}
