//! One viewer's WebRTC session: access units in, datagrams out. No socket and no clock of its own.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::format::Codec;
use str0m::media::{MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig, RtcError};
use tokio::sync::OwnedSemaphorePermit;

use crate::clock::{StreamTime, instant};
use crate::sink::{EncodedFrame, Hub, Viewer};
use crate::thread::{ThreadError, catch};

/// How long a viewer may take to connect: browsers try for as long.
const CONNECT: Duration = Duration::from_secs(15);
/// How long nothing may come of a viewer, who says every few seconds that he is there (RFC 7675: 30 s at most).
const SILENCE: Duration = Duration::from_secs(30);
/// A session is looked after at least so often, and no oftener than this.
const LONGEST: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(1);
/// Packets that may be asked for again: so many, for so long. What is older comes too late to be shown, and keeping it costs memory that the
/// processor has to go through.
const RESENT: usize = 2000;
const RESENT_FOR: Duration = Duration::from_millis(700);
/// Of what is sent, at most so much may be sent again.
const RESENT_SHARE: f32 = 0.15;
/// Between the last frame of a run and the first of the next, which begins at zero again.
const STEP_NS: u64 = 40_000_000;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The offer is none.
    #[error("the offer cannot be read: {0}")]
    Offer(String),
    /// It has nothing that could be sent.
    #[error("the offer takes no H.264 video (recvonly, packetization-mode=1), and the stream is not encoded anew")]
    NoH264,
    /// No session begins any more.
    #[error("the server is being stopped")]
    Closing,
    /// It failed here.
    #[error("the server failed")]
    Server(#[source] ThreadError),
}

/// One viewer's session.
pub(super) struct Session {
    pub id: String,
    rtc: Rtc,
    hub: Hub,
    /// Since he is connected.
    viewer: Option<Viewer>,
    video: (Mid, Pt),
    /// Where he sends to.
    local: SocketAddr,
    opened: Instant,
    heard: Instant,
    due: Instant,
    times: Times,
    /// Nothing can be done with it any more.
    failed: bool,
    _place: OwnedSemaphorePermit,
}

/// A stream's time as that of one session, which never goes back.
#[derive(Default)]
struct Times {
    shift_ns: u64,
    last_ns: u64,
}

impl Times {
    fn of(&mut self, pts: StreamTime) -> MediaTime {
        let mut time = pts.ns.saturating_add(self.shift_ns);
        if time < self.last_ns {
            // The stream was started anew.
            self.shift_ns = self.last_ns.saturating_add(STEP_NS);
            time = pts.ns.saturating_add(self.shift_ns);
        }
        self.last_ns = time;
        // 90 kHz (RFC 6184, 8.1).
        MediaTime::from_90khz(time / 100_000 * 9 + time % 100_000 * 9 / 100_000)
    }
}

impl Session {
    /// Accepts an offer; the session, and the answer.
    ///
    /// # Errors
    /// When it cannot be read, or takes nothing that there is.
    pub fn accept(
        (id, offer): (String, &str),
        hub: &Hub,
        config: RtcConfig,
        local: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Result<(Self, String), Refusal> {
        let now = instant();
        let refused = |error: &dyn std::error::Error| Refusal::Offer(error.to_string());
        let accepted = catch("whep", || -> Result<_, Refusal> {
            let offer =
                SdpOffer::from_sdp_string(offer).map_err(|_| Refusal::Offer("it is no SDP (RFC 8866)".into()))?;
            let mut rtc = config.build(now);
            rtc.add_local_candidate(Candidate::host(local, "udp").map_err(|error| refused(&error))?);
            let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| refused(&error))?.to_sdp_string();
            let video = video(&mut rtc, &answer, hub.profile()).ok_or(Refusal::NoH264)?;
            Ok((rtc, answer, video))
        });
        let (rtc, answer, video) = accepted.map_err(Refusal::Server)??;
        let session = Self {
            id,
            rtc,
            hub: hub.clone(),
            viewer: None,
            video,
            local,
            opened: now,
            heard: now,
            due: now,
            times: Times::default(),
            failed: false,
            _place: place,
        };
        Ok((session, answer))
    }

    /// When it is to be looked after.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Whether it goes on.
    pub fn goes_on(&self, now: Instant) -> bool {
        let connected = self.viewer.is_some() || now.duration_since(self.opened) < CONNECT;
        !self.failed && self.rtc.is_alive() && connected && now.duration_since(self.heard) < SILENCE
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Transmit>) {
        self.turn(out, |session| session.rtc.handle_input(Input::Timeout(now)));
    }

