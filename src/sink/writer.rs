//! The thread that takes access units from the encoder, lays the audio beside them and hands both to every branch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Receiver;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::SinkError;
use super::audio::AudioFeed;
use super::branch::{Branch, Ended, Unit};
use super::encode::KeyFrames;

/// How often it looks after the audio while no picture comes.
const IDLE: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// An encoder's access units, and who is asked for key frames.
pub(super) type Units = (gst_app::AppSink, KeyFrames);

/// What the writer and its owner share.
#[derive(Default)]
pub(super) struct Common {
    /// What went wrong, to be told by the owner once.
    failure: Mutex<Option<SinkError>>,
    /// The audio ends with the last picture.
    pub cut: AtomicBool,
    /// Every access unit is written, or will not be: the encoder is not needed any more.
    pub ended: AtomicBool,
}

impl Common {
    pub fn take_failure(&self) -> Option<SinkError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(super) struct Writer {
    pub encoders: Receiver<Units>,
    pub audio: Vec<AudioFeed>,
    /// With whether they still work.
    pub branches: Vec<(Box<dyn Branch>, bool)>,
    pub common: Arc<Common>,
    /// When the last picture is over.
    pub end: gst::ClockTime,
    /// A branch failed: nothing more is written.
    pub failed: bool,
}

impl Writer {
    /// Writes what comes, from one encoder after the other, until there are no more.
    pub fn run(mut self) -> Ended {
        while let Ok((units, keys)) = self.encoders.recv() {
            let mut caps = None;
            loop {
                match units.try_pull_sample(IDLE) {
                    Some(sample) if !self.failed => {
                        if let Err(error) = self.sample(&sample, &mut caps, &keys) {
                            self.fail(error);
                        }
                    }
                    // The encoder goes on, so that nobody waits for it.
                    Some(_) => {}
                    None if units.is_eos() => break,
                    None => self.relieve(),
                }
            }
        }
        self.common.ended.store(true, Ordering::SeqCst);
        let cut = self.common.cut.load(Ordering::SeqCst) || self.failed;
        let cut_at = cut.then_some(self.end);
        for (track, feed) in self.audio.iter_mut().enumerate() {
            feed.finish(cut_at, &mut |packet| give(&mut self.branches, track, packet.as_ref()));
        }
        let mut ended = Ended::default();
        for (branch, works) in self.branches {
            branch.finish(works, &mut ended);
        }
        ended
    }

    fn sample(
        &mut self,
        sample: &gst::Sample,
        known: &mut Option<gst::Caps>,
        keys: &KeyFrames,
    ) -> Result<(), SinkError> {
        let Some((unit, caps)) = unit_of(sample) else { return Ok(()) };
        if known.as_ref().is_none_or(|known| *known != caps) {
            self.each(|branch| branch.format(&caps, keys))?;
            *known = Some(caps);
        }
        for (track, feed) in self.audio.iter_mut().enumerate() {
            feed.advance(unit.pts, &mut |packet| give(&mut self.branches, track, packet.as_ref()));
        }
        self.end = unit.end;
        self.each(|branch| branch.unit(&unit))
    }

    /// Does so with every branch, up to one that fails.
    fn each(&mut self, act: impl Fn(&mut dyn Branch) -> Result<(), SinkError>) -> Result<(), SinkError> {
        for (branch, works) in &mut self.branches {
            if let Err(error) = act(branch.as_mut()) {
                *works = false;
                return Err(error);
            }
        }
        Ok(())
    }

    fn relieve(&mut self) {
        for (track, feed) in self.audio.iter_mut().enumerate() {
            feed.relieve(&mut |packet| give(&mut self.branches, track, packet.as_ref()));
        }
    }

    fn fail(&mut self, error: SinkError) {
        *self.common.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.failed = true;
    }
}

fn give(branches: &mut [(Box<dyn Branch>, bool)], track: usize, packet: Option<&gst::Buffer>) {
    for (branch, works) in branches {
        if *works {
            branch.audio(track, packet);
        }
    }
}

/// The access unit in the stream's own time: encoders shift theirs.
fn unit_of(sample: &gst::Sample) -> Option<(Unit, gst::Caps)> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?.clone();
    let caps = sample.caps_owned()?;
    let mut buffer = sample.buffer_owned()?;
    let pts = segment.to_running_time(buffer.pts()?)?;
    let dts = buffer.dts().and_then(|dts| segment.to_running_time(dts)).unwrap_or(pts);
    let own = buffer.make_mut();
    own.set_pts(pts);
    own.set_dts(dts.min(pts));
    let (end, key) = (pts + own.duration().unwrap_or_default(), !own.flags().contains(gst::BufferFlags::DELTA_UNIT));
    Some((Unit { buffer, pts, end, key }, caps))
}
