//! A stream served over RTSP. Every client has a pipeline of its own that does no more than payloading what is encoded already; it
//! begins with a keyframe, and a slow client drops frames without slowing anything else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::glib;
use rtsp_server::glib::translate::IntoGlib;
use rtsp_server::gst_rtsp::RTSPLowerTrans;
use rtsp_server::prelude::*;

use super::live::{Keyframes, LiveAudio, LiveInput};
use crate::clock::Deadline;
use crate::sink::access::Access;
use crate::sink::admission::Factory;
use crate::sink::container::descriptions;
use crate::sink::encode::KeyframeRequester;
use crate::sink::error::SinkError;
use crate::sink::output::{AccessUnit, Branch, BranchContext, FinishedOutputs, OutputEvent};
use crate::sink::server::RtspServer;
use crate::stream::LiveOutput;
use crate::text::counted;

/// How long the last frames may take to reach the clients.
const DRAIN: Duration = Duration::from_secs(2);
/// Clients that have left but are not heard of yet.
const LEAVING: usize = 64;

/// One stream of a server.
pub(super) struct Mount {
    server: Arc<RtspServer>,
    name: String,
    clients: Arc<Clients>,
    keyframes: Keyframes,
    factory: Factory,
    audio: Option<LiveAudio>,
    caps: Option<gst::Caps>,
    gone: Receiver<()>,
}

/// The clients of a stream.
#[derive(Default)]
struct Clients {
    list: Mutex<Vec<Client>>,
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
    fn add(self: &Arc<Self>, media: &rtsp_server::RTSPMedia, gone: &Sender<()>) {
        let element = media.element();
        let source = |name: &str| {
            element.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name(name)?.downcast::<gst_app::AppSrc>().ok())
        };
        let Some(units) = source("units") else { return };
        let input = LiveInput::new(units, source("packets"));
        // What is sent is paced already.
        media.set_rate_control(false);
        let (this, gone) = (Arc::downgrade(self), gone.clone());
        media.connect_unprepared(move |media| {
            if let Some(clients) = this.upgrade() {
                clients.list().retain(|client| client.media.upgrade().is_some_and(|other| other != *media));
                // Where so many wait to be heard of, one more says nothing new.
                let _ = gone.try_send(());
            }
        });
        // Who asks what is here does not watch.
        let (this, plays) = (Arc::downgrade(self), AtomicBool::new(false));
        media.connect_target_state(move |_, state| {
            if state == gst::State::Playing.into_glib()
                && !plays.swap(true, Ordering::Relaxed)
                && let Some(clients) = this.upgrade()
            {
                clients.ever.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut list = self.list();
        // One that was never prepared tells of no end.
        list.retain(|client| client.media.upgrade().is_some());
        list.push(Client { media: media.downgrade(), input });
    }
}

impl Mount {
    /// Adds the stream to its server.
    pub fn open(server: Arc<RtspServer>, name: &str, context: &BranchContext) -> Self {
        let takes: gst::Caps = [structure_of_aac(), gst::Structure::new_empty("audio/x-opus")].into_iter().collect();
        let audio = LiveAudio::open(server.url(name), &takes, context);
        let (gone_tx, gone) = bounded(LEAVING);
        let clients = Arc::<Clients>::default();
        let access = server.access();
        let factory = Factory::new(server.places(), *access != Access::default());
        factory.set_launch(&describe(context.audio.first().filter(|_| audio.is_some())));
        // What UDP carries is not encrypted.
        let udp = if access.tls.is_some() { RTSPLowerTrans::empty() } else { RTSPLowerTrans::UDP };
        factory.set_protocols(udp | RTSPLowerTrans::TCP);
        let (listener, url, most) = (context.listener.clone(), server.url(name), server.places().most());
        server.places().tell(name, move || {
            let clients = counted(most as u64, "client");
            listener(OutputEvent::Notice(format!(
                "{url}: {clients} at once are served; further ones are refused; --max-clients N serves more"
            )));
        });
        let coming = Arc::downgrade(&clients);
        factory.connect_media_configure(move |_, media| {
            if let Some(clients) = coming.upgrade() {
                clients.add(media, &gone_tx);
            }
        });
        server.add(name, &factory);
        (context.listener)(OutputEvent::Serving(server.url(name)));
        Self {
            server,
            name: name.to_owned(),
            clients,
            keyframes: Keyframes::default(),
            factory,
            audio,
            caps: None,
            gone,
        }
    }
}

/// AAC as it is payloaded.
fn structure_of_aac() -> gst::Structure {
    gst::Structure::builder("audio/mpeg").field("mpegversion", 4).field("stream-format", "raw").build()
}

/// One client's pipeline, for a stream with audio of this format.
fn describe(audio: Option<&gst::Caps>) -> String {
    let rtsp = &descriptions().rtsp;
    let audio = audio.and_then(|caps| caps.structure(0)).map(|structure| match structure.name().as_str() {
        "audio/x-opus" => &rtsp.opus,
        // What is neither is re-encoded.
        _ => &rtsp.aac,
    });
    let audio = audio.map_or_else(String::new, |branch| format!("appsrc name=packets ! {branch}"));
    format!("( appsrc name=units ! {} {audio} )", rtsp.video)
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.server.places().hush(&self.name);
    }
}

impl Branch for Mount {
    fn name(&self) -> String {
        self.server.url(&self.name)
    }

    fn format(&mut self, caps: &gst::Caps, keyframes: &KeyframeRequester) -> Result<(), SinkError> {
        self.caps = Some(caps.clone());
        self.keyframes.set_encoder(keyframes);
        Ok(())
    }

    fn access_unit(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        self.server.check().map_err(|source| SinkError::Live { output: self.name(), source })?;
        let Some(caps) = &self.caps else { return Ok(()) };
        let mut waiting = false;
        for client in self.clients.list().iter_mut() {
            if let Some(sent) = client.input.access_unit(unit, caps) {
                let counter = if sent { &self.clients.sent } else { &self.clients.lost };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            waiting |= client.input.is_waiting();
        }
        if waiting {
            self.keyframes.request();
        }
        Ok(())
    }

    fn audio_format(&mut self, track: usize, format: &gst::Caps) {
        if let Some(audio) = self.audio.as_mut().filter(|_| track == 0) {
            // Where it cannot be sent, the first packet says so.
            audio.set_format(format);
        }
    }

    fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>) {
        let Some(audio) = self.audio.as_mut().filter(|_| track == 0) else { return };
        let (packets, goes_on) = audio.convert(packet);
        if !goes_on {
            // New clients would wait for audio in vain.
            self.factory.set_launch(&describe(None));
            self.audio = None;
        }
        for client in self.clients.list().iter_mut() {
            for packet in &packets {
                client.input.audio(packet);
            }
            if !goes_on {
                client.input.end_audio();
            }
        }
    }

    fn finish(self: Box<Self>, _: bool, finished: &mut FinishedOutputs) {
        self.server.remove(&self.name);
        let deadline = Deadline::after(DRAIN);
        self.clients.list().iter().for_each(|client| client.input.end());
        // A client leaves when it has all of it; one that does not read is not waited for.
        while !self.clients.list().is_empty() && self.gone.recv_timeout(deadline.left()).is_ok() {}
        finished.sent(LiveOutput {
            uri: self.server.url(&self.name),
            frames_sent: self.clients.sent.load(Ordering::Relaxed),
            frames_lost: self.clients.lost.load(Ordering::Relaxed),
            reconnects: 0,
            clients: Some(self.clients.ever.load(Ordering::Relaxed)),
            clients_refused: Some(self.server.places().refused()),
        });
    }
}
