//! The whole reconnect policy against a simulated clock and a scripted opener: no network, no pipeline, no time that passes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::channel::{Lanes, lanes};
use crate::clock::{Clock, HostTime, SimulatedClock};
use crate::controls::Controls;
use crate::source::connection::ConnectionEnd;
use crate::source::error::ConnectError;
use crate::source::options::{LiveOptions, Transport};
use crate::source::stream_clock::ConnectionClock;
use crate::stream::{AudioTrack, StreamId, StreamInfo};
use crate::thread::Guard;

/// Between two frames.
const FRAME: Duration = Duration::from_millis(40);

/// What one attempt to connect comes to.
#[derive(Debug, Clone)]
enum Attempt {
    /// It fails after this time.
    Fails(Duration, ConnectError),
    /// It plays so many frames, is silent for a while and ends so.
    Plays(Play),
    /// A stop is requested during it.
    IsStopped,
}

#[derive(Debug, Clone)]
struct Play {
    frames: u64,
    silence: Duration,
    end: ConnectionEnd,
    transport: Option<Transport>,
    is_recording: bool,
    audio_changed: bool,
}

fn plays(frames: u64, end: ConnectionEnd) -> Play {
    let silence = Duration::ZERO;
    Play { frames, silence, end, transport: Some(Transport::Udp), is_recording: false, audio_changed: false }
}

fn lost(frames: u64, reason: &str) -> Attempt {
    Attempt::Plays(plays(frames, ConnectionEnd::Lost(reason.into())))
}

fn ends(frames: u64) -> Attempt {
    Attempt::Plays(plays(frames, ConnectionEnd::EndOfStream))
}

fn refused(problem: &str) -> Attempt {
    Attempt::Fails(Duration::ZERO, ConnectError::new(problem, "a remedy"))
}

fn refused_over_udp() -> Attempt {
    Attempt::Fails(Duration::ZERO, ConnectError::of_transport("no packets received over UDP", "a remedy"))
}

fn busy() -> Attempt {
    Attempt::Fails(Duration::ZERO, ConnectError::transient("service unavailable (503)", "a remedy"))
}

/// Follows its script, and requests a stop at its end.
struct ScriptedOpener {
    script: VecDeque<Attempt>,
    clock: Arc<SimulatedClock>,
    stream: Arc<StreamClock>,
    shutdown: Shutdown,
    /// When it was asked to connect, and by which transport.
    attempts: Vec<(u128, Transport)>,
    /// Whether each may be given up for TCP.
    may_leave_udp: Vec<bool>,
}

impl Opener for ScriptedOpener {
    fn open(&mut self, transport: Transport, may_leave_udp: bool) -> Result<Box<dyn Connection>, OpenError> {
        self.attempts.push((self.clock.now().since_start().as_millis(), transport));
        self.may_leave_udp.push(may_leave_udp);
        match self.script.pop_front().unwrap_or(Attempt::IsStopped) {
            Attempt::Fails(after, error) => {
                self.clock.advance(after);
                Err(error.into())
            }
            Attempt::Plays(play) => Ok(Box::new(ScriptedConnection::open(play, self))),
            Attempt::IsStopped => {
                self.shutdown.request();
                Err(OpenError::Stopped)
            }
        }
    }
}

struct ScriptedConnection {
    play: Play,
    clock: Arc<SimulatedClock>,
    time: ConnectionClock,
    info: StreamInfo,
    last: Option<HostTime>,
}

impl ScriptedConnection {
    fn open(play: Play, opener: &ScriptedOpener) -> Self {
        let time = ConnectionClock::new(opener.stream.clone(), false);
        let connection = Self { play, clock: opener.clock.clone(), time, info: info(), last: None };
        if connection.time.last().is_some() {
            connection.time.resume_at(connection.time.begin(connection.due(0)));
        }
        connection
    }

    /// When frame number `n` is due: the first at once, the others one after the other.
    fn due(&self, n: u64) -> HostTime {
        let running = gstreamer::ClockTime::from_nseconds(n * u64::try_from(FRAME.as_nanos()).expect("short"));
        self.time.due(running, || (self.clock.now(), running))
    }
}

