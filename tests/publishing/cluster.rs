//! Kafka: a broker behind a relay that can be cut, and what lies in a cluster's topics.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use rustls::ServerConfig;
use serde_json::Value;
use streamdet::clock::Deadline;
use streamdet::thread::{Thread, spawn};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::Away;
use crate::program::broker::{Broker, TANSU, has};
use crate::program::free_port;

/// How long what a cluster has may take to come.
const ANSWER: Duration = Duration::from_mins(1);
/// How long is waited for one message.
const LOOK: Duration = Duration::from_secs(1);

/// What comes to a port goes to another, until it is cut: then nobody listens, and what was on its way is gone.
struct Relay {
    port: u16,
    to: u16,
    tls: Option<Arc<ServerConfig>>,
    running: Option<(Thread<()>, Arc<Notify>)>,
}

impl Relay {
    #[track_caller]
    fn start(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("its port");
        listener.set_nonblocking(true).expect("a socket");
        let cut = Arc::new(Notify::new());
        let (asked, to, tls) = (cut.clone(), self.to, self.tls.clone());
        let relay = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
                tokio::select! {
                    () = asked.notified() => {}
                    () = accept(&listener, to, tls) => {}
                }
            });
        };
        self.running = Some((spawn("relay", relay).expect("a thread"), cut));
    }

    /// Cuts all connections; each of its tasks ends with the runtime.
    fn cut(&mut self) {
        if let Some((thread, cut)) = self.running.take() {
            cut.notify_one();
            thread.join().expect("no panic");
        }
    }
}

async fn accept(listener: &tokio::net::TcpListener, to: u16, tls: Option<Arc<ServerConfig>>) {
    loop {
        let (mut client, _) = listener.accept().await.expect("a connection");
        let tls = tls.clone();
        tokio::spawn(async move {
            // What fails here ends at both ends, whose business it is.
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
            if let Some(tls) = tls {
                let Ok(mut client) = TlsAcceptor::from(tls).accept(client).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            } else {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

/// A Kafka cluster of one broker, which can be away without forgetting anything: the network in between is cut.
pub struct Cluster {
    broker: Broker,
    relay: Relay,
}

impl Cluster {
    /// Starts it; `None`, with a word of it, where there is no broker. `tls`: of the way to it.
    #[track_caller]
    pub fn start(folder: &Path, more: &[&str], tls: Option<ServerConfig>) -> Option<Self> {
        if !has(TANSU) {
            return None;
        }
        let port = free_port();
        let mut broker = Broker::tansu(folder, port, more);
        broker.start();
        let mut relay = Relay { port, to: broker.port, tls: tls.map(Arc::new), running: None };
        relay.start();
        Some(Self { broker, relay })
    }

    /// Where it is found.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.relay.port)
    }
}

impl Away for Cluster {
    fn kill(&mut self) {
        self.relay.cut();
    }

    fn start(&mut self) {
        self.relay.start();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.relay.cut();
        self.broker.kill();
    }
}

/// A message as the cluster has it.
#[derive(Debug, Clone)]
pub struct Stored {
    pub partition: i32,
    pub key: String,
    /// Headers.
    pub run: String,
    pub seq: String,
    pub payload: String,
}

impl Stored {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// All that lies in a topic, each partition's in its order, once it is whole; `more` is added to the consumer's configuration.
#[track_caller]
pub fn stored(address: &str, topic: &str, more: &[(&str, &str)], is_whole: impl Fn(&[Stored]) -> bool) -> Vec<Stored> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", "witness").set("enable.auto.commit", "false");
    for (key, value) in more {
        config.set(*key, *value);
    }
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER).expect("the cluster answers");
    let mut from = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        from.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a partition");
    }
    consumer.assign(&from).expect("partitions");
    let mut found = Vec::new();
    let deadline = Deadline::after(ANSWER);
    while !is_whole(&found) {
        let seen = || found.iter().map(|found: &Stored| format!("{} {}", found.key, found.seq)).collect::<Vec<_>>();
        assert!(!deadline.is_over(), "{topic} has {:?}", seen());
        let Some(message) = consumer.poll(LOOK) else { continue };
        let message = message.expect("a message");
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let header = |name: &str| {
            let found = message.headers().and_then(|headers| headers.iter().find(|header| header.key == name));
            text(found.and_then(|header| header.value))
        };
        found.push(Stored {
            partition: message.partition(),
            key: text(message.key()),
            run: header("run"),
            seq: header("seq"),
            payload: text(message.payload()),
        });
    }
    found
}
