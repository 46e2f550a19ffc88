//! Single pictures that somebody asked for, as they are drawn: encoded on a thread of their own, so that no frame waits.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use gstreamer as gst;
use gstreamer_video as gst_video;

use super::{Job, OutputSpec};
use crate::secrets::redact;
use crate::sink::{PictureWriter, SinkError, Target};

/// Longest part of a name that comes from the source's, characters.
const LONGEST_STEM: usize = 80;

/// A stream's snapshots, one after the other.
#[derive(Default)]
pub(super) struct Snapshots {
    writing: Option<JoinHandle<Result<PathBuf, SinkError>>>,
}

impl Snapshots {
    /// Begins to write `picture` to `path`, once the one before it is written; that one's outcome.
    pub fn write(
        &mut self,
        path: PathBuf,
        picture: gst::Buffer,
        video: gst_video::VideoInfo,
    ) -> Option<Result<PathBuf, String>> {
        let before = self.finish();
        let body = move || PictureWriter::default().write(&path, picture, &video).map(|()| path);
        match std::thread::Builder::new().name("snapshot".into()).spawn(body) {
            Ok(thread) => self.writing = Some(thread),
            Err(e) => return before.or(Some(Err(e.to_string()))),
        }
        before
    }

    /// The outcome of one that has been written meanwhile.
    pub fn written(&mut self) -> Option<Result<PathBuf, String>> {
        if self.writing.as_ref()?.is_finished() { self.finish() } else { None }
    }

    /// Waits for the one that is being written; its outcome.
    pub fn finish(&mut self) -> Option<Result<PathBuf, String>> {
        let outcome = self.writing.take()?.join();
        Some(match outcome {
            Ok(outcome) => outcome.map_err(|e| e.to_string()),
            Err(_) => Err("the thread that wrote it panicked".into()),
        })
    }
}

/// A name that is free: `STEM-FRAME.png` beside the job's output, or in the current folder where there is none.
pub(super) fn free_name(job: &Job, file: Option<&str>, frame: u64) -> PathBuf {
    let folder = match &job.output {
        OutputSpec::Picture(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
        OutputSpec::Folder(folder) => folder.clone(),
        OutputSpec::Stream(targets) => targets.iter().find_map(Target::folder).unwrap_or_default(),
        OutputSpec::None => PathBuf::new(),
    };
    let stem = stem(file.unwrap_or(&job.name));
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
            output: OutputSpec::Picture(folder.path().join("out.png")),
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
