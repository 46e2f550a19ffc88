//! Monitoring over HTTP: Prometheus metrics, liveness and readiness.
//!
//! Metrics receive; they never steer. The pipeline's threads add to atomics; one thread of its own answers requests, with
//! bounded work per second.

mod exposition;
mod http;
mod metrics;
mod watched;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::thread::ThreadError;

pub use http::Server;
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

/// Answers at `address` until the server is dropped:
///
/// - `/metrics`: Prometheus' text format, version 0.0.4
/// - `/healthz`: 200 while every thread gets done with its frames, else 503 with the names of those that do not
/// - `/readyz`: 200 while every stream that should deliver frames did so within its stall timeout, else 503 with those that did not
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(address: SocketAddr, metrics: &Arc<Metrics>) -> Result<Server, MonitoringError> {
    let metrics = metrics.clone();
    Server::start(address, move |path, answer| match path {
        "/metrics" => {
            answer.kind = "text/plain; version=0.0.4; charset=utf-8";
            metrics.write(&mut answer.body);
        }
        "/healthz" => answer.tell("ok", &metrics.hung()),
        "/readyz" => answer.tell("ready", &metrics.not_ready()),
        _ => {
            answer.status = (404, "Not Found");
            answer.body.push_str("/metrics, /healthz and /readyz are here\n");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
