//! A stream pushed to a server or receiver. A thread of its own connects, and reconnects when the peer has gone; the stream never
//! waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::select;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::live::{Keyframes, LiveAudio, LiveInput};
use crate::backoff::Backoff;
use crate::clock::{self, Deadline, now};
use crate::secrets::redact;
use crate::shutdown::Shutdown;
use crate::sink::audio::{audio_pads, join};
use crate::sink::container::descriptions;
use crate::sink::encode::KeyframeRequester;
use crate::sink::error::{OutputError, SinkError};
use crate::sink::output::{AccessUnit, Branch, BranchContext, FinishedOutputs, OutputEvent, OutputListener};
use crate::sink::pipeline::{BusError, BusEvent, Pipeline};
use crate::sink::target::PushUrl;
use crate::stream::LiveOutput;
use crate::thread::{Thread, spawn, test_panic_point};

/// How long a peer may take to accept the stream.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a peer may take nothing while frames wait for it.
const STALL: Duration = Duration::from_secs(10);
/// Between attempts to reconnect: up to twice as long each time.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// How long the last frames may take.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the thread may take to end: it drains, and stops its pipeline.
const END: Duration = Duration::from_secs(20);
/// `GstSRTConnectionMode` of a caller.
const CALLER: i32 = 1;
/// Twice the latency that SRT negotiates by default: what is lost on the way is sent again within it.
const LINGER: Duration = Duration::from_millis(250);
/// How often a connection that is being made is looked at: its elements have no signal for it.
const CONNECTING: Duration = Duration::from_millis(50);
/// How often one that is there is looked at for a peer that takes nothing.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// A stream being pushed.
pub(super) struct Push {
    url: PushUrl,
    link: Arc<Mutex<Link>>,
    audio: Option<LiveAudio>,
    caps: Option<gst::Caps>,
    keyframes: Keyframes,
    stop: Shutdown,
    thread: Option<Thread<()>>,
}

/// What the stream and the thread that connects share.
#[derive(Default)]
struct Link {
    /// Where frames go while there is a connection.
    input: Option<LiveInput>,
    sent: u64,
    lost: u64,
    reconnects: u64,
}

fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Push {
    /// Connects for the first time; waits for the peer to accept where there is no other output, whose frames would wait as well.
    ///
    /// # Errors
    /// When it does not.
    pub fn open(url: &PushUrl, context: &BranchContext) -> Result<Self, SinkError> {
        let unreachable = |source: OutputError| SinkError::Unreachable { output: url.to_string(), source };
        let takes = taken_audio(url).map_err(unreachable)?;
        let audio = LiveAudio::open(url.to_string(), &takes, context);
        let caps = audio.as_ref().map(LiveAudio::caps);
        let stop = Shutdown::new();
        let link = Arc::<Mutex<Link>>::default();
        let (stopped, listener) = (stop.clone(), context.listener.clone());
        let pusher = Pusher { url: url.clone(), audio: caps, link: link.clone(), stop: stopped, listener };
        let connection = if context.is_only { pusher.connect("sending to").map_err(unreachable)? } else { None };
        let thread = spawn("push", move || pusher.run(connection)).map_err(|e| unreachable(e.into()))?;
        Ok(Self {
            url: url.clone(),
            link,
            audio,
            caps: None,
            keyframes: Keyframes::default(),
            stop,
            thread: Some(thread),
        })
    }

    /// Waits for the thread to end.
    fn join(&mut self) -> Result<(), SinkError> {
        let ended = self.thread.take().map_or(Ok(()), |thread| thread.join_within(END));
        ended.map_err(|error| SinkError::Live { output: self.url.to_string(), source: error.into() })
    }
}

impl Branch for Push {
    fn name(&self) -> String {
        self.url.to_string()
    }

    fn format(&mut self, caps: &gst::Caps, keyframes: &KeyframeRequester) -> Result<(), SinkError> {
        self.caps = Some(caps.clone());
        self.keyframes.set_encoder(keyframes);
        Ok(())
    }

