//! One connection to a live source: from its head over parsebin into the same tracks and frames as a file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;

use super::address::{Address, Kind};
use super::course::{Course, Session};
use super::decoding::{Decoding, Timing};
use super::head::{Heads, Time, Values};
use super::jpeg::choose_decoders;
use super::missing::{MissingPlugin, package_for};
use super::pace::Pacer;
use super::probe::{DecoderProbe, watch_decoders};
use super::refusal::{self, Refusal};
use super::tracks::{Side, Tracks};
use crate::channel::WhenFull;
use crate::clock::StreamTime;
use crate::source::{Outlet, Wanted};
use crate::stream::{AudioTrack, StreamInfo};

/// How long a server may take to let us in.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long packets may come without a picture that can be decoded.
const PICTURE_DEADLINE: Duration = Duration::from_secs(20);
/// How long UDP may stay silent once the server plays, where TCP can be tried instead.
const UDP_SILENCE: Duration = Duration::from_millis(2500);
/// How long an audio track may take to show itself and its format after the first picture.
const AUDIO_DEADLINE: Duration = Duration::from_secs(1);
/// How often the waiting thread looks whether it should stop.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(20);

/// How RTP packets travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// UDP, then TCP when nothing arrives; TCP for rtsps://
    #[default]
    Auto,
    /// UDP
    Udp,
    /// In the RTSP connection itself
    Tcp,
    /// Tunnelled through HTTP
    Http,
    /// UDP multicast
    Multicast,
}

impl Transport {
    /// As `rtspsrc` calls it.
    fn protocols(self) -> &'static str {
        match self {
            Self::Auto | Self::Udp => "udp",
            Self::Tcp | Self::Http => "tcp",
            Self::Multicast => "udp-mcast",
        }
    }
}

/// How live sources are dealt with.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// A frame that is later than this when it is taken is dropped.
    pub max_lag: Duration,
    /// Jitter buffer.
    pub jitter: Duration,
    /// A stream without a packet for so long is given up and opened again.
    pub stall_timeout: Duration,
    /// Attempts to come back after a loss; forever without.
    pub reconnect: Option<u64>,
    /// Waits for sources that never worked.
    pub wait: bool,
    /// How RTP travels.
    pub transport: Transport,
    /// Whom to trust with certificates, PEM; the system's authorities without.
    pub tls_ca: Option<PathBuf>,
    /// Trusts any certificate.
    pub insecure: bool,
    /// What sources are read with.
    pub heads: Heads,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            max_lag: Duration::from_millis(500),
            jitter: Duration::from_millis(100),
            stall_timeout: Duration::from_secs(5),
            reconnect: None,
            wait: false,
            transport: Transport::Auto,
            tls_ca: None,
            insecure: false,
            heads: Heads::default(),
        }
    }
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// We wanted no more.
    Enough,
    /// It said that it is over.
    Over,
    /// It was lost, for this reason.
    Lost(String),
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// We do not want one any more.
    Interrupted,
    /// For this reason.
    Refused(Refusal),
}

/// What is learnt on the streaming threads.
#[derive(Default)]
struct Seen {
    /// Buffers that came out of the head.
    arrived: AtomicU64,
    /// Tracks that the server has announced, where it does.
    announced: AtomicU64,
    /// What is wrong with the server's certificate.
    certificate: Mutex<Option<String>>,
}

/// What a connection is made with.
pub(super) struct Plan<'a> {
    pub address: &'a Address,
    pub options: &'a LiveOptions,
    pub wanted: &'a Wanted,
    pub outlet: &'a Outlet,
    pub course: &'a Arc<Course>,
    pub transport: Transport,
}

/// A connection whose first picture is there.
pub(super) struct Connection {
    pipeline: gst::Pipeline,
    shared: Arc<Decoding>,
    seen: Arc<Seen>,
    info: StreamInfo,
    gate: Option<Sender<()>>,
    /// The source is a recording: none of it is lost, and its end is the end.
    pub recorded: bool,
    stall_timeout: Duration,
    address: Address,
    warning: Option<String>,
    ended: bool,
    plays_since: Option<Instant>,
}

