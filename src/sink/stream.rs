//! A stream's outputs: encoded once, and recorded, pushed and served from that.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::audio::AudioFeed;
use super::branches::Branches;
use super::container::container_of;
use super::display::Display;
use super::encode::{EncodeTimes, Encoding};
use super::encoder::{EncoderOptions, EncoderParams};
use super::error::{OutputError, SinkError};
use super::hub::Hub;
use super::output::{BranchContext, FinishedOutputs, OutputEvent, OutputListener};
use super::pipeline::{BusEvent, Progress};
use super::preview::Preview;
use super::target::Target;
use super::writer::{Units, Writer, WriterState};
use crate::clock::Clock;
use crate::frame::hdr::Transfer;
use crate::geometry::Size;
use crate::part::part_path;
use crate::shutdown::Shutdown;
use crate::stream::{AudioTrack, LiveOutput, StreamInfo};
use crate::thread::{Thread, spawn};

/// How long an encoder that is drained may put out nothing: 8K in the slowest presets takes seconds a frame.
const DRAIN: Duration = Duration::from_mins(1);
/// How long the outputs that are to be finished may get nothing done. Each gives up sooner by itself, unless it hangs in the
/// system.
const FINISH: Duration = Duration::from_secs(35);

/// Everything that a stream's annotated frames go to.
pub struct StreamSink {
    encoded: Option<EncodedOutputs>,
    display: Option<Display>,
    previews: Vec<Preview>,
    shown: Option<LiveOutput>,
    listener: OutputListener,
}

/// What a stream's outputs are opened with.
pub struct OutputOptions<'a> {
    /// Encoder settings.
    pub encoder: &'a EncoderOptions,
    /// Stamps frames in the encoder.
    pub clock: &'a Arc<dyn Clock>,
    /// The source is live.
    pub live: bool,
    /// Is told of what happens.
    pub listener: &'a OutputListener,
    /// Requested when the stream is to stop: nothing waits for long from then on.
    pub stopping: &'a Shutdown,
}

/// Outputs that need an encoder.
struct EncodedOutputs {
    encoding: Encoding,
    params: EncoderParams,
    /// The first output, for people.
    name: String,
    /// The first file.
    file: Option<PathBuf>,
    encoders: Option<Sender<Units>>,
    writer: Option<Thread<FinishedOutputs>>,
    state: Arc<WriterState>,
    /// Disconnected when the writer needs no encoder any more, and when it has ended.
    drained: Receiver<()>,
    ended: Receiver<()>,
    stopping: Shutdown,
    marks: Vec<KeyframeMark>,
    /// The next frame comes after an outage.
    after_gap: bool,
    /// Those for whom alone it is encoded; empty where there is another output.
    viewers: Vec<Hub>,
    /// Frames are left out, since none of them has a viewer.
    rests: bool,
    /// The encoder has had its first frame.
    has_begun: bool,
    /// Times of an encoder that was replaced.
    earlier: Vec<EncodeTimes>,
}

/// Keyframes that come in an even rhythm, whatever the frame rate: one with the first frame at or after each mark.
struct KeyframeMark {
    every: gst::ClockTime,
    next: Option<gst::ClockTime>,
}

impl KeyframeMark {
    /// Whether the frame at `pts` is to be a keyframe.
    fn is_due(&mut self, pts: gst::ClockTime) -> bool {
        let Some(next) = self.next else {
            // The first frame is one anyway. Requested for it, GStreamer 1.22 would force no other one: x264enc shifts its times
            // with the first frame, and 1000 hours later is where the next may be forced then.
            self.next = Some(pts.saturating_add(self.every));
            return false;
        };
        if pts < next {
            return false;
        }
        let passed = (pts - next).nseconds() / self.every.nseconds().max(1) + 1;
        self.next = Some(next.saturating_add(self.every.saturating_mul(passed)));
        true
    }
}

