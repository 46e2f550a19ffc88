//! Makes the pipeline of a connection to a live source: from its template over parsebin into the same tracks and frames as a
//! file.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::activity::Activity;
use super::address::{Address, Kind};
use super::audio::{AudioTracks, Place, StreamAudio};
use super::connecting::{CONNECT_TIMEOUT, Connecting};
use super::connection::{Connection, OpenError, Opener};
use super::decoding::{Decoding, Setup};
use super::error::ConnectError;
use super::jpeg::choose_decoders;
use super::keep_alive;
use super::late::LateFrames;
use super::link::{Linked, change_caps, link};
use super::live::{LiveConnection, Parts};
use super::locate::locate;
use super::loss::FrameLoss;
use super::mp4::correct_headers;
use super::mpeg::help_demuxers;
use super::multipart::begin_with_boundary;
use super::options::{LiveOptions, Transport, Wanted};
use super::outlet::Outlet;
use super::pace::Pacer;
use super::probe::{DecoderProbe, watch_decoders};
use super::receive_buffer;
use super::rtp::{self, Found};
use super::senders::{self, RtpTracks, Sender, session_of};
use super::server::ServerState;
use super::sprop;
use super::stream_clock::{ConnectionClock, StreamClock};
use super::template::{SourceTemplate, Time, Values};
use super::timing::Timing;
use super::tracks::Tracks;
use super::wake::Waker;
use crate::shutdown::Shutdown;
use crate::thread::Guard;

/// Opens connections to a live source with `GStreamer`.
pub(super) struct LiveOpener<'a> {
    pub address: &'a Address,
    pub options: &'a LiveOptions,
    pub wanted: &'a Wanted,
    pub outlet: &'a Outlet,
    pub shutdown: &'a Shutdown,
    pub clock: Arc<StreamClock>,
    pub audio: Arc<StreamAudio>,
}

impl Opener for LiveOpener<'_> {
    fn open(&mut self, transport: Transport, may_leave_udp: bool) -> Result<Box<dyn Connection>, OpenError> {
        let located = locate(self.address, self.shutdown);
        if self.shutdown.is_requested() {
            return Err(OpenError::Stopped);
        }
        let address = located?;
        let by = (transport, may_leave_udp);
        match self.connect(&address, by) {
            Err((_, Some(Found::Encoding(encoding)))) => self.connect(&address.carrying(encoding), by),
            other => other,
        }
        .map_err(|(error, found)| found.and_then(Found::refusal).map_or(error, OpenError::from))
    }
}

