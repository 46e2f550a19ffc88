//! Files that take their name when they are whole.

mod folder;

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crossbeam_channel::{bounded, select};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::shutdown::Shutdown;
use crate::text::print_stderr;
use crate::thread::spawn;

pub use folder::Folder;

/// `NAME.part`, where a file is written until it is whole.
#[must_use]
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// The longest name of a file that its `.part` has room for.
pub const NAME: usize = 255 - ".part".len();

/// `path` with `suffix` before its extension; a name that would be too long loses the end of its stem.
#[must_use]
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut ending = OsString::from(suffix);
    if let Some(extension) = path.extension() {
        ending.push(".");
        ending.push(extension);
    }
    let stem = path.file_stem().unwrap_or_default();
    let room = NAME.saturating_sub(ending.len());
    let mut name = match stem.to_str() {
        Some(text) => OsString::from(&text[..text.floor_char_boundary(room)]),
        None => OsStr::from_bytes(&stem.as_bytes()[..stem.len().min(room)]).to_owned(),
    };
    name.push(ending);
    path.with_file_name(name)
}

/// Which file it is, whatever its name.
fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// What a path names now: a link is one itself.
fn named(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().as_ref().map(identity)
}

/// What an error of kind [`ErrorKind::ResourceBusy`] has for a remedy.
pub const BUSY: &str = "wait until that run ends, or choose another name";

/// A file that is `NAME.part` until it is whole, locked against other runs. `-` is standard output; devices and pipes are written
/// as they are.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    path: PathBuf,
    named: bool,
    /// What had the name when this began, which this replaces.
    replaces: Option<(u64, u64)>,
    recovered: Option<PathBuf>,
}

impl PartFile {
    /// Creates it. A named pipe is opened once something reads it, unless `stopping` is requested before.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve); `Interrupted` when nothing reads the pipe by then, and at once without `stopping`.
    pub fn create(path: &Path, stopping: Option<&Shutdown>) -> std::io::Result<Self> {
        let file = if path.as_os_str() == "-" {
            File::from(std::io::stdout().as_fd().try_clone_to_owned()?)
        } else if is_special(path) {
            open_special(path, stopping)?
        } else {
            return Self::reserve(path);
        };
        Ok(Self { file, path: path.to_owned(), named: true, replaces: None, recovered: None })
    }

    /// Creates and locks the `.part`, empty; something else (`filesink`) may write it under [`part_path`]. What a run that did not
    /// end left there is moved to `NAME.recovered.EXT`.
    ///
    /// # Errors
    /// When it cannot be created; `ResourceBusy` while another run writes it.
    pub fn reserve(path: &Path) -> std::io::Result<Self> {
        if path.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        let part = part_path(path);
        let mut recovered = None;
        loop {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&part)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    let busy = format!("{} is being written by another run", part.display());
                    return Err(std::io::Error::new(ErrorKind::ResourceBusy, busy));
                }
                // On a file system without locks, go on without.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            let opened = file.metadata()?;
            // Between opening and locking, its run may have ended and given it its name.
            let is_there = part.metadata().is_ok_and(|now| identity(&now) == identity(&opened));
            if is_there && opened.len() == 0 {
                return Ok(Self { file, path: path.to_owned(), named: false, replaces: named(path), recovered });
            }
            if is_there {
                let aside = recovered_path(path);
                std::fs::rename(&part, &aside)?;
                recovered = Some(aside);
            }
        }
    }

    /// Where what a run that did not end had left was moved, for a notice.
    #[must_use]
    pub fn recovered(&self) -> Option<String> {
        let aside = self.recovered.as_ref()?;
        Some(format!(
            "{} was left by a run that did not end; it is {} now",
            part_path(&self.path).display(),
            aside.display()
        ))
    }

    /// The notice of [`recovered`](Self::recovered), once.
    pub fn take_recovered(&mut self) -> Option<String> {
        let said = self.recovered();
        self.recovered = None;
        said
    }

    /// Whether the `.part` is still the file that this one has locked.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let own = self.file.metadata().ok().as_ref().map(identity);
        own.is_some() && own == named(&part_path(&self.path))
    }

    /// Another handle on it to write by, while this one stays to finish or discard it.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn writer(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// The name it was asked for under.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what was written can be written again: not so in a pipe or device.
    #[must_use]
    pub fn can_rewrite(&self) -> bool {
        !self.named
    }

    /// The next bytes go so many before its end.
    ///
    /// # Errors
    /// When it is a pipe or a device.
    pub fn step_back(&mut self, bytes: i64) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Current(-bytes)).map(|_| ())
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// When the system refuses; `AlreadyExists` when something else has taken the name since this began. What was written stays in
    /// the `.part`.
    pub fn finish(self) -> std::io::Result<()> {
        if self.named {
            return Ok(());
        }
        let part = part_path(&self.path);
        let now = named(&self.path);
        if now.is_some() && now == self.replaces {
            return std::fs::rename(part, &self.path);
        }
        match renameat_with(CWD, &part, CWD, &self.path, RenameFlags::NOREPLACE) {
            // A file system that cannot be asked for that.
            Err(Errno::INVAL | Errno::NOSYS) if now.is_none() => std::fs::rename(part, &self.path),
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {
                let taken = format!("something else took this name meanwhile; what was written is {}", part.display());
                Err(std::io::Error::new(ErrorKind::AlreadyExists, taken))
            }
            renamed => Ok(renamed?),
        }
    }

    /// Takes it away; what had its name before stays.
    pub fn discard(self) {
        if !self.named {
            // What cannot be removed stays as a `.part`, which says what it is.
            let _ = std::fs::remove_file(part_path(&self.path));
        }
    }
}

