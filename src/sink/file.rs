//! An annotated video file: encode, mux, audio passed by, `.part` until it is whole.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::{EncoderOptions, SinkError, part_path};
use crate::clock::{Clock, HostTime};
use crate::source::{SideTrack, StreamInfo};

/// Pictures waiting for the encoder; the overlay waits when it is full.
const PICTURES: u64 = 4;
/// Compressed bytes a branch may hold before the muxer: as much as an unluckily interleaved file needs.
const BRANCH_BYTES: u32 = 256 << 20;
/// How long the encoder and muxer may take to finish.
const FINISH_SECONDS: u64 = 120;

const CONTAINERS: &str = include_str!("../../pipelines/sink.toml");

#[derive(serde::Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Container {
    muxer: String,
    video: String,
}

/// What the encoder is fed: the first picture's format, for the whole file.
#[derive(Debug, Clone)]
pub struct VideoFormat {
    /// The first picture's description.
    pub video: gst_video::VideoInfo,
}

type Encoded = Arc<Mutex<Vec<Duration>>>;

/// A file being written.
pub struct FileSink {
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSrc,
    caps: gst::Caps,
    path: PathBuf,
    pumps: Vec<JoinHandle<()>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
    encoded: Encoded,
    notices: Vec<String>,
    audio_kept: usize,
}

/// The ending that decides the container: the output's own, or `mkv` with a notice.
#[must_use]
pub fn container_of(path: &Path) -> Option<String> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let ending = if ending == "m4v" { "mp4".into() } else { ending };
    containers().contains_key(&ending).then_some(ending)
}

fn containers() -> std::collections::BTreeMap<String, Container> {
    toml::from_str(CONTAINERS).expect("pipelines/sink.toml is checked by a test")
}

