//! A stream's encoded frames, for any number of viewers in this process. Each has a bounded queue; one that does not keep up goes on
//! with a keyframe, and slows nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::preview::Preview;
use crate::clock::{HostTime, StreamTime, now};

/// What waits for a slow viewer at most, as for any live client (`branch/live.rs`).
const WAITING_FRAMES: usize = 60;
const WAITING_BYTES: usize = 8 << 20;
/// A viewer who lost something gets a keyframe at once, but no more often than this: on a bad line they would follow each other.
const KEYFRAME_EVERY: Duration = Duration::from_millis(500);

/// One encoded frame: H.264, a byte stream, a keyframe with its parameter sets before it.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// The access unit; shared by all viewers.
    pub data: Arc<[u8]>,
    /// Its time in the stream.
    pub pts: StreamTime,
    /// It can be decoded without any before it.
    pub is_keyframe: bool,
}

/// What becomes of a stream's encoded frames here, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// Viewers there have been.
    pub viewers: u64,
    /// Frames they were given; one for several counts for each.
    pub sent: u64,
    /// Frames that were skipped for those who did not keep up.
    pub skipped: u64,
}

/// A stream as it is shown in this process: its encoded frames, and single ones as JPEG. It outlives outages, other sizes and
/// encoders; viewers stay until it is closed.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    name: String,
    preview: Preview,
    /// Viewers: without any, a frame costs a look at this.
    watching: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queues: Vec<Queue>,
    next: u64,
    closed: bool,
    /// What the encoder makes.
    profile: Option<[u8; 3]>,
    /// A viewer lost something.
    wants_keyframe: bool,
    /// When the last keyframe passed.
    last_keyframe: Option<HostTime>,
    totals: Watched,
}

/// What waits for one viewer.
struct Queue {
    viewer: u64,
    frames: VecDeque<EncodedFrame>,
    bytes: usize,
    /// Frames are skipped until a keyframe comes.
    needs_keyframe: bool,
    /// It has had the keyframe that it begins with.
    begun: bool,
    skipped: u64,
    waker: Option<Waker>,
}

impl Queue {
    /// Takes a frame in; whether it found room.
    fn push(&mut self, frame: &EncodedFrame) -> bool {
        let full = self.frames.len() >= WAITING_FRAMES || self.bytes + frame.data.len() > WAITING_BYTES;
        if full || (self.needs_keyframe && !frame.is_keyframe) {
            self.needs_keyframe = true;
            self.skipped += u64::from(self.begun);
            return false;
        }
        self.needs_keyframe = false;
        self.begun = true;
        self.bytes += frame.data.len();
        self.frames.push_back(frame.clone());
        true
    }
}

impl Hub {
    /// Of the stream called `name`, without secrets.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            preview: Preview::default(),
            watching: AtomicUsize::new(0),
            state: Mutex::default(),
        }))
    }

    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its annotated frames as JPEG.
    #[must_use]
    pub fn preview(&self) -> &Preview {
        &self.0.preview
    }

    /// A viewer from now on; he begins with a keyframe, which is requested.
    #[must_use]
    pub fn watch(&self) -> Viewer {
        let mut state = self.lock();
        let viewer = state.next;
        state.next += 1;
        state.totals.viewers += 1;
        state.queues.push(Queue {
            viewer,
            frames: VecDeque::new(),
            bytes: 0,
            needs_keyframe: true,
            begun: false,
            skipped: 0,
            waker: None,
        });
        self.0.watching.store(state.queues.len(), Ordering::SeqCst);
        Viewer { hub: self.clone(), viewer }
    }

    /// How many watch.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.0.watching.load(Ordering::SeqCst)
    }

    /// `profile_idc`, constraints and `level_idc` of what the encoder makes, once that is known.
    #[must_use]
    pub fn profile(&self) -> Option<[u8; 3]> {
        self.lock().profile
    }

    /// Figures up to now.
    #[must_use]
    pub fn totals(&self) -> Watched {
        self.lock().totals
    }

    /// The stream is no more: viewers get what waits for them, and the end.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let wakers: Vec<Waker> = state.queues.iter_mut().filter_map(|queue| queue.waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.0.preview.close();
    }

    /// The frames that follow are of this profile.
    pub(super) fn set_profile(&self, profile: [u8; 3]) {
        self.lock().profile = Some(profile);
    }

    /// Whether somebody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.viewers() > 0
    }

    /// Gives a frame to all viewers; whether a keyframe is to follow soon.
    pub(super) fn push(&self, frame: &EncodedFrame) -> bool {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let State { queues, totals, .. } = &mut *state;
        let mut waiting = false;
        for queue in queues {
            let before = queue.skipped;
            if queue.push(frame) {
                totals.sent += 1;
                wakers.extend(queue.waker.take());
            }
            totals.skipped += queue.skipped - before;
            waiting |= !queue.begun;
        }
        if frame.is_keyframe {
            state.last_keyframe = Some(now());
            state.wants_keyframe = false;
        }
        let rested = state.last_keyframe.is_none_or(|last| now().since(last) >= KEYFRAME_EVERY);
        let wanted = state.wants_keyframe && rested;
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        waiting || wanted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hub({}, {} viewers)", self.0.name, self.viewers())
    }
}

