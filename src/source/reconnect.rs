//! What happens when a connection fails or ends: whether to try again, when, by which transport, and when to give up. It
//! knows no network and no clock.

use std::time::Duration;

use super::connection::ConnectionEnd;
use super::error::ConnectError;
use super::options::{LiveOptions, Transport};
use crate::backoff::Backoff;

/// Delays between attempts to reconnect: the first, and the longest.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Delays after which a server that is busy is asked again, before that counts as a failure.
const BUSY_DELAYS: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

/// What became of UDP, where it loses too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Udp {
    /// It is used where it works.
    Used,
    /// For TCP, which has not worked yet.
    Left,
    /// Since TCP did not.
    Kept,
}

/// The reconnect policy of one source, and where it stands.
#[derive(Debug)]
pub(super) struct Reconnect {
    /// Attempts after an outage began; unlimited without.
    attempts: Option<u64>,
    /// Keeps trying when the source is not available at the start.
    wait: bool,
    asked: Transport,
    /// The transport that worked.
    known: Option<Transport>,
    /// The transport of the next attempt.
    transport: Transport,
    udp: Udp,
    /// The last connection was given up for its audio.
    audio_changed: bool,
    backoff: Backoff,
    /// Whether there ever was a connection.
    established: bool,
    /// The delay before the last attempt.
    waited: Duration,
    /// Failures since the last connection.
    failed: u64,
    /// Answers since the last failure that the server is busy.
    busy: usize,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Connects again after a delay.
    Retry {
        /// How long to wait before.
        after: Duration,
        /// Why an outage begins here.
        outage: Option<String>,
    },
    /// Nothing more comes, as it should be.
    Done,
    /// The source cannot be used: there never was a connection.
    Unusable(ConnectError),
    /// The source failed and is not tried again.
    GiveUp {
        /// Why.
        problem: String,
        /// Why an outage begins here.
        outage: Option<String>,
    },
}

impl Reconnect {
    /// As the options say; `is_secure` is for addresses with TLS, which never travel by UDP.
    pub fn new(options: &LiveOptions, is_secure: bool) -> Self {
        Self::with_backoff(options, is_secure, Backoff::new(FIRST_DELAY, LONGEST_DELAY))
    }

    fn with_backoff(options: &LiveOptions, is_secure: bool, backoff: Backoff) -> Self {
        let mut reconnect = Self {
            attempts: options.reconnect,
            wait: options.wait,
            asked: if options.transport == Transport::Auto && is_secure { Transport::Tcp } else { options.transport },
            known: None,
            transport: options.transport,
            udp: Udp::Used,
            audio_changed: false,
            backoff,
            established: false,
            waited: Duration::ZERO,
            failed: 0,
            busy: 0,
        };
        reconnect.transport = reconnect.first_transport();
        reconnect
    }

    /// The same without jitter: each delay is half of the longest it could be.
    #[cfg(test)]
    pub fn without_jitter(options: &LiveOptions, is_secure: bool) -> Self {
        Self::with_backoff(options, is_secure, Backoff::with_random(FIRST_DELAY, LONGEST_DELAY, || 0))
    }

    /// The transport to connect with.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether there ever was a connection.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether a connection that loses too much over UDP is given up for one over TCP: once, and where it may be given up at all.
    pub fn may_leave_udp(&self) -> bool {
        let may_change = self.asked == Transport::Auto && self.transport != Transport::Tcp;
        may_change && self.udp != Udp::Kept && self.attempts != Some(0)
    }

    fn first_transport(&self) -> Transport {
        match self.asked {
            Transport::Auto => self.known.unwrap_or(Transport::Auto),
            asked => asked,
        }
    }

    /// There is a connection, by `transport` where the source has a choice.
    pub fn connected(&mut self, transport: Option<Transport>) {
        self.known = transport.or(self.known);
        self.established = true;
        if self.udp == Udp::Left {
            self.udp = Udp::Used;
        }
        self.audio_changed = false;
        self.failed = 0;
        self.busy = 0;
        self.transport = self.first_transport();
    }

    /// There is none, for this reason.
    pub fn failed(&mut self, error: ConnectError) -> Next {
        if error.other_transport && self.asked == Transport::Auto && self.transport != Transport::Tcp {
            self.transport = Transport::Tcp;
            return Next::Retry { after: Duration::ZERO, outage: None };
        }
        if self.udp == Udp::Left && !error.transient {
            self.udp = Udp::Kept;
            self.known = Some(Transport::Udp);
            self.transport = self.first_transport();
            let reason = format!("no connection over TCP ({}): UDP is kept", error.problem);
            return Next::Retry { after: Duration::ZERO, outage: Some(reason) };
        }
        if error.transient
            && let Some(after) = BUSY_DELAYS.get(self.busy)
        {
            self.busy += 1;
            return Next::Retry { after: *after, outage: None };
        }
        if !self.established && !self.wait {
            return Next::Unusable(error);
        }
        self.failed += 1;
        self.busy = 0;
        self.transport = self.first_transport();
        // Later failures are part of an outage that has begun already.
        let outage = (!self.established && self.failed == 1).then(|| error.problem.clone());
        self.retry(error.problem, outage)
    }

    /// The audio has another format than on the connections before, and is taken by a new connection: at once, unless that was
    /// just done.
    pub fn audio_changed(&mut self) -> Next {
        if std::mem::replace(&mut self.audio_changed, true) {
            self.waited = self.backoff.next_delay();
            return Next::Retry { after: self.waited, outage: None };
        }
        Next::Retry { after: Duration::ZERO, outage: None }
    }

    /// The connection has ended, having shown frames for so long; `is_recording` says that it played a recording. One that was shorter
    /// than the delay before it is no better than none: the backoff goes on.
    pub fn ended(&mut self, end: ConnectionEnd, is_recording: bool, lasted: Duration) -> Next {
        if lasted >= self.waited {
            self.backoff.reset();
        }
        let reason = match end {
            ConnectionEnd::Stopped => return Next::Done,
            ConnectionEnd::EndOfStream if is_recording || self.attempts == Some(0) => return Next::Done,
            ConnectionEnd::EndOfStream => "the stream ended".to_owned(),
            ConnectionEnd::Lost(problem) if is_recording => return Next::GiveUp { problem, outage: None },
            ConnectionEnd::Lost(problem) => problem,
            ConnectionEnd::Lossy(problem) => {
                self.known = Some(Transport::Tcp);
                self.transport = self.first_transport();
                self.udp = Udp::Left;
                return Next::Retry { after: Duration::ZERO, outage: Some(problem) };
            }
        };
        self.retry(reason.clone(), Some(reason))
    }

    fn retry(&mut self, problem: String, outage: Option<String>) -> Next {
        let is_over = self.attempts.is_some_and(|most| self.failed >= most);
        // A source that was never there is waited for without limit, unless nothing is ever to be tried again.
        if is_over && (self.established || self.attempts == Some(0)) {
            return Next::GiveUp { problem, outage };
        }
        self.waited = self.backoff.next_delay();
        Next::Retry { after: self.waited, outage }
    }
}