impl Connection {
    /// Connects, and returns when the first picture is decoded or it is clear that none will be. It and those after it go to
    /// the outlet from [`release`](Self::release) on.
    pub fn open(plan: &Plan, stopping: &dyn Fn() -> bool) -> Result<Self, Failure> {
        let refused = |problem: String, remedy: &str| Failure::Refused(Refusal::new(problem, remedy));
        let section = plan.address.section();
        let head =
            plan.options.heads.get(section).map_err(|e| refused(e, "describe it in a file given with --pipeline"))?;
        let unbuilt =
            |e: String| refused(format!("[{section}] cannot be set up: {e}"), "correct it, or run `make setup`");
        let (bin, out) = with_values(plan, |values| head.build(values)).map_err(unbuilt)?;
        let seen = Arc::new(Seen::default());
        prepare(&bin, plan, &seen).map_err(|e| refused(e, "give a file of certificates in PEM with --tls-ca"))?;

        let pipeline = gst::Pipeline::new();
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.add(&bin).map_err(|e| unbuilt(e.to_string()))?;
        let (gate_tx, gate_rx) = bounded(0);
        let paced = matches!(head.time, Time::Own | Time::Either) || plan.wanted.real_time;
        let pacer = paced.then(|| Pacer::new(plan.outlet.clone()));
        let mut probe = DecoderProbe::new(plan.outlet.clock.clone(), pacer, plan.wanted.delay);
        let recorded = head.time == Time::Recorded;
        let timing = if recorded {
            Timing::Recorded(OnceLock::new())
        } else {
            probe = probe.live();
            let by_arrival = matches!(plan.address.kind, Kind::Rtsp | Kind::Udp | Kind::Srt);
            Timing::Live(Session::new(plan.course.clone(), by_arrival, plan.options.max_lag))
        };
        let wanted = Wanted { picture: None, ..plan.wanted.clone() };
        let shared = Arc::new(Decoding::new(plan.outlet, wanted, timing, probe, gate_rx));
        choose_decoders(&pipeline, None);
        watch_decoders(&pipeline, &shared.probe);
        decode(&pipeline, &bin, &out, &shared, &seen);

        let info = shared.describe(plan.address.to_string());
        let mut connection = Self {
            pipeline,
            shared,
            seen,
            info,
            gate: Some(gate_tx),
            recorded,
            stall_timeout: plan.options.stall_timeout,
            address: plan.address.clone(),
            warning: None,
            ended: false,
            plays_since: None,
        };
        connection.start(plan.transport, stopping)?;
        if head.time == Time::Either {
            connection.recorded = connection.pipeline.query_duration::<gst::ClockTime>().is_some_and(|d| !d.is_zero());
            if connection.recorded {
                connection.shared.waits.store(true, Ordering::SeqCst);
                connection.shared.probe.stop_pacing();
            }
        }
        let when_full = if connection.recorded { WhenFull::Wait } else { WhenFull::DropOldest };
        plan.outlet.events.set_when_full(when_full);
        Ok(connection)
    }

    /// Starts the pipeline and waits until the first picture and every track's format are there.
    fn start(&mut self, transport: Transport, stopping: &dyn Fn() -> bool) -> Result<(), Failure> {
        let Some(bus) = self.pipeline.bus() else { return Ok(()) };
        let mut missing = Vec::new();
        let unstartable = self.pipeline.set_state(gst::State::Playing).is_err();
        let started = Instant::now();
        let mut progress = (0, started);
        let mut picture: Option<Instant> = None;
        if self.address.kind != Kind::Rtsp {
            self.plays_since = Some(started);
        }
        loop {
            if stopping() {
                return Err(Failure::Interrupted);
            }
            if self.shared.first.get().is_some() {
                let since = *picture.get_or_insert_with(Instant::now);
                let announced = self.seen.announced.load(Ordering::SeqCst);
                let all = self.shared.tracks.load(Ordering::SeqCst) >= announced && self.shared.sides_are_known();
                if all || self.ended || since.elapsed() > AUDIO_DEADLINE {
                    break;
                }
            } else if let Some(refusal) = self.shared.refusal() {
                return Err(Failure::Refused(Refusal::new(refusal, "choose another with --track")));
            }
            let arrived = self.seen.arrived.load(Ordering::SeqCst);
            if arrived != progress.0 {
                progress = (arrived, Instant::now());
            }
            if let Some(refusal) = self.overdue(transport, started, progress.1).filter(|_| picture.is_none()) {
                return Err(Failure::Refused(refusal));
            }
            let wait = if unstartable { gst::ClockTime::ZERO } else { gst::ClockTime::from_mseconds(5) };
            let Some(message) = bus.timed_pop(wait) else {
                if unstartable {
                    return Err(Failure::Refused(Refusal::new("it cannot be started", "see -v and GST_DEBUG=2")));
                }
                continue;
            };
            match message.view() {
                gst::MessageView::Error(error) => {
                    missing.extend(bus.iter().filter_map(|m| MissingPlugin::from_message(&m)));
                    return Err(Failure::Refused(self.refusal(error, &missing)));
                }
                gst::MessageView::Eos(_) if self.shared.first.get().is_some() => self.ended = true,
                gst::MessageView::Eos(_) => {
                    let why = self.warning.take().map_or_else(String::new, |w| format!(" ({w})"));
                    let problem = format!("it ended before a picture came{why}");
                    return Err(Failure::Refused(Refusal::new(problem, "check that it shows video elsewhere")));
                }
                gst::MessageView::Element(_) => missing.extend(MissingPlugin::from_message(&message)),
                _ => self.take_note(&message),
            }
        }
        self.describe();
        Ok(())
    }