impl StreamSink {
    /// Opens all of `targets` for frames like `video`, the first one, where `files` files were begun before; audio tracks are
    /// passed through where they can be, else re-encoded, with a notice.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub fn open(
        (targets, files): (&[Target], u32),
        video: &gst_video::VideoInfo,
        info: &StreamInfo,
        audio: Vec<AudioTrack>,
        options: &OutputOptions,
    ) -> Result<Self, SinkError> {
        let windows = targets.iter().any(|target| matches!(target, Target::Display));
        let display = windows.then(Display::open).transpose()?;
        let listener = options.listener.clone();
        let previews = targets.iter().filter_map(|target| match target {
            Target::Viewers(hub) => Some(hub.preview().clone()),
            _ => None,
        });
        let previews = previews.collect();
        let mut sink = Self { encoded: None, display, previews, shown: None, listener };
        if targets.iter().any(|target| !matches!(target, Target::Display)) {
            sink.encoded = Some(EncodedOutputs::open((targets, files), video, info, audio, options)?);
        }
        Ok(sink)
    }

    /// The frames that follow come after an outage.
    pub fn gap(&mut self) {
        if let Some(encoded) = &mut self.encoded {
            encoded.after_gap = true;
        }
    }

    /// Hands one frame over; waits while the encoder is busy, or a file cannot be written as fast. Whether it is encoded: not
    /// where all it could go to are viewers, and nobody watches.
    ///
    /// # Errors
    /// When the encoder or an output failed, or takes nothing any more.
    pub fn push(&mut self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<bool, SinkError> {
        if let Some(display) = &mut self.display
            && !display.show(buffer.clone(), video)
        {
            self.shown = Some(display.figures());
            self.display = None;
            (self.listener)(OutputEvent::WindowClosed);
        }
        self.previews.iter().for_each(|preview| preview.offer(&buffer, video));
        self.encoded.as_mut().map_or(Ok(false), |encoded| encoded.push(buffer, video))
    }

    /// Encodes frames of another size from here on: recordings go on in a new file, live outputs go on.
    ///
    /// # Errors
    /// When the encoder cannot be set up for them.
    pub fn change(
        &mut self,
        video: &gst_video::VideoInfo,
        frame_rate: Option<(i32, i32)>,
        options: &OutputOptions,
    ) -> Result<(), SinkError> {
        self.encoded.as_mut().map_or(Ok(()), |encoded| encoded.change(video, frame_rate, options))
    }

    /// What has left the encoder since the last call, in `times`, whose memory is used for the next.
    pub fn take_encode_times(&self, times: &mut Vec<EncodeTimes>) {
        times.clear();
        if let Some(encoded) = &self.encoded {
            encoded.encoding.take_times(times);
        }
    }

    /// Ends all outputs, in bounded time. `cut` ends the audio with the last frame.
    #[must_use]
    pub fn finish(mut self, cut: bool) -> (FinishedOutputs, Vec<EncodeTimes>) {
        let (mut finished, mut times) = (FinishedOutputs::default(), Vec::new());
        if let Some(mut encoded) = self.encoded.take() {
            (finished, times) = encoded.finish(cut);
        }
        finished.live.extend(self.shown.take().or_else(|| self.display.as_ref().map(Display::figures)));
        (finished, times)
    }
}

impl EncodedOutputs {
    fn open(
        (targets, files): (&[Target], u32),
        video: &gst_video::VideoInfo,
        info: &StreamInfo,
        audio: Vec<AudioTrack>,
        options: &OutputOptions,
    ) -> Result<Self, SinkError> {
        let name = targets.iter().find(|target| !matches!(target, Target::Display)).map(Target::name);
        let name = name.unwrap_or_default();
        let file = targets.iter().find_map(|target| match target {
            Target::File(file) => Some(file.path.clone()),
            _ => None,
        });
        let params = EncoderParams {
            codec: codec_for(targets)?,
            live: targets.iter().any(Target::is_live),
            size: Size { width: video.width(), height: video.height() },
            hdr: Transfer::of(video).is_some(),
            frame_rate: info.frame_rate,
        };
        let unwritable = |source| SinkError::Unwritable { path: PathBuf::from(&name), source };
        let encoding = Encoding::start(video, options.encoder, &params, options.clock).map_err(unwritable)?;
        for notice in encoding.notices() {
            (options.listener)(OutputEvent::Notice(format!("{name}: {notice}")));
        }
        let audio: Vec<AudioFeed> = audio.into_iter().map(AudioFeed::new).collect();
        let formats: Vec<gst::Caps> = audio.iter().map(|feed| feed.caps.clone()).collect();
        let (listener, live, progress) = (options.listener, options.live, Progress::default());
        let is_only = targets.iter().filter(|target| !matches!(target, Target::Display)).count() == 1;
        let context = BranchContext { info, audio: &formats, listener, files, live, progress: &progress, is_only };
        let branches = Branches::open(targets, formats.clone(), &context)?;
        let state = Arc::new(WriterState::new(&branches, progress));
        let (encoders, coming) = bounded(0);
        let ((still_draining, drained), (alive, ended)) = (bounded(0), bounded(0));
        let writer = Writer {
            encoders: coming,
            audio,
            branches,
            state: state.clone(),
            end: gst::ClockTime::ZERO,
            failed: false,
            live,
            listener: listener.clone(),
            drained: still_draining,
            alive,
        };
        let writer = spawn("encoded", move || writer.run()).map_err(|error| unwritable(error.into()))?;
        let first = (encoding.units(), encoding.keyframes().clone());
        encoders.send(first).map_err(|_| unwritable(OutputError::Stopped("writer")))?;
        Ok(Self {
            marks: keyframe_marks(targets, &params),
            encoding,
            params,
            name,
            file,
            encoders: Some(encoders),
            writer: Some(writer),
            state,
            drained,
            ended,
            stopping: options.stopping.clone(),
            after_gap: false,
            viewers: only_viewers(targets),
            rests: false,
            has_begun: false,
            earlier: Vec::new(),
        })
    }

