//! A recorded file or a picture, being decoded: opening it, waiting for its end, and what is said when it cannot be.
//!
//! `filesrc ! parsebin` splits it into tracks ([`super::tracks`]); the chosen one is decoded into the bounded channel
//! ([`super::frames`]), audio packets are passed by.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::jpeg::choose_decoders;
use super::length::Length;
use super::missing::{MissingPlugin, package_for};
use super::pace::Pacer;
use super::probe::{DecoderProbe, watch_decoders};
use super::tracks::{Side, Tracks, codec_name};
use super::{Outlet, SideTrack, SourceError, StreamInfo};
use crate::geometry::Size;

/// How long an audio track may take to show its format after the first picture.
const AUDIO_DEADLINE: Duration = Duration::from_millis(500);
/// How long a file with audio may take to show a video track: parsebin shows all tracks at once.
const VIDEO_DEADLINE: Duration = Duration::from_secs(2);
/// How long a file may take to show a first picture before it is given up.
const PICTURE_DEADLINE: Duration = Duration::from_secs(30);
/// How long a file may show nothing more while nothing holds it back: a demuxer that goes round in circles.
const STALL: Duration = Duration::from_secs(30);
/// How often the waiting threads look whether they should stop.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(20);
/// Name of the message with which the frame callback says that it has delivered enough.
const DELIVERED: &str = "streamdet-delivered";

/// What of a file is wanted.
#[derive(Debug, Clone, Default)]
pub struct FileOptions {
    /// Video track, from 1; `None`: the container's default one.
    pub track: Option<u32>,
    /// Frames to deliver, at most.
    pub limit: Option<u64>,
    /// For a picture: its path, written on its frame, and its number in its stream.
    pub picture: Option<(Arc<str>, u64)>,
    /// Frames enter the decoder when they are due, as from a live source.
    pub real_time: bool,
    /// Added to every frame's time in the decoder, to see that the figures show it.
    pub delay: Duration,
}

/// A file being decoded on `GStreamer`'s threads.
pub struct FileSource {
    pipeline: gst::Pipeline,
    path: PathBuf,
    shared: Arc<Shared>,
    info: StreamInfo,
    gate: Option<Sender<()>>,
    ended: bool,
}

/// What the file's streaming threads and its owner share.
pub(super) struct Shared {
    pub probe: DecoderProbe,
    pub outlet: Outlet,
    pub options: FileOptions,
    pub sides: Mutex<Vec<Side>>,
    pub notices: Mutex<Vec<String>>,
    /// The demuxer's factory.
    pub demuxer: OnceLock<String>,
    /// A track was chosen to be decoded.
    pub video_found: AtomicBool,
    /// Why the chosen track cannot be had.
    pub refused: Mutex<Option<String>>,
    /// Frames that left the decoder.
    pub frames: AtomicU64,
    /// Audio packets passed by.
    pub packets: AtomicU64,
    /// Nothing more is wanted.
    pub stopped: AtomicBool,
    /// Where time zero lies in the buffers' own times, where their segments do not say it reliably.
    pub origin: OnceLock<Option<gst::ClockTime>>,
    /// The first picture's description.
    pub first: OnceLock<gst_video::VideoInfo>,
    /// Closed until the opening is known downstream: the first picture waits at it.
    pub gate: Receiver<()>,
}

impl Shared {
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Whether it may stand still: not while it comes in its own time, as from a live source.
    pub fn can_pause(&self) -> bool {
        !self.options.real_time
    }

    /// Says so to [`FileSource::wait`]: all that was asked for is delivered.
    pub fn delivered(&self, element: &gst::Element) {
        self.stopped.store(true, Ordering::SeqCst);
        let message = gst::message::Application::builder(gst::Structure::new_empty(DELIVERED)).src(element).build();
        let _ = element.post_message(message);
    }

