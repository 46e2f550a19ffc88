//! The server: connections are accepted, served and ended on one thread.

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::access::{Listen, check_token};
use super::connections::{Connections, Place};
use super::error::ServeError;
use super::gate::Gate;
use super::limits::Limits;
use super::live::ReceivedAt;
use super::tls::SharedCertificate;
use super::wire::Wire;
use crate::thread::{self, Thread, ThreadError};

/// Connections that wait to be accepted, at most; the system's own limit is below it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// Until the system is asked for connections again, after it had no room for one.
const NO_ROOM: Duration = Duration::from_millis(100);
/// How long what a client still sends is discarded after the last answer: closed at once, the answer might not reach it.
const LINGER: Duration = Duration::from_secs(2);
/// Threads for work that waits for something, beside one a core for work that does not.
const WAITING: usize = 16;
/// How long work beside the thread has, once all connections are gone.
const LEFT: Duration = Duration::from_secs(1);

/// Answers until it is dropped.
pub struct Server {
    address: SocketAddr,
    /// Ends the thread, within this time. Its end does so, too.
    alive: Option<oneshot::Sender<Duration>>,
    thread: Option<Thread<()>>,
}

impl Server {
    /// As [`start_with`](Self::start_with), with routes that need no runtime to be made.
    ///
    /// # Errors
    /// When the address cannot be listened on or needs a token.
    pub fn start(
        listen: Listen,
        tls: Option<SharedCertificate>,
        routes: Router,
        limits: Limits,
    ) -> Result<Self, ServeError> {
        Self::start_with(listen, tls, |_| Ok(routes), limits)
    }

    /// Listens, over TLS where there is a certificate, and answers with what `routes` makes of the address, within the server's runtime. Work
    /// that takes long is done by [`tokio::task::spawn_blocking`], on threads called `http-work`.
    ///
    /// # Errors
    /// When the address cannot be listened on or needs a token, or there are no routes.
    pub fn start_with(
        listen: Listen,
        tls: Option<SharedCertificate>,
        routes: impl FnOnce(SocketAddr) -> Result<Router, ServeError>,
        limits: Limits,
    ) -> Result<Self, ServeError> {
        check_token(&listen)?;
        let Listen { option, address, token } = listen;
        let refused = |problem| ServeError::Address { option, address, problem };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        // The standard library has 128 wait to be accepted: a thousand at once would try again after a second.
        rustix::net::listen(&listener, BACKLOG).map_err(|e| refused(e.into()))?;
        let address = listener.local_addr().map_err(refused)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("http-work")
            .max_blocking_threads(cores + WAITING)
            .build()
            .map_err(|problem| ServeError::Runtime { option, problem })?;
        let routes = {
            let _within = runtime.enter();
            routes(address)?
        };
        let (alive, end) = oneshot::channel();
        // Bodies are bounded before any route sees them.
        let routes = routes.layer(DefaultBodyLimit::disable());
        let gate = Arc::new(Gate::new(routes, token, address, limits));
        let thread = thread::spawn("http", move || run(runtime, listener, gate, tls, end))?;
        Ok(Self { address, alive: Some(alive), thread: Some(thread) })
    }

    /// Takes no more connections, lets requests that are being answered end within the grace period, and ends.
    ///
    /// # Errors
    /// When its thread panicked.
    pub fn close(mut self) -> Result<(), ThreadError> {
        self.end()
    }

    /// The same, within `grace`.
    ///
    /// # Errors
    /// When its thread panicked.
    pub fn close_within(mut self, grace: Duration) -> Result<(), ThreadError> {
        // One that has ended has nothing to end.
        let _ = self.alive.take().map(|alive| alive.send(grace));
        self.end()
    }

    fn end(&mut self) -> Result<(), ThreadError> {
        drop(self.alive.take());
        self.thread.take().map_or(Ok(()), Thread::join)
    }

    /// Where it listens, with the port that was free.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A caller that reports a panic calls `close`.
        let _ = self.end();
    }
}

fn run(
    runtime: Runtime,
    listener: TcpListener,
    gate: Arc<Gate>,
    tls: Option<SharedCertificate>,
    end: oneshot::Receiver<Duration>,
) {
    runtime.block_on(async {
        // Registering a socket that listens fails where there is no memory, and nothing can be answered then.
        if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
            accept(listener, gate, tls, end).await;
        }
    });
    // An image that is being decoded is not waited for.
    runtime.shutdown_timeout(LEFT);
}

/// Serves connections until `end`, and then those that are being answered.
async fn accept(
    listener: tokio::net::TcpListener,
    gate: Arc<Gate>,
    tls: Option<SharedCertificate>,
    mut end: oneshot::Receiver<Duration>,
) {
    let connections = Connections::new(gate.limits.connections);
    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let grace = loop {
        thread::test_panic_point();
        tokio::select! {
            grace = &mut end => break grace.unwrap_or(gate.limits.grace),
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                // Where there is no place it is closed.
                if let Some(place) = connections.admit() {
                    let _ = stream.set_nodelay(true);
                    tasks.spawn(served(stream, gate.clone(), tls.clone(), place, stopping.clone()));
                }
            } else {
                connections.make_room();
                sleep(NO_ROOM).await;
            },
            // Of one that panicked the hook has spoken.
            Some(_) = tasks.join_next() => {}
        }
    };
    drop(listener);
    // Where none is left nobody listens.
    let _ = stop.send(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(grace, all).await;
}

async fn served(
    stream: tokio::net::TcpStream,
    gate: Arc<Gate>,
    tls: Option<SharedCertificate>,
    place: Place,
    stopping: watch::Receiver<bool>,
) {
    let local = stream.local_addr().ok();
    let Some(tls) = tls else { return converse((stream, local), gate, place, stopping).await };
    let handshake = timeout(gate.limits.head_time, tls.acceptor().accept(stream));
    let connection = place.connection.clone();
    let stream = tokio::select! {
        shaken = handshake => shaken,
        () = connection.gives_way() => return,
    };
    if let Ok(Ok(stream)) = stream {
        converse((stream, local), gate, place, stopping).await;
    }
}

/// Answers the requests of one connection, which came in at `local`.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    (stream, local): (S, Option<SocketAddr>),
    gate: Arc<Gate>,
    place: Place,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = gate.limits;
    let connection = place.connection.clone();
    let service = {
        let connection = connection.clone();
        service_fn(move |mut request: Request<Incoming>| {
            if let Some(local) = local {
                request.extensions_mut().insert(ReceivedAt(local));
            }
            Box::pin(gate.clone().answer(connection.clone(), request))
        })
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(limits.head.max(8 << 10));
    let mut http = http.serve_connection(TokioIo::new(Wire::new(stream, limits.stall)), service);
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            ended = std::future::poll_fn(|cx| http.poll_without_shutdown(cx)) => break ended,
            () = connection.gives_way() => return,
            _ = stopping.changed(), if !is_stopping => {}
        }
        is_stopping = true;
        Pin::new(&mut http).graceful_shutdown();
    };
    // What a client that is gone sends is nobody's.
    if ended.is_err_and(|error| !error.is_parse()) {
        return;
    }
    let mut stream = http.into_parts().io.into_inner();
    drop(place);
    let rest = async {
        if stream.shutdown().await.is_ok() {
            let mut discarded = [0; 4 << 10];
            while stream.read(&mut discarded).await.is_ok_and(|read| read > 0) {}
        }
    };
    let _ = timeout(LINGER, rest).await;
}
