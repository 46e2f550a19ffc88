//! Two outputs never share a file or a name on a server: the second would replace the first.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PlanError;
use crate::part::part_path;
use crate::pipeline::job::{Job, OutputSpec, SourceSpec};
use crate::sink::{PLAYLIST, RtspServer, Target};

/// Checks that the files of `jobs` and `others`, each with the option that names it, are different ones, and so are the names that streams
/// are served under. `-` and what is not a regular file (a device, a pipe) may be named several times.
///
/// # Errors
/// When two of them are one.
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
    check_served(jobs)
}

/// Checks what is served over RTSP: one server an address, one stream a name. A free port is each time another.
fn check_served(jobs: &[Job]) -> Result<(), PlanError> {
    let targets = jobs.iter().filter_map(|job| match &job.output {
        OutputSpec::Stream(targets) => Some(targets),
        _ => None,
    });
    let served = targets.flatten().filter_map(|target| match target {
        Target::Serve { server, mount } if server.requested().port() != 0 => Some((server, mount)),
        _ => None,
    });
    let mut known: HashMap<SocketAddr, (&Arc<RtspServer>, HashSet<&str>)> = HashMap::new();
    for (server, mount) in served {
        let (first, mounts) = known.entry(server.requested()).or_insert_with(|| (server, HashSet::new()));
        let problem = if !Arc::ptr_eq(first, server) {
            "another output at this address has another scheme, user, password or --max-clients"
        } else if mounts.insert(mount) {
            continue;
        } else {
            "another output has this address and name"
        };
        let remedy = "give each a port or a name of its own".to_owned();
        return Err(PlanError::Output { output: server.url(mount), problem: problem.to_owned(), remedy });
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