impl Connection for ScriptedConnection {
    fn info(&self) -> &StreamInfo {
        &self.info
    }

    fn take_audio(&self) -> Vec<AudioTrack> {
        Vec::new()
    }

    fn audio_changed(&self) -> bool {
        self.play.audio_changed
    }

    fn transport(&self) -> Option<Transport> {
        self.play.transport
    }

    fn is_recording(&self) -> bool {
        self.play.is_recording
    }

    fn resumes_at(&self) -> StreamTime {
        self.time.resumes_at()
    }

    fn run(&mut self, _say: &dyn Fn(&str)) -> ConnectionEnd {
        for n in 0..self.play.frames {
            if n > 0 {
                self.clock.advance(FRAME);
            }
            self.time.count(self.time.begin(self.due(n)));
            self.last = Some(self.clock.now());
        }
        self.clock.advance(self.play.silence);
        self.play.end.clone()
    }

    fn last_frame(&self) -> Option<HostTime> {
        self.last
    }

    fn frames(&self) -> u64 {
        self.play.frames
    }

    fn lost(&self) -> u64 {
        1
    }
}

fn info() -> StreamInfo {
    StreamInfo {
        name: "scripted".into(),
        recorded: false,
        size: crate::geometry::Size { width: 16, height: 16 },
        frame_rate: Some((25, 1)),
        duration: None,
        sure_duration: None,
        codec: "h264".into(),
        audio_codecs: Vec::new(),
        notices: Vec::new(),
    }
}

/// What came of a script.
struct Seen {
    result: Result<u64, SourceError>,
    attempts: Vec<(u128, Transport)>,
    may_leave_udp: Vec<bool>,
    /// Why the source was disconnected, each time it was said.
    disconnected: Vec<String>,
    /// What went downstream: `open`, `reopen`, `gap FROM..TO ms REASON`, `gap FROM.. REASON` where it did not come back.
    events: Vec<String>,
}

impl Seen {
    fn times(&self) -> Vec<u128> {
        self.attempts.iter().map(|(at, _)| *at).collect()
    }

    fn transports(&self) -> Vec<Transport> {
        self.attempts.iter().map(|(_, transport)| *transport).collect()
    }
}

fn follow(options: &LiveOptions, script: impl IntoIterator<Item = Attempt>) -> Seen {
    follow_with(options, false, script)
}

fn follow_with(options: &LiveOptions, is_secure: bool, script: impl IntoIterator<Item = Attempt>) -> Seen {
    let clock = Arc::new(SimulatedClock::default());
    let (mut senders, receiver) = lanes("scripted", 1, 64);
    let (open, ready) = crossbeam_channel::bounded(0);
    drop(open);
    let outlet = Outlet {
        stream: StreamId(0),
        events: senders.remove(0),
        clock: clock.clone(),
        ready,
        head: 0,
        guard: Guard::default(),
        counters: Arc::default(),
        controls: Arc::new(Controls::fixed(0.25, false)),
    };
    let (shutdown, audio) = (Shutdown::new(), StreamAudio::default());
    let stream = Arc::new(StreamClock::new(clock.clone()));
    let mut opener = ScriptedOpener {
        script: script.into_iter().collect(),
        clock: clock.clone(),
        stream: stream.clone(),
        shutdown: shutdown.clone(),
        attempts: Vec::new(),
        may_leave_udp: Vec::new(),
    };
    let disconnected = RefCell::new(Vec::new());
    let supervisor = Supervisor {
        input: "rtsp://scripted/1".into(),
        policy: Reconnect::without_jitter(options, is_secure),
        outlet: &outlet,
        clock: &stream,
        audio: &audio,
        shutdown: &shutdown,
        disconnected: &|reason| disconnected.borrow_mut().push(reason.to_owned()),
        notice: &|_| {},
    };
    let result = supervisor.run(&mut opener);
    drop(outlet);
    Seen {
        result,
        attempts: opener.attempts,
        may_leave_udp: opener.may_leave_udp,
        disconnected: disconnected.into_inner(),
        events: events(&receiver),
    }
}

