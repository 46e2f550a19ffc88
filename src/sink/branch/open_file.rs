//! One file being written: muxed into `NAME.part`, which takes its name when it is whole.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, select};
use gstreamer as gst;
use gstreamer::prelude::*;

use super::timescale;
use super::tracks::Track;
use crate::part::{PartFile, part_path};
use crate::sink::error::{OutputError, SinkError};
use crate::sink::input::{Input, Limit};
use crate::sink::output::{AccessUnit, AudioWritten, OutputEvent, OutputListener};
use crate::sink::pipeline::{BusEvent, Pipeline, Progress, STALL};
use crate::thread::{Thread, spawn, test_panic_point};

/// Compressed bytes that may wait for the muxer, or for the first packet of an audio track: as much as an unluckily interleaved
/// file needs.
const WAITING_BYTES: usize = 256 << 20;
/// How much video of a live source waits for the first packet of an announced audio track. Cameras send it within a second.
const LIVE_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// How long the thread that finishes a file may get nothing done: it gives up the muxer, and stopping it, sooner by itself,
/// unless it hangs in the system.
const CLOSE: Duration = Duration::from_secs(25);

/// How a file is muxed.
pub(super) struct Format<'a> {
    pub muxer: String,
    pub parser: &'a str,
    /// `.mp4`, …
    pub ending: &'a str,
    pub frame_rate: Option<(i32, i32)>,
    /// How long the file is, where that is known.
    pub length: Option<Duration>,
    /// Formats of the audio tracks, with what became of each so far.
    pub audio: &'a [(gst::Caps, Fate)],
    /// The source is live: it is not waited for long.
    pub live: bool,
    pub listener: &'a OutputListener,
}

/// What became of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Comes,
    /// It comes, and a file before had packets of it.
    Known,
    Ended,
    LeftOut,
}

/// Frames that are held back until it is known which audio tracks there are.
#[derive(Default)]
struct Held {
    units: VecDeque<gst::Buffer>,
    bytes: usize,
    from: Option<gst::ClockTime>,
}

/// The file.
pub(super) struct OpenFile {
    path: PathBuf,
    pipeline: Pipeline,
    mux: gst::Element,
    units: Input,
    audio: Vec<Track>,
    /// What is to be said of a track was said of a file before.
    known: Vec<bool>,
    /// Until the muxer begins.
    held: Option<Held>,
    patience: gst::ClockTime,
    /// How long the file will be, where that is known.
    length: Option<Duration>,
    listener: OutputListener,
    /// `None` once it has its name.
    part: Option<PartFile>,
    /// When the first frame is shown, in the stream's time, and what is subtracted from all times.
    pub began: Option<gst::ClockTime>,
    pub base: gst::ClockTime,
    /// When the last frame is over.
    pub end: gst::ClockTime,
    progress: Progress,
}

impl OpenFile {
    /// Begins to write `part`.
    ///
    /// # Errors
    /// When an element is missing or the file cannot be written.
    pub fn open(part: PartFile, format: &Format, progress: &Progress) -> Result<Self, SinkError> {
        let path = part.path().to_owned();
        let mut part = Some(part);
        let opened = Self::try_open(&path, &mut part, format, progress);
        if let Some(unused) = part {
            unused.discard();
        }
        opened.map_err(|source| SinkError::unwritable(&path, source))
    }

