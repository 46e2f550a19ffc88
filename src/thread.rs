//! The one way to start a thread: it has a name, and a panic in it is an error of whoever joins it.
//!
//! What a thread holds (channels, above all) is dropped when it panics, so that whoever waits for it at the other end goes
//! on; and nobody has to wait longer than it likes for a thread to end.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, bounded};

use crate::secrets::redact;
use crate::text::print_stderr;

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
    #[error("thread {name} did not end within {:.1} s", within.as_secs_f64())]
    Late {
        /// Its name.
        name: String,
        /// How long it was waited for.
        within: Duration,
    },
}

impl ThreadError {
    /// The thread's name.
    #[must_use]
    pub fn thread(&self) -> &str {
        match self {
            Self::Start { name, .. } | Self::Panicked { name, .. } | Self::Late { name, .. } => name,
        }
    }
}

/// A thread that was started.
#[derive(Debug)]
pub struct Thread<T> {
    name: String,
    result: Receiver<Result<T, ThreadError>>,
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
    let own_name = name.clone();
    let run = move || {
        // Where it is not joined, its result is not asked for.
        let _ = done.send(catch(&own_name, body));
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

    /// Waits for its end, for `time` at most; whether it has ended.
    #[must_use]
    pub fn ends_within(&self, time: Duration) -> bool {
        let mut select = Select::new();
        select.recv(&self.result);
        select.ready_timeout(time).is_ok()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it panicked.
    pub fn join(self) -> Result<T, ThreadError> {
        let outcome = self.result.recv();
        outcome.unwrap_or_else(|_| Err(self.vanished()))
    }

    /// Waits for its end, for `within` at most; later it is left alone, with whatever it holds.
    ///
    /// # Errors
    /// When it panicked, or has not ended by then.
    pub fn join_within(self, within: Duration) -> Result<T, ThreadError> {
        match self.result.recv_timeout(within) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(ThreadError::Late { name: self.name, within }),
            Err(RecvTimeoutError::Disconnected) => Err(self.vanished()),
        }
    }

    fn vanished(self) -> ThreadError {
        ThreadError::Panicked { name: self.name, message: "it ended without a result".into() }
    }
}

/// What a thread does in turns: whoever watches sees by it whether a turn ends.
#[derive(Debug)]
pub struct Turns {
    name: String,
    /// Odd while one goes on.
    count: AtomicU64,
}

/// Of all threads that have any.
static TURNS: Mutex<Vec<Weak<Turns>>> = Mutex::new(Vec::new());

impl Turns {
    /// Those of a thread called `name`, until they are dropped.
    #[must_use]
    pub fn of(name: impl Into<String>) -> Arc<Self> {
        let turns = Arc::new(Self { name: name.into(), count: AtomicU64::new(0) });
        let mut all = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|turns| turns.strong_count() > 0);
        all.push(Arc::downgrade(&turns));
        turns
    }

