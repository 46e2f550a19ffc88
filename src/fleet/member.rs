//! An instance of a fleet: a thread that says that it is alive, takes streams, and has them run.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::address::Address;
use super::records::{Instance, Owner};
use super::store::{FleetError, Store};
use super::view::View;
use crate::clock::{self, HostTime};
use crate::publish::trusted;
use crate::secrets::random;
use crate::text::hex;
use crate::thread::{Thread, ThreadError, spawn, test_panic_point};

/// It is said four times a lease that an instance is alive.
const SAID: u32 = 4;
/// How often it is looked at what is to be done, where nothing changes.
const LOOK: Duration = Duration::from_millis(250);
/// How long instances that start together wait for each other before one takes streams.
const GATHER: Duration = Duration::from_secs(2);
/// Before a server that was not reached is asked again: soon, since whoever is not heard of within a lease is taken to be gone.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a stream that did not run here is left to others: twice as long each time, since where it is wished here it is taken from who runs it.
const REFUSED: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(1);
/// Characters of a reason.
const REASON: usize = 500;

/// Has streams run.
pub trait Runs: Send + Sync + 'static {
    /// Starts a stream, or starts it anew; its messages carry the epoch. Returns once it runs.
    ///
    /// # Errors
    /// Why it does not run here.
    fn start(&self, name: &str, options: &toml::Table, epoch: u64) -> Result<(), String>;

    /// Ends a stream; returns once its outputs are finished.
    fn stop(&self, name: &str);

    /// Why a stream that was started failed.
    fn failure(&self, name: &str) -> Option<String>;
}

/// What an instance is.
pub struct Joining {
    /// Its fleet.
    pub address: Address,
    /// A new fleet's lease.
    pub lease: Option<Duration>,
    /// The name that people know it by.
    pub instance: String,
    /// Streams at once.
    pub capacity: u32,
    /// Has them run.
    pub runs: Arc<dyn Runs>,
    /// Says what happens.
    pub say: Box<dyn Fn(&str) + Send>,
}

/// What is counted of an instance.
#[derive(Debug, Default)]
pub struct Figures {
    /// Whether the server is reached.
    pub is_connected: AtomicBool,
    /// Streams that it takes at most, and those that it has.
    pub capacity: AtomicU64,
    /// The same.
    pub streams: AtomicU64,
    /// Streams of the whole fleet, those that wait for room among them.
    pub desired: AtomicU64,
    /// Streams that were taken, and those of them whose owner was gone.
    pub taken: AtomicU64,
    /// The same.
    pub taken_over: AtomicU64,
}

/// An instance, until it leaves.
pub struct Member {
    /// What is counted.
    pub figures: Arc<Figures>,
    end: Arc<Notify>,
    thread: Thread<()>,
}

impl Member {
    /// Joins, as soon as the server is reached; `ca` is as `--publish-ca`.
    ///
    /// # Errors
    /// When there are no certificates or no thread.
    pub fn join(joining: Joining, ca: Option<&Path>) -> Result<Self, FleetError> {
        let tls = joining.address.server.tls.then(|| trusted(ca)).transpose()?;
        let (figures, end) = (Arc::<Figures>::default(), Arc::<Notify>::default());
        figures.capacity.store(joining.capacity.into(), Ordering::Relaxed);
        let (counted, ended) = (figures.clone(), end.clone());
        let thread = spawn("fleet", move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return (joining.say)(&format!("fleet: {error}; no stream is taken")),
            };
            let id = format!("{}-{}", part(&joining.instance), hex(&random::<4>()));
            let own = Own {
                id,
                joining,
                figures: counted,
                end: ended,
                runs: BTreeMap::new(),
                tasks: FuturesUnordered::new(),
                refused: BTreeMap::new(),
                is_ending: false,
            };
            runtime.block_on(own.sessions(tls.as_ref()));
            // Who still starts or ends is waited for by who asks for that.
            runtime.shutdown_background();
        })?;
        Ok(Self { figures, end, thread })
    }

    /// Whether its thread has ended, which it does not by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.ends_within(Duration::ZERO)
    }

    /// Ends all of its streams and hands them over, one by one, for `grace` at most.
    ///
    /// # Errors
    /// When it was not done by then, or its thread panicked.
    pub fn leave(self, grace: Duration) -> Result<(), ThreadError> {
        self.end.notify_one();
        self.thread.join_within(grace)
    }
}

