//! Files that take their name when they are whole.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

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
    /// Creates it.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        let (file, named) = if path.as_os_str() == "-" {
            (File::from(std::io::stdout().as_fd().try_clone_to_owned()?), true)
        } else if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            (File::options().write(true).open(path)?, true)
        } else if path.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
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

/// Writes a file that appears whole or not at all; `-` is standard output.
///
/// # Errors
/// When it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = PartFile::create(path)?;
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
        write_whole(&device, b"gone").expect("it takes all");
        assert!(device.is_symlink() && !part_path(&device).exists());
        let file = folder.path().join("file");
        write_whole(&file, b"kept").expect("a file");
        assert_eq!(std::fs::read(&file).expect("the file"), b"kept");
    }
}
