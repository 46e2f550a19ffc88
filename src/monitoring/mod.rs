//! Monitoring over HTTP: Prometheus metrics, liveness and readiness.
//!
//! Metrics receive; they never steer. The pipeline's threads add to atomics; one thread of its own answers requests, with
//! bounded work per second.

mod counts;
mod exposition;
mod fleet;
mod http;
mod liveness;
mod metrics;
mod watched;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::secrets::Secret;
use crate::thread::ThreadError;

pub use fleet::Fleet;
pub use http::Server;
pub use liveness::Liveness;
pub use metrics::Metrics;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MonitoringError {
    /// The address cannot be listened on.
    #[error("--metrics {address}: {problem}\n  name a free port, as :9090, or :0 for any")]
    Address {
        /// As resolved.
        address: SocketAddr,
        /// What the system says.
        #[source]
        problem: std::io::Error,
    },
    /// Other machines reach the address, and nothing keeps them out.
    #[error(
        "--metrics {0}: other machines reach this address, so it needs a token\n  set STREAMDET_TOKEN, or token = \"…\" in the config \
         file; or listen on loopback, as :9090"
    )]
    NoToken(SocketAddr),
    /// No header can carry the token.
    #[error(
        "the token of --metrics (--token, STREAMDET_TOKEN or the config file) cannot be sent\n  give letters, digits and -._~+/= only, as \
         `openssl rand -hex 32` prints them"
    )]
    Token,
    /// The system gives no socket pair to end it by.
    #[error("--metrics: {0}\n  close other programs, or raise the limit of open files (ulimit -n)")]
    Wake(#[source] std::io::Error),
    /// Its thread cannot be started.
    #[error("--metrics: {0}")]
    Thread(#[from] ThreadError),
}

/// `HOST:PORT`, `:PORT` or `PORT`; loopback unless a host is written.
///
/// # Errors
/// When it is none of them, or the host is unknown.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = match text.strip_prefix(':').unwrap_or(text) {
        port if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    let mut found = whole.to_socket_addrs().map_err(|e| format!("{e}; give HOST:PORT or :PORT"))?;
    found.next().ok_or_else(|| "this host has no address".into())
}

/// A bearer token (RFC 6750). What cannot be sent as one is refused by [`check_token`]: the command line's own parser would show it.
///
/// # Errors
/// None.
#[must_use = "it is what was given"]
pub fn token(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// Whether a header can carry the token (RFC 6750, 2.1).
fn is_sent(token: &Secret) -> bool {
    let is_sent = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let text = token.expose();
    !text.is_empty() && text.bytes().all(is_sent)
}

/// Checks that nobody but this machine reaches `address` without a token.
///
/// # Errors
/// When others do, or the token cannot be sent.
pub fn check_token(address: SocketAddr, token: Option<&Secret>) -> Result<(), MonitoringError> {
    match token {
        Some(token) if !is_sent(token) => Err(MonitoringError::Token),
        None if !is_loopback(address) => Err(MonitoringError::NoToken(address)),
        _ => Ok(()),
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Answers at `address` until the server is dropped; who is on another machine needs the token, but for whether all is well:
///
/// - `/metrics`: Prometheus' text format, version 0.0.4
/// - `/healthz`: 200 while every thread gets done with its frames, else 503 with the names of those that do not
/// - `/readyz`: 200 while every stream that should deliver frames did so within its stall timeout, else 503 with those that did not
///
/// # Errors
/// When the address cannot be listened on, or needs a token.
pub fn serve(address: SocketAddr, token: Option<&Secret>, metrics: &Arc<Metrics>) -> Result<Server, MonitoringError> {
    check_token(address, token)?;
    let token = token.filter(|_| !is_loopback(address)).cloned();
    let metrics = metrics.clone();
    Server::start(address, token, move |path, is_known, answer| match path {
        // Probes of an orchestrator carry no token: they are told whether, not what.
        "/healthz" => answer.tell("ok", &metrics.hung(), is_known),
        "/readyz" => answer.tell("ready", &metrics.not_ready(), is_known),
        _ if !is_known => {
            answer.refuse((401, "Unauthorized"), "send the token of this program as Authorization: Bearer TOKEN");
        }
        "/metrics" => {
            answer.kind = "text/plain; version=0.0.4; charset=utf-8";
            metrics.write(&mut answer.body);
        }
        _ => answer.refuse((404, "Not Found"), "/metrics, /healthz and /readyz are here"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_need_a_token() {
        let check = |at: &str, token: Option<&str>| {
            check_token(at.parse().expect("an address"), token.map(Secret::new).as_ref()).is_ok()
        };
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(check(here, None), "{here}");
        }
        for other in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            assert!(!check(other, None) && check(other, Some("s3cret")), "{other}");
        }
        for (sent, text) in [(false, ""), (false, "two words"), (false, "é"), (false, "a!"), (true, "a-B_9.~+/=")] {
            assert_eq!(check("127.0.0.1:1", Some(text)), sent, "{text}");
        }
    }

    #[test]
    fn an_address_is_loopback_unless_another_is_written() {
        for (text, expected) in [
            (":9090", "127.0.0.1:9090"),
            ("9090", "127.0.0.1:9090"),
            (":0", "127.0.0.1:0"),
            ("0.0.0.0:9090", "0.0.0.0:9090"),
            ("[::1]:9090", "[::1]:9090"),
        ] {
            assert_eq!(address(text).expect("an address").to_string(), expected);
        }
        for wrong in ["", ":", ":99999", "host", "1.2.3.4", "-1", ":9090/metrics"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