    /// The time of a buffer of `sample` in the stream, the same zero for all tracks; `None` before it.
    pub fn stream_time(&self, sample: &gst::SampleRef, time: Option<gst::ClockTime>) -> Option<gst::ClockTime> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let time = time?;
        match self.origin.get_or_init(|| self.is_matroska().then(|| matroska_origin(segment))) {
            Some(origin) => time.checked_sub(*origin),
            None => segment.to_running_time(time),
        }
    }

    fn is_matroska(&self) -> bool {
        self.demuxer.get().is_some_and(|name| name == "matroskademux")
    }

    pub fn sides(&self) -> MutexGuard<'_, Vec<Side>> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn notice(&self, text: String) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn refusal(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// matroskademux begins its segment at the first packet of the file, and moves it when another track's first packet turns
/// out to be earlier: the first picture would be moved and those after it not. Times in the file are taken as they are, but
/// for a recording that was cut out of a longer one.
fn matroska_origin(segment: &gst::FormattedSegment<gst::ClockTime>) -> gst::ClockTime {
    let start = segment.start().unwrap_or_default();
    if start < gst::ClockTime::from_seconds(1) { gst::ClockTime::ZERO } else { start }
}

impl FileSource {
    /// Opens `path` and returns when the first picture is decoded, or it is clear that none will be. The picture and those
    /// after it go to `outlet` from [`release`](Self::release) on.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] when no picture can be decoded from the file.
    pub fn open(path: &Path, options: FileOptions, outlet: &Outlet) -> Result<Self, SourceError> {
        let input = path.display().to_string();
        let unusable = |problem: String, remedy: &str| SourceError::Unusable {
            input: input.clone(),
            problem,
            remedy: remedy.to_owned(),
        };
        let file = std::fs::File::open(path).map_err(|e| unusable(e.to_string(), "check the path and its permissions"));
        let metadata = file.and_then(|f| f.metadata().map_err(|e| unusable(e.to_string(), "check the file system")))?;
        if metadata.is_file() && metadata.len() == 0 {
            return Err(unusable("the file is empty".into(), "record or copy it again"));
        }
        let broken =
            |e: gst::glib::BoolError| unusable(e.to_string(), "run `make setup` to install GStreamer's plugins");

        let pipeline = gst::Pipeline::new();
        let filesrc = gst::ElementFactory::make("filesrc").property("location", path).build().map_err(broken)?;
        let parsebin = gst::ElementFactory::make("parsebin").build().map_err(broken)?;
        pipeline.add_many([&filesrc, &parsebin]).and_then(|()| filesrc.link(&parsebin)).map_err(broken)?;

        let (gate_tx, gate_rx) = bounded(0);
        let pacer = options.real_time.then(|| Pacer::new(outlet.clone()));
        let shared = Arc::new(Shared {
            probe: DecoderProbe::new(outlet.clock.clone(), pacer, options.delay),
            outlet: outlet.clone(),
            options,
            sides: Mutex::default(),
            notices: Mutex::default(),
            demuxer: OnceLock::new(),
            video_found: AtomicBool::new(false),
            refused: Mutex::default(),
            frames: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            origin: OnceLock::new(),
            first: OnceLock::new(),
            gate: gate_rx,
        });
        choose_decoders(&pipeline, path);
        watch_decoders(&pipeline, &shared.probe);
        let tracks = Tracks::new(&pipeline, &shared);
        parsebin.connect_pad_added(move |_, pad| tracks.add(pad));

        let name = path.file_name().map_or_else(|| input.clone(), |n| n.to_string_lossy().into_owned());
        let info = StreamInfo {
            name,
            size: Size { width: 0, height: 0 },
            frame_rate: None,
            duration: None,
            sure_duration: None,
            codec: String::new(),
            audio_codecs: Vec::new(),
            notices: Vec::new(),
        };
        let mut source = Self { pipeline, path: path.to_owned(), shared, info, gate: Some(gate_tx), ended: false };
        source.start()?;
        Ok(source)
    }

