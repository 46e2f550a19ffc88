//! One connection to a live source: waits for its first frame, then for its end.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::activity::{Activity, StallTimer};
use super::address::{Address, Kind};
use super::connecting::{ANNOUNCED_AUDIO_TIMEOUT, Connecting, Missing, Progress, Seen};
use super::connection::{Connection, ConnectionEnd, OpenError};
use super::decoding::Decoding;
use super::diagnose::diagnose;
use super::error::ConnectError;
use super::first_frame::Gate;
use super::loss::FrameLoss;
use super::missing::{MissingPlugin, package_for};
use super::options::Transport;
use super::receive_buffer;
use super::server::ServerState;
use super::template::Time;
use super::wake::{Waker, next_message};
use crate::channel::WhenFull;
use crate::clock::{HostTime, StreamTime};
use crate::secrets::redact;
use crate::shutdown::OnRequest;
use crate::stream::{AudioTrack, StreamInfo};
use crate::teardown::tear_down;
use crate::thread::test_panic_point;

/// What a connection is made of; its pipeline is not running yet.
pub(super) struct Parts {
    pub pipeline: gst::Pipeline,
    pub shared: Arc<Decoding>,
    pub server: Arc<ServerState>,
    /// Packets that come out of the template.
    pub packets: Arc<Activity>,
    /// Where it may be given up for too many losses.
    pub loss: Option<Arc<FrameLoss>>,
    pub info: StreamInfo,
    pub gate: Gate,
    pub waker: Waker,
    /// The way from the stream's stop to the connection's.
    pub stopping: OnRequest,
    pub connecting: Connecting,
    pub time: Time,
    pub stall_timeout: Duration,
    pub address: Address,
}

/// A connection whose first frame is there.
pub(super) struct LiveConnection {
    pipeline: gst::Pipeline,
    shared: Arc<Decoding>,
    server: Arc<ServerState>,
    packets: Arc<Activity>,
    loss: Option<Arc<FrameLoss>>,
    info: StreamInfo,
    gate: Option<Gate>,
    waker: Waker,
    _stopping: OnRequest,
    stall_timeout: Duration,
    address: Address,
    warning: Option<String>,
    has_ended: bool,
}

impl LiveConnection {
    /// Starts the pipeline and waits until the first frame and every track's format are there. Frames go to the outlet from
    /// [`run`](Connection::run) on.
    ///
    /// # Errors
    /// When none will come, or a stop is requested.
    pub fn start(parts: Parts) -> Result<Self, OpenError> {
        let time = parts.time;
        let mut connecting = parts.connecting;
        let mut connection = Self {
            pipeline: parts.pipeline,
            shared: parts.shared,
            server: parts.server,
            packets: parts.packets,
            loss: parts.loss,
            info: parts.info,
            gate: Some(parts.gate),
            waker: parts.waker,
            _stopping: parts.stopping,
            stall_timeout: parts.stall_timeout,
            address: parts.address,
            warning: None,
            has_ended: false,
        };
        connection.connect(&mut connecting)?;
        if connection.awaits_audio() {
            connection.shared.audio.wait_no_more();
            connection.shared.notice(format!(
                "audio is announced, but did not come within {} s: it is left out",
                ANNOUNCED_AUDIO_TIMEOUT.as_secs()
            ));
        }
        connection.info = connection.shared.describe(std::mem::take(&mut connection.info.name));
        connection.info.notices = connection.shared.take_notices();
        if time == Time::Either {
            connection.info.recorded = states_its_length(&connection.pipeline);
            if connection.info.recorded {
                connection.shared.make_lossless();
            }
        }
        let when_full = if connection.info.recorded { WhenFull::Wait } else { WhenFull::DropOldest };
        connection.shared.outlet.events.set_when_full(when_full);
        Ok(connection)
    }

    fn now(&self) -> HostTime {
        self.shared.outlet.clock.now()
    }

    fn connect(&mut self, connecting: &mut Connecting) -> Result<(), OpenError> {
        let mut missing = Vec::new();
        let cannot_start = self.pipeline.set_state(gst::State::Playing).is_err();
        loop {
            if self.shared.is_stopped() {
                return Err(OpenError::Stopped);
            }
            let seen = self.seen();
            if let Some(refusal) = self.shared.selection.refusal().filter(|_| !seen.first_frame) {
                return Err(ConnectError::new(refusal, "choose another with --video-track").into());
            }
            let left = match connecting.check(self.now(), &seen)? {
                Progress::Ready => return Ok(()),
                Progress::Within(left) => left,
            };
            // What could not start says why, if at all, at once.
            let left = if cannot_start { Duration::ZERO } else { left };
            let Some(message) = next_message(self.waker.bus(), left) else {
                if cannot_start {
                    return Err(ConnectError::new("it cannot be started", "see -v and GST_DEBUG=2").into());
                }
                continue;
            };
            match message.view() {
                gst::MessageView::Error(error) => {
                    missing.extend(self.waker.bus().iter().filter_map(|m| MissingPlugin::from_message(&m)));
                    return Err(self.error(error, &missing).into());
                }
                gst::MessageView::Eos(_) if self.shared.first.is_decoded() => self.has_ended = true,
                gst::MessageView::Eos(_) => {
                    let why = self.warning.take().map_or_else(String::new, |w| format!(" ({w})"));
                    let problem = format!("the stream ended before its first frame{why}");
                    return Err(ConnectError::new(problem, "check that it plays elsewhere (`ffprobe URL`)").into());
                }
                gst::MessageView::Element(_) => missing.extend(MissingPlugin::from_message(&message)),
                gst::MessageView::Progress(progress) => {
                    let (kind, code, _) = progress.get();
                    if kind == gst::ProgressType::Complete && code == "request" {
                        connecting.playing(self.now());
                    }
                }
                _ => self.note_warning(&message),
            }
        }
    }

