//! Bounded lanes from many sources to one receiver, which takes from them in turn: no source keeps another waiting.
//!
//! A lane holds so many items; what happens when one more comes is its [`WhenFull`]. Notes, which say something about the
//! items before and after them, are never given up and keep their place.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Notes a lane takes beside its items before whoever sends one waits.
const NOTES: usize = 16;

/// What a full lane does with one more item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The sender waits: nothing is lost.
    Wait,
    /// The newest wins: the oldest item is given up, and counted.
    OldestGoes,
}

/// What was sent cannot arrive: the receiver has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody receives any more")]
pub struct Closed;

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    /// The time is over.
    #[error("nothing came in time")]
    Late,
    /// All senders have gone.
    #[error("nobody sends any more")]
    Ended,
}

/// What was received.
#[derive(Debug)]
pub struct Taken<T> {
    /// Number of its lane.
    pub lane: usize,
    /// It.
    pub item: T,
    /// Items given up in this lane since the last one was taken from it.
    pub evicted: u64,
}

struct One<T> {
    /// Whether each is an item, and it.
    waiting: VecDeque<(bool, T)>,
    items: usize,
    when_full: WhenFull,
    evicted: u64,
}

struct State<T> {
    lanes: Vec<One<T>>,
    /// Whose turn it is.
    next: usize,
    closed: bool,
}

struct Inner<T> {
    name: &'static str,
    capacity: usize,
    state: Mutex<State<T>>,
    senders: AtomicUsize,
    filled: Condvar,
    emptied: Condvar,
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `count` lanes called `name`, each for `capacity` items; all wait when full.
#[must_use]
pub fn lanes<T>(name: &'static str, count: usize, capacity: usize) -> (Vec<Lane<T>>, Lanes<T>) {
    let one = || One { waiting: VecDeque::with_capacity(capacity), items: 0, when_full: WhenFull::Wait, evicted: 0 };
    let state = State { lanes: (0..count).map(|_| one()).collect(), next: 0, closed: false };
    let inner = Arc::new(Inner {
        name,
        capacity,
        state: Mutex::new(state),
        senders: AtomicUsize::new(count),
        filled: Condvar::new(),
        emptied: Condvar::new(),
    });
    let senders = (0..count).map(|number| Lane { inner: inner.clone(), number }).collect();
    (senders, Lanes { inner })
}

/// Where items enter a lane.
pub struct Lane<T> {
    inner: Arc<Inner<T>>,
    number: usize,
}

impl<T> Lane<T> {
    /// From now on.
    pub fn set_when_full(&self, when_full: WhenFull) {
        self.inner.lock().lanes[self.number].when_full = when_full;
    }

    /// Sends an item, which another may displace.
    ///
    /// # Errors
    /// When nobody receives.
    pub fn send(&self, item: T) -> Result<(), Closed> {
        let capacity = self.inner.capacity;
        let mut state = self.inner.lock();
        while !state.closed {
            let lane = &mut state.lanes[self.number];
            if lane.items >= capacity
                && lane.when_full == WhenFull::OldestGoes
                && let Some(oldest) = lane.waiting.iter().position(|(is_item, _)| *is_item)
            {
                lane.waiting.remove(oldest);
                lane.items -= 1;
                lane.evicted += 1;
            }
            if lane.items < capacity {
                lane.waiting.push_back((true, item));
                lane.items += 1;
                self.inner.filled.notify_one();
                return Ok(());
            }
            state = self.inner.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Err(Closed)
    }

    /// Sends what must arrive. Waits when far too much does.
    ///
    /// # Errors
    /// When nobody receives.
    pub fn note(&self, note: T) -> Result<(), Closed> {
        let most = self.inner.capacity + NOTES;
        let mut state = self.inner.lock();
        while !state.closed {
            let lane = &mut state.lanes[self.number];
            if lane.waiting.len() < most {
                lane.waiting.push_back((false, note));
                self.inner.filled.notify_one();
                return Ok(());
            }
            state = self.inner.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Err(Closed)
    }

    /// Whether the next item would have to wait, or displace another.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inner.lock().lanes[self.number].items >= self.inner.capacity
    }
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        self.inner.senders.fetch_add(1, Ordering::SeqCst);
        Self { inner: self.inner.clone(), number: self.number }
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        if self.inner.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Under the lock, so that a receiver about to wait sees it or hears of it.
            let _state = self.inner.lock();
            self.inner.filled.notify_all();
        }
    }
}