    /// Starts the pipeline and waits until the first picture and every track's format are there.
    fn start(&mut self) -> Result<(), SourceError> {
        let Some(bus) = self.pipeline.bus() else { return Err(self.unusable("it has no message bus", &[])) };
        let mut missing = Vec::new();
        let unstartable = self.pipeline.set_state(gst::State::Playing).is_err();
        let started = Instant::now();
        let mut picture: Option<Instant> = None;
        loop {
            if self.shared.first.get().is_some() {
                picture.get_or_insert_with(Instant::now);
            }
            if let Some(since) = picture {
                let complete = self.shared.sides().iter().all(Side::has_format);
                let alone = self.shared.options.picture.is_some();
                if alone || complete || self.ended || since.elapsed() > AUDIO_DEADLINE {
                    break;
                }
            } else if self.shared.refusal().is_some() {
                return Err(self.unusable("there is no such track", &missing));
            } else if self.is_audio_only() && started.elapsed() > VIDEO_DEADLINE {
                return Err(self.unusable("it has no video track", &missing));
            } else if started.elapsed() > PICTURE_DEADLINE {
                let problem = format!("no picture was decoded within {} s", PICTURE_DEADLINE.as_secs());
                return Err(self.unusable(&problem, &missing));
            }
            let wait = if unstartable { gst::ClockTime::ZERO } else { gst::ClockTime::from_mseconds(5) };
            let Some(message) = bus.timed_pop(wait) else {
                if unstartable {
                    return Err(self.unusable("it cannot be read", &missing));
                }
                continue;
            };
            match message.view() {
                gst::MessageView::Error(error) => {
                    missing.extend(bus.iter().filter_map(|m| MissingPlugin::from_message(&m)));
                    return Err(self.unusable(error.error().message(), &missing));
                }
                gst::MessageView::Eos(_) if self.shared.first.get().is_some() => self.ended = true,
                gst::MessageView::Eos(_) => {
                    return Err(self.unusable("it holds no picture that could be decoded", &missing));
                }
                gst::MessageView::Element(_) => missing.extend(MissingPlugin::from_message(&message)),
                _ => {}
            }
        }
        self.describe();
        Ok(())
    }

