//! A work queue on a NATS server: files that wait, those that are worked on, and those that cannot be done.
//!
//! The files are messages of a JetStream stream with work queue retention, which all workers take by one durable consumer: what is taken and
//! not acknowledged within the lease is somebody else's. What cannot be done goes to a stream of its own, with the reason.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::{AckKind, PublishMessage};
use async_nats::jetstream::stream::{Config, RetentionPolicy, Stream};
use async_nats::jetstream::{Context, Message};
use futures_util::StreamExt;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::address::Address;
use super::item::{Failure, Item};
use crate::publish::nats::{Refusals, connect, context, remedy};

/// How long a file is a worker's that says nothing.
const LEASE: Duration = Duration::from_secs(30);
/// How long is waited for a file where none waits.
const WAIT: Duration = Duration::from_secs(1);
/// Files that are sent before the first of them is stored.
const WINDOW: usize = 1024;
/// The consumer of all workers.
const WORKERS: &str = "workers";

/// Why a queue cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The server is not reached, or does not answer.
    #[error("{address}: {problem}\n  {}", remedy(problem))]
    Server {
        /// Server and queue, without secrets.
        address: String,
        /// What its client says.
        problem: String,
    },
    /// Another lease than the queue's.
    #[error("{address}: the queue's lease is {} s, and --lease says {} s\n  leave --lease out, or delete the queue first: `nats stream rm streamdet-work-{name}`", has.as_secs_f64(), asked.as_secs_f64())]
    Lease {
        /// Server and queue, without secrets.
        address: String,
        /// The queue's name.
        name: String,
        /// The queue's.
        has: Duration,
        /// As given.
        asked: Duration,
    },
    /// There is none of that name.
    #[error("{address}: no such queue\n  check its name; `streamdet work add` makes it")]
    Missing {
        /// Server and queue, without secrets.
        address: String,
    },
    /// What keeps the queue ended.
    #[error("the connection's thread has ended")]
    Ended,
}

/// A queue.
pub struct Queue {
    address: String,
    context: Context,
    /// Where files wait, and where those go that cannot be done; their subjects.
    files: Stream,
    failed: Stream,
    subject: String,
    failed_subject: String,
    workers: PullConsumer,
    lease: Duration,
    refusals: Refusals,
}

/// Files that were added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Added {
    /// New ones.
    pub new: u64,
    /// Those that were added a moment ago.
    pub known: u64,
}

/// How far a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Files that nobody has taken.
    pub waiting: u64,
    /// Files that are worked on, and those that were given back until they are taken again.
    pub running: u64,
    /// Files whose outputs are there.
    pub done: u64,
    /// Files that cannot be done.
    pub failed: u64,
}

/// A file that was taken.
pub struct Taken {
    /// It, or what stands in its place.
    pub item: Result<Item, Value>,
    /// How often it was taken so far.
    pub delivered: u64,
    message: Message,
}

/// A file that cannot be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Buried {
    /// The file with its options, or what stood in the queue in its place.
    pub item: Value,
    /// Why.
    #[serde(flatten)]
    pub failure: Failure,
    /// How often it was taken.
    pub attempts: u64,
}

impl Buried {
    /// The file's name.
    #[must_use]
    pub fn source(&self) -> String {
        self.item["source"].as_str().map_or_else(|| self.item.to_string(), str::to_owned)
    }
}

