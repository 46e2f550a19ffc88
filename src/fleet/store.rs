//! A fleet's buckets on a NATS server: one of streams and their owners, one of instances, whose entries live as long as a lease.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{Entry, Operation, Store as Bucket, UpdateError, UpdateErrorKind, Watch};
use async_nats::jetstream::stream::{self, Config, DiscardPolicy};
use futures_util::StreamExt;
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::Address;
use super::records::{Instance, Owner, Stream};
use super::view::View;
use crate::clock;
use crate::publish::nats::{PATIENCE, Refusals, connect, context, remedy};
use crate::publish::{PublishError, trusted};
use crate::thread::ThreadError;

/// How long an instance is taken to be alive that says nothing.
const LEASE: Duration = Duration::from_secs(10);
/// How long an answer may take at least, however short the lease.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long what was written last may take, where the server says that nothing more comes.
const SOON: Duration = Duration::from_millis(500);
/// How long the server knows messages by their ids, of which these have none: its own default, and its least.
const DUPLICATES: Duration = Duration::from_mins(2);
/// What keys of the first bucket begin with.
const STREAM: &str = "stream.";
const OWNER: &str = "owner.";

/// Why a fleet cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The server is not reached, or does not answer.
    #[error("{address}: {problem}\n  {}", remedy(problem))]
    Server {
        /// Server and fleet, without secrets.
        address: String,
        /// What its client says.
        problem: String,
    },
    /// Another lease than the fleet's.
    #[error("{address}: the fleet's lease is {} s, and --fleet-lease says {} s\n  leave --fleet-lease out, or stop all instances first", has.as_secs_f64(), asked.as_secs_f64())]
    Lease {
        /// Server and fleet, without secrets.
        address: String,
        /// The fleet's.
        has: Duration,
        /// As given.
        asked: Duration,
    },
    /// There is none of that name.
    #[error("{address}: no stream {name:?}\n  `streamdet fleet list` names those that are there")]
    Unknown {
        /// Server and fleet, without secrets.
        address: String,
        /// As given.
        name: String,
    },
    /// Certificates.
    #[error(transparent)]
    Certificates(#[from] PublishError),
    /// No thread.
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

/// A fleet.
pub struct Store {
    address: String,
    streams: Bucket,
    alive: Bucket,
    lease: Duration,
    refusals: Refusals,
}

/// What has changed in the buckets, since they were looked at first.
pub struct Changes {
    streams: Watch,
    alive: Watch,
}

/// A stream's name as a part of a key, in which a dot parts: names have no slash.
fn part(name: &str) -> String {
    name.replace('.', "/")
}

fn json(record: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(record).map_err(|error| error.to_string())
}

fn record<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    if entry.operation == Operation::Put { serde_json::from_slice(&entry.value).ok() } else { None }
}

impl Store {
    /// Connects, and makes the buckets where they are not there; `lease` is a new fleet's, or of one without instances.
    ///
    /// # Errors
    /// When the server is not reached, or the fleet has another lease.
    pub async fn open(
        address: &Address,
        tls: Option<&ClientConfig>,
        lease: Option<Duration>,
    ) -> Result<Self, FleetError> {
        let (shown, refusals) = (address.to_string(), Refusals::default());
        let refused =
            |problem: String| FleetError::Server { address: shown.clone(), problem: refusals.explain(problem) };
        let fleet = format!("streamdet-fleet-{}", address.name);
        let options = refusals.heard(ConnectOptions::new().name(&fleet).max_reconnects(Some(1)));
        let mut context = context(connect(&address.server, tls, options).await.map_err(refused)?);
        made(&context, &fleet, Duration::ZERO).await.map_err(refused)?;
        let name = format!("streamdet-alive-{}", address.name);
        let alive = made(&context, &name, lease.unwrap_or(LEASE)).await.map_err(refused)?;
        let mut has = alive.cached_info().config.max_age;
        if let Some(asked) = lease.filter(|asked| *asked != has) {
            if alive.cached_info().state.messages > 0 {
                return Err(FleetError::Lease { address: shown, has, asked });
            }
            // Nobody goes by the one that it has.
            let changed = context.update_stream(limits(&name, asked)).await;
            changed.map_err(|error| refused(error.to_string()))?;
            has = asked;
        }
        // Whoever waits longer for an answer is taken to be gone.
        context.set_timeout((has / 2).clamp(SHORTEST, PATIENCE));
        let bucket = async |name| context.get_key_value(name).await.map_err(|error| refused(error.to_string()));
        let (streams, alive) = (bucket(fleet).await?, bucket(name).await?);
        Ok(Self { streams, alive, lease: has, address: shown, refusals })
    }