    fn describe(&mut self) {
        if let Some(video) = self.shared.first.get() {
            let fps = video.fps();
            self.info.size = Size { width: video.width(), height: video.height() };
            self.info.frame_rate = (fps.numer() > 0).then(|| (fps.numer(), fps.denom()));
        }
        if self.shared.options.picture.is_none() {
            let stated = self.pipeline.query_duration();
            let rate = self.info.frame_rate.and_then(|(n, d)| u64::try_from(n).ok().zip(u64::try_from(d).ok()));
            let wanted = self.shared.options.limit.zip(rate);
            let wanted =
                wanted.and_then(|(frames, (n, d))| gst::ClockTime::SECOND.mul_div_ceil(frames.checked_mul(d)?, n));
            let length = Length::of(&self.path, self.shared.demuxer.get().map(String::as_str), stated, wanted);
            (self.info.duration, self.info.sure_duration) = (length.likely, length.sure);
        }
        self.info.codec = self.shared.probe.codec().map_or_else(|| "raw".into(), |caps| codec_name(&caps));
        for side in self.shared.sides().iter() {
            match side.format.get() {
                Some(caps) => self.info.audio_codecs.push(codec_name(caps)),
                None => self.shared.notice("an audio track that does not begin is left out".into()),
            }
        }
        self.info.notices = std::mem::take(&mut *self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was learnt on opening.
    #[must_use]
    pub fn info(&self) -> &StreamInfo {
        &self.info
    }

    /// The audio tracks, to be passed to the sink. Can be taken once.
    pub fn take_sides(&mut self) -> Vec<SideTrack> {
        self.shared.sides().iter_mut().filter_map(Side::take_track).collect()
    }

    /// Lets the pictures go to the channel.
    pub fn release(&mut self) {
        self.gate = None;
    }

    /// Asks the source to end: frames still in the channel stay there, nothing more is added.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.probe.stop_pacing();
    }

    /// Waits for the end of the file, or until `interrupted`. Returns the coded frames that never became a picture.
    ///
    /// # Errors
    /// [`SourceError::Broken`] when decoding could not go on.
    pub fn wait(&mut self, interrupted: &dyn Fn() -> bool) -> Result<u64, SourceError> {
        let Some(bus) = self.pipeline.bus() else { return Ok(0) };
        let kinds = [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::Application];
        let (mut seen, mut since) = (0, Instant::now());
        while !self.ended {
            if interrupted() || self.shared.is_stopped() {
                self.stop();
                return Ok(0);
            }
            let message = bus.timed_pop_filtered(LOOK, &kinds);
            match message.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Eos(_)) => self.ended = true,
                Some(gst::MessageView::Error(error)) => return Err(self.broken(error.error().message())),
                _ => {}
            }
            let progress = self.shared.frames.load(Ordering::SeqCst) + self.shared.packets.load(Ordering::SeqCst);
            let outlet = &self.shared.outlet;
            let paused = self.shared.can_pause() && outlet.controls.is_paused();
            let held = paused || outlet.events.is_full() || outlet.is_waiting() || self.shared.probe.is_holding();
            if progress != seen || held {
                (seen, since) = (progress, Instant::now());
            } else if since.elapsed() > STALL {
                return Err(self.broken(&format!("nothing more came for {} s", STALL.as_secs())));
            }
        }
        Ok(self.shared.probe.lost())
    }

    fn broken(&self, problem: &str) -> SourceError {
        SourceError::Broken {
            input: self.path.display().to_string(),
            frames: self.shared.frames.load(Ordering::SeqCst),
            problem: problem.to_owned(),
        }
    }

    /// Why the file cannot be used, in words that name the remedy.
    fn unusable(&self, problem: &str, missing: &[MissingPlugin]) -> SourceError {
        // Whatever came first: with the track refused, the rest of the file ends in errors of its own.
        let (problem, remedy) = if let Some(refusal) = self.shared.refusal() {
            (refusal, "choose another with --track".to_owned())
        } else if let Some(plugin) = missing.iter().find(|m| m.is_video()) {
            (format!("GStreamer has no {} here", plugin.name), format!("install {}", package_for(&plugin.detail)))
        } else if self.is_cut_short() {
            let remedy =
                "the recorder was stopped before it wrote the index; repair it, e.g. with untrunc, or record to .mkv";
            ("it was cut short: its index (moov) is missing".to_owned(), remedy.to_owned())
        } else if self.is_audio_only() {
            ("it has audio but no video".to_owned(), "give a file with a video track".to_owned())
        } else {
            let remedy = "check that it is a video or a picture and plays elsewhere (`ffprobe FILE`)";
            (problem.trim_end_matches('.').to_owned(), remedy.to_owned())
        };
        SourceError::Unusable { input: self.path.display().to_string(), problem, remedy }
    }

    /// Whether there are audio tracks, but none to be decoded.
    fn is_audio_only(&self) -> bool {
        !self.shared.sides().is_empty() && !self.shared.video_found.load(Ordering::SeqCst)
    }

    /// Whether this is an MP4 or MOV file without its index: the top-level boxes name no `moov`.
    fn is_cut_short(&self) -> bool {
        use std::io::{Read, Seek, SeekFrom};
        let Ok(mut file) = std::fs::File::open(&self.path) else { return false };
        let mut first = true;
        loop {
            let mut header = [0; 16];
            if file.read_exact(&mut header[..8]).is_err() {
                return !first;
            }
            let kind: [u8; 4] = [header[4], header[5], header[6], header[7]];
            if (first && !matches!(&kind, b"ftyp" | b"mdat" | b"wide" | b"skip" | b"free")) || &kind == b"moov" {
                return false;
            }
            first = false;
            let size = u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]]));
            let (size, read) = if size == 1 {
                if file.read_exact(&mut header[8..]).is_err() {
                    return true;
                }
                let large: [u8; 8] = std::array::from_fn(|i| header[8 + i]);
                (u64::from_be_bytes(large), 16)
            } else {
                (size, 8)
            };
            // A box of size 0 reaches to the end of the file.
            let Some(rest) = size.checked_sub(read).and_then(|n| i64::try_from(n).ok()) else { return true };
            if file.seek(SeekFrom::Current(rest)).is_err() {
                return true;
            }
        }
    }
}

impl Drop for FileSource {
    fn drop(&mut self) {
        self.stop();
        self.gate = None;
        // Going to Null joins the streaming threads; whoever holds the channel must be draining it or have dropped it.
        let _ = self.pipeline.set_state(gst::State::Null);
        for side in self.shared.sides().iter() {
            side.close();
        }
    }
}
