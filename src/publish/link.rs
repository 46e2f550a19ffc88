//! What a session works with: one stream's messages for one broker, in their order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::Notify;

use super::frigate::{self, Present};
use super::inbox::{Entry, Inbox, Taken};
use super::lines;
use super::message::Message;
use super::plan::{Format, Route};
use super::sink::EVENTS;
use super::spool::{Reader, Refused, Spool};
use super::voice::Voice;
use crate::text::counted;

/// How long what is written may lie in the system's memory.
pub(super) const SYNC: Duration = Duration::from_secs(1);
/// How long is waited for a broker at the end where it acknowledges nothing.
const LAST: Duration = Duration::from_secs(3);

/// One stream's messages for one broker.
pub(super) struct Link {
    pub route: Arc<Route>,
    pub format: Format,
    /// Home Assistant's prefix.
    pub home_assistant: Option<String>,
    /// By which the broker knows it.
    pub id: String,
    pub run: String,
    pub tls: Option<Arc<ClientConfig>>,
    /// A file with the certificates that are trusted, for who reads it itself; `None`: the system's.
    pub ca: Option<PathBuf>,
    pub voice: Arc<Voice>,
    spool: RefCell<Spool>,
    inbox: Inbox,
    /// The newest values, by topic, and how often one has changed.
    latest: RefCell<BTreeMap<String, (Vec<u8>, u64)>>,
    changes: Cell<u64>,
    is_open: Cell<bool>,
    is_ended: Cell<bool>,
    changed: Notify,
    /// Says that it is there, where streams share a topic for that.
    present: RefCell<Option<Present>>,
    /// Numbers that are lost and not told.
    lost: Cell<Option<(u64, u64)>>,
}

impl Link {
    pub fn new(
        (route, format, home_assistant): (Arc<Route>, Format, Option<String>),
        (spool, inbox): (Spool, Inbox),
        (id, run): (String, String),
        tls: Option<(Arc<ClientConfig>, Option<PathBuf>)>,
        voice: Arc<Voice>,
    ) -> Self {
        let (tls, ca) = tls.map_or((None, None), |(tls, ca)| (Some(tls), ca));
        let link = Self {
            route,
            format,
            home_assistant,
            id,
            run,
            tls,
            ca,
            voice,
            spool: RefCell::new(spool),
            inbox,
            latest: RefCell::default(),
            changes: Cell::new(0),
            is_open: Cell::new(false),
            is_ended: Cell::new(false),
            changed: Notify::new(),
            present: RefCell::default(),
            lost: Cell::new(None),
        };
        link.note();
        link
    }

    /// Takes what comes in until no more comes, and has it written.
    pub async fn take_in(&self) {
        let mut written = tokio::time::interval(SYNC);
        loop {
            let taken = tokio::select! {
                taken = self.inbox.take(self.is_open.get()) => taken,
                _ = written.tick() => {
                    self.sync();
                    continue;
                }
            };
            crate::thread::test_panic_point();
            let Taken { entries, latest, is_open, is_last } = taken;
            for entry in entries {
                self.store(entry);
            }
            for (topic, value) in latest {
                self.changes.set(self.changes.get() + 1);
                self.latest.borrow_mut().insert(topic, (value, self.changes.get()));
            }
            self.is_open.set(is_open);
            let is_there = is_open && !is_last;
            if !is_there {
                self.present.take();
            } else if self.present.borrow().is_none() {
                let topic = format!("{}/{}", self.route.target, self.route.prefix);
                self.present.replace(Some(Present::new(topic)));
            }
            if is_last {
                self.tell_lost(LOST_LINE);
                self.is_ended.set(true);
            }
            self.note();
            self.changed.notify_one();
            if is_last {
                return self.sync();
            }
        }
    }

    fn sync(&self) {
        if let Err(error) = self.spool.borrow_mut().sync() {
            self.voice.once(&format!("--spool {}: {error}", self.route.folder()));
        }
    }

    fn store(&self, entry: Entry) {
        let (produced, seq) = match entry {
            Entry::Message(produced, seq) => (produced, seq),
            Entry::Lost(first, last) => {
                return self.lose(first, last, "the disk of the spool is too slow: messages are lost");
            }
        };
        let mut payload = produced.payload;
        if self.format == Format::Streamdet {
            lines::number(&mut payload, self.told(), seq);
        }
        let message = Message { topic: produced.topic, run: self.run.clone(), key: seq.to_string(), payload };
        // What is missing is told in its place.
        if !self.tell_lost(0) {
            return self.lose(seq, seq, "");
        }
        match self.spool.borrow_mut().append(&message, 0) {
            Ok(()) => {}
            Err(Refused::Full) => {
                self.lose(seq, seq, "the spool is full: messages are lost until the broker takes some");
            }
            Err(Refused::Io(error)) => {
                self.lose(seq, seq, &format!("the spool cannot be written: {error}; messages are lost"));
            }
        }
    }

