//! Where messages go, as `--publish` names it.

use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::secrets::{Credentials, Secret, split_user_info};

/// What a broker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT 5.
    Mqtt,
    /// NATS with JetStream.
    Nats,
    /// Kafka.
    Kafka,
}

/// How a Kafka cluster is told who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sasl {
    /// User and password as they are.
    #[default]
    Plain,
    /// SCRAM (RFC 5802) with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl Protocol {
    fn scheme(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Self::Mqtt, false) => "mqtt",
            (Self::Mqtt, true) => "mqtts",
            (Self::Nats, false) => "nats",
            (Self::Nats, true) => "natss",
            (Self::Kafka, false) => "kafka",
            (Self::Kafka, true) => "kafkas",
        }
    }

    fn port(self, tls: bool) -> u16 {
        match (self, tls) {
            // <https://www.iana.org/assignments/service-names-port-numbers>.
            (Self::Mqtt, false) => 1883,
            (Self::Mqtt, true) => 8883,
            (Self::Nats, _) => 4222,
            // As in Kafka's own documentation.
            (Self::Kafka, false) => 9092,
            (Self::Kafka, true) => 9093,
        }
    }
}

/// A broker, and what its topics begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Further brokers of its cluster, with their ports; Kafka alone.
    pub others: Vec<(String, u16)>,
    /// How it is told who we are; Kafka alone.
    pub sasl: Sasl,
    /// What topics begin with; `None`: as the format has it.
    pub prefix: Option<String>,
    /// Who we are to it.
    pub credentials: Option<Credentials>,
}

/// Why it names no broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Another scheme, or none.
    #[error("give mqtt://HOST:PORT/PREFIX, mqtts://, nats://, natss://, kafka:// or kafkas://")]
    Scheme,
    /// Nothing that can be a host stands there.
    #[error(
        "no host and port in it: give mqtt://HOST:PORT/PREFIX, with user and password before the host where the broker asks for them"
    )]
    Host,
    /// A user without a password, or what cannot be decoded.
    #[error(
        "give user and password before the host, with : between and @ behind them, other characters than letters and digits as %XX"
    )]
    User,
    /// A prefix that no topic can begin with.
    #[error("{0:?} cannot begin a topic: use letters, digits, -, _ and /, 200 at most")]
    Prefix(String),
    /// A query.
    #[error("a query has no meaning here: leave out what begins with ? or #")]
    Query,
    /// Another query than Kafka's.
    #[error("a query says how user and password are sent: give ?sasl=plain, scram-sha-256 or scram-sha-512")]
    Sasl,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = text.split_once("://").ok_or(TargetError::Scheme)?;
        let (protocol, tls) = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => (Protocol::Mqtt, false),
            "mqtts" => (Protocol::Mqtt, true),
            "nats" => (Protocol::Nats, false),
            "natss" => (Protocol::Nats, true),
            "kafka" => (Protocol::Kafka, false),
            "kafkas" => (Protocol::Kafka, true),
            _ => return Err(TargetError::Scheme),
        };
        let (user, place) = split_user_info(rest);
        let (place, query) = match place.split_once('?') {
            Some((place, query)) if protocol == Protocol::Kafka => (place, Some(query)),
            _ => (place, None),
        };
        if user.is_some_and(|user| user.contains(['?', '#'])) || place.contains(['?', '#']) {
            return Err(TargetError::Query);
        }
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (authority, others) = match authority.split_once(',') {
            Some((first, others)) if protocol == Protocol::Kafka => (first, Some(others)),
            _ => (authority, None),
        };
        let known = |authority| host_and_port(authority, protocol.port(tls)).ok_or(TargetError::Host);
        let (host, port) = known(authority)?;
        let others = others.into_iter().flat_map(|others| others.split(',')).map(known).collect::<Result<_, _>>()?;
        let credentials = user.map(credentials).transpose()?;
        let sasl = match (query, &credentials) {
            (Some(_), None) => return Err(TargetError::User),
            (query, _) => query.map_or(Ok(Sasl::default()), sasl)?,
        };
        Ok(Self { protocol, tls, host, port, others, sasl, prefix: prefix(path)?, credentials })
    }
}

