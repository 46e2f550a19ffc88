//! Whether a stream delivers the frames that it should.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::HostTime;

/// What is known of whether a stream delivers frames.
pub(super) struct Watched {
    uri: String,
    pub is_live: bool,
    /// It was opened, and is not disconnected.
    is_connected: AtomicBool,
    has_ended: AtomicBool,
    /// When its newest frame was processed, ns; 0 before the first.
    newest: AtomicU64,
    /// Outages that are over, ns, and when the one that goes on began, ns; 0 where none does.
    outages: AtomicU64,
    outage_since: AtomicU64,
    /// The most that was told of them, ns: a counter does not fall.
    told: AtomicU64,
}

impl Watched {
    pub fn new(uri: String) -> Self {
        Self {
            uri,
            is_live: false,
            is_connected: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            newest: AtomicU64::new(0),
            outages: AtomicU64::new(0),
            outage_since: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// How long ago its newest frame was.
    pub fn age(&self, now: HostTime) -> Option<Duration> {
        Some(self.newest.load(Ordering::Relaxed))
            .filter(|ns| *ns > 0)
            .map(|ns| now.since(HostTime::from_start(Duration::from_nanos(ns))))
    }

    /// Whether it delivers frames.
    pub fn is_up(&self, now: HostTime, stall_timeout: Duration) -> bool {
        let is_in_time = || !self.is_live || self.age(now).is_none_or(|age| age <= stall_timeout);
        self.is_connected.load(Ordering::Relaxed) && !self.has_ended.load(Ordering::Relaxed) && is_in_time()
    }

    /// It delivers nothing any more.
    pub fn end(&self, now: HostTime) {
        // That is no outage which goes on.
        self.connect();
        self.end_outage(now);
        self.has_ended.store(true, Ordering::Relaxed);
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Its newest frame was processed.
    pub fn frame(&self, at: HostTime) {
        self.newest.store(ns(at), Ordering::Relaxed);
        if self.is_connected.load(Ordering::Relaxed) {
            self.end_outage(at);
        } else if self.outage_since.load(Ordering::Relaxed) > 0 {
            // It was still on its way when the stream was disconnected.
            self.outage_since.store(ns(at), Ordering::Relaxed);
        }
    }

    /// Why it does not deliver what it should, where that is so.
    pub fn missing(&self, now: HostTime, stall_timeout: Duration) -> Option<String> {
        if self.has_ended.load(Ordering::Relaxed) {
            return None;
        }
        match self.age(now) {
            None => Some(format!("{}: no frame has been processed yet", self.uri)),
            Some(age) if self.is_live && (age > stall_timeout || !self.is_connected.load(Ordering::Relaxed)) => {
                Some(format!("{}: no frame for {} s", self.uri, age.as_secs()))
            }
            Some(_) => None,
        }
    }

    pub fn connect(&self) {
        self.is_connected.store(true, Ordering::Relaxed);
    }

    /// An outage was so long, by the stream's own time: from the last frame before it to the first after it.
    pub fn outage(&self, length: Duration) {
        if self.outage_since.swap(0, Ordering::Relaxed) > 0 {
            self.outages.fetch_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// It is over, if there is one whose length was not told.
    fn end_outage(&self, now: HostTime) {
        let since = self.outage_since.swap(0, Ordering::Relaxed);
        if since > 0 {
            self.outages.fetch_add(ns(now).saturating_sub(since), Ordering::Relaxed);
        }
    }

    pub fn disconnect(&self, now: HostTime) {
        if self.is_connected.swap(false, Ordering::Relaxed) {
            let newest = self.newest.load(Ordering::Relaxed);
            self.outage_since.store(if newest > 0 { newest } else { ns(now) }, Ordering::Relaxed);
        }
    }

    /// How long it was away in all, each time from its last frame on, s.
    pub fn outages_s(&self, now: HostTime) -> f64 {
        let since = self.outage_since.load(Ordering::Relaxed);
        let current = if since > 0 { ns(now).saturating_sub(since) } else { 0 };
        let all = self.outages.load(Ordering::Relaxed) + current;
        Duration::from_nanos(self.told.fetch_max(all, Ordering::Relaxed).max(all)).as_secs_f64()
    }
}

fn ns(time: HostTime) -> u64 {
    u64::try_from(time.since_start().as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_delivers_nothing_is_down_and_its_outage_counts() {
        let at = |s: u64| HostTime::from_start(Duration::from_secs(s));
        let stall = Duration::from_secs(5);
        let mut stream = Watched { is_live: true, ..Watched::new("rtsp://cam/x".into()) };
        assert_eq!(stream.missing(at(1), stall).as_deref(), Some("rtsp://cam/x: no frame has been processed yet"));
        stream.connect();
        stream.frame(at(10));
        assert!(stream.is_up(at(15), stall) && stream.missing(at(15), stall).is_none());
        // It is silent, which is not known to be an outage yet.
        assert!(!stream.is_up(at(16), stall));
        assert_eq!(stream.missing(at(29), stall).as_deref(), Some("rtsp://cam/x: no frame for 19 s"));
        stream.disconnect(at(16));
        stream.disconnect(at(17));
        assert!((stream.outages_s(at(29)) - 19.0).abs() < 1e-9, "from its last frame on");
        stream.frame(at(12));
        stream.connect();
        assert!((stream.outages_s(at(31)) - 19.0).abs() < 1e-9, "the last one was late");
        stream.outage(Duration::from_millis(20_500));
        stream.frame(at(33));
        assert!((stream.outages_s(at(90)) - 20.5).abs() < 1e-9, "as the report has it");
        // What was told is not taken back.
        stream.disconnect(at(91));
        assert!((stream.outages_s(at(93)) - 80.5).abs() < 1e-9);
        stream.outage(Duration::from_secs(59));
        assert!((stream.outages_s(at(94)) - 80.5).abs() < 1e-9);
        stream.connect();
        stream.is_live = false;
        assert!(stream.is_up(at(90), stall), "a recording is never late");
        stream.end(at(90));
        assert!(!stream.is_up(at(91), stall) && stream.missing(at(91), stall).is_none());
    }
}