fn events(receiver: &Lanes<SourceEvent>) -> Vec<String> {
    let ms = |time: StreamTime| time.ns / 1_000_000;
    std::iter::from_fn(|| receiver.take(None).ok())
        .map(|received| match received.item {
            SourceEvent::Open(..) => "open".to_owned(),
            SourceEvent::Reopen(..) => "reopen".to_owned(),
            SourceEvent::Gap(_, gap) if gap.resumed => format!("gap {}..{} {}", ms(gap.from), ms(gap.to), gap.reason),
            SourceEvent::Gap(_, gap) => format!("gap {}.. until {} {}", ms(gap.from), ms(gap.to), gap.reason),
            _ => panic!("neither frames nor counts come from a supervisor"),
        })
        .collect()
}

fn options() -> LiveOptions {
    LiveOptions::default()
}

#[test]
fn a_source_that_never_worked_is_refused_at_once() {
    let seen = follow(&options(), [refused("connection refused")]);
    let error = seen.result.expect_err("refused");
    assert!(
        matches!(&error, SourceError::Unusable { problem, remedy, .. } if problem == "connection refused" && remedy == "a remedy")
    );
    assert_eq!((seen.attempts.len(), seen.disconnected, seen.events), (1, vec![], vec![]));
}

#[test]
fn an_outage_is_announced_once_and_its_delays_double() {
    let down = |_| refused("connection refused");
    // Half of 0.5, 1, 2, 4, 8, 16, 30, 30 and 30 s after one second of video; then the first delay again, if what came was worth it.
    for (frames, lasted, last) in [(1, 0, 15_000), (501, 20_000, 250)] {
        let script = [lost(26, "the server is gone")].into_iter().chain((0..8).map(down)).chain([ends(frames)]);
        let seen = follow(&options(), script);
        let mut times = vec![0, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000 + lasted];
        let delays = [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, last];
        for (n, delay) in delays.iter().enumerate() {
            for time in &mut times[n + 1..] {
                *time += delay;
            }
        }
        assert_eq!(seen.times(), times);
        assert_eq!(seen.disconnected, ["the server is gone", "the stream ended"]);
        let back = 1000 + delays[..9].iter().sum::<u128>();
        assert_eq!(
            seen.events,
            [
                "open".to_owned(),
                "reopen".to_owned(),
                format!("gap 1000..{back} the server is gone"),
                format!("gap {}.. until {} the stream ended", back + lasted, back + lasted + last),
            ]
        );
        assert!(matches!(seen.result, Ok(2)), "what each connection lost is summed");
    }
}

#[test]
fn a_stall_is_an_outage_from_the_last_frame_on() {
    let silence = Duration::from_secs(5);
    let stalls = Play { silence, ..plays(26, ConnectionEnd::Lost("no data received for 5 s".into())) };
    let seen = follow(&options(), [Attempt::Plays(stalls), ends(1)]);
    assert_eq!(seen.events[..3], ["open", "reopen", "gap 1000..6250 no data received for 5 s"]);
}

#[test]
fn with_wait_a_source_that_is_not_there_yet_is_tried_without_limit() {
    let wait = LiveOptions { wait: true, reconnect: Some(2), ..options() };
    let down = |_| refused("connection refused");
    let seen = follow(&wait, (0..5).map(down).chain([ends(1)]));
    assert_eq!(seen.times()[..4], [0, 250, 750, 1750]);
    assert_eq!(seen.disconnected, ["connection refused", "the stream ended"], "said once before the first connection");
    assert_eq!(seen.events[..1], ["open"], "a stream that has not begun has no outage");
    let never = LiveOptions { wait: true, reconnect: Some(0), ..options() };
    let seen = follow(&never, [refused("connection refused")]);
    assert!(matches!(seen.result, Err(SourceError::Broken { frames: 0, .. })));
}

#[test]
fn after_so_many_attempts_it_is_given_up() {
    let twice = LiveOptions { reconnect: Some(2), ..options() };
    let seen = follow(&twice, [lost(2, "gone"), refused("a"), lost(3, "gone again"), refused("b"), refused("c")]);
    let error = seen.result.expect_err("given up");
    assert_eq!(error.to_string(), "rtsp://scripted/1: failed after frame 5: c", "attempts count from each outage on");
    assert_eq!(seen.attempts.len(), 5);
    assert_eq!(seen.disconnected, ["gone", "gone again"]);
    assert_eq!(seen.events.len(), 4);
    assert!(seen.events[3].starts_with("gap ") && seen.events[3].contains("until"), "{:?}", seen.events);
}