    /// Takes a datagram, where it is of this session; whether it was.
    pub fn datagram(&mut self, now: Instant, source: SocketAddr, data: &[u8], out: &mut Vec<Transmit>) -> bool {
        let parsed = catch("whep", || Receive::new(Protocol::Udp, source, self.local, data).ok());
        let Ok(Some(received)) = parsed else { return false };
        let input = Input::Receive(now, received);
        if self.failed || !self.rtc.accepts(&input) {
            return false;
        }
        self.heard = now;
        self.turn(out, |session| session.rtc.handle_input(input));
        true
    }

    /// Sends the next frame, where there is one; whether there was.
    pub fn frame(&mut self, context: &mut Context<'_>, out: &mut Vec<Transmit>) -> bool {
        let Some(viewer) = &mut self.viewer else { return false };
        match viewer.poll_next(context) {
            Poll::Pending => false,
            Poll::Ready(Some(frame)) => {
                self.turn(out, |session| session.write(&frame));
                true
            }
            Poll::Ready(None) => {
                self.end(out);
                true
            }
        }
    }

    /// Tells the viewer that it is over.
    pub fn end(&mut self, out: &mut Vec<Transmit>) {
        self.viewer = None;
        self.turn(out, |session| session.rtc.close());
        self.failed = true;
    }

    fn write(&mut self, frame: &EncodedFrame) -> Result<(), RtcError> {
        let (mid, payload) = self.video;
        let time = self.times.of(frame.pts);
        let Some(writer) = self.rtc.writer(mid) else { return Ok(()) };
        writer.write(payload, instant(), time, frame.data.clone())
    }

    /// Does something with the session and collects what it sends for that. What fails, or panics, ends this session only.
    fn turn(&mut self, out: &mut Vec<Transmit>, act: impl FnOnce(&mut Self) -> Result<(), RtcError>) {
        if self.failed {
            return;
        }
        match catch("whep", || act(self).and_then(|()| self.drain(out))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, stream = self.hub.name(), "a WebRTC session ends");
                self.failed = true;
            }
            Err(panicked) => {
                tracing::error!(error = %panicked, stream = self.hub.name(), "a WebRTC session ends");
                self.failed = true;
            }
        }
    }

    fn drain(&mut self, out: &mut Vec<Transmit>) -> Result<(), RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(datagram) => out.push(datagram),
                Output::Timeout(due) => {
                    let now = instant();
                    self.due = due.clamp(now + SHORTEST, now + LONGEST);
                    return Ok(());
                }
                Output::Event(Event::Connected) => {
                    if let Some(sent) = self.rtc.direct_api().stream_tx_by_mid(self.video.0, None) {
                        sent.set_rtx_cache(RESENT, RESENT_FOR, Some(RESENT_SHARE));
                    }
                    self.viewer = Some(self.hub.watch());
                }
                Output::Event(Event::KeyframeRequest(_)) => {
                    self.viewer.iter().for_each(Viewer::request_keyframe);
                }
                Output::Event(Event::Closed | Event::IceConnectionStateChange(IceConnectionState::Disconnected)) => {
                    self.rtc.disconnect();
                }
                Output::Event(_) => {}
            }
        }
    }
}

/// The video that the viewer takes by the answer, and the payload type that says best what the encoder makes.
fn video(rtc: &mut Rtc, answer: &str, profile: Option<[u8; 3]>) -> Option<(Mid, Pt)> {
    // `Rtc` tells of its media only once it is connected.
    let sent = answer.split("\r\nm=").skip(1).find(|media| {
        let port = media.strip_prefix("video ").and_then(|rest| rest.split(' ').next());
        port.is_some_and(|port| port != "0") && media.lines().any(|line| line == "a=sendonly" || line == "a=sendrecv")
    })?;
    let mid = Mid::from(sent.lines().find_map(|line| line.strip_prefix("a=mid:"))?);
    let writer = rtc.writer(mid)?;
    let takes = writer.payload_params().map(|params| (params.pt(), params.spec())).filter(|(_, spec)| {
        // Frames are larger than packets.
        spec.codec == Codec::H264 && spec.format.packetization_mode == Some(1)
    });
    // Where the very profile is not offered, the highest: decoders take what they are sent, and those that can do more say so.
    let best = takes.max_by_key(|(_, spec)| {
        let [offered, constraints, _] = spec.format.profile_level_id.map_or([0; 3], |id| {
            let [_, profile, constraints, level] = id.to_be_bytes();
            [profile, constraints, level]
        });
        let is_it = profile.is_some_and(|made| made[0] == offered);
        (is_it, offered, constraints)
    });
    best.map(|(payload, _)| (mid, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_time_goes_on_where_its_stream_begins_again() {
        let mut times = Times::default();
        let ticks: Vec<u64> = [0, 40, 80, 5_000, 0, 40]
            .into_iter()
            .map(|ms| times.of(StreamTime { ns: ms * 1_000_000 }).numer())
            .collect();
        assert_eq!(ticks, [0, 3600, 7200, 450_000, 453_600, 457_200]);
    }
}