    /// One of them.
    pub fn take<T>(&self, turn: impl FnOnce() -> T) -> T {
        self.count.fetch_add(1, Ordering::SeqCst);
        let result = turn();
        self.count.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// Names and numbers of the turns that go on now.
    #[must_use]
    pub fn under_way() -> Vec<(String, u64)> {
        let all = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = all.iter().filter_map(Weak::upgrade);
        let numbered = turns.map(|turns| (turns.name.clone(), turns.count.load(Ordering::SeqCst)));
        numbered.filter(|(_, number)| number % 2 == 1).collect()
    }
}

thread_local! {
    /// Calls of [`catch`] around what runs.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic was.
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body`; a panic in it is an error, that of the thread `name`.
///
/// # Errors
/// When it panicked.
pub fn catch<T>(name: &str, body: impl FnOnce() -> T) -> Result<T, ThreadError> {
    CATCHING.set(CATCHING.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    CATCHING.set(CATCHING.get() - 1);
    outcome.map_err(|panic| {
        let at = PANICKED_AT.take().map_or_else(String::new, |at| format!(" (at {at})"));
        ThreadError::Panicked { name: name.to_owned(), message: said(panic.as_ref()) + &at }
    })
}

/// For callbacks on threads that are not ours, through whose C code no panic can pass: it would end the program.
#[derive(Clone)]
pub struct Guard(Arc<dyn Fn(ThreadError) + Send + Sync>);

impl Guard {
    /// A panic is told to `told`, as it happens.
    #[must_use]
    pub fn new(told: impl Fn(ThreadError) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// Runs a callback; nothing where it panicked, which is said to have happened in the thread `name`.
    pub fn run<T>(&self, name: &str, body: impl FnOnce() -> T) -> Option<T> {
        let caught = catch(name, || {
            if is_planted() {
                test_panic_point_named(name);
            }
            body()
        });
        caught.map_err(|panicked| (self.0)(panicked)).ok()
    }
}

/// Without anybody to tell, a panic only ends the callback.
impl Default for Guard {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

/// Whether a panic of this thread becomes an error of whoever joins it.
#[must_use]
pub fn is_caught() -> bool {
    CATCHING.get() > 0
}

/// From now on a panic that becomes an error is not printed as well, and any other one is printed without secrets, with
/// `RUST_BACKTRACE=1` with its backtrace.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        if is_caught() {
            return PANICKED_AT.set(at);
        }
        let thread = std::thread::current();
        let (name, at) = (thread.name().unwrap_or("without a name"), at.as_deref().unwrap_or("an unknown place"));
        print_stderr(&format!("thread {name} panicked at {at}: {}", said(panic.payload())));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            print_stderr(&backtrace.to_string());
        }
    }));
}

/// What a panic said, without secrets.
#[must_use]
pub fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    redact(text.unwrap_or("no message"))
}

/// A fault that a test plants with `VARIABLE=NAME:N`: in the thread called NAME, when it comes to a test point the Nth time.
struct Planted {
    name: String,
    at: u64,
    passed: AtomicU64,
}

impl Planted {
    fn read(variable: &str) -> Option<Self> {
        let text = std::env::var(variable).ok()?;
        let (name, at) = text.rsplit_once(':')?;
        Some(Self { name: name.to_owned(), at: at.parse().ok()?, passed: AtomicU64::new(0) })
    }

    fn is_due(&self, name: &str) -> bool {
        self.name == name && self.passed.fetch_add(1, Ordering::SeqCst) + 1 == self.at
    }
}

/// Where a test has this thread panic (`STREAMDET_TEST_PANIC=NAME:N`) or never go on (`STREAMDET_TEST_HANG=NAME:N`). Every
/// loop of a named thread calls it once a turn; without the variables it costs two loads.
pub fn test_panic_point() {
    if is_planted() {
        test_panic_point_named(std::thread::current().name().unwrap_or_default());
    }
}

/// The same on a thread that is not ours, under a name of ours.
///
/// # Panics
/// Where a test plants a panic.
pub fn test_panic_point_named(name: &str) {
    let [panics, hangs] = planted();
    let panics = panics.as_ref().is_some_and(|planted| planted.is_due(name));
    assert!(!panics, "planted by STREAMDET_TEST_PANIC");
    while hangs
        .as_ref()
        .is_some_and(|planted| planted.is_due(name) || planted.passed.load(Ordering::SeqCst) > planted.at)
    {
        std::thread::park();
    }
}

fn planted() -> &'static [Option<Planted>; 2] {
    static PLANTED: OnceLock<[Option<Planted>; 2]> = OnceLock::new();
    PLANTED.get_or_init(|| ["STREAMDET_TEST_PANIC", "STREAMDET_TEST_HANG"].map(Planted::read))
}

fn is_planted() -> bool {
    planted().iter().any(Option::is_some)
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
    fn a_panic_in_a_callback_is_told_and_goes_no_further() {
        let (tell, told) = bounded(1);
        let guard = Guard::new(move |panicked| tell.send(panicked).expect("room"));
        assert_eq!(guard.run("callback", || 1), Some(1));
        assert_eq!(guard.run("callback", || assert_eq!(1, 2)), None);
        assert!(matches!(told.try_recv(), Ok(ThreadError::Panicked { name, .. }) if name == "callback"));
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
