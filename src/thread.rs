//! The one way to start a thread: it has a name, and a panic in it is an error of whoever joins it.
//!
//! What a thread holds (channels, above all) is dropped when it panics, so that whoever waits for it at the other end goes
//! on; and nobody has to wait longer than it likes for a thread to end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::secrets::redact;

/// Why a thread gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThreadError {
    /// The system has no more threads.
    #[error(
        "thread {name}: cannot be started: {problem}; end other programs, or raise the limit of processes (ulimit -u)"
    )]
    Start {
        /// Its name.
        name: String,
        /// What the system says.
        problem: String,
    },
    /// It panicked: a bug.
    #[error("thread {name} panicked: {message}; this is a bug, please report it")]
    Panicked {
        /// Its name.
        name: String,
        /// What the panic said, without secrets.
        message: String,
    },
    /// It did not end in time; it is left alone.
    #[error("thread {name} did not end within {} s", within.as_secs_f64())]
    Late {
        /// Its name.
        name: String,
        /// How long it was waited for.
        within: Duration,
    },
}

/// A thread that was started.
#[derive(Debug)]
pub struct Thread<T> {
    name: String,
    result: Receiver<Result<T, String>>,
}

/// Starts a thread called `name` (Linux shows 15 bytes of it).
///
/// # Errors
/// When the system refuses.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<Thread<T>, ThreadError> {
    let name = name.into();
    let (done, result) = bounded(1);
    let run = move || {
        let outcome = catch_unwind(AssertUnwindSafe(body)).map_err(|panic| said(panic.as_ref()));
        // Nobody joins it: nobody wants to know.
        let _ = done.send(outcome);
    };
    #[expect(clippy::disallowed_methods, reason = "the one place where threads start")]
    let started = std::thread::Builder::new().name(name.clone()).spawn(run);
    match started {
        // Dropping the handle detaches the thread; the channel tells of its end.
        Ok(_) => Ok(Thread { name, result }),
        Err(e) => Err(ThreadError::Start { name, problem: e.to_string() }),
    }
}

impl<T> Thread<T> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !self.result.is_empty()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it panicked.
    pub fn join(self) -> Result<T, ThreadError> {
        let outcome = self.result.recv();
        self.outcome(outcome.unwrap_or_else(|_| Err("it ended without a result".into())))
    }

    /// Waits for its end, for `within` at most; later it is left alone, with whatever it holds.
    ///
    /// # Errors
    /// When it panicked, or has not ended by then.
    pub fn join_within(self, within: Duration) -> Result<T, ThreadError> {
        match self.result.recv_timeout(within) {
            Ok(outcome) => self.outcome(outcome),
            Err(RecvTimeoutError::Timeout) => Err(ThreadError::Late { name: self.name, within }),
            Err(RecvTimeoutError::Disconnected) => self.outcome(Err("it ended without a result".into())),
        }
    }

    fn outcome(self, outcome: Result<T, String>) -> Result<T, ThreadError> {
        outcome.map_err(|message| ThreadError::Panicked { name: self.name, message })
    }
}

/// What a panic said, without secrets.
#[must_use]
pub fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    redact(text.unwrap_or("no message"))
}

/// Where a test has this thread panic: `STREAMDET_TEST_PANIC=NAME:N` panics when the thread called NAME comes here for the
/// Nth time. Every loop of a named thread calls it once a turn; without the variable it costs one load.
pub fn test_panic_point() {
    static PLANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let planted = PLANTED.get_or_init(|| {
        let text = std::env::var("STREAMDET_TEST_PANIC").ok()?;
        let (name, count) = text.rsplit_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    if let Some((name, count)) = planted
        && std::thread::current().name() == Some(name)
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        panic!("planted by STREAMDET_TEST_PANIC");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_comes_back_and_a_panic_is_an_error() {
        assert_eq!(spawn("adds", || 1 + 1).expect("it starts").join(), Ok(2));
        let (held, other_end) = bounded::<()>(0);
        let panics = spawn("panics", move || {
            let _held = held;
            panic!("at rtsp://user:secret@host/x");
        });
        let error = panics.expect("it starts").join().map(|(): ()| ()).expect_err("it panicked");
        assert!(matches!(&error, ThreadError::Panicked { name, .. } if name == "panics"), "{error}");
        assert!(error.to_string().contains("rtsp://") && !error.to_string().contains("secret"), "{error}");
        assert!(other_end.recv().is_err(), "what it held is dropped");
    }

    #[test]
    fn a_thread_that_does_not_end_is_left_alone() {
        let (let_go, held) = bounded::<()>(0);
        let waits = spawn("waits", move || held.recv().is_err()).expect("it starts");
        assert!(!waits.is_finished());
        assert!(matches!(waits.join_within(Duration::from_millis(1)), Err(ThreadError::Late { .. })));
        drop(let_go);
    }
}
