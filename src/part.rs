//! Files that take their name when they are whole.

use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::{bounded, select};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::shutdown::Shutdown;
use crate::text::print_stderr;
use crate::thread::spawn;

/// `NAME.part`, where a file is written until it is whole.
#[must_use]
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// A file that is `NAME.part` until it is whole. `-` is standard output; devices and pipes are written as they are.
#[derive(Debug)]
pub struct PartFile {
    /// `None`: something else writes it.
    file: Option<File>,
    path: PathBuf,
    named: bool,
}

impl PartFile {
    /// Creates it. A named pipe is opened once something reads it, unless `stopping` is requested before.
    ///
    /// # Errors
    /// When it cannot be created; `Interrupted` when nothing reads the pipe by then, and at once without `stopping`.
    pub fn create(path: &Path, stopping: Option<&Shutdown>) -> std::io::Result<Self> {
        let (file, named) = if path.as_os_str() == "-" {
            (File::from(std::io::stdout().as_fd().try_clone_to_owned()?), true)
        } else if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            (open_special(path, stopping)?, true)
        } else if path.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        } else {
            (File::create(part_path(path))?, false)
        };
        Ok(Self { file: Some(file), path: path.to_owned(), named })
    }

    /// One that is created and written by other means (`filesink`) under [`part_path`], and only takes its name or goes here.
    #[must_use]
    pub fn written_by_others(path: &Path) -> Self {
        Self { file: None, path: path.to_owned(), named: false }
    }

    fn file(&self) -> std::io::Result<&File> {
        self.file.as_ref().ok_or_else(|| std::io::Error::other("something else writes this file"))
    }

    /// Another handle on it to write by, while this one stays to finish or discard it.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn writer(&self) -> std::io::Result<File> {
        self.file()?.try_clone()
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
        self.file()?.seek(SeekFrom::Current(-bytes)).map(|_| ())
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// When the system refuses; what was written stays in the `.part`.
    pub fn finish(self) -> std::io::Result<()> {
        if self.named { Ok(()) } else { std::fs::rename(part_path(&self.path), &self.path) }
    }

    /// Takes it away; what had its name before stays.
    pub fn discard(self) {
        if !self.named {
            // What cannot be removed stays as a `.part`, which says what it is.
            let _ = std::fs::remove_file(part_path(&self.path));
        }
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file()?.flush()
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