    /// A problem, with what the server has said of it.
    pub(super) fn explain(&self, problem: String) -> String {
        self.refusals.explain(problem)
    }

    /// How long an instance is taken to be alive that says nothing.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// All that stands there, and what changes from now on.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn look(&self) -> Result<(View, Changes), String> {
        let text = |error: async_nats::jetstream::kv::WatchError| error.to_string();
        let mut changes = Changes {
            streams: self.streams.watch_with_history(">").await.map_err(text)?,
            alive: self.alive.watch_with_history(">").await.map_err(text)?,
        };
        let mut view = View::default();
        for (bucket, is_alive) in [(&self.streams, false), (&self.alive, true)] {
            let info = bucket.stream.get_info().await.map_err(|error| error.to_string())?;
            let (mut left, mut has_all) = (info.state.messages > 0, false);
            while left {
                let watch = if is_alive { &mut changes.alive } else { &mut changes.streams };
                let patience = if has_all { SOON.min(self.lease) } else { self.lease };
                let entry = match tokio::time::timeout(patience, watch.next()).await {
                    Ok(entry) => entry.ok_or("disconnected")?.map_err(|error| error.to_string())?,
                    // What was counted is too old by now, or the last write was purged.
                    Err(_) if is_alive || has_all => break,
                    Err(_) => return Err("the server does not answer".into()),
                };
                // Not alone by what the server says is still to come: what grew too old is of it for ever, and while others write it is
                // nothing too early.
                has_all = entry.delta == 0;
                left = entry.revision < info.state.last_sequence;
                view.note(&entry, is_alive);
            }
        }
        Ok((view, changes))
    }

    /// All that stands there.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn seen(&self) -> Result<View, FleetError> {
        self.look().await.map(|(view, _)| view).map_err(|problem| self.refused(problem))
    }

    /// A stream of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn known<'a>(&self, view: &'a View, name: &str) -> Result<&'a Stream, FleetError> {
        let unknown = || FleetError::Unknown { address: self.address.clone(), name: name.to_owned() };
        view.streams.get(name).map(|(stream, _)| stream).ok_or_else(unknown)
    }

    /// Puts a stream there, or in the place of the one that has its name.
    ///
    /// # Errors
    /// When the server does not store it.
    pub async fn put(&self, name: &str, stream: &Stream) -> Result<(), FleetError> {
        let value = json(stream).map_err(|problem| self.refused(problem))?;
        let stored = self.streams.put(format!("{STREAM}{}", part(name)), value.into()).await;
        stored.map(drop).map_err(|error| self.refused(error.to_string()))
    }

    /// Takes a stream away.
    ///
    /// # Errors
    /// When the server does not store that.
    pub async fn remove(&self, name: &str) -> Result<(), FleetError> {
        let gone = self.streams.purge(format!("{STREAM}{}", part(name))).await;
        gone.map_err(|error| self.refused(error.to_string()))
    }

    /// Takes a stream for `owner`: the epoch. `None` where another did so after the write `known`, or the name can be no key.
    pub(super) async fn take(&self, name: &str, owner: &Owner, known: u64) -> Result<Option<u64>, String> {
        let taken = self.streams.update(format!("{OWNER}{}", part(name)), json(owner)?.into(), known).await;
        written(taken)
    }

    /// Gives up a stream, unless somebody has taken it.
    pub(super) async fn release(&self, name: &str, epoch: u64) -> Result<(), String> {
        let key = format!("{OWNER}{}", part(name));
        written(self.streams.delete_expect_revision(key, Some(epoch)).await).map(drop)
    }

    /// Says that an instance is alive.
    pub(super) async fn announce(&self, id: &str, instance: &Instance) -> Result<(), String> {
        self.alive.put(id, json(instance)?.into()).await.map(drop).map_err(|error| error.to_string())
    }

    /// Says that it is gone.
    pub(super) async fn leave(&self, id: &str) -> Result<(), String> {
        self.alive.delete(id).await.map_err(|error| error.to_string())
    }

    fn refused(&self, problem: String) -> FleetError {
        FleetError::Server { address: self.address.clone(), problem: self.explain(problem) }
    }
}

