//! The connections there are: bounded, and the one that is missed least gives way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a connection does.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// No request, or a part of its head.
    Idle = 0,
    /// A request's body is on its way.
    Receiving = 1,
    /// A request is being answered.
    Answering = 2,
}

/// One of them.
pub(super) struct Connection {
    phase: AtomicU8,
    closing: Notify,
}

impl Connection {
    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Returns once it has to give way to another.
    pub async fn gives_way(&self) {
        self.closing.notified().await;
    }
}

/// All of them, the oldest first.
pub(super) struct Connections {
    most: usize,
    all: Mutex<(u64, BTreeMap<u64, Arc<Connection>>)>,
}

/// A place among them, until it is dropped.
pub(super) struct Place {
    number: u64,
    pub connection: Arc<Connection>,
    of: Arc<Connections>,
}

impl Connections {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), all: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<Connection>>)> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection: that of the oldest idle one, or else of the oldest that is sending, where there is no other;
    /// `None` where all are being answered.
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let mut all = self.lock();
        if all.1.len() >= self.most {
            Self::evict(&mut all.1)?;
        }
        let connection = Arc::new(Connection { phase: AtomicU8::new(Phase::Idle as u8), closing: Notify::new() });
        let number = all.0;
        all.0 += 1;
        all.1.insert(number, connection.clone());
        Some(Place { number, connection, of: self.clone() })
    }

    /// Has one give way, where the system has no room for another.
    pub fn make_room(&self) {
        Self::evict(&mut self.lock().1);
    }

    fn evict(all: &mut BTreeMap<u64, Arc<Connection>>) -> Option<()> {
        let oldest = |phase| all.iter().find(|(_, connection)| connection.is(phase)).map(|(number, _)| *number);
        let number = oldest(Phase::Idle).or_else(|| oldest(Phase::Receiving))?;
        all.remove(&number)?.closing.notify_one();
        Some(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.lock().1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_idle_one_gives_way_then_the_oldest_that_sends_and_none_that_is_answered() {
        let all = Connections::new(3);
        let places: Vec<Place> = (0..3).map(|_| all.admit().expect("room")).collect();
        let is_there = |place: &Place| all.lock().1.contains_key(&place.number);
        places[0].connection.set(Phase::Answering);
        places[1].connection.set(Phase::Receiving);
        let fourth = all.admit().expect("an idle one gives way");
        assert!(is_there(&places[0]) && is_there(&places[1]) && !is_there(&places[2]));
        fourth.connection.set(Phase::Answering);
        let fifth = all.admit().expect("one that sends gives way");
        assert!(!is_there(&places[1]) && is_there(&fourth));
        fifth.connection.set(Phase::Answering);
        assert!(all.admit().is_none());
        drop(fifth);
        assert!(all.admit().is_some());
    }
}
