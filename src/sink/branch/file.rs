//! Recordings: one file, or one after the other.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gstreamer as gst;

use jiff::Timestamp;

use super::hls::Playlist;
use super::open_file::{Closing, Fate, Format, OpenFile};
use crate::clock;
use crate::part::{Folder, PartFile, part_path, with_suffix};
use crate::sink::container::{Container, container_of};
use crate::sink::encode::KeyframeRequester;
use crate::sink::error::SinkError;
use crate::sink::output::{
    AccessUnit, AudioWritten, Branch, BranchContext, FILES, FinishedOutputs, OutputEvent, OutputListener,
};
use crate::sink::pipeline::Progress;
use crate::sink::segments::{SegmentNames, later};
use crate::sink::target::{FileTarget, Gaps, Held, Segments};
use crate::sink::wall_clock::WallClock;
use crate::text::counted;

/// A segment may be longer than it should by as much as keyframes are apart.
const SPARE: Duration = Duration::from_secs(10);

/// What the files are called.
enum Names {
    /// So, and with a number from the second on.
    One {
        path: PathBuf,
        overwrite: bool,
        held: Held,
    },
    Segments(SegmentNames),
    Playlist(Playlist),
}

/// Why a file ends before its time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The frames that follow have another format.
    Format,
    /// There was an outage.
    Gap,
}

/// A recording, in one file or several.
pub(super) struct FileBranch {
    path: PathBuf,
    folder: Folder,
    ending: String,
    container: Container,
    names: Names,
    segments: Option<Segments>,
    gaps: Gaps,
    /// How long a file is, where that is known, and the stream's frame rate.
    length: Option<Duration>,
    /// How long it will be, as far as that is known.
    likely: Option<Duration>,
    frame_rate: Option<(i32, i32)>,
    /// Formats of the audio tracks, and what became of each.
    audio: Vec<(gst::Caps, Fate)>,
    live: bool,
    listener: OutputListener,
    caps: Option<gst::Caps>,
    /// Why the next file begins with the next keyframe, where it does.
    cut: Option<Cut>,
    open: Option<OpenFile>,
    closing: Option<Closing>,
    /// Files begun so far.
    number: u32,
    /// By an output before this one.
    before: u32,
    /// Where the segment that is written should end.
    cut_at: Option<gst::ClockTime>,
    /// When it was opened, and the stream's time of its first frame.
    opened: (Timestamp, Option<gst::ClockTime>),
    /// Files that are whole, or about to be, with their audio.
    written: VecDeque<(PathBuf, Vec<AudioWritten>)>,
    /// The audio of all of them.
    audio_written: Vec<AudioWritten>,
    /// By which segments are old.
    wall_clock: WallClock,
    progress: Progress,
}

impl FileBranch {
    /// Opens the first file.
    ///
    /// # Errors
    /// When an element is missing or the file cannot be created.
    pub fn open(file: &FileTarget, context: &BranchContext) -> Result<Self, SinkError> {
        let FileTarget { path, segments, overwrite, gaps, held } = file;
        let names = match segments {
            Some(_) => Names::Segments(SegmentNames::new(path)?),
            None => Names::One { path: path.clone(), overwrite: *overwrite, held: held.clone() },
        };
        Self::begin(path, names, *segments, *gaps, context)
    }

