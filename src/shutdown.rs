//! A request to stop that can be waited for: no thread has to look again and again whether it was made.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Asks whoever holds a clone to stop; the request cannot be taken back.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Dropped by the request; the channel carries nothing.
    request: Arc<Mutex<Option<Sender<()>>>>,
    requested: Receiver<()>,
}

impl Shutdown {
    /// Not requested yet.
    #[must_use]
    pub fn new() -> Self {
        let (request, requested) = bounded(0);
        Self { request: Arc::new(Mutex::new(Some(request))), requested }
    }

    /// Requests it: every wait ends.
    pub fn request(&self) {
        drop(self.request.lock().unwrap_or_else(PoisonError::into_inner).take());
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
}
