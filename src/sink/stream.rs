//! A stream's outputs: encoded once, and written, sent and served from that.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendTimeoutError, Sender, bounded};
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::audio::AudioFeed;
use super::branch::{self, Beginning, Ended, News, Tell};
use super::container::container_of;
use super::display::Display;
use super::encode::{Encoded, Encoding};
use super::encoder::{EncoderOptions, Purpose};
use super::writer::{Common, Writer};
use super::{SinkError, Target};
use crate::clock::Clock;
use crate::geometry::Size;
use crate::stream::{AudioTrack, StreamInfo};

/// How long an encoder may take to give out what it holds.
const FINISH: Duration = Duration::from_mins(2);
/// How often whoever waits for it looks whether it failed.
const LOOK: Duration = Duration::from_millis(10);

/// Everything a stream's pictures go to.
pub struct StreamSink {
    coded: Option<Coded>,
    display: Option<Display>,
    figures: Option<crate::stream::LiveOutput>,
    tell: Tell,
    audio_kept: usize,
}

/// What needs an encoder.
struct Coded {
    encoding: Encoding,
    purpose: Purpose,
    name: PathBuf,
    encoders: Sender<super::writer::Units>,
    writer: Option<JoinHandle<Ended>>,
    common: Arc<Common>,
    marks: Vec<Mark>,
    /// Encoder times of an encoder that was replaced.
    earlier: Vec<Encoded>,
}

/// Key frames that come in an even rhythm, whatever the frame rate: one with the first picture at or after each mark.
struct Mark {
    every: gst::ClockTime,
    next: Option<gst::ClockTime>,
}

