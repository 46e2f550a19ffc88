//! From sources and outputs as they were named to jobs: nothing is opened, created or started by it.
//!
//! [`plan`] reads folders and globs, and names every output; [`prepare`], called when a run starts, creates folders, checks
//! that every file can be written, and listens where streams are served.

mod distinct;
mod error;
mod files;
mod names;
mod outputs;
mod places;
mod request;
mod sources;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use distinct::{check_distinct, is_file};
pub use error::PlanError;
pub use files::{go_on_beside, prepare_files};
pub use places::survey;
pub use request::{MAX_CLIENTS, OutputRequest};
pub use sources::is_media;

use super::job::{Job, OutputSpec, SourceSpec, file_names, free};
use crate::detections::FileNames;
use crate::part::with_suffix;
use crate::secrets::Credentials;
use crate::sink::{Target, check_display, check_output, check_playlist, check_segments, hold_output};
use crate::text::counted;
use names::Names;
use outputs::Outputs;

/// The jobs of a run, and what the user should know about them.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order of their stream numbers.
    pub jobs: Vec<Job>,
    /// Notices, each with what was done.
    pub notices: Vec<String>,
}

/// Plans one job a source; a folder or glob may hold several.
///
/// # Errors
/// When a source does not exist or an output cannot be named.
pub fn plan(
    sources: &[OsString],
    credentials: Option<&Credentials>,
    request: &OutputRequest,
) -> Result<Plan, PlanError> {
    let (mut specs, mut notices) = (Vec::new(), Vec::new());
    for source in sources {
        sources::expand(source, credentials, &mut specs, &mut notices)?;
    }
    let several = specs.len() > 1;
    let mut outputs = Outputs::read(request)?;
    let mut names = Names { several, segmented: request.segments.is_some(), taken: HashSet::new(), notices };
    let mut jobs = Vec::new();
    for (number, (name, source)) in specs.into_iter().enumerate() {
        let mut targets = Vec::new();
        let mut output = OutputSpec::None;
        for file in outputs.files() {
            match names.output(&name, &source, file, number)? {
                OutputSpec::Stream(named) => targets.extend(named),
                other => output = other,
            }
        }
        if let SourceSpec::Images(_) = source {
            outputs.refuse_images(&name)?;
        } else {
            outputs.complete(&source, several, number, &mut targets)?;
            if !targets.is_empty() {
                output = OutputSpec::Stream(targets);
            }
        }
        let live = matches!(&output, OutputSpec::Stream(targets) if targets.iter().any(Target::is_live));
        jobs.push(Job { name, source, output, paced: live && !request.full_speed });
    }
    Ok(Plan { jobs, notices: names.notices })
}

/// Makes the outputs of `jobs` ready: folders are created, files checked, recordings locked, addresses listened on. Nothing that exists is
/// touched, but that what runs which did not end left behind is moved aside, each with a notice.
///
/// # Errors
/// When an output exists and is not to be replaced, another run writes it, or it cannot be written or served.
pub fn prepare(jobs: &[Job], overwrite: bool) -> Result<Vec<String>, PlanError> {
    let mut notices = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        notices.extend(check_stills(number, job, overwrite)?);
        match &job.output {
            OutputSpec::None | OutputSpec::Folder(_) | OutputSpec::Files(_) => {}
            OutputSpec::Image(path) => notices.extend(check_output(path, overwrite)?),
            OutputSpec::Stream(targets) => {
                for target in targets {
                    prepare_target(target, overwrite, &mut notices)?;
                }
            }
        }
    }
    Ok(notices)
}

/// What an output is called, without secrets: each of its targets.
#[must_use]
pub fn names(output: &OutputSpec) -> Vec<String> {
    match output {
        OutputSpec::None => Vec::new(),
        OutputSpec::Image(path) => vec![path.display().to_string()],
        OutputSpec::Folder(folder) => vec![format!("{}/", folder.display())],
        OutputSpec::Files(files) => vec![counted(files.len() as u64, "image")],
        OutputSpec::Stream(targets) => targets.iter().map(Target::name).collect(),
    }
}

/// Where the heatmap of each job is written, of which `path` was asked for: of several, each has its source's name.
#[must_use]
pub fn heatmaps(path: &Path, jobs: &[Job]) -> Vec<PathBuf> {
    if jobs.len() == 1 {
        return vec![path.to_owned()];
    }
    let named = |names: FileNames| with_suffix(path, &format!("-{}", names.stem.to_string_lossy()));
    let mut taken = HashSet::new();
    let own = file_names(jobs).into_iter().map(named).enumerate();
    own.map(|(number, own)| free(number, |more| with_suffix(&own, more), |path| taken.insert(path.clone()))).collect()
}