#[test]
fn with_no_attempts_a_stream_that_ends_has_ended_and_one_that_is_lost_has_failed() {
    let never = LiveOptions { reconnect: Some(0), ..options() };
    let seen = follow(&never, [ends(3)]);
    assert!(matches!(seen.result, Ok(1)));
    assert_eq!((seen.disconnected.len(), seen.events), (0, vec!["open".to_owned()]));
    let seen = follow(&never, [lost(3, "gone")]);
    assert!(matches!(seen.result, Err(SourceError::Broken { frames: 3, .. })));
    assert_eq!(seen.events, ["open", "gap 80.. until 80 gone"]);
}

#[test]
fn auto_falls_back_to_tcp_and_keeps_what_works() {
    let by = |transport, frames, end| Attempt::Plays(Play { transport: Some(transport), ..plays(frames, end) });
    let gone = || ConnectionEnd::Lost("gone".into());
    let seen = follow(&options(), [refused_over_udp(), by(Transport::Tcp, 1, gone()), refused("down"), ends(1)]);
    assert_eq!(
        seen.transports()[..4],
        [Transport::Auto, Transport::Tcp, Transport::Tcp, Transport::Tcp],
        "what worked is tried first"
    );
    assert_eq!(seen.times()[..2], [0, 0], "at once");
    // A failure by TCP as well is a failure, and the next attempt begins with UDP.
    let wait = LiveOptions { wait: true, ..options() };
    let seen = follow(&wait, [refused_over_udp(), refused("down"), ends(1)]);
    assert_eq!(seen.transports()[..3], [Transport::Auto, Transport::Tcp, Transport::Auto]);
    let seen = follow(&options(), [refused_over_udp(), refused_over_udp()]);
    assert!(matches!(seen.result, Err(SourceError::Unusable { .. })), "there is nothing after TCP");
}

#[test]
fn a_transport_that_was_asked_for_is_the_only_one() {
    let udp = LiveOptions { transport: Transport::Udp, ..options() };
    let seen = follow(&udp, [refused_over_udp()]);
    assert_eq!(seen.transports(), [Transport::Udp]);
    assert!(matches!(seen.result, Err(SourceError::Unusable { .. })));
    let seen = follow_with(&options(), true, [ends(1)]);
    assert_eq!(seen.transports()[0], Transport::Tcp, "TLS never travels by UDP");
}

#[test]
fn a_busy_server_is_asked_three_times_more_before_that_counts() {
    let seen = follow(&options(), [busy(), busy(), busy(), ends(1)]);
    assert_eq!(seen.times()[..4], [0, 200, 700, 1700]);
    assert_eq!(seen.events[0], "open");
    let seen = follow(&options(), [busy(), busy(), busy(), busy()]);
    assert!(matches!(seen.result, Err(SourceError::Unusable { problem, .. }) if problem.contains("503")));
    // Each attempt of an outage asks as often.
    let once = LiveOptions { reconnect: Some(1), ..options() };
    let seen = follow(&once, [lost(1, "gone"), busy(), busy(), busy(), busy()]);
    assert_eq!(seen.times(), [0, 250, 450, 950, 1950]);
    assert!(matches!(seen.result, Err(SourceError::Broken { .. })));
}

#[test]
fn a_recording_ends_where_it_ends() {
    let recording = |end| Attempt::Plays(Play { is_recording: true, transport: None, ..plays(50, end) });
    let seen = follow(&options(), [recording(ConnectionEnd::EndOfStream)]);
    assert!(matches!(seen.result, Ok(1)));
    assert_eq!((seen.attempts.len(), seen.disconnected.len()), (1, 0));
    let seen = follow(&options(), [recording(ConnectionEnd::Lost("cut off".into()))]);
    assert!(matches!(seen.result, Err(SourceError::Broken { frames: 50, problem, .. }) if problem == "cut off"));
}