impl Mark {
    /// Whether the picture at `pts` is to be a key frame.
    fn is_due(&mut self, pts: gst::ClockTime) -> bool {
        let Some(next) = self.next else {
            // The first picture is one anyway. Asked for it, GStreamer 1.22 would force no other one: x264enc shifts its times
            // with the first picture, and 1000 hours later is where the next may be forced then.
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
    /// Opens all of `targets` for pictures like `video`, the first one, where so many files were begun before; audio tracks go along untouched where they can, else
    /// re-encoded, with a notice.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub fn open(
        (targets, files): (&[Target], u32),
        video: &gst_video::VideoInfo,
        info: &StreamInfo,
        sides: Vec<AudioTrack>,
        (options, clock): (&EncoderOptions, &Arc<dyn Clock>),
        tell: &Tell,
    ) -> Result<Self, SinkError> {
        let windows = targets.iter().any(|target| matches!(target, Target::Display));
        let display = windows.then(Display::open).transpose()?;
        let mut sink = Self { coded: None, display, figures: None, tell: tell.clone(), audio_kept: 0 };
        let Some(first) = targets.iter().find(|target| !matches!(target, Target::Display)) else { return Ok(sink) };
        let name = PathBuf::from(first.name());
        let purpose = Purpose {
            codec: codec_for(targets)?,
            live: targets.iter().any(Target::is_live),
            size: Size { width: video.width(), height: video.height() },
            frame_rate: info.frame_rate,
        };
        let unwritable = |problem: String| SinkError::Unwritable { path: name.clone(), problem };
        let encoding = Encoding::start(video, options, &purpose, clock).map_err(unwritable)?;
        let audio: Vec<AudioFeed> = sides.into_iter().map(AudioFeed::new).collect();
        let formats: Vec<gst::Caps> = audio.iter().map(|feed| feed.caps.clone()).collect();
        let mut beginning = Beginning { info, audio: &formats, tell, files, audio_kept: 0 };
        let mut branches = Vec::new();
        for target in targets {
            branches.extend(branch::open(target, &mut beginning)?);
        }
        sink.audio_kept = beginning.audio_kept;
        let (encoders, coming) = bounded(0);
        let common = Arc::<Common>::default();
        let end = gst::ClockTime::ZERO;
        let branches = branches.into_iter().map(|branch| (branch, true)).collect();
        let writer = Writer { encoders: coming, audio, branches, common: common.clone(), end, failed: false };
        let writer = std::thread::Builder::new().name("encoded".into()).spawn(move || writer.run());
        let writer = Some(writer.map_err(|e| unwritable(e.to_string()))?);
        let _ = encoders.send((encoding.units(), encoding.keys().clone()));
        let marks = marks(targets, &purpose);
        sink.coded = Some(Coded { encoding, purpose, name, encoders, writer, common, marks, earlier: Vec::new() });
        Ok(sink)
    }

    /// Audio tracks passed through untouched.
    #[must_use]
    pub fn audio_kept(&self) -> usize {
        self.audio_kept
    }

    /// Hands one picture over; waits while the encoder is busy, or a file cannot be written as fast.
    ///
    /// # Errors
    /// When the encoder or the disk failed.
    pub fn push(&mut self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<(), SinkError> {
        if let Some(display) = &mut self.display
            && !display.show(buffer.clone(), video)
        {
            self.figures = Some(display.figures());
            self.display = None;
            (self.tell)(News::WindowClosed);
        }
        self.coded.as_mut().map_or(Ok(()), |coded| coded.push(buffer, video))
    }

    /// Encodes pictures of another size from here on: recordings go on in a new file, whoever watches goes on watching.
    ///
    /// # Errors
    /// When the encoder cannot be set up for them.
    pub fn change(
        &mut self,
        video: &gst_video::VideoInfo,
        frame_rate: Option<(i32, i32)>,
        (options, clock): (&EncoderOptions, &Arc<dyn Clock>),
    ) -> Result<(), SinkError> {
        self.coded.as_mut().map_or(Ok(()), |coded| coded.change(video, frame_rate, (options, clock)))
    }

    /// What has left the encoder since the last call, in `encoded`, whose memory is used for the next.
    pub fn take_encoded(&self, encoded: &mut Vec<Encoded>) {
        encoded.clear();
        if let Some(coded) = &self.coded {
            coded.encoding.take_encoded(encoded);
        }
    }

    /// Ends all outputs. `cut` ends the audio with the last picture.
    #[must_use]
    pub fn finish(mut self, cut: bool) -> (Ended, Vec<Encoded>) {
        let (mut ended, mut encoded) = (Ended::default(), Vec::new());
        if let Some(mut coded) = self.coded.take() {
            (ended, encoded) = coded.finish(cut);
        }
        ended.live.extend(self.figures.take().or_else(|| self.display.as_ref().map(Display::figures)));
        (ended, encoded)
    }
}

impl Coded {
    fn push(&mut self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> Result<(), SinkError> {
        if let Some(pts) = buffer.pts() {
            // All of them are asked: a mark that is passed is due once.
            if self.marks.iter_mut().filter_map(|mark| mark.is_due(pts).then_some(())).count() > 0 {
                self.encoding.keys().ask(Some(pts));
            }
        }
        let pushed = self.encoding.push(buffer, video);
        if let Some(failure) = self.common.take_failure() {
            return Err(failure);
        }
        match self.encoding.error() {
            Some(problem) => Err(self.broken(problem)),
            None if pushed => Ok(()),
            None => Err(self.broken("the encoder stopped".into())),
        }
    }

    fn change(
        &mut self,
        video: &gst_video::VideoInfo,
        frame_rate: Option<(i32, i32)>,
        (options, clock): (&EncoderOptions, &Arc<dyn Clock>),
    ) -> Result<(), SinkError> {
        self.purpose.size = Size { width: video.width(), height: video.height() };
        self.purpose.frame_rate = frame_rate;
        let unwritable = |problem: String| SinkError::Unwritable { path: self.name.clone(), problem };
        let next = Encoding::start(video, options, &self.purpose, clock).map_err(unwritable)?;
        self.encoding.end();
        let units = (next.units(), next.keys().clone());
        let deadline = Instant::now() + FINISH;
        // Taken when all that the one before holds is written.
        while let Err(SendTimeoutError::Timeout(_)) = self.encoders.send_timeout(units.clone(), LOOK) {
            if let Some(problem) = self.encoding.error() {
                return Err(self.broken(problem));
            }
            if Instant::now() > deadline {
                return Err(self.broken("the encoder does not finish".into()));
            }
        }
        self.encoding.take_encoded(&mut self.earlier);
        self.encoding = next;
        self.marks.iter_mut().for_each(|mark| mark.next = None);
        Ok(())
    }

    fn finish(&mut self, cut: bool) -> (Ended, Vec<Encoded>) {
        self.common.cut.store(cut, Ordering::SeqCst);
        self.encoding.end();
        let mut ended = self.join();
        if let Some(failure) = self.common.take_failure() {
            ended.failure.get_or_insert(failure);
        }
        let mut encoded = std::mem::take(&mut self.earlier);
        let mut last = Vec::new();
        self.encoding.take_encoded(&mut last);
        encoded.append(&mut last);
        (ended, encoded)
    }

    /// Waits for the writer to have written all, while the encoder does not fail.
    fn join(&mut self) -> Ended {
        let Some(writer) = self.writer.take() else { return Ended::default() };
        let (none, _) = bounded(0);
        self.encoders = none;
        let deadline = Instant::now() + FINISH;
        let mut failure = None;
        while !self.common.ended.load(Ordering::SeqCst) {
            let problem = self.encoding.wait_for_error(LOOK);
            let late = (Instant::now() > deadline)
                .then(|| format!("the encoder did not finish within {} s", FINISH.as_secs()));
            if let Some(problem) = problem.or(late) {
                self.encoding.stop();
                failure = Some(self.broken(problem));
                break;
            }
        }
        let mut ended = writer.join().unwrap_or_else(|_| Ended {
            failure: Some(self.broken("the thread that writes it died".into())),
            ..Ended::default()
        });
        ended.failure = ended.failure.or(failure);
        ended
    }

    fn broken(&self, problem: String) -> SinkError {
        SinkError::Broken { path: self.name.clone(), problem, kept: crate::part::part_path(&self.name) }
    }
}

impl Drop for Coded {
    fn drop(&mut self) {
        self.common.cut.store(true, Ordering::SeqCst);
        self.encoding.stop();
        let _ = self.join();
    }
}

/// The codec that all of `targets` carry.
///
/// # Errors
/// When there is none.
pub fn codec_for(targets: &[Target]) -> Result<&'static str, SinkError> {
    let codec = |target: &Target| match target {
        Target::File { path, .. } if container_of(path).1.video == "vp9" => "vp9",
        _ => "h264",
    };
    let coded = || targets.iter().filter(|target| !matches!(target, Target::Display));
    let vp9 = coded().find(|target| codec(target) == "vp9");
    let h264 = coded().find(|target| codec(target) == "h264");
    match (vp9, h264) {
        (Some(vp9), Some(h264)) => Err(SinkError::TwoCodecs { vp9: vp9.name(), h264: h264.name() }),
        (Some(_), None) => Ok("vp9"),
        _ => Ok("h264"),
    }
}

/// Where key frames must be: for whoever begins to watch, and where segments are cut.
fn marks(targets: &[Target], purpose: &Purpose) -> Vec<Mark> {
    let lengths = targets.iter().filter_map(|target| match target {
        Target::File { segments, .. } => segments.map(|segments| segments.length),
        Target::Hls { segment, .. } => Some(*segment),
        _ => None,
    });
    let rhythm = purpose.live.then(|| purpose.key_frame_interval());
    let mut every: Vec<Duration> = lengths.chain(rhythm).collect();
    every.sort();
    every.dedup();
    every
        .into_iter()
        .filter_map(|every| Some(Mark { every: gst::ClockTime::try_from(every).ok()?, next: None }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_keep_their_rhythm_over_a_gap() {
        let ms = gst::ClockTime::from_mseconds;
        let mut mark = Mark { every: ms(1000), next: None };
        let due: Vec<u64> = [500, 900, 1499, 1533, 2480, 2500, 7100, 7133, 7499, 7500]
            .into_iter()
            .filter(|pts| mark.is_due(ms(*pts)))
            .collect();
        assert_eq!(due, [1533, 2500, 7100, 7500]);
    }
}
