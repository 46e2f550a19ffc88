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
}

impl Protocol {
    fn scheme(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Self::Mqtt, false) => "mqtt",
            (Self::Mqtt, true) => "mqtts",
            (Self::Nats, false) => "nats",
            (Self::Nats, true) => "natss",
        }
    }

    fn port(self, tls: bool) -> u16 {
        match (self, tls) {
            // <https://www.iana.org/assignments/service-names-port-numbers>.
            (Self::Mqtt, false) => 1883,
            (Self::Mqtt, true) => 8883,
            (Self::Nats, _) => 4222,
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
    /// What topics begin with; `None`: as the format has it.
    pub prefix: Option<String>,
    /// Who we are to it.
    pub credentials: Option<Credentials>,
}

/// Why it names no broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Another scheme, or none.
    #[error("give mqtt://HOST:PORT/PREFIX, mqtts://, nats:// or natss://")]
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
    #[error("{0:?} cannot begin a topic: use letters, digits, -, _ and /")]
    Prefix(String),
    /// A query.
    #[error("a query has no meaning here: leave out what begins with ? or #")]
    Query,
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
            _ => return Err(TargetError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(TargetError::Query);
        }
        let (user, place) = split_user_info(rest);
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = host_and_port(authority, protocol.port(tls)).ok_or(TargetError::Host)?;
        Ok(Self { protocol, tls, host, port, prefix: prefix(path)?, credentials: user.map(credentials).transpose()? })
    }
}

/// With user and password gone.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.protocol.scheme(self.tls), self.host, self.port)?;
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
        ] {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_names_no_broker_is_refused_without_its_password() {
        for text in [
            "h:1883",
            "kafka://h/x",
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
        fn fuzz_addresses(text in "(mqtts?|nats)://[ -~]{0,40}") {
            if let Ok(target) = text.parse::<Target>() {
                proptest::prop_assert_eq!(target.to_string().parse::<Target>().map(|target| target.host), Ok(target.host));
            }
        }
    }
}