    /// What has taken too long before the first picture.
    fn overdue(&self, transport: Transport, started: Instant, progress: Instant) -> Option<Refusal> {
        let arrived = self.seen.arrived.load(Ordering::SeqCst) > 0;
        let s = self.stall_timeout.as_secs_f64();
        let Some(plays) = self.plays_since else {
            let most = CONNECTING.max(self.stall_timeout);
            let problem = format!("the server did not let us in within {} s", most.as_secs());
            return (started.elapsed() > most).then(|| Refusal::new(problem, "try again later"));
        };
        if !arrived && transport == Transport::Auto && plays.elapsed() > UDP_SILENCE {
            let refusal = Refusal::new("no packet comes by UDP", "give --rtsp-transport tcp");
            return Some(Refusal { by_transport: true, ..refusal });
        }
        if progress.max(plays).elapsed() > self.stall_timeout {
            let remedy = if self.address.kind == Kind::Rtsp {
                "check that the camera shows something; --rtsp-transport chooses how packets travel"
            } else {
                "check that somebody sends"
            };
            return Some(Refusal::new(format!("no packet came for {s} s"), remedy));
        }
        if self.shared.is_audio_only() && progress.max(plays).elapsed() > Duration::from_secs(2) && arrived {
            return Some(Refusal::new("it has audio but no video", "give a source with a video track"));
        }
        let late = plays.elapsed() > PICTURE_DEADLINE.max(self.stall_timeout);
        late.then(|| {
            Refusal::new("packets come, but no picture can be decoded from them", "check its codec and GOP length")
        })
    }

    /// Keeps what the bus says by the way.
    fn take_note(&mut self, message: &gst::MessageRef) {
        match message.view() {
            gst::MessageView::Warning(warning) => self.warning = Some(said(&warning.error())),
            gst::MessageView::Progress(progress) => {
                let (kind, code, _) = progress.get();
                if kind == gst::ProgressType::Complete && code == "request" {
                    self.plays_since.get_or_insert_with(Instant::now);
                }
            }
            _ => {}
        }
    }

    fn refusal(&self, error: &gst::message::Error, missing: &[MissingPlugin]) -> Refusal {
        if let Some(plugin) = missing.iter().find(|m| m.is_video()) {
            let problem = format!("GStreamer has no {} here", plugin.name);
            return Refusal::new(problem, format!("install {}", package_for(&plugin.detail)));
        }
        let certificate = self.seen.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let debug = error.debug().map(|debug| debug.to_string()).unwrap_or_default();
        refusal::name(&self.address, &error.error(), &debug, certificate.as_deref())
    }

    fn describe(&mut self) {
        self.info = self.shared.describe(std::mem::take(&mut self.info.name));
        self.info.notices = self.shared.take_notices();
    }

    /// What was learnt on connecting.
    pub fn info(&self) -> &StreamInfo {
        &self.info
    }

    /// Audio tracks that were not taken on an earlier connection.
    pub fn take_sides(&self) -> Vec<AudioTrack> {
        self.shared.sides().iter().filter_map(Side::take_track).collect()
    }

    /// Where its first picture lies in a stream that comes back.
    pub fn resumes_at(&self) -> StreamTime {
        self.shared.session().map_or_else(StreamTime::default, |session| {
            session.first.get().copied().unwrap_or_else(|| session.course.now())
        })
    }

    /// Whether its sound has another format than on the connections before.
    pub fn sound_changed(&self) -> bool {
        self.shared.session().is_some_and(|session| session.sound_changed.load(Ordering::SeqCst))
    }

