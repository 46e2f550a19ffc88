//! NATS with JetStream: every message has an id, by which the server stores one that comes again once. A connection that ends is
//! left alone with all that it holds; the next one begins with the oldest message that is not acknowledged.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesOrdered;
use rustls::ClientConfig;
use tokio::sync::mpsc::channel;

use super::link::{Link, ONLINE};
use super::message::Message;
use super::target::Target;
use crate::secrets::Credentials;

/// Messages that are sent before the first of them is acknowledged, at most.
const WINDOW: usize = 64;
/// Bytes of a message's headers, at most.
const AROUND: usize = 512;
/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long the server knows ids, where it has no stream for these subjects: longer than most outages.
const KNOWS_IDS: Duration = Duration::from_hours(1);
/// How long it keeps messages there.
const KEEPS: Duration = Duration::from_hours(24);

/// Publishes until all is acknowledged and no more comes.
pub(super) async fn session(link: &Link, connected: &dyn Fn()) -> Result<(), String> {
    let (end, mut ended) = channel::<String>(1);
    let told = move |event: Event| {
        let why = match event {
            Event::Disconnected | Event::Closed => Some("disconnected".to_owned()),
            Event::ServerError(error) => Some(error.to_string()),
            _ => None,
        };
        // The first is enough.
        let _ = why.map(|why| end.try_send(why));
        std::future::ready(())
    };
    let options = ConnectOptions::new()
        .name(format!("streamdet-{}", link.route.name))
        .max_reconnects(Some(1))
        .event_callback(told);
    let client = connect(&link.route.target, link.tls.as_deref(), options).await?;
    let largest = client.server_info().max_payload;
    let context = context(client);
    let talk = Talk { link, prefix: link.route.prefix.replace('/', "."), context, largest };
    talk.prepare().await?;
    connected();
    tokio::select! {
        outcome = talk.run() => outcome,
        why = ended.recv() => Err(why.unwrap_or_else(|| "disconnected".into())),
    }
}

/// Connects to a server with these options, as who its address says.
///
/// # Errors
/// What the client says.
pub async fn connect(target: &Target, tls: Option<&ClientConfig>, options: ConnectOptions) -> Result<Client, String> {
    let mut options = options.connection_timeout(PATIENCE).request_timeout(Some(PATIENCE));
    if let Some(Credentials { user, password }) = &target.credentials {
        options = options.user_and_password(user.expose().to_owned(), password.expose().to_owned());
    }
    if let Some(tls) = tls {
        options = options.require_tls(true).tls_client_config(tls.clone());
    }
    let scheme = if target.tls { "tls" } else { "nats" };
    let client = options.connect(format!("{scheme}://{}:{}", target.host, target.port)).await;
    client.map_err(|error| error.to_string())
}

/// What a server says that it does not permit: it answers nothing then, and whoever asked is told that the time was over.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<Option<String>>>);

impl Refusals {
    /// Hears of those of a connection.
    #[must_use]
    pub fn heard(&self, options: ConnectOptions) -> ConnectOptions {
        let own = self.clone();
        options.event_callback(move |event| {
            if let Event::ServerError(error) = event {
                *own.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
            std::future::ready(())
        })
    }

    /// A problem, with what was said last, once.
    #[must_use]
    pub fn explain(&self, problem: impl std::fmt::Display) -> String {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(said) if !problem.to_string().contains(&said) => format!("{problem}: {said}"),
            _ => problem.to_string(),
        }
    }
}

/// What to do about a problem with a server.
#[must_use]
pub fn remedy(problem: &str) -> &'static str {
    let problem = problem.to_ascii_lowercase();
    if problem.contains("authorization") || problem.contains("permission") {
        "the server is there: check user and password, and what it permits them"
    } else {
        "is nats-server running there, with JetStream (-js)?"
    }
}

/// JetStream, which answers soon or not at all.
#[must_use]
pub fn context(client: Client) -> Context {
    let mut context = jetstream::new(client);
    context.set_timeout(PATIENCE);
    context
}

/// A message's position, whether it was sent, and what came of it.
type Acked = (u64, bool, Result<(), String>);

struct Talk<'a> {
    link: &'a Link,
    prefix: String,
    context: Context,
    /// Largest message that the server takes.
    largest: usize,
}

impl Talk<'_> {
    /// Sees to it that a stream stores these subjects: one that is there is used as it is.
    async fn prepare(&self) -> Result<(), String> {
        let subject = format!("{}.{}.detections", self.prefix, self.link.route.name);
        if self.context.stream_by_subject(subject).await.is_ok() {
            return Ok(());
        }
        let stream = Config {
            name: self.prefix.replace('.', "_"),
            subjects: vec![format!("{}.>", self.prefix)],
            duplicate_window: KNOWS_IDS,
            max_age: KEEPS,
            ..Config::default()
        };
        let made = self.context.get_or_create_stream(stream).await;
        made.map(|_| ()).map_err(|error| format!("no JetStream stream for {}.>: {error}", self.prefix))
    }

    async fn run(&self) -> Result<(), String> {
        let link = self.link;
        let mut reader = link.reader();
        let mut acks: FuturesOrdered<LocalBoxFuture<'_, Acked>> = FuturesOrdered::new();
        // One, until it is seen that messages are stored: were the first refused and the second not, their order would be lost.
        let mut window = 1;
        let mut has_greeted = false;
        loop {
            if !has_greeted && link.has_opened() {
                self.say(ONLINE).await?;
                has_greeted = true;
            }
            let mut is_drained = false;
            while acks.len() < window && !is_drained {
                match link.next(&mut reader)? {
                    Some((position, message)) => acks.push_back(self.send(position, &message).await?),
                    None => is_drained = true,
                }
            }
            if link.is_ended() && is_drained && acks.is_empty() {
                return self.say(link.state().1).await;
            }
            tokio::select! {
                Some((position, was_sent, acked)) = acks.next() => {
                    acked?;
                    link.acked(position, u64::from(was_sent));
                    window = WINDOW;
                }
                () = link.changed() => {}
            }
        }
    }

    /// Sends a message; what comes of it is known later.
    async fn send(&self, position: u64, message: &Message) -> Result<LocalBoxFuture<'static, Acked>, String> {
        if message.payload.len() + AROUND > self.largest {
            self.link.refused(message, "it is larger than the server's max_payload");
            return Ok(Box::pin(std::future::ready((position, false, Ok(())))));
        }
        let Message { topic, run, key, payload } = message;
        let subject = format!("{}.{}", self.prefix, topic.replace('/', "."));
        let id = format!("{run}.{}.{key}", self.link.route.name);
        let publish = PublishMessage::build().payload(payload.clone().into()).message_id(id);
        let ack = self.context.send_publish(subject, publish).await.map_err(|error| error.to_string())?;
        let ack = ack.into_future();
        Ok(Box::pin(async move { (position, true, ack.await.map(|_| ()).map_err(|error| error.to_string())) }))
    }

    /// Says whether the stream is there.
    async fn say(&self, state: &'static [u8]) -> Result<(), String> {
        let (topic, _) = self.link.state();
        let subject = format!("{}.{}", self.prefix, topic.replace('/', "."));
        let ack = self.context.publish(subject, state.into()).await.map_err(|error| error.to_string())?;
        ack.await.map(|_| ()).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::remedy;

    #[test]
    fn a_server_that_refuses_is_there() {
        for refused in ["authorization violation", "Permissions Violation for Publish to \"a\""] {
            assert!(remedy(refused).contains("check user and password"), "{refused}");
        }
        assert!(remedy("Connection refused (os error 111)").contains("is nats-server running"));
    }
}
