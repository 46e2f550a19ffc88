//! A viewer as a browser is one: it offers, connects and takes frames.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaData, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, crypto};
use streamdet::clock::{Deadline, instant};

use crate::http::{Answer, PATIENCE, ask};

/// Whoever offers.
pub struct Offering {
    rtc: Rtc,
    socket: UdpSocket,
    mid: Mid,
    pending: SdpPendingOffer,
    pub sdp: String,
}

/// A viewer.
pub struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    mid: Mid,
    /// His session's path.
    pub session: String,
}

impl Offering {
    /// Offers to take H.264, or VP8.
    pub fn new(h264: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut rtc = Rtc::builder()
            .set_crypto_provider(Arc::new(crypto::from_feature_flags()))
            .set_reordering_size_video(1000)
            .clear_codecs()
            .enable_h264(h264)
            .enable_vp8(!h264)
            .build(instant());
        let own = socket.local_addr().expect("its address");
        rtc.add_local_candidate(Candidate::host(own, "udp").expect("a candidate"));
        let mut change = rtc.sdp_api();
        let mid = change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = change.apply().expect("an offer");
        Self { rtc, socket, mid, pending, sdp: offer.to_sdp_string() }
    }

    /// Takes the answer.
    pub fn accept(self, answer: &Answer) -> Peer {
        let Self { mut rtc, socket, mid, pending, .. } = self;
        let sdp = SdpAnswer::from_sdp_string(&answer.text()).expect("an answer");
        rtc.sdp_api().accept_answer(pending, sdp).expect("it is one to this offer");
        Peer { rtc, socket, mid, session: answer.header("location").to_owned() }
    }
}

impl Peer {
    /// Begins to watch.
    #[track_caller]
    pub fn watch(server: SocketAddr, name: &str) -> Self {
        let offering = Offering::new(true);
        let answer = ask(server, &format!("POST /v1/streams/{name}/whep"), "application/sdp", &offering.sdp);
        assert_eq!((answer.status, answer.header("content-type")), (201, "application/sdp"), "{}", answer.text());
        offering.accept(&answer)
    }

    /// The next `count` frames.
    #[track_caller]
    pub fn frames(&mut self, count: usize) -> Vec<MediaData> {
        let mut frames = Vec::new();
        self.run(|_, frame| {
            frames.push(frame);
            frames.len() < count
        });
        frames
    }

    /// Asks for a keyframe, as a browser does that lost something.
    pub fn lost_something(&mut self) {
        let mut writer = self.rtc.writer(self.mid).expect("its video");
        writer.request_keyframe(None, KeyframeRequestKind::Pli).expect("it may");
    }

    /// Takes frames while `more` wants them; ends early where the session does, which is said by `false`.
    #[track_caller]
    pub fn run(&mut self, mut more: impl FnMut(&mut Self, MediaData) -> bool) -> bool {
        let deadline = Deadline::after(PATIENCE);
        let mut buffer = vec![0; 2048];
        let local = self.socket.local_addr().expect("its address");
        loop {
            let due = loop {
                match self.rtc.poll_output().expect("it goes on") {
                    Output::Timeout(due) => break due,
                    Output::Transmit(datagram) => {
                        self.socket.send_to(&datagram.contents, datagram.destination).expect("sent");
                    }
                    Output::Event(Event::MediaData(frame)) => {
                        if !more(self, frame) {
                            return true;
                        }
                    }
                    Output::Event(Event::Closed) => return false,
                    Output::Event(_) => {}
                }
            };
            assert!(!deadline.is_over(), "no more frames came");
            let wait =
                due.saturating_duration_since(instant()).clamp(Duration::from_millis(1), Duration::from_millis(200));
            self.socket.set_read_timeout(Some(wait)).expect("a socket");
            let input = match self.socket.recv_from(&mut buffer) {
                Ok((length, source)) => {
                    let received = Receive::new(Protocol::Udp, source, local, &buffer[..length]);
                    Input::Receive(instant(), received.expect("a datagram of WebRTC"))
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Input::Timeout(instant())
                }
                Err(error) => panic!("{error}"),
            };
            self.rtc.handle_input(input).expect("it goes on");
        }
    }
}
