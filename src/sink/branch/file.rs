//! Recordings: one file, or one after the other. A file is `NAME.part` until it is whole.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::hls::Playlist;
use super::{Beginning, Branch, Ended, News, Unit};
use crate::part::part_path;
use crate::sink::audio::{AudioInput, Carried};
use crate::sink::container::{Container, container_of};
use crate::sink::encode::KeyFrames;
use crate::sink::target::Segments;
use crate::sink::{BRANCH_BYTES, SinkError, bus_error};

/// How long a muxer may take to finish.
const FINISH_SECONDS: u64 = 120;
/// A segment may be longer than it should by as much as key frames are apart.
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
    audio: Vec<gst::Caps>,
    audio_ended: Vec<bool>,
    caps: Option<gst::Caps>,
    /// The next file begins with the next picture.
    cut: bool,
    open: Option<OpenFile>,
    closing: Option<JoinHandle<Result<(), SinkError>>>,
    /// Files begun so far.
    number: u32,
    /// By an output before this one.
    before: u32,
    /// Where the segment that is written should end.
    cut_at: Option<gst::ClockTime>,
    /// Files that are whole, or about to be, with the time at which they end.
    written: Vec<(PathBuf, gst::ClockTime)>,
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
        beginning: &mut Beginning,
    ) -> Result<Self, SinkError> {
        Self::begin(path, segments, None, overwrite, beginning)
    }

    /// Opens the first segment of a playlist.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_hls(
        folder: &Path,
        segment: Duration,
        live: bool,
        beginning: &mut Beginning,
    ) -> Result<Self, SinkError> {
        let playlist = Playlist::new(folder, segment, live);
        let segments = Some(Segments { length: segment, keep: None });
        Self::begin(&folder.join("segment.ts"), segments, Some(playlist), true, beginning)
    }

    fn begin(
        path: &Path,
        segments: Option<Segments>,
        playlist: Option<Playlist>,
        overwrite: bool,
        beginning: &mut Beginning,
    ) -> Result<Self, SinkError> {
        let (ending, container) = container_of(path);
        let length = segments.map_or(beginning.info.sure_duration, |segments| Some(segments.length + SPARE));
        let mut branch = Self {
            path: path.to_owned(),
            ending: format!(".{ending}"),
            container,
            segments,
            playlist,
            overwrite,
            length,
            frame_rate: beginning.info.frame_rate,
            audio: beginning.audio.to_vec(),
            audio_ended: vec![false; beginning.audio.len()],
            caps: None,
            cut: false,
            open: None,
            closing: None,
            number: beginning.files,
            before: beginning.files,
            cut_at: None,
            written: Vec::new(),
        };
        let (file, carried) = branch.next()?;
        branch.open = Some(file);
        for carried in carried {
            match carried {
                Carried::Untouched => beginning.audio_kept += 1,
                Carried::Reencoded(notice) => (beginning.tell)(News::Notice(notice)),
            }
        }
        Ok(branch)
    }

    /// Opens the file after the one before.
    fn next(&mut self) -> Result<(OpenFile, Vec<Carried>), SinkError> {
        self.number += 1;
        let path = match self.segments {
            Some(_) => numbered(&self.path, &format!("{:04}", self.number)),
            None if self.number > 1 => numbered(&self.path, &self.number.to_string()),
            None => self.path.clone(),
        };
        if self.number > 1 && path.exists() && !self.overwrite {
            return Err(SinkError::Exists(path));
        }
        let muxer = self.container.muxer_for(self.length, self.frame_rate);
        OpenFile::open(&path, &muxer, &self.container.parser, &self.ending, self.frame_rate, &self.audio)
    }

    /// Lets go of the file that is written: it is finished beside what follows.
    fn close(&mut self, end: gst::ClockTime) -> Result<(), SinkError> {
        let Some(file) = self.open.take() else { return Ok(()) };
        self.settle()?;
        let began = file.began.unwrap_or(end);
        if let Some(playlist) = &mut self.playlist {
            // A playlist names what is there: transport streams are finished in no time.
            let path = file.path.clone();
            file.finish()?;
            return playlist.add(&path, Duration::from(end.saturating_sub(began)));
        }
        self.written.push((file.path.clone(), end));
        let closing = std::thread::Builder::new().name("mux-end".into()).spawn(move || file.finish());
        self.closing =
            Some(closing.map_err(|e| SinkError::Unwritable { path: self.path.clone(), problem: e.to_string() })?);
        if let Some(keep) = self.segments.and_then(|segments| segments.keep) {
            let old = |ended: gst::ClockTime| Duration::from(end.saturating_sub(ended)) > keep;
            self.written.retain(|(path, ended)| {
                // What cannot be deleted is kept: it is in nobody's way but the disk's.
                !old(*ended) || std::fs::remove_file(path).is_err()
            });
        }
        Ok(())
    }

    /// Waits for the file before to be whole.
    fn settle(&mut self) -> Result<(), SinkError> {
        match self.closing.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => {
                self.written.pop();
                Err(error)
            }
            Some(Err(_)) => {
                Err(SinkError::Unwritable { path: self.path.clone(), problem: "it was not finished".into() })
            }
        }
    }

    /// Whether the picture begins another file.
    fn is_due(&self, unit: &Unit) -> bool {
        unit.key && (self.cut || self.cut_at.is_some_and(|at| unit.pts >= at))
    }
}

