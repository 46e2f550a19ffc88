//! Outputs that take their names when all of them are whole.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::part::NAME;

/// What locks a folder while its file is worked on.
const LOCK: &str = "lock";
/// What says that its outputs are whole: who finds it gives them their names.
const WHOLE: &str = "whole";

/// Outputs of a file, each in a folder `.streamdet-ID` beside its destination. The folders are locked and, when this is dropped, deleted
/// with what is in them; those that a worker left that was killed are emptied.
#[derive(Debug)]
pub struct Staged {
    /// Where each is written, and where it goes.
    moves: Vec<(PathBuf, PathBuf)>,
    folders: Vec<(PathBuf, File)>,
    is_whole: bool,
    is_kept: bool,
}

impl Staged {
    /// Replaces each of `places`, where an output is to be in the end, by where it is written.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] while another worker is at the same file; when a folder cannot be made.
    pub fn begin(id: &str, places: Vec<&mut PathBuf>) -> io::Result<Self> {
        let mut staged = Self { moves: Vec::new(), folders: Vec::new(), is_whole: false, is_kept: false };
        for place in places {
            let (above, folder) = folder_of(place, id);
            if !staged.folders.iter().any(|(held, _)| *held == folder) {
                fs::create_dir_all(&above)?;
                let lock = held(&folder)?;
                staged.folders.push((folder.clone(), lock));
            }
            let written = folder.join(place.file_name().unwrap_or_default());
            staged.moves.push((written.clone(), std::mem::replace(place, written)));
        }
        let folders = || staged.folders.iter().map(|(folder, _)| folder);
        staged.is_whole = !staged.folders.is_empty() && folders().all(|folder| folder.join(WHOLE).exists());
        if !staged.is_whole {
            folders().try_for_each(|folder| emptied(folder))?;
        }
        Ok(staged)
    }

    /// Whether a worker that was killed had written all of it: what is left is [`finish`](Self::finish).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Deletes what a worker has left that was killed when its outputs had taken their names, where it has left anything.
    pub fn clear(id: &str, places: &[PathBuf]) {
        if places.iter().any(|place| folder_of(place, id).1.exists()) {
            // Where another worker is at it, it deletes it itself.
            drop(Self::begin(id, places.to_vec().iter_mut().collect()));
        }
    }

    /// Whether anything can be written there now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let written = |folder: &Path| {
            let probe = folder.join("probe");
            fs::write(&probe, vec![0; 1 << 16]).and_then(|()| fs::remove_file(&probe))
        };
        self.folders.iter().all(|(folder, _)| written(folder).is_ok())
    }

    /// Leaves what was written where it is, until who takes the file next.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Gives every output its name; what has it is replaced.
    ///
    /// # Errors
    /// When one was not written, or cannot be renamed.
    pub fn finish(self) -> io::Result<()> {
        // Who asks for the next file says that this one is done: it is still there when the power fails.
        for (written, place) in self.moves.iter().filter(|_| !self.is_whole) {
            let synced = File::open(written).and_then(|file| file.sync_all());
            synced.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place.display())))?;
        }
        for (folder, _) in &self.folders {
            File::create(folder.join(WHOLE))?;
        }
        for (written, place) in &self.moves {
            match fs::rename(written, place) {
                // It has its name since another worker was killed.
                Err(error) if self.is_whole && error.kind() == ErrorKind::NotFound && place.is_file() => {}
                renamed => {
                    renamed.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place.display())))?;
                }
            }
        }
        for above in self.folders.iter().filter_map(|(folder, _)| folder.parent()) {
            // Where a file system does not do that with folders, it does so by itself.
            let _ = File::open(above).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (folder, _) in self.folders.iter().filter(|_| !self.is_kept) {
            // What stays is emptied by who does the file again.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Why a file cannot be written under a name, which no machine changes.
#[must_use]
pub fn unusable(place: &Path) -> Option<String> {
    let shown = place.display();
    if place.is_dir() {
        return Some(format!("{shown} is a folder\n  choose another name"));
    }
    let length = place.iter().map(OsStr::len).max().unwrap_or(0);
    (length > NAME).then(|| format!("{shown}: a name of {length} bytes; {NAME} are possible\n  choose a shorter one"))
}

/// Where an output is to be, and the folder in it in which it is written.
fn folder_of(place: &Path, id: &str) -> (PathBuf, PathBuf) {
    let above = place.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (above.to_owned(), above.join(format!(".streamdet-{id}")))
}

/// Deletes what is in a folder, but for its lock.
pub(super) fn emptied(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

/// Makes a folder, and locks it.
pub(super) fn held(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    // Who ends deletes the folder: what was locked may be gone.
    for _ in 0..8 {
        match fs::create_dir(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => is_ours(folder, &path)?,
            made => made?,
        }
        let lock = match File::options().create(true).truncate(false).write(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            opened => opened?,
        };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => break,
            // A file system without locks.
            Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => return Err(error),
            _ => {}
        }
        let own = lock.metadata()?;
        let is_the_one = path.metadata().is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino()));
        if is_the_one {
            return Ok(lock);
        }
    }
    Err(ErrorKind::ResourceBusy.into())
}