/// One in which nothing was written leaves nothing: an output that is tried again and again would leave a file each time.
impl Drop for PartFile {
    fn drop(&mut self) {
        let part = part_path(&self.path);
        let is_empty = |file: &std::fs::Metadata| file.is_file() && file.len() == 0;
        if !self.named
            && let (Ok(own), Ok(there)) = (self.file.metadata(), part.symlink_metadata())
            && is_empty(&own)
            && identity(&own) == identity(&there)
        {
            // What cannot be removed stays as a `.part`, which says what it is.
            let _ = std::fs::remove_file(part);
        }
    }
}

/// Moves what a run that did not end left of `path` aside, before anything is done; a notice where there was something. That the
/// file can be written is seen by that.
///
/// # Errors
/// As [`PartFile::reserve`].
pub fn set_aside(path: &Path) -> std::io::Result<Option<String>> {
    if path.as_os_str() == "-" || is_special(path) || is_special(&part_path(path)) {
        return Ok(None);
    }
    let part = PartFile::reserve(path)?;
    let recovered = part.recovered();
    part.discard();
    Ok(recovered)
}

/// Whether it is a pipe or a device.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// `NAME.recovered.EXT`, or the first of `NAME.recovered-2.EXT`, … that is free.
fn recovered_path(path: &Path) -> PathBuf {
    let name = |number: u32| match number {
        1 => with_suffix(path, ".recovered"),
        _ => with_suffix(path, &format!(".recovered-{number}")),
    };
    let is_free = |aside: &PathBuf| aside.symlink_metadata().is_err();
    (1..u32::MAX).map(name).find(is_free).unwrap_or_else(|| name(u32::MAX))
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Opens a pipe or device.
fn open_special(path: &Path, stopping: Option<&Shutdown>) -> std::io::Result<File> {
    let without_waiting = OFlags::NONBLOCK.bits().cast_signed();
    match File::options().write(true).custom_flags(without_waiting).open(path) {
        Ok(file) => {
            let flags = rustix::fs::fcntl_getfl(&file)?;
            rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
            Ok(file)
        }
        // Nothing reads the pipe. Opening waits in the system, on a thread that can be left alone.
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            let unread = || std::io::Error::new(ErrorKind::Interrupted, "nothing reads this pipe");
            let Some(stopping) = stopping else { return Err(unread()) };
            let (opened, file) = bounded(1);
            let waiting = path.to_owned();
            let open = move || {
                // Too late: nobody waits for it any more.
                let _ = opened.send(File::options().write(true).open(waiting));
            };
            let waiting = format!("waiting for a reader of {}", path.display());
            if tracing::dispatcher::has_been_set() {
                tracing::info!("{waiting}");
            } else {
                print_stderr(&format!("  {waiting}"));
            }
            spawn("open", open).map_err(std::io::Error::other)?;
            select! {
                recv(file) -> file => file.unwrap_or_else(|_| Err(unread())),
                recv(stopping.requested()) -> _ => Err(unread()),
            }
        }
        Err(error) => Err(error),
    }
}

