//! A request to stop that can be waited for: no thread has to look again and again whether it was made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Asks whoever holds a clone to stop; the request cannot be taken back.
#[derive(Debug, Clone)]
pub struct Shutdown {
    pending: Arc<Mutex<Pending>>,
    requested: Receiver<()>,
}

/// What a request does.
#[derive(Debug, Default)]
struct Pending {
    /// Dropped by the request; the channel carries nothing. `None` once it was made.
    request: Option<Sender<()>>,
    children: Vec<Shutdown>,
}

impl Shutdown {
    /// Not requested yet.
    #[must_use]
    pub fn new() -> Self {
        let (request, requested) = bounded(0);
        let pending = Pending { request: Some(request), children: Vec::new() };
        Self { pending: Arc::new(Mutex::new(pending)), requested }
    }

    /// One that is requested with this one, or by itself: that of a part, which can end before the whole.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        let mut pending = self.pending();
        if pending.request.is_some() {
            pending.children.push(child.clone());
        } else {
            child.request();
        }
        child
    }

    /// Requests it: every wait ends.
    pub fn request(&self) {
        let Pending { request, children } = std::mem::take(&mut *self.pending());
        drop(request);
        children.iter().for_each(Self::request);
    }

    /// Whether it was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        matches!(self.requested.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    /// Waits for the request, for `time` at most; whether it was made.
    #[must_use]
    pub fn wait(&self, time: Duration) -> bool {
        self.requested.recv_timeout(time) == Err(RecvTimeoutError::Disconnected)
    }

    /// Becomes ready (disconnected) with the request: for `select!` beside other channels.
    #[must_use]
    pub fn requested(&self) -> &Receiver<()> {
        &self.requested
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_every_wait_for_good() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_requested() && !shutdown.wait(Duration::ZERO));
        let waiting = shutdown.clone();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || waiting.wait(Duration::from_secs(60)));
            shutdown.request();
            assert!(waiter.join().expect("no panic"));
        });
        shutdown.request();
        assert!(shutdown.is_requested() && shutdown.wait(Duration::from_secs(60)));
    }

    #[test]
    fn a_part_ends_with_the_whole_and_not_the_other_way_round() {
        let whole = Shutdown::new();
        let (one, other) = (whole.child(), whole.child());
        one.request();
        assert!(one.is_requested() && !other.is_requested() && !whole.is_requested());
        let grandchild = other.child();
        whole.request();
        assert!(other.is_requested() && grandchild.is_requested());
        assert!(whole.child().is_requested(), "too late to begin");
    }
}
