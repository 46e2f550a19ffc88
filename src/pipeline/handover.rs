//! From the worker to a stream's sink thread: a few frames, and the notes between them in their place. The worker never waits
//! longer than it says, and for a note not at all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, select};

use crate::frame::DecodedFrame;
use crate::shutdown::Shutdown;
use crate::stream::{Gap, Opening};

/// Frames between worker and sink, a stream.
const INFERRED: usize = 4;
/// Notes beside them, a stream: a sink that has not taken 32 of them has missed a dozen reconnects, and hangs.
const NOTES: usize = 32;
/// How long a frame waits for a sink once the run is to end: an encoder that still works takes one within this time.
const LAST: Duration = Duration::from_secs(10);

/// What goes to a stream's sink thread.
pub(super) enum SinkEvent {
    Open(Box<Opening>),
    Reopen(Box<Opening>),
    Gap(Box<Gap>),
    Frame(Box<DecodedFrame>),
}

/// Why something was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The sink thread did not take what came before in time.
    Full,
    /// The sink thread is gone.
    Gone,
}

/// The worker's end.
pub(super) struct ToSink<T> {
    /// Each with whether it is a frame.
    events: Sender<(bool, T)>,
    /// One for every frame that may be sent.
    room: Receiver<()>,
}

/// The sink thread's end.
pub(super) struct FromWorker<T> {
    events: Receiver<(bool, T)>,
    room: Sender<()>,
}

/// Both ends.
pub(super) fn handover<T>() -> (ToSink<T>, FromWorker<T>) {
    let (events, taken) = bounded(INFERRED + NOTES);
    let (free, room) = bounded(INFERRED);
    for _ in 0..INFERRED {
        // There is room: the channel is new.
        let _ = free.try_send(());
    }
    (ToSink { events, room }, FromWorker { events: taken, room: free })
}

impl<T> ToSink<T> {
    /// Hands a frame over, within `patience`, and not much later than `shutdown`.
    pub fn frame(&self, frame: T, patience: Duration, shutdown: &Shutdown) -> Result<(), Refused> {
        self.wait_for_room(patience, shutdown)?;
        self.send(true, frame)
    }

    fn wait_for_room(&self, patience: Duration, shutdown: &Shutdown) -> Result<(), Refused> {
        if self.room.try_recv().is_ok() {
            return Ok(());
        }
        if patience.is_zero() {
            return Err(Refused::Full);
        }
        let got = select! {
            recv(self.room) -> room => room.map_err(|_| RecvTimeoutError::Disconnected),
            recv(shutdown.requested()) -> _ => self.room.recv_timeout(LAST.min(patience)),
            default(patience) => Err(RecvTimeoutError::Timeout),
        };
        got.map_err(|e| if e == RecvTimeoutError::Timeout { Refused::Full } else { Refused::Gone })
    }

    /// Says something about the frames before and after it.
    pub fn note(&self, note: T) -> Result<(), Refused> {
        self.send(false, note)
    }

    fn send(&self, is_frame: bool, event: T) -> Result<(), Refused> {
        self.events.try_send((is_frame, event)).map_err(|e| match e {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Gone,
        })
    }
}

impl<T> FromWorker<T> {
    /// What comes next; waits for `time` at most, where one is given.
    ///
    /// # Errors
    /// When nothing came in time, or the worker has said all it had to say.
    pub fn next(&self, time: Option<Duration>) -> Result<T, RecvTimeoutError> {
        let (is_frame, event) = match time {
            Some(time) => self.events.recv_timeout(time)?,
            None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected)?,
        };
        if is_frame {
            // As many as there are frames: it always fits. A worker that is gone sends no more of them.
            let _ = self.room.try_send(());
        }
        Ok(event)
    }
}

/// Where a test has the worker forget a frame: the Nth with `STREAMDET_TEST_LOSE=N`.
pub(super) fn test_lose_point() -> bool {
    static PLANTED: OnceLock<Option<u64>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let planted = PLANTED.get_or_init(|| std::env::var("STREAMDET_TEST_LOSE").ok()?.parse().ok());
    planted.is_some_and(|nth| PASSED.fetch_add(1, Ordering::Relaxed) + 1 == nth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_sink_costs_frames_and_never_holds_a_note_back() {
        let (to, from) = handover::<u32>();
        let (none, shutdown) = (Duration::ZERO, Shutdown::new());
        for _ in 0..INFERRED {
            assert_eq!(to.frame(1, none, &shutdown), Ok(()));
        }
        assert_eq!(to.frame(1, none, &shutdown), Err(Refused::Full));
        assert_eq!(to.frame(1, Duration::from_millis(1), &shutdown), Err(Refused::Full));
        for _ in 0..NOTES {
            assert_eq!(to.note(100), Ok(()));
        }
        assert_eq!(to.note(100), Err(Refused::Full));
        assert_eq!(from.next(None), Ok(1));
        assert_eq!(to.frame(1, Duration::from_mins(1), &shutdown), Ok(()), "there is room again");
        drop(from);
        assert_eq!(to.note(100), Err(Refused::Gone));
        assert_eq!(to.frame(1, Duration::from_mins(1), &shutdown), Err(Refused::Gone));
    }

    #[test]
    fn a_worker_that_waits_for_room_goes_on_when_there_is_some() {
        let (to, from) = handover::<u32>();
        let shutdown = Shutdown::new();
        std::thread::scope(|scope| {
            let sink = scope.spawn(|| (0..20).filter(|_| from.next(None).is_ok()).count());
            for _ in 0..20 {
                assert_eq!(to.frame(1, Duration::from_mins(1), &shutdown), Ok(()));
            }
            assert_eq!(sink.join().expect("no panic"), 20);
        });
        drop(to);
        assert_eq!(from.next(None), Err(RecvTimeoutError::Disconnected));
    }
}
