//! An annotated video file: encode, mux, audio passed by, `.part` until it is whole.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::audio::{AudioTrack, Carried};
use super::{EncoderOptions, SinkError, part_path};
use crate::clock::{Clock, HostTime, StreamTime};
use crate::source::{SideTrack, StreamInfo};

/// Pictures waiting for the encoder; the overlay waits when it is full.
const PICTURES: u64 = 4;
/// Compressed bytes a branch may hold before the muxer: as much as an unluckily interleaved file needs.
pub(super) const BRANCH_BYTES: u32 = 256 << 20;
/// How long the encoder and muxer may take to finish.
const FINISH_SECONDS: u64 = 120;
/// Key frames are at most this far apart: a file cut off by a crash plays up to the last of them.
const KEY_FRAME_SECONDS: i32 = 2;

/// What an MP4's index takes a track: sizes, times and places of the samples (`stsz`, `stts`, `stco`, `ctts`), and a second
/// of audio packets.
const INDEX_BYTES_PER_FRAME: u64 = 20;
const INDEX_BYTES_PER_SECOND: u64 = 500;
/// How long a recording is expected to be when it does not say, and how much longer than expected any may be.
const UNKNOWN_LENGTH: Duration = Duration::from_hours(4);
const SPARE_LENGTH: Duration = Duration::from_mins(2);

const CONTAINERS: &str = include_str!("../../pipelines/sink.toml");

#[derive(serde::Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Container {
    muxer: String,
    video: String,
}

impl Container {
    /// The muxer's description with its index reserved for a stream like this.
    fn muxer_for(&self, info: &StreamInfo) -> String {
        let (numer, denom) = info.frame_rate.unwrap_or((60, 1));
        let frames_per_second = u64::try_from(numer / denom.max(1)).unwrap_or(60) + 1;
        // Durations in containers can be wrong, and the muxer fails when its index is full: twice as long, and some more.
        let length = info.duration.unwrap_or(UNKNOWN_LENGTH) * 2 + SPARE_LENGTH;
        self.muxer
            .replace("{reserve}", &length.as_nanos().to_string())
            .replace("{index}", &(INDEX_BYTES_PER_SECOND + INDEX_BYTES_PER_FRAME * frames_per_second).to_string())
    }
}

/// A picture's time in the encoder.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    /// The picture's time in the stream.
    pub pts: StreamTime,
    /// It entered.
    pub entered: HostTime,
    /// It left, compressed.
    pub left: HostTime,
}

type Encodings = Arc<Mutex<Vec<Encoded>>>;

/// A file being written.
pub struct FileSink {
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSrc,
    caps: gst::Caps,
    path: PathBuf,
    audio: Vec<AudioTrack>,
    encoded: Encodings,
    notices: Vec<String>,
    audio_kept: usize,
    /// When the last picture's time is over.
    end: gst::ClockTime,
}

/// The ending that decides the container: the output's own, or `mkv` with a notice.
fn container_of(path: &Path) -> Option<String> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let ending = if ending == "m4v" { "mp4".into() } else { ending };
    containers().contains_key(&ending).then_some(ending)
}

fn containers() -> std::collections::BTreeMap<String, Container> {
    toml::from_str(CONTAINERS).expect("pipelines/sink.toml is checked by a test")
}