impl LiveOpener<'_> {
    /// Connects; where RTP arrives in place of what was expected, says what it carries.
    fn connect(
        &self,
        address: &Address,
        by: (Transport, bool),
    ) -> Result<Box<dyn Connection>, (OpenError, Option<Found>)> {
        let not_yet = |error: ConnectError| (error.into(), None);
        let template = self.options.templates.get(address.section()).map_err(|e| {
            not_yet(ConnectError::new(e.to_string(), "describe its elements in a file given with --pipeline"))
        })?;
        let (parts, found) = self.parts(address, template, by).map_err(not_yet)?;
        let connection = LiveConnection::start(parts).map_err(|error| (error, found.get().copied()))?;
        Ok(Box::new(connection))
    }

    /// The pipeline of a connection, not running yet, and where it is noted that RTP arrives in place of MPEG-TS.
    fn parts(
        &self,
        address: &Address,
        template: &SourceTemplate,
        (transport, may_leave_udp): (Transport, bool),
    ) -> Result<(Parts, Arc<OnceLock<Found>>), ConnectError> {
        let section = address.section();
        let unbuilt = |e: String| {
            let remedy = "correct it, or run `make setup`";
            ConnectError::new(format!("[{section}] cannot be set up: {e}"), remedy)
        };
        keep_alive::install();
        let (bin, out) = with_values(address, self.options, transport, |values| template.build(values))
            .map_err(|e| unbuilt(e.to_string()))?;
        let server = Arc::new(ServerState::default());
        self.prepare(&bin, address, &server)?;
        let found = if address.kind == Kind::Udp { rtp::watch(&bin) } else { Arc::default() };

        let pipeline = gst::Pipeline::new();
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.add(&bin).map_err(|e| unbuilt(e.to_string()))?;
        receive_buffer::ask(&pipeline);
        let waker = Waker::new(&pipeline);
        let stop = Shutdown::new();
        let stopping = waker.on_request(self.shutdown, &stop);
        let (shared, gate) = Decoding::new(self.setup(address, template.time, &waker, &stop));
        choose_decoders(&pipeline, None);
        help_demuxers(&pipeline, None);
        watch_decoders(&pipeline, &shared.probe);
        correct_headers(&pipeline, &shared.probe, &self.outlet.guard);
        let packets = Arc::new(Activity::new(self.outlet.clock.clone()));
        let is_rtsp = address.kind == Kind::Rtsp;
        let clock = || self.outlet.clock.clone();
        let loss = (is_rtsp && may_leave_udp).then(|| FrameLoss::new(clock(), waker.clone()));
        let seen = Packets { activity: packets.clone(), loss: loss.clone(), guard: self.outlet.guard.clone() };
        split(&pipeline, &bin, &out, (&shared, &server), seen);

        let now = self.outlet.clock.now();
        let may_fall_back = transport == Transport::Auto;
        let parts = Parts {
            connecting: Connecting::new(now, self.options.stall_timeout, is_rtsp, may_fall_back),
            info: shared.describe(self.address.to_string()),
            pipeline,
            shared,
            server,
            packets,
            loss,
            gate,
            waker,
            stopping,
            time: template.time,
            stall_timeout: self.options.stall_timeout,
            address: address.clone(),
        };
        Ok((parts, found))
    }

    fn setup(&self, address: &Address, time: Time, waker: &Waker, stop: &Shutdown) -> Setup {
        let (outlet, options) = (self.outlet, self.options);
        let is_paced = matches!(time, Time::Own | Time::Either) || self.wanted.real_time;
        let pacer = is_paced.then(|| Pacer::new(outlet.clone(), stop.child()));
        let activity = Arc::new(Activity::new(outlet.clock.clone()));
        let probe = DecoderProbe::new(outlet, pacer, self.wanted.delay).note_in(&activity);
        let (timing, probe, audio) = if time == Time::Recorded {
            (Timing::recorded(), probe, AudioTracks::default())
        } else {
            let by_arrival = matches!(address.kind, Kind::Rtsp | Kind::Udp | Kind::Rtp | Kind::Sdp | Kind::Srt);
            let clock = ConnectionClock::new(self.clock.clone(), by_arrival);
            (Timing::Live(clock), probe.live(), AudioTracks::of_connection(self.audio.clone()))
        };
        Setup {
            outlet: outlet.clone(),
            wanted: Wanted { image: None, ..self.wanted.clone() },
            timing,
            probe,
            audio,
            late: LateFrames::new(options.max_lag),
            activity,
            audio_is_progress: false,
            waker: waker.clone(),
            stop: stop.clone(),
        }
    }

    /// Gives every element of the template what is kept out of descriptions.
    fn prepare(&self, bin: &gst::Bin, address: &Address, server: &Arc<ServerState>) -> Result<(), ConnectError> {
        let options = self.options;
        let database = options.tls_ca.as_ref().map(|path| {
            gio::TlsFileDatabase::new(path).map_err(|e| {
                let problem = format!("--tls-ca {}: {}", path.display(), e.message());
                ConnectError::new(problem, "give a file of certificates in PEM with --tls-ca")
            })
        });
        let database = database.transpose()?;
        for element in bin.iterate_elements().into_iter().flatten() {
            if let Some(credentials) = address.credentials().filter(|_| element.has_property("user-id")) {
                element.set_property("user-id", credentials.user.expose());
                element.set_property("user-pw", credentials.password.expose());
                // They are for this server: souphttpsrc would tell them to whatever other one it is sent to.
                if element.has_property("automatic-redirect") {
                    element.set_property("automatic-redirect", false);
                }
            }
            if !options.redirects && element.has_property("automatic-redirect") {
                element.set_property("automatic-redirect", false);
            }
            if let Some(passphrase) = address.passphrase().filter(|_| element.has_property("passphrase")) {
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
                server.listen(&element);
                keep_alive::keep_alive(&element, self.outlet);
                senders::take_all(&element);
            }
        }
        Ok(())
    }
}

/// Calls `with` with what is put in place of placeholders.
fn with_values<R>(
    address: &Address,
    options: &LiveOptions,
    transport: Transport,
    with: impl FnOnce(&Values) -> R,
) -> R {
    let mut location = address.location().to_owned();
    if transport == Transport::Http {
        // `rtspsrc` tunnels by the name of the scheme.
        location = location.replacen("rtsps://", "rtspsh://", 1).replacen("rtsp://", "rtsph://", 1);
    }
    let whole = |time: Duration| time.as_millis().div_ceil(1000).max(1).to_string();
    let port = address.port().map(|port| port.to_string()).unwrap_or_default();
    let (jitter, stall) = (options.jitter.as_millis().to_string(), whole(options.stall_timeout));
    // A little later than our own limit, whose message says more.
    let connect = (CONNECT_TIMEOUT.max(options.stall_timeout) + Duration::from_secs(1)).as_micros().to_string();
    with(&Values::from([
        ("location", location.as_str()),
        ("host", address.host().unwrap_or("0.0.0.0")),
        ("port", port.as_str()),
        ("device", address.location()),
        ("pattern", address.location()),
        ("encoding", address.encoding()),
        ("protocols", protocols(transport)),
        ("jitter_ms", jitter.as_str()),
        ("stall_s", stall.as_str()),
        ("connect_us", connect.as_str()),
    ]))
}

