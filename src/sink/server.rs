//! An RTSP server, which may serve several streams, each under its name. Its thread runs the main loop.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::glib;
use rtsp_server::prelude::*;

use super::access::Access;
use super::admission::Places;
use super::error::{OutputError, SinkError};
use super::mounts::{self, HiddenNames};
use crate::thread::{Thread, spawn, test_panic_point};

/// How often sessions are looked through for clients that vanished without a word.
const CLEAN_UP_SECONDS: u32 = 5;
/// How long its thread may take to end: it waits for nothing that takes long.
const END: Duration = Duration::from_secs(5);

/// A server on one address; streams are added under their names. It listens from [`Self::listen`] on.
pub struct RtspServer {
    requested: SocketAddr,
    access: Access,
    /// When its certificate and key were written: renewed, they are another server's.
    issued: Vec<Option<SystemTime>>,
    places: Arc<Places>,
    starting: Mutex<()>,
    running: OnceLock<Running>,
}

fn issued(access: &Access) -> Vec<Option<SystemTime>> {
    let files = access.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
    files.map(|file| file.metadata().and_then(|file| file.modified()).ok()).collect()
}

/// A server that listens.
struct Running {
    address: SocketAddr,
    server: rtsp_server::RTSPServer,
    context: glib::MainContext,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<Thread<Result<(), glib::BoolError>>>>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
}

impl std::fmt::Debug for RtspServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RtspServer").field(&self.address()).finish()
    }
}

impl RtspServer {
    /// The server of this process for `address`, of whatever run, if it has the same access, certificate and number of clients; else a new one.
    #[must_use]
    pub fn at(address: SocketAddr, access: &Access, most: usize) -> Arc<Self> {
        /// Those that somebody uses.
        static SERVERS: Mutex<Vec<Weak<RtspServer>>> = Mutex::new(Vec::new());
        let new = || Arc::new(Self::new(address, access.clone(), most));
        if address.port() == 0 {
            return new();
        }
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server| server.strong_count() > 0);
        let issued = issued(access);
        let is_it = |one: &Arc<Self>| {
            (one.requested, &one.access, one.places.most(), &one.issued) == (address, access, most, &issued)
        };
        servers.iter().filter_map(Weak::upgrade).find(is_it).unwrap_or_else(|| {
            let new = new();
            servers.push(Arc::downgrade(&new));
            new
        })
    }

    /// A server for `address` that does not listen yet, to so many clients at once; port 0 will take a free one.
    #[must_use]
    pub fn new(address: SocketAddr, access: Access, most: usize) -> Self {
        Self {
            requested: address,
            issued: issued(&access),
            access,
            places: Arc::new(Places::new(most)),
            starting: Mutex::default(),
            running: OnceLock::new(),
        }
    }

    /// Who may watch, and how.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Listens from now on; does nothing where it does already.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the certificate cannot be used.
    pub fn listen(&self) -> Result<(), SinkError> {
        // Two runs may begin at once.
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.running.get().is_some() {
            return Ok(());
        }
        let address = self.requested;
        let auth = self.access.auth()?;
        let running = Running::start(address, (&self.access, auth.as_ref()), &self.places)
            .map_err(|source| SinkError::Address { address, source })?;
        // Nobody else has set it.
        drop(self.running.set(running));
        Ok(())
    }

    /// What it was asked to listen on.
    #[must_use]
    pub fn requested(&self) -> SocketAddr {
        self.requested
    }

    /// Where it listens; before that, where it is to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.get().map_or(self.requested, |running| running.address)
    }

    /// The address of a stream.
    #[must_use]
    pub fn url(&self, mount: &str) -> String {
        let scheme = if self.access.tls.is_some() { "rtsps" } else { "rtsp" };
        format!("{scheme}://{}{mount}", self.address())
    }

    /// Those who may watch at once.
    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Serves what `factory` makes under this name.
    pub(super) fn add(&self, name: &str, factory: &impl IsA<rtsp_server::RTSPMediaFactory>) {
        if let Some(running) = self.running.get() {
            mounts::add(&running.server, name, factory);
        }
    }

    /// Serves nothing under this name any more.
    pub(super) fn remove(&self, name: &str) {
        if let Some(running) = self.running.get() {
            mounts::remove(&running.server, name);
        }
    }

    /// Checks that it runs.
    ///
    /// # Errors
    /// When its thread has ended, which it does of itself only by a panic.
    pub(super) fn check(&self) -> Result<(), OutputError> {
        self.running.get().map_or(Ok(()), Running::check)
    }
}

impl Running {
    fn start(
        address: SocketAddr,
        (access, auth): (&Access, Option<&rtsp_server::RTSPAuth>),
        places: &Arc<Places>,
    ) -> Result<Self, OutputError> {
        // The server itself does not say why it cannot listen.
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        drop(listener);
        let server = rtsp_server::RTSPServer::new();
        server.set_address(&address.ip().to_string());
        server.set_service(&address.port().to_string());
        server.set_auth(auth);
        if access.credentials.is_some() {
            HiddenNames::of(&server);
        }
        places.watch(&server);
        let context = glib::MainContext::new();
        server.attach(Some(&context))?;
        let pool = server.session_pool();
        let clean_up = glib::timeout_source_new_seconds(CLEAN_UP_SECONDS, None, glib::Priority::DEFAULT, move || {
            if let Some(pool) = &pool {
                pool.cleanup();
            }
            glib::ControlFlow::Continue
        });
        clean_up.attach(Some(&context));
        let (alive, ended) = bounded::<()>(0);
        let stopping = Arc::<AtomicBool>::default();
        let (own, stop) = (context.clone(), stopping.clone());
        let thread = spawn("rtsp-server", move || {
            let _alive = alive;
            own.with_thread_default(|| {
                while !stop.load(Ordering::SeqCst) {
                    // Outside of GLib's own calls, which a panic cannot pass.
                    test_panic_point();
                    own.iteration(true);
                }
            })
        })?;
        Ok(Self { address, server, context, stopping, thread: Mutex::new(Some(thread)), ended })
    }

    fn check(&self) -> Result<(), OutputError> {
        if self.ended.try_recv() != Err(TryRecvError::Disconnected) {
            return Ok(());
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.join()??;
        }
        Err(OutputError::Stopped("RTSP server"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        drop(self.server.client_filter(Some(&mut |_, _| rtsp_server::RTSPFilterResult::Remove)));
        self.context.wakeup();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Its streams have ended: whether it ends in time makes no difference to them.
            drop(thread.join_within(END));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_ends_and_says_when_its_port_is_taken() {
        gstreamer::init().expect("GStreamer");
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = RtspServer::new(loopback, Access::default(), 1);
        server.listen().expect("a free port");
        assert!(server.check().is_ok() && server.address().port() > 0);
        let error = RtspServer::new(server.address(), Access::default(), 1).listen().expect_err("it is taken");
        assert!(error.to_string().contains("in use"), "{error}");
    }
}
