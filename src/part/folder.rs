//! A folder that is written into for days.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Remembers on which disk it lies.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    disk: Option<u64>,
}

impl Folder {
    /// The folder at `path`, or the current one.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Self { path: path.to_owned(), disk: disk(path) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        !self.path.is_dir()
    }

    /// Creates it again where it was deleted. Where its disk is gone as well, it is not: that would fill another one.
    pub fn restore(&self) {
        let above =
            self.path.ancestors().skip(1).map(|above| if above.as_os_str().is_empty() { ".".as_ref() } else { above });
        let stands = above.map(disk).find_map(|disk| disk);
        if disk(&self.path).is_none() && stands.is_some() && stands == self.disk {
            // What cannot be created says so when it is written.
            let _ = std::fs::create_dir_all(&self.path);
        }
    }
}

/// The disk on which a folder lies, where there is one.
fn disk(path: &Path) -> Option<u64> {
    path.metadata().ok().map(|folder| folder.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_folder_is_created_again_on_its_own_disk_only() {
        let above = tempfile::tempdir().expect("a folder");
        let path = above.path().join("a/b");
        std::fs::create_dir_all(&path).expect("a folder");
        let folder = Folder::new(&path);
        folder.restore();
        std::fs::remove_dir_all(above.path().join("a")).expect("it is gone");
        folder.restore();
        assert!(path.is_dir());
        std::fs::remove_dir_all(above.path().join("a")).expect("it is gone");
        Folder { disk: folder.disk.map(|disk| disk + 1), ..folder }.restore();
        assert!(!path.exists(), "it lay on a disk that is not there");
    }
}
