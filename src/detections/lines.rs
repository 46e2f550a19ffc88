//! Lines of several streams on their way into one file, in the order in which they are handed over, by a thread of its own.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded, never, select};

use super::DetectionError;
use crate::part::{PartFile, part_path};
use crate::shutdown::Shutdown;
use crate::thread::{Thread, ThreadError, spawn, test_panic_point};

/// Capacity of the channel to the thread that writes, lines. When it is full, the stream's thread waits: no line is dropped.
const WAITING: usize = 64;
/// Bytes that are written at once where lines need not be.
const BLOCK: usize = 64 << 10;
/// How long a line waits for room once the run is to stop: less than the worker then waits for the stream's thread.
const LAST: Duration = Duration::from_secs(5);
/// How long a file may take nothing when all is to be finished: a disk that has to spin up takes less.
const STALL: Duration = Duration::from_secs(10);
/// The same for a pipe at the end of a run that was not interrupted: a pager reads page by page.
const STALL_PIPE: Duration = Duration::from_mins(1);

enum Message {
    Line(Vec<u8>),
    /// What was sent before is to be written.
    Flush,
}

/// The file.
pub(super) struct LineFile {
    shared: Arc<Shared>,
    messages: Sender<Message>,
    spare: Receiver<Vec<u8>>,
    open: Mutex<Option<Open>>,
}

/// What finishing it needs.
struct Open {
    file: PartFile,
    thread: Thread<bool>,
    /// Requested when no line comes any more.
    ending: Shutdown,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
}

struct Shared {
    option: &'static str,
    path: PathBuf,
    /// A pipe or a device: what was written is gone.
    is_pipe: bool,
    /// Bytes written so far.
    written: AtomicU64,
    /// A frame was there, with or without lines of its own.
    used: AtomicBool,
    /// Why it ended, for the first that asks.
    failure: Mutex<Option<DetectionError>>,
    /// It took nothing for too long, and that was told.
    hung: AtomicBool,
}

impl Shared {
    fn failure(&self) -> MutexGuard<'_, Option<DetectionError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the thread has ended; the reason is given once.
    fn ended(&self) -> DetectionError {
        self.failure().take().unwrap_or(DetectionError::Ended)
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// The file that holds what was written, where there is one.
    fn kept(&self) -> Option<PathBuf> {
        (!self.is_pipe && self.written() > 0).then(|| part_path(&self.path))
    }

    /// That it took nothing for so long; it is given once.
    fn stalled(&self, within: Duration) -> DetectionError {
        if self.hung.swap(true, Ordering::SeqCst) {
            return DetectionError::Ended;
        }
        DetectionError::Stalled { option: self.option, path: self.path.clone(), within, kept: self.kept() }
    }

    fn panicked(&self, source: ThreadError) -> DetectionError {
        DetectionError::Thread { option: self.option, path: self.path.clone(), source, kept: self.kept() }
    }

    fn failed(&self, source: std::io::Error) -> DetectionError {
        let (option, path) = (self.option, self.path.clone());
        if source.kind() == ErrorKind::BrokenPipe {
            return DetectionError::ReaderGone { option, path };
        }
        DetectionError::Write { option, path, source, kept: self.kept().filter(|kept| kept.exists()) }
    }
}

impl LineFile {
    /// Creates the file that `option` asks for, and starts the thread that writes it. A pipe gets every line at once, and so
    /// does a file where `at_once` says so.
    pub fn create(option: &'static str, path: &Path, at_once: bool, stopping: &Shutdown) -> std::io::Result<Self> {
        let file = PartFile::create(path, Some(stopping))?;
        let out = file.writer()?;
        let is_pipe = !file.can_rewrite();
        let (written, failure) = (AtomicU64::new(0), Mutex::default());
        let (hung, used) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { option, path: path.to_owned(), is_pipe, written, used, failure, hung });
        let (messages, coming) = bounded(WAITING);
        let (emptied, spare) = bounded(WAITING);
        let (alive, ended) = bounded::<()>(0);
        let (own, ending) = (shared.clone(), Shutdown::new());
        let block = Vec::with_capacity(BLOCK);
        let mut writer = Writer { out, shared: shared.clone(), coming, emptied, block, at_once: at_once || is_pipe };
        let asked = ending.clone();
        let thread = spawn("json", move || {
            let _alive = alive;
            let outcome = writer.run(&asked);
            if let Err(error) = outcome {
                // Before the channel is closed: a stream that finds it closed asks for the reason.
                *own.failure() = Some(own.failed(error));
                return false;
            }
            true
        });
        match thread {
            Ok(thread) => {
                let open = Mutex::new(Some(Open { file, thread, ending, ended }));
                Ok(Self { shared, messages, spare, open })
            }
            Err(error) => {
                file.discard();
                Err(std::io::Error::other(error))
            }
        }
    }

