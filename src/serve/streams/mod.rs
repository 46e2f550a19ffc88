//! Streams that run beside each other: each is a run of the pipeline of its own, on a thread of its own, and starts and ends while
//! others go on. They share the detector.

mod events;
mod fleet;
mod options;
mod routes;
mod sources;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::clock::Deadline;
use crate::config::check_name;
use crate::controls::Controls;
use crate::detections::Feed;
use crate::monitoring::{MergedMetrics, Metrics};
use crate::serve::live::LiveStreams;
use crate::shutdown::Shutdown;
use crate::sink::Hub;
use crate::thread::{self, Thread};

pub use fleet::FleetStreams;
pub use options::{check_client, inherited_by_clients};
pub use routes::{described, routes};
pub use sources::{Allowed, AllowedError};
pub use status::{Report, State, Status};

/// Streams at once.
const MOST: usize = 256;
/// Clients that follow events at once, of all streams: fewer than there are connections.
const FOLLOWERS: usize = 128;
/// Streams that clients start or stop at once; one more waits. Each has a thread that waits for outputs to be finished: others are left
/// for images.
const CHANGES: usize = 8;

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
    /// Another's stream has this name.
    #[error("{name:?} runs here already, started by {by}, who alone can change it")]
    Taken {
        /// Its name.
        name: String,
        /// Who started it.
        by: &'static str,
    },
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
    /// Checks what a client's `options` ask for; nothing is opened yet.
    ///
    /// # Errors
    /// When the options cannot be used, or are not a client's to choose.
    fn prepare(&self, name: &str, options: &Options) -> Result<Prepared, StreamError>;

    /// Checks what a fleet asks for, which may be what the configuration may; messages carry the epoch. Nothing is opened yet.
    ///
    /// # Errors
    /// When the options cannot be used.
    fn prepare_for_fleet(&self, name: &str, options: &Options, epoch: u64) -> Result<Prepared, StreamError>;
}

/// Opens what was checked.
pub type Prepared = Box<dyn FnOnce(Begins) -> Result<Launched, StreamError> + Send>;

/// Who asked for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The configuration.
    Configuration,
    /// A client, with these options.
    Client(String),
    /// The fleet, with this epoch and these options.
    Fleet(u64, String),
}

impl Asked {
    fn by(&self) -> &'static str {
        match self {
            Self::Configuration => "the configuration",
            Self::Client(_) => "a client",
            Self::Fleet(..) => "the fleet (`streamdet fleet`)",
        }
    }

    fn is_by_fleet(&self) -> bool {
        matches!(self, Self::Fleet(..))
    }
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
    /// What can be changed while it runs.
    pub controls: Arc<Controls>,
}

/// A stream.
struct Entry {
    asked: Asked,
    status: Arc<Status>,
    feed: Feed,
    hub: Hub,
    controls: Arc<Controls>,
    changed: Arc<Notify>,
    /// Which run of this program it is: part of the ids of its events.
    run: u64,
    shutdown: Shutdown,
    thread: Option<Thread<()>>,
}

/// All streams.
pub struct Streams {
    launcher: Arc<dyn Launch>,
    metrics: Arc<MergedMetrics>,
    shutdown: Shutdown,
    /// The next run's number.
    next_run: AtomicU64,
    /// One is held by each client that follows events.
    followers: Arc<Semaphore>,
    /// One is held by each client that starts or stops a stream.
    changes: Arc<Semaphore>,
    /// Streams that start or stop right now: two requests do not do so at once.
    busy: Mutex<BTreeSet<String>>,
    /// Told when one is done with that.
    done: Condvar,
    entries: Mutex<BTreeMap<String, Entry>>,
}