/// Checks that what has the name of such a folder is one: it is emptied.
fn is_ours(folder: &Path, lock: &Path) -> io::Result<()> {
    let is_folder = match folder.symlink_metadata() {
        Ok(named) => named.is_dir(),
        // Another worker has just deleted it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let is_file = lock.symlink_metadata().is_ok_and(|lock| lock.is_file());
    let is_empty = || fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if is_folder && (is_file || is_empty()) {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::AlreadyExists,
        format!("{} is there, and is no worker's: delete it", folder.display()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_take_their_names_together_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        let begin = |id: &str| {
            let mut places = [place("new/a.mkv"), place("a.jsonl")];
            Staged::begin(id, places.iter_mut().collect()).map(|staged| (staged, places))
        };
        let (staged, places) = begin("1").expect("it begins");
        assert_eq!(begin("1").expect_err("it is held").kind(), ErrorKind::ResourceBusy);
        begin("2").expect("another file");
        for written in &places {
            fs::write(written, "half").expect("a file");
        }
        drop(staged);
        let left = |folder: &Path| fs::read_dir(folder).expect("a folder").count();
        assert_eq!((left(folder.path()), left(&place("new"))), (1, 0), "nothing is left but the folder");

        // One that was killed.
        fs::create_dir(place(".streamdet-1")).expect("a folder");
        fs::write(place(".streamdet-1/lock"), "").expect("a file");
        fs::write(place(".streamdet-1/a.jsonl.part"), "half").expect("a file");
        fs::create_dir(place(".streamdet-1/more")).expect("a folder");
        let (staged, places) = begin("1").expect("it begins");
        assert_eq!(left(&place(".streamdet-1")), 1, "its lock");
        for written in &places {
            fs::write(written, "whole").expect("a file");
        }
        staged.finish().expect("they are renamed");
        assert_eq!(fs::read_to_string(place("new/a.mkv")).expect("a file"), "whole");
        assert_eq!((left(folder.path()), left(&place("new"))), (2, 1));

        // One that was killed when they had them.
        fs::create_dir(place(".streamdet-1")).expect("a folder");
        for name in ["lock", "whole"] {
            fs::write(place(&format!(".streamdet-1/{name}")), "").expect("a file");
        }
        Staged::clear("1", &[place("new/a.mkv"), place("a.jsonl")]);
        assert_eq!((left(folder.path()), left(&place("new"))), (2, 1));
        assert_eq!(fs::read_to_string(place("a.jsonl")).expect("a file"), "whole");

        // One that was killed while they took their names.
        fs::remove_file(place("a.jsonl")).expect("it has none yet");
        for above in ["", "new/"] {
            fs::create_dir(place(&format!("{above}.streamdet-1"))).expect("a folder");
            for name in ["lock", "whole"] {
                fs::write(place(&format!("{above}.streamdet-1/{name}")), "").expect("a file");
            }
        }
        fs::write(place(".streamdet-1/a.jsonl"), "the other").expect("a file");
        let (staged, _) = begin("1").expect("it begins");
        assert!(staged.is_whole());
        staged.finish().expect("they are renamed");
        assert_eq!(fs::read_to_string(place("a.jsonl")).expect("a file"), "the other");
        assert_eq!((left(folder.path()), left(&place("new"))), (2, 1));
    }

    #[test]
    fn what_is_no_workers_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("precious/more")).expect("a folder");
        fs::create_dir(path(".streamdet-folder")).expect("a folder");
        fs::write(path(".streamdet-folder/own"), "own").expect("a file");
        fs::write(path(".streamdet-file"), "own").expect("a file");
        std::os::unix::fs::symlink(path("precious"), path(".streamdet-link")).expect("a link");
        for id in ["folder", "file", "link"] {
            let error = Staged::begin(id, vec![&mut path("a")]).expect_err(id);
            assert!(error.to_string().contains("is no worker's"), "{error}");
        }
        assert!(path("precious/more").is_dir() && path(".streamdet-folder/own").is_file());
    }

    #[test]
    fn of_many_workers_one_has_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, inside) = (folder.path(), std::sync::atomic::AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut place = path.join("a");
                        let Ok(staged) = Staged::begin("x", vec![&mut place]) else { continue };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        fs::write(&place, "whole").expect("its folder is there");
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        staged.finish().expect("it is renamed");
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(path.join("a")).expect("a file"), "whole");
    }
}
