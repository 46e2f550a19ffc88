//! An RTSP server that shows annotated streams, each under its name. Every client has a pipeline of its own that does no more
//! than packing what is encoded already; it begins with a key frame, and its slowness is its own.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::glib;
use rtsp_server::prelude::*;

use super::live::LiveInput;
use super::{Beginning, Branch, Ended, News, Unit};
use crate::sink::SinkError;
use crate::sink::container::descriptions;
use crate::sink::encode::KeyFrames;
use crate::stream::{LiveOutput, codec_name};

/// How long the last pictures may take to reach the clients.
const FAREWELL: Duration = Duration::from_secs(2);
/// Clients that said goodbye but are not heard of yet.
const FAREWELLS: usize = 64;
/// How often sessions are looked through for clients that vanished without a word.
const CLEAN_UP_SECONDS: u32 = 5;
/// A new client gets a key frame at once, but no more often than this: key frames are large.
const KEY_FRAME_EVERY: Duration = Duration::from_millis(250);

/// A server on one address; streams are added under their names. It listens from [`Self::listen`] on.
pub struct RtspServer {
    asked: SocketAddr,
    running: OnceLock<Running>,
}

/// A server that listens.
struct Running {
    address: SocketAddr,
    server: rtsp_server::RTSPServer,
    main_loop: glib::MainLoop,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for RtspServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RtspServer").field(&self.address()).finish()
    }
}

impl RtspServer {
    /// A server for `address` that does not listen yet; port 0 will take a free one.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { asked: address, running: OnceLock::new() }
    }

    /// Listens from now on; does nothing where it does already.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn listen(&self) -> Result<(), SinkError> {
        if self.running.get().is_some() {
            return Ok(());
        }
        let running = Running::start(self.asked)?;
        // Another thread that was faster has a server that listens, too.
        drop(self.running.set(running));
        Ok(())
    }

    /// Where it listens; before that, where it is to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.get().map_or(self.asked, |running| running.address)
    }

    /// The address of a stream.
    #[must_use]
    pub fn url(&self, mount: &str) -> String {
        format!("rtsp://{}{mount}", self.address())
    }

    fn mount_points(&self) -> Option<rtsp_server::RTSPMountPoints> {
        self.running.get().and_then(|running| running.server.mount_points())
    }
}

impl Running {
    fn start(address: SocketAddr) -> Result<Self, SinkError> {
        let refused = |problem: String| SinkError::Address { address, problem };
        // The server itself does not say why it cannot listen.
        let listener = TcpListener::bind(address).map_err(|e| refused(e.to_string()))?;
        let address = listener.local_addr().map_err(|e| refused(e.to_string()))?;
        drop(listener);
        let server = rtsp_server::RTSPServer::new();
        server.set_address(&address.ip().to_string());
        server.set_service(&address.port().to_string());
        let context = glib::MainContext::new();
        server.attach(Some(&context)).map_err(|e| refused(e.to_string()))?;
        let pool = server.session_pool();
        let clean_up = glib::timeout_source_new_seconds(CLEAN_UP_SECONDS, None, glib::Priority::DEFAULT, move || {
            if let Some(pool) = &pool {
                pool.cleanup();
            }
            glib::ControlFlow::Continue
        });
        clean_up.attach(Some(&context));
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let turning = main_loop.clone();
        let thread = std::thread::Builder::new()
            .name("rtsp-server".into())
            .spawn(move || {
                let _ = turning.context().with_thread_default(|| turning.run());
            })
            .map_err(|e| refused(e.to_string()))?;
        Ok(Self { address, server, main_loop, thread: Mutex::new(Some(thread)) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.server.client_filter(Some(&mut |_, _| rtsp_server::RTSPFilterResult::Remove));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // On its own thread: asked to before it turns, it would turn for ever.
            let turning = self.main_loop.clone();
            self.main_loop.context().invoke(move || turning.quit());
            let _ = thread.join();
        }
    }
}

/// One stream of a server.
pub(super) struct Mount {
    server: Arc<RtspServer>,
    name: String,
    clients: Arc<Clients>,
    factory: rtsp_server::RTSPMediaFactory,
    /// The first audio track goes along.
    audio: bool,
    caps: Option<gst::Caps>,
    gone: Receiver<()>,
}

/// Who watches.
struct Clients {
    list: Mutex<Vec<Client>>,
    keys: Mutex<(Option<KeyFrames>, Option<Instant>)>,
    ever: AtomicU64,
    sent: AtomicU64,
    lost: AtomicU64,
}

struct Client {
    media: glib::WeakRef<rtsp_server::RTSPMedia>,
    input: LiveInput,
}

impl Clients {
    fn list(&self) -> MutexGuard<'_, Vec<Client>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the client that `media` was made for.
    fn add(self: &Arc<Self>, media: &rtsp_server::RTSPMedia, audio: Option<&gst::Caps>, gone: &Sender<()>) {
        let element = media.element();
        let source = |name: &str| {
            element.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name(name)?.downcast::<gst_app::AppSrc>().ok())
        };
        let Some(units) = source("units") else { return };
        let input = LiveInput::new(units, source("packets").zip(audio));
        // What is sent is paced already.
        media.set_rate_control(false);
        let (this, gone) = (Arc::downgrade(self), gone.clone());
        media.connect_unprepared(move |media| {
            if let Some(clients) = this.upgrade() {
                clients.list().retain(|client| client.media.upgrade().is_some_and(|other| other != *media));
                let _ = gone.try_send(());
            }
        });
        self.list().push(Client { media: media.downgrade(), input });
        self.ever.fetch_add(1, Ordering::Relaxed);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.1.is_none_or(|last| last.elapsed() >= KEY_FRAME_EVERY)
            && let Some(encoder) = &keys.0
        {
            encoder.ask(None);
            keys.1 = Some(Instant::now());
        }
    }
}