/// One viewer of a stream, until it is dropped.
#[derive(Debug)]
pub struct Viewer {
    hub: Hub,
    viewer: u64,
}

impl Viewer {
    /// The next frame; `None` when the stream is no more.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<EncodedFrame>> {
        let mut state = self.hub.lock();
        let closed = state.closed;
        let Some(queue) = self.queue(&mut state) else { return Poll::Ready(None) };
        if let Some(frame) = queue.frames.pop_front() {
            queue.bytes -= frame.data.len();
            return Poll::Ready(Some(frame));
        }
        if closed {
            return Poll::Ready(None);
        }
        queue.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// He lost something: a keyframe is requested, unless one has just passed.
    pub fn request_keyframe(&self) {
        self.hub.lock().wants_keyframe = true;
    }

    /// Frames that were skipped for him since he began.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        let mut state = self.hub.lock();
        self.queue(&mut state).map_or(0, |queue| queue.skipped)
    }

    fn queue<'a>(&self, state: &'a mut State) -> Option<&'a mut Queue> {
        state.queues.iter_mut().find(|queue| queue.viewer == self.viewer)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        state.queues.retain(|queue| queue.viewer != self.viewer);
        self.hub.0.watching.store(state.queues.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64, is_keyframe: bool) -> EncodedFrame {
        EncodedFrame { data: [0; 8].into(), pts: StreamTime { ns: number }, is_keyframe }
    }

    /// What waits for the viewer, by number.
    fn taken(viewer: &mut Viewer) -> Vec<u64> {
        let mut context = Context::from_waker(Waker::noop());
        let mut numbers = Vec::new();
        while let Poll::Ready(Some(frame)) = viewer.poll_next(&mut context) {
            numbers.push(frame.pts.ns);
        }
        numbers
    }

    #[test]
    fn a_viewer_begins_with_a_keyframe_that_is_requested_for_him() {
        let hub = Hub::new("cam");
        let mut viewer = hub.watch();
        assert!(hub.push(&frame(1, false)), "a keyframe is requested");
        assert!(!hub.push(&frame(2, true)) && !hub.push(&frame(3, false)));
        assert_eq!(taken(&mut viewer), [2, 3]);
        assert_eq!(viewer.skipped(), 0, "what came before he began was not for him");
    }

    #[test]
    fn who_does_not_keep_up_goes_on_with_a_keyframe_and_slows_nobody() {
        let hub = Hub::new("cam");
        let (mut slow, mut quick) = (hub.watch(), hub.watch());
        for number in 0..90 {
            hub.push(&frame(number, number % 30 == 0));
            assert_eq!(taken(&mut quick), [number]);
        }
        assert_eq!(taken(&mut slow), (0..60).collect::<Vec<_>>(), "no more than the queue holds");
        for number in 90..125 {
            hub.push(&frame(number, number == 120));
        }
        assert_eq!(taken(&mut slow), (120..125).collect::<Vec<_>>());
        assert_eq!((slow.skipped(), quick.skipped()), (60, 0));
        assert_eq!(hub.totals(), Watched { viewers: 2, sent: 60 + 5 + 90 + 35, skipped: 60 });
    }

    #[test]
    fn frames_that_are_large_are_held_to_their_bytes() {
        let hub = Hub::new("cam");
        let mut viewer = hub.watch();
        let large = EncodedFrame { data: vec![0; 3 << 20].into(), pts: StreamTime { ns: 0 }, is_keyframe: true };
        for _ in 0..5 {
            hub.push(&large);
        }
        assert_eq!((taken(&mut viewer).len(), viewer.skipped()), (2, 3));
    }

    #[test]
    fn a_stream_that_is_closed_ends_its_viewers_after_what_waits_for_them() {
        let hub = Hub::new("cam");
        let mut viewer = hub.watch();
        hub.push(&frame(1, true));
        hub.close();
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(viewer.poll_next(&mut context), Poll::Ready(Some(_))));
        assert!(matches!(viewer.poll_next(&mut context), Poll::Ready(None)));
        drop(viewer);
        assert_eq!(hub.viewers(), 0);
    }
}