/// A transport as `rtspsrc` calls it.
fn protocols(transport: Transport) -> &'static str {
    match transport {
        Transport::Auto | Transport::Udp => "udp",
        Transport::Tcp | Transport::Http => "tcp",
        Transport::Multicast => "udp-mcast",
    }
}

/// Where packets are noted as they come.
struct Packets {
    activity: Arc<Activity>,
    loss: Option<Arc<FrameLoss>>,
    guard: Guard,
}

/// Splits whatever `out` shows into tracks, one parsebin a track; notes the packets that come.
fn split(
    pipeline: &gst::Pipeline,
    bin: &gst::Bin,
    out: &gst::Element,
    (shared, server): (&Arc<Decoding>, &Arc<ServerState>),
    seen: Packets,
) {
    let tracks = Arc::new(Tracks::new(pipeline, shared));
    let rtp = RtpTracks::new(shared.outlet.clock.clone());
    let (owner, bin, server) = (pipeline.downgrade(), bin.downgrade(), server.clone());
    let at_pads = seen.guard.clone();
    let take = move |pad: &gst::Pad| {
        let (Some(pipeline), Some(bin)) = (owner.upgrade(), bin.upgrade()) else { return };
        let place = session_of(pad).and_then(|session| server.audio_place(session));
        let attached = rtp
            .sender(pad)
            .and_then(|sender| attach(&pipeline, &bin, pad, (&tracks, place), sender.as_ref()).map(|()| sender));
        match attached {
            Ok(sender) => {
                begin_with_boundary(pad, &seen.guard);
                seen.note(pad, sender);
            }
            Err(error) => gst::element_error!(pipeline, gst::CoreError::Failed, ("cannot decode: {error}")),
        }
    };
    for pad in out.src_pads() {
        take(&pad);
    }
    out.connect_pad_added(move |_, pad| {
        if pad.direction() == gst::PadDirection::Src {
            at_pads.run("pads", || take(pad));
        }
    });
}

impl Packets {
    /// Notes the packets that come; those of a sender that is not listened to are dropped.
    fn note(&self, pad: &gst::Pad, sender: Option<Sender>) {
        let (packets, guard) = (self.activity.clone(), self.guard.clone());
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
            let passes = guard.run("packets", || {
                packets.note();
                sender.as_ref().is_none_or(Sender::takes)
            });
            if passes == Some(true) { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Handled }
        });
        // Where it is not of RTP, nothing has numbers.
        if let Some(loss) = self.loss.as_ref().filter(|_| session_of(pad).is_some()) {
            loss.watch(pad, &self.guard);
        }
    }
}

/// Links `pad` to the parsebin of its track, which is made for the first sender of RTP and stays for the others.
fn attach(
    pipeline: &gst::Pipeline,
    bin: &gst::Bin,
    pad: &gst::Pad,
    tracks: (&Arc<Tracks>, Option<Place>),
    sender: Option<&Sender>,
) -> Linked {
    let ghost = gst::GhostPad::with_target(pad)?;
    ghost.set_active(true)?;
    bin.add_pad(&ghost)?;
    let Some(sender) = sender else {
        let parsebin = parse(pipeline, tracks)?;
        link(ghost.upcast_ref(), &parsebin)?;
        return parsebin.sync_state_with_parent();
    };
    change_caps(pad, sprop::without_empty);
    let funnel = sender.funnel();
    if sender.is_first() {
        let parsebin = parse(pipeline, tracks)?;
        pipeline.add(funnel)?;
        funnel.link(&parsebin)?;
        parsebin.sync_state_with_parent()?;
        funnel.sync_state_with_parent()?;
    }
    let sink = funnel.request_pad_simple("sink_%u").ok_or_else(|| gst::glib::bool_error!("funnel has no sink pad"))?;
    ghost.link(&sink).map(|_| ()).map_err(|e| gst::glib::bool_error!("{:?}", e))
}

fn parse(
    pipeline: &gst::Pipeline,
    (tracks, place): (&Arc<Tracks>, Option<Place>),
) -> Result<gst::Element, gst::glib::BoolError> {
    let parsebin = gst::ElementFactory::make("parsebin").build()?;
    let tracks = tracks.clone();
    parsebin.connect_pad_added(move |_, pad| tracks.add_guarded(pad, place));
    pipeline.add(&parsebin)?;
    Ok(parsebin)
}
