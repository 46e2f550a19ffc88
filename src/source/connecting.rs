//! How long a live source may take until its first frame is decoded, step by step.

use std::time::Duration;

use super::error::ConnectError;
use crate::clock::HostTime;

/// How long a server may take to accept the connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long packets may arrive without a frame that can be decoded.
const FRAME_TIMEOUT: Duration = Duration::from_secs(20);
/// How long UDP may stay silent once the server plays, where TCP can be tried instead.
const UDP_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long an audio track may take to show itself and its format after the first frame.
const AUDIO_TIMEOUT: Duration = Duration::from_secs(1);
/// The same where the server has announced it: a recording that begins without it has none until the next connection. Outputs wait as
/// long for a live track's first packet.
pub(super) const ANNOUNCED_AUDIO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a source that has shown only audio so far may be silent.
const VIDEO_TIMEOUT: Duration = Duration::from_secs(2);

/// What has come so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// When the last packet arrived.
    pub last_packet: Option<HostTime>,
    /// Whether there are audio tracks and no video track.
    pub audio_only: bool,
    /// Whether the first frame is decoded.
    pub first_frame: bool,
    /// What else may come.
    pub missing: Missing,
}

/// What may come after the first frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Missing {
    /// A track, or its format.
    #[default]
    Something,
    /// Audio that is announced and that the stream has not had yet.
    Announced,
    /// Nothing: every track is there with its format, or nothing more comes.
    Nothing,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is connected: frames can go on.
    Ready,
    /// Something more must come within this time.
    Within(Duration),
}

/// The time limits of one attempt to connect.
#[derive(Debug)]
pub(super) struct Connecting {
    started: HostTime,
    playing: Option<HostTime>,
    first_frame: Option<HostTime>,
    stall_timeout: Duration,
    /// Another transport can be tried.
    may_fall_back: bool,
    is_rtsp: bool,
}

impl Connecting {
    /// Begins `now`. Where RTSP asks a server first, time counts from its answer on ([`playing`](Self::playing)).
    pub fn new(now: HostTime, stall_timeout: Duration, is_rtsp: bool, may_fall_back: bool) -> Self {
        let playing = (!is_rtsp).then_some(now);
        Self { started: now, playing, first_frame: None, stall_timeout, may_fall_back, is_rtsp }
    }

    /// The server plays.
    pub fn playing(&mut self, now: HostTime) {
        self.playing.get_or_insert(now);
    }

    /// What to do at `now`, given what has come.
    ///
    /// # Errors
    /// When a time limit is over.
    pub fn check(&mut self, now: HostTime, seen: &Seen) -> Result<Progress, ConnectError> {
        if seen.first_frame {
            let timeout = match seen.missing {
                Missing::Nothing => Duration::ZERO,
                Missing::Something => AUDIO_TIMEOUT,
                Missing::Announced => ANNOUNCED_AUDIO_TIMEOUT,
            };
            let until = self.first_frame.get_or_insert(now).after(timeout);
            let is_ready = now >= until;
            return Ok(if is_ready { Progress::Ready } else { Progress::Within(until.since(now)) });
        }
        let limit = self.limits(seen).into_iter().flatten().min_by_key(|(until, _)| *until);
        let Some((until, limit)) = limit else { return Ok(Progress::Within(self.stall_timeout)) };
        if now < until { Ok(Progress::Within(until.since(now))) } else { Err(self.error(limit, seen)) }
    }

    fn limits(&self, seen: &Seen) -> [Option<(HostTime, Limit)>; 4] {
        let Some(playing) = self.playing else {
            return [Some((self.started.after(self.connect_timeout()), Limit::Connect)), None, None, None];
        };
        let last = seen.last_packet.unwrap_or_default().max(playing);
        let has_packets = seen.last_packet.is_some();
        [
            (self.may_fall_back && !has_packets).then(|| (playing.after(UDP_TIMEOUT), Limit::Udp)),
            Some((last.after(self.stall_timeout), Limit::Stall)),
            (seen.audio_only && has_packets).then(|| (last.after(VIDEO_TIMEOUT), Limit::Video)),
            Some((playing.after(FRAME_TIMEOUT.max(self.stall_timeout)), Limit::Frame)),
        ]
    }

    fn connect_timeout(&self) -> Duration {
        CONNECT_TIMEOUT.max(self.stall_timeout)
    }