/// Writes a file that appears whole or not at all; `-` is standard output. A named pipe is waited for as by
/// [`PartFile::create`].
///
/// # Errors
/// When it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8], stopping: Option<&Shutdown>) -> std::io::Result<()> {
    let mut file = PartFile::create(path, stopping)?;
    if let Err(error) = file.write_all(bytes) {
        file.discard();
        return Err(error);
    }
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_stays_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let device = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &device).expect("a link");
        write_whole(&device, b"gone", None).expect("it takes all");
        assert!(device.is_symlink() && !part_path(&device).exists());
        let file = folder.path().join("file");
        write_whole(&file, b"kept", None).expect("a file");
        assert_eq!(std::fs::read(&file).expect("the file"), b"kept");
    }

    #[test]
    fn what_takes_the_name_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.mkv");
        let mut part = PartFile::reserve(&path).expect("a file");
        part.write_all(b"recording").expect("it is written");
        std::fs::write(&path, b"precious").expect("a file");
        let error = part.finish().expect_err("it is taken");
        assert!(error.kind() == ErrorKind::AlreadyExists && error.to_string().contains("a.mkv.part"), "{error}");
        assert_eq!(std::fs::read(&path).expect("the file"), b"precious");
        assert_eq!(std::fs::read(part_path(&path)).expect("the recording"), b"recording");
        std::fs::remove_file(part_path(&path)).expect("it is there");
        let mut part = PartFile::reserve(&path).expect("a file");
        part.write_all(b"new").expect("it is written");
        part.finish().expect("it replaces what it knew of");
        assert_eq!(std::fs::read(&path).expect("the file"), b"new");
    }

    #[test]
    fn what_a_crash_left_under_a_long_name_is_moved_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        for stem in ["n".repeat(NAME - 4), "ö".repeat((NAME - 4) / 2)] {
            let path = folder.path().join(format!("{stem}.mkv"));
            std::fs::write(part_path(&path), b"left").expect("a file");
            let part = PartFile::reserve(&path).expect("a file");
            let aside = part.recovered.clone().expect("something was left");
            assert!(aside.display().to_string().ends_with(".recovered.mkv"), "{}", aside.display());
            part.discard();
        }
    }

    #[test]
    fn what_a_crash_left_is_moved_aside_and_what_another_run_writes_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cam.mkv");
        let is = |name: &str, text: &str| std::fs::read_to_string(folder.path().join(name)).is_ok_and(|is| is == text);
        assert_eq!(set_aside(&path).expect("nothing is there"), None);
        // A crash takes the lock with it.
        std::fs::write(part_path(&path), "one").expect("a part");
        let said = set_aside(&path).expect("it is moved").expect("a notice");
        assert!(said.ends_with("cam.recovered.mkv now") && is("cam.recovered.mkv", "one"), "{said}");
        std::fs::write(part_path(&path), "two").expect("a part");
        let mut live = PartFile::create(&path, None).expect("it is moved");
        assert!(
            live.recovered().is_some_and(|said| said.contains("cam.recovered-2.mkv"))
                && is("cam.recovered-2.mkv", "two")
        );
        live.write_all(b"live").expect("it is written");
        for refused in
            [PartFile::create(&path, None).map(drop), set_aside(&path).map(drop), write_whole(&path, b"x", None)]
        {
            let error = refused.expect_err("another writes it");
            assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
        }
        live.finish().expect("its name");
        assert!(is("cam.mkv", "live") && !part_path(&path).exists());
        // Nothing was written: there is nothing to move.
        std::fs::write(part_path(&path), "").expect("a part");
        assert_eq!(PartFile::create(&path, None).expect("a part").recovered(), None);
        assert!(!part_path(&path).exists(), "nothing was written: nothing is left");
        assert_eq!(recovered_path(Path::new("a/b")), Path::new("a/b.recovered"));
    }

    #[test]
    fn a_pipe_waits_for_its_reader_until_a_stop_is_requested() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        let stopping = Shutdown::new();
        let reads = std::thread::scope(|scope| {
            let reader = scope.spawn(|| std::fs::read(&pipe).expect("the pipe"));
            write_whole(&pipe, b"read", Some(&stopping)).expect("it is read");
            reader.join().expect("no panic")
        });
        assert_eq!(reads, b"read");
        stopping.request();
        let error = write_whole(&pipe, b"gone", Some(&stopping)).expect_err("nothing reads it");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Interrupted, "nothing reads this pipe"));
    }
}