    /// Opens the first segment of a playlist.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_hls(folder: &Path, segment: Duration, live: bool, context: &BranchContext) -> Result<Self, SinkError> {
        let playlist = Playlist::open(folder, segment, live);
        let segments = Some(Segments { length: segment, keep: None, keep_bytes: None });
        Self::begin(&folder.join("segment.ts"), Names::Playlist(playlist), segments, Gaps::Close, context)
    }

    fn begin(
        path: &Path,
        names: Names,
        segments: Option<Segments>,
        gaps: Gaps,
        context: &BranchContext,
    ) -> Result<Self, SinkError> {
        let (ending, container) = container_of(path);
        let length = segments.map_or(context.info.sure_duration, |segments| Some(segments.length + SPARE));
        let mut branch = Self {
            path: path.to_owned(),
            folder: Folder::new(path.parent().unwrap_or(Path::new(""))),
            ending: format!(".{ending}"),
            container,
            names,
            segments,
            gaps,
            length,
            likely: length.or(context.info.duration),
            frame_rate: context.info.frame_rate,
            audio: context.audio.iter().map(|caps| (caps.clone(), Fate::Comes)).collect(),
            live: context.live,
            listener: context.listener.clone(),
            caps: None,
            cut: None,
            open: None,
            closing: None,
            number: context.files,
            before: context.files,
            cut_at: None,
            opened: (Timestamp::now(), None),
            written: VecDeque::new(),
            audio_written: vec![AudioWritten::default(); context.audio.len()],
            wall_clock: WallClock::new(SystemTime::now(), clock::now()),
            progress: context.progress.clone(),
        };
        branch.open = Some(branch.next(None)?);
        Ok(branch)
    }

    /// Opens the file after the one before, which begins at `pts`.
    fn next(&mut self, pts: Option<gst::ClockTime>) -> Result<OpenFile, SinkError> {
        self.number += 1;
        self.folder.restore();
        let begins = self.time_at(pts);
        match self.begin_file(begins) {
            // Deleted meanwhile.
            Err(_) if self.folder.is_gone() => {
                self.folder.restore();
                self.begin_file(begins)
            }
            begun => begun,
        }
    }

    /// Opens a file that begins at this time.
    fn begin_file(&mut self, begins: Timestamp) -> Result<OpenFile, SinkError> {
        let reserve = |path: &Path| PartFile::reserve(path).map_err(|error| SinkError::unwritable(path, error));
        let part = match &mut self.names {
            Names::One { path, held, .. } if self.number == 1 => held.take().map_or_else(|| reserve(path), Ok)?,
            Names::One { path, overwrite, .. } => {
                let mut name = numbered(path, self.number);
                while name.symlink_metadata().is_ok() && !*overwrite {
                    self.number += 1;
                    name = numbered(path, self.number);
                }
                reserve(&name)?
            }
            Names::Segments(names) => names.reserve(begins)?,
            Names::Playlist(playlist) => reserve(&playlist.next())?,
        };
        let format = Format {
            muxer: self.container.muxer_for(self.length, self.frame_rate),
            parser: &self.container.parser,
            ending: &self.ending,
            frame_rate: self.frame_rate,
            length: self.likely,
            audio: &self.audio,
            live: self.live,
            listener: &self.listener,
        };
        OpenFile::open(part, &format, &self.progress)
    }

    /// The time of day of `pts`: a recording is read as fast as it can be.
    fn time_at(&self, pts: Option<gst::ClockTime>) -> Timestamp {
        match (self.opened, pts) {
            ((opened, Some(first)), Some(pts)) if !self.live => later(opened, pts.saturating_sub(first).into()),
            _ => Timestamp::now(),
        }
    }

    /// Has the file that is written finished, beside what follows; also where the one before it is not whole.
    fn close(&mut self, end: gst::ClockTime) -> Result<(), SinkError> {
        let Some(file) = self.open.take() else { return Ok(()) };
        let settled = self.settle();
        let closed = self.close_file(file, end);
        self.first_of(settled, closed)
    }

    fn close_file(&mut self, mut file: OpenFile, end: gst::ClockTime) -> Result<(), SinkError> {
        file.end();
        for (track, (_, fate)) in self.audio.iter_mut().enumerate() {
            *fate = file.fate(track, *fate);
        }
        let audio = file.audio_written();
        self.audio_written.iter_mut().zip(&audio).for_each(|(sum, written)| sum.add(written));
        let began = file.began.unwrap_or(end);
        let path = file.path().to_owned();
        if let Names::Playlist(playlist) = &mut self.names {
            // A playlist names what is there: transport streams are finished in no time.
            match Closing::start(file)?.wait() {
                Err(deleted @ SinkError::Deleted { .. }) => {
                    playlist.forget_deleted();
                    (self.listener)(OutputEvent::Notice(deleted.to_string()));
                    return Ok(());
                }
                closed => closed?,
            }
            let added = playlist.add(&path, Duration::from(end.saturating_sub(began)));
            if added.is_err() && self.folder.is_gone() {
                playlist.forget_deleted();
                return Ok(());
            }
            return added;
        }
        if self.written.len() == FILES {
            self.written.pop_front();
        }
        self.written.push_back((path, audio));
        let bytes = part_path(file.path()).metadata().map_or(0, |part| part.len());
        self.closing = Some(Closing::start(file)?);
        self.delete_old(Some(bytes));
        Ok(())
    }

    /// Deletes segments that are not kept.
    fn delete_old(&mut self, newest: Option<u64>) {
        let (Names::Segments(names), Some(segments)) = (&self.names, &self.segments) else { return };
        let keep = segments.keep.unwrap_or_default();
        let (now, ahead) = self.wall_clock.look(SystemTime::now(), clock::now(), keep);
        if let Some(ahead) = ahead.filter(|_| segments.keep.is_some()) {
            let by = counted(ahead.as_secs() / 60, "minute");
            let notice = format!("the clock was set ahead by {by}: --keep goes by the time before for a while");
            (self.listener)(OutputEvent::Notice(notice));
        }
        names.delete_old(segments, newest, now);
    }

    /// Waits for the file before to be whole.
    fn settle(&mut self) -> Result<(), SinkError> {
        let settled = self.closing.take().map_or(Ok(()), Closing::wait);
        if settled.is_err() {
            self.written.pop_back();
        }
        match settled {
            // Somebody wants it gone: the next ones are not.
            Err(deleted @ SinkError::Deleted { .. }) if self.segments.is_some() => {
                (self.listener)(OutputEvent::Notice(deleted.to_string()));
                Ok(())
            }
            settled => settled,
        }
    }

    /// What failed first; what failed after it is said, as it names what was kept of another file.
    fn first_of(&self, first: Result<(), SinkError>, second: Result<(), SinkError>) -> Result<(), SinkError> {
        if let (Err(_), Err(error)) = (&first, &second) {
            (self.listener)(OutputEvent::Notice(error.to_string()));
        }
        first.and(second)
    }

    /// Whether the frame begins another file.
    fn is_due(&self, unit: &AccessUnit) -> bool {
        unit.is_keyframe && (self.cut.is_some() || self.cut_at.is_some_and(|at| unit.pts >= at))
    }
}

