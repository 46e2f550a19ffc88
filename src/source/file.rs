//! A recorded file or an image, being decoded: opening it, waiting for its end, and what is said when it cannot be.
//!
//! `filesrc ! parsebin` splits it into tracks ([`super::tracks`]); the chosen one is decoded into the bounded lane
//! ([`super::frames`]), audio packets are passed through.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::activity::{Activity, StallTimer};
use super::audio::AudioTracks;
use super::decoding::{Decoding, Setup};
use super::error::SourceError;
use super::factories;
use super::first_frame::Gate;
use super::jpeg::choose_decoders;
use super::late::LateFrames;
use super::length::Length;
use super::missing::{MissingPlugin, package_for};
use super::mp4::correct_headers;
use super::mpeg::help_demuxers;
use super::options::Wanted;
use super::outlet::Outlet;
use super::pace::Pacer;
use super::probe::{DecoderProbe, watch_decoders};
use super::timing::Timing;
use super::tracks::Tracks;
use super::wake::{Waker, next_message};
use crate::clock::HostTime;
use crate::image_file::{ImageFile, open_regular};
use crate::shutdown::{OnRequest, Shutdown};
use crate::stream::{AudioTrack, StreamInfo};
use crate::teardown::tear_down;
use crate::thread::test_panic_point;

/// How long an audio track may take to show its format after the first frame.
const AUDIO_DEADLINE: Duration = Duration::from_millis(500);
/// How long a file with audio may take to show a video track: parsebin shows all tracks at once.
const VIDEO_DEADLINE: Duration = Duration::from_secs(2);
/// How long a file may take until its first frame is decoded.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// How long a file may show nothing more while nothing holds it back: a demuxer that goes round in circles.
const STALL: Duration = Duration::from_secs(30);

/// A file being decoded on `GStreamer`'s threads.
pub struct FileSource {
    pipeline: gst::Pipeline,
    path: PathBuf,
    /// What the pipeline reads, where it is no regular file.
    _pipe: Option<File>,
    shared: Arc<Decoding>,
    info: StreamInfo,
    gate: Option<Gate>,
    waker: Waker,
    /// The way from the stream's stop to this file's.
    _stopping: OnRequest,
    ended: bool,
}