#[test]
fn audio_in_another_format_begins_new_tracks_on_a_new_connection() {
    let changed = Play { audio_changed: true, ..plays(9, ConnectionEnd::EndOfStream) };
    let seen = follow(&options(), [lost(1, "gone"), Attempt::Plays(changed), ends(1)]);
    assert_eq!(seen.times()[..3], [0, 250, 250], "at once");
    assert_eq!(seen.events[..3], ["open", "reopen", "gap 0..250 gone"]);
}

#[test]
fn a_stop_ends_it_wherever_it_is() {
    let seen = follow(&options(), [Attempt::IsStopped]);
    assert!(matches!(seen.result, Ok(0)) && seen.events.is_empty());
    // All that was asked for is delivered.
    let seen = follow(&options(), [Attempt::Plays(plays(5, ConnectionEnd::Stopped))]);
    assert!(matches!(seen.result, Ok(1)));
    assert_eq!(seen.events, ["open"]);
    // During an outage: that goes on record.
    let late = Attempt::Fails(Duration::from_secs(3), ConnectError::new("timed out", ""));
    let seen = follow(&options(), [lost(2, "gone"), late, Attempt::IsStopped]);
    assert_eq!(seen.events, ["open", "gap 40.. until 3790 gone"]);
}

#[test]
fn udp_that_loses_too_much_is_left_for_tcp_once() {
    let by = |transport, frames, end| Attempt::Plays(Play { transport: Some(transport), ..plays(frames, end) });
    let lossy = || by(Transport::Udp, 250, ConnectionEnd::Lossy("too many pictures lack packets".into()));
    let gone = || ConnectionEnd::Lost("gone".into());
    let seen = follow(&options(), [lossy(), by(Transport::Tcp, 50, gone()), refused("down"), ends(1)]);
    assert_eq!(seen.transports()[..4], [Transport::Auto, Transport::Tcp, Transport::Tcp, Transport::Tcp], "it stays");
    assert_eq!(seen.may_leave_udp[..4], [true, false, false, false]);
    assert_eq!(seen.times()[1], 249 * FRAME.as_millis(), "at once");
    assert_eq!(seen.disconnected[..2], ["too many pictures lack packets", "gone"]);
    // A server without TCP: UDP is better than nothing, however much it loses.
    let refused_tcp = Attempt::Fails(Duration::ZERO, ConnectError::of_transport("unsupported transport (461)", ""));
    let seen = follow(&options(), [lossy(), busy(), refused_tcp, lost(50, "gone"), ends(1)]);
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    assert_eq!(seen.transports()[..5], [Transport::Auto, tcp, tcp, udp, udp]);
    assert_eq!(seen.may_leave_udp[..5], [true, false, false, false, false]);
    assert_eq!(
        seen.disconnected[..2],
        ["too many pictures lack packets", "no connection over TCP (unsupported transport (461)): UDP is kept"]
    );
    // What was asked for is kept, and so is a connection that is the only one.
    for options in
        [LiveOptions { transport: Transport::Udp, ..options() }, LiveOptions { reconnect: Some(0), ..options() }]
    {
        assert!(!follow(&options, [ends(1)]).may_leave_udp[0]);
    }
}

#[test]
fn a_source_that_shows_a_frame_and_falls_silent_is_asked_less_and_less_often() {
    let silence = Duration::from_secs(5);
    let stalls = || Attempt::Plays(Play { silence, ..plays(1, ConnectionEnd::Lost("no data".into())) });
    let seen = follow(&options(), std::iter::repeat_with(stalls).take(8));
    let times = seen.times();
    let delays: Vec<u128> = times.windows(2).map(|pair| pair[1] - pair[0] - silence.as_millis()).collect();
    assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
}

#[test]
fn audio_that_differs_on_every_connection_does_not_reconnect_without_pause() {
    let changed = || Attempt::Plays(Play { audio_changed: true, ..plays(9, ConnectionEnd::EndOfStream) });
    let seen = follow(&options(), std::iter::once(lost(1, "gone")).chain(std::iter::repeat_with(changed).take(5)));
    let delays: Vec<u128> = seen.times().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(delays, [250, 0, 500, 1000, 2000, 4000]);
}
