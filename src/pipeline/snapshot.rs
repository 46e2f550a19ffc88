//! Snapshots: single annotated frames that the user asks for, encoded on a thread of their own, so that no frame waits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::{Job, OutputSpec};
use crate::secrets::redact;
use crate::sink::Target;
use crate::stills::{StillError, StillWriter};
use crate::thread::{Thread, ThreadError, spawn, test_panic_point};

/// Longest part of a name that comes from the source's, characters.
const LONGEST_STEM: usize = 80;
/// How long one may take: a PNG of 8K takes a few seconds on a slow core; a disk that hangs is not waited for.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// It could not be written.
    #[error(transparent)]
    Still(#[from] StillError),
    /// The thread that writes it could not be started, panicked, or does not end.
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

/// A stream's snapshots, one after the other.
#[derive(Default)]
pub(super) struct Snapshots {
    writing: Option<Thread<Result<PathBuf, StillError>>>,
}

impl Snapshots {
    /// Begins to write the frame in `buffer` to `path`, once the one before it is written; that one's outcome.
    pub fn write(
        &mut self,
        path: PathBuf,
        buffer: gst::Buffer,
        video: gst_video::VideoInfo,
    ) -> Option<Result<PathBuf, SnapshotError>> {
        let before = self.finish();
        let body = move || {
            test_panic_point();
            StillWriter::default().write(&path, buffer, &video).map(|()| path)
        };
        match spawn("snapshot", body) {
            Ok(thread) => self.writing = Some(thread),
            Err(e) => return before.or(Some(Err(e.into()))),
        }
        before
    }

    /// The outcome of one that has been written meanwhile.
    pub fn written(&mut self) -> Option<Result<PathBuf, SnapshotError>> {
        if self.writing.as_ref()?.is_finished() { self.finish() } else { None }
    }

    /// Waits for the one that is being written; its outcome.
    pub fn finish(&mut self) -> Option<Result<PathBuf, SnapshotError>> {
        let outcome = self.writing.take()?.join_within(LONGEST_WRITE);
        Some(outcome.map_err(SnapshotError::from).and_then(|written| Ok(written?)))
    }
}

/// A name that is free: `STEM-FRAME.png` beside the job's output, or in the current folder where there is none.
pub(super) fn free_name(job: &Job, file: Option<&Path>, frame: u64) -> PathBuf {
    let folder = match &job.output {
        OutputSpec::Image(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
        OutputSpec::Folder(folder) => folder.clone(),
        OutputSpec::Files(files) => {
            let own = file.and_then(|file| files.get(file)).and_then(|path| path.parent());
            own.unwrap_or(Path::new("")).to_owned()
        }
        OutputSpec::Stream(targets) => targets.iter().find_map(Target::folder).unwrap_or_default(),
        OutputSpec::None => PathBuf::new(),
    };
    let stem = stem(&file.map_or(job.name.as_str().into(), Path::to_string_lossy));
    let mut path = folder.join(format!("{stem}-{frame}.png"));
    let mut again = 2;
    while path.exists() {
        path = folder.join(format!("{stem}-{frame}-{again}.png"));
        again += 1;
    }
    path
}

/// Of a source's name what a file may be called.
fn stem(name: &str) -> String {
    let name = redact(name);
    let name = name.split(['?', '#']).next().unwrap_or_default();
    let stem = super::job::stem(Path::new(name));
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let stem: String = stem.chars().map(plain).take(LONGEST_STEM).collect();
    let stem = stem.trim_matches('_').to_owned();
    if stem.chars().any(char::is_alphanumeric) { stem } else { "snapshot".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::SourceSpec;

    #[test]
    fn names_are_free_and_give_nothing_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = |name: &str| Job {
            name: name.into(),
            source: SourceSpec::Video(name.into()),
            output: OutputSpec::Image(folder.path().join("out.png")),
            paced: false,
        };
        let named = |name: &str| {
            let path = free_name(&job(name), None, 12);
            assert_eq!(path.parent(), Some(folder.path()));
            path.file_name().expect("a name").to_string_lossy().into_owned()
        };
        assert_eq!(named("/videos/my clip.mp4"), "my_clip-12.png");
        assert_eq!(named("rtsp://user:secret@host/cam1?token=x/y"), "cam1-12.png");
        assert_eq!(named("rtsp://user:secret@host:554/"), "host_554-12.png");
        assert_eq!(named("-"), "snapshot-12.png");
        std::fs::write(folder.path().join("clip-12.png"), "taken").expect("a file");
        assert_eq!(named("clip.mp4"), "clip-12-2.png");
    }
}
