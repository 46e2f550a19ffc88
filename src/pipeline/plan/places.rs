//! Whether outputs can be written, seen without writing any.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::PlanError;
use super::distinct::files;
use super::files::exists;
use crate::pipeline::job::{Job, OutputSpec};
use crate::sink::{SinkError, Target};

/// What stands against the outputs of `jobs` and against `others`, each with the option that names it; and the files that exist.
#[must_use]
pub fn survey(jobs: &[Job], others: &[(&'static str, &Path)]) -> (Vec<PlanError>, Vec<PathBuf>) {
    let (mut faults, mut exist) = (Vec::new(), Vec::new());
    for job in jobs {
        for path in files(&job.output) {
            faults.extend(unwritable("-o", &path, true));
            exist.push(path);
        }
        match &job.output {
            OutputSpec::Folder(folder) => faults.extend(unwritable("-o", &folder.join("image"), true)),
            OutputSpec::Stream(targets) => {
                faults.extend(targets.iter().filter_map(|target| refused(target).map(PlanError::Sink)));
            }
            _ => {}
        }
    }
    for (option, path) in others.iter().filter(|(_, path)| path.as_os_str() != "-") {
        faults.extend(unwritable(option, path, false));
        exist.push(path.to_path_buf());
    }
    exist.retain(|path| exists(path));
    (faults, exist)
}

/// What stands against an output that is no plain file.
fn refused(target: &Target) -> Option<SinkError> {
    match target {
        Target::Serve { server, .. } => server.access().tls.as_ref()?.check().err(),
        _ => None,
    }
}

/// Why a file cannot be written; its folder is created where `creates` says so.
fn unwritable(option: &'static str, path: &Path, creates: bool) -> Option<PlanError> {
    let absolute = std::path::absolute(path).ok()?;
    let mut above = absolute.ancestors().skip(1);
    let folder = above.find(|folder| folder.symlink_metadata().is_ok())?;
    if !creates && Some(folder) != absolute.parent() {
        return Some(PlanError::NoFolder { option, path: path.to_owned() });
    }
    let source = if path.is_dir() {
        std::io::ErrorKind::IsADirectory.into()
    } else if folder.is_dir() {
        access(folder, Access::WRITE_OK | Access::EXEC_OK).err()?.into()
    } else {
        std::io::ErrorKind::NotADirectory.into()
    };
    Some(PlanError::Unwritable { option, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_is_seen_without_writing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "").expect("a file");
        assert!(unwritable("-o", &path("new/deep/a.mkv"), true).is_none());
        assert!(matches!(unwritable("--json", &path("new/d.jsonl"), false), Some(PlanError::NoFolder { .. })));
        assert!(unwritable("--json", &path("d.jsonl"), false).is_none());
        assert!(matches!(unwritable("-o", &path("file/a.mkv"), true), Some(PlanError::Unwritable { .. })));
        let json = path("file");
        assert_eq!(survey(&[], &[("--json", &json), ("--json", Path::new("-"))]).1, [path("file")]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }
}