impl FileSink {
    /// Opens `path` (by way of `path.part`) for pictures like `format`; `sides` are muxed untouched where the container
    /// takes them, else re-encoded, with a notice.
    ///
    /// # Errors
    /// When an element is missing or the file cannot be created.
    pub fn open(
        path: &Path,
        format: &VideoFormat,
        info: &StreamInfo,
        sides: Vec<SideTrack>,
        encoder: &EncoderOptions,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SinkError> {
        let unwritable = |problem: String| SinkError::Unwritable { path: path.to_owned(), problem };
        let ending = container_of(path).unwrap_or_else(|| "mkv".into());
        let container = containers().remove(&ending).ok_or_else(|| unwritable("no such container".into()))?;
        let video = &format.video;
        let even = |n: u32| n.next_multiple_of(2);
        let (width, height) = (even(video.width()), even(video.height()));
        let pad = if (width, height) == (video.width(), video.height()) {
            String::new()
        } else {
            let (right, bottom) = (width - video.width(), height - video.height());
            format!("! videobox right=-{right} bottom=-{bottom} ")
        };
        let encode = encoder.description(&container.video).map_err(unwritable)?;
        let description = format!(
            "appsrc name=pictures ! videoconvertscale add-borders=true ! capsfilter name=size ! videoconvert \
             ! video/x-raw,format=(string){{I420,NV12}} {pad}! {encode} \
             ! queue max-size-buffers=0 max-size-time=0 max-size-bytes={BRANCH_BYTES} ! mux. \
             {} name=mux ! filesink name=file",
            container.muxer
        );
        let pipeline = gst::parse::launch(&description)
            .map_err(|e| unwritable(format!("the encoder cannot be set up: {e}")))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| unwritable("not a pipeline".into()))?;
        let element = |name: &str| pipeline.by_name(name).ok_or_else(|| unwritable(format!("no element {name}")));
        element("file")?.set_property("location", part_path(path).display().to_string());
        // Every picture has the first one's size, pixel aspect and, while the pipeline runs, one frame rate.
        let first = gst::Caps::builder("video/x-raw")
            .field("width", i32::try_from(video.width()).unwrap_or(i32::MAX))
            .field("height", i32::try_from(video.height()).unwrap_or(i32::MAX))
            .field("pixel-aspect-ratio", video.par())
            .build();
        element("size")?.set_property("caps", &first);
        let mux = element("mux")?;
        let (numer, denom) = info.frame_rate.unwrap_or((0, 1));
        for pad in mux.sink_pads() {
            if pad.has_property("trak-timescale") {
                pad.set_property("trak-timescale", timescale(numer));
            }
        }
        let caps = video.to_caps().map_err(|e| unwritable(e.to_string()))?;
        let _ = denom;
        let pictures =
            element("pictures")?.downcast::<gst_app::AppSrc>().map_err(|_| unwritable("no picture input".into()))?;
        pictures.set_caps(Some(&caps));
        pictures.set_format(gst::Format::Time);
        pictures.set_block(true);
        pictures.set_max_buffers(PICTURES);
        pictures.set_max_bytes(0);
        let encoded = stamp_encoder(&element("encoder")?, clock);

        let mut sink = Self {
            pipeline,
            pictures,
            caps,
            path: path.to_owned(),
            pumps: Vec::new(),
            stop: Arc::default(),
            encoded,
            notices: Vec::new(),
            audio_kept: 0,
        };
        for side in sides {
            sink.add_audio(side, &mux, &ending)?;
        }
        sink.pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| sink.bus_error().unwrap_or_else(|| unwritable("the encoder does not start".into())))?;
        Ok(sink)
    }

    fn add_audio(&mut self, side: SideTrack, mux: &gst::Element, ending: &str) -> Result<(), SinkError> {
        let unwritable = |problem: String| SinkError::Unwritable { path: self.path.clone(), problem };
        let template = mux.pad_template("audio_%u");
        let parser = parser_for(&side.caps);
        let taken = |caps: &gst::Caps| template.as_ref().is_some_and(|t| t.caps().can_intersect(caps));
        // ADTS and LOAS framing is undone by the parser: ask for what it would deliver.
        let mut bare = side.caps.clone();
        if parser == Some("aacparse") {
            bare = gst::Caps::builder("audio/mpeg").field("mpegversion", 4i32).field("stream-format", "raw").build();
        }
        let branch = if taken(&bare) {
            self.audio_kept += 1;
            parser.map_or_else(String::new, |p| format!("{p} !"))
        } else {
            let encoder = if ending == "webm" {
                "audioresample ! opusenc ! opusparse"
            } else {
                "audioresample ! avenc_aac bitrate=192000 ! aacparse"
            };
            let name = side.caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
            self.notices.push(format!("a .{ending} file cannot carry the audio as it is ({name}); it is re-encoded"));
            format!("decodebin ! audioconvert ! {encoder} !")
        };
        let description = format!(
            "appsrc name=packets format=time block=true max-bytes=4194304 ! {branch} \
             queue name=out max-size-buffers=0 max-size-time=0 max-size-bytes={BRANCH_BYTES}"
        );
        let bin = gst::parse::bin_from_description(&description, true)
            .map_err(|e| unwritable(format!("the audio cannot be set up: {e}")))?;
        let packets = bin
            .by_name("packets")
            .and_then(|e| e.downcast::<gst_app::AppSrc>().ok())
            .ok_or_else(|| unwritable("no audio input".into()))?;
        packets.set_caps(Some(&side.caps));
        self.pipeline.add(&bin).and_then(|()| bin.link(mux)).map_err(|e| unwritable(e.to_string()))?;
        let stop = self.stop.clone();
        let pump = std::thread::Builder::new()
            .name("audio".into())
            .spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    match side.packets.recv_timeout(Duration::from_millis(50)) {
                        Ok(packet) => {
                            if packets.push_buffer(packet).is_err() {
                                break;
                            }
                        }
                        Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                        Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break,
                    }
                }
                let _ = packets.end_of_stream();
            })
            .map_err(|e| unwritable(e.to_string()))?;
        self.pumps.push(pump);
        Ok(())
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

    /// Hands one picture over; waits while the encoder is busy.
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
        if self.pictures.push_buffer(buffer).is_err() {
            return Err(self.bus_error().unwrap_or_else(|| self.broken("the encoder stopped".into())));
        }
        match self.bus_error() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Times spent in the encoder since the last call.
    pub fn take_encoded(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.encoded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the file and gives it its name. `interrupted` cuts the audio at the last picture.
    ///
    /// # Errors
    /// When the encoder or the disk failed; what was written stays in the `.part`.
    pub fn finish(mut self, interrupted: bool) -> Result<(PathBuf, Vec<Duration>), SinkError> {
        if interrupted {
            self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        let _ = self.pictures.end_of_stream();
        let bus = self.pipeline.bus();
        let message = bus.and_then(|bus| {
            bus.timed_pop_filtered(
                gst::ClockTime::from_seconds(FINISH_SECONDS),
                &[gst::MessageType::Eos, gst::MessageType::Error],
            )
        });
        let failure = match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => None,
            Some(gst::MessageView::Error(e)) => Some(e.error().message().to_owned()),
            _ => Some("the encoder did not finish".into()),
        };
        self.close();
        let encoded = self.take_encoded();
        if let Some(problem) = failure {
            return Err(self.broken(problem));
        }
        std::fs::rename(part_path(&self.path), &self.path).map_err(|e| self.broken(e.to_string()))?;
        Ok((self.path.clone(), encoded))
    }

    fn close(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let _ = self.pipeline.set_state(gst::State::Null);
        for pump in self.pumps.drain(..) {
            let _ = pump.join();
        }
    }

    fn bus_error(&self) -> Option<SinkError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default();
                let full = debug.contains("No space left") || error.error().matches(gst::ResourceError::NoSpaceLeft);
                Some(self.broken(if full { "the disk is full".into() } else { error.error().message().to_owned() }))
            }
            _ => None,
        }
    }

    fn broken(&self, problem: String) -> SinkError {
        SinkError::Broken { path: self.path.clone(), problem, kept: part_path(&self.path) }
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.close();
    }
}

