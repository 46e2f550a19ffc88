//! Recordings: one file, or one after the other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;

use super::hls::Playlist;
use super::open_file::{Closing, Fate, Format, OpenFile};
use crate::sink::container::{Container, container_of};
use crate::sink::encode::KeyframeRequester;
use crate::sink::error::SinkError;
use crate::sink::output::{AccessUnit, AudioWritten, Branch, BranchContext, FinishedOutputs, OutputListener};
use crate::sink::pipeline::Progress;
use crate::sink::target::Segments;

/// A segment may be longer than it should by as much as keyframes are apart.
const SPARE: Duration = Duration::from_secs(10);

/// A recording, in one file or several.
pub(super) struct FileBranch {
    path: PathBuf,
    ending: String,
    container: Container,
    segments: Option<Segments>,
    playlist: Option<Playlist>,
    overwrite: bool,
    /// How long a file is, where that is known, and the stream's frame rate.
    length: Option<Duration>,
    frame_rate: Option<(i32, i32)>,
    /// Formats of the audio tracks, and what became of each.
    audio: Vec<(gst::Caps, Fate)>,
    live: bool,
    listener: OutputListener,
    caps: Option<gst::Caps>,
    /// The next file begins with the next frame.
    cut: bool,
    open: Option<OpenFile>,
    closing: Option<Closing>,
    /// Files begun so far.
    number: u32,
    /// By an output before this one.
    before: u32,
    /// Where the segment that is written should end.
    cut_at: Option<gst::ClockTime>,
    /// Files that are whole, or about to be, with the time at which they end, and their audio.
    written: Vec<(PathBuf, gst::ClockTime, Vec<AudioWritten>)>,
    /// The audio of all of them.
    audio_written: Vec<AudioWritten>,
    progress: Progress,
}

impl FileBranch {
    /// Opens the first file.
    ///
    /// # Errors
    /// When an element is missing or the file cannot be created.
    pub fn open(
        path: &Path,
        segments: Option<Segments>,
        overwrite: bool,
        context: &mut BranchContext,
    ) -> Result<Self, SinkError> {
        Self::begin(path, segments, None, overwrite, context)
    }

    /// Opens the first segment of a playlist.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_hls(
        folder: &Path,
        segment: Duration,
        live: bool,
        context: &mut BranchContext,
    ) -> Result<Self, SinkError> {
        let playlist = Playlist::new(folder, segment, live);
        let segments = Some(Segments { length: segment, keep: None });
        Self::begin(&folder.join("segment.ts"), segments, Some(playlist), true, context)
    }

    fn begin(
        path: &Path,
        segments: Option<Segments>,
        playlist: Option<Playlist>,
        overwrite: bool,
        context: &mut BranchContext,
    ) -> Result<Self, SinkError> {
        let (ending, container) = container_of(path);
        let length = segments.map_or(context.info.sure_duration, |segments| Some(segments.length + SPARE));
        let mut branch = Self {
            path: path.to_owned(),
            ending: format!(".{ending}"),
            container,
            segments,
            playlist,
            overwrite,
            length,
            frame_rate: context.info.frame_rate,
            audio: context.audio.iter().map(|caps| (caps.clone(), Fate::Comes)).collect(),
            live: context.live,
            listener: context.listener.clone(),
            caps: None,
            cut: false,
            open: None,
            closing: None,
            number: context.files,
            before: context.files,
            cut_at: None,
            written: Vec::new(),
            audio_written: vec![AudioWritten::default(); context.audio.len()],
            progress: context.progress.clone(),
        };
        branch.open = Some(branch.next()?);
        Ok(branch)
    }

    /// Opens the file after the one before.
    fn next(&mut self) -> Result<OpenFile, SinkError> {
        self.number += 1;
        let path = match self.segments {
            Some(_) => numbered(&self.path, &format!("{:04}", self.number)),
            None if self.number > 1 => numbered(&self.path, &self.number.to_string()),
            None => self.path.clone(),
        };
        if self.number > 1 && path.exists() && !self.overwrite {
            return Err(SinkError::Exists(path));
        }
        let format = Format {
            muxer: self.container.muxer_for(self.length, self.frame_rate),
            parser: &self.container.parser,
            ending: &self.ending,
            frame_rate: self.frame_rate,
            audio: &self.audio,
            live: self.live,
            listener: &self.listener,
        };
        OpenFile::open(&path, &format, &self.progress)
    }

    /// Has the file that is written finished, beside what follows.
    fn close(&mut self, end: gst::ClockTime) -> Result<(), SinkError> {
        let Some(mut file) = self.open.take() else { return Ok(()) };
        self.settle()?;
        file.end();
        for (track, (_, fate)) in self.audio.iter_mut().enumerate() {
            *fate = file.fate(track, *fate);
        }
        let audio = file.audio_written();
        self.audio_written.iter_mut().zip(&audio).for_each(|(sum, written)| sum.add(written));
        let began = file.began.unwrap_or(end);
        let path = file.path().to_owned();
        if let Some(playlist) = &mut self.playlist {
            // A playlist names what is there: transport streams are finished in no time.
            Closing::start(file)?.wait()?;
            return playlist.add(&path, Duration::from(end.saturating_sub(began)));
        }
        self.written.push((path, end, audio));
        self.closing = Some(Closing::start(file)?);
        if let Some(keep) = self.segments.and_then(|segments| segments.keep) {
            let old = |ended: gst::ClockTime| Duration::from(end.saturating_sub(ended)) > keep;
            self.written.retain(|(path, ended, _)| {
                // What cannot be deleted takes space and does no other harm.
                !old(*ended) || std::fs::remove_file(path).is_err()
            });
        }
        Ok(())
    }

    /// Waits for the file before to be whole.
    fn settle(&mut self) -> Result<(), SinkError> {
        let settled = self.closing.take().map_or(Ok(()), Closing::wait);
        if settled.is_err() {
            self.written.pop();
        }
        settled
    }

    /// Whether the frame begins another file.
    fn is_due(&self, unit: &AccessUnit) -> bool {
        unit.is_keyframe && (self.cut || self.cut_at.is_some_and(|at| unit.pts >= at))
    }
}

