//! Names of files: as they are given, and as a folder has them.

use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names of a list, one a line; empty lines and those that begin with `#` are passed over.
pub fn listed(lines: impl BufRead) -> impl Iterator<Item = io::Result<PathBuf>> {
    let name = |line: io::Result<Vec<u8>>| match line {
        Ok(line) => {
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            let is_name = !line.is_empty() && !line.starts_with(b"#");
            is_name.then(|| Ok(PathBuf::from(OsStr::from_bytes(line))))
        }
        Err(error) => Some(Err(error)),
    };
    lines.split(b'\n').filter_map(name)
}

/// The files below a folder that are wanted, in order of their names; hidden ones and what cannot be read are passed over.
pub fn walked(folder: &Path, is_wanted: fn(&Path) -> bool) -> impl Iterator<Item = PathBuf> + use<> {
    // The next is the last.
    let mut left = vec![folder.to_owned()];
    std::iter::from_fn(move || {
        while let Some(path) = left.pop() {
            if path.is_dir() {
                let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
                let shown = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
                // A link to a folder may lead back.
                let mut found: Vec<PathBuf> = shown
                    .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()) || entry.path().is_file())
                    .map(|entry| entry.path())
                    .collect();
                found.sort_unstable_by(|a, b| b.cmp(a));
                left.append(&mut found);
            } else if is_wanted(&path) {
                return Some(path);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_walked_in_order_and_a_list_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("b/deep")).expect("a folder");
        for name in ["c.mp4", "b/deep/x.mp4", "b/a.mp4", "a.txt", ".hidden.mp4"] {
            std::fs::write(path(name), "").expect("a file");
        }
        std::os::unix::fs::symlink(folder.path(), path("b/back")).expect("a link");
        std::os::unix::fs::symlink(path("c.mp4"), path("d.mp4")).expect("a link");
        let found: Vec<PathBuf> = walked(folder.path(), |path| path.extension() == Some(OsStr::new("mp4"))).collect();
        assert_eq!(found, ["b/a.mp4", "b/deep/x.mp4", "c.mp4", "d.mp4"].map(path));
        let names: Vec<PathBuf> =
            listed("# archive\na.mp4\r\n\nb c.mp4\n".as_bytes()).collect::<io::Result<_>>().expect("names");
        assert_eq!(names, ["a.mp4", "b c.mp4"].map(PathBuf::from));
    }
}
