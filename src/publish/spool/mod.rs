//! Messages on disk until the broker has acknowledged them: segments of records with checksums, in order, bounded in size.
//!
//! A message is written to the kernel before it is sent, so that it outlasts the end of this process, whatever ends it. To the
//! disk it is written at once a second (`SYNC` of `link`) and with every segment that is full: a power cut costs a
//! second. What it tears is cut off at the next start. How far the broker has acknowledged stands in `acked`; after a power cut
//! that may be older, and messages are sent again. One process holds the folder.

mod record;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use record::{HEAD, Head, decode, encode};

use super::message::Message;
use crate::secrets::random;
use crate::text::hex;

/// Largest segment, bytes: what is reclaimed at once.
const SEGMENT: u64 = 16 << 20;
/// So many segments a spool has room for at least, so that room is reclaimed before all is sent.
const SEGMENTS: u64 = 8;
/// Smallest segment, bytes.
const LEAST: u64 = 4 << 10;

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error(
        "{path}: another streamdet publishes this stream to this broker, or another stream of this one has the same name in topics \
         (\"a b\" is a_b)\n  end it, give the stream another name, or choose another folder with --spool"
    )]
    Locked {
        /// Its folder.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{path}: {source}\n  choose a folder that can be written with --spool")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// It does not fit.
    Full,
    /// It cannot be written.
    Io(std::io::Error),
}

/// What an earlier run left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Messages that are still to be sent.
    pub messages: u64,
    /// Bytes that were no whole message.
    pub cut: u64,
}

struct Segment {
    /// Position of its first message.
    first: u64,
    bytes: u64,
}

/// The messages of one stream for one broker.
pub(super) struct Spool {
    folder: PathBuf,
    /// Held as long as this is.
    _lock: File,
    /// The oldest first; the last is written to. There is one at least.
    segments: VecDeque<Segment>,
    newest: File,
    acked_file: File,
    /// Position of the next message.
    next: u64,
    /// Position of the oldest that is not acknowledged.
    acked: u64,
    limit: u64,
    is_dirty: bool,
}

impl Spool {
    /// Takes what is in `folder`, which is created; its segments take up to `limit` bytes.
    pub fn open(folder: &Path, limit: u64) -> Result<(Self, Found), SpoolError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Io { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let lock_path = folder.join("lock");
        let lock = private(&lock_path).map_err(failed(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SpoolError::Locked { path: folder.to_owned() },
            TryLockError::Error(source) => SpoolError::Io { path: lock_path, source },
        })?;
        let acked_path = folder.join("acked");
        let acked_file = private(&acked_path).map_err(failed(&acked_path))?;
        let mut bytes = [0; 8];
        let stored = acked_file.read_exact_at(&mut bytes, 0).ok().map_or(0, |()| u64::from_le_bytes(bytes));
        // So that it has its place on a disk that is full later.
        acked_file.write_all_at(&stored.to_le_bytes(), 0).map_err(failed(&acked_path))?;

        let mut firsts: Vec<u64> = std::fs::read_dir(folder)
            .map_err(failed(folder))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".seg")?.parse().ok())
            .collect();
        firsts.sort_unstable();
        let (mut segments, mut found, mut next) = (VecDeque::new(), Found::default(), stored);
        for first in firsts {
            let path = segment_path(folder, first);
            let (count, whole, all) = whole_records(&path, first).map_err(failed(&path))?;
            found.cut += all - whole;
            let end = first + count;
            if whole == 0 || end <= stored {
                std::fs::remove_file(&path).map_err(failed(&path))?;
                continue;
            }
            if whole < all {
                private(&path).and_then(|file| file.set_len(whole)).map_err(failed(&path))?;
            }
            found.messages += end - first.max(stored);
            next = next.max(end);
            segments.push_back(Segment { first, bytes: whole });
        }
        let acked = segments.front().map_or(next, |oldest: &Segment| oldest.first.max(stored));
        // A new one: nothing is appended to what may have been torn.
        let path = segment_path(folder, next);
        let newest = private(&path).map_err(failed(&path))?;
        segments.push_back(Segment { first: next, bytes: 0 });
        let folder = folder.to_owned();
        let limit = limit.max(LEAST);
        let spool = Self { folder, _lock: lock, segments, newest, acked_file, next, acked, limit, is_dirty: false };
        Ok((spool, found))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Messages that are not acknowledged.
    pub fn waiting(&self) -> u64 {
        self.next - self.acked
    }

    /// Appends a message; all may take `beyond` bytes more than the limit.
    pub fn append(&mut self, message: &Message, beyond: u64) -> Result<(), Refused> {
        let record = encode(self.next, message).ok_or(Refused::Full)?;
        let length = record.len() as u64;
        let newest = self.segments.back().map_or(0, |segment| segment.bytes);
        let is_full = newest + length > (self.limit / SEGMENTS).clamp(LEAST, SEGMENT);
        if newest > 0 && (is_full || (self.acked == self.next && self.bytes() + length > self.limit)) {
            self.rotate().map_err(Refused::Io)?;
        }
        if self.bytes() + length > self.limit + beyond {
            return Err(Refused::Full);
        }
        let written = self.write(&record);
        if written.is_err() && self.acked == self.next && self.bytes() > 0 {
            // A full disk has room where all that lies here was acknowledged.
            self.is_dirty = false;
            self.rotate().and_then(|()| self.write(&record)).map_err(Refused::Io)?;
        } else {
            written.map_err(Refused::Io)?;
        }
        self.next += 1;
        self.is_dirty = true;
        Ok(())
    }

    /// Writes a record behind the last one.
    fn write(&mut self, record: &[u8]) -> std::io::Result<()> {
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        let written = self.newest.write_all_at(record, segment.bytes);
        if written.is_err() {
            // What was written of it goes; where that fails, the next one is written over it.
            let _ = self.newest.set_len(segment.bytes);
        } else {
            segment.bytes += record.len() as u64;
        }
        written
    }

    /// All up to this position are acknowledged.
    pub fn ack(&mut self, position: u64) -> std::io::Result<()> {
        self.acked = self.acked.max((position + 1).min(self.next));
        let noted = self.acked_file.write_all_at(&self.acked.to_le_bytes(), 0);
        self.reclaim().and(noted)
    }

    /// Has what was appended written to the disk.
    pub fn sync(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.is_dirty) {
            self.newest.sync_data()?;
        }
        Ok(())
    }

    /// Begins the next segment.
    fn rotate(&mut self) -> std::io::Result<()> {
        self.sync()?;
        self.newest = private(&segment_path(&self.folder, self.next))?;
        self.segments.push_back(Segment { first: self.next, bytes: 0 });
        self.reclaim()
    }

    /// Deletes segments of which all is acknowledged.
    fn reclaim(&mut self) -> std::io::Result<()> {
        while self.segments.get(1).is_some_and(|second| second.first <= self.acked) {
            if let Some(oldest) = self.segments.pop_front() {
                std::fs::remove_file(segment_path(&self.folder, oldest.first))?;
            }
        }
        Ok(())
    }

    /// A reader of what is not acknowledged.
    pub fn reader(&self) -> Reader {
        Reader { position: self.acked, open: None }
    }
}

