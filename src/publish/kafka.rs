//! Kafka: an idempotent producer (librdkafka's), which outlasts outages of the cluster, so that what it sends again is stored once. It
//! holds a bounded part of the spool, for as long as that takes; a message leaves the spool when its delivery report comes. A
//! producer that has failed for good is left alone; the next one begins with the oldest message that is not acknowledged.
//!
//! Topics are `PREFIX.detections`, `PREFIX.events` and `PREFIX.state`; the key is the stream's name, so that a stream's messages of a
//! topic lie in one partition, in their order.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings::{rd_kafka_queue_destroy, rd_kafka_queue_get_main, rd_kafka_queue_io_event_enable};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use rustix::event::{EventfdFlags, eventfd};
use serde::Deserialize;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::link::{Link, ONLINE};
use super::message::Message;
use super::spool::Reader;
use super::target::{Sasl, Target};
use crate::secrets::Credentials;

/// Messages that are sent before the first of them is acknowledged, at most.
const WINDOW: usize = 64;
/// Bytes of them, at most, but for the first.
const WINDOW_BYTES: usize = 8 << 20;
/// The largest message that is offered to the cluster, which has a limit of its own (1 MB unless it says otherwise): the spool has no
/// larger ones.
const LARGEST: usize = (64 << 20) + 4096;
/// Bytes that make a batch: less than any cluster's limit, so that a batch that is refused as too large is one message. As the Java
/// client has it.
const BATCH: usize = 16 << 10;
/// How long a connection may take, and an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked at which brokers are connected.
const LOOK: Duration = Duration::from_secs(1);
/// So many looks in a row without a connection are an outage: one may show the moment between two connections.
const AWAY: u32 = 5;
/// What librdkafka calls it in its log when a connection fails.
const FAIL: &str = "FAIL";
/// Its longest pause between two connections to a broker.
const RECONNECT: Duration = Duration::from_secs(2);
/// How long messages of a producer that has failed may take to come back.
const FAREWELL: Duration = Duration::from_secs(1);

/// What librdkafka tells, in its order. As many as there may be messages on their way, and what happens between two turns.
#[derive(Default)]
struct Told {
    events: Mutex<Vec<Event>>,
    /// There was one, of whatever kind.
    is_new: AtomicBool,
}

enum Event {
    /// What came of a message.
    Delivered(usize, Result<(), RDKafkaErrorCode>),
    /// Something failed: a broker's connection, all of them, the producer itself.
    Failed(RDKafkaErrorCode, String),
    /// Whether a broker is connected.
    IsUp(bool),
}

/// The part of librdkafka's statistics that is looked at.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: std::collections::BTreeMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    state: String,
}

