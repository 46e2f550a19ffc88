//! A file's turn, where it or what is written of it lies elsewhere.

use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{sleep, timeout};

use super::client::Clients;
use super::error::RemoteError;
use super::fetch::fetch;
use super::location::{Location, LocationError};
use super::scratch::Scratch;
use super::send::{Seen, give_up, look, send};
use crate::archive::item::{Failure, Item};
use crate::archive::names::Names;
use crate::folders;
use crate::shutdown::Shutdown;
use crate::text::hex;
use crate::units::Bytes;

/// What the cache holds unless another size is given.
pub const CACHE: Bytes = Bytes(50_000_000_000);
/// Between two looks whether others' files have left the cache.
const FULL: Duration = Duration::from_secs(1);
/// How long an upload is given up that was interrupted.
const GIVEN_UP: Duration = Duration::from_secs(3);

/// What a worker needs for it.
pub struct Remote {
    cache: Option<PathBuf>,
    most: u64,
    shutdown: Shutdown,
    clients: OnceCell<Clients>,
}

/// A file that is worked on.
pub struct Turn<'a> {
    remote: &'a Remote,
    id: String,
    /// Where it lies elsewhere.
    source: Option<Location>,
    /// Where it is read.
    path: PathBuf,
    folder: PathBuf,
    scratch: Option<Scratch>,
    /// Outputs that go elsewhere: where each is written, and where it goes.
    sent: Vec<(PathBuf, Location)>,
    /// What all of them are marked with.
    mark: String,
    /// Uploads in parts that are not complete.
    open: RefCell<Vec<(Location, String)>>,
}

/// Which outputs are there.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// None of somebody else's.
    None,
    /// One that is, and one that is not.
    Some(String, String),
    /// All.
    All,
}

impl Remote {
    /// With a folder for the cache, if another one is wanted than the user's, and the bytes that files may take in it.
    #[must_use]
    pub fn new(cache: Option<&Path>, Bytes(most): Bytes, shutdown: &Shutdown) -> Self {
        let cache = match cache {
            Some(cache) => std::path::absolute(cache).ok(),
            None => folders::cache().map(|cache| cache.join("archive")),
        };
        Self { cache, most, shutdown: shutdown.clone(), clients: OnceCell::new() }
    }

    fn clients(&self) -> Result<&Clients, RemoteError> {
        if let Some(clients) = self.clients.get() {
            return Ok(clients);
        }
        let clients = Clients::new(&self.shutdown)?;
        Ok(self.clients.get_or_init(|| clients))
    }

    /// The turn of a file.
    ///
    /// # Errors
    /// When its name cannot be used.
    pub fn turn(&self, item: &Item) -> Result<Turn<'_>, LocationError> {
        let source = Location::of(&item.source).transpose()?;
        if let Some(prefix) = source.as_ref().filter(|source| source.is_prefix()) {
            return Err(LocationError::Prefix(prefix.to_string()));
        }
        let id = item.id();
        // Where there is no cache, that is said when one is needed.
        let folder = self.cache.clone().unwrap_or_default().join(&id);
        let path = match &source {
            Some(source) => folder.join("in").join(source.short_name()),
            None => PathBuf::from(&item.source),
        };
        let (scratch, sent, mark) = (None, Vec::new(), String::new());
        Ok(Turn { remote: self, id, source, path, folder, scratch, sent, mark, open: RefCell::default() })
    }
}

