//! A stream pushed to someone who listens. A thread of its own connects, and connects again when the peer is gone; the stream
//! never waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::live::LiveInput;
use super::{Beginning, Branch, Ended, News, Tell, Unit};
use crate::backoff::Backoff;
use crate::sink::audio::{AudioInput, Carried};
use crate::sink::container::descriptions;
use crate::sink::encode::KeyFrames;
use crate::sink::target::PushUrl;
use crate::sink::{SinkError, bus_error};
use crate::stream::LiveOutput;

/// How long a peer may take to accept the stream.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a peer may take nothing while pictures wait for it.
const STALL: Duration = Duration::from_secs(10);
/// Between attempts to reconnect: the first delay, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the last pictures may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// `GstSRTConnectionMode` of one who calls.
const CALLER: i32 = 1;
/// Twice the latency that SRT negotiates by default: what is lost on the way is sent again within it.
const LINGER: Duration = Duration::from_millis(250);
/// How often a connection is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A stream being pushed.
pub(super) struct Push {
    url: PushUrl,
    link: Arc<Mutex<Link>>,
    caps: Option<gst::Caps>,
    keys: Option<KeyFrames>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// What the stream and the thread that connects share.
#[derive(Default)]
struct Link {
    /// Where pictures go while there is a connection.
    input: Option<LiveInput>,
    sent: u64,
    lost: u64,
    reconnects: u64,
    /// A connection was made anew: it begins with a key frame.
    fresh: bool,
}

fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Push {
    /// Connects for the first time; waits for the peer to accept.
    ///
    /// # Errors
    /// When it does not.
    pub fn open(url: &PushUrl, beginning: &mut Beginning) -> Result<Self, SinkError> {
        let audio = beginning.audio.first().cloned();
        if beginning.audio.len() > 1 {
            (beginning.tell)(News::Notice(format!("{url} carries the first audio track only")));
        }
        let unreachable = |problem: String| SinkError::Unreachable { output: url.to_string(), problem };
        let (connection, input, notice) = Connection::make(url, audio.as_ref()).map_err(unreachable)?;
        let (stop, stopped) = bounded(1);
        connection.wait_for_peer(&stopped).map_err(unreachable)?;
        if let Some(notice) = notice {
            (beginning.tell)(News::Notice(notice));
        }
        (beginning.tell)(News::Notice(format!("sending to {url}")));
        let link = Arc::new(Mutex::new(Link { input: Some(input), ..Link::default() }));
        let pusher = Pusher { url: url.clone(), audio, link: link.clone(), stopped, tell: beginning.tell.clone() };
        let thread = std::thread::Builder::new()
            .name("push".into())
            .spawn(move || pusher.run(connection))
            .map_err(|e| unreachable(e.to_string()))?;
        Ok(Self { url: url.clone(), link, caps: None, keys: None, stop, thread: Some(thread) })
    }
}

impl Branch for Push {
    fn format(&mut self, caps: &gst::Caps, keys: &KeyFrames) -> Result<(), SinkError> {
        self.caps = Some(caps.clone());
        self.keys = Some(keys.clone());
        Ok(())
    }

    fn unit(&mut self, unit: &Unit) -> Result<(), SinkError> {
        let Some(caps) = &self.caps else { return Ok(()) };
        let mut link = lock(&self.link);
        if std::mem::take(&mut link.fresh)
            && !unit.key
            && let Some(keys) = &self.keys
        {
            keys.ask(None);
        }
        let sent = link.input.as_mut().and_then(|input| input.unit(unit, caps)).unwrap_or(false);
        link.sent += u64::from(sent);
        link.lost += u64::from(!sent);
        Ok(())
    }

    fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>) {
        if let Some(input) = lock(&self.link).input.as_mut().filter(|_| track == 0) {
            match packet {
                Some(packet) => input.audio(packet),
                None => input.end_audio(),
            }
        }
    }

    fn finish(mut self: Box<Self>, _: bool, ended: &mut Ended) {
        if let Some(input) = &lock(&self.link).input {
            input.end();
        }
        let _ = self.stop.try_send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let link = lock(&self.link);
        ended.live.push(LiveOutput {
            uri: self.url.to_string(),
            frames_sent: link.sent,
            frames_lost: link.lost,
            reconnects: link.reconnects,
            clients: None,
        });
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        let _ = self.stop.try_send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Keeps a connection up.
struct Pusher {
    url: PushUrl,
    audio: Option<gst::Caps>,
    link: Arc<Mutex<Link>>,
    stopped: Receiver<()>,
    tell: Tell,
}

/// Why a connection is over.
enum Over {
    Stopped,
    Failed(String),
}

impl Pusher {
    fn run(self, mut connection: Connection) {
        loop {
            let Over::Failed(problem) = connection.watch(&self.stopped) else {
                return connection.say_goodbye();
            };
            lock(&self.link).input = None;
            drop(connection);
            (self.tell)(News::Notice(format!("{}: {problem}; trying again", self.url)));
            let Some(again) = self.reconnect() else { return };
            connection = again;
        }
    }

    /// A connection, as soon as there is one again; `None` when nothing is sent any more.
    fn reconnect(&self) -> Option<Connection> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            if self.stopped.recv_timeout(backoff.next_delay()).is_ok() {
                return None;
            }
            let Ok((connection, input, _)) = Connection::make(&self.url, self.audio.as_ref()) else { continue };
            match connection.wait_for_peer(&self.stopped) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => continue,
            }
            let mut link = lock(&self.link);
            link.input = Some(input);
            link.reconnects += 1;
            link.fresh = true;
            drop(link);
            (self.tell)(News::Notice(format!("{}: connected again", self.url)));
            return Some(connection);
        }
    }
}

