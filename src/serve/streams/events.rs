//! A stream's JSON Lines as server-sent events, with ids by which a client goes on where it was.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::detections::Feed;

/// Lines taken at a time.
const AT_ONCE: usize = 64;

/// An event's id: the run's number, and the line's in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// The run's.
    pub run: u64,
    /// The line's, from 0.
    pub line: u64,
}

impl Id {
    /// As a client sends it back.
    pub fn parse(text: &str) -> Option<Self> {
        let (run, line) = text.trim().split_once('-')?;
        Some(Self { run: run.parse().ok()?, line: line.parse().ok()? })
    }
}

/// The line to begin with: after the last one that the client has of this run; else with the next one.
pub fn first(run: u64, feed: &Feed, last: Option<Id>) -> u64 {
    match last {
        Some(last) if last.run == run => last.line.saturating_add(1).min(feed.next()),
        // It has those of an earlier run: all of this one are new.
        Some(_) => 0,
        None => feed.next(),
    }
}

struct Reader {
    feed: Feed,
    changed: Arc<Notify>,
    run: u64,
    next: u64,
    waiting: VecDeque<Event>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

/// Events from line `next` of `feed` on, until the run ends. `place` is held meanwhile.
pub fn events(
    (feed, changed, run): (Feed, Arc<Notify>, u64),
    next: u64,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let reader = Reader { feed, changed, run, next, waiting: VecDeque::new(), ended: false, _place: place };
    stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(event) = reader.waiting.pop_front() {
                return Some((Ok(event), reader));
            }
            if reader.ended {
                return None;
            }
            let changed = reader.changed.clone();
            let notified = changed.notified();
            tokio::pin!(notified);
            // From here on, no change is missed.
            notified.as_mut().enable();
            reader.read();
            if reader.waiting.is_empty() && !reader.ended {
                notified.await;
            }
        }
    })
}

impl Reader {
    fn read(&mut self) {
        let read = self.feed.read(self.next, AT_ONCE);
        if read.missed > 0 {
            let missed = serde_json::json!({ "event": "missed", "lines": read.missed });
            self.waiting.push_back(Event::default().event("missed").data(missed.to_string()));
            self.next += read.missed;
        }
        for (number, line) in read.lines {
            self.next = number + 1;
            self.waiting.push_back(Event::default().id(format!("{}-{number}", self.run)).data(&*line));
        }
        if read.ended {
            self.ended = true;
            let ended = serde_json::json!({ "event": "stream", "state": "ended" });
            self.waiting.push_back(Event::default().event("ended").data(ended.to_string()));
        }
    }
}
