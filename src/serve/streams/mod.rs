//! Streams that run beside each other: each is a run of the pipeline of its own, on a thread of its own, and starts and ends while
//! others go on. They share the detector.

mod events;
mod routes;
mod sources;
mod status;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

use crate::config::check_name;
use crate::detections::Feed;
use crate::monitoring::{Fleet, Metrics};
use crate::serve::live::LiveStreams;
use crate::shutdown::Shutdown;
use crate::sink::Hub;
use crate::thread::{self, Thread};

pub use routes::{described, routes};
pub use sources::{Allowed, AllowedError, check as check_source};
pub use status::{Report, State, Status};

/// Streams at once.
const MOST: usize = 256;
/// Clients that follow events at once, of all streams: fewer than there are connections.
const FOLLOWERS: usize = 128;

/// Options of a stream: the keys of its table in the config file.
pub type Options = toml::Table;

/// Why a stream does not start, or is not there.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Its name cannot be used: why.
    #[error("{0}")]
    Name(String),
    /// Its options cannot be used: what, and the remedy.
    #[error("{0}")]
    Options(String),
    /// Its source is none that a client may start.
    #[error("{0}")]
    Forbidden(String),
    /// As many run as may.
    #[error("{MOST} streams run already; stop one first")]
    TooMany,
    /// No stream has this name.
    #[error("there is no stream {0:?}")]
    Unknown(String),
    /// The program is being stopped.
    #[error("streamdet is being stopped")]
    Stopping,
    /// The system has no more threads.
    #[error(transparent)]
    Thread(#[from] thread::ThreadError),
}

/// Makes runs of options.
pub trait Launch: Send + Sync {
    /// Makes ready what a client's `options` ask for.
    ///
    /// # Errors
    /// When the options cannot be used, or are not a client's to choose.
    fn launch(&self, name: &str, options: &Options, begins: Begins) -> Result<Launched, StreamError>;
}

/// What a run is given.
pub struct Begins {
    /// Told of every line of detections.
    pub changed: Box<dyn Fn() + Send + Sync>,
    /// Ends it.
    pub shutdown: Shutdown,
}

/// A run that is ready.
pub struct Launched {
    /// Runs it to its end, or until its shutdown; what went wrong.
    pub run: Box<dyn FnOnce() -> Option<String> + Send>,
    /// What is known of it.
    pub status: Arc<Status>,
    /// Its detections.
    pub feed: Feed,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// What viewers watch.
    pub hub: Hub,
}

/// A stream.
struct Entry {
    /// What it was asked to do.
    asked: String,
    status: Arc<Status>,
    feed: Feed,
    hub: Hub,
    changed: Arc<Notify>,
    /// Which run of this program it is: part of the ids of its events.
    run: u64,
    shutdown: Shutdown,
    thread: Option<Thread<()>>,
}

/// All streams.
pub struct Streams {
    launcher: Arc<dyn Launch>,
    metrics: Arc<Fleet>,
    shutdown: Shutdown,
    /// The next run's number.
    next_run: AtomicU64,
    /// One is held by each client that follows events.
    followers: Arc<Semaphore>,
    /// Held while a stream starts or stops, so that two requests do not do so at once.
    turn: Mutex<()>,
    entries: Mutex<BTreeMap<String, Entry>>,
}

/// Whether a stream was there before it was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was not.
    Created,
    /// It ran with the same options, and goes on.
    Unchanged,
    /// It ran with others, or had ended, and begins anew.
    Replaced,
}

impl Streams {
    /// None yet. They end with `shutdown`. Runs are numbered from `first_run` on, higher than those of an earlier start of the program:
    /// ids of its events are others.
    #[must_use]
    pub fn new(launcher: Arc<dyn Launch>, metrics: Arc<Fleet>, shutdown: &Shutdown, first_run: u64) -> Arc<Self> {
        Arc::new(Self {
            launcher,
            metrics,
            shutdown: shutdown.clone(),
            next_run: AtomicU64::new(first_run),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            turn: Mutex::new(()),
            entries: Mutex::default(),
        })
    }

