//! The course of a live stream over all its connections: its time goes on while it is away, its frames are numbered on, and
//! its sound stays in one channel.
//!
//! A frame's time in the stream is the moment it was due on this machine, counted from the first frame's: outages take as long
//! in the stream as they took.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use gstreamer as gst;

use super::tracks::Side;
use crate::clock::{Clock, HostTime, StreamTime};

/// Host time minus running time before anything is known of it.
const UNKNOWN: i64 = i64::MAX;
/// A difference no larger than this says nothing new about the sender's clock.
const JITTER_NS: u64 = 20_000_000;
/// How long a frame that came earlier than others is remembered, and no more than twice as long: most of a second of old
/// frames may come at once at the start, the last of them in time; and `rtspsrc` corrects the running times that it guessed
/// at first.
const MEMORY: Duration = Duration::from_secs(2);

/// What stays from one connection to the next.
pub(super) struct Course {
    clock: Arc<dyn Clock>,
    /// When the first frame was due.
    zero: OnceLock<HostTime>,
    frames: AtomicU64,
    last: Mutex<Option<StreamTime>>,
    sounds: Mutex<Vec<Side>>,
}

impl Course {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            zero: OnceLock::new(),
            frames: AtomicU64::new(0),
            last: Mutex::default(),
            sounds: Mutex::default(),
        }
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

    /// Where audio track number `index` goes, in this connection and those after it.
    pub fn sound(&self, index: usize) -> Side {
        let mut sounds = self.sounds();
        while sounds.len() <= index {
            sounds.push(Side::new());
        }
        sounds[index].clone()
    }

    /// Nothing more will be heard in the tracks so far.
    pub fn close_sounds(&self) {
        self.sounds().drain(..).for_each(|sound| sound.close());
    }

    fn sounds(&self) -> MutexGuard<'_, Vec<Side>> {
        self.sounds.lock().unwrap_or_else(PoisonError::into_inner)
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

/// One connection's place in the course.
pub(super) struct Session {
    pub course: Arc<Course>,
    /// Host time minus running time, ns; [`UNKNOWN`] until a picture or its coded frame is there.
    offset: AtomicI64,
    by_arrival: bool,
    earliest: Mutex<Earliest>,
    pub max_lag: Duration,
    /// Time in the stream of its first frame.
    pub first: OnceLock<StreamTime>,
    /// Its sound came in another format than before.
    pub sound_changed: AtomicBool,
}

impl Session {
    /// `by_arrival` is for senders whose clock is another one, of which running times are guessed: a frame is due when it
    /// comes, if it comes as early as any.
    pub fn new(course: Arc<Course>, by_arrival: bool, max_lag: Duration) -> Self {
        Self {
            course,
            offset: AtomicI64::new(UNKNOWN),
            by_arrival,
            earliest: Mutex::default(),
            max_lag,
            first: OnceLock::new(),
            sound_changed: AtomicBool::new(false),
        }
    }

    /// The coded frame at `running` arrives.
    pub fn arrives(&self, running: gst::ClockTime) {
        if self.by_arrival {
            let now = self.course.clock.now();
            let offset = ns(now) - ns_of(running);
            let earliest = self.earliest.lock().unwrap_or_else(PoisonError::into_inner).add(now, offset);
            if earliest.abs_diff(self.offset.load(Ordering::SeqCst)) > JITTER_NS {
                self.offset.store(earliest, Ordering::SeqCst);
            }
        }
    }

    /// How late the coded frame at `running` is, where that is known yet.
    pub fn lateness(&self, running: gst::ClockTime) -> Option<Duration> {
        let offset = self.offset.load(Ordering::SeqCst);
        let due = offset.checked_add(ns_of(running)).filter(|_| offset != UNKNOWN)?;
        let late = ns(self.course.clock.now()).saturating_sub(due).max(0);
        Some(Duration::from_nanos(late.unsigned_abs()))
    }

