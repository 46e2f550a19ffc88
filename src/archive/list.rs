//! Names of files: as they are given, and as a folder has them.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::remote::{Location, LocationError, Unlisted, below};
use crate::secrets::redact;

/// Why a name is passed over.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Nothing is there.
    #[error("{0}: no such file\n  check the path")]
    Missing(String),
    /// It cannot be written into a queue.
    #[error("{}: a name that is not UTF-8\n  rename it", .0.display())]
    NotUtf8(PathBuf),
    /// The list ends before its end.
    #[error("the list: {0}")]
    Unread(#[from] io::Error),
    /// An address that cannot be used.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// What is below a prefix is not known, or not all of it.
    #[error(transparent)]
    Unlisted(#[from] Unlisted),
}

/// What a name stands for: a file, all that is wanted below a folder or a prefix of S3, what a glob matches, lines of standard input (`-`).
pub fn named(name: &OsStr, is_wanted: fn(&Path) -> bool) -> Box<dyn Iterator<Item = Result<PathBuf, ListError>>> {
    let path = Path::new(name);
    if name == "-" {
        return Box::new(listed(BufReader::new(io::stdin())).map(|line| Ok(line?)));
    }
    match name.to_str().and_then(Location::of) {
        Some(Ok(location)) if location.is_prefix() => {
            return Box::new(below(location, is_wanted).map(|name| Ok(name?)));
        }
        Some(Ok(location)) if location.has_glob() => return one(Err(LocationError::Glob(location.to_string()).into())),
        Some(location) => return one(location.map(|location| location.to_string().into()).map_err(Into::into)),
        None => {}
    }
    if path.is_dir() {
        return Box::new(walked(path, is_wanted).filter(|path| !is_annotated(path)).map(Ok));
    }
    if path.exists() {
        return one(Ok(path.to_owned()));
    }
    let pattern = name.to_str().filter(|name| name.contains(['*', '?', '[']));
    let found = pattern.and_then(|pattern| glob::glob(pattern).ok()).into_iter().flatten();
    let found: Vec<PathBuf> = found.filter_map(Result::ok).collect();
    if found.is_empty() {
        return one(Err(ListError::Missing(redact(&path.display().to_string()))));
    }
    Box::new(found.into_iter().map(Ok))
}

fn one(name: Result<PathBuf, ListError>) -> Box<dyn Iterator<Item = Result<PathBuf, ListError>>> {
    Box::new(std::iter::once(name))
}

/// Whether it is what a worker has written beside its source.
fn is_annotated(path: &Path) -> bool {
    let source = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.strip_suffix("-annotated"));
    source.is_some_and(|source| path.with_file_name(source).is_file())
}

/// A name that means the same on another machine.
///
/// # Errors
/// When it is not UTF-8, or an address that names no file.
pub fn absolute(path: &Path) -> Result<String, ListError> {
    if let Some(location) = path.to_str().and_then(Location::of) {
        let location = location?;
        if location.is_prefix() {
            return Err(LocationError::Prefix(location.to_string()).into());
        }
        return Ok(location.to_string());
    }
    let absolute = std::path::absolute(path)?.into_os_string();
    absolute.into_string().map_err(|name| ListError::NotUtf8(name.into()))
}

/// A line of a list as the name of a file. One that cannot be used stays one, without its secrets.
///
/// # Errors
/// When there is no working folder.
pub fn whole(name: &Path) -> io::Result<String> {
    let text = name.to_string_lossy();
    match Location::of(&text) {
        Some(Ok(location)) => Ok(location.to_string()),
        Some(Err(_)) => Ok(redact(&text)),
        None => Ok(std::path::absolute(name)?.to_string_lossy().into_owned()),
    }
}

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
        std::fs::write(path("c.mp4-annotated.mp4"), "").expect("a file");
        let is_video = |path: &Path| path.extension() == Some(OsStr::new("mp4"));
        let found: Vec<PathBuf> =
            named(folder.path().as_os_str(), is_video).map(|name| name.expect("a file")).collect();
        assert_eq!(found, ["b/a.mp4", "b/deep/x.mp4", "c.mp4", "d.mp4"].map(path));
        let missing = named(path("nothing*").as_os_str(), is_video).next().expect("an answer");
        assert!(matches!(missing, Err(ListError::Missing(_))));
        assert_eq!(named(path("[cd].mp4").as_os_str(), is_video).count(), 2);
        let names: Vec<PathBuf> =
            listed("# archive\na.mp4\r\n\nb c.mp4\n".as_bytes()).collect::<io::Result<_>>().expect("names");
        assert_eq!(names, ["a.mp4", "b c.mp4"].map(PathBuf::from));
    }
}