/// A name as a part of a key.
fn part(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(64).collect()
}

/// A stream of this instance's.
struct Run {
    epoch: u64,
    /// The write that its options are of.
    write: u64,
    phase: Phase,
    /// When that began.
    since: HostTime,
}

/// A stream that did not run here.
struct Refused {
    why: String,
    /// The write that its options are of: others may do.
    write: u64,
    /// How long, and until when, it is taken not to.
    lasts: Duration,
    until: HostTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It starts or ends.
    Busy,
    Running,
}

/// What came of starting or ending a stream.
struct Done {
    name: String,
    what: What,
}

enum What {
    Started(Result<(), String>),
    Stopped,
}

struct Own {
    id: String,
    joining: Joining,
    figures: Arc<Figures>,
    end: Arc<Notify>,
    runs: BTreeMap<String, Run>,
    tasks: FuturesUnordered<JoinHandle<Done>>,
    /// Streams that did not run here.
    refused: BTreeMap<String, Refused>,
    is_ending: bool,
}

impl Own {
    /// One connection after the other; streams go on meanwhile.
    async fn sessions(mut self, tls: Option<&ClientConfig>) {
        let (mut is_first, mut is_said) = (true, false);
        loop {
            let outcome = Box::pin(self.session(tls, &mut is_first, &mut is_said)).await;
            self.figures.is_connected.store(false, Ordering::Relaxed);
            let Err(problem) = outcome else { return };
            if self.is_ending {
                return (self.joining.say)(&format!(
                    "fleet: {problem}; streams are handed over when the lease is over"
                ));
            }
            if !is_said {
                is_said = true;
                (self.joining.say)(&format!("fleet: {problem}; streams go on, and the server is asked again"));
            }
            let end = self.end.clone();
            tokio::select! {
                () = sleep(AGAIN) => {}
                // Nobody can be told. What runs is ended by who asks for this.
                () = end.notified() => return,
            }
        }
    }

    async fn session(
        &mut self,
        tls: Option<&ClientConfig>,
        is_first: &mut bool,
        is_said: &mut bool,
    ) -> Result<(), String> {
        let Joining { address, lease, .. } = &self.joining;
        let opened = Store::open(address, tls, *lease).await;
        let store = opened.map_err(|error| match error {
            FleetError::Server { address, problem } => format!("{address}: {problem}"),
            other => other.to_string().replace('\n', ";"),
        })?;
        self.talk(&store, is_first, is_said).await.map_err(|problem| store.explain(problem))
    }

    async fn talk(&mut self, store: &Store, is_first: &mut bool, is_said: &mut bool) -> Result<(), String> {
        self.announce(store).await?;
        let (mut view, mut changes) = store.look().await?;
        self.figures.is_connected.store(true, Ordering::Relaxed);
        if *is_said {
            *is_said = false;
            (self.joining.say)(&format!("fleet: {}: connected", self.joining.address));
        }
        let now = clock::now();
        // Where the server was away, the others come back as well: their streams are theirs.
        let are_all_here = *is_first && !view.has_left_over(now, store.lease());
        *is_first = false;
        let mut gathered = now.after(if are_all_here { GATHER.min(store.lease()) } else { store.lease() });
        let mut seen = now;
        let (mut said, mut look) = (interval(store.lease() / SAID), interval(LOOK));
        said.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = self.end.clone();
        loop {
            test_panic_point();
            let now = clock::now();
            if now.since(seen) > store.lease() / 2 {
                // This process was paused: what others said meanwhile is still to come.
                view.hear_all(now);
                gathered = now.after(store.lease());
            }
            seen = now;
            if self.has_changed(&view) {
                self.announce(store).await?;
            }
            self.mind(store, &mut view).await?;
            if clock::now() >= gathered {
                self.take(store, &mut view).await?;
            }
            self.figures.streams.store(self.runs.len() as u64, Ordering::Relaxed);
            self.figures.desired.store(view.streams.len() as u64, Ordering::Relaxed);
            if self.is_ending && self.runs.is_empty() {
                return store.leave(&self.id).await;
            }
            let ended = pin!(end.notified());
            tokio::select! {
                changed = changes.next(&mut view) => changed?,
                _ = said.tick() => self.announce(store).await?,
                _ = look.tick() => {}
                Some(done) = self.tasks.next(), if !self.tasks.is_empty() => self.settle(done, store, &mut view).await?,
                () = ended, if !self.is_ending => {
                    self.is_ending = true;
                    self.announce(store).await?;
                }
            }
        }
    }

