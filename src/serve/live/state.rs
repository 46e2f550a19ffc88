//! What the paths of live viewing share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::sessions::Sessions;
use crate::serve::problem::Problem;
use crate::sink::Hub;

/// The streams that can be watched.
pub trait LiveStreams: Send + Sync {
    /// What viewers of the stream called `name` watch; `None` where there is none.
    fn hub(&self, name: &str) -> Option<Hub>;
}

/// Where and how many may watch.
#[derive(Debug, Clone, Copy)]
pub struct LiveOptions {
    /// Where the server listens; media goes over UDP at the same port, where that is free.
    pub listen: SocketAddr,
    /// Viewers at once, of all streams; further ones are refused.
    pub max_viewers: usize,
}

/// The server's own address at which a request came in. The server adds it to requests where it listens on several: media goes
/// there.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedAt(pub SocketAddr);

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// No UDP socket for media.
    #[error("{address} (UDP, for WebRTC): {source}\n  choose another address with --listen")]
    Socket {
        /// Where it was tried.
        address: IpAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What the handlers share.
pub(super) struct Live {
    pub streams: Arc<dyn LiveStreams>,
    pub sessions: Sessions,
    /// One is held by each viewer.
    pub places: Arc<Semaphore>,
    most: usize,
}

impl Live {
    /// Opens the socket for media and begins to carry sessions.
    pub fn start(streams: Arc<dyn LiveStreams>, options: &LiveOptions) -> Result<Self, LiveError> {
        let unbound = |source| LiveError::Socket { address: options.listen.ip(), source };
        let sessions = Sessions::start(options.listen).map_err(unbound)?;
        Ok(Self { streams, sessions, places: Arc::new(Semaphore::new(options.max_viewers)), most: options.max_viewers })
    }

    /// There is no stream of this name.
    pub fn unknown(name: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no stream {name:?}; GET /v1/streams lists them"))
    }

    /// As many watch as may.
    pub fn full(&self) -> Problem {
        Problem::busy(format!("{} viewers at once are served; --max-viewers N serves more", self.most))
    }
}