impl<T> std::fmt::Debug for Lane<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.inner.name, self.number)
    }
}

/// Where items leave the lanes.
pub struct Lanes<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Lanes<T> {
    /// The oldest of the lane whose turn it is among those that hold something. Waits until `deadline`, or as long as it
    /// takes.
    ///
    /// # Errors
    /// When nothing came in time, or nothing will.
    pub fn take(&self, deadline: Option<Instant>) -> Result<Taken<T>, Nothing> {
        let mut state = self.inner.lock();
        loop {
            if let Some(taken) = state.take() {
                self.inner.emptied.notify_all();
                return Ok(taken);
            }
            if self.inner.senders.load(Ordering::SeqCst) == 0 {
                return Err(Nothing::Ended);
            }
            state = match deadline {
                None => self.inner.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Nothing::Late);
                    }
                    self.inner.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// So many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.lock().lanes.iter().map(|lane| lane.items).sum()
    }

    /// So many may, over all lanes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity * self.inner.lock().lanes.len()
    }
}

impl<T> State<T> {
    fn take(&mut self) -> Option<Taken<T>> {
        let count = self.lanes.len();
        let number = (0..count).map(|n| (self.next + n) % count).find(|n| !self.lanes[*n].waiting.is_empty())?;
        self.next = (number + 1) % count;
        let lane = &mut self.lanes[number];
        let (is_item, item) = lane.waiting.pop_front()?;
        lane.items -= usize::from(is_item);
        Some(Taken { lane: number, item, evicted: std::mem::take(&mut lane.evicted) })
    }
}

impl<T> Drop for Lanes<T> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.closed = true;
        for lane in &mut state.lanes {
            lane.waiting.clear();
            lane.items = 0;
        }
        self.inner.emptied.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(lanes: &Lanes<u32>) -> Vec<(usize, u32, u64)> {
        let now = || Some(Instant::now());
        std::iter::from_fn(|| lanes.take(now()).ok()).map(|t| (t.lane, t.item, t.evicted)).collect()
    }

    #[test]
    fn lanes_take_turns() {
        let (senders, lanes) = lanes("test", 3, 4);
        for n in 0..4 {
            senders[0].send(n).expect("room");
        }
        senders[2].send(20).expect("room");
        senders[2].send(21).expect("room");
        assert_eq!((lanes.waiting(), lanes.capacity()), (6, 12));
        let order: Vec<u32> = taken(&lanes).into_iter().map(|(_, item, _)| item).collect();
        assert_eq!(order, [0, 20, 1, 21, 2, 3]);
    }

    #[test]
    fn the_newest_win_and_notes_stay() {
        let (senders, lanes) = lanes("test", 1, 2);
        senders[0].set_when_full(WhenFull::OldestGoes);
        for n in 0..3 {
            senders[0].send(n).expect("it never waits");
        }
        senders[0].note(100).expect("a note");
        for n in 3..6 {
            senders[0].send(n).expect("it never waits");
        }
        assert!(senders[0].is_full());
        assert_eq!(taken(&lanes), [(0, 100, 4), (0, 4, 0), (0, 5, 0)]);
    }

    #[test]
    fn a_full_lane_waits_for_room_and_no_longer_than_there_is_a_receiver() {
        let (senders, lanes) = lanes("test", 1, 1);
        let lane = senders[0].clone();
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || (0..100).take_while(|n| lane.send(*n).is_ok()).count());
            for n in 0..50 {
                assert_eq!(lanes.take(None).expect("it comes").item, n);
            }
            drop(lanes);
            assert!(sender.join().expect("no panic") < 100);
        });
        assert_eq!(senders[0].note(1), Err(Closed));
    }

    #[test]
    fn the_end_is_seen_once_all_is_taken() {
        let (senders, lanes) = lanes("test", 2, 2);
        senders[1].send(7).expect("room");
        let soon = || Some(Instant::now() + Duration::from_millis(1));
        assert_eq!(lanes.take(soon()).expect("it is there").item, 7);
        assert_eq!(lanes.take(soon()).map(|t| t.item), Err(Nothing::Late));
        std::thread::scope(|scope| {
            scope.spawn(move || drop(senders));
            assert_eq!(lanes.take(None).map(|t| t.item), Err(Nothing::Ended));
        });
    }
}