    /// Where a stream's lines enter it.
    pub fn lines(&self, stopping: &Shutdown) -> Lines {
        let (shared, messages, spare) = (self.shared.clone(), self.messages.clone(), self.spare.clone());
        Lines { shared, messages, spare, stopping: stopping.clone() }
    }

    /// Ends it after all lines; it takes its name where there was a frame, else it goes, and what was there before stays.
    pub fn finish(&self, stopping: &Shutdown) -> Result<(), DetectionError> {
        let Some(open) = self.open.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        open.ending.request();
        if self.shared.hung.load(Ordering::SeqCst) {
            return Err(DetectionError::Ended);
        }
        let mut before = self.shared.written();
        loop {
            let stop = stopping.is_requested();
            let patience = if self.shared.is_pipe && !stop { STALL_PIPE } else { STALL };
            let requested = if stop { never() } else { stopping.requested().clone() };
            select! {
                recv(open.ended) -> _ => break,
                // From now on there is less time.
                recv(requested) -> _ => {}
                default(patience) => {
                    let now = self.shared.written();
                    if std::mem::replace(&mut before, now) == now {
                        // The thread is left alone: nothing wakes it from a write that does not return.
                        return Err(self.shared.stalled(patience));
                    }
                }
            }
        }
        let joined = open.thread.join().map_err(|source| self.shared.panicked(source))?;
        if !joined {
            if self.shared.kept().is_none() {
                open.file.discard();
            }
            return Err(self.shared.ended());
        }
        if self.shared.used.load(Ordering::SeqCst) {
            return open.file.finish().map_err(|error| self.shared.failed(error));
        }
        open.file.discard();
        Ok(())
    }
}

/// Where one stream's lines enter the file.
pub(super) struct Lines {
    shared: Arc<Shared>,
    messages: Sender<Message>,
    spare: Receiver<Vec<u8>>,
    stopping: Shutdown,
}

impl Lines {
    /// There was a frame: the file is to be kept.
    pub fn note_frame(&self) {
        self.shared.used.store(true, Ordering::SeqCst);
    }

    /// Makes a line and hands it over; waits while too many are waiting.
    ///
    /// # Errors
    /// Why the file has ended, once. That it takes nothing any more, where the run is to stop.
    pub fn send(&self, make: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<(), DetectionError> {
        let mut line = self.spare.try_recv().unwrap_or_default();
        make(&mut line).map_err(|error| self.shared.failed(error))?;
        self.hand_over(Message::Line(line))
    }

    /// Has what was handed over written.
    pub fn flush(&self) -> Result<(), DetectionError> {
        self.hand_over(Message::Flush)
    }

    fn hand_over(&self, message: Message) -> Result<(), DetectionError> {
        let message = match self.messages.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(self.shared.ended()),
            Err(TrySendError::Full(message)) => message,
        };
        if !self.stopping.is_requested() {
            select! {
                send(self.messages, message) -> sent => return sent.map_err(|_| self.shared.ended()),
                recv(self.stopping.requested()) -> _ => {}
            }
        }
        self.messages.send_timeout(message, LAST).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => self.shared.stalled(LAST),
            SendTimeoutError::Disconnected(_) => self.shared.ended(),
        })
    }
}

/// What the thread works with.
struct Writer {
    out: File,
    shared: Arc<Shared>,
    coming: Receiver<Message>,
    /// Lines whose memory is used again.
    emptied: Sender<Vec<u8>>,
    /// Whole lines that are not written yet.
    block: Vec<u8>,
    /// Lines are written as they come.
    at_once: bool,
}