impl Turn<'_> {
    /// Whether its source is a path.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.source.is_none()
    }

    /// Where its source is read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, as it is read on this machine.
    #[must_use]
    pub fn read(&self, item: &Item) -> Item {
        Item { source: self.path.to_string_lossy().into_owned(), ..item.clone() }
    }

    /// What is said of it, without where it lay on this machine.
    #[must_use]
    pub fn named(&self, failure: Failure) -> Failure {
        let Some(source) = &self.source else { return failure };
        let mut message = failure.message.replace(&*self.path.to_string_lossy(), &source.to_string());
        for (written, location) in &self.sent {
            message = message.replace(&*written.to_string_lossy(), &location.to_string());
        }
        Failure { message, ..failure }
    }

    /// What its outputs are called: those that go elsewhere as they are written in the cache.
    #[must_use]
    pub fn names(&self, item: &Item) -> Names {
        Names::of(Path::new(&item.source)).staged(&self.folder.join("out"))
    }

    /// Takes its folder in the cache, where it needs one.
    ///
    /// # Errors
    /// When another worker is at it ([`RemoteError::is_busy`]), or it cannot be made.
    pub fn begin(&mut self) -> Result<(), RemoteError> {
        if self.scratch.is_some() || self.source.is_none() && self.sent.is_empty() {
            return Ok(());
        }
        let Some(cache) = &self.remote.cache else {
            return Err(RemoteError::Disk(io::Error::other("this user has no folder for one")));
        };
        if self.remote.clients.get().is_none() {
            // What workers have left here that were killed.
            for (left, uploads) in Scratch::left(cache) {
                self.remote.give_up(&uploads);
                drop(left);
            }
        }
        let (scratch, uploads) = Scratch::begin(cache, &self.id)?;
        self.remote.give_up(&uploads);
        for folder in ["in", "out"] {
            std::fs::create_dir_all(scratch.folder.join(folder))?;
        }
        if self.source.is_some() {
            // Outputs are planned before it is fetched.
            std::fs::File::create(&self.path)?;
        }
        self.scratch = Some(scratch);
        Ok(())
    }

    /// Learns which outputs there are; leaves those that stay on this machine in `places`.
    ///
    /// # Errors
    /// As of [`begin`](Self::begin); when one would replace its source.
    pub fn sends(&mut self, names: &Names, places: &mut Vec<PathBuf>) -> Result<(), RemoteError> {
        let asked = names.sent();
        let mut digest = Sha256::new_with_prefix(&self.id);
        for place in &*places {
            digest.update(place.as_os_str().as_encoded_bytes());
        }
        for (written, mut location) in asked {
            let own = written.parent();
            let Some(at) = places.iter().position(|place| place.parent() == own) else { continue };
            let place = places.remove(at);
            // It has another ending where its own cannot be written.
            let ending = |path: &Path| path.extension().map(|ending| ending.to_string_lossy().into_owned());
            if let (Some(planned), Some(now)) = (ending(&written), ending(&place))
                && planned != now
                && let Some(stem) = location.key.strip_suffix(&planned)
            {
                location.key = format!("{stem}{now}");
            }
            if Some(&location) == self.source.as_ref() {
                return Err(RemoteError::Exists(format!("{location} is the source, which")));
            }
            digest.update(location.to_string());
            self.sent.push((place, location));
        }
        self.mark = hex(&digest.finalize()[..16]);
        self.begin()?;
        for (place, _) in &self.sent {
            place.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        }
        Ok(())
    }

    /// Which outputs are there; those that a worker has sent of this same turn, which was killed then, are as good as none.
    ///
    /// # Errors
    /// When a store does not answer.
    pub fn standing(&self, places: &[PathBuf]) -> Result<Standing, RemoteError> {
        let (mut there, mut lacking, mut is_theirs) = (Vec::new(), Vec::new(), false);
        for place in places {
            let is_there = place.symlink_metadata().is_ok();
            is_theirs |= is_there;
            if is_there { &mut there } else { &mut lacking }.push(place.display().to_string());
        }
        for (_, location) in &self.sent {
            let clients = self.remote.clients()?;
            let bucket = clients.bucket(&location.place)?;
            let seen = clients.run(look(&bucket.any, &location.key(), &self.mark))?;
            is_theirs |= seen == Seen::Theirs;
            if seen == Seen::Absent { &mut lacking } else { &mut there }.push(location.to_string());
        }
        Ok(match (there.into_iter().next(), lacking.into_iter().next()) {
            (Some(there), Some(lacking)) if is_theirs => Standing::Some(there, lacking),
            (Some(_), None) => Standing::All,
            _ => Standing::None,
        })
    }

    /// Fetches its source, if that lies elsewhere.
    ///
    /// # Errors
    /// When it is not there, does not fit, or the store does not answer.
    pub fn fetch(&self) -> Result<(), RemoteError> {
        let (Some(source), Some(cache)) = (&self.source, &self.remote.cache) else {
            return Ok(());
        };
        let (clients, most) = (self.remote.clients()?, self.remote.most);
        let store = clients.read(source)?;
        let key = source.key();
        let room = async |size: u64| {
            if size > most {
                return Err(RemoteError::TooLarge { size, cache: most });
            }
            loop {
                if let Some(file) = Scratch::room(cache, most, &self.path, size)? {
                    return Ok(file);
                }
                // Of others: theirs go when their turns are over, and with the next one those of workers that were killed.
                sleep(FULL).await;
                for (left, uploads) in Scratch::left(cache) {
                    given_up(clients, &uploads).await;
                    drop(left);
                }
            }
        };
        clients.run(fetch(&*store, &key, room))
    }

    /// Uploads the outputs that go elsewhere, all of which are whole; those that stand there are replaced if `is_replaced`, or if they are this
    /// turn's.
    ///
    /// # Errors
    /// When one cannot be, or somebody else's has its name.
    pub fn send(&self, is_replaced: bool) -> Result<(), RemoteError> {
        for (written, location) in &self.sent {
            let sent = self.send_one(written, location, is_replaced);
            if sent.is_err() {
                let open = self.open.take();
                self.remote.give_up(&open);
            }
            sent?;
            self.open.take();
        }
        Ok(())
    }

    fn send_one(&self, written: &Path, location: &Location, is_replaced: bool) -> Result<(), RemoteError> {
        let clients = self.remote.clients()?;
        let (bucket, key) = (clients.bucket(&location.place)?, location.key());
        let noted = |upload: &str| {
            self.open.borrow_mut().push((location.clone(), upload.to_owned()));
            self.scratch.as_ref().map_or(Ok(()), |scratch| scratch.note(location, upload))
        };
        let look = || clients.run(look(&bucket.any, &key, &self.mark));
        // Where a request is answered late, the same comes a second time and finds what the first has made.
        for _ in 0..2 {
            let is_new = !is_replaced && look()? != Seen::Ours;
            match clients.run(send(&bucket, &key, (written, &self.mark, is_new), noted)) {
                Err(RemoteError::Exists(_)) if is_new => match look()? {
                    Seen::Ours => return Ok(()),
                    Seen::Theirs => break,
                    Seen::Absent => {}
                },
                // Nothing of it is the file's fault.
                Err(RemoteError::Missing(problem) | RemoteError::Refused(problem)) => {
                    let remedy = "the workers' credentials may not write it";
                    return Err(RemoteError::Settings(format!("{location}: refused ({problem})\n  {remedy}")));
                }
                sent => return sent,
            }
        }
        Err(RemoteError::Exists(location.to_string()))
    }

    /// Whether anything can be written into its folder now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let written = |scratch: &Scratch| {
            let probe = scratch.folder.join("probe");
            std::fs::write(&probe, vec![0; 1 << 16]).and_then(|()| std::fs::remove_file(&probe))
        };
        self.scratch.as_ref().is_none_or(|scratch| written(scratch).is_ok())
    }
}

impl Remote {
    /// Gives uploads up that were begun.
    fn give_up(&self, uploads: &[(Location, String)]) {
        if let (false, Ok(clients)) = (uploads.is_empty(), self.clients()) {
            clients.whatever_is_told(given_up(clients, uploads));
        }
    }
}

/// Gives uploads up; what a store does not hear of is left to its rules for what is incomplete.
async fn given_up(clients: &Clients, uploads: &[(Location, String)]) {
    for (location, upload) in uploads.iter().collect::<HashSet<_>>() {
        let Ok(bucket) = clients.bucket(&location.place) else { continue };
        let _ = timeout(GIVEN_UP, give_up(&bucket.any, &location.key(), upload)).await;
    }
}
