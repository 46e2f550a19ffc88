//! Two outputs of one run never share a file: the second would replace the first.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::PlanError;
use crate::part::part_path;
use crate::pipeline::job::{Job, OutputSpec, SourceSpec};
use crate::sink::{PLAYLIST, Target};

/// Checks that the files of `jobs` and `others`, each with the option that names it, are different ones. `-` and what is not
/// a regular file (a device, a pipe) may be named several times.
///
/// # Errors
/// When two of them are one file.
pub fn check_distinct(jobs: &[Job], others: &[(&'static str, &Path)]) -> Result<(), PlanError> {
    let outputs = jobs.iter().flat_map(|job| files(&job.output)).map(|path| ("-o", path));
    let mut named: HashMap<PathBuf, &'static str> = HashMap::new();
    for (option, path) in outputs.chain(others.iter().map(|(option, path)| (*option, path.to_path_buf()))) {
        if !is_file(&path) {
            continue;
        }
        for name in [path.clone(), part_path(&path)] {
            if let Some(first) = named.insert(real(&name), option) {
                return Err(PlanError::SameFile { first, second: option, path });
            }
        }
    }
    for path in jobs.iter().flat_map(|job| sources(&job.source)) {
        if let Some(first) = named.get(&real(path)) {
            return Err(PlanError::SameFile { first, second: "a source", path: path.clone() });
        }
    }
    Ok(())
}

/// Whether it is, or will be, a file: not standard output, a pipe or a device.
#[must_use]
pub fn is_file(path: &Path) -> bool {
    path.as_os_str() != "-" && path.metadata().map_or(true, |metadata| metadata.is_file())
}

/// The files that a source reads.
fn sources(source: &SourceSpec) -> &[PathBuf] {
    match source {
        SourceSpec::Video(path) => std::slice::from_ref(path),
        SourceSpec::Images(paths) => paths,
        SourceSpec::Live(_) => &[],
    }
}

/// The files that an output names; segments have names of their own.
pub(super) fn files(output: &OutputSpec) -> Vec<PathBuf> {
    match output {
        OutputSpec::Image(path) => vec![path.clone()],
        OutputSpec::Files(files) => files.values().cloned().collect(),
        OutputSpec::Stream(targets) => targets.iter().filter_map(file).collect(),
        OutputSpec::None | OutputSpec::Folder(_) => Vec::new(),
    }
}

fn file(target: &Target) -> Option<PathBuf> {
    match target {
        Target::File(file) if file.segments.is_none() => Some(file.path.clone()),
        Target::Hls { folder, .. } => Some(folder.join(PLAYLIST)),
        _ => None,
    }
}

/// The path without links and `..`, whether or not the file exists.
pub(super) fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.canonicalize().unwrap_or_else(|_| match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => real(folder).join(name),
        _ => absolute.clone(),
    })
}
