//! A recorded file or a picture, being decoded: opening it, waiting for its end, and what is said when it cannot be.
//!
//! `filesrc ! parsebin` splits it into tracks ([`super::tracks`]); the chosen one is decoded into the bounded channel
//! ([`super::frames`]), audio packets are passed by.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;

use super::decoding::{Decoding, Timing};
use super::jpeg::choose_decoders;
use super::length::Length;
use super::missing::{MissingPlugin, package_for};
use super::pace::Pacer;
use super::probe::{DecoderProbe, watch_decoders};
use super::tracks::{Side, Tracks};
use crate::shutdown::Shutdown;
use crate::source::{Outlet, SourceError, Wanted};
use crate::stream::{AudioTrack, StreamInfo};

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
/// A file being decoded on `GStreamer`'s threads.
pub struct FileSource {
    pipeline: gst::Pipeline,
    path: PathBuf,
    shared: Arc<Decoding>,
    info: StreamInfo,
    gate: Option<Sender<()>>,
    ended: bool,
}

impl FileSource {
    /// Opens `path` and returns when the first picture is decoded, or it is clear that none will be. The picture and those
    /// after it go to `outlet` from [`release`](Self::release) on.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] when no picture can be decoded from the file.
    pub fn open(path: &Path, wanted: Wanted, outlet: &Outlet) -> Result<Self, SourceError> {
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
        let pacer = wanted.real_time.then(|| Pacer::new(outlet.clone()));
        let probe = DecoderProbe::new(outlet.clock.clone(), pacer, wanted.delay);
        let shared = Arc::new(Decoding::new(outlet, wanted, Timing::Recorded(OnceLock::new()), probe, gate_rx));
        choose_decoders(&pipeline, Some(path));
        watch_decoders(&pipeline, &shared.probe);
        let tracks = Tracks::new(&pipeline, &shared);
        parsebin.connect_pad_added(move |_, pad| tracks.add(pad));

        let name = path.file_name().map_or_else(|| input.clone(), |n| n.to_string_lossy().into_owned());
        let info = shared.describe(name);
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
                let alone = self.shared.wanted.picture.is_some();
                if alone || self.shared.sides_are_known() || self.ended || since.elapsed() > AUDIO_DEADLINE {
                    break;
                }
            } else if self.shared.refusal().is_some() {
                return Err(self.unusable("there is no such track", &missing));
            } else if self.shared.is_audio_only() && started.elapsed() > VIDEO_DEADLINE {
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
        self.info = self.shared.describe(std::mem::take(&mut self.info.name));
        if self.shared.wanted.picture.is_none() {
            let stated = self.pipeline.query_duration();
            let rate = self.info.frame_rate.and_then(|(n, d)| u64::try_from(n).ok().zip(u64::try_from(d).ok()));
            let wanted = self.shared.wanted.limit.zip(rate);
            let wanted =
                wanted.and_then(|(frames, (n, d))| gst::ClockTime::SECOND.mul_div_ceil(frames.checked_mul(d)?, n));
            let length = Length::of(&self.path, self.shared.demuxer.get().map(String::as_str), stated, wanted);
            (self.info.duration, self.info.sure_duration) = (length.likely, length.sure);
        }
        self.info.notices = self.shared.take_notices();
    }

    /// What was learnt on opening.
    #[must_use]
    pub fn info(&self) -> &StreamInfo {
        &self.info
    }

    /// The audio tracks, to be passed to the sink. Can be taken once.
    pub fn take_audio(&mut self) -> Vec<AudioTrack> {
        self.shared.sides().iter().filter_map(Side::take_track).collect()
    }

    /// Lets the pictures go to the channel.
    pub fn release(&mut self) {
        self.gate = None;
    }

    /// Asks the source to end: frames still in the channel stay there, nothing more is added.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits for the end of the file, or until `shutdown` is requested. Returns the coded frames that never became a picture.
    ///
    /// # Errors
    /// [`SourceError::Broken`] when decoding could not go on.
    pub fn wait(&mut self, shutdown: &Shutdown) -> Result<u64, SourceError> {
        let Some(bus) = self.pipeline.bus() else { return Ok(0) };
        let kinds = [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::Application];
        let (mut seen, mut since) = (0, Instant::now());
        while !self.ended {
            if shutdown.is_requested() || self.shared.is_stopped() {
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
        } else if self.shared.is_audio_only() {
            ("it has audio but no video".to_owned(), "give a file with a video track".to_owned())
        } else {
            let remedy = "check that it is a video or a picture and plays elsewhere (`ffprobe FILE`)";
            (problem.trim_end_matches('.').to_owned(), remedy.to_owned())
        };
        SourceError::Unusable { input: self.path.display().to_string(), problem, remedy }
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