/// One connection to the peer.
struct Connection {
    pipeline: gst::Pipeline,
    sink: gst::Element,
    units: gst_app::AppSrc,
}

impl Connection {
    fn make(url: &PushUrl, audio: Option<&gst::Caps>) -> Result<(Self, LiveInput, Option<String>), String> {
        let push = descriptions().push(url.scheme());
        let description =
            format!("appsrc name=units ! {} ! mux. {} name=mux ! {} name=sink", push.parser, push.muxer, push.sink);
        let pipeline = gst::parse::launch(&description)
            .map_err(|e| format!("it cannot be sent: {e}"))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "not a pipeline")?;
        let element = |name: &str| pipeline.by_name(name).ok_or_else(|| format!("no element {name}"));
        let (mux, sink) = (element("mux")?, element("sink")?);
        let units = element("units")?.downcast::<gst_app::AppSrc>().map_err(|_| "no picture input")?;
        if url.scheme() == "udp" {
            let (host, port) = url.host_and_port().ok_or("give udp://HOST:PORT")?;
            sink.set_property("host", host);
            sink.set_property("port", i32::from(port));
        } else {
            let property = if url.scheme() == "srt" { "uri" } else { "location" };
            sink.set_property(property, url.secret());
        }
        let mut notice = None;
        let audio = match audio {
            None => None,
            Some(format) => {
                let (input, carried) =
                    AudioInput::add(&pipeline, &mux, url.scheme(), format).map_err(|e| e.to_string())?;
                if let Carried::Reencoded(text) = carried {
                    notice = Some(text);
                }
                Some((input.source, format))
            }
        };
        let input = LiveInput::new(units.clone(), audio);
        let connection = Self { pipeline, sink, units };
        connection
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| connection.error().unwrap_or_else(|| "it does not start".into()))?;
        Ok((connection, input, notice))
    }

    fn error(&self) -> Option<String> {
        bus_error(&self.pipeline).map(|error| crate::secrets::redact(&error.message))
    }

    /// Returns whether the peer took the stream, before it was stopped.
    fn wait_for_peer(&self, stopped: &Receiver<()>) -> Result<bool, String> {
        let deadline = Instant::now() + CONNECT;
        loop {
            if let Some(problem) = self.error() {
                return Err(problem);
            }
            if self.is_connected() {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Err(format!("no answer within {} s", CONNECT.as_secs()));
            }
            if stopped.recv_timeout(LOOK).is_ok() {
                return Ok(false);
            }
        }
    }

    /// Whether the peer has answered. Nobody does over UDP.
    fn is_connected(&self) -> bool {
        let stats = || self.sink.property::<Option<gst::Structure>>("stats");
        match self.sink.factory().map(|factory| factory.name().to_string()).as_deref() {
            Some("rtmp2sink") => {
                stats().and_then(|stats| stats.get::<u64>("in-bytes-total").ok()).is_some_and(|bytes| bytes > 0)
            }
            // What is negotiated is zero before that.
            Some("srtsink")
                if self.sink.property_value("mode").transform::<i32>().is_ok_and(|mode| mode.get() == Ok(CALLER)) =>
            {
                stats().is_some_and(|stats| stats.get::<i32>("negotiated-latency-ms").is_ok_and(|ms| ms > 0))
            }
            _ => true,
        }
    }

    /// Returns when the connection is over.
    fn watch(&self, stopped: &Receiver<()>) -> Over {
        let mut moved = Instant::now();
        let mut waiting = 0;
        loop {
            if stopped.recv_timeout(LOOK).is_ok() {
                return Over::Stopped;
            }
            if let Some(problem) = self.error() {
                return Over::Failed(problem);
            }
            // Pictures that wait become fewer now and then, unless the peer takes nothing.
            let now = self.units.current_level_buffers();
            if now < waiting || now == 0 {
                moved = Instant::now();
            }
            waiting = now;
            if moved.elapsed() > STALL {
                return Over::Failed(format!("the peer took nothing for {} s", STALL.as_secs()));
            }
        }
    }

    /// Sees that what was handed over is sent.
    fn say_goodbye(&self) {
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let wait = gst::ClockTime::try_from(FAREWELL).unwrap_or(gst::ClockTime::SECOND);
        let _ = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(wait, &kinds));
        if self.sink.has_property("latency") {
            // What is on its way is lost with the connection, and it may take so long.
            std::thread::sleep(LINGER);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