    fn error(&self, limit: Limit, seen: &Seen) -> ConnectError {
        match limit {
            Limit::Connect => {
                let s = self.connect_timeout().as_secs();
                ConnectError::new(format!("connection timed out after {s} s"), "try again later")
            }
            Limit::Udp => ConnectError::of_transport("no packets received over UDP", "give --rtsp-transport tcp"),
            Limit::Stall if seen.last_packet.is_some() => ConnectError::new(
                format!("packets stopped for {} s before a frame could be decoded", self.stall_timeout.as_secs_f64()),
                "check that the sender is running, its codec and its keyframe interval",
            ),
            Limit::Stall => {
                let remedy = if self.is_rtsp {
                    "check that the camera is streaming; --rtsp-transport chooses another transport"
                } else {
                    "check that the sender is running"
                };
                ConnectError::new(format!("no packets received for {} s", self.stall_timeout.as_secs_f64()), remedy)
            }
            Limit::Video => ConnectError::new("it has audio but no video", "give a source with a video track"),
            Limit::Frame => ConnectError::new(
                "packets are received, but no frame could be decoded",
                "check its codec and its keyframe interval",
            ),
        }
    }
}

/// Which limit is the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Connect,
    Udp,
    Stall,
    Video,
    Frame,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> HostTime {
        HostTime::from_start(Duration::from_millis(ms))
    }

    fn within(ms: u64) -> Progress {
        Progress::Within(Duration::from_millis(ms))
    }

    fn check(connecting: &mut Connecting, now: u64, seen: Seen) -> Result<Progress, String> {
        connecting.check(at(now), &seen).map_err(|error| error.problem)
    }

    const STALL: Duration = Duration::from_secs(5);

    #[test]
    fn a_server_has_ten_seconds_and_then_packets_must_come() {
        let nothing = Seen::default();
        let mut connecting = Connecting::new(at(1000), STALL, true, false);
        assert_eq!(check(&mut connecting, 2000, nothing), Ok(within(9000)));
        assert_eq!(check(&mut connecting, 11_000, nothing), Err("connection timed out after 10 s".into()));
        connecting.playing(at(8000));
        connecting.playing(at(9000));
        assert_eq!(check(&mut connecting, 11_000, nothing), Ok(within(2000)));
        assert_eq!(check(&mut connecting, 13_000, nothing), Err("no packets received for 5 s".into()));
        let packets = Seen { last_packet: Some(at(12_500)), ..nothing };
        assert_eq!(check(&mut connecting, 13_000, packets), Ok(within(4500)));
        let stopped = "packets stopped for 5 s before a frame could be decoded";
        assert_eq!(check(&mut connecting, 17_500, packets), Err(stopped.into()));
        let packets = Seen { last_packet: Some(at(27_999)), ..nothing };
        let undecodable = "packets are received, but no frame could be decoded";
        assert_eq!(check(&mut connecting, 28_000, packets), Err(undecodable.into()));
        // A longer stall timeout gives the server as much.
        let mut patient = Connecting::new(at(0), Duration::from_mins(1), true, false);
        assert_eq!(check(&mut patient, 59_999, nothing), Ok(within(1)));
    }

    #[test]
    fn silence_over_udp_asks_for_another_transport() {
        let mut connecting = Connecting::new(at(0), STALL, true, true);
        connecting.playing(at(100));
        assert_eq!(check(&mut connecting, 100, Seen::default()), Ok(within(2500)));
        let error = connecting.check(at(2600), &Seen::default()).expect_err("silence");
        assert!(error.other_transport && !error.transient, "{error:?}");
        let packets = Seen { last_packet: Some(at(2000)), ..Seen::default() };
        assert_eq!(check(&mut connecting, 2600, packets), Ok(within(4400)));
    }

    #[test]
    fn audio_alone_is_not_enough_and_audio_after_video_is_waited_for() {
        let mut connecting = Connecting::new(at(0), STALL, false, false);
        let audio = Seen { audio_only: true, last_packet: Some(at(500)), ..Seen::default() };
        assert_eq!(check(&mut connecting, 1000, audio), Ok(within(1500)));
        assert_eq!(check(&mut connecting, 2500, audio), Err("it has audio but no video".into()));
        let frame = Seen { first_frame: true, ..audio };
        assert_eq!(check(&mut connecting, 2500, frame), Ok(within(1000)));
        assert_eq!(check(&mut connecting, 3000, Seen { missing: Missing::Nothing, ..frame }), Ok(Progress::Ready));
        assert_eq!(check(&mut connecting, 3499, frame), Ok(within(1)));
        assert_eq!(check(&mut connecting, 3500, frame), Ok(Progress::Ready));
        let announced = Seen { missing: Missing::Announced, ..frame };
        assert_eq!(check(&mut connecting, 3500, announced), Ok(within(4000)));
        assert_eq!(check(&mut connecting, 7500, announced), Ok(Progress::Ready));
    }
}