impl FileSource {
    /// Opens `path` and returns when the first frame is decoded, or it is clear that none will be. It and those after it go
    /// to `outlet` from [`release`](Self::release) on. `None` when `shutdown` was requested before.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] when no frame can be decoded from the file.
    pub fn open(
        path: &Path,
        wanted: Wanted,
        outlet: &Outlet,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, SourceError> {
        let input = path.display().to_string();
        let unusable = |problem: String, remedy: &str| SourceError::Unusable {
            input: input.clone(),
            problem,
            remedy: remedy.to_owned(),
        };
        // Once: the writer of a named pipe ends where its reader leaves.
        let open = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = open.map_err(|e| unusable(e.to_string(), "check the path and its permissions"))?;
        if metadata.is_file() && metadata.len() == 0 {
            return Err(unusable("the file is empty".into(), "record or copy it again"));
        }
        let pipe = (!metadata.is_file()).then_some(file);
        let about = ImageFile::read(path);
        if let Some((format, converter)) = about.undecodable {
            return Err(unusable(
                format!("{format} images are not supported"),
                &format!("convert it, e.g. {converter}"),
            ));
        }
        if about.damaged && wanted.image.is_some() {
            return Err(unusable("the image is damaged: a checksum in it is wrong".into(), "copy or export it again"));
        }
        if let Some(problem) = about.too_large().filter(|_| wanted.image.is_some()) {
            return Err(unusable(problem, "scale it down, or cut it into tiles (gdal_translate, or vips dzsave)"));
        }
        let broken =
            |e: gst::glib::BoolError| unusable(e.to_string(), "run `make setup` to install GStreamer's plugins");

        let pipeline = gst::Pipeline::new();
        let file = match (about.first.filter(|_| wanted.image.is_some()), &pipe) {
            (Some(frame), _) => first_frame(frame),
            // filesrc opens what it cannot seek in a second time.
            (None, Some(pipe)) => gst::ElementFactory::make("fdsrc").property("fd", pipe.as_raw_fd()).build(),
            (None, None) => gst::ElementFactory::make("filesrc").property("location", path).build(),
        }
        .map_err(broken)?;
        let parsebin = gst::ElementFactory::make("parsebin").build().map_err(broken)?;
        pipeline.add_many([&file, &parsebin]).and_then(|()| file.link(&parsebin)).map_err(broken)?;

        let (waker, stop) = (Waker::new(&pipeline), Shutdown::new());
        let stopping = waker.on_request(shutdown, &stop);
        let pacer = wanted.real_time.then(|| Pacer::new(outlet.clone(), stop.child()));
        let (shared, gate) = Decoding::new(Setup {
            outlet: outlet.clone(),
            probe: DecoderProbe::new(outlet, pacer, wanted.delay),
            wanted: Wanted { orientation: about.turn, ..wanted },
            timing: Timing::recorded(),
            audio: AudioTracks::default(),
            // Of a recording, nothing is late.
            late: LateFrames::new(Duration::MAX),
            activity: Arc::new(Activity::new(outlet.clock.clone())),
            audio_is_progress: true,
            waker: waker.clone(),
            stop,
        });
        if shared.wanted.image.is_some() && about.images > 1 {
            shared.notice(format!(
                "{input}: the first of {} images is used; convert an animation to a video for all of them (ffmpeg -i IN \
                 OUT.mp4), pages to a file each",
                about.images
            ));
        }
        if shared.wanted.image.is_some() {
            factories::look_up_once(&pipeline);
        }
        choose_decoders(&pipeline, Some(path));
        help_demuxers(&pipeline, Some(path));
        watch_decoders(&pipeline, &shared.probe);
        correct_headers(&pipeline, &shared.probe, &outlet.guard);
        let tracks = Tracks::new(&pipeline, &shared);
        parsebin.connect_pad_added(move |_, pad| tracks.add_guarded(pad, None));

        let name = path.file_name().map_or_else(|| input.clone(), |n| n.to_string_lossy().into_owned());
        let info = shared.describe(name);
        let path = path.to_owned();
        let mut source = Self {
            pipeline,
            path,
            _pipe: pipe,
            shared,
            info,
            gate: Some(gate),
            waker,
            _stopping: stopping,
            ended: false,
        };
        Ok(source.start()?.then_some(source))
    }

    /// Starts the pipeline and waits until the first frame and every track's format are there; whether they
    /// are, or a stop was requested.
    fn start(&mut self) -> Result<bool, SourceError> {
        let mut missing = Vec::new();
        let cannot_start = self.pipeline.set_state(gst::State::Playing).is_err();
        let started = self.now();
        let mut first_frame = None;
        while let Some(left) = self.time_left(started, &mut first_frame, &missing)? {
            if self.shared.is_stopped() {
                return Ok(false);
            }
            // What could not start says why, if at all, at once.
            let left = if cannot_start { Duration::ZERO } else { left };
            let Some(message) = next_message(self.waker.bus(), left) else {
                if cannot_start {
                    return Err(self.unusable("it cannot be read", &missing));
                }
                continue;
            };
            match message.view() {
                gst::MessageView::Error(error) => {
                    missing.extend(self.waker.bus().iter().filter_map(|m| MissingPlugin::from_message(&m)));
                    return Err(self.unusable(error.error().message(), &missing));
                }
                gst::MessageView::Eos(_) if self.shared.first.is_decoded() => self.ended = true,
                gst::MessageView::Eos(_) => {
                    return Err(self.unusable("no frame could be decoded", &missing));
                }
                gst::MessageView::Element(_) => missing.extend(MissingPlugin::from_message(&message)),
                _ => {}
            }
        }
        self.describe();
        Ok(true)
    }

    /// How long what comes next may take; `None` when all is there.
    fn time_left(
        &self,
        started: HostTime,
        first_frame: &mut Option<HostTime>,
        missing: &[MissingPlugin],
    ) -> Result<Option<Duration>, SourceError> {
        let (shared, now) = (&self.shared, self.now());
        let left = |until: HostTime| Some(until.since(now)).filter(|left| !left.is_zero());
        if shared.first.is_decoded() {
            let until = first_frame.get_or_insert(now).after(AUDIO_DEADLINE);
            let is_image = shared.wanted.image.is_some();
            let is_complete = is_image || shared.audio.all_have_format() && shared.rate.is_known() || self.ended;
            return Ok(left(until).filter(|_| !is_complete));
        }
        if shared.selection.refusal().is_some() {
            return Err(self.unusable("there is no such track", missing));
        }
        let is_audio_only = shared.is_audio_only();
        let until = started.after(if is_audio_only { VIDEO_DEADLINE } else { FRAME_DEADLINE });
        left(until).map(Some).ok_or_else(|| {
            if is_audio_only {
                return self.unusable("it has no video track", missing);
            }
            self.unusable(&format!("no frame was decoded within {} s", FRAME_DEADLINE.as_secs()), missing)
        })
    }

    fn now(&self) -> HostTime {
        self.shared.outlet.clock.now()
    }

    fn describe(&mut self) {
        self.info = self.shared.describe(std::mem::take(&mut self.info.name));
        if self.shared.wanted.image.is_none() {
            let stated = self.pipeline.query_duration();
            let rate = self.info.frame_rate.and_then(|(n, d)| u64::try_from(n).ok().zip(u64::try_from(d).ok()));
            let wanted = self.shared.wanted.limit.zip(rate);
            let wanted =
                wanted.and_then(|(frames, (n, d))| gst::ClockTime::SECOND.mul_div_ceil(frames.checked_mul(d)?, n));
            let length = Length::of(&self.path, self.shared.selection.demuxer(), stated, wanted);
            (self.info.duration, self.info.sure_duration) = (length.likely, length.sure);
        }
        self.info.notices = self.shared.take_notices();
    }

    /// What was learnt on opening.
    #[must_use]
    pub fn info(&self) -> &StreamInfo {
        &self.info
    }

    /// The audio tracks, to be passed to the sink; once.
    pub fn take_audio(&mut self) -> Vec<AudioTrack> {
        self.shared.audio.take()
    }

    /// Lets the frames go to the outlet.
    pub fn release(&mut self) {
        self.gate = None;
    }

    /// Ends it: frames that wait in the lane stay there, nothing more is added.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits for the end of the file, or for a stop. Returns the encoded frames that were never decoded.
    ///
    /// # Errors
    /// [`SourceError::Broken`] when decoding could not go on.
    pub fn wait(&mut self) -> Result<u64, SourceError> {
        let mut stall = StallTimer::new(STALL, self.now());
        while !self.ended {
            test_panic_point();
            if self.shared.is_stopped() {
                self.stop();
                return Ok(0);
            }
            let Some(left) = stall.check(self.now(), self.shared.activity.last(), self.shared.is_held()) else {
                return Err(self.broken(&format!("no more data for {} s", STALL.as_secs())));
            };
            let Some(message) = next_message(self.waker.bus(), left) else { continue };
            match message.view() {
                gst::MessageView::Eos(_) => self.ended = true,
                gst::MessageView::Error(error) => return Err(self.broken(error.error().message())),
                _ => {}
            }
        }
        Ok(self.shared.probe.lost())
    }

    fn broken(&self, problem: &str) -> SourceError {
        SourceError::Broken {
            input: self.path.display().to_string(),
            frames: self.shared.frames(),
            problem: problem.to_owned(),
        }
    }

    /// Why the file cannot be used, in words that name the remedy.
    fn unusable(&self, problem: &str, missing: &[MissingPlugin]) -> SourceError {
        // Whatever came first: with the track refused, the rest of the file ends in errors of its own.
        let (problem, remedy) = if let Some(refusal) = self.shared.selection.refusal() {
            (refusal.to_owned(), "choose another with --video-track".to_owned())
        } else if let Some(plugin) = missing.iter().find(|m| m.is_video()) {
            (format!("GStreamer has no {} here", plugin.name), format!("install {}", package_for(&plugin.detail)))
        } else if self.is_cut_short() {
            let remedy =
                "the recorder was stopped before it wrote the index; repair it, e.g. with untrunc, or record to .mkv";
            ("it was cut short: its index (moov) is missing".to_owned(), remedy.to_owned())
        } else if self.shared.is_audio_only() {
            ("it has audio but no video".to_owned(), "give a file with a video track".to_owned())
        } else {
            let remedy = "check that it is a video or an image and plays elsewhere (`ffprobe FILE`)";
            (problem.trim_end_matches('.').to_owned(), remedy.to_owned())
        };
        SourceError::Unusable { input: self.path.display().to_string(), problem, remedy }
    }

    /// Whether this is an MP4 or MOV file without its index: the top-level boxes name no `moov`.
    fn is_cut_short(&self) -> bool {
        use std::io::{Read, Seek, SeekFrom};
        let Some(mut file) = open_regular(&self.path) else { return false };
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

/// Gives the decoder one image that lies in memory.
fn first_frame(image: Vec<u8>) -> Result<gst::Element, gst::glib::BoolError> {
    let source = gst_app::AppSrc::builder().build();
    source
        .push_buffer(gst::Buffer::from_slice(image))
        .and_then(|_| source.end_of_stream())
        .map_err(|e| gst::glib::bool_error!("{e}"))?;
    Ok(source.upcast())
}

impl Drop for FileSource {
    fn drop(&mut self) {
        self.stop();
        self.gate = None;
        // This joins the streaming threads; the lane must be drained meanwhile, or its receiver dropped.
        tear_down(&self.pipeline);
        self.shared.audio.close();
    }
}