impl Branch for FileBranch {
    fn format(&mut self, caps: &gst::Caps, _: &KeyFrames) -> Result<(), SinkError> {
        self.cut = self.caps.is_some();
        self.caps = Some(caps.clone());
        Ok(())
    }

    fn unit(&mut self, unit: &Unit) -> Result<(), SinkError> {
        if self.is_due(unit) && self.open.as_ref().is_some_and(|file| file.began.is_some()) {
            self.close(unit.pts)?;
            if let Some(playlist) = self.playlist.as_mut().filter(|_| self.cut) {
                playlist.broken = true;
            }
            self.cut = false;
            let mut file = self.next()?.0;
            for (track, ended) in self.audio_ended.iter().enumerate() {
                if *ended {
                    file.audio[track].end();
                }
            }
            self.open = Some(file);
        }
        let Some(file) = &mut self.open else { return Ok(()) };
        if file.began.is_none() {
            file.units.set_caps(self.caps.as_ref());
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
        file.unit(unit)
    }

    fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>) {
        if packet.is_none() {
            self.audio_ended[track] = true;
        }
        if let Some(file) = &mut self.open {
            file.audio(track, packet);
        }
    }

    fn finish(mut self: Box<Self>, works: bool, ended: &mut Ended) {
        if !works {
            self.open = None;
        }
        let end = self.open.as_ref().map_or(gst::ClockTime::ZERO, |file| file.end);
        let closed = self.close(end).and_then(|()| self.settle());
        ended.begun = ended.begun.max(self.number - self.before);
        let last = self.playlist.as_mut().map_or(Ok(()), Playlist::end);
        match &self.playlist {
            Some(playlist) => ended.files.push(playlist.path().to_owned()),
            None => ended.files.extend(self.written.into_iter().map(|(path, _)| path)),
        }
        if let Err(error) = closed.and(last) {
            ended.failure.get_or_insert(error);
        }
    }
}

/// `NAME-NUMBER.ENDING`.
pub(super) fn numbered(path: &Path, number: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy()));
    path.with_file_name(format!("{stem}-{number}{ending}"))
}

/// A file being written.
struct OpenFile {
    pipeline: gst::Pipeline,
    units: gst_app::AppSrc,
    audio: Vec<AudioInput>,
    path: PathBuf,
    /// When the first picture is shown, in the stream's time, and what is subtracted from all times.
    began: Option<gst::ClockTime>,
    base: gst::ClockTime,
    /// When the last picture is over.
    end: gst::ClockTime,
}