impl Target {
    /// A NATS server; `None` where the text names none, or another broker.
    ///
    /// # Errors
    /// When its address cannot be used.
    pub fn on_nats(text: &str) -> Result<Option<Self>, TargetError> {
        match text.parse() {
            Err(TargetError::Scheme) => Ok(None),
            target => target.map(|target: Self| (target.protocol == Protocol::Nats).then_some(target)),
        }
    }

    /// All brokers that it names, as `HOST:PORT`, with commas.
    #[must_use]
    pub fn brokers(&self) -> String {
        let others = self.others.iter().map(|(host, port)| format!(",{host}:{port}"));
        std::iter::once(format!("{}:{}", self.host, self.port)).chain(others).collect()
    }
}

fn sasl(query: &str) -> Result<Sasl, TargetError> {
    match query.strip_prefix("sasl=").map(str::to_ascii_lowercase).as_deref() {
        Some("plain") => Ok(Sasl::Plain),
        Some("scram-sha-256") => Ok(Sasl::ScramSha256),
        Some("scram-sha-512") => Ok(Sasl::ScramSha512),
        _ => Err(TargetError::Sasl),
    }
}

/// With user and password gone.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.protocol.scheme(self.tls), self.brokers())?;
        self.prefix.as_ref().map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

fn host_and_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
        _ => (authority, default),
    };
    let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_v6 = v6.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    (is_name || is_v6).then(|| (host.to_owned(), port))
}

fn prefix(path: &str) -> Result<Option<String>, TargetError> {
    let path = path.trim_matches('/');
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    match path {
        "" => Ok(None),
        _ if path.len() <= 200 && path.split('/').all(is_part) => Ok(Some(path.to_owned())),
        _ => Err(TargetError::Prefix(path.to_owned())),
    }
}

fn credentials(user_info: &str) -> Result<Credentials, TargetError> {
    let (user, password) = user_info.split_once(':').ok_or(TargetError::User)?;
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| TargetError::User)?;
        if text.is_empty() { Err(TargetError::User) } else { Ok(Secret::new(text.into_owned())) }
    };
    Ok(Credentials { user: decoded(user)?, password: decoded(password)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_broker_and_shows_no_password() {
        let target: Target = "mqtts://me:s%40cret@Broker.example:8884/site/north/".parse().expect("a broker");
        let credentials = target.credentials.clone().expect("credentials");
        assert_eq!((credentials.user.expose(), credentials.password.expose()), ("me", "s@cret"));
        assert_eq!(target.to_string(), "mqtts://Broker.example:8884/site/north");
        assert!(!format!("{target:?}").contains("cret"));
        for (text, shown) in [
            ("mqtt://h", "mqtt://h:1883"),
            ("NATS://127.0.0.1/x", "nats://127.0.0.1:4222/x"),
            ("natss://[::1]:5000", "natss://[::1]:5000"),
            ("mqtts://h/a/b", "mqtts://h:8883/a/b"),
            ("kafka://h", "kafka://h:9092"),
            ("kafkas://me:p%2Cw@h,h2:9094,[::1]/a/b?sasl=SCRAM-SHA-512", "kafkas://h:9093,h2:9094,[::1]:9093/a/b"),
        ] {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_names_no_broker_is_refused_without_its_password() {
        for text in [
            "h:1883",
            "amqp://h/x",
            "mqtt://h,h2",
            "kafka://h,",
            "kafka://h,h2:secret/x",
            "kafka://u:secret@h/x?sasl=gssapi",
            "kafka://u:secret@h/x?acks=1",
            "kafka://h/x?sasl=plain",
            "kafka://u:s?ecret@h",
            "mqtt://",
            "mqtt://h:0",
            "mqtt://h:99999",
            "mqtt://h/a b",
            "mqtt://h/a/#",
            "mqtt://h/+/x",
            "mqtt://user@h",
            "mqtt://u:@h",
            "mqtt://h?x=1",
            "mqtt://u:secret@[::1/x",
            "mqtt://u:secret@h:port/x",
        ] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(!error.contains("secret"), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn fuzz_addresses(text in "(mqtts?|nats|kafka)://[ -~]{0,40}") {
            if let Ok(target) = text.parse::<Target>() {
                proptest::prop_assert_eq!(target.to_string().parse::<Target>().map(|target| target.host), Ok(target.host));
            }
        }
    }
}