    /// Says that this instance is alive, and what it does not run.
    async fn announce(&mut self, store: &Store) -> Result<(), String> {
        let now = clock::now();
        let capacity = if self.is_ending { 0 } else { self.joining.capacity };
        let refused = self.refused.iter().filter(|(_, refused)| refused.until > now);
        let refused = refused.map(|(name, refused)| (name.clone(), refused.why.clone())).collect();
        let instance = Instance { instance: self.joining.instance.clone(), capacity, refused };
        store.announce(&self.id, &instance).await
    }

    /// Forgets what was refused and is gone or has other options; whether that was anything.
    fn has_changed(&mut self, view: &View) -> bool {
        let before = self.refused.len();
        let is_as_it_was = |name: &str, write| view.streams.get(name).is_some_and(|(_, written)| *written == write);
        self.refused.retain(|name, refused| is_as_it_was(name, refused.write));
        self.refused.len() < before
    }

    /// Ends what is not this instance's any more, and has the rest as it should be.
    async fn mind(&mut self, store: &Store, view: &mut View) -> Result<(), String> {
        let (now, lease) = (clock::now(), store.lease());
        let names: Vec<String> = self.runs.keys().cloned().collect();
        for name in names {
            let Some(Run { epoch, write, phase: Phase::Running, since }) = self.runs.get(&name) else { continue };
            let owner = view.owners.get(&name);
            let is_ours = owner.is_some_and(|(owner, written)| owner.id == self.id && written == epoch);
            let stream = view.streams.get(&name);
            if !is_ours {
                let taken = owner.map_or("nobody's".to_owned(), |(owner, _)| format!("{}'s", owner.instance));
                (self.joining.say)(&format!("fleet: {name} is {taken} now: it ends here"));
                self.stop(&name);
            } else if self.is_ending || stream.is_none() || view.moves(&name, &self.id, now, lease) {
                self.stop(&name);
            } else if let Some(why) = self.joining.runs.failure(&name) {
                let write = *write;
                self.refuse(&name, &why, write, store).await?;
                self.stop(&name);
            } else if let Some((stream, written)) = stream.filter(|(_, written)| written != write) {
                let (options, written, epoch) = (stream.options.clone(), *written, *epoch);
                // Another run, which has an epoch of its own.
                let owner = self.owner();
                let Some(epoch) = store.take(&name, &owner, epoch).await? else { continue };
                view.owners.insert(name.clone(), (owner, epoch));
                self.start(&name, options, epoch, written);
            } else if self.refused.get(&name).is_some_and(|refused| now.since(*since) > refused.lasts) {
                self.refused.remove(&name);
            }
        }
        // What was begun and never given up.
        let left: Vec<(String, u64)> = view
            .owners
            .iter()
            .filter(|(name, (owner, _))| owner.id == self.id && !self.runs.contains_key(*name))
            .map(|(name, (_, epoch))| (name.clone(), *epoch))
            .collect();
        for (name, epoch) in left {
            self.release(&name, epoch, store, view).await?;
            if clock::now().since(now) > lease / SAID {
                // It is to be said first that this instance is alive.
                break;
            }
        }
        Ok(())
    }

    fn owner(&self) -> Owner {
        Owner { id: self.id.clone(), instance: self.joining.instance.clone() }
    }