impl Told {
    fn tell(&self, event: Event) {
        self.is_new.store(true, Ordering::Relaxed);
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.is_new.store(true, Ordering::Relaxed);
        if facility == FAIL {
            // Of a connection that ends, librdkafka says why here alone.
            let reason = text.split_once("]: ").map_or(text, |(_, reason)| reason);
            self.tell(Event::Failed(RDKafkaErrorCode::BrokerTransportFailure, reason.to_owned()));
        }
        // What concerns the user is said by the session, once.
        match level {
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::trace!("{facility}: {text}"),
            _ => tracing::debug!("{facility}: {text}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let is_up = serde_json::from_slice::<Statistics>(statistics)
            .is_ok_and(|statistics| statistics.brokers.values().any(|broker| broker.state == "UP"));
        self.tell(Event::IsUp(is_up));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        self.tell(Event::Failed(code, reason.to_owned()));
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.tell(Event::Delivered(number, outcome));
    }
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Open,
    Stored,
    /// It will never be.
    Refused,
    /// It is sent again by another producer.
    Failed,
}

/// A message that was handed to the producer: where it lies in the spool, if it does, and what it is without what it says.
struct Flying {
    position: Option<u64>,
    message: Message,
    bytes: usize,
    outcome: Outcome,
}

/// A producer, from one session to the next.
#[derive(Default)]
pub(super) struct Kept(Option<Box<Sender>>);

impl Kept {
    /// Ends it, beside: it waits for its threads, which may wait for a name to be resolved.
    fn end(&mut self) {
        if let (Some(sender), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(sender)));
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.end();
    }
}

/// A producer and what it holds.
struct Sender {
    producer: BaseProducer<Told>,
    /// Can be read when librdkafka has something to tell. It is closed after the producer has ended.
    wake: AsyncFd<OwnedFd>,
    reader: Reader,
    /// In the order in which they were sent.
    flying: VecDeque<Flying>,
    /// Number of the first of them.
    first: usize,
    /// It was said that the stream is there.
    has_greeted: bool,
    /// It was said that it is gone.
    has_left: bool,
}

impl Sender {
    fn new(link: &Link) -> Result<Self, String> {
        let producer: BaseProducer<Told> =
            config(link).create_with_context(Told::default()).map_err(|error| error.to_string())?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| error.to_string())?;
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the client is the producer's, which outlives this call. librdkafka copies the payload, and writes it to the file until
        // the producer ends, which is before the file is closed: fields are dropped in their order. What is released is a reference to
        // the queue.
        unsafe {
            let queue = rd_kafka_queue_get_main(producer.client().native_ptr());
            rd_kafka_queue_io_event_enable(queue, wake.as_raw_fd(), one.as_ptr().cast(), one.len());
            rd_kafka_queue_destroy(queue);
        }
        // It is written to when the queue was empty before, and something has come already: that the client is there.
        rustix::io::write(&wake, &one).map_err(|error| error.to_string())?;
        // SAFETY: the file is owned, and the same until it is closed.
        let wake = unsafe { AsyncFd::register(wake) }.map_err(|error| error.to_string())?;
        let (reader, flying) = (link.reader(), VecDeque::new());
        Ok(Self { producer, wake, reader, flying, first: 0, has_greeted: false, has_left: false })
    }

