//! Outputs that take their names when all of them are whole.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What locks a folder while its file is worked on.
const LOCK: &str = "lock";

/// Outputs of a file, each in a folder `.streamdet-ID` beside its destination. The folders are locked and, when this is dropped, deleted
/// with what is in them; those that a worker left that was killed are emptied.
#[derive(Debug)]
pub struct Staged {
    /// Where each is written, and where it goes.
    moves: Vec<(PathBuf, PathBuf)>,
    folders: Vec<(PathBuf, File)>,
}

impl Staged {
    /// Replaces each of `places`, where an output is to be in the end, by where it is written.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] while another worker is at the same file; when a folder cannot be made.
    pub fn begin(id: &str, places: Vec<&mut PathBuf>) -> io::Result<Self> {
        let mut staged = Self { moves: Vec::new(), folders: Vec::new() };
        for place in places {
            let above = place.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = above.join(format!(".streamdet-{id}"));
            if !staged.folders.iter().any(|(held, _)| *held == folder) {
                fs::create_dir_all(above)?;
                let lock = held(&folder)?;
                staged.folders.push((folder.clone(), lock));
            }
            let written = folder.join(place.file_name().unwrap_or_default());
            staged.moves.push((written.clone(), std::mem::replace(place, written)));
        }
        Ok(staged)
    }

    /// Gives every output its name; what has it is replaced.
    ///
    /// # Errors
    /// When one was not written, or cannot be renamed.
    pub fn finish(self) -> io::Result<()> {
        for (written, place) in &self.moves {
            fs::rename(written, place)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place.display())))?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (folder, _) in &self.folders {
            // What stays is emptied by who does the file again.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Makes a folder, locks it and empties it.
fn held(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    // Who ends deletes the folder: what was locked may be gone.
    for _ in 0..8 {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
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
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_name() == LOCK {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?
                } else {
                    fs::remove_file(entry.path())?
                }
            }
            return Ok(lock);
        }
    }
    Err(ErrorKind::ResourceBusy.into())
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