impl Queue {
    /// Connects, and makes the queue where it is not there, unless it is only `looked` at; `lease` is a new one's.
    ///
    /// # Errors
    /// When the server is not reached, there is no such queue, or it has another lease.
    pub async fn open(
        address: &Address,
        tls: Option<&ClientConfig>,
        (lease, looked): (Option<Duration>, bool),
    ) -> Result<Self, QueueError> {
        let (shown, refusals) = (address.to_string(), Refusals::default());
        let refused =
            |problem: String| QueueError::Server { address: shown.clone(), problem: refusals.explain(problem) };
        let name = &address.queue;
        let options = ConnectOptions::new().name(format!("streamdet-work-{name}")).max_reconnects(None);
        let options = refusals.heard(options);
        let context = context(connect(&address.server, tls, options).await.map_err(refused)?);
        // Not below `streamdet.`, which is what detections are published under.
        let (subject, failed_subject) = (format!("streamdet-work.{name}"), format!("streamdet-work.{name}.failed"));
        let stream = |kind: &str, subject: &String, retention| Config {
            name: format!("streamdet-{kind}-{name}"),
            subjects: vec![subject.clone()],
            retention,
            ..Config::default()
        };
        let files = stream("work", &subject, RetentionPolicy::WorkQueue);
        if looked && let Err(error) = context.get_stream(&files.name).await {
            return Err(match error.kind() {
                GetStreamErrorKind::JetStream(_) => QueueError::Missing { address: shown },
                _ => refused(error.to_string()),
            });
        }
        let made = context.get_or_create_stream(files).await;
        let files = made.map_err(|error| refused(error.to_string()))?;
        let made = context.get_or_create_stream(stream("failed", &failed_subject, RetentionPolicy::Limits)).await;
        let failed = made.map_err(|error| refused(error.to_string()))?;
        let config = pull::Config {
            durable_name: Some(WORKERS.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: lease.unwrap_or(LEASE),
            max_deliver: -1,
            max_ack_pending: -1,
            ..pull::Config::default()
        };
        let made = files.get_or_create_consumer(WORKERS, config).await;
        let workers = made.map_err(|error| refused(error.to_string()))?;
        let has = workers.cached_info().config.ack_wait;
        if let Some(asked) = lease.filter(|asked| *asked != has) {
            return Err(QueueError::Lease { address: shown, name: name.clone(), has, asked });
        }
        Ok(Self { address: shown, context, files, failed, subject, failed_subject, workers, lease: has, refusals })
    }

    /// How long a file is a worker's that says nothing.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    fn refused(&self, problem: &dyn std::fmt::Display) -> QueueError {
        QueueError::Server { address: self.address.clone(), problem: self.refusals.explain(problem) }
    }

    /// Adds files; those that were added within the last two minutes are not added twice. `told` hears how far it is.
    ///
    /// # Errors
    /// When the server stores no more: those that are counted are there.
    pub async fn add(
        &self,
        items: impl Iterator<Item = Item>,
        mut told: impl FnMut(Added),
    ) -> Result<Added, QueueError> {
        let (mut added, mut sent) = (Added::default(), VecDeque::with_capacity(WINDOW));
        let mut items = items.fuse();
        loop {
            while sent.len() < WINDOW
                && let Some(item) = items.next()
            {
                let payload = serde_json::to_vec(&item).map_err(|error| self.refused(&error))?;
                let publish = PublishMessage::build().payload(payload.into()).message_id(item.id());
                let ack = self.context.send_publish(self.subject.clone(), publish).await;
                sent.push_back(ack.map_err(|error| self.refused(&error))?);
            }
            let Some(ack) = sent.pop_front() else { return Ok(added) };
            let ack = ack.into_future().await.map_err(|error| self.refused(&error))?;
            if ack.duplicate {
                added.known += 1;
            } else {
                added.new += 1;
            }
            told(added);
        }
    }