    /// The transport that works.
    pub fn transport(&self) -> Transport {
        let by_udp = self
            .pipeline
            .iterate_recurse()
            .into_iter()
            .flatten()
            .any(|element| element.factory().is_some_and(|factory| factory.name() == "udpsrc"));
        if by_udp { Transport::Udp } else { Transport::Tcp }
    }

    /// Lets the pictures go to the outlet.
    pub fn release(&mut self) {
        self.gate = None;
    }

    /// Frames that were decoded on this connection.
    pub fn frames(&self) -> u64 {
        self.shared.frames.load(Ordering::SeqCst)
    }

    /// Coded frames that never became a picture.
    pub fn lost(&self) -> u64 {
        if self.recorded { self.shared.probe.lost() } else { self.shared.probe.lost_midway() }
    }

    /// Waits until it ends, is lost, or `stopping`.
    pub fn wait(&mut self, stopping: &dyn Fn() -> bool) -> Ending {
        let ending = self.ending(stopping);
        self.shared.say_late();
        ending
    }

    fn ending(&mut self, stopping: &dyn Fn() -> bool) -> Ending {
        let Some(bus) = self.pipeline.bus() else { return Ending::Over };
        let (mut seen, mut since) = (0, Instant::now());
        while !self.ended {
            if stopping() || self.shared.is_stopped() {
                self.shared.stop();
                return Ending::Enough;
            }
            if let Some(message) = bus.timed_pop(LOOK) {
                match message.view() {
                    gst::MessageView::Eos(_) => self.ended = true,
                    gst::MessageView::Error(error) => return Ending::Lost(said(&error.error())),
                    _ => self.take_note(&message),
                }
            }
            let late = self.shared.late.load(Ordering::SeqCst);
            let progress = self.frames() + self.shared.probe.coded() + late;
            let outlet = &self.shared.outlet;
            let full = self.recorded && outlet.events.is_full();
            let held = full || outlet.is_waiting() || self.shared.probe.is_holding();
            if progress != seen || held {
                (seen, since) = (progress, Instant::now());
            } else if since.elapsed() > self.stall_timeout {
                return Ending::Lost(format!("nothing came for {} s", self.stall_timeout.as_secs_f64()));
            }
        }
        // A server that goes away shows as a warning and an end.
        match self.warning.take().filter(|_| !self.recorded) {
            Some(warning) => Ending::Lost(warning),
            None => Ending::Over,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.stop();
        self.gate = None;
        // Going to Null joins the streaming threads; whoever holds the channel must be draining it or have dropped it.
        let _ = self.pipeline.set_state(gst::State::Null);
        if self.recorded {
            self.shared.sides().iter().for_each(Side::close);
        }
    }
}

fn said(error: &gst::glib::Error) -> String {
    crate::secrets::redact(error.message().trim_end_matches('.'))
}

/// Calls `with` with what is put in place of placeholders.
fn with_values<R>(plan: &Plan, with: impl FnOnce(&Values) -> R) -> R {
    let Plan { address, options, transport, .. } = plan;
    let mut location = address.location().to_owned();
    if *transport == Transport::Http {
        // `rtspsrc` tunnels by the name of the scheme.
        location = location.replacen("rtsps://", "rtspsh://", 1).replacen("rtsp://", "rtsph://", 1);
    }
    let whole = |time: Duration| time.as_millis().div_ceil(1000).max(1).to_string();
    let port = address.port().map(|port| port.to_string()).unwrap_or_default();
    let (jitter, stall) = (options.jitter.as_millis().to_string(), whole(options.stall_timeout));
    let connect = CONNECTING.max(options.stall_timeout).as_micros().to_string();
    with(&Values::from([
        ("location", location.as_str()),
        ("host", address.host().unwrap_or("0.0.0.0")),
        ("port", port.as_str()),
        ("device", address.location()),
        ("pattern", address.location()),
        ("protocols", transport.protocols()),
        ("jitter_ms", jitter.as_str()),
        ("stall_s", stall.as_str()),
        ("connect_us", connect.as_str()),
    ]))
}

/// Gives every element of the head what is kept out of descriptions, and listens to what it learns.
fn prepare(bin: &gst::Bin, plan: &Plan, seen: &Arc<Seen>) -> Result<(), String> {
    let options = plan.options;
    let database = options.tls_ca.as_ref().map(|path| {
        gio::TlsFileDatabase::new(path).map_err(|e| format!("--tls-ca {}: {}", path.display(), e.message()))
    });
    let database = database.transpose()?;
    for element in bin.iterate_elements().into_iter().flatten() {
        if let Some(credentials) = plan.address.credentials().filter(|_| element.has_property("user-id")) {
            element.set_property("user-id", credentials.user.expose());
            element.set_property("user-pw", credentials.password.expose());
        }
        if let Some(passphrase) = plan.address.passphrase().filter(|_| element.has_property("passphrase")) {
            element.set_property("passphrase", passphrase.expose());
        }
        if let Some(database) = database.as_ref().filter(|_| element.has_property("tls-database")) {
            element.set_property("tls-database", database);
        }
        if options.insecure && element.has_property("tls-validation-flags") {
            element.set_property("tls-validation-flags", gio::TlsCertificateFlags::empty());
        }
        if options.insecure && element.has_property("ssl-strict") {
            element.set_property("ssl-strict", false);
        }
        if element.factory().is_some_and(|factory| factory.name() == "rtspsrc") {
            let own = seen.clone();
            element.connect("accept-certificate", false, move |values| {
                let flags = values.get(3).and_then(|value| value.get::<gio::TlsCertificateFlags>().ok());
                let fault = flags.map_or("it is not valid", certificate_fault);
                *own.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.to_owned());
                Some(false.to_value())
            });
            // Only what can be watched or heard: cameras also offer tracks of metadata.
            let counts = seen.clone();
            element.connect("select-stream", false, move |values| {
                let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
                let media = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
                let wanted = media.is_none_or(|media| media == "video" || media == "audio");
                counts.announced.fetch_add(u64::from(wanted), Ordering::SeqCst);
                Some(wanted.to_value())
            });
        }
    }
    Ok(())
}