/// Reads messages in their order; each session has one of its own.
pub(super) struct Reader {
    /// Of the next message.
    position: u64,
    /// The segment that holds it, by its first position, and where it lies there.
    open: Option<(u64, File, u64)>,
}

impl Reader {
    /// The next message with its position; nothing where there is none yet.
    pub fn next(&mut self, spool: &Spool) -> std::io::Result<Option<(u64, Message)>> {
        // A segment that was deleted takes its place on the disk until it is closed.
        let is_there = |(open, ..): &(u64, File, u64)| spool.segments.iter().any(|segment| segment.first == *open);
        self.open = self.open.take().filter(is_there);
        while self.position < spool.next {
            let segments = &spool.segments;
            // Positions that a damaged segment lost are none.
            let holds = |segment: &&Segment| segment.first <= self.position;
            let first = segments.iter().rev().find(holds).or(segments.front()).map_or(0, |segment| segment.first);
            if self.open.as_ref().is_none_or(|(open, ..)| *open != first) {
                self.open = Some((first, File::open(segment_path(&spool.folder, first))?, 0));
            }
            let Some((_, file, offset)) = &mut self.open else { break };
            let Some((head, body)) = record_at(file, *offset)? else {
                // The segment ends here: what it should hold was cut off.
                let later = segments.iter().find(|segment| segment.first > first).map(|segment| segment.first);
                self.position = later.unwrap_or(spool.next).max(self.position + 1);
                self.open = None;
                continue;
            };
            *offset += (HEAD + head.length) as u64;
            if head.position < self.position {
                continue;
            }
            self.position = head.position + 1;
            if let Some(message) = decode(&body) {
                return Ok(Some((head.position, message)));
            }
        }
        Ok(None)
    }
}

/// The record at this place; nothing where there is no whole one.
fn record_at(file: &File, offset: u64) -> std::io::Result<Option<(Head, Vec<u8>)>> {
    let mut head = [0; HEAD];
    let ended = |error: std::io::Error| if error.kind() == ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    if let Err(error) = file.read_exact_at(&mut head, offset) {
        return ended(error);
    }
    let Some(head) = Head::read(&head) else { return Ok(None) };
    let mut body = vec![0; head.length];
    if let Err(error) = file.read_exact_at(&mut body, offset + HEAD as u64) {
        return ended(error);
    }
    Ok(head.fits(&body).then_some((head, body)))
}

/// How many whole records a segment begins with, their bytes, and all bytes.
fn whole_records(path: &Path, first: u64) -> std::io::Result<(u64, u64, u64)> {
    let file = File::open(path)?;
    let (mut count, mut whole) = (0, 0);
    while let Some((head, _)) = record_at(&file, whole)?.filter(|(head, _)| head.position == first + count) {
        count += 1;
        whole += (HEAD + head.length) as u64;
    }
    Ok((count, whole, file.metadata()?.len()))
}

fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.seg"))
}

/// A file that only its owner reads: what cameras see is nobody else's business.
fn private(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The number by which a broker knows this spool, through restarts.
pub(super) fn identity(folder: &Path) -> Result<String, SpoolError> {
    let path = folder.join("id");
    let known = std::fs::read_to_string(&path).ok().map(|id| id.trim().to_owned());
    if let Some(id) = known.filter(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Ok(id);
    }
    let id = hex(&random::<8>());
    std::fs::write(&path, &id).map_err(|source| SpoolError::Io { path, source })?;
    Ok(id)
}