    fn try_open(
        path: &Path,
        part: &mut Option<PartFile>,
        format: &Format,
        progress: &Progress,
    ) -> Result<Self, OutputError> {
        let Format { muxer, parser, ending, frame_rate, length, audio: formats, live, listener } = format;
        let description = format!("appsrc name=units ! {parser} ! mux. {muxer} name=mux ! filesink name=file");
        let pipeline = Pipeline::parse("muxer", &description)?;
        let file = pipeline.element("file")?;
        file.set_property("location", part_path(path));
        // What has left the muxer is there after a crash.
        file.set_property_from_str("buffer-mode", "unbuffered");
        // Its own, and that of all outputs of the stream.
        let own = Progress::default();
        own.count_buffers(&file);
        progress.count_buffers(&file);
        let mux = pipeline.element("mux")?;
        let (numer, _) = frame_rate.unwrap_or((0, 1));
        for pad in mux.sink_pads() {
            if pad.has_property("trak-timescale") {
                pad.set_property("trak-timescale", timescale::of_video(numer, *length));
            }
        }
        let units = Input::new(pipeline.app_source("units")?, Limit::Bytes(WAITING_BYTES as u64));
        let mut file = Self {
            path: path.to_owned(),
            pipeline,
            mux,
            units,
            audio: Vec::new(),
            known: formats.iter().map(|(_, fate)| *fate != Fate::Comes).collect(),
            held: Some(Held::default()),
            patience: if *live { LIVE_PATIENCE } else { gst::ClockTime::MAX },
            length: *length,
            listener: (*listener).clone(),
            part: part.take(),
            began: None,
            base: gst::ClockTime::ZERO,
            end: gst::ClockTime::ZERO,
            progress: own,
        };
        file.say(file.part.as_ref().and_then(PartFile::recovered));
        for (format, fate) in *formats {
            let (track, notice) = match fate {
                Fate::Comes | Fate::Known => Track::new(format, &file.mux, ending),
                Fate::Ended | Fate::LeftOut => (Track::without(format, *fate == Fate::LeftOut), None),
            };
            file.audio.push(track);
            file.say(notice);
        }
        file.pipeline.start()?;
        Ok(file)
    }

    fn say(&self, notice: Option<String>) {
        if let Some(notice) = notice {
            (self.listener)(OutputEvent::Notice(format!("{}: {notice}", self.path().display())));
        }
    }

    /// The name that it takes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Format of the frames.
    pub fn set_caps(&self, caps: &gst::Caps) {
        self.units.set_caps(caps);
    }

    /// The next frame. Waits while more is held than the disk takes.
    ///
    /// # Errors
    /// When the muxer or the disk failed, or takes nothing any more.
    pub fn access_unit(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        self.end = unit.end;
        let buffer = self.shifted(&unit.buffer);
        if let Some(held) = &mut self.held {
            held.bytes += buffer.size();
            held.units.push_back(buffer);
            let waited = unit.pts.saturating_sub(*held.from.get_or_insert(unit.pts));
            let enough = held.bytes >= WAITING_BYTES || waited >= self.patience;
            if enough || self.audio.iter().all(Track::is_decided) {
                self.begin();
            }
            return Ok(());
        }
        while !self.units.has_room() {
            select! {
                recv(self.units.room()) -> _ => {}
                recv(self.pipeline.events()) -> event => if let Ok(BusEvent::Error(error)) = event {
                    return Err(self.broken(error.into()));
                },
                default(STALL) => if !self.give_up_audio() {
                    return Err(self.stalled());
                },
            }
        }
        let pushed = self.units.push(buffer);
        match self.pipeline.error() {
            Some(error) => Err(self.broken(error.into())),
            None if pushed => Ok(()),
            None => Err(self.broken(OutputError::Stopped("muxer"))),
        }
    }

    /// It is known which audio tracks there are: the muxer begins with those.
    fn begin(&mut self) {
        let Some(held) = self.held.take() else { return };
        for track in 0..self.audio.len() {
            let notice = self.audio[track].join(&self.pipeline, &self.mux, self.length);
            self.say(notice.filter(|_| !self.known[track]));
        }
        for unit in held.units {
            // Where the muxer failed, the next frame says so.
            self.units.push(unit);
        }
    }

    /// Ends the tracks that the muxer waits for, as when a camera's audio stopped; whether there are any.
    fn give_up_audio(&mut self) -> bool {
        let mut any = false;
        for track in 0..self.audio.len() {
            if self.audio[track].is_waited_for() {
                self.audio[track].end();
                self.say(Some("its audio stopped: it ends there".into()));
                any = true;
            }
        }
        any
    }

