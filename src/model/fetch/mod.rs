//! Downloads: resumed where they stopped, checked before the file takes its name.

mod error;
mod http;
mod part;
mod resolve;

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, select};

use crate::backoff::Backoff;
use crate::secrets::redact;
use crate::shutdown::Shutdown;
pub use error::FetchError;
use http::{Client, Head, Message, Origin};
use part::Part;
pub use resolve::{FetchOptions, ResolveError, Resolved, resolve};

/// An ONNX file is one protobuf message, and those end at 2 GiB (protobuf.dev, "Proto Limits").
pub const MAX_BYTES: u64 = 1 << 31;
/// Delay before the second attempt; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What a connection must bring for the count of tries to start again.
const PROGRESS: u64 = 1 << 20;
/// Connections of one download, whatever they brought.
const CONNECTIONS: u32 = 1000;

/// What is to be downloaded.
#[derive(Debug, Clone)]
pub struct Request {
    /// From where; user and password in it are sent as a header.
    pub url: String,
    /// To where.
    pub target: PathBuf,
    /// What it must be, in hex.
    pub sha256: Option<String>,
    /// How long it must be.
    pub size_bytes: Option<u64>,
    /// How long the server may say nothing.
    pub patience: Duration,
    /// Tries after the first that bring nothing.
    pub retries: u32,
    /// Whether a file of that name may be replaced.
    pub overwrite: bool,
}

/// A file that is here and right.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where.
    pub path: PathBuf,
    /// Its checksum, lower-case hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// Receives the progress of a download.
pub trait Observer {
    /// So many bytes are here, of so many if that is known.
    fn at(&self, bytes: u64, total: Option<u64>);
    /// Something to be said.
    fn notice(&self, text: &str);
}

/// Why an attempt ended before the file was complete.
enum AttemptError {
    /// The next attempt may succeed, at the earliest after this time.
    Transient { problem: String, wait: Option<Duration> },
    /// Another attempt would fail as well.
    Permanent(FetchError),
}

/// What the head of an answer promises.
enum Resumption {
    /// A body; with it, so many bytes are the whole file, where that is known.
    Body { total: Option<u64> },
    /// Nothing more: what is here is the whole file.
    Whole,
}

impl AttemptError {
    fn transient(problem: impl Into<String>) -> Self {
        Self::Transient { problem: problem.into(), wait: None }
    }
}

impl From<FetchError> for AttemptError {
    fn from(error: FetchError) -> Self {
        Self::Permanent(error)
    }
}

/// The file, if it is there already and right: nothing needs to be asked or downloaded.
///
/// # Errors
/// When a file of that name is there and is not the one that is wanted.
pub fn already_here(request: &Request) -> Result<Option<Fetched>, FetchError> {
    let path = &request.target;
    let exists = |problem: String| FetchError::Exists { path: path.clone(), problem };
    if path.is_dir() {
        return Err(exists("it is a folder".into()));
    }
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(exists(e.to_string())),
    };
    let metadata = file.metadata().map_err(|e| exists(e.to_string()))?;
    if !metadata.is_file() {
        // A device may never end.
        return Err(exists("it is no ordinary file".into()));
    }
    let bytes = metadata.len();
    let sha256 = super::checksum::sha256_of(file).map_err(|e| exists(e.to_string()))?;
    match &request.sha256 {
        Some(expected) if expected.eq_ignore_ascii_case(&sha256) => {
            Ok(Some(Fetched { path: path.clone(), sha256, bytes }))
        }
        _ if request.overwrite => Ok(None),
        Some(expected) => Err(exists(format!("its SHA-256 is {sha256}, expected {expected}"))),
        None => Err(exists("without --sha256 it cannot be told whether it is the right one".into())),
    }
}

/// Downloads the file and gives it its name when it is whole and right. `shutdown` interrupts it at any moment.
///
/// # Errors
/// When the server does not give it, it is not what was expected, it cannot be written, or `shutdown` was requested.
pub fn fetch(request: &Request, observer: &dyn Observer, shutdown: &Shutdown) -> Result<Fetched, FetchError> {
    let origin = Origin::parse(&request.url)
        .map_err(|problem| FetchError::Url { url: redact(request.url.split('?').next().unwrap_or("")), problem })?;
    let shown = origin.shown().to_owned();
    let limit = request.size_bytes.unwrap_or(MAX_BYTES);
    let part = Part::open(&request.target, &origin.url, limit)?;
    let client = Client::new(origin, request.patience);
    Download { request, observer, shutdown, shown, limit, client, part }.run()
}