    fn told(&self) -> lines::Told<'_> {
        lines::Told { stream_name: &self.route.name, run: &self.run, epoch: self.route.epoch }
    }

    /// Counts messages that are lost, and says so where that is new.
    fn lose(&self, first: u64, last: u64, why: &str) {
        self.route.figures.lost.fetch_add(last - first + 1, Ordering::Relaxed);
        let before = self.lost.get();
        if before.is_none() {
            self.voice.say(&format!("{}: {}: {why}", self.route.name, self.route.target));
        }
        self.lost.set(Some((before.map_or(first, |(first, _)| first), last)));
    }

    /// Writes a line that takes the place of messages that were lost; whether none is missing any more. It may take `beyond`
    /// bytes more than the spool has.
    fn tell_lost(&self, beyond: u64) -> bool {
        let Some((first, last)) = self.lost.get() else { return true };
        if self.format == Format::Streamdet {
            let Route { name, stream, .. } = &*self.route;
            let message = Message {
                topic: format!("{name}/{EVENTS}"),
                run: self.run.clone(),
                key: format!("{first}-{last}"),
                payload: lines::lost(*stream, (first, last), self.told()),
            };
            if self.spool.borrow_mut().append(&message, beyond).is_err() {
                return false;
            }
        }
        self.lost.set(None);
        let lost = counted(last - first + 1, "message");
        self.voice.say(&format!("{}: {}: {lost} lost (seq {first} to {last})", self.route.name, self.route.target));
        true
    }

    /// What counters say.
    fn note(&self) {
        let (spool, figures) = (self.spool.borrow(), &self.route.figures);
        figures.waiting.store(spool.waiting(), Ordering::Relaxed);
        figures.bytes.store(spool.bytes(), Ordering::Relaxed);
    }

    /// A reader of all messages that the broker has not acknowledged.
    pub fn reader(&self) -> Reader {
        self.spool.borrow().reader()
    }

    /// The next message with its position; nothing where there is none yet.
    pub fn next(&self, reader: &mut Reader) -> Result<Option<(u64, Message)>, String> {
        reader.next(&self.spool.borrow()).map_err(|error| format!("the spool cannot be read: {error}"))
    }

    /// The broker has all messages up to this position, `count` of which it had not before.
    pub fn acked(&self, position: u64, count: u64) {
        self.route.figures.published.fetch_add(count, Ordering::Relaxed);
        let noted = self.spool.borrow_mut().ack(position);
        if self.is_ended() {
            // There may have been no room for it at the end.
            self.tell_lost(LOST_LINE);
        }
        self.note();
        if let Err(error) = noted {
            // It is sent again by the next run, which is better than never.
            self.voice
                .once(&format!("{}: {}: the spool cannot be written: {error}", self.route.name, self.route.target));
        }
    }

    /// The broker will never take this message.
    pub fn refused(&self, message: &Message, why: &str) {
        self.route.figures.lost.fetch_add(1, Ordering::Relaxed);
        let Message { topic, key, .. } = message;
        self.voice.say(&format!("{}: {topic}, seq {key}: not published: {why}", self.route.target));
    }

    /// Something has changed: there are messages, values, or no more of them.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns when no more messages come, unless that was so before.
    pub async fn ended(&self) {
        loop {
            self.changed().await;
            if self.is_ended() {
                break;
            }
        }
    }

    /// No more messages come.
    pub fn is_ended(&self) -> bool {
        self.is_ended.get()
    }

    /// Whether the stream was there, if only for a moment.
    pub fn has_opened(&self) -> bool {
        self.is_open.get()
    }

    /// Topic and value of whether the stream is there; where streams share the topic, whether one is.
    pub fn state(&self) -> (String, &'static [u8]) {
        let (topic, is_there) = match self.format {
            Format::Frigate => {
                let topic = format!("{}/{}", self.route.target, self.route.prefix);
                (frigate::AVAILABLE.to_owned(), Present::is_any(&topic))
            }
            Format::Streamdet | Format::DeepStreamMinimal => {
                (format!("{}/state", self.route.name), self.present.borrow().is_some())
            }
        };
        (topic, if is_there { ONLINE } else { b"offline" })
    }

    /// Whether a value changed after `seen`.
    pub fn has_newer(&self, seen: u64) -> bool {
        self.changes.get() > seen
    }

    /// Values that changed after `seen`, and how often values have changed.
    pub fn latest(&self, seen: u64) -> (Vec<(String, Vec<u8>)>, u64) {
        let latest = self.latest.borrow();
        let newer = latest.iter().filter(|(_, (_, change))| *change > seen);
        (newer.map(|(topic, (value, _))| (topic.clone(), value.clone())).collect(), self.changes.get())
    }

    /// Returns when the stream has ended and the broker takes nothing any more.
    pub async fn given_up(&self) {
        loop {
            let before = self.spool.borrow().waiting();
            tokio::time::sleep(LAST).await;
            if self.is_ended.get() && self.spool.borrow().waiting() == before {
                break;
            }
        }
    }

    /// Says what is left for the next run.
    pub fn conclude(&self) {
        self.note();
        let left = self.spool.borrow().waiting();
        if left > 0 {
            let left = counted(left, "message");
            self.voice.say(&format!(
                "{}: {}: {left} not acknowledged, kept on disk: the next run of this stream sends them",
                self.route.name, self.route.target
            ));
        }
    }
}

/// Value of a stream that is there.
pub(super) const ONLINE: &[u8] = b"online";
/// More than a line of what was lost takes.
const LOST_LINE: u64 = 1024;