    /// A track of which no packet came yet is in another format than was announced.
    pub fn audio_format(&mut self, track: usize, format: &gst::Caps, ending: &str) {
        let (new, notice) = Track::new(format, &self.mux, ending);
        self.audio[track] = new;
        self.say(notice);
    }

    /// The next packet of an audio track; `None` at its end.
    pub fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>) {
        match packet.map(|packet| self.shifted(packet)) {
            Some(packet) => {
                let notice = self.audio[track].push(packet, self.held.is_some());
                self.say(notice);
            }
            None => self.audio[track].end(),
        }
    }

    /// What became of a track that came.
    pub fn fate(&self, track: usize, before: Fate) -> Fate {
        match (&self.audio[track], before) {
            (track, _) if track.is_left_out() => Fate::LeftOut,
            (track, Fate::Comes) if track.written().packets > 0 => Fate::Known,
            _ => before,
        }
    }

    /// What was written of every track.
    pub fn audio_written(&self) -> Vec<AudioWritten> {
        self.audio.iter().map(Track::written).collect()
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

    /// Nothing comes any more.
    pub fn end(&mut self) {
        self.audio.iter_mut().for_each(Track::end);
        self.begin();
    }

    /// Ends the file and gives it its name.
    fn finish(mut self) -> Result<(), SinkError> {
        test_panic_point();
        self.units.end();
        let mut before = self.progress.get();
        loop {
            select! {
                recv(self.pipeline.events()) -> event => match event {
                    Ok(BusEvent::Error(error)) => return Err(self.broken(error.into())),
                    Ok(BusEvent::Eos) | Err(_) => break,
                },
                default(STALL) => {
                    let now = self.progress.get();
                    if std::mem::replace(&mut before, now) == now {
                        return Err(self.stalled());
                    }
                }
            }
        }
        if !self.pipeline.stop() {
            return Err(self.broken(OutputError::Stalled(STALL)));
        }
        let named = self.part.take().map_or(Ok(()), PartFile::finish);
        named.map_err(|error| self.broken(error.into()))
    }

    fn stalled(&self) -> SinkError {
        // Neither would stopping it return.
        self.pipeline.abandon();
        self.broken(OutputError::Stalled(STALL))
    }

    fn broken(&self, source: OutputError) -> SinkError {
        SinkError::broken(self.path(), source)
    }
}

/// What has no frame is no file.
impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(part) = self.part.take().filter(|_| self.began.is_none()) {
            part.discard();
        }
    }
}

/// A file that is being finished, on a thread of its own.
pub(super) struct Closing {
    path: PathBuf,
    thread: Thread<Result<(), SinkError>>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    progress: Progress,
}

impl Closing {
    /// Begins to finish `file`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(file: OpenFile) -> Result<Self, SinkError> {
        let (path, progress) = (file.path().to_owned(), file.progress.clone());
        let (alive, ended) = bounded::<()>(0);
        let thread = spawn("mux-end", move || {
            let _alive = alive;
            file.finish()
        });
        match thread {
            Ok(thread) => Ok(Self { path, thread, ended, progress }),
            Err(error) => Err(SinkError::broken(&path, error.into())),
        }
    }

    /// Waits until it is whole.
    ///
    /// # Errors
    /// When it is not, or nothing moves any more.
    pub fn wait(self) -> Result<(), SinkError> {
        let mut before = self.progress.get();
        while self.ended.recv_timeout(CLOSE) == Err(RecvTimeoutError::Timeout) {
            let now = self.progress.get();
            if std::mem::replace(&mut before, now) == now {
                return Err(SinkError::broken(&self.path, OutputError::Stalled(STALL)));
            }
        }
        self.thread.join().unwrap_or_else(|error| Err(SinkError::broken(&self.path, error.into())))
    }
}