    /// When the picture at `running` is, or was, due; `host` is asked once for a moment on both clocks.
    pub fn due(&self, running: gst::ClockTime, host: impl FnOnce() -> (HostTime, gst::ClockTime)) -> HostTime {
        if self.offset.load(Ordering::SeqCst) == UNKNOWN {
            let (at, running) = host();
            self.offset.store(ns(at) - ns_of(running), Ordering::SeqCst);
        }
        let due = self.offset.load(Ordering::SeqCst).saturating_add(ns_of(running)).max(0);
        HostTime::from_start(Duration::from_nanos(due.unsigned_abs()))
    }

    /// The time in the stream of a picture that was due at `due`, which begins with the first one that asks.
    pub fn begin(&self, due: HostTime) -> StreamTime {
        let zero = *self.course.zero.get_or_init(|| due);
        stream_time(due, zero).unwrap_or_default()
    }

    /// The time in the stream of what is not a picture; `None` before the first one.
    pub fn stream_time(&self, running: gst::ClockTime) -> Option<gst::ClockTime> {
        let (offset, zero) = (self.offset.load(Ordering::SeqCst), *self.course.zero.get()?);
        let time = offset.checked_add(ns_of(running))?.checked_sub(ns(zero)).filter(|_| offset != UNKNOWN)?;
        u64::try_from(time).ok().map(gst::ClockTime::from_nseconds)
    }

    /// Numbers a frame, whose time is `pts`.
    pub fn count(&self, pts: StreamTime) -> u64 {
        *self.course.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(pts);
        self.course.frames.fetch_add(1, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimulatedClock;

    #[test]
    fn a_senders_clock_is_read_from_what_comes_earliest() {
        let clock = Arc::new(SimulatedClock::default());
        let session = Session::new(Arc::new(Course::new(clock.clone())), true, Duration::MAX);
        let ms = gst::ClockTime::from_mseconds;
        clock.advance(Duration::from_secs(2));
        // Thirty old frames at once, then each in its time, one of them late.
        for n in 0..30 {
            session.arrives(ms(n * 40));
        }
        let due = |pts| session.due(ms(pts), || panic!("it is known")).since_start().as_millis();
        assert_eq!(due(1160), 2000);
        clock.advance(Duration::from_millis(70));
        session.arrives(ms(1200));
        assert_eq!(due(1200), 2040);
        // Running times are corrected by a second: five seconds later that is known.
        for n in 1..=125 {
            clock.advance(Duration::from_millis(40));
            session.arrives(ms(200 + n * 40));
        }
        assert_eq!(due(5200), clock.now().since_start().as_millis());
    }

    #[test]
    fn time_goes_on_while_the_stream_is_away() {
        let clock = Arc::new(SimulatedClock::default());
        let course = Arc::new(Course::new(clock.clone()));
        let ms = gst::ClockTime::from_mseconds;
        clock.advance(Duration::from_secs(5));
        let first = Session::new(course.clone(), false, Duration::MAX);
        // Half a second after the pipeline began, a picture of 200 ms comes.
        let due = first.due(ms(200), || (clock.now(), ms(500)));
        assert_eq!(due, HostTime::from_start(Duration::from_millis(4700)));
        assert_eq!(first.stream_time(ms(200)), None);
        assert_eq!(first.begin(due).ns, 0);
        let later = first.due(ms(240), || panic!("asked once"));
        assert_eq!(first.begin(later).ns, 40_000_000);
        assert_eq!(first.stream_time(ms(100)), None);
        assert_eq!(first.stream_time(ms(300)), Some(ms(100)));
        assert_eq!([first.count(first.begin(due)), first.count(first.begin(later))], [0, 1]);
        // Away for three seconds; the next connection counts from its own zero.
        clock.advance(Duration::from_secs(3));
        let second = Session::new(course.clone(), false, Duration::MAX);
        let due = second.due(ms(10), || (clock.now(), ms(10)));
        assert_eq!(second.begin(due).ns, 3_300_000_000);
        assert_eq!(second.count(second.begin(due)), 2);
        assert_eq!(course.last(), Some(StreamTime { ns: 3_300_000_000 }));
        assert_eq!(course.now().ns, 3_300_000_000);
    }
}