/// What came of a write: `None` where it can never be made. Whether one was made that is not answered is not known.
fn written<T>(outcome: Result<T, UpdateError>) -> Result<Option<T>, String> {
    match outcome {
        Ok(made) => Ok(Some(made)),
        Err(error) if matches!(error.kind(), UpdateErrorKind::WrongLastRevision | UpdateErrorKind::InvalidKey) => {
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The bucket of that name, made where it is not there: one that is may have other limits. It is made as the stream that it is (ADR-8 of
/// NATS): to make a bucket, the client asks for the account's limits first, which it does not understand of a server older than 2.10.
async fn made(context: &Context, name: &str, max_age: Duration) -> Result<stream::Stream, String> {
    context.get_or_create_stream(limits(name, max_age)).await.map_err(|error| error.to_string())
}

/// The stream that a bucket is.
fn limits(name: &str, max_age: Duration) -> Config {
    Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_age,
        duplicate_window: if max_age.is_zero() { DUPLICATES } else { max_age.min(DUPLICATES) },
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..Config::default()
    }
}

impl Changes {
    /// Waits for the next one, and notes it.
    pub(super) async fn next(&mut self, view: &mut View) -> Result<(), String> {
        let (entry, is_alive) = tokio::select! {
            entry = self.streams.next() => (entry, false),
            entry = self.alive.next() => (entry, true),
        };
        let entry = entry.ok_or("disconnected")?.map_err(|error| error.to_string())?;
        view.note(&entry, is_alive);
        Ok(())
    }
}

impl View {
    fn note(&mut self, entry: &Entry, is_alive: bool) {
        let Entry { key, revision, .. } = entry;
        if is_alive {
            let now = clock::now();
            set(&mut self.instances, key, record(entry).map(|instance| (instance, now)));
        } else if let Some(name) = key.strip_prefix(STREAM) {
            set(&mut self.streams, &name.replace('/', "."), record(entry).map(|stream| (stream, *revision)));
        } else if let Some(name) = key.strip_prefix(OWNER) {
            let (name, owner) = (name.replace('/', "."), record(entry));
            if owner.is_none() {
                self.given_up.insert(name.clone(), *revision);
            }
            set(&mut self.owners, &name, owner.map(|owner| (owner, *revision)));
        }
    }
}

fn set<T>(all: &mut BTreeMap<String, T>, key: &str, value: Option<T>) {
    match value {
        Some(value) => all.insert(key.to_owned(), value),
        None => all.remove(key),
    };
}

/// Connects, and does one thing with a fleet; `ca` is as `--publish-ca`, `lease` a new fleet's.
///
/// # Errors
/// When the fleet cannot be used; what is done with it.
pub fn with_store<T>(
    address: &Address,
    ca: Option<&Path>,
    lease: Option<Duration>,
    what: impl AsyncFnOnce(&Store) -> Result<T, FleetError>,
) -> Result<T, FleetError> {
    let tls = address.server.tls.then(|| trusted(ca)).transpose()?;
    let refused =
        |error: std::io::Error| FleetError::Server { address: address.to_string(), problem: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
    runtime.block_on(async {
        let store = Store::open(address, tls.as_ref(), lease).await?;
        what(&store).await
    })
}