    /// Takes streams that are nobody's.
    async fn take(&mut self, store: &Store, view: &mut View) -> Result<(), String> {
        if self.is_ending {
            return Ok(());
        }
        let (now, lease) = (clock::now(), store.lease());
        for name in view.takes(&self.id, now, lease) {
            if self.runs.contains_key(&name) {
                continue;
            }
            let Some((stream, write)) = view.streams.get(&name).cloned() else { continue };
            let before = view.owners.get(&name).map(|(owner, _)| owner.instance.clone());
            let owner = self.owner();
            // Another was faster: what it wrote comes.
            let Some(epoch) = store.take(&name, &owner, view.written(&name)).await? else { continue };
            view.owners.insert(name.clone(), (owner, epoch));
            self.figures.taken.fetch_add(1, Ordering::Relaxed);
            let from = before.map_or(String::new(), |instance| {
                self.figures.taken_over.fetch_add(1, Ordering::Relaxed);
                format!(" from {instance}, which is gone")
            });
            (self.joining.say)(&format!("fleet: {name} taken{from} (epoch {epoch})"));
            self.start(&name, stream.options, epoch, write);
            if clock::now().since(now) > lease / SAID {
                // It is to be said first that this instance is alive.
                break;
            }
        }
        Ok(())
    }

    fn start(&mut self, name: &str, options: toml::Table, epoch: u64, write: u64) {
        self.runs.insert(name.to_owned(), Run { epoch, write, phase: Phase::Busy, since: clock::now() });
        let (runs, name) = (self.joining.runs.clone(), name.to_owned());
        self.tasks.push(spawn_blocking(move || {
            let started = runs.start(&name, &options, epoch);
            Done { name, what: What::Started(started) }
        }));
    }

    fn stop(&mut self, name: &str) {
        if let Some(run) = self.runs.get_mut(name) {
            run.phase = Phase::Busy;
        }
        let (runs, name) = (self.joining.runs.clone(), name.to_owned());
        self.tasks.push(spawn_blocking(move || {
            runs.stop(&name);
            Done { name, what: What::Stopped }
        }));
    }

    /// Notes that a stream does not run here.
    async fn refuse(&mut self, name: &str, why: &str, write: u64, store: &Store) -> Result<(), String> {
        // It is said four times a lease, with all others, in one message.
        let why: String = why.chars().take(REASON).collect();
        let before = self.refused.get(name);
        let lasts = before.map_or(REFUSED, |before| (before.lasts * 2).min(LONGEST));
        (self.joining.say)(&format!(
            "fleet: {name} does not run here, and is left to others for {} s: {why}",
            lasts.as_secs()
        ));
        self.refused.insert(name.to_owned(), Refused { why, write, lasts, until: clock::now().after(lasts) });
        self.announce(store).await
    }

    async fn settle(
        &mut self,
        done: Result<Done, tokio::task::JoinError>,
        store: &Store,
        view: &mut View,
    ) -> Result<(), String> {
        // What panicked was said by its thread, and is released as never begun.
        let Done { name, what } = done.map_err(|error| error.to_string())?;
        match what {
            What::Started(Ok(())) => {
                if let Some(run) = self.runs.get_mut(&name) {
                    (run.phase, run.since) = (Phase::Running, clock::now());
                }
                Ok(())
            }
            What::Started(Err(why)) => {
                let (epoch, write) = self.runs.remove(&name).map_or((0, 0), |run| (run.epoch, run.write));
                self.refuse(&name, &why, write, store).await?;
                self.release(&name, epoch, store, view).await
            }
            What::Stopped => {
                let epoch = self.runs.remove(&name).map_or(0, |run| run.epoch);
                self.release(&name, epoch, store, view).await
            }
        }
    }

    /// Gives up a stream, where it is this instance's.
    async fn release(&self, name: &str, epoch: u64, store: &Store, view: &mut View) -> Result<(), String> {
        let is_ours = |(owner, written): &(Owner, u64)| owner.id == self.id && *written == epoch;
        if view.owners.get(name).is_some_and(is_ours) {
            // Where it is not answered, the next session sees what came of it. Where somebody has taken it since, that stands.
            store.release(name, epoch).await?;
            view.owners.remove(name);
        }
        Ok(())
    }
}
