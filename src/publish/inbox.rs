//! From a stream's thread to the one that publishes: messages with their numbers. The stream's thread never waits for a
//! broker; that of a recording waits a moment for the disk, that of a live source not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Deadline;

/// Bytes that wait, at most.
const BYTES: usize = 8 << 20;
/// How long a recording's thread waits for room.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was produced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A message: its topic below the prefix, its number, what it says.
    Message(Produced, u64),
    /// Messages of these numbers, from the first to the last, did not fit.
    Lost(u64, u64),
}

/// A message without its number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Produced {
    /// Its topic, below the prefix.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Number of the next message.
    next: u64,
    /// Values of which only the newest counts, by topic.
    latest: Vec<(String, Vec<u8>)>,
    /// The stream is there.
    is_open: bool,
    /// No more messages come.
    is_ended: bool,
    /// Nobody takes them any more.
    is_gone: bool,
}

/// Both ends.
#[derive(Clone, Default)]
pub(super) struct Inbox(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    room: Condvar,
    changed: Notify,
}

/// What was taken out of it.
#[derive(Default)]
pub(super) struct Taken {
    pub entries: VecDeque<Entry>,
    pub latest: Vec<(String, Vec<u8>)>,
    /// The stream is there.
    pub is_open: bool,
    /// There will be no more.
    pub is_last: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a message over; whether there was room. `may_wait`: for a moment.
    pub fn push(&self, produced: Produced, may_wait: bool) -> bool {
        let mut waiting = self.lock();
        let deadline = Deadline::after(if may_wait { PATIENCE } else { Duration::ZERO });
        while waiting.bytes + produced.payload.len() > BYTES && !waiting.is_gone && !deadline.is_over() {
            waiting = self.0.room.wait_timeout(waiting, deadline.left()).unwrap_or_else(PoisonError::into_inner).0;
        }
        let number = waiting.next;
        waiting.next += 1;
        let fits = !waiting.is_gone && waiting.bytes + produced.payload.len() <= BYTES;
        if fits {
            waiting.bytes += produced.payload.len();
            waiting.entries.push_back(Entry::Message(produced, number));
        } else if let Some(Entry::Lost(_, last)) = waiting.entries.back_mut() {
            *last = number;
        } else if !waiting.is_gone {
            waiting.entries.push_back(Entry::Lost(number, number));
        }
        drop(waiting);
        self.0.changed.notify_one();
        fits
    }

    /// Whether a message of so many bytes finds room now.
    pub fn takes(&self, bytes: usize) -> bool {
        self.lock().bytes + bytes <= BYTES
    }

    /// Hands a value over that takes the place of an older one.
    pub fn set(&self, topic: &str, payload: Vec<u8>) {
        let mut waiting = self.lock();
        match waiting.latest.iter_mut().find(|(known, _)| known == topic) {
            Some((_, value)) => *value = payload,
            None => waiting.latest.push((topic.to_owned(), payload)),
        }
        drop(waiting);
        self.0.changed.notify_one();
    }

    /// The stream is there.
    pub fn open(&self) {
        self.lock().is_open = true;
        self.0.changed.notify_one();
    }

    /// No more messages come.
    pub fn end(&self) {
        self.lock().is_ended = true;
        self.0.changed.notify_one();
    }

    /// Everything that is there, once there is something; `was_open`: the stream was there before.
    pub async fn take(&self, was_open: bool) -> Taken {
        loop {
            {
                let mut waiting = self.lock();
                let is_new = !waiting.entries.is_empty() || !waiting.latest.is_empty() || waiting.is_open != was_open;
                if is_new || waiting.is_ended {
                    waiting.bytes = 0;
                    self.0.room.notify_all();
                    let (entries, latest) = (std::mem::take(&mut waiting.entries), std::mem::take(&mut waiting.latest));
                    return Taken { entries, latest, is_open: waiting.is_open, is_last: waiting.is_ended };
                }
            }
            self.0.changed.notified().await;
        }
    }

    /// Whether nobody takes messages any more.
    pub fn is_gone(&self) -> bool {
        self.lock().is_gone
    }

    /// Nobody takes messages any more: whoever waits for room goes on. How many were left.
    pub fn close(&self) -> u64 {
        let mut waiting = self.lock();
        waiting.is_gone = true;
        let left = waiting.entries.drain(..).filter(|entry| matches!(entry, Entry::Message(..))).count();
        self.0.room.notify_all();
        left as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produced(bytes: usize) -> Produced {
        Produced { topic: "t".into(), payload: vec![0; bytes] }
    }

    fn taken(inbox: &Inbox) -> Taken {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(inbox.take(false))
    }

    #[test]
    fn what_does_not_fit_is_numbered_and_told_in_its_place() {
        let inbox = Inbox::default();
        let fits: Vec<bool> = (0..6).map(|_| inbox.push(produced(3 << 20), false)).collect();
        assert_eq!(fits, [true, true, false, false, false, false]);
        assert!(inbox.push(produced(1), false));
        inbox.set("counts", b"1".to_vec());
        inbox.set("counts", b"2".to_vec());
        let Taken { entries, latest, is_last, .. } = taken(&inbox);
        let told: Vec<(u64, u64)> = entries
            .iter()
            .map(|entry| match entry {
                Entry::Message(_, number) => (*number, *number),
                Entry::Lost(first, last) => (*first, *last),
            })
            .collect();
        assert_eq!(told, [(0, 0), (1, 1), (2, 5), (6, 6)]);
        assert_eq!((latest, is_last), (vec![("counts".to_owned(), b"2".to_vec())], false));
        assert!(inbox.push(produced(7 << 20), false), "there is room again");
        inbox.end();
        assert!(taken(&inbox).is_last);
    }

    #[test]
    fn whoever_waits_for_room_goes_on_when_nobody_takes_any_more() {
        let inbox = Inbox::default();
        inbox.push(produced(BYTES), true);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| inbox.push(produced(1), true));
            assert_eq!(inbox.close(), 1);
            assert!(!waits.join().expect("no panic"));
        });
    }
}