/// What is in the way of outputs that nothing is written beside: images whose names are a pattern's.
#[must_use]
pub fn taken(jobs: &[Job]) -> Option<PlanError> {
    let patterns = jobs.iter().filter_map(|job| match &job.output {
        OutputSpec::Files(files) => Some(files.values()),
        _ => None,
    });
    let path = patterns.flatten().find(|path| path.symlink_metadata().is_ok())?;
    Some(PlanError::Exists { option: "-o", path: path.clone() })
}

/// The files and folders that outputs of `jobs` have for themselves. Segments, live playlists and patterns have names for every time.
pub fn places(jobs: &mut [Job]) -> impl Iterator<Item = &mut PathBuf> {
    jobs.iter_mut().flat_map(|job| match &mut job.output {
        OutputSpec::Image(path) | OutputSpec::Folder(path) => vec![path],
        OutputSpec::Stream(targets) => targets.iter_mut().filter_map(place).collect(),
        OutputSpec::None | OutputSpec::Files(_) => Vec::new(),
    })
}

fn place(target: &mut Target) -> Option<&mut PathBuf> {
    match target {
        Target::File(file) if file.segments.is_none() => Some(&mut file.path),
        Target::Hls { folder, live: false, .. } => Some(folder),
        _ => None,
    }
}

/// Checks the files of the images of stream `number`'s job, in their order.
fn check_stills(number: usize, job: &Job, overwrite: bool) -> Result<Vec<String>, PlanError> {
    if let OutputSpec::Folder(folder) = &job.output {
        std::fs::create_dir_all(folder).map_err(|source| PlanError::Folder { folder: folder.clone(), source })?;
    }
    let SourceSpec::Images(images) = &job.source else { return Ok(Vec::new()) };
    let files = job.stills(number);
    let files = images.iter().filter_map(|image| files.get(image));
    let checked = files.filter_map(|path| check_output(path, overwrite).transpose());
    Ok(checked.collect::<Result<_, _>>()?)
}

fn prepare_target(target: &Target, overwrite: bool, notices: &mut Vec<String>) -> Result<(), PlanError> {
    tracing::debug!(output = %target.name(), "preparing");
    match target {
        Target::File(file) if file.segments.is_some() => notices.extend(check_segments(&file.path)?),
        Target::File(file) => notices.extend(hold_output(file)?),
        Target::Hls { folder, live, .. } => notices.extend(check_playlist(folder, *live, overwrite)?),
        Target::Serve { server, .. } => server.listen()?,
        Target::Push(url) => outputs::check_host(url)?,
        Target::Display => check_display()?,
        Target::Viewers(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn planning_touches_nothing_and_preparing_does() {
        gstreamer::init().expect("GStreamer starts");
        let folder = tempfile::tempdir().expect("a folder");
        let hls = folder.path().join("live");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a free port");
        let outputs = vec![format!("rtsp://{address}/a").into(), format!("hls:{}", hls.display()).into()];
        let request = OutputRequest { outputs, ..OutputRequest::default() };
        let plan = plan(&["test:ball".into()], None, &request).expect("a plan");
        assert!(plan.jobs[0].paced && !hls.exists());
        drop(TcpListener::bind(address).expect("nothing listens there yet"));
        prepare(&plan.jobs, false).expect("outputs that can be used");
        assert!(hls.is_dir() && TcpListener::bind(address).is_err(), "the folder is there and the server listens");
        prepare(&plan.jobs, false).expect("a second time changes nothing");
    }

    #[test]
    fn a_percent_sign_in_a_sources_name_is_no_field() {
        let folder = tempfile::tempdir().expect("a folder");
        let clip = folder.path().join("100%.mp4");
        std::fs::write(&clip, "x").expect("a file");
        let segments =
            Some(crate::sink::Segments { length: std::time::Duration::from_secs(9), keep: None, keep_bytes: None });
        for (segments, expected) in [(segments, "100%%-%Y.mp4"), (None, "100%-%Y.mp4")] {
            let request = OutputRequest { outputs: vec!["{stem}-%Y.mp4".into()], segments, ..OutputRequest::default() };
            let plan = plan(&[clip.clone().into()], None, &request).expect("a plan");
            let OutputSpec::Stream(targets) = &plan.jobs[0].output else { panic!("a file") };
            assert_eq!(targets[0].name(), expected);
        }
    }

    #[test]
    fn outputs_that_do_not_go_together_are_refused() {
        let refused = |outputs: &[&str]| {
            let outputs = outputs.iter().map(OsString::from).collect();
            let request = OutputRequest { outputs, ..OutputRequest::default() };
            plan(&["-".into()], None, &request).map(|_| ()).expect_err("it is refused")
        };
        assert!(matches!(refused(&["none", "a.mkv"]), PlanError::NoneAndFile));
        assert!(matches!(refused(&["a.webm", "rtsp://:0/a"]), PlanError::Sink(_)));
        assert!(
            matches!(refused(&["ftp://user:geheim@host/a"]), PlanError::Output { output, .. } if output == "ftp://***@host/a")
        );
    }
}