impl Branch for FileBranch {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&mut self, caps: &gst::Caps, _: &KeyframeRequester) -> Result<(), SinkError> {
        self.cut = self.cut.or(self.caps.is_some().then_some(Cut::Format));
        self.caps = Some(caps.clone());
        Ok(())
    }

    fn access_unit(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        if self.is_due(unit) && self.open.as_ref().is_some_and(|file| file.began.is_some()) {
            // An outage is not part of what it has.
            let cut = self.cut.take();
            let end = self.open.as_ref().map(|file| file.end).filter(|_| cut == Some(Cut::Gap));
            self.close(end.unwrap_or(unit.pts))?;
            if let Names::Playlist(playlist) = &mut self.names
                && cut.is_some()
            {
                playlist.is_discontinuous = true;
            }
            self.open = Some(self.next(Some(unit.pts))?);
        }
        let Some(file) = &mut self.open else { return Ok(()) };
        if file.began.is_none() {
            if let Some(caps) = &self.caps {
                file.set_caps(caps);
            }
            self.opened.1.get_or_insert(unit.pts);
            // A recording in one file keeps its times, and a playlist's segments follow one another.
            let whole = matches!(self.names, Names::Playlist(_)) || self.number == 1;
            file.base = if whole { gst::ClockTime::ZERO } else { unit.pts };
            file.began = Some(unit.pts);
            if let Some(segments) = self.segments {
                let length = gst::ClockTime::try_from(segments.length).unwrap_or(gst::ClockTime::MAX);
                self.cut_at = Some(next_cut(self.cut_at, unit.pts, length));
            }
        }
        file.access_unit(unit)
    }

    fn gap(&mut self, to: gst::ClockTime) {
        if self.gaps == Gaps::Keep {
            return;
        }
        if self.segments.is_some() {
            self.cut = Some(Cut::Gap);
        } else if let Some(file) = self.open.as_mut().filter(|file| file.began.is_some()) {
            file.base += to.saturating_sub(file.end);
        }
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
        let closed = self.close(end);
        let settled = self.settle();
        let closed = self.first_of(closed, settled);
        self.delete_old(None);
        finished.begun = finished.begun.max(self.number - self.before);
        let mut last = Ok(());
        if let Names::Playlist(playlist) = &mut self.names {
            last = playlist.end();
            finished.wrote([(playlist.path(), self.audio_written.clone())]);
        } else {
            // Those that were too old are gone.
            finished.wrote(self.written.into_iter().filter(|(path, _)| path.exists()));
        }
        if works {
            finished.audio.push((self.path, self.audio_written));
        }
        if let Err(error) = closed.and(last) {
            finished.fail(error);
        }
    }
}

/// Where the segment that begins at `pts` ends: they are cut where keyframes are requested, every `length`, over a gap as well.
fn next_cut(before: Option<gst::ClockTime>, pts: gst::ClockTime, length: gst::ClockTime) -> gst::ClockTime {
    let Some(before) = before else { return pts.saturating_add(length) };
    let passed = pts.checked_sub(before).map_or(0, |since| since.nseconds() / length.nseconds().max(1) + 1);
    before.saturating_add(gst::ClockTime::from_nseconds(length.nseconds().saturating_mul(passed)))
}

/// `NAME-NUMBER.ENDING`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!("-{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_cut_where_keyframes_come_over_a_gap_as_well() {
        let s = gst::ClockTime::from_seconds;
        assert_eq!(next_cut(None, s(1), s(4)), s(5));
        assert_eq!(next_cut(Some(s(5)), s(5), s(4)), s(9));
        assert_eq!(next_cut(Some(s(5)), s(6), s(4)), s(9), "a late keyframe makes no later cut");
        assert_eq!(next_cut(Some(s(5)), s(18), s(4)), s(21), "after an outage");
        assert_eq!(next_cut(Some(s(5)), s(3), s(4)), s(5), "another format within a segment");
    }

    #[test]
    fn numbers_stand_before_the_ending() {
        assert_eq!(numbered(Path::new("out/a.b.mp4"), 2), Path::new("out/a.b-2.mp4"));
    }
}