    fn access_unit(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        if self.thread.as_ref().is_some_and(Thread::is_finished) {
            // Of itself it ends only by a panic.
            self.join()?;
        }
        let Some(caps) = &self.caps else { return Ok(()) };
        let mut link = lock(&self.link);
        let sent = link.input.as_mut().and_then(|input| input.access_unit(unit, caps)).unwrap_or(false);
        link.sent += u64::from(sent);
        link.lost += u64::from(!sent);
        if link.input.as_ref().is_some_and(LiveInput::is_waiting) {
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
        if let Some(input) = &mut lock(&self.link).input {
            for packet in &packets {
                input.audio(packet);
            }
            if !goes_on {
                input.end_audio();
            }
        }
    }

    fn finish(mut self: Box<Self>, _: bool, finished: &mut FinishedOutputs) {
        if let Some(input) = &lock(&self.link).input {
            input.end();
        }
        self.stop.request();
        if let Err(error) = self.join() {
            finished.fail(error);
        }
        let link = lock(&self.link);
        finished.sent(LiveOutput {
            uri: self.url.to_string(),
            frames_sent: link.sent,
            frames_lost: link.lost,
            reconnects: link.reconnects,
            clients: None,
            clients_refused: None,
        });
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.stop.request();
        // Where the branch was not finished, another error is reported.
        drop(self.join());
    }
}

/// Keeps a connection up.
struct Pusher {
    url: PushUrl,
    audio: Option<gst::Caps>,
    link: Arc<Mutex<Link>>,
    stop: Shutdown,
    listener: OutputListener,
}

/// The audio that is carried over this scheme.
fn taken_audio(url: &PushUrl) -> Result<gst::Caps, OutputError> {
    let muxer = descriptions().push(url.scheme()).muxer.split(' ').next().unwrap_or_default();
    let mut takes = audio_pads(&gst::ElementFactory::make(muxer).build()?)?.1;
    for structure in takes.make_mut().iter_mut() {
        // A transport stream's own framing, which needs no header from the first packet.
        if structure.get::<gst::List>("stream-format").is_ok() {
            structure.set("stream-format", "adts");
        }
    }
    Ok(takes)
}

/// Why a connection is over.
enum Over {
    Stopped,
    Failed(OutputError),
}

impl Pusher {
    /// Sends over `connection`, or one that is made first.
    fn run(self, connection: Option<Connection>) {
        let mut first = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        let mut current = match connection {
            Some(connection) => connection,
            None => {
                match self.connect("sending to").unwrap_or_else(|problem| self.reconnect(&problem, 0, &mut first)) {
                    Some(connection) => connection,
                    None => return,
                }
            }
        };
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
        for outage in 1.. {
            let begun = now();
            let Over::Failed(problem) = current.run(&self.stop) else {
                return current.drain();
            };
            lock(&self.link).input = None;
            drop(current);
            // A peer that takes the stream and drops it at once is not called twice a second.
            if now().since(begun) > LONGEST_DELAY {
                backoff.reset();
            }
            let Some(again) = self.reconnect(&problem, outage, &mut backoff) else { return };
            lock(&self.link).reconnects += 1;
            current = again;
        }
    }

    /// A connection to a peer that has accepted; `None` when nothing is sent any more.
    fn connect(&self, saying: &str) -> Result<Option<Connection>, OutputError> {
        let (connection, input) = Connection::make(&self.url, self.audio.as_ref())?;
        if !connection.wait_for_peer(&self.stop)? {
            return Ok(None);
        }
        lock(&self.link).input = Some(input);
        (self.listener)(OutputEvent::Occurrence(format!("{saying} {}", self.url)));
        Ok(Some(connection))
    }