    fn push(&mut self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<bool, SinkError> {
        if !self.viewers.is_empty() && !self.viewers.iter().any(Hub::is_watched) {
            self.rests = true;
            return self.state.take_failure().map_or(Ok(false), Err);
        }
        if let Some(pts) = buffer.pts() {
            // All of them are asked: a mark that is passed is due once.
            let due = self.marks.iter_mut().filter_map(|mark| mark.is_due(pts).then_some(())).count() > 0;
            let after_gap = std::mem::take(&mut self.after_gap);
            if after_gap {
                self.state.add_gap(pts);
            }
            let rested = std::mem::take(&mut self.rests) && self.has_begun;
            self.has_begun = true;
            if due || after_gap || rested {
                self.encoding.keyframes().request(Some(pts));
            }
        }
        let pushed = self.encoding.push(buffer, video, (&self.drained, &self.stopping));
        if let Some(failure) = self.state.take_failure() {
            return Err(failure);
        }
        pushed.map(|()| true).map_err(|error| self.failed(error))
    }

    fn change(
        &mut self,
        video: &gst_video::VideoInfo,
        frame_rate: Option<(i32, i32)>,
        options: &OutputOptions,
    ) -> Result<(), SinkError> {
        self.params.size = Size { width: video.width(), height: video.height() };
        self.params.frame_rate = frame_rate;
        self.params.hdr = Transfer::of(video).is_some();
        let unwritable = |source| SinkError::Unwritable { path: PathBuf::from(&self.name), source };
        let next = Encoding::start(video, options.encoder, &self.params, options.clock).map_err(unwritable)?;
        for notice in next.notices().iter().filter(|notice| !self.encoding.notices().contains(notice)) {
            (options.listener)(OutputEvent::Notice(format!("{}: {notice}", self.name)));
        }
        self.encoding.end();
        self.replace_by(&next).map_err(|error| self.failed(error))?;
        self.encoding.take_times(&mut self.earlier);
        self.encoding = next;
        self.has_begun = false;
        self.marks.iter_mut().for_each(|mark| mark.next = None);
        Ok(())
    }

    /// Has the writer go on with `next`, which it does when all that the encoder before holds is written.
    fn replace_by(&self, next: &Encoding) -> Result<(), OutputError> {
        let Some(encoders) = &self.encoders else { return Ok(()) };
        let units = (next.units(), next.keyframes().clone());
        let mut before = self.state.progress.get();
        loop {
            select! {
                send(encoders, units.clone()) -> sent => return sent.map_err(|_| OutputError::Stopped("writer")),
                recv(self.encoding.events()) -> event => if let Ok(BusEvent::Error(error)) = event {
                    return Err(error.into());
                },
                default(DRAIN) => self.has_moved(&mut before)?,
            }
        }
    }

    /// Checks that something was done since `before`.
    fn has_moved(&self, before: &mut u64) -> Result<(), OutputError> {
        let now = self.state.progress.get();
        match (std::mem::replace(before, now) == now, self.state.busy()) {
            (false, _) => Ok(()),
            (true, Some(_)) => Err(OutputError::Stalled(DRAIN)),
            (true, None) => Err(OutputError::EncoderStalled(DRAIN)),
        }
    }

    fn finish(&mut self, cut: bool) -> (FinishedOutputs, Vec<EncodeTimes>) {
        self.state.cut.store(cut, Ordering::SeqCst);
        self.encoding.end();
        let mut finished = self.join();
        if let Some(failure) = self.state.take_failure() {
            finished.fail(failure);
        }
        let mut times = std::mem::take(&mut self.earlier);
        let mut last = Vec::new();
        self.encoding.take_times(&mut last);
        times.append(&mut last);
        (finished, times)
    }

    /// Waits for the writer to have written all, while the encoder does not fail and something moves.
    fn join(&mut self) -> FinishedOutputs {
        let Some(writer) = self.writer.take() else { return FinishedOutputs::default() };
        self.encoders = None;
        let mut failure = None;
        if let Err(error) = self.drain() {
            self.encoding.stop();
            failure = Some(self.failed(error));
        }
        let mut before = self.state.progress.get();
        while self.ended.recv_timeout(FINISH) == Err(RecvTimeoutError::Timeout) {
            let now = self.state.progress.get();
            if std::mem::replace(&mut before, now) == now {
                // It is left alone: nothing wakes it.
                let failure = Some(failure.unwrap_or_else(|| self.failed(OutputError::Stalled(FINISH))));
                return FinishedOutputs { failure, ..FinishedOutputs::default() };
            }
        }
        let mut finished = writer.join().unwrap_or_else(|error| FinishedOutputs {
            failure: Some(self.failed(error.into())),
            ..FinishedOutputs::default()
        });
        finished.failure = finished.failure.or(failure);
        finished
    }

    /// Waits until the writer has taken all that the encoder holds.
    fn drain(&self) -> Result<(), OutputError> {
        let mut before = self.state.progress.get();
        loop {
            select! {
                recv(self.drained) -> _ => return Ok(()),
                recv(self.encoding.events()) -> event => if let Ok(BusEvent::Error(error)) = event {
                    return Err(error.into());
                },
                default(DRAIN) => self.has_moved(&mut before)?,
            }
        }
    }

    /// What went wrong, with the output's name: that of the busy one, where one is.
    fn failed(&self, source: OutputError) -> SinkError {
        let busy = self.state.busy().filter(|_| matches!(source, OutputError::Stalled(_)));
        match (busy, &self.file) {
            (Some(busy), _) => SinkError::Live { output: busy.to_owned(), source },
            (None, Some(path)) => SinkError::Broken { path: path.clone(), source, kept: part_path(path) },
            (None, None) => SinkError::Live { output: self.name.clone(), source },
        }
    }
}

impl Drop for EncodedOutputs {
    fn drop(&mut self) {
        self.state.cut.store(true, Ordering::SeqCst);
        self.encoding.stop();
        // Dropped without being finished, another error is reported.
        drop(self.join());
    }
}

/// The codec that all of `targets` carry.
///
/// # Errors
/// When there is none.
pub fn codec_for(targets: &[Target]) -> Result<&'static str, SinkError> {
    let codec = |target: &Target| match target {
        Target::File(file) if container_of(&file.path).1.video == "vp9" => "vp9",
        _ => "h264",
    };
    let encoded = || targets.iter().filter(|target| !matches!(target, Target::Display));
    let vp9 = encoded().find(|target| codec(target) == "vp9");
    let h264 = encoded().find(|target| codec(target) == "h264");
    match (vp9, h264) {
        (Some(vp9), Some(h264)) => Err(SinkError::TwoCodecs { vp9: vp9.name(), h264: h264.name() }),
        (Some(_), None) => Ok("vp9"),
        _ => Ok("h264"),
    }
}