impl FileSink {
    /// Opens `path` (by way of `path.part`) for pictures like `video`, the first one; `sides` are muxed untouched where the
    /// container takes them, else re-encoded, with a notice.
    ///
    /// # Errors
    /// When an element is missing or the file cannot be created.
    pub fn open(
        path: &Path,
        video: &gst_video::VideoInfo,
        info: &StreamInfo,
        sides: Vec<SideTrack>,
        encoder: &EncoderOptions,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SinkError> {
        let unwritable = |problem: String| SinkError::Unwritable { path: path.to_owned(), problem };
        let ending = container_of(path).unwrap_or_else(|| "mkv".into());
        let container = containers().remove(&ending).ok_or_else(|| unwritable("no such container".into()))?;
        let even = |n: u32| n.next_multiple_of(2);
        let (width, height) = (even(video.width()), even(video.height()));
        let pad = if (width, height) == (video.width(), video.height()) {
            String::new()
        } else {
            let (right, bottom) = (width - video.width(), height - video.height());
            format!("! videobox right=-{right} bottom=-{bottom} ")
        };
        let encode = encoder.description(&container.video, key_frame_distance(info)).map_err(unwritable)?;
        let description = format!(
            "appsrc name=pictures ! videoconvertscale add-borders=true ! capsfilter name=size ! videoconvert \
             ! video/x-raw,format=(string){{I420,NV12}} {pad}! {encode} \
             ! queue name=encoded max-size-buffers=0 max-size-time=0 max-size-bytes={BRANCH_BYTES} ! mux. \
             {} name=mux ! filesink name=file",
            container.muxer_for(info)
        );
        let pipeline = gst::parse::launch(&description)
            .map_err(|e| unwritable(format!("the encoder cannot be set up: {e}")))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| unwritable("not a pipeline".into()))?;
        let element = |name: &str| pipeline.by_name(name).ok_or_else(|| unwritable(format!("no element {name}")));
        element("file")?.set_property("location", part_path(path));
        // Every picture has the first one's size and pixel aspect while the pipeline runs.
        let first = gst::Caps::builder("video/x-raw")
            .field("width", i32::try_from(video.width()).unwrap_or(i32::MAX))
            .field("height", i32::try_from(video.height()).unwrap_or(i32::MAX))
            .field("pixel-aspect-ratio", video.par())
            .build();
        element("size")?.set_property("caps", &first);
        let mux = element("mux")?;
        let (numer, _) = info.frame_rate.unwrap_or((0, 1));
        for pad in mux.sink_pads() {
            if pad.has_property("trak-timescale") {
                pad.set_property("trak-timescale", timescale(numer));
            }
        }
        let caps = video.to_caps().map_err(|e| unwritable(e.to_string()))?;
        let pictures =
            element("pictures")?.downcast::<gst_app::AppSrc>().map_err(|_| unwritable("no picture input".into()))?;
        pictures.set_caps(Some(&caps));
        pictures.set_format(gst::Format::Time);
        pictures.set_block(true);
        pictures.set_max_buffers(PICTURES);
        pictures.set_max_bytes(0);
        let encoded = stamp_encoder(&element("encoder")?, clock, encoder.delay);

        let (mut audio, mut notices, mut audio_kept) = (Vec::new(), Vec::new(), 0);
        for side in sides {
            let (track, carried) =
                AudioTrack::add(&pipeline, &mux, &ending, side).map_err(|e| unwritable(e.to_string()))?;
            audio.push(track);
            match carried {
                Carried::Untouched => audio_kept += 1,
                Carried::Reencoded(notice) => notices.push(notice),
            }
        }
        let end = gst::ClockTime::ZERO;
        let sink = Self { pipeline, pictures, caps, path: path.to_owned(), audio, encoded, notices, audio_kept, end };
        sink.pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| sink.bus_error().unwrap_or_else(|| unwritable("the encoder does not start".into())))?;
        Ok(sink)
    }

    /// Notices for the user.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Audio tracks passed through untouched.
    #[must_use]
    pub fn audio_kept(&self) -> usize {
        self.audio_kept
    }

    /// Hands one picture over, with the audio beside it; waits while the encoder is busy.
    ///
    /// # Errors
    /// When the encoder or the disk failed.
    pub fn push(&mut self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<(), SinkError> {
        if let Ok(caps) = video.to_caps()
            && caps != self.caps
        {
            self.pictures.set_caps(Some(&caps));
            self.caps = caps;
        }
        if let Some(pts) = buffer.pts() {
            self.end = pts + buffer.duration().unwrap_or_default();
            for track in &mut self.audio {
                track.advance(pts);
            }
        }
        let pushed = self.pictures.push_buffer(buffer).is_ok();
        match self.bus_error() {
            Some(error) => Err(error),
            None if pushed => Ok(()),
            None => Err(self.broken("the encoder stopped".into())),
        }
    }

    /// To be called now and then while no picture comes: audio alone must not fill its channel up.
    pub fn idle(&mut self) {
        for track in &mut self.audio {
            track.relieve();
        }
    }

    /// What has left the encoder since the last call, in `encoded`, whose memory is used for the next.
    pub fn take_encoded(&self, encoded: &mut Vec<Encoded>) {
        encoded.clear();
        std::mem::swap(encoded, &mut *self.encoded.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the file and gives it its name. `cut` ends the audio with the last picture.
    ///
    /// # Errors
    /// When the encoder or the disk failed; what was written stays in the `.part`.
    pub fn finish(mut self, cut: bool) -> Result<(PathBuf, Vec<Encoded>), SinkError> {
        let _ = self.pictures.end_of_stream();
        let cut_at = cut.then_some(self.end);
        for track in &mut self.audio {
            track.finish(cut_at);
        }
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let wait = gst::ClockTime::from_seconds(FINISH_SECONDS);
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(wait, &kinds));
        let failure = match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => None,
            Some(gst::MessageView::Error(error)) => Some(self.describe(error)),
            _ => Some(self.broken(format!("the encoder did not finish within {FINISH_SECONDS} s"))),
        };
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(failure) = failure {
            return Err(failure);
        }
        std::fs::rename(part_path(&self.path), &self.path).map_err(|e| self.broken(e.to_string()))?;
        let mut encoded = Vec::new();
        self.take_encoded(&mut encoded);
        Ok((self.path.clone(), encoded))
    }

    fn bus_error(&self) -> Option<SinkError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(self.describe(error)),
            _ => None,
        }
    }

    fn describe(&self, error: &gst::message::Error) -> SinkError {
        let debug = error.debug().unwrap_or_default();
        let full = debug.contains("No space left") || error.error().matches(gst::ResourceError::NoSpaceLeft);
        self.broken(if full { "the disk is full".into() } else { error.error().message().to_owned() })
    }

    fn broken(&self, problem: String) -> SinkError {
        SinkError::Broken { path: self.path.clone(), problem, kept: part_path(&self.path) }
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Frames between key frames.
fn key_frame_distance(info: &StreamInfo) -> u32 {
    let (numer, denom) = info.frame_rate.unwrap_or((30, 1));
    u32::try_from(KEY_FRAME_SECONDS * numer / denom.max(1)).unwrap_or(0).clamp(10, 250)
}

/// A time base in which the frame rate is exact and 1/90000 s is not lost: the numerator, multiplied up.
fn timescale(numer: i32) -> u32 {
    let numer = u32::try_from(numer).unwrap_or(0);
    if numer == 0 || numer > 90_000 { 90_000 } else { numer * 90_000u32.div_ceil(numer) }
}

/// Pictures an encoder may hold at once: its look-ahead and a picture a thread, with room to spare.
const PENDING: usize = 256;

/// Stamps what enters and leaves the encoder, matched by running time: encoders shift their PTS.
fn stamp_encoder(encoder: &gst::Element, clock: &Arc<dyn Clock>, delay: Duration) -> Encodings {
    let entered: Arc<Mutex<VecDeque<(StreamTime, HostTime)>>> = Arc::new(Mutex::new(VecDeque::with_capacity(PENDING)));
    let encoded: Encodings = Arc::default();
    if let Some(pad) = encoder.static_pad("sink") {
        let (entered, clock) = (entered.clone(), clock.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(pts) = running_time(pad, info) {
                let mut entered = entered.lock().unwrap_or_else(PoisonError::into_inner);
                if entered.len() == PENDING {
                    entered.pop_front();
                }
                entered.push_back((pts, clock.now()));
            }
            gst::PadProbeReturn::Ok
        });
    }
    if let Some(pad) = encoder.static_pad("src") {
        let (encoded, clock) = (encoded.clone(), clock.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if !delay.is_zero() {
                clock.sleep(delay);
            }
            let Some(pts) = running_time(pad, info) else { return gst::PadProbeReturn::Ok };
            let left = clock.now();
            let mut entered = entered.lock().unwrap_or_else(PoisonError::into_inner);
            let found = entered.iter().position(|(p, _)| *p == pts).and_then(|at| entered.remove(at));
            drop(entered);
            if let Some((_, entered)) = found {
                encoded.lock().unwrap_or_else(PoisonError::into_inner).push(Encoded { pts, entered, left });
            }
            gst::PadProbeReturn::Ok
        });
    }
    encoded
}

fn running_time(pad: &gst::Pad, info: &gst::PadProbeInfo) -> Option<StreamTime> {
    let pts = info.buffer()?.pts()?;
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let running = segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(pts)?;
    Some(StreamTime { ns: running.nseconds() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_containers_parse() {
        for name in ["mp4", "mov", "mkv", "webm"] {
            assert!(super::containers().contains_key(name), "{name}");
        }
    }

    #[test]
    fn frame_rates_are_exact_in_the_time_base() {
        assert_eq!(super::timescale(30_000) % 30_000, 0);
        assert_eq!(super::timescale(25) % 25, 0);
        assert_eq!(super::timescale(0), 90_000);
    }
}