    /// Returns when librdkafka has something to tell; all of it.
    async fn events(&self) -> Result<Vec<Event>, String> {
        let mut ready = self.wake.readable().await.map_err(|error| error.to_string())?;
        ready.clear_ready();
        // Before its queue is emptied: what comes then makes the file readable again.
        let _ = rustix::io::read(self.wake.get_ref(), &mut [0; 8]);
        let told = self.producer.context();
        loop {
            // One event a call.
            self.producer.poll(Duration::ZERO);
            if !told.is_new.swap(false, Ordering::Relaxed) {
                break;
            }
        }
        Ok(std::mem::take(&mut *told.events.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Hands a message to the producer.
    fn send(&mut self, link: &Link, position: Option<u64>, message: Message) -> Result<(), String> {
        let (below, what) = message.topic.rsplit_once('/').unwrap_or((&link.route.name, &message.topic));
        let topic = format!("{}.{what}", link.route.prefix.replace('/', "."));
        let mut record =
            BaseRecord::with_opaque_to(&topic, self.first + self.flying.len()).key(below).payload(&message.payload);
        if position.is_some() {
            // With them a consumer sees that a message comes again, and that one is missing, in every format.
            let header = |key, value| Header { key, value: Some(value) };
            let headers = OwnedHeaders::new().insert(header("run", &message.run)).insert(header("seq", &message.key));
            record = record.headers(headers);
        }
        let outcome = match self.producer.send(record).map_err(|(error, _)| error) {
            Ok(()) => Outcome::Open,
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => Outcome::Refused,
            Err(error) => return Err(error.to_string()),
        };
        let bytes = message.payload.len();
        let message = Message { payload: Vec::new(), ..message };
        self.flying.push_back(Flying { position, message, bytes, outcome });
        Ok(())
    }

    /// Says whether the stream is there.
    fn say(&mut self, link: &Link, state: &[u8]) -> Result<(), String> {
        let (topic, run) = (link.state().0, link.run.clone());
        self.send(link, None, Message { topic, run, key: String::new(), payload: state.to_vec() })
    }

    /// Sends as much as may be on its way; whether there is no more.
    fn fill(&mut self, link: &Link) -> Result<bool, String> {
        if !self.has_greeted && link.has_opened() {
            self.has_greeted = true;
            self.say(link, ONLINE)?;
        }
        let mut bytes: usize = self.flying.iter().map(|flying| flying.bytes).sum();
        while self.flying.len() < WINDOW && (bytes < WINDOW_BYTES || self.flying.is_empty()) {
            let Some((position, message)) = link.next(&mut self.reader)? else { return Ok(true) };
            bytes += message.payload.len();
            self.send(link, Some(position), message)?;
        }
        Ok(false)
    }

    /// Notes what came of a message.
    fn note(&mut self, number: usize, outcome: Outcome) {
        if let Some(flying) = number.checked_sub(self.first).and_then(|at| self.flying.get_mut(at)) {
            flying.outcome = outcome;
        }
    }

    /// Takes what is stored, up to the oldest that is not, out of the spool.
    fn land(&mut self, link: &Link) {
        let (mut newest, mut count) = (None, 0);
        let has_landed = |flying: &Flying| matches!(flying.outcome, Outcome::Stored | Outcome::Refused);
        while self.flying.front().is_some_and(has_landed) {
            let Some(landed) = self.flying.pop_front() else { break };
            self.first += 1;
            if landed.outcome == Outcome::Refused {
                link.refused(&landed.message, "it is larger than the topic's max.message.bytes");
            } else {
                count += u64::from(landed.position.is_some());
            }
            newest = landed.position.or(newest);
        }
        if let Some(position) = newest {
            link.acked(position, count);
        }
    }
}

fn config(link: &Link) -> ClientConfig {
    let Target { tls, credentials, sasl, .. } = &link.route.target;
    let protocol = match (tls, credentials) {
        (false, None) => "plaintext",
        (true, None) => "ssl",
        (false, Some(_)) => "sasl_plaintext",
        (true, Some(_)) => "sasl_ssl",
    };
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config
        .set("bootstrap.servers", link.route.target.brokers())
        .set("client.id", format!("streamdet-{}", link.id))
        .set("security.protocol", protocol)
        .set("enable.idempotence", "true")
        // A message that fails ends the producer: none behind it is stored before it.
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        // None: what waits is bounded by the window, and lies in the spool.
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.messages", (2 * WINDOW).to_string())
        .set("queue.buffering.max.kbytes", (2 * LARGEST / 1024).to_string())
        .set("message.max.bytes", LARGEST.to_string())
        .set("batch.size", BATCH.to_string())
        // As Kafka's own clients have it: a key's partition does not depend on who writes.
        .set("partitioner", "murmur2_random")
        .set("socket.connection.setup.timeout.ms", PATIENCE.as_millis().to_string())
        .set("request.timeout.ms", PATIENCE.as_millis().to_string())
        .set("socket.timeout.ms", (2 * PATIENCE).as_millis().to_string())
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", RECONNECT.as_millis().to_string())
        .set("statistics.interval.ms", LOOK.as_millis().to_string())
        .set("enable.metrics.push", "false");
    if let Some(Credentials { user, password }) = credentials {
        let mechanism = match sasl {
            Sasl::Plain => "PLAIN",
            Sasl::ScramSha256 => "SCRAM-SHA-256",
            Sasl::ScramSha512 => "SCRAM-SHA-512",
        };
        config
            .set("sasl.mechanisms", mechanism)
            .set("sasl.username", user.expose())
            .set("sasl.password", password.expose());
    }
    if let Some(ca) = link.ca.as_ref().filter(|_| *tls) {
        config.set("ssl.ca.location", ca.to_string_lossy());
    }
    config
}

/// Publishes until all is acknowledged and no more comes. `kept` is the producer of the session before, and of the next one.
pub(super) async fn session(link: &Link, kept: &mut Kept, connected: &dyn Fn()) -> Result<(), String> {
    let sender = match &mut kept.0 {
        Some(sender) => sender,
        none => none.insert(Box::new(Sender::new(link)?)),
    };
    let outcome = match run(link, sender, connected).await {
        Ok(()) => Ok(()),
        Err(Ended::Away(why)) => return Err(why),
        Err(Ended::Failed(why)) => {
            give_up(link, sender).await;
            // What came first says more than what it led to.
            let first = sender.producer.client().fatal_error().map(|(_, first)| first);
            Err(first.unwrap_or(why))
        }
    };
    kept.end();
    outcome
}

/// Why a session has ended.
enum Ended {
    /// No broker is connected; the producer goes on when one is.
    Away(String),
    /// The producer has failed.
    Failed(String),
}

async fn run(link: &Link, sender: &mut Sender, connected: &dyn Fn()) -> Result<(), Ended> {
    let (mut is_connected, mut is_down, mut looks, mut why) = (false, false, 0, None);
    let away = |why: &Option<String>| Ended::Away(why.clone().unwrap_or_else(|| "disconnected".into()));
    loop {
        sender.land(link);
        let is_drained = sender.fill(link).map_err(Ended::Failed)?;
        if link.is_ended() && is_drained && sender.flying.is_empty() {
            if sender.has_left {
                return Ok(());
            }
            sender.has_left = true;
            sender.say(link, link.state().1).map_err(Ended::Failed)?;
        }
        let events = tokio::select! {
            events = sender.events() => events.map_err(Ended::Failed)?,
            () = link.changed() => continue,
        };
        let (mut ended, mut has_looked) = (None, false);
        for event in events {
            let is_up = matches!(event, Event::Delivered(_, Ok(())) | Event::IsUp(true));
            if is_up {
                (looks, is_down) = (0, false);
                if !std::mem::replace(&mut is_connected, true) {
                    connected();
                }
            }
            match event {
                Event::Delivered(number, Ok(())) => sender.note(number, Outcome::Stored),
                Event::Delivered(number, Err(error)) => {
                    sender.note(number, of_failure(error));
                    ended = Some(Ended::Failed(format!("the cluster refuses a message: {error}")));
                }
                Event::Failed(RDKafkaErrorCode::Fatal, reason) => ended = Some(Ended::Failed(reason)),
                Event::Failed(RDKafkaErrorCode::AllBrokersDown, _) => is_down = true,
                // librdkafka would ask again at once, twenty times a second.
                Event::Failed(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL, reason) if !is_connected => {
                    ended = Some(Ended::Failed(in_short(&reason).to_owned()));
                }
                Event::Failed(_, reason) => why = Some(in_short(&reason).to_owned()),
                Event::IsUp(true) => {}
                Event::IsUp(false) => {
                    looks += 1;
                    has_looked = true;
                    is_down |= is_connected && looks >= AWAY;
                }
            }
        }
        // Why may come after that they are down; until the next look it is waited for.
        if is_down && (is_connected || why.is_some() || has_looked) {
            ended = ended.or_else(|| Some(away(&why)));
        }
        sender.land(link);
        if let Some(ended) = ended {
            return Err(ended);
        }
    }
}

/// What a message's error means for it.
fn of_failure(error: RDKafkaErrorCode) -> Outcome {
    if error == RDKafkaErrorCode::MessageSizeTooLarge { Outcome::Refused } else { Outcome::Failed }
}

/// Waits until it is known what came of all messages of a producer that has failed: those that are stored are not sent again.
async fn give_up(link: &Link, sender: &mut Sender) {
    sender.producer.purge(PurgeConfig::default().queue().inflight());
    let last = async {
        while sender.flying.iter().any(|flying| flying.outcome == Outcome::Open) {
            for event in sender.events().await? {
                if let Event::Delivered(number, outcome) = event {
                    sender.note(number, outcome.map_or_else(of_failure, |()| Outcome::Stored));
                }
            }
        }
        Ok::<(), String>(())
    };
    // What has not come back is sent again; the state is said anew.
    let _ = timeout(FAREWELL, last).await;
    sender.flying.retain(|flying| flying.position.is_some());
    sender.land(link);
}

/// What happened, without how long that took: what is said twice is said alike.
fn in_short(reason: &str) -> &str {
    reason.split_once(" (after ").map_or(reason, |(reason, _)| reason)
}
