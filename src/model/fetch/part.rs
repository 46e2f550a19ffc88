//! The file while it is on its way: `NAME.part`, and beside it what is needed to resume.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::FetchError;
use crate::text::hex;

/// Bytes at the start of a file that tell what it is.
const LEADING: usize = 64;

/// What the server said of the bytes that are here.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Record {
    /// Which URL they came from: its checksum, since a URL may hold secrets.
    url_sha256: String,
    validator: Option<String>,
}

/// `NAME.part`, locked against a second fetch.
#[derive(Debug)]
pub(super) struct Part {
    target: PathBuf,
    path: PathBuf,
    record_path: PathBuf,
    file: File,
    len: u64,
    hash: Sha256,
    leading: Vec<u8>,
    record: Record,
}

impl Part {
    /// Opens or creates the part of `target`; what it holds already is read once, for the checksum.
    pub(super) fn open(target: &Path, url: &str, limit: u64) -> Result<Self, FetchError> {
        let path = beside(target, ".part");
        let write = |e: std::io::Error| FetchError::write(&path, &e);
        if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| FetchError::write(folder, &e))?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(write)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(FetchError::Busy { part: path }),
            // On a file system without locks, go on without.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let url_sha256 = hex(&Sha256::digest(url.as_bytes()));
        let record_path = beside(target, ".part.json");
        let record = std::fs::read(&record_path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok())
            .filter(|record| record.url_sha256 == url_sha256)
            .unwrap_or(Record { url_sha256, validator: None });
        let mut part = Self {
            target: target.to_owned(),
            record_path,
            file,
            len: 0,
            hash: Sha256::new(),
            leading: Vec::new(),
            record,
            path,
        };
        if part.file.metadata().map_err(write_to(&part.path))?.len() > limit {
            part.restart()?;
        }
        let mut chunk = vec![0; 1 << 16];
        loop {
            let n = part.file.read(&mut chunk).map_err(write_to(&part.path))?;
            if n == 0 {
                return Ok(part);
            }
            part.count(&chunk[..n]);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// What to resume with, if the server gave anything.
    pub(super) fn validator(&self) -> Option<&str> {
        self.record.validator.as_deref()
    }

    /// Checksum of what is here.
    pub(super) fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// What the first bytes are, when they cannot be a model's.
    pub(super) fn is_rather(&self) -> Option<&'static str> {
        let text = String::from_utf8_lossy(&self.leading).trim_start().to_ascii_lowercase();
        if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
            Some("a web page")
        } else if text.starts_with("version https://git-lfs") {
            Some("a Git LFS pointer (take the file's download link)")
        } else if self.len == 0 {
            Some("empty")
        } else {
            None
        }
    }

    /// Notes what the server says of the file, for a later run.
    pub(super) fn note(&mut self, validator: Option<String>) -> Result<(), FetchError> {
        self.record.validator = validator;
        let text = serde_json::to_vec(&self.record).expect("a record of texts is JSON");
        std::fs::write(&self.record_path, text).map_err(write_to(&self.record_path))
    }

    pub(super) fn append(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(piece).map_err(write_to(&self.path))?;
        self.count(piece);
        Ok(())
    }

    fn count(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.len += piece.len() as u64;
        let missing = LEADING.saturating_sub(self.leading.len()).min(piece.len());
        self.leading.extend_from_slice(&piece[..missing]);
    }

    /// Forgets what is here.
    pub(super) fn restart(&mut self) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(write_to(&self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(write_to(&self.path))?;
        (self.len, self.hash, self.record.validator) = (0, Sha256::new(), None);
        self.leading.clear();
        Ok(())
    }

    /// Gives the file its name, once it is safely on the disk.
    pub(super) fn finish(self) -> Result<PathBuf, FetchError> {
        self.file.sync_all().map_err(write_to(&self.path))?;
        std::fs::rename(&self.path, &self.target).map_err(write_to(&self.target))?;
        // Without its file the record says nothing.
        let _ = std::fs::remove_file(&self.record_path);
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        // The name is in the folder; where a folder cannot be synchronised, the system does it in its own time.
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            // As said above.
            let _ = folder.sync_all();
        }
        Ok(self.target)
    }

    /// Removes what is of no use to anyone.
    pub(super) fn discard(self) {
        // What cannot be removed is replaced by the next download.
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(&self.record_path);
    }
}

fn write_to(path: &Path) -> impl Fn(std::io::Error) -> FetchError {
    let path = path.to_owned();
    move |e| FetchError::write(&path, &e)
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(ending);
    PathBuf::from(name)
}