/// The right to start or stop the stream of a name, until it is dropped.
struct Turn<'a> {
    of: &'a Streams,
    name: &'a str,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.of.busy().remove(self.name);
        self.of.done.notify_all();
    }
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
    pub fn new(
        launcher: Arc<dyn Launch>,
        metrics: Arc<MergedMetrics>,
        shutdown: &Shutdown,
        first_run: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            launcher,
            metrics,
            shutdown: shutdown.clone(),
            next_run: AtomicU64::new(first_run),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            changes: Arc::new(Semaphore::new(CHANGES)),
            busy: Mutex::default(),
            done: Condvar::new(),
            entries: Mutex::default(),
        })
    }

    /// Starts a stream as a client asks for it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn put(&self, name: &str, options: &Options) -> Result<Put, StreamError> {
        self.start(name, Asked::Client(options.to_string()), || self.launcher.prepare(name, options))
    }

    /// Starts a stream that `prepare` checks. What runs under its name ends first, and is waited for, unless a client asked for the very
    /// same.
    ///
    /// # Errors
    /// When it does not start. What was refused by `prepare` has ended nothing.
    pub fn start(
        &self,
        name: &str,
        asked: Asked,
        prepare: impl FnOnce() -> Result<Prepared, StreamError>,
    ) -> Result<Put, StreamError> {
        check_name(name).map_err(StreamError::Name)?;
        let _turn = self.turn(name);
        if self.shutdown.is_requested() {
            return Err(StreamError::Stopping);
        }
        let known = {
            let (busy, entries) = (self.busy(), self.entries());
            let is_same = |entry: &Entry| {
                asked != Asked::Configuration && entry.asked == asked && !entry.status.state().is_over()
            };
            let known = entries.get(name);
            if let Some(entry) = known.filter(|entry| entry.asked.is_by_fleet() != asked.is_by_fleet()) {
                return Err(StreamError::Taken { name: name.to_owned(), by: entry.asked.by() });
            }
            if known.is_some_and(is_same) {
                return Ok(Put::Unchanged);
            }
            let known = entries.contains_key(name);
            let others = busy.iter().filter(|other| *other != name && !entries.contains_key(*other));
            if !known && entries.len() + others.count() >= MOST {
                return Err(StreamError::TooMany);
            }
            known
        };
        let open = prepare()?;
        if known {
            self.end(name);
        }
        let shutdown = self.shutdown.child();
        let changed = Arc::new(Notify::new());
        let tell = changed.clone();
        let begins = Begins { changed: Box::new(move || tell.notify_waiters()), shutdown: shutdown.clone() };
        let launched = open(begins).inspect_err(|error| {
            // The one before it has ended, and this is why no other runs.
            if let Some(entry) = self.entries().get(name) {
                entry.status.ended(Some(error.to_string()));
            }
        });
        let Launched { run, status, feed, metrics, hub, controls } = launched?;
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
        let entry = Entry { asked, status, feed, hub, controls, changed, run: number, shutdown, thread };
        self.entries().insert(name.to_owned(), entry);
        Ok(if known { Put::Replaced } else { Put::Created })
    }

    /// Stops a stream, and waits until its outputs are finished. What was known of it is gone.
    ///
    /// # Errors
    /// When there is none, or it is the fleet's.
    pub fn delete(&self, name: &str) -> Result<(), StreamError> {
        self.remove(name, false)
    }

    fn remove(&self, name: &str, by_fleet: bool) -> Result<(), StreamError> {
        let is_there = || match self.entries().get(name) {
            None => Err(StreamError::Unknown(name.to_owned())),
            Some(Entry { asked, .. }) if asked.is_by_fleet() != by_fleet => {
                Err(StreamError::Taken { name: name.to_owned(), by: asked.by() })
            }
            Some(_) => Ok(()),
        };
        is_there()?;
        let _turn = self.turn(name);
        is_there()?;
        self.end(name);
        self.entries().remove(name);
        self.metrics.remove(name);
        Ok(())
    }

    /// Stops all of them, and waits for that, for `grace` at most; what is to be said of those that are not finished by then, and how many
    /// have failed, which was said. None starts any more.
    pub fn end_all(&self, grace: Duration) -> (Vec<String>, usize) {
        self.shutdown.request();
        let deadline = Deadline::after(grace);
        // Those that start or stop for a client.
        let is_busy = |busy: &mut BTreeSet<String>| !busy.is_empty();
        drop(self.done.wait_timeout_while(self.busy(), grace, is_busy));
        let names: Vec<String> = self.entries().keys().cloned().collect();
        let (mut late, mut failed) = (Vec::new(), 0);
        for name in names {
            let thread = self.entries().get_mut(&name).and_then(|entry| entry.thread.take());
            if thread.as_ref().is_some_and(|thread| !thread.ends_within(deadline.left())) {
                late.push(format!("{name}: did not finish its outputs within {} s (--grace)", grace.as_secs_f64()));
                continue;
            }
            joined(&name, thread);
            failed += usize::from(self.entries().get(&name).is_some_and(|entry| entry.status.state() == State::Failed));
        }
        (late, failed)
    }

    /// Whether the stream runs, or ran to its end, as the configuration has it: no client has stopped or replaced it, and it has not
    /// failed.
    #[must_use]
    pub fn is_as_configured(&self, name: &str) -> bool {
        let entries = self.entries();
        let is_it = |entry: &Entry| entry.asked == Asked::Configuration && entry.status.state() != State::Failed;
        entries.get(name).is_some_and(is_it)
    }

    /// What can be changed of a stream while it runs.
    #[must_use]
    pub fn controls(&self, name: &str) -> Option<Arc<Controls>> {
        self.entries().get(name).map(|entry| entry.controls.clone())
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
        Ok(self.status(name).ok_or_else(|| StreamError::Unknown(name.to_owned()))?.report())
    }

    fn status(&self, name: &str) -> Option<Arc<Status>> {
        self.entries().get(name).map(|entry| entry.status.clone())
    }

    /// A stream's detections, who is told of new ones, and the number of its run.
    fn feed(&self, name: &str) -> Result<(Feed, Arc<Notify>, u64), StreamError> {
        let entries = self.entries();
        let entry = entries.get(name).ok_or_else(|| StreamError::Unknown(name.to_owned()))?;
        Ok((entry.feed.clone(), entry.changed.clone(), entry.run))
    }

    /// Stops all of these at once, and waits until their outputs are finished. They stay known until others take their places. The fleet's go on.
    pub fn stop(&self, names: &BTreeSet<&str>) {
        let is_fleets = |name: &str| self.entries().get(name).is_some_and(|entry| entry.asked.is_by_fleet());
        let names: BTreeSet<&str> = names.iter().copied().filter(|name| !is_fleets(name)).collect();
        // Nobody else takes several turns.
        let turns: Vec<Turn<'_>> = names.iter().map(|name| self.turn(name)).collect();
        for entry in names.iter().filter_map(|name| self.entries().get(*name).map(|entry| entry.shutdown.clone())) {
            entry.request();
        }
        for name in names {
            self.end(name);
        }
        drop(turns);
    }

    /// Has the stream's run end, and waits for it.
    fn end(&self, name: &str) {
        let thread = self.entries().get_mut(name).and_then(|entry| {
            entry.shutdown.request();
            entry.thread.take()
        });
        joined(name, thread);
    }

    /// Waits until nobody else starts or stops the stream of this name.
    fn turn<'a>(&'a self, name: &'a str) -> Turn<'a> {
        let is_busy = |busy: &mut BTreeSet<String>| busy.contains(name);
        let mut busy = self.done.wait_while(self.busy(), is_busy).unwrap_or_else(PoisonError::into_inner);
        busy.insert(name.to_owned());
        Turn { of: self, name }
    }

    fn busy(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a stream's thread.
fn joined(name: &str, thread: Option<Thread<()>>) {
    if let Some(Err(error)) = thread.map(Thread::join) {
        tracing::error!(stream = name, "{error}");
    }
}

impl LiveStreams for Streams {
    fn hub(&self, name: &str) -> Option<Hub> {
        self.entries().get(name).map(|entry| entry.hub.clone())
    }
}

#[cfg(test)]
mod tests;