    fn seen(&self) -> Seen {
        let tracks = self.shared.selection.tracks() >= self.server.announced_tracks();
        Seen {
            last_packet: self.packets.last(),
            audio_only: self.shared.is_audio_only(),
            first_frame: self.shared.first.is_decoded(),
            missing: match self.has_ended || (tracks && self.shared.audio.all_have_format()) {
                true => Missing::Nothing,
                false if self.awaits_audio() => Missing::Announced,
                false => Missing::Something,
            },
        }
    }

    fn awaits_audio(&self) -> bool {
        self.shared.wanted.audio && self.shared.audio.awaits(self.server.announced_audio())
    }

    /// A server that closes the connection shows as a warning and an end of stream.
    fn note_warning(&mut self, message: &gst::MessageRef) {
        if let gst::MessageView::Warning(warning) = message.view()
            // A socket that got less room than it asked for, which is said apart.
            && !warning.error().matches(gst::ResourceError::Settings)
        {
            self.warning = Some(words(&warning.error()));
        }
    }

    fn error(&self, error: &gst::message::Error, missing: &[MissingPlugin]) -> ConnectError {
        if let Some(plugin) = missing.iter().find(|m| m.is_video()) {
            let problem = format!("GStreamer has no {} here", plugin.name);
            return ConnectError::new(problem, format!("install {}", package_for(&plugin.detail)));
        }
        let debug = error.debug().map(|debug| debug.to_string()).unwrap_or_default();
        diagnose(&self.address, &error.error(), &debug, self.server.certificate_fault())
    }

    fn wait_for_end(&mut self, say: &dyn Fn(&str)) -> ConnectionEnd {
        let mut stall = StallTimer::new(self.stall_timeout, self.now());
        while !self.has_ended {
            test_panic_point();
            if self.shared.is_stopped() {
                self.shared.stop();
                return ConnectionEnd::Stopped;
            }
            self.shared.take_notices().iter().for_each(|notice| say(notice));
            if let Some(said) = self.loss.as_ref().and_then(|loss| loss.too_much()) {
                return ConnectionEnd::Lossy(said.clone());
            }
            let left = stall.check(self.now(), self.shared.activity.last(), self.shared.is_held());
            let Some(left) = left else {
                return ConnectionEnd::Lost(format!("no data received for {} s", self.stall_timeout.as_secs_f64()));
            };
            let Some(message) = next_message(self.waker.bus(), left) else { continue };
            match message.view() {
                gst::MessageView::Eos(_) => self.has_ended = true,
                gst::MessageView::Error(error) => return ConnectionEnd::Lost(words(&error.error())),
                _ => self.note_warning(&message),
            }
        }
        match self.warning.take().filter(|_| !self.info.recorded) {
            Some(warning) => ConnectionEnd::Lost(warning),
            None => ConnectionEnd::EndOfStream,
        }
    }
}

impl Connection for LiveConnection {
    fn info(&self) -> &StreamInfo {
        &self.info
    }

    fn take_audio(&self) -> Vec<AudioTrack> {
        self.shared.audio.take()
    }

    fn audio_changed(&self) -> bool {
        self.shared.audio.has_changed()
    }

    fn transport(&self) -> Option<Transport> {
        let is_udpsrc = |element: gst::Element| element.factory().is_some_and(|factory| factory.name() == "udpsrc");
        let by_udp = || self.pipeline.iterate_recurse().into_iter().flatten().any(is_udpsrc);
        (self.address.kind == Kind::Rtsp).then(|| if by_udp() { Transport::Udp } else { Transport::Tcp })
    }

    fn is_recording(&self) -> bool {
        self.info.recorded
    }

    fn resumes_at(&self) -> StreamTime {
        self.shared.connection().map_or_else(StreamTime::default, super::stream_clock::ConnectionClock::resumes_at)
    }

    fn run(&mut self, say: &dyn Fn(&str)) -> ConnectionEnd {
        if let Some(notice) = receive_buffer::too_little(&self.pipeline) {
            say(&notice);
        }
        self.gate = None;
        let end = self.wait_for_end(say);
        self.shared.take_notices().iter().for_each(|notice| say(notice));
        self.shared.report_late();
        end
    }

    fn last_frame(&self) -> Option<HostTime> {
        self.shared.activity.last()
    }

    fn frames(&self) -> u64 {
        self.shared.frames()
    }

    fn lost(&self) -> u64 {
        if self.info.recorded { self.shared.probe.lost() } else { self.shared.probe.lost_midway() }
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        self.shared.stop();
        self.gate = None;
        // This joins the streaming threads; the lane must be drained meanwhile, or its receiver dropped.
        tear_down(&self.pipeline);
        if self.info.recorded {
            self.shared.audio.close();
        }
    }
}

/// Whether the source states how long it is: in time; or in bytes, but for a playlist, of which more may follow.
fn states_its_length(pipeline: &gst::Pipeline) -> bool {
    if pipeline.query_duration::<gst::ClockTime>().is_some_and(|length| !length.is_zero()) {
        return true;
    }
    let elements: Vec<gst::Element> = pipeline.iterate_recurse().into_iter().flatten().collect();
    let is = |element: &gst::Element, kind: &str| element.metadata("klass").is_some_and(|class| class.contains(kind));
    !elements.iter().any(|element| is(element, "Adaptive"))
        && elements.iter().filter(|element| is(element, "Source")).any(|source| {
            source.query_duration::<gst::format::Bytes>().is_some_and(|length| length > gst::format::Bytes::ZERO)
        })
}

/// What `GStreamer` says, without secrets.
fn words(error: &gst::glib::Error) -> String {
    redact(error.message().trim_end_matches('.'))
}