    /// Starts a stream as a client asks for it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn put(&self, name: &str, options: &Options) -> Result<Put, StreamError> {
        self.start(name, options.to_string(), |begins| self.launcher.launch(name, options, begins))
    }

    /// Starts a stream that `launch` makes ready, to do what is `asked`. Waits for the end of what runs under its name and was asked for
    /// something else.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        &self,
        name: &str,
        asked: String,
        launch: impl FnOnce(Begins) -> Result<Launched, StreamError>,
    ) -> Result<Put, StreamError> {
        check_name(name).map_err(StreamError::Name)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shutdown.is_requested() {
            return Err(StreamError::Stopping);
        }
        let (known, runs) = {
            let entries = self.entries();
            let is_running = |entry: &Entry| !matches!(entry.status.state(), State::Ended | State::Failed);
            let running = entries.get(name).filter(|entry| is_running(entry));
            if running.is_some_and(|entry| entry.asked == asked) {
                return Ok(Put::Unchanged);
            }
            (entries.contains_key(name), entries.len())
        };
        if !known && runs >= MOST {
            return Err(StreamError::TooMany);
        }
        let shutdown = self.shutdown.child();
        let changed = Arc::new(Notify::new());
        let tell = changed.clone();
        let begins = Begins { changed: Box::new(move || tell.notify_waiters()), shutdown: shutdown.clone() };
        let Launched { run, status, feed, metrics, hub } = launch(begins)?;
        // What was refused has ended nothing.
        if known {
            self.end(name);
        }
        let number = self.next_run.fetch_add(1, Ordering::Relaxed);
        self.metrics.insert(name, metrics);
        let (own, lines, watched) = (status.clone(), feed.clone(), hub.clone());
        let body = move || {
            let failed = thread::catch("stream", run).unwrap_or_else(|panicked| Some(panicked.to_string()));
            own.ended(failed);
            lines.end();
            watched.close();
        };
        let thread = Some(thread::spawn(format!("run-{name}"), body)?);
        let entry = Entry { asked, status, feed, hub, changed, run: number, shutdown, thread };
        self.entries().insert(name.to_owned(), entry);
        Ok(if known { Put::Replaced } else { Put::Created })
    }

    /// Stops a stream, and waits until its outputs are finished. What was known of it is gone.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete(&self, name: &str) -> Result<(), StreamError> {
        let is_there =
            || self.entries().contains_key(name).then_some(()).ok_or_else(|| StreamError::Unknown(name.to_owned()));
        is_there()?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        is_there()?;
        self.end(name);
        self.entries().remove(name);
        self.metrics.remove(name);
        Ok(())
    }

    /// Stops all of them, and waits for that; those that failed, with what went wrong.
    pub fn end_all(&self) -> Vec<(String, String)> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = self.entries().keys().cloned().collect();
        self.entries().values().for_each(|entry| entry.shutdown.request());
        let failed = names.into_iter().filter_map(|name| {
            self.end(&name);
            let error = self.entries().get(&name)?.status.report().error?;
            Some((name, error))
        });
        failed.collect()
    }

    /// What is known of every stream, by name.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let statuses: Vec<_> = self.entries().values().map(|entry| entry.status.clone()).collect();
        statuses.iter().map(|status| status.report()).collect()
    }

    /// What is known of one.
    ///
    /// # Errors
    /// When there is none.
    pub fn report(&self, name: &str) -> Result<Report, StreamError> {
        let status = self.entries().get(name).map(|entry| entry.status.clone());
        Ok(status.ok_or_else(|| StreamError::Unknown(name.to_owned()))?.report())
    }

    /// A stream's detections, who is told of new ones, and the number of its run.
    fn feed(&self, name: &str) -> Result<(Feed, Arc<Notify>, u64), StreamError> {
        let entries = self.entries();
        let entry = entries.get(name).ok_or_else(|| StreamError::Unknown(name.to_owned()))?;
        Ok((entry.feed.clone(), entry.changed.clone(), entry.run))
    }

    /// Has the stream's run end, and waits for it.
    fn end(&self, name: &str) {
        let thread = self.entries().get_mut(name).and_then(|entry| {
            entry.shutdown.request();
            entry.thread.take()
        });
        if let Some(Err(error)) = thread.map(Thread::join) {
            tracing::error!(stream = name, "{error}");
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveStreams for Streams {
    fn hub(&self, name: &str) -> Option<Hub> {
        self.entries().get(name).map(|entry| entry.hub.clone())
    }
}
