//! Files that a run writes beside its video: detections, report, charts. One that exists is never touched, unless that was asked for.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::PlanError;
use super::distinct::is_file;
use crate::part::{set_aside, with_suffix};

/// What the name of a file gets whose own is taken. Segments, which are deleted by their names, have another.
const TIME: &str = "-%Y-%m-%dT%H%M%SZ";

/// Makes files ready, each with the option that names it: what runs that did not end left is moved aside, with a notice, and each can
/// be written. One that exists is refused, unless `overwrite` says that it is replaced.
///
/// # Errors
/// When one exists, another run writes it, or it cannot be written.
pub fn prepare_files(files: Vec<(&'static str, &mut PathBuf)>, overwrite: bool) -> Result<Vec<String>, PlanError> {
    let mut notices = Vec::new();
    for (option, path) in files {
        if !overwrite && exists(path) {
            return Err(PlanError::Exists { option, path: path.clone() });
        }
        notices.extend(set_aside(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::ResourceBusy => PlanError::Left { option, source },
            std::io::ErrorKind::NotFound => PlanError::NoFolder { option, path: path.clone() },
            _ => PlanError::Unwritable { option, path: path.clone(), source },
        })?);
    }
    Ok(notices)
}

/// Whether a file would be replaced, or a link to nothing.
pub(super) fn exists(path: &Path) -> bool {
    is_file(path) && path.symlink_metadata().is_ok()
}

/// Gives `path`, where it is a file or a folder with something in it, a free name beside it, with the time; a notice then. A run whose source
/// is live is started again and again, and goes on so where an earlier one ended.
pub fn go_on_beside(option: &str, path: &mut PathBuf) -> Option<String> {
    let is_taken =
        if path.is_dir() { path.read_dir().is_ok_and(|mut inside| inside.next().is_some()) } else { exists(path) };
    if !is_taken {
        return None;
    }
    let free = beside(path, Timestamp::now());
    let taken = std::mem::replace(path, free);
    Some(format!("{option} {} exists: writing {}", taken.display(), path.display()))
}

/// A free name beside one that is taken.
fn beside(path: &Path, now: Timestamp) -> PathBuf {
    let time = now.strftime(TIME).to_string();
    let names = (1_u32..).map(|number| match number {
        1 => with_suffix(path, &time),
        _ => with_suffix(path, &format!("{time}-{number}")),
    });
    let mut free = names.filter(|name| name.symlink_metadata().is_err());
    free.next().unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_exists_is_refused_or_written_beside_or_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("d.jsonl");
        std::fs::write(&taken, "precious").expect("a file");
        let mut path = taken.clone();
        let refused = prepare_files(vec![("--json", &mut path)], false).expect_err("it is there").to_string();
        assert!(refused.contains("--json") && refused.contains("--overwrite"), "{refused}");
        assert_eq!(prepare_files(vec![("--json", &mut path)], true).expect("it is asked for"), [""; 0]);
        assert_eq!(path, taken);
        let notices: Vec<String> = go_on_beside("--json", &mut path).into_iter().collect();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        assert!(
            name.starts_with("d-2") && name.ends_with("Z.jsonl") && notices[0].contains(&name),
            "{name} {notices:?}"
        );
        // A second one within a second, or one with a clock that stands.
        let now = Timestamp::now();
        std::fs::write(beside(&taken, now), "").expect("a file");
        assert!(beside(&taken, now).display().to_string().ends_with("Z-2.jsonl"));
        assert_eq!(std::fs::read_to_string(&taken).expect("the file"), "precious");
    }

    #[test]
    fn what_is_no_file_is_written_as_it_is() {
        let (mut out, mut null) = (PathBuf::from("-"), PathBuf::from("/dev/null"));
        let files = vec![("--json", &mut out), ("--report", &mut null)];
        assert_eq!(prepare_files(files, false).expect("nothing is replaced"), [""; 0]);
    }
}