impl Mount {
    /// Adds the stream to its server.
    pub fn open(server: Arc<RtspServer>, name: &str, beginning: &mut Beginning) -> Self {
        let format = beginning.audio.first().cloned();
        if beginning.audio.len() > 1 {
            (beginning.tell)(News::Notice(format!("{} carries the first audio track only", server.url(name))));
        }
        let (gone_tx, gone) = bounded(FAREWELLS);
        let keys = Mutex::default();
        let (list, ever, sent, lost) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let clients = Arc::new(Clients { list, keys, ever, sent, lost });
        let factory = rtsp_server::RTSPMediaFactory::new();
        let description = describe(format.as_ref());
        if let Some(format) = &format
            && description.contains("avenc_aac")
        {
            let codec = codec_name(format);
            (beginning.tell)(News::Notice(format!("RTSP: {codec} audio is re-encoded as AAC for every client")));
        }
        factory.set_launch(&description);
        factory.set_protocols(rtsp_server::gst_rtsp::RTSPLowerTrans::UDP | rtsp_server::gst_rtsp::RTSPLowerTrans::TCP);
        let (coming, audio) = (Arc::downgrade(&clients), format.is_some());
        factory.connect_media_configure(move |_, media| {
            if let Some(clients) = coming.upgrade() {
                clients.add(media, format.as_ref(), &gone_tx);
            }
        });
        if let Some(points) = server.mount_points() {
            points.add_factory(name, factory.clone());
        }
        (beginning.tell)(News::Serving(server.url(name)));
        Self { server, name: name.to_owned(), clients, factory, audio, caps: None, gone }
    }
}

/// One client's pipeline, for a stream with sound of this format.
fn describe(audio: Option<&gst::Caps>) -> String {
    let rtsp = &descriptions().rtsp;
    let audio = audio.and_then(|caps| caps.structure(0)).map(|structure| match structure.name().as_str() {
        "audio/mpeg" if structure.get::<i32>("mpegversion").is_ok_and(|version| version != 1) => &rtsp.aac,
        "audio/x-opus" => &rtsp.opus,
        _ => &rtsp.other,
    });
    let audio = audio.map_or_else(String::new, |branch| format!("appsrc name=packets ! {branch}"));
    format!("( appsrc name=units ! {} {audio} )", rtsp.video)
}

impl Branch for Mount {
    fn format(&mut self, caps: &gst::Caps, keys: &KeyFrames) -> Result<(), SinkError> {
        self.caps = Some(caps.clone());
        self.clients.keys.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(keys.clone());
        Ok(())
    }

    fn unit(&mut self, unit: &Unit) -> Result<(), SinkError> {
        let Some(caps) = &self.caps else { return Ok(()) };
        for client in self.clients.list().iter_mut() {
            if let Some(sent) = client.input.unit(unit, caps) {
                let counter = if sent { &self.clients.sent } else { &self.clients.lost };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>) {
        if track > 0 || !self.audio {
            return;
        }
        let Some(packet) = packet else {
            // Whoever comes now would wait for sound in vain.
            self.factory.set_launch(&describe(None));
            self.audio = false;
            return self.clients.list().iter().for_each(|client| client.input.end_audio());
        };
        for client in self.clients.list().iter_mut() {
            client.input.audio(packet);
        }
    }

    fn finish(self: Box<Self>, _: bool, ended: &mut Ended) {
        if let Some(points) = self.server.mount_points() {
            points.remove_factory(&self.name);
        }
        let deadline = Instant::now() + FAREWELL;
        self.clients.list().iter().for_each(|client| client.input.end());
        // Who has all of it leaves; who does not read is not waited for.
        while !self.clients.list().is_empty() && self.gone.recv_deadline(deadline).is_ok() {}
        ended.live.push(LiveOutput {
            uri: self.server.url(&self.name),
            frames_sent: self.clients.sent.load(Ordering::Relaxed),
            frames_lost: self.clients.lost.load(Ordering::Relaxed),
            reconnects: 0,
            clients: Some(self.clients.ever.load(Ordering::Relaxed)),
        });
    }
}