/// The hubs of `targets`, where nothing else is encoded for.
fn only_viewers(targets: &[Target]) -> Vec<Hub> {
    let encoded = targets.iter().filter(|target| !matches!(target, Target::Display));
    let hubs = encoded.map(|target| match target {
        Target::Viewers(hub) => Some(hub.clone()),
        _ => None,
    });
    hubs.collect::<Option<Vec<Hub>>>().unwrap_or_default()
}

/// Where keyframes must be: for new clients, and where segments are cut.
fn keyframe_marks(targets: &[Target], params: &EncoderParams) -> Vec<KeyframeMark> {
    let lengths = targets.iter().filter_map(|target| match target {
        Target::File(file) => file.segments.map(|segments| segments.length),
        Target::Hls { segment, .. } => Some(*segment),
        _ => None,
    });
    let rhythm = params.live.then(|| params.keyframe_interval());
    let mut every: Vec<Duration> = lengths.chain(rhythm).collect();
    every.sort();
    every.dedup();
    every
        .into_iter()
        .filter_map(|every| Some(KeyframeMark { every: gst::ClockTime::try_from(every).ok()?, next: None }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_keep_their_rhythm_over_a_gap() {
        let ms = gst::ClockTime::from_mseconds;
        let mut mark = KeyframeMark { every: ms(1000), next: None };
        let due: Vec<u64> = [500, 900, 1499, 1533, 2480, 2500, 7100, 7133, 7499, 7500]
            .into_iter()
            .filter(|pts| mark.is_due(ms(*pts)))
            .collect();
        assert_eq!(due, [1533, 2500, 7100, 7500]);
    }
}