    /// Takes a file, where one waits.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn take(&self) -> Result<Option<Taken>, QueueError> {
        if self.context.client().connection_state() != State::Connected {
            return Err(self.refused(&"disconnected"));
        }
        let batch = self.workers.fetch().max_messages(1).expires(WAIT).messages().await;
        let mut batch = batch.map_err(|error| self.refused(&error))?;
        let Some(message) = batch.next().await else { return Ok(None) };
        let message = message.map_err(|error| self.refused(&error))?;
        let delivered = message.info().map_err(|error| self.refused(&error))?.delivered;
        let item = serde_json::from_slice(&message.payload)
            .map_err(|_| String::from_utf8_lossy(&message.payload).into_owned().into());
        Ok(Some(Taken { item, delivered: delivered.unsigned_abs(), message }))
    }

    /// Says that a file is worked on.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn hold(&self, taken: &Taken) -> Result<(), QueueError> {
        taken.message.double_ack_with(AckKind::Progress).await.map_err(|error| self.refused(&error))
    }

    /// Says that a file is done.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn acknowledge(&self, taken: &Taken) -> Result<(), QueueError> {
        taken.message.double_ack().await.map_err(|error| self.refused(&error))
    }

    /// Gives a file back, to be taken again after `delay`.
    ///
    /// # Errors
    /// When the server does not confirm it: it is given back when the lease is over.
    pub async fn give_back(&self, taken: &Taken, delay: Duration) -> Result<(), QueueError> {
        let delay = Some(delay).filter(|delay| !delay.is_zero());
        taken.message.double_ack_with(AckKind::Nak(delay)).await.map_err(|error| self.refused(&error))
    }

    /// Puts a file where those are that cannot be done, and takes it from the queue.
    ///
    /// # Errors
    /// When the server does not confirm it.
    pub async fn bury(&self, taken: &Taken, failure: &Failure) -> Result<(), QueueError> {
        let item = match &taken.item {
            Ok(item) => serde_json::to_value(item).map_err(|error| self.refused(&error))?,
            Err(other) => other.clone(),
        };
        let buried = Buried { item, failure: failure.clone(), attempts: taken.delivered };
        let info = taken.message.info().map_err(|error| self.refused(&error))?;
        let payload = serde_json::to_vec(&buried).map_err(|error| self.refused(&error))?;
        self.store(&self.failed_subject, payload, &format!("failed-{}", info.stream_sequence)).await?;
        self.acknowledge(taken).await
    }

    async fn store(&self, subject: &str, payload: Vec<u8>, id: &str) -> Result<(), QueueError> {
        let publish = PublishMessage::build().payload(payload.into()).message_id(id);
        let ack = self.context.send_publish(subject.to_owned(), publish).await.map_err(|error| self.refused(&error))?;
        ack.into_future().await.map(|_| ()).map_err(|error| self.refused(&error))
    }

    /// How far it is.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn figures(&self) -> Result<Figures, QueueError> {
        let files = self.files.get_info().await.map_err(|error| self.refused(&error))?.state;
        let failed = self.failed.get_info().await.map_err(|error| self.refused(&error))?.state;
        let workers = self.workers.get_info().await.map_err(|error| self.refused(&error))?;
        let (waiting, running) = (workers.num_pending, workers.num_ack_pending as u64);
        // What was ever put into the queue waits, is taken, has failed since, or is done. It is not gone for that: a server that is killed may
        // keep what was acknowledged.
        let settled = files.last_sequence.saturating_sub(waiting + running);
        Ok(Figures { waiting, running, done: settled.saturating_sub(failed.last_sequence), failed: failed.messages })
    }

    /// Files that cannot be done, the first `most`, each with its place among them.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn failures(&self, most: usize) -> Result<Vec<(u64, Buried)>, QueueError> {
        let state = self.failed.get_info().await.map_err(|error| self.refused(&error))?.state;
        let mut found = Vec::new();
        let mut next = state.first_sequence;
        while found.len() < most && state.messages > 0 && next <= state.last_sequence {
            // Those that were taken away leave gaps.
            let message =
                self.failed.raw_message_builder().sequence(next).next_by_subject(self.failed_subject.as_str()).send();
            let message = message.await.map_err(|error| self.refused(&error))?;
            let buried = serde_json::from_slice(&message.payload).unwrap_or_else(|error| Buried {
                item: String::from_utf8_lossy(&message.payload).into_owned().into(),
                failure: Failure { exit_code: 2, message: error.to_string() },
                attempts: 0,
            });
            next = message.sequence + 1;
            found.push((message.sequence, buried));
        }
        Ok(found)
    }

    /// Puts files that could not be done into the queue again, all of them; says how many.
    ///
    /// # Errors
    /// When the server does not answer: those that are not counted are where they were.
    pub async fn retry(&self) -> Result<u64, QueueError> {
        let mut count = 0;
        loop {
            let failures = self.failures(WINDOW).await?;
            if failures.is_empty() {
                return Ok(count);
            }
            for (place, buried) in failures {
                let payload = match buried.item {
                    Value::String(text) => text.into_bytes(),
                    item => item.to_string().into_bytes(),
                };
                self.store(&self.subject, payload, &format!("retry-{place}")).await?;
                self.failed.delete_message(place).await.map_err(|error| self.refused(&error))?;
                count += 1;
            }
        }
    }
}