impl OpenFile {
    fn open(
        path: &Path,
        muxer: &str,
        parser: &str,
        ending: &str,
        frame_rate: Option<(i32, i32)>,
        formats: &[gst::Caps],
    ) -> Result<(Self, Vec<Carried>), SinkError> {
        let unwritable = |problem: String| SinkError::Unwritable { path: path.to_owned(), problem };
        let description =
            format!("appsrc name=units format=time ! {parser} ! mux. {muxer} name=mux ! filesink name=file");
        let pipeline = gst::parse::launch(&description)
            .map_err(|e| unwritable(format!("the muxer cannot be set up: {e}")))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| unwritable("not a pipeline".into()))?;
        let element = |name: &str| pipeline.by_name(name).ok_or_else(|| unwritable(format!("no element {name}")));
        element("file")?.set_property("location", part_path(path));
        let mux = element("mux")?;
        let (numer, _) = frame_rate.unwrap_or((0, 1));
        for pad in mux.sink_pads() {
            if pad.has_property("trak-timescale") {
                pad.set_property("trak-timescale", timescale(numer));
            }
        }
        let units =
            element("units")?.downcast::<gst_app::AppSrc>().map_err(|_| unwritable("no picture input".into()))?;
        units.set_block(true);
        units.set_max_bytes(BRANCH_BYTES.into());
        let (mut audio, mut carried) = (Vec::new(), Vec::new());
        for format in formats {
            let (input, how) =
                AudioInput::add(&pipeline, &mux, ending, format).map_err(|e| unwritable(e.to_string()))?;
            audio.push(input);
            carried.push(how);
        }
        let file = Self {
            pipeline,
            units,
            audio,
            path: path.to_owned(),
            began: None,
            base: gst::ClockTime::ZERO,
            end: gst::ClockTime::ZERO,
        };
        file.pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| file.error().unwrap_or_else(|| unwritable("the muxer does not start".into())))?;
        Ok((file, carried))
    }

    fn unit(&mut self, unit: &Unit) -> Result<(), SinkError> {
        self.end = unit.end;
        let pushed = self.units.push_buffer(self.shifted(&unit.buffer)).is_ok();
        match self.error() {
            Some(error) => Err(error),
            None if pushed => Ok(()),
            None => Err(self.broken("the muxer stopped".into())),
        }
    }

    fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>) {
        match packet {
            Some(packet) => {
                let packet = self.shifted(packet);
                self.audio[track].push(packet);
            }
            None => self.audio[track].end(),
        }
    }

    /// The buffer in the file's own time. Its bytes are shared, not copied.
    fn shifted(&self, buffer: &gst::Buffer) -> gst::Buffer {
        let base = self.base;
        let mut buffer = buffer.clone();
        if base > gst::ClockTime::ZERO {
            let shift = |time: Option<gst::ClockTime>| time.map(|time| time.saturating_sub(base));
            let own = buffer.make_mut();
            own.set_pts(shift(own.pts()));
            own.set_dts(shift(own.dts()));
        }
        buffer
    }

    /// Ends the file and gives it its name.
    fn finish(mut self) -> Result<(), SinkError> {
        let _ = self.units.end_of_stream();
        for audio in &mut self.audio {
            audio.end();
        }
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let wait = gst::ClockTime::from_seconds(FINISH_SECONDS);
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(wait, &kinds));
        let failure = match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => None,
            Some(gst::MessageView::Error(error)) => Some(self.describe(&error.into())),
            _ => Some(self.broken(format!("it was not finished within {FINISH_SECONDS} s"))),
        };
        let _ = self.pipeline.set_state(gst::State::Null);
        match failure {
            Some(failure) => Err(failure),
            None => std::fs::rename(part_path(&self.path), &self.path).map_err(|e| self.broken(e.to_string())),
        }
    }

    fn error(&self) -> Option<SinkError> {
        bus_error(&self.pipeline).map(|error| self.describe(&error))
    }

    fn describe(&self, error: &crate::sink::BusError) -> SinkError {
        self.broken(if error.says("No space left") || error.no_space {
            "the disk is full".into()
        } else if error.says("reserved header space") {
            "the room for its index is used up, since it is longer than it states or its packets are very short \
             (a .mkv needs no such room)"
                .into()
        } else {
            error.message.clone()
        })
    }

    fn broken(&self, problem: String) -> SinkError {
        SinkError::Broken { path: self.path.clone(), problem, kept: part_path(&self.path) }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A time base in which the frame rate is exact and 1/90000 s is not lost: the numerator, multiplied up.
fn timescale(numer: i32) -> u32 {
    let numer = u32::try_from(numer).unwrap_or(0);
    if numer == 0 || numer > 90_000 { 90_000 } else { numer * 90_000u32.div_ceil(numer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_before_the_ending() {
        assert_eq!(numbered(Path::new("out/a.b.mp4"), "0001"), Path::new("out/a.b-0001.mp4"));
    }

    #[test]
    fn frame_rates_are_exact_in_the_time_base() {
        assert_eq!(timescale(30_000) % 30_000, 0);
        assert_eq!(timescale(25) % 25, 0);
        assert_eq!(timescale(0), 90_000);
    }
}
