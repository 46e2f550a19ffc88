//! The lanes themselves, over the locks that their parent module names.

use std::collections::VecDeque;

use super::sync::{Arc, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, PoisonError};
use crate::clock::Deadline;

/// Notes a lane takes beside its items before their sender waits.
const NOTES: usize = 16;

/// What a full lane does with one more item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The sender waits: nothing is dropped.
    Wait,
    /// The newest wins: the oldest item is evicted, and counted.
    DropOldest,
}

/// What was sent cannot arrive: the receiver is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver is gone")]
pub struct Closed;

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    /// Nothing came by the deadline.
    #[error("nothing was received by the deadline")]
    Timeout,
    /// All lanes are empty, and all senders gone.
    #[error("all senders are gone")]
    Disconnected,
}

/// What was received.
#[derive(Debug)]
pub struct Received<T> {
    /// Number of its lane.
    pub lane: usize,
    /// What was sent.
    pub item: T,
    /// Items evicted from this lane since the last one was taken from it.
    pub evicted: u64,
}

struct LaneState<T> {
    /// Whether each is an item rather than a note, and what was sent.
    waiting: VecDeque<(bool, T)>,
    items: usize,
    when_full: WhenFull,
    evicted: u64,
    /// Nothing is taken from it.
    held: bool,
}

struct State<T> {
    lanes: Vec<LaneState<T>>,
    /// The lane whose turn it is.
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
    let lane = || LaneState {
        waiting: VecDeque::with_capacity(capacity + NOTES),
        items: 0,
        when_full: WhenFull::Wait,
        evicted: 0,
        held: false,
    };
    let state = State { lanes: (0..count).map(|_| lane()).collect(), next: 0, closed: false };
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
    /// What happens from now on when it is full.
    pub fn set_when_full(&self, when_full: WhenFull) {
        self.inner.lock().lanes[self.number].when_full = when_full;
    }

    /// Sends an item; a newer one may evict it.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub fn send(&self, item: T) -> Result<(), Closed> {
        let capacity = self.inner.capacity;
        let mut state = self.inner.lock();
        while !state.closed {
            let lane = &mut state.lanes[self.number];
            if lane.items >= capacity
                && lane.when_full == WhenFull::DropOldest
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

    /// Sends what must arrive: it is never evicted. Waits while 16 more than a full lane wait.
    ///
    /// # Errors
    /// When the receiver is gone.
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

    /// Whether the next item would have to wait, or evict another.
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

/// What nobody took from a lane.
#[derive(Debug)]
pub struct Rest<T> {
    /// Items and notes that waited, oldest first.
    pub items: Vec<T>,
    /// Items evicted since the last one was taken.
    pub evicted: u64,
}

/// Where items leave the lanes.
pub struct Lanes<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Lanes<T> {
    /// The oldest of the lane whose turn it is among those that hold something. Waits until `deadline`, without one as long
    /// as it takes.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] at the deadline, [`RecvError::Disconnected`] when all senders are gone and all is taken.
    pub fn take(&self, deadline: Option<Deadline>) -> Result<Received<T>, RecvError> {
        let mut state = self.inner.lock();
        loop {
            if let Some(taken) = state.take() {
                self.inner.emptied.notify_all();
                return Ok(taken);
            }
            if self.inner.senders.load(Ordering::SeqCst) == 0 && !state.lanes.iter().any(|lane| lane.held) {
                return Err(RecvError::Disconnected);
            }
            state = match deadline {
                None => self.inner.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.left();
                    if left.is_zero() {
                        return Err(RecvError::Timeout);
                    }
                    self.inner.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Whether nothing is taken from a lane for now: it fills, and the others go on. As long as one is held, senders are not all gone.
    pub fn hold(&self, lane: usize, held: bool) {
        self.inner.lock().lanes[lane].held = held;
    }

    /// Closes the lanes: who sends gets [`Closed`] from now on. What still waited in each lane, so that it can be counted.
    #[must_use]
    pub fn close(&self) -> Vec<Rest<T>> {
        let mut state = self.inner.lock();
        state.closed = true;
        self.inner.emptied.notify_all();
        let rest = |lane: &mut LaneState<T>| {
            lane.items = 0;
            let items = lane.waiting.drain(..).map(|(_, item)| item).collect();
            Rest { items, evicted: std::mem::take(&mut lane.evicted) }
        };
        state.lanes.iter_mut().map(rest).collect()
    }

    /// Items that wait, over all lanes.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.lock().lanes.iter().map(|lane| lane.items).sum()
    }

    /// Items that may wait, over all lanes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity * self.inner.lock().lanes.len()
    }
}

impl<T> State<T> {
    fn take(&mut self) -> Option<Received<T>> {
        let count = self.lanes.len();
        let number = (0..count).map(|n| (self.next + n) % count).find(|n| {
            let lane = &self.lanes[*n];
            !lane.held && !lane.waiting.is_empty()
        })?;
        self.next = (number + 1) % count;
        let lane = &mut self.lanes[number];
        let (is_item, item) = lane.waiting.pop_front()?;
        lane.items -= usize::from(is_item);
        Some(Received { lane: number, item, evicted: std::mem::take(&mut lane.evicted) })
    }
}

impl<T> Drop for Lanes<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}
