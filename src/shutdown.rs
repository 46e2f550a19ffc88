//! A request to stop that can be waited for: no thread has to look again and again whether it was made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// What is called when the request is made.
type Hook = Box<dyn Fn() + Send>;

/// Asks whoever holds a clone to stop; the request cannot be taken back.
#[derive(Clone)]
pub struct Shutdown {
    inner: Arc<Inner>,
    requested: Receiver<()>,
    /// Keeps the way from the parent's request to this one.
    _parent: Option<Arc<OnRequest>>,
}

struct Inner {
    is_requested: AtomicBool,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    /// Dropped by the request; the channel carries nothing.
    request: Option<Sender<()>>,
    hooks: BTreeMap<u64, Hook>,
    next: u64,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shutdown {
    /// Not requested yet.
    #[must_use]
    pub fn new() -> Self {
        let (request, requested) = bounded(0);
        let waiting = Mutex::new(Waiting { request: Some(request), hooks: BTreeMap::new(), next: 0 });
        Self { inner: Arc::new(Inner { is_requested: AtomicBool::new(false), waiting }), requested, _parent: None }
    }

    /// One that is requested with this one, or on its own before.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        // Weak, since the child holds the hook.
        let inner = Arc::downgrade(&child.inner);
        let requested = child.requested.clone();
        let hook = self.on_request(move || {
            if let Some(inner) = inner.upgrade() {
                Self { inner, requested: requested.clone(), _parent: None }.request();
            }
        });
        Self { _parent: Some(Arc::new(hook)), ..child }
    }

    /// Requests it: every wait ends.
    pub fn request(&self) {
        let mut waiting = self.inner.lock();
        self.inner.is_requested.store(true, Ordering::SeqCst);
        drop(waiting.request.take());
        let hooks = std::mem::take(&mut waiting.hooks);
        // A hook may request another one, whose hooks take other locks.
        drop(waiting);
        for hook in hooks.values() {
            hook();
        }
    }

    /// Whether it was requested. Costs one load.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.inner.is_requested.load(Ordering::SeqCst)
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

    /// Calls `hook` once when the request is made, on the thread that makes it; at once where it was made already. For
    /// threads that wait at something other than a channel: the hook wakes them. Must not wait for anything.
    #[must_use = "the hook is removed when this is dropped"]
    pub fn on_request(&self, hook: impl Fn() + Send + 'static) -> OnRequest {
        let mut waiting = self.inner.lock();
        let number = waiting.next;
        waiting.next += 1;
        if self.is_requested() {
            drop(waiting);
            hook();
        } else {
            waiting.hooks.insert(number, Box::new(hook));
        }
        OnRequest { inner: self.inner.clone(), number }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shutdown").field("is_requested", &self.is_requested()).finish_non_exhaustive()
    }
}

/// A hook of [`Shutdown::on_request`]; dropping it removes the hook.
pub struct OnRequest {
    inner: Arc<Inner>,
    number: u64,
}

impl Drop for OnRequest {
    fn drop(&mut self) {
        self.inner.lock().hooks.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_request_ends_every_wait_for_good() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_requested() && !shutdown.wait(Duration::ZERO));
        let waiting = shutdown.clone();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(move || waiting.wait(Duration::from_mins(1)));
            shutdown.request();
            assert!(waiter.join().expect("no panic"));
        });
        shutdown.request();
        assert!(shutdown.is_requested() && shutdown.wait(Duration::from_mins(1)));
    }

    #[test]
    fn a_child_stops_with_its_parent_and_alone() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child());
        let grandchild = second.child();
        first.request();
        assert!(first.is_requested() && !second.is_requested() && !parent.is_requested());
        parent.request();
        assert!(grandchild.is_requested() && grandchild.wait(Duration::from_mins(1)));
        assert!(parent.child().is_requested(), "a child of one that was requested is so from the start");
    }

    #[test]
    fn hooks_are_called_once_until_they_are_dropped() {
        let (shutdown, calls) = (Shutdown::new(), Arc::new(AtomicU32::new(0)));
        let count = || {
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        let kept = shutdown.on_request(count());
        drop(shutdown.on_request(count()));
        shutdown.request();
        shutdown.request();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        let _late = shutdown.on_request(count());
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        drop(kept);
    }
}