/// A time base in which the frame rate is exact and 1/90000 s is not lost: the numerator, multiplied up.
fn timescale(numer: i32) -> u32 {
    let numer = u32::try_from(numer).unwrap_or(0);
    if numer == 0 || numer > 90_000 { 90_000 } else { numer * 90_000u32.div_ceil(numer) }
}

fn parser_for(caps: &gst::Caps) -> Option<&'static str> {
    let structure = caps.structure(0)?;
    let version = structure.get::<i32>("mpegversion").ok();
    match structure.name().as_str() {
        "audio/mpeg" if version == Some(1) => Some("mpegaudioparse"),
        "audio/mpeg" => Some("aacparse"),
        "audio/x-opus" => Some("opusparse"),
        "audio/x-flac" => Some("flacparse"),
        "audio/x-vorbis" => Some("vorbisparse"),
        "audio/x-ac3" | "audio/x-eac3" => Some("ac3parse"),
        _ => None,
    }
}

/// Stamps what enters and leaves the encoder, matched in order of PTS (there are no B-frames).
fn stamp_encoder(encoder: &gst::Element, clock: &Arc<dyn Clock>) -> Encoded {
    let entered: Arc<Mutex<VecDeque<HostTime>>> = Arc::default();
    let encoded: Encoded = Arc::default();
    if let Some(pad) = encoder.static_pad("sink") {
        let (entered, clock) = (entered.clone(), clock.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            entered.lock().unwrap_or_else(PoisonError::into_inner).push_back(clock.now());
            gst::PadProbeReturn::Ok
        });
    }
    if let Some(pad) = encoder.static_pad("src") {
        let (encoded, clock) = (encoded.clone(), clock.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let start = entered.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(start) = start {
                encoded.lock().unwrap_or_else(PoisonError::into_inner).push(clock.now().since(start));
            }
            gst::PadProbeReturn::Ok
        });
    }
    encoded
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