impl Branch for FileBranch {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&mut self, caps: &gst::Caps, _: &KeyframeRequester) -> Result<(), SinkError> {
        self.cut = self.caps.is_some();
        self.caps = Some(caps.clone());
        Ok(())
    }

    fn access_unit(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        if self.is_due(unit) && self.open.as_ref().is_some_and(|file| file.began.is_some()) {
            self.close(unit.pts)?;
            if let Some(playlist) = self.playlist.as_mut().filter(|_| self.cut) {
                playlist.broken = true;
            }
            self.cut = false;
            self.open = Some(self.next()?);
        }
        let Some(file) = &mut self.open else { return Ok(()) };
        if file.began.is_none() {
            if let Some(caps) = &self.caps {
                file.set_caps(caps);
            }
            // A recording in one file keeps its times, and a playlist's segments follow one another.
            let whole = self.playlist.is_some() || self.number == 1;
            file.base = if whole { gst::ClockTime::ZERO } else { unit.pts };
            file.began = Some(unit.pts);
            if let Some(segments) = self.segments {
                let length = gst::ClockTime::try_from(segments.length).unwrap_or(gst::ClockTime::MAX);
                // Counted from the one before, so that lengths do not add up to more than they should.
                let from = self.cut_at.filter(|at| (*at..at.saturating_add(length)).contains(&unit.pts));
                let from = from.unwrap_or(unit.pts);
                self.cut_at = Some(from.saturating_add(length));
            }
        }
        file.access_unit(unit)
    }

    fn audio_format(&mut self, track: usize, format: &gst::Caps) {
        // What was wrong with the one before says nothing of this one.
        self.audio[track] = (format.clone(), Fate::Comes);
        if let Some(file) = &mut self.open {
            file.audio_format(track, format, &self.ending);
        }
    }

    fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>) {
        if packet.is_none() && self.audio[track].1 != Fate::LeftOut {
            self.audio[track].1 = Fate::Ended;
        }
        if let Some(file) = &mut self.open {
            file.audio(track, packet);
        }
    }

    fn finish(mut self: Box<Self>, works: bool, finished: &mut FinishedOutputs) {
        if !works {
            self.open = None;
        }
        let end = self.open.as_ref().map_or(gst::ClockTime::ZERO, |file| file.end);
        let closed = self.close(end).and_then(|()| self.settle());
        finished.begun = finished.begun.max(self.number - self.before);
        let last = self.playlist.as_mut().map_or(Ok(()), Playlist::end);
        match &self.playlist {
            Some(playlist) => finished.files.push((playlist.path().to_owned(), self.audio_written.clone())),
            None => finished.files.extend(self.written.into_iter().map(|(path, _, audio)| (path, audio))),
        }
        if works {
            finished.audio.push((self.path, self.audio_written));
        }
        if let Err(error) = closed.and(last) {
            finished.fail(error);
        }
    }
}

/// `NAME-NUMBER.ENDING`.
fn numbered(path: &Path, number: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy()));
    path.with_file_name(format!("{stem}-{number}{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_before_the_ending() {
        assert_eq!(numbered(Path::new("out/a.b.mp4"), "0001"), Path::new("out/a.b-0001.mp4"));
    }
}