fn certificate_fault(flags: gio::TlsCertificateFlags) -> &'static str {
    for (flag, fault) in [
        (gio::TlsCertificateFlags::EXPIRED, "it has expired"),
        (gio::TlsCertificateFlags::NOT_ACTIVATED, "it is not valid yet"),
        (gio::TlsCertificateFlags::REVOKED, "it was revoked"),
        (gio::TlsCertificateFlags::BAD_IDENTITY, "it is another host's"),
        (gio::TlsCertificateFlags::UNKNOWN_CA, "nobody known has signed it"),
        (gio::TlsCertificateFlags::INSECURE, "its algorithm is not secure"),
    ] {
        if flags.contains(flag) {
            return fault;
        }
    }
    "it is not valid"
}

/// Splits whatever `out` shows into tracks, one parsebin a pad.
fn decode(pipeline: &gst::Pipeline, bin: &gst::Bin, out: &gst::Element, shared: &Arc<Decoding>, seen: &Arc<Seen>) {
    let tracks = Arc::new(Tracks::new(pipeline, shared));
    let (owner, bin) = (pipeline.downgrade(), bin.downgrade());
    let seen = seen.clone();
    let take = move |pad: &gst::Pad| {
        let (Some(pipeline), Some(bin)) = (owner.upgrade(), bin.upgrade()) else { return };
        let seen = seen.clone();
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
            seen.arrived.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        if let Err(error) = attach(&pipeline, &bin, pad, &tracks) {
            gst::element_error!(pipeline, gst::CoreError::Failed, ("cannot decode: {error}"));
        }
    };
    for pad in out.src_pads() {
        take(&pad);
    }
    out.connect_pad_added(move |_, pad| {
        if pad.direction() == gst::PadDirection::Src {
            take(pad);
        }
    });
}

fn attach(
    pipeline: &gst::Pipeline,
    bin: &gst::Bin,
    pad: &gst::Pad,
    tracks: &Arc<Tracks>,
) -> Result<(), gst::glib::BoolError> {
    let parsebin = gst::ElementFactory::make("parsebin").build()?;
    let tracks = tracks.clone();
    parsebin.connect_pad_added(move |_, pad| tracks.add(pad));
    pipeline.add(&parsebin)?;
    let ghost = gst::GhostPad::with_target(pad)?;
    ghost.set_active(true)?;
    bin.add_pad(&ghost)?;
    let sink = parsebin.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("parsebin has no sink pad"))?;
    ghost.link(&sink).map_err(|e| gst::glib::bool_error!("{:?}", e))?;
    parsebin.sync_state_with_parent()
}
