//! One file being written: muxed into `NAME.part`, which takes its name when it is whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, select};
use gstreamer as gst;
use gstreamer::prelude::*;

use crate::part::{PartFile, part_path};
use crate::sink::audio::{AudioInput, AudioMode, BRANCH_BYTES};
use crate::sink::error::{OutputError, SinkError};
use crate::sink::input::{Input, Limit};
use crate::sink::output::AccessUnit;
use crate::sink::pipeline::{BusEvent, Pipeline, Progress, STALL};
use crate::thread::{Thread, spawn, test_panic_point};

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
    /// Formats of the audio tracks.
    pub audio: &'a [gst::Caps],
}

/// The file.
pub(super) struct OpenFile {
    path: PathBuf,
    pipeline: Pipeline,
    units: Input,
    audio: Vec<AudioInput>,
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
    /// Creates it.
    ///
    /// # Errors
    /// When an element is missing or the file cannot be created.
    pub fn open(path: &Path, format: &Format, progress: &Progress) -> Result<(Self, Vec<AudioMode>), SinkError> {
        Self::try_open(path, format, progress).map_err(|source| SinkError::Unwritable { path: path.to_owned(), source })
    }

    fn try_open(path: &Path, format: &Format, progress: &Progress) -> Result<(Self, Vec<AudioMode>), OutputError> {
        let Format { muxer, parser, ending, frame_rate, audio: formats } = format;
        let description = format!("appsrc name=units ! {parser} ! mux. {muxer} name=mux ! filesink name=file");
        let pipeline = Pipeline::parse("muxer", &description)?;
        let file = pipeline.element("file")?;
        file.set_property("location", part_path(path));
        // Its own, and that of all outputs of the stream.
        let own = Progress::default();
        own.count_buffers(&file);
        progress.count_buffers(&file);
        let mux = pipeline.element("mux")?;
        let (numer, _) = frame_rate.unwrap_or((0, 1));
        for pad in mux.sink_pads() {
            if pad.has_property("trak-timescale") {
                pad.set_property("trak-timescale", timescale(numer));
            }
        }
        let units = Input::new(pipeline.app_source("units")?, Limit::Bytes(BRANCH_BYTES.into()));
        let (mut audio, mut modes) = (Vec::new(), Vec::new());
        for format in *formats {
            let (input, mode) = AudioInput::add(&pipeline, &mux, ending, format)?;
            audio.push(input);
            modes.push(mode);
        }
        let (began, base, end) = (None, gst::ClockTime::ZERO, gst::ClockTime::ZERO);
        let part = Some(PartFile::written_by_others(path));
        let file = Self { path: path.to_owned(), pipeline, units, audio, part, began, base, end, progress: own };
        file.pipeline.start()?;
        Ok((file, modes))
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
        while !self.units.has_room() {
            select! {
                recv(self.units.room()) -> _ => {}
                recv(self.pipeline.events()) -> event => if let Ok(BusEvent::Error(error)) = event {
                    return Err(self.broken(error.into()));
                },
                default(STALL) => return Err(self.stalled()),
            }
        }
        let pushed = self.units.push(self.shifted(&unit.buffer));
        match self.pipeline.error() {
            Some(error) => Err(self.broken(error.into())),
            None if pushed => Ok(()),
            None => Err(self.broken(OutputError::Stopped("muxer"))),
        }
    }

    /// The next packet of an audio track; `None` at its end.
    pub fn audio(&mut self, track: usize, packet: Option<&gst::Buffer>) {
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
        test_panic_point();
        self.units.end();
        for audio in &mut self.audio {
            audio.end();
        }
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
        broken(self.path(), source)
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

fn broken(path: &Path, source: OutputError) -> SinkError {
    SinkError::Broken { path: path.to_owned(), source, kept: part_path(path) }
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
            Err(error) => Err(broken(&path, error.into())),
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
                return Err(broken(&self.path, OutputError::Stalled(STALL)));
            }
        }
        self.thread.join().unwrap_or_else(|error| Err(broken(&self.path, error.into())))
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
    fn frame_rates_are_exact_in_the_time_base() {
        assert_eq!(timescale(30_000) % 30_000, 0);
        assert_eq!(timescale(25) % 25, 0);
        assert_eq!(timescale(0), 90_000);
    }
}
