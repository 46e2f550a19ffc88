//! A live source over all its connections: a loop that opens one connection after the other and does with its end what the
//! [policy](super::reconnect) says. How connections are opened and what time it is are injected.

use std::time::Duration;

use super::audio::StreamAudio;
use super::connection::{Connection, OpenError, Opener};
use super::error::SourceError;
use super::heap::trim_heap;
use super::outlet::{Outlet, SourceEvent};
use super::reconnect::{Next, Reconnect};
use super::stream_clock::StreamClock;
use crate::clock::StreamTime;
use crate::shutdown::Shutdown;
use crate::stream::Gap;
use crate::thread::test_panic_point;

/// Keeps one live source connected.
pub(super) struct Supervisor<'a> {
    /// What the user named, without secrets.
    pub input: String,
    pub policy: Reconnect,
    pub outlet: &'a Outlet,
    pub clock: &'a StreamClock,
    pub audio: &'a StreamAudio,
    pub shutdown: &'a Shutdown,
    /// Told why the source is disconnected, when an outage begins.
    pub disconnected: &'a dyn Fn(&str),
    /// Told what a user should know of a connection.
    pub notice: &'a dyn Fn(&str),
}

/// What has come of it so far.
#[derive(Default)]
struct Progress {
    /// Since when the stream is disconnected, and why.
    outage: Option<(StreamTime, String)>,
    /// Frames that were decoded.
    frames: u64,
    /// Encoded frames that were never decoded.
    lost: u64,
}

impl Supervisor<'_> {
    /// Runs until the source ends, is given up, or a stop is requested. Returns the encoded frames that were never decoded.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] when there never was a connection, [`SourceError::Broken`] when it is given up later.
    pub fn run(mut self, opener: &mut dyn Opener) -> Result<u64, SourceError> {
        let mut progress = Progress::default();
        let result = loop {
            test_panic_point();
            match self.run_once(opener, &mut progress) {
                Next::Retry { after, outage } => {
                    self.begin_outage(outage, &mut progress);
                    if !self.pause(after) {
                        break Ok(progress.lost);
                    }
                }
                Next::Done => break Ok(progress.lost),
                Next::Unusable(error) => {
                    let (problem, remedy) = (error.problem, error.remedy);
                    break Err(SourceError::Unusable { input: self.input.clone(), problem, remedy });
                }
                Next::GiveUp { problem, outage } => {
                    self.begin_outage(outage, &mut progress);
                    break Err(SourceError::Broken { input: self.input.clone(), frames: progress.frames, problem });
                }
            }
        };
        if let Some((from, reason)) = progress.outage {
            self.note(SourceEvent::Gap(
                self.outlet.stream,
                Box::new(Gap { from, to: self.clock.now(), reason, resumed: false }),
            ));
        }
        result
    }

    /// One connection, from its opening to its end.
    fn run_once(&mut self, opener: &mut dyn Opener, progress: &mut Progress) -> Next {
        let mut connection = match opener.open(self.policy.transport(), self.policy.may_leave_udp()) {
            Ok(connection) => connection,
            Err(OpenError::Stopped) => return Next::Done,
            Err(OpenError::Failed(error)) => return self.policy.failed(error),
        };
        if connection.audio_changed() {
            // Its tracks begin anew, as does the file.
            self.audio.close();
            return self.policy.audio_changed();
        }
        self.announce(&*connection, progress);
        self.policy.connected(connection.transport());
        let begun = self.outlet.clock.now();
        let end = connection.run(self.notice);
        // Silence at its end is no sign that it works.
        let lasted = connection.last_frame().map_or(Duration::ZERO, |last| last.since(begun));
        progress.lost += connection.lost();
        progress.frames += connection.frames();
        let is_recording = connection.is_recording();
        drop(connection);
        trim_heap(self.outlet.clock.now());
        self.policy.ended(end, is_recording, lasted)
    }

    /// Says downstream what comes, and from when to when nothing did.
    fn announce(&self, connection: &dyn Connection, progress: &mut Progress) {
        let stream = self.outlet.stream;
        let opening = Box::new((connection.info().clone(), connection.take_audio()));
        let is_new = !self.policy.is_established();
        self.note(if is_new { SourceEvent::Open(stream, opening) } else { SourceEvent::Reopen(stream, opening) });
        if let Some((from, reason)) = progress.outage.take() {
            let gap = Gap { from, to: connection.resumes_at(), reason, resumed: true };
            self.note(SourceEvent::Gap(stream, Box::new(gap)));
        }
    }

    /// The source is disconnected from now on, for this reason, if there is one. Where there never was a connection, that is
    /// no outage of the stream, which has not begun.
    fn begin_outage(&self, reason: Option<String>, progress: &mut Progress) {
        let Some(reason) = reason else { return };
        (self.disconnected)(&reason);
        if self.policy.is_established() {
            progress.outage = Some((self.clock.last().unwrap_or_default(), reason));
        }
    }

    /// Waits; whether to go on.
    fn pause(&self, time: Duration) -> bool {
        if time.is_zero() { !self.shutdown.is_requested() } else { self.outlet.clock.pause(time, self.shutdown) }
    }

    fn note(&self, event: SourceEvent) {
        // Where the receiver is gone, the run has ended: the next frame ends the connection.
        self.outlet.events.note(event).ok();
    }
}

#[cfg(test)]
mod tests;