struct Download<'a> {
    request: &'a Request,
    observer: &'a dyn Observer,
    shutdown: &'a Shutdown,
    shown: String,
    limit: u64,
    client: Client,
    part: Part,
}

impl Download<'_> {
    fn run(mut self) -> Result<Fetched, FetchError> {
        // A file put together from several answers may be wrong where one answer is not: then it gets a second chance.
        let (mut pieced, mut second_chance) = (self.part.len() > 0, false);
        let (mut fruitless, mut connections, mut furthest) = (0, 0, self.part.len());
        // Without jitter: one download is no herd.
        let mut backoff = Backoff::with_random(FIRST_WAIT, LONGEST_WAIT, || 511);
        loop {
            let (problem, wait) = match self.connection() {
                Ok(()) if self.is_right() => return self.finish(),
                Ok(()) if pieced && !second_chance => {
                    self.observer.notice("what was put together has a wrong checksum: starting again");
                    self.part.restart()?;
                    (pieced, second_chance) = (false, true);
                    continue;
                }
                Ok(()) => return Err(self.wrong()),
                Err(AttemptError::Permanent(error)) => return Err(self.end(error)),
                Err(AttemptError::Transient { problem, wait }) => (problem, wait),
            };
            pieced |= self.part.len() > 0;
            connections += 1;
            fruitless += 1;
            if self.part.len() >= furthest + PROGRESS {
                fruitless = 1;
                backoff.reset();
            }
            furthest = furthest.max(self.part.len());
            if fruitless > self.request.retries || connections == CONNECTIONS {
                let error = self.gave_up(&problem, connections);
                return Err(self.end(error));
            }
            let delay = backoff.next_delay();
            if let Err(interrupted) = self.pause(&problem, wait.unwrap_or(delay).min(LONGEST_WAIT)) {
                return Err(self.end(interrupted));
            }
        }
    }

    /// Leaves nothing behind where nothing came.
    fn end(self, error: FetchError) -> FetchError {
        if self.part.len() == 0 {
            self.part.discard();
        }
        error
    }

    /// One request and its answer, written to the part; `Ok` when the answer is whole.
    fn connection(&mut self) -> Result<(), AttemptError> {
        let expected = self.request.sha256.as_ref();
        if self.part.len() > 0 {
            if self.part.validator().is_none() && expected.is_none() {
                // Nothing would tell whether both halves are of one file.
                self.part.restart()?;
            } else if self.is_right() && expected.is_some() {
                return Ok(());
            }
        }
        let offset = self.part.len();
        let validator = self.part.validator().map(str::to_owned);
        let messages = self
            .client
            .get(offset, validator)
            .map_err(|e| AttemptError::transient(format!("a thread cannot be started: {e}")))?;
        let Message::Head(head) = self.next(&messages)? else {
            return Err(AttemptError::transient("the answer has no head"));
        };
        let Resumption::Body { total } = self.begin(head, offset)? else { return Ok(()) };
        self.observer.at(self.part.len(), total);
        loop {
            match self.next(&messages) {
                Ok(Message::Piece(piece)) => {
                    if self.part.len() + piece.len() as u64 > self.limit {
                        self.part.restart()?;
                        return Err(self.too_long(None).into());
                    }
                    self.part.append(&piece)?;
                    self.observer.at(self.part.len(), total);
                }
                Ok(_) => {
                    let wanted = total.unwrap_or(0);
                    if self.part.len() >= wanted || expected.is_some() && self.is_right() {
                        return Ok(());
                    }
                    return Err(AttemptError::transient(format!(
                        "the answer ended at {} of {wanted} bytes",
                        self.part.len()
                    )));
                }
                // A server that announces too much, and gives all there is.
                Err(AttemptError::Transient { .. }) if expected.is_some() && self.is_right() => return Ok(()),
                Err(cut) => return Err(cut),
            }
        }
    }

    /// Reads the head of an answer to a request from `offset` on.
    fn begin(&mut self, head: Head, offset: u64) -> Result<Resumption, AttemptError> {
        match head.status {
            200 if offset > 0 => {
                self.observer.notice("the server gives the whole file again: starting at its beginning");
                self.part.restart()?;
            }
            200 => {}
            206 if offset > 0 && head.offset == offset => {
                let (before, now) = (self.part.validator(), head.validator.as_deref());
                if before.is_some() && now.is_some() && before != now {
                    self.part.restart()?;
                    return Err(AttemptError::transient("the file there has changed"));
                }
            }
            416 if offset > 0 => {
                if head.total == Some(offset) {
                    return Ok(Resumption::Whole);
                }
                self.part.restart()?;
                return Err(AttemptError::transient("the file there is shorter than what is here"));
            }
            206 => {
                self.part.restart()?;
                return Err(AttemptError::transient("the server gives another part than it was asked for"));
            }
            status => return Err(self.refused(status, head.retry_after)),
        }
        match (head.total, self.request.size_bytes) {
            (Some(total), Some(size)) if total != size => {
                let problem = format!(
                    "the server has {total} bytes, the card says {size}\n  the file there is another one: correct the card"
                );
                return Err(self.server(&problem).into());
            }
            (Some(total), _) if total > self.limit => return Err(self.too_long(Some(total)).into()),
            _ => {}
        }
        if self.part.validator() != head.validator.as_deref() {
            self.part.note(head.validator)?;
        }
        Ok(Resumption::Body { total: head.total.or(self.request.size_bytes) })
    }

    /// The thread's next message, or why there is none.
    fn next(&self, messages: &Receiver<Message>) -> Result<Message, AttemptError> {
        if self.shutdown.is_requested() {
            return Err(self.interrupted().into());
        }
        let message = select! {
            recv(messages) -> message => message,
            recv(self.shutdown.requested()) -> _ => return Err(self.interrupted().into()),
        };
        match message {
            Ok(Message::Failed { problem, lasting: true }) => Err(self.server(&problem).into()),
            Ok(Message::Failed { problem, lasting: false }) => Err(AttemptError::transient(problem)),
            Ok(message) => Ok(message),
            Err(_) => Err(AttemptError::transient("the connection ended")),
        }
    }

    fn pause(&self, problem: &str, wait: Duration) -> Result<(), FetchError> {
        self.observer.notice(&format!("{}; next try in {:.1} s", one_line(problem), wait.as_secs_f64()));
        if self.shutdown.wait(wait) { Err(self.interrupted()) } else { Ok(()) }
    }

    /// Whether the part is the file that is wanted, as far as that is known.
    fn is_right(&self) -> bool {
        match &self.request.sha256 {
            Some(expected) => expected.eq_ignore_ascii_case(&self.part.sha256()),
            None => self.part.is_rather().is_none(),
        }
    }

    fn finish(self) -> Result<Fetched, FetchError> {
        let (sha256, bytes) = (self.part.sha256(), self.part.len());
        Ok(Fetched { path: self.part.finish()?, sha256, bytes })
    }

    fn wrong(self) -> FetchError {
        let rather = self.part.is_rather();
        let error = match (&self.request.sha256, rather) {
            (Some(expected), _) => FetchError::Checksum {
                url: self.shown,
                expected: expected.to_ascii_lowercase(),
                found: self.part.sha256(),
                rather: rather.map_or_else(String::new, |what| format!(" ({what})")),
            },
            (None, rather) => {
                let what = rather.unwrap_or("another thing");
                let problem = format!("what the server gives is {what}, not a model\n  give the file's own link");
                FetchError::Server { url: self.shown, problem }
            }
        };
        self.part.discard();
        error
    }

    fn server(&self, problem: &str) -> FetchError {
        FetchError::Server { url: self.shown.clone(), problem: redact(problem) }
    }

    fn too_long(&self, total: Option<u64>) -> FetchError {
        let says =
            total.map_or("the server sends more than".into(), |n| format!("the server has {n} bytes, more than"));
        self.server(&match self.request.size_bytes {
            Some(size) => {
                format!("{says} the {size} bytes of its card\n  the file there is another one: correct the card")
            }
            None => format!("{says} the {MAX_BYTES} bytes an ONNX file can have\n  give the link of an ONNX file"),
        })
    }

    fn refused(&self, status: u16, retry_after: Option<Duration>) -> AttemptError {
        let remedy = match status {
            408 | 429 | 500..=599 => {
                return AttemptError::Transient { problem: format!("the server answers {status}"), wait: retry_after };
            }
            401 | 403 => "it asks for a login: put user and password into the URL, or download it in a browser",
            404 | 410 => "the file is not there any more: look at its page for a new link",
            _ => "give the link of the file itself",
        };
        AttemptError::Permanent(self.server(&format!("the server answers {status}\n  {remedy}")))
    }

    fn gave_up(&self, problem: &str, connections: u32) -> FetchError {
        let tries = if connections == 1 { "1 try".into() } else { format!("{connections} tries") };
        let kept = match self.part.len() {
            0 => "run the same command again later".into(),
            n => format!("{n} bytes are kept in {}: the same command goes on from there", self.part.path().display()),
        };
        self.server(&format!("{}; gave up after {tries}\n  {kept}", one_line(problem)))
    }

    fn interrupted(&self) -> FetchError {
        FetchError::Interrupted { part: self.part.path().to_owned(), bytes: self.part.len() }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', ";")
}
