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
const KEY_FRAME_SECONDS: i64 = 2;

/// What an MP4's index takes a track: sizes, times and places of its samples (`stsz`, `stts`, `stsc`, `stco`), and a second
/// of audio packets. The muxer pools it over the tracks. Measured for 30 fps with AAC: 1,675 bytes a second, 23 a sample.
const INDEX_BYTES_PER_FRAME: u64 = 20;
const INDEX_BYTES_PER_SECOND: u64 = 500;
/// What `reserved-bytes-per-sec` says in `pipelines/sink.toml`.
const RESERVED_BYTES_PER_SECOND: u64 = 1000;
/// A frame rate beyond which it is not the frames' own, but a time base.
const HIGHEST_RATE: u64 = 1000;
/// How much longer than expected a recording may be, besides twice as long.
const SPARE_LENGTH: Duration = Duration::from_secs(10);

const CONTAINERS: &str = include_str!("../../pipelines/sink.toml");

#[derive(serde::Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Container {
    muxer: String,
    /// Settings of the muxer, where they depend on the length.
    #[serde(default)]
    known_length: String,
    #[serde(default)]
    unknown_length: String,
    video: String,
}

impl Container {
    /// The muxer's description for a stream like this, its index reserved where its length is known.
    fn muxer_for(&self, info: &StreamInfo) -> String {
        let settings = match info.sure_duration {
            Some(length) => self.known_length.replace("{reserve}", &reserve_ns(length, info.frame_rate).to_string()),
            None => self.unknown_length.clone(),
        };
        format!("{} {settings}", self.muxer)
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
/// The time for which [`RESERVED_BYTES_PER_SECOND`] are as much as a recording of this length needs.
fn reserve_ns(length: Duration, frame_rate: Option<(i32, i32)>) -> u64 {
    let (numer, denom) = frame_rate.unwrap_or((60, 1));
    let frames_per_second = u64::try_from(numer / denom.max(1)).unwrap_or(60).min(HIGHEST_RATE) + 1;
    let bytes_per_second = INDEX_BYTES_PER_SECOND + INDEX_BYTES_PER_FRAME * frames_per_second;
    // Durations in containers can be wrong, and the muxer fails when its index is full: twice as long, and some more.
    let length = length.saturating_mul(2).saturating_add(SPARE_LENGTH);
    let reserve = length.as_nanos() * u128::from(bytes_per_second) / u128::from(RESERVED_BYTES_PER_SECOND);
    u64::try_from(reserve).unwrap_or(u64::MAX)
}

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

/// The container by the output's ending, else Matroska, with the name of its section.
fn container_of(path: &Path) -> (String, Container) {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let mut containers = containers();
    let own = containers.remove_entry(if ending == "m4v" { "mp4" } else { &ending });
    own.or_else(|| containers.remove_entry("mkv")).expect("a test sees that there is Matroska")
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
        let (ending, container) = container_of(path);
        let even = |n: u32| n.next_multiple_of(2);
        let (width, height) = (even(video.width()), even(video.height()));
        let pad = if (width, height) == (video.width(), video.height()) {
            String::new()
        } else {
            let (right, bottom) = (width - video.width(), height - video.height());
            format!("! videobox right=-{right} bottom=-{bottom} ")
        };
        let encode = encoder.description(&container.video, key_frame_distance(info.frame_rate)).map_err(unwritable)?;
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
        let error = error.error();
        let says = |text: &str| debug.contains(text) || error.message().contains(text);
        self.broken(if says("No space left") || error.matches(gst::ResourceError::NoSpaceLeft) {
            "the disk is full".into()
        } else if says("reserved header space") {
            "the room for its index is used up, since it is longer than it states or its packets are very short \
             (a .mkv needs no such room)"
                .into()
        } else {
            error.message().to_owned()
        })
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
fn key_frame_distance(frame_rate: Option<(i32, i32)>) -> u32 {
    let (numer, denom) = frame_rate.unwrap_or((30, 1));
    let frames = KEY_FRAME_SECONDS * i64::from(numer) / i64::from(denom.max(1));
    u32::try_from(frames.clamp(10, 250)).unwrap_or(250)
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
    use std::time::Duration;

    #[test]
    fn the_containers_parse() {
        for name in ["mp4", "mov", "mkv", "webm"] {
            assert!(super::containers().contains_key(name), "{name}");
        }
    }

    #[test]
    fn the_index_is_reserved_by_length_and_rate() {
        let second = Duration::from_secs(1);
        // 12 s of 30 frames and one to spare: 1120 bytes a second.
        assert_eq!(super::reserve_ns(second, Some((30, 1))), 13_440_000_000);
        let hostile = super::reserve_ns(second, Some((i32::MAX, 1)));
        assert!(hostile < 20 * super::reserve_ns(second, Some((30, 1))), "{hostile}");
        assert_eq!(super::reserve_ns(Duration::MAX, Some((0, 0))), u64::MAX);
        for container in super::containers().values() {
            assert_eq!(container.known_length.is_empty(), container.unknown_length.is_empty());
            let bytes = format!("reserved-bytes-per-sec={} ", super::RESERVED_BYTES_PER_SECOND);
            assert!(container.known_length.is_empty() || container.known_length.contains(&bytes));
        }
    }

    #[test]
    fn key_frames_keep_their_distance_at_any_rate() {
        let distances = [Some((25, 1)), Some((i32::MAX, 1)), Some((1, i32::MAX)), None].map(super::key_frame_distance);
        assert_eq!(distances, [50, 250, 10, 60]);
    }

    #[test]
    fn the_ending_names_the_container_else_it_is_matroska() {
        let name = |path: &str| super::container_of(path.as_ref()).0;
        assert_eq!(["a.MOV", "a.m4v", "a", "a.xyz"].map(name), ["mov", "mp4", "mkv", "mkv"]);
    }

    #[test]
    fn frame_rates_are_exact_in_the_time_base() {
        assert_eq!(super::timescale(30_000) % 30_000, 0);
        assert_eq!(super::timescale(25) % 25, 0);
        assert_eq!(super::timescale(0), 90_000);
    }
}