    /// A connection, as soon as there is one again; `None` when nothing is sent any more.
    fn reconnect(&self, problem: &OutputError, outage: u32, backoff: &mut Backoff) -> Option<Connection> {
        let which = if outage > 1 { format!(" (outage {outage})") } else { String::new() };
        (self.listener)(OutputEvent::Occurrence(format!("{}: {problem}; trying again{which}", self.url)));
        // One that was never there is not connected again.
        let saying = if outage == 0 { "sending to".to_owned() } else { format!("connected again{which}:") };
        loop {
            test_panic_point();
            if self.stop.wait(backoff.next_delay()) {
                return None;
            }
            match self.connect(&saying) {
                Ok(connection) => return connection,
                Err(error) => tracing::debug!(output = %self.url, %error, "not connected"),
            }
        }
    }
}

/// One connection to the peer.
struct Connection {
    pipeline: Pipeline,
    sink: gst::Element,
    units: gst_app::AppSrc,
}

impl Connection {
    fn make(url: &PushUrl, audio: Option<&gst::Caps>) -> Result<(Self, LiveInput), OutputError> {
        let push = descriptions().push(url.scheme());
        let description =
            format!("appsrc name=units ! {} ! mux. {} name=mux ! {} name=sink", push.parser, push.muxer, push.sink);
        let pipeline = Pipeline::parse("sender", &description)?;
        let (mux, sink) = (pipeline.element("mux")?, pipeline.element("sink")?);
        let units = pipeline.app_source("units")?;
        if url.scheme() == "udp" {
            let (host, port) = url.host_and_port().ok_or(OutputError::NoPort)?;
            sink.set_property("host", host);
            sink.set_property("port", i32::from(port));
        } else {
            let property = if url.scheme() == "srt" { "uri" } else { "location" };
            sink.set_property(property, url.secret());
        }
        let source = audio.map(|_| join(pipeline.gst(), &mux, None, None)).transpose()?;
        let pad = source.as_ref().and_then(|source| source.static_pad("src")?.peer());
        let input = LiveInput::new(units.clone(), source);
        let connection = Self { pipeline, sink, units };
        connection.pipeline.start().map_err(without_secrets)?;
        if let Some((pad, caps)) = pad.zip(audio).filter(|_| !url.scheme().starts_with("rtmp")) {
            // mpegtsmux of GStreamer 1.22 takes no track later, and fails over one whose format it does not know.
            pad.send_event(gst::event::StreamStart::new("audio"));
            pad.send_event(gst::event::Caps::new(caps));
        }
        Ok((connection, input))
    }

    /// Returns whether the peer took the stream, before it was stopped.
    fn wait_for_peer(&self, stop: &Shutdown) -> Result<bool, OutputError> {
        let deadline = Deadline::after(CONNECT);
        loop {
            if let Some(error) = self.pipeline.error() {
                return Err(failed(error));
            }
            if self.is_connected() {
                return Ok(true);
            }
            if deadline.is_over() {
                return Err(OutputError::NoAnswer(CONNECT));
            }
            if stop.wait(CONNECTING) {
                return Ok(false);
            }
        }
    }

    /// Whether the peer has answered. None does over UDP.
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
    fn run(&self, stop: &Shutdown) -> Over {
        let mut moved = now();
        let mut waiting = 0;
        loop {
            test_panic_point();
            select! {
                recv(stop.requested()) -> _ => return Over::Stopped,
                recv(self.pipeline.events()) -> event => if let Ok(BusEvent::Error(error)) = event {
                    return Over::Failed(failed(error));
                },
                default(STALL_CHECK) => {}
            }
            // Frames that wait become fewer now and then, unless the peer takes nothing.
            let level = self.units.current_level_buffers();
            let time = now();
            if level < waiting || level == 0 {
                moved = time;
            }
            waiting = level;
            if time.since(moved) > STALL {
                return Over::Failed(OutputError::PeerStalled(STALL));
            }
        }
    }

    /// Sees that what was handed over is sent.
    fn drain(&self) {
        select! {
            recv(self.pipeline.events()) -> _ => {}
            default(DRAIN) => {}
        }
        if self.sink.has_property("latency") {
            // What is on its way is lost with the connection, and it may take so long.
            clock::process().sleep(LINGER);
        }
    }
}

/// What a pipeline says of its failure; it may quote the URL.
fn failed(error: BusError) -> OutputError {
    without_secrets(error.into())
}

fn without_secrets(error: OutputError) -> OutputError {
    match error {
        OutputError::Failed(message) => OutputError::Failed(redact(&message)),
        error => error,
    }
}
