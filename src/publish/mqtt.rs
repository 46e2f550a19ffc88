//! MQTT 5: every message with `QoS` 1, in order; what is not acknowledged when the connection ends is sent again by the next one,
//! from the oldest on. The client's own queues are not relied on: a connection begins with a client of its own.

use std::collections::VecDeque;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, LastWill, Packet, PubAck, PubAckReason, PublishProperties,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, MqttOptions, StateError};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{sleep, timeout};

use super::discovery;
use super::link::{Link, ONLINE};
use super::message::Message;
use super::sink::COUNTS;
use super::spool::Reader;
use crate::secrets::Credentials;

/// Messages that are sent before the first of them is acknowledged, at most; brokers have limits of their own, of which
/// mosquitto's is 20.
const WINDOW: usize = 64;
/// The same for the client, which has room for all of them from the start.
const IN_FLIGHT: u16 = 128;
/// Requests that wait in the client: those, and what is sent at the start.
const REQUESTS: usize = 1024;
/// Shortest time between two values of one topic: people look at them.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a silent connection is tested; after one and a half times that the broker publishes the will.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes that a packet's head and properties take beside topic and payload, at most.
const AROUND: usize = 512;
/// Largest packet that is taken: birth messages are short.
const INCOMING: u32 = 1 << 20;

/// Publishes until all is acknowledged and no more comes.
pub(super) async fn session(link: &Link, connected: &dyn Fn()) -> Result<(), String> {
    let (client, mut events) = AsyncClient::new(options(link), REQUESTS);
    let (sender, incoming) = channel(WINDOW);
    // Polled to its end: what a dropped poll was about to send is lost.
    let pump = async {
        loop {
            let event = events.poll().await.map_err(|error| said(&error))?;
            if sender.send(event).await.is_err() {
                return Err("the session has ended".to_owned());
            }
        }
    };
    let talk = Talk {
        link,
        client,
        incoming,
        reader: link.reader(),
        flying: VecDeque::new(),
        seen: 0,
        told: None,
        has_greeted: false,
        announced: Vec::new(),
        largest: usize::MAX,
    };
    tokio::select! {
        broken = pump => broken,
        outcome = talk.run(connected) => outcome,
    }
}

fn options(link: &Link) -> MqttOptions {
    let target = &link.route.target;
    let id = format!("streamdet-{}", link.id);
    let mut options = MqttOptions::new(id, target.host.clone(), target.port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_clean_start(true);
    options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
    let properties = ConnectProperties { max_packet_size: Some(INCOMING), ..ConnectProperties::new() };
    options.set_connect_properties(properties);
    if let Some(Credentials { user, password }) = &target.credentials {
        options.set_credentials(user.expose(), password.expose());
    }
    if let Some(tls) = &link.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    let (state, _) = link.state();
    options.set_last_will(LastWill::new(link.route.topic(&state), "offline", QoS::AtLeastOnce, true, None));
    options
}

/// Why a connection ended, in the field's words.
fn said(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(reason) => format!("the broker refuses the connection: {reason:?}"),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            format!("the broker disconnected: {reason_code:?}")
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker does not answer".into(),
        ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error)) => error.to_string(),
        ConnectionError::Timeout(_) => "no connection within 5 s".into(),
        other => other.to_string(),
    }
}

/// A message that is not acknowledged: where it lies in the spool, if it does.
struct Flying {
    position: Option<u64>,
    /// Its packet's number, once it is sent.
    packet: Option<u16>,
    is_acked: bool,
}

struct Talk<'a> {
    link: &'a Link,
    client: AsyncClient,
    incoming: Receiver<Event>,
    reader: Reader,
    /// In the order in which they are sent.
    flying: VecDeque<Flying>,
    /// How often values had changed when they were sent.
    seen: u64,
    /// The state that was sent.
    told: Option<&'static [u8]>,
    /// It was said that the stream is there.
    has_greeted: bool,
    /// Topics of entities that were announced.
    announced: Vec<String>,
    /// Largest packet that the broker takes.
    largest: usize,
}

