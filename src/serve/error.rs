//! Why a server cannot start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::thread::ThreadError;

/// Why a server cannot start. `option` is the one that asks for it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("{option} {address}: {problem}\n  name a free port, as :9090, or :0 for any")]
    Address {
        /// Of the command line.
        option: &'static str,
        /// As resolved.
        address: SocketAddr,
        /// What the system says.
        #[source]
        problem: std::io::Error,
    },
    /// Other machines reach the address, and nothing keeps them out.
    #[error(
        "{option} {address}: other machines reach this address, so it needs a token\n  set STREAMDET_TOKEN, or token = \"…\" in the config \
         file; or listen on loopback, as :{}", .address.port()
    )]
    NoToken {
        /// Of the command line.
        option: &'static str,
        /// As resolved.
        address: SocketAddr,
    },
    /// No header can carry the token.
    #[error(
        "the token of {0} (--token, STREAMDET_TOKEN or the config file) cannot be sent\n  give letters, digits and -._~+/= only, as \
         `openssl rand -hex 32` prints them"
    )]
    Token(&'static str),
    /// The certificate or the key cannot be used.
    #[error("{option} {path}: {problem}\n  give a PEM file, as `openssl req -x509 -newkey rsa:2048 -nodes` writes it")]
    Tls {
        /// `--tls-cert` or `--tls-key`.
        option: &'static str,
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system gives no means to wait for connections.
    #[error("{option}: {problem}\n  close other programs, or raise the limit of open files (ulimit -n)")]
    Runtime {
        /// Of the command line.
        option: &'static str,
        /// What the system says.
        #[source]
        problem: std::io::Error,
    },
    /// There is no socket for WebRTC.
    #[error("{0}")]
    Live(#[from] super::live::LiveError),
    /// Its thread cannot be started.
    #[error("{0}")]
    Thread(#[from] ThreadError),
}
