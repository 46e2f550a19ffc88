//! The cache: a folder for each file that is worked on, locked, and deleted with what is in it when its turn is over.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::location::Location;
use crate::archive::staged::{emptied, held};

/// Uploads in parts that were begun: those of a worker that was killed are given up by the next one.
const UPLOADS: &str = "uploads";
/// Held while the cache is measured.
const SIZE: &str = "size.lock";

/// A file's folder in the cache.
pub(super) struct Scratch {
    pub(super) folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Takes a file's folder. What another worker has left in it is deleted; its uploads are returned.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] while another worker is at the same file.
    pub(super) fn begin(cache: &Path, id: &str) -> io::Result<(Self, Vec<(Location, String)>)> {
        fs::create_dir_all(cache)?;
        let folder = cache.join(id);
        let scratch = Self { _lock: held(&folder)?, folder };
        let uploads = fs::read_to_string(scratch.folder.join(UPLOADS)).unwrap_or_default();
        let upload = |line: &str| {
            let (id, location) = line.split_once(' ')?;
            Some((Location::of(location)?.ok()?, id.to_owned()))
        };
        let uploads = uploads.lines().filter_map(upload).collect();
        emptied(&scratch.folder)?;
        Ok((scratch, uploads))
    }

    /// Those of workers that were killed.
    pub(super) fn left(cache: &Path) -> impl Iterator<Item = (Self, Vec<(Location, String)>)> {
        folders(cache).filter_map(|(folder, id)| {
            // One that ends just now is made again, and deleted again.
            if folder.join("lock").exists() { Self::begin(folder.parent()?, &id).ok() } else { None }
        })
    }

    /// Notes an upload that was begun.
    pub(super) fn note(&self, location: &Location, upload: &str) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.folder.join(UPLOADS))?;
        writeln!(file, "{upload} {location}")
    }

    /// Room for a file of `length` bytes at `path`; none while the files of others take it.
    pub(super) fn room(cache: &Path, most: u64, path: &Path, length: u64) -> io::Result<Option<File>> {
        let lock = File::options().create(true).truncate(false).write(true).open(cache.join(SIZE))?;
        match lock.lock() {
            // A file system without locks.
            Err(error) if error.kind() != ErrorKind::Unsupported => return Err(error),
            _ => {}
        }
        let own = path.metadata().map_or(0, |own| own.len());
        let used: u64 = folders(cache).map(|(folder, _)| size(&folder)).sum();
        if used.saturating_sub(own).saturating_add(length) > most {
            return Ok(None);
        }
        let file = File::create(path)?;
        if length > 0 {
            match fallocate(&file, FallocateFlags::empty(), 0, length) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(length)?,
                taken => taken?,
            }
        }
        Ok(Some(file))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is deleted by the next worker that begins here.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folders of files, which are called by their ids.
fn folders(cache: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let id = entry.file_name().into_string().ok()?;
        let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        (is_id && entry.file_type().ok()?.is_dir()).then(|| (entry.path(), id))
    })
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |file| file.len()),
        _ => 0,
    };
    entries.map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_what_was_left_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = folder.path().join("cache");
        let id = |number: u32| format!("{number:032x}");
        let (first, _) = Scratch::begin(&cache, &id(1)).expect("a folder");
        assert_eq!(Scratch::begin(&cache, &id(1)).err().map(|e| e.kind()), Some(ErrorKind::ResourceBusy));
        let room =
            |scratch: &Scratch, length| Scratch::room(&cache, 1000, &scratch.folder.join("x"), length).expect("a file");
        assert!(room(&first, 600).is_some() && room(&first, 700).is_some(), "again, as another one");
        let (second, _) = Scratch::begin(&cache, &id(2)).expect("a folder");
        assert!(room(&second, 301).is_none() && room(&second, 300).is_some());
        assert_eq!(Scratch::left(&cache).count(), 0, "both are held");
        drop(first);
        assert!(room(&second, 1000).is_some());

        // As a worker leaves it that is killed.
        let dead = cache.join(id(3));
        fs::create_dir(&dead).expect("a folder");
        fs::write(dead.join("lock"), "").expect("a file");
        fs::write(dead.join(UPLOADS), "upload-1 s3://b/day 1/a.mp4\n").expect("a file");
        let to = Location::of("s3://b/day 1/a.mp4").expect("an address").expect("a name");
        let left: Vec<_> = Scratch::left(&cache).map(|(_, uploads)| uploads).collect();
        assert_eq!(left, [vec![(to, "upload-1".to_owned())]]);
        assert!(!cache.join(id(3)).exists() && cache.join(id(2)).exists());
    }
}