impl Talk<'_> {
    async fn run(mut self, connected: &dyn Fn()) -> Result<(), String> {
        let link = self.link;
        while self.largest == usize::MAX {
            if let Event::Incoming(Packet::ConnAck(ConnAck { properties, .. })) = self.event().await? {
                let most = properties.and_then(|properties| properties.max_packet_size);
                self.largest = most.map_or(usize::MAX - 1, |most| most as usize);
            }
        }
        connected();
        if let Some(prefix) = &link.home_assistant {
            let birth = self.client.subscribe(discovery::status(prefix), QoS::AtLeastOnce).await;
            birth.map_err(|error| error.to_string())?;
        }
        let mut pause = std::pin::pin!(sleep(Duration::ZERO));
        loop {
            self.greet()?;
            let is_drained = self.fill()?;
            let is_over = link.is_ended() && is_drained;
            if is_over || pause.is_elapsed() {
                self.values()?;
                pause.set(sleep(PAUSE));
            }
            if is_over && self.flying.is_empty() {
                break;
            }
            tokio::select! {
                event = self.incoming.recv() => self.take(event.ok_or("the connection has ended")?)?,
                () = link.changed() => {}
                () = &mut pause, if self.has_news() => {}
            }
        }
        // The broker publishes no will after a farewell: its state is told.
        let farewell = async {
            self.client.try_disconnect().map_err(|error| error.to_string())?;
            while !matches!(self.event().await?, Event::Outgoing(Outgoing::Disconnect)) {}
            Ok(())
        };
        timeout(FAREWELL, farewell).await.unwrap_or(Ok(()))
    }

    /// Sends as many messages as may be on their way; whether there are no more.
    fn fill(&mut self) -> Result<bool, String> {
        while self.flying.len() < WINDOW {
            let Some((position, message)) = self.link.next(&mut self.reader)? else { return Ok(true) };
            self.send(position, &message)?;
        }
        Ok(false)
    }

    /// Whether state or values have changed.
    fn has_news(&self) -> bool {
        self.link.has_newer(self.seen) || self.told != Some(self.link.state().1)
    }

    async fn event(&mut self) -> Result<Event, String> {
        self.incoming.recv().await.ok_or_else(|| "the connection has ended".to_owned())
    }

    /// Says that the stream is there before anything else of it, also where it has ended meanwhile.
    fn greet(&mut self) -> Result<(), String> {
        if self.has_greeted || !self.link.has_opened() {
            return Ok(());
        }
        self.has_greeted = true;
        self.tell(ONLINE)
    }

    fn tell(&mut self, state: &'static [u8]) -> Result<(), String> {
        let (topic, _) = self.link.state();
        self.told = Some(state);
        self.retained(self.link.route.topic(&topic), state.to_vec())
    }

    /// Sends what has changed of values, entities and state.
    fn values(&mut self) -> Result<(), String> {
        let (values, changes) = self.link.latest(self.seen);
        self.seen = changes;
        for (topic, value) in &values {
            if let Some(prefix) = &self.link.home_assistant
                && topic.ends_with(&format!("/{COUNTS}"))
            {
                let entities = discovery::entities(&self.link.route, prefix, &self.link.id, value);
                for (topic, entity) in entities {
                    if !self.announced.contains(&topic) {
                        self.retained(topic.clone(), entity)?;
                        self.announced.push(topic);
                    }
                }
            }
            self.retained(self.link.route.topic(topic), value.clone())?;
        }
        let (_, state) = self.link.state();
        if self.told == Some(state) { Ok(()) } else { self.tell(state) }
    }

    /// Home Assistant is there: it is told everything again.
    fn born(&mut self) {
        self.announced.clear();
        (self.seen, self.told) = (0, None);
    }

    fn retained(&mut self, topic: String, payload: Vec<u8>) -> Result<(), String> {
        let sent = self.client.try_publish(topic, QoS::AtLeastOnce, true, payload);
        sent.map_err(|_| "the broker takes nothing".to_owned())?;
        self.flying.push_back(Flying { position: None, packet: None, is_acked: false });
        Ok(())
    }

    fn send(&mut self, position: u64, message: &Message) -> Result<(), String> {
        let topic = self.link.route.topic(&message.topic);
        let mut flying = Flying { position: Some(position), packet: None, is_acked: false };
        if message.payload.len() + topic.len() + AROUND > self.largest {
            self.link.refused(message, "it is larger than the broker's largest packet");
            flying.is_acked = true;
        } else {
            // With them a consumer sees that a message comes again, and that one is missing, in every format.
            let own = [("run", &message.run), ("seq", &message.key)];
            let user_properties = own.map(|(name, value)| (name.to_owned(), value.clone())).into();
            let properties = PublishProperties { user_properties, ..PublishProperties::default() };
            let payload = message.payload.clone();
            let sent = self.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties);
            sent.map_err(|_| "the broker takes nothing".to_owned())?;
        }
        self.flying.push_back(flying);
        self.land();
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Outgoing(Outgoing::Publish(packet)) => {
                let next = self.flying.iter_mut().find(|flying| flying.packet.is_none() && !flying.is_acked);
                if let Some(next) = next {
                    next.packet = Some(packet);
                }
                Ok(())
            }
            Event::Incoming(Packet::PubAck(PubAck { pkid, reason, .. })) => {
                if !matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
                    return Err(format!("the broker refuses a message: {reason:?}"));
                }
                let acked = self.flying.iter_mut().find(|flying| flying.packet == Some(pkid) && !flying.is_acked);
                if let Some(acked) = acked {
                    acked.is_acked = true;
                }
                self.land();
                Ok(())
            }
            Event::Incoming(Packet::Publish(publish)) => {
                let status = self.link.home_assistant.as_deref().map(discovery::status);
                if status.is_some_and(|status| publish.topic == status.as_bytes())
                    && publish.payload == discovery::BIRTH
                    && !publish.retain
                {
                    self.born();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Notes what is acknowledged up to the oldest that is not.
    fn land(&mut self) {
        let (mut newest, mut count) = (None, 0);
        while self.flying.front().is_some_and(|flying| flying.is_acked) {
            let landed = self.flying.pop_front().and_then(|flying| flying.position);
            count += u64::from(landed.is_some());
            newest = landed.or(newest);
        }
        if let Some(position) = newest {
            self.link.acked(position, count);
        }
    }
}
