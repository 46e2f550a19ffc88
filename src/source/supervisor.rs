//! A live source over all its connections: connects, waits, notices that it is away, and tries again.

use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, Kind};
use super::course::Course;
use super::live::{Connection, Ending, Failure, LiveOptions, Plan, Transport};
use super::refusal::Refusal;
use crate::backoff::Backoff;
use crate::channel::WhenFull;
use crate::clock::StreamTime;
use crate::shutdown::Shutdown;
use crate::source::{Outlet, SourceError, SourceEvent, Wanted, page};
use crate::stream::Gap;

/// Delays between attempts to reconnect: the first, and the longest.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// How long a server that is busy is given before it is asked again.
const BUSY: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

/// Watches `address` until it ends, is given up, or `shutdown` is requested; says to `disconnected` why it reconnects.
/// Returns the encoded frames that were never decoded.
///
/// # Errors
/// [`SourceError::Unusable`] when it never worked, [`SourceError::Broken`] when it is given up after it did.
pub fn watch(
    address: &Address,
    options: &LiveOptions,
    wanted: &Wanted,
    outlet: &Outlet,
    shutdown: &Shutdown,
    disconnected: &dyn Fn(&str),
) -> Result<u64, SourceError> {
    let course = Arc::new(Course::new(outlet.clock.clone()));
    let result = Supervisor {
        address,
        options,
        wanted,
        outlet,
        shutdown,
        disconnected,
        course: &course,
        found: None,
        away: None,
    }
    .run();
    course.close_sounds();
    // Whatever is sent from here on has its place.
    outlet.events.set_when_full(WhenFull::Wait);
    result
}

/// Returns to the system what a connection's threads have freed. Their allocations lie scattered over the allocator's arenas,
/// one of which every thread gets: without this, the memory of a thousand connections grew by a twentieth with nothing leaked.
fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

struct Supervisor<'a> {
    address: &'a Address,
    options: &'a LiveOptions,
    wanted: &'a Wanted,
    outlet: &'a Outlet,
    shutdown: &'a Shutdown,
    disconnected: &'a dyn Fn(&str),
    course: &'a Arc<Course>,
    /// The transport that worked.
    found: Option<Transport>,
    /// Since when the stream is away, and why.
    away: Option<(StreamTime, String)>,
}

impl Supervisor<'_> {
    fn run(mut self) -> Result<u64, SourceError> {
        let (mut backoff, mut worked, mut failed, mut lost, mut frames) =
            (Backoff::new(FIRST_DELAY, LONGEST_DELAY), false, 0, 0, 0);
        let stopping = || self.shutdown.is_requested();
        loop {
            let refusal = match self.connect() {
                Ok(mut connection) => {
                    if connection.sound_changed() {
                        // Its tracks begin anew, as does the file.
                        self.course.close_sounds();
                        continue;
                    }
                    self.found = Some(connection.transport()).filter(|_| self.address.kind == Kind::Rtsp);
                    self.open(&mut connection, &mut worked);
                    let ending = connection.wait(&stopping);
                    lost += connection.lost();
                    frames += connection.frames();
                    let recorded = connection.recorded;
                    drop(connection);
                    give_memory_back();
                    let reason = match ending {
                        Ending::Enough => return Ok(lost),
                        Ending::Over if recorded || self.options.reconnect == Some(0) => return Ok(lost),
                        Ending::Over => "the stream ended".to_owned(),
                        Ending::Lost(reason) if recorded => return Err(self.broken(frames, reason)),
                        Ending::Lost(reason) => reason,
                    };
                    backoff.reset();
                    failed = 0;
                    (self.disconnected)(&reason);
                    self.away = Some((self.course.last().unwrap_or_default(), reason.clone()));
                    Refusal::new(reason, "")
                }
                Err(Failure::Interrupted) => {
                    self.stay_away();
                    return Ok(lost);
                }
                Err(Failure::Refused(refusal)) => {
                    if !worked && !self.options.wait {
                        return Err(self.unusable(refusal));
                    }
                    failed += 1;
                    if self.away.is_none() && failed == 1 {
                        (self.disconnected)(&refusal.problem);
                    }
                    refusal
                }
            };
            if self.options.reconnect.is_some_and(|most| failed >= most)
                && (worked || self.options.reconnect == Some(0))
            {
                self.stay_away();
                return Err(self.broken(frames, refusal.problem));
            }
            if !self.pauses(backoff.next_delay()) {
                self.stay_away();
                return Ok(lost);
            }
        }
    }

    /// Connects, by TCP where UDP brings nothing.
    fn connect(&self) -> Result<Connection, Failure> {
        let asked = self.options.transport;
        let first = match asked {
            Transport::Auto if self.address.is_secure() => Transport::Tcp,
            Transport::Auto => self.found.unwrap_or(Transport::Auto),
            asked => asked,
        };
        let found = page::find(self.address).map_err(Failure::Refused)?;
        let plan = |transport| Plan {
            address: &found,
            options: self.options,
            wanted: self.wanted,
            outlet: self.outlet,
            course: self.course,
            transport,
        };
        let stopping = || self.shutdown.is_requested();
        let mut transport = first;
        let mut again = 0;
        loop {
            match Connection::open(&plan(transport), &stopping) {
                Err(Failure::Refused(refusal))
                    if refusal.by_transport && asked == Transport::Auto && transport != Transport::Tcp =>
                {
                    transport = Transport::Tcp;
                }
                Err(Failure::Refused(refusal)) if refusal.passing && again < BUSY.len() && self.pauses(BUSY[again]) => {
                    again += 1;
                }
                other => return other,
            }
        }
    }

    /// Waits; whether something is wanted after it.
    fn pauses(&self, time: Duration) -> bool {
        self.outlet.clock.pause(time, self.shutdown)
    }

    /// Says downstream what comes, and lets it come.
    fn open(&mut self, connection: &mut Connection, worked: &mut bool) {
        let stream = self.outlet.stream;
        let opening = Box::new((connection.info().clone(), connection.take_sides()));
        let event = if *worked { SourceEvent::Reopen(stream, opening) } else { SourceEvent::Open(stream, opening) };
        *worked = true;
        let _ = self.outlet.events.note(event);
        if let Some((from, reason)) = self.away.take() {
            let gap = Gap { from, to: connection.resumes_at(), reason, resumed: true };
            let _ = self.outlet.events.note(SourceEvent::Gap(stream, Box::new(gap)));
        }
        connection.release();
    }

    /// The stream is away at the end of the run.
    fn stay_away(&mut self) {
        if let Some((from, reason)) = self.away.take() {
            let gap = Gap { from, to: self.course.now(), reason, resumed: false };
            let _ = self.outlet.events.note(SourceEvent::Gap(self.outlet.stream, Box::new(gap)));
        }
    }

    fn unusable(&self, refusal: Refusal) -> SourceError {
        SourceError::Unusable { input: self.address.to_string(), problem: refusal.problem, remedy: refusal.remedy }
    }

    fn broken(&self, frames: u64, problem: String) -> SourceError {
        SourceError::Broken { input: self.address.to_string(), frames, problem }
    }
}