impl Writer {
    fn run(&mut self, ending: &Shutdown) -> std::io::Result<()> {
        loop {
            test_panic_point();
            let message = self.coming.try_recv().ok().or_else(|| {
                select! {
                    recv(self.coming) -> message => message.ok(),
                    recv(ending.requested()) -> _ => self.coming.try_recv().ok(),
                }
            });
            match message {
                Some(Message::Line(mut line)) => {
                    self.block.extend_from_slice(&line);
                    line.clear();
                    // One more than can be used again is freed.
                    drop(self.emptied.try_send(line));
                    if self.block.len() >= BLOCK || (self.at_once && self.coming.is_empty()) {
                        self.write()?;
                    }
                }
                Some(Message::Flush) => self.write()?,
                None => return self.write(),
            }
        }
    }

    /// Writes the block. What fails leaves whole lines, where that can be seen to.
    fn write(&mut self) -> std::io::Result<()> {
        let mut done = 0;
        let mut outcome = Ok(());
        while done < self.block.len() && outcome.is_ok() {
            match self.out.write(&self.block[done..]) {
                Ok(0) => outcome = Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    done += bytes;
                    self.shared.written.fetch_add(bytes as u64, Ordering::SeqCst);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => outcome = Err(error),
            }
        }
        if outcome.is_err() && !self.shared.is_pipe {
            let cut = done - self.block[..done].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let whole = self.shared.written() - cut as u64;
            // Where it cannot be cut, half a line stays: every reader of JSON Lines sees that it is none.
            if self.out.set_len(whole).is_ok() {
                self.shared.written.store(whole, Ordering::SeqCst);
            }
        }
        self.block.clear();
        outcome
    }
}

/// After a panic: lines that were taken are written.
impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            while let Ok(message) = self.coming.try_recv() {
                if let Message::Line(line) = message {
                    self.block.extend_from_slice(&line);
                }
            }
            // The panic is the error.
            let _ = self.write();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn line(number: usize) -> impl FnOnce(&mut Vec<u8>) -> std::io::Result<()> {
        move |out| writeln!(out, "{number}")
    }

    #[test]
    fn lines_of_all_streams_keep_their_order_and_the_file_takes_its_name_at_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.jsonl");
        let stopping = Shutdown::new();
        let file = LineFile::create("--json", &path, false, &stopping).expect("a file");
        std::thread::scope(|scope| {
            for stream in 0..3 {
                let lines = file.lines(&stopping);
                scope.spawn(move || {
                    lines.note_frame();
                    for number in 0..500 {
                        lines.send(line(stream * 1000 + number)).expect("it is taken");
                    }
                });
            }
        });
        assert!(!path.exists());
        file.finish(&stopping).expect("it is finished");
        let text = std::fs::read_to_string(&path).expect("the file");
        let numbers: Vec<usize> = text.lines().map(|line| line.parse().expect("a number")).collect();
        for stream in 0..3 {
            let own: Vec<usize> = numbers.iter().copied().filter(|n| n / 1000 == stream).collect();
            assert_eq!(own, (stream * 1000..stream * 1000 + 500).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_failure_is_told_once_and_names_the_file() {
        let stopping = Shutdown::new();
        let file = LineFile::create("--json", Path::new("/dev/full"), false, &stopping).expect("a device");
        let (one, other) = (file.lines(&stopping), file.lines(&stopping));
        one.note_frame();
        let mut errors = Vec::new();
        while errors.len() < 2 {
            errors.extend(one.send(line(1)).err());
            errors.extend(other.flush().err());
        }
        assert!(errors[0].to_string().starts_with("--json /dev/full: No space left"), "{}", errors[0]);
        assert!(matches!(errors[1], DetectionError::Ended));
        assert!(matches!(file.finish(&stopping), Err(DetectionError::Ended)));
    }

    #[test]
    fn a_pipe_gets_every_line_at_once_and_its_reader_may_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a pipe");
        let mut reader = File::options().read(true).write(true).open(&path).expect("a reader");
        let stopping = Shutdown::new();
        let file = LineFile::create("--json", &path, false, &stopping).expect("the pipe");
        let lines = file.lines(&stopping);
        lines.send(line(7)).expect("it is taken");
        let mut read = [0; 2];
        reader.read_exact(&mut read).expect("the line");
        assert_eq!(&read, b"7\n");
        drop(reader);
        let error = std::iter::repeat_with(|| lines.send(line(8))).find_map(Result::err);
        assert!(matches!(error, Some(DetectionError::ReaderGone { .. })), "{error:?}");
    }
}
