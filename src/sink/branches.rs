//! The branches of one stream. Each fails alone, and those of a live stream return alone.

use std::time::Duration;

use gstreamer as gst;

use super::audio::Next;
use super::branch;
use super::encode::KeyframeRequester;
use super::error::SinkError;
use super::output::{AccessUnit, Branch, BranchContext, FinishedOutputs, OutputEvent, OutputListener};
use super::pipeline::Progress;
use super::target::Target;
use crate::backoff::Backoff;
use crate::clock::Deadline;
use crate::stream::StreamInfo;

/// Between attempts to open a failed one again: up to twice as long each time.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The branches of one stream.
pub(super) struct Branches {
    all: Vec<Slot>,
    /// What opening one takes.
    info: StreamInfo,
    listener: OutputListener,
    files: u32,
    live: bool,
    progress: Progress,
    /// The format of each audio track, and whether it has ended.
    audio: Vec<(gst::Caps, bool)>,
    /// The format of the frames, and of whom keyframes are requested.
    format: Option<(gst::Caps, KeyframeRequester)>,
    /// What became of those that failed.
    finished: FinishedOutputs,
}

/// One output.
struct Slot {
    target: Target,
    /// `None` since it failed.
    branch: Option<Box<dyn Branch>>,
    backoff: Backoff,
    /// When it is opened again.
    again: Deadline,
    /// How often it has failed: it has not all of the stream then.
    failures: u32,
    /// Why it does not work.
    why: Option<String>,
}

impl Branches {
    /// Opens all of `targets`.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub fn open(targets: &[Target], audio: Vec<gst::Caps>, context: &BranchContext) -> Result<Self, SinkError> {
        let mut all = Vec::new();
        for target in targets {
            let Some(branch) = branch::open(target, context)? else { continue };
            let (target, backoff) = (target.clone(), Backoff::new(FIRST_DELAY, LONGEST_DELAY));
            all.push(Slot {
                target,
                branch: Some(branch),
                backoff,
                again: Deadline::after(Duration::ZERO),
                failures: 0,
                why: None,
            });
        }
        Ok(Self {
            all,
            info: context.info.clone(),
            listener: context.listener.clone(),
            files: context.files,
            live: context.live,
            progress: context.progress.clone(),
            audio: audio.into_iter().map(|caps| (caps, false)).collect(),
            format: None,
            finished: FinishedOutputs::default(),
        })
    }

    /// Their names, for people.
    pub fn names(&self) -> Vec<String> {
        self.all.iter().map(|slot| slot.branch.as_ref().map_or_else(String::new, |branch| branch.name())).collect()
    }

    /// The frames that follow are in this format.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    pub fn format(
        &mut self,
        caps: &gst::Caps,
        keyframes: &KeyframeRequester,
        busy: impl Fn(usize),
    ) -> Result<(), SinkError> {
        self.format = Some((caps.clone(), keyframes.clone()));
        self.each(busy, |branch| branch.format(caps, keyframes))
    }

    /// The next frame.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    pub fn access_unit(&mut self, unit: &AccessUnit, busy: impl Fn(usize)) -> Result<(), SinkError> {
        if self.live && unit.is_keyframe {
            self.open_again();
        }
        self.each(busy, |branch| branch.access_unit(unit))
    }

    /// Does so with every branch that works; `busy` is told which one it is. One that fails is closed, and the others go on.
    ///
    /// # Errors
    /// When none works any more: why the last one does not.
    pub fn each(
        &mut self,
        busy: impl Fn(usize),
        act: impl Fn(&mut dyn Branch) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        for number in 0..self.all.len() {
            let Some(branch) = &mut self.all[number].branch else { continue };
            busy(number);
            if let Err(error) = act(branch.as_mut()) {
                self.fail(number, error)?;
            }
        }
        busy(usize::MAX);
        Ok(())
    }

    /// Hands over what comes of an audio track.
    pub fn hand_over(&mut self, track: usize, next: &Next) {
        for branch in self.all.iter_mut().filter_map(|slot| slot.branch.as_mut()) {
            match next {
                Next::Format(caps) => branch.audio_format(track, caps),
                Next::Packet(packet) => branch.audio(track, Some(packet)),
                Next::End => branch.audio(track, None),
            }
        }
        match next {
            Next::Format(caps) => self.audio[track].0 = (*caps).clone(),
            Next::End => self.audio[track].1 = true,
            Next::Packet(_) => {}
        }
    }

    /// Ends those that work; `busy` is told which one it is at.
    pub fn finish(mut self, busy: impl Fn(usize)) -> FinishedOutputs {
        for (number, slot) in self.all.into_iter().enumerate() {
            busy(number);
            if let Some(branch) = slot.branch {
                let before = self.finished.audio.len();
                branch.finish(true, &mut self.finished);
                if slot.failures > 0 {
                    // What it was not given is not lost in it.
                    self.finished.audio.truncate(before);
                }
            }
            self.progress.advance();
        }
        self.finished
    }

    fn fail(&mut self, number: usize, error: SinkError) -> Result<(), SinkError> {
        let is_last = self.all.iter().filter(|slot| slot.branch.is_some()).count() == 1;
        let slot = &mut self.all[number];
        let Some(branch) = slot.branch.take() else { return Ok(()) };
        slot.failures += 1;
        slot.why = Some(error.to_string());
        if !is_last {
            let again = match (self.live, slot.failures) {
                (false, _) => String::new(),
                (true, 1) => ", and it is tried again".to_owned(),
                (true, failures) => format!(", and it is tried again (failure {failures})"),
            };
            (self.listener)(OutputEvent::Occurrence(format!("{error}; the other outputs go on{again}")));
        }
        branch.finish(false, &mut self.finished);
        if is_last {
            return Err(error);
        }
        (self.listener)(OutputEvent::Failing(slot.why.clone()));
        slot.again = Deadline::after(slot.backoff.next_delay());
        self.finished.fail(error);
        Ok(())
    }

    /// Opens those that failed again, where it is time: their next frame is a keyframe.
    fn open_again(&mut self) {
        let mut works = false;
        for slot in self.all.iter_mut().filter(|slot| slot.branch.is_none() && slot.again.is_over()) {
            let audio: Vec<gst::Caps> = self.audio.iter().map(|(caps, _)| caps.clone()).collect();
            let context = BranchContext {
                info: &self.info,
                audio: &audio,
                listener: &self.listener,
                files: self.files + self.finished.begun,
                live: self.live,
                progress: &self.progress,
                is_only: false,
            };
            slot.again = Deadline::after(slot.backoff.next_delay());
            let Ok(Some(mut branch)) = branch::open(&slot.target, &context) else { continue };
            let ended = self.audio.iter().enumerate().filter(|(_, (_, ended))| *ended);
            ended.for_each(|(track, _)| branch.audio(track, None));
            if let Some((caps, keyframes)) = &self.format
                && branch.format(caps, keyframes).is_ok()
            {
                let times = if slot.failures > 1 { format!(" (failure {})", slot.failures) } else { String::new() };
                (self.listener)(OutputEvent::Occurrence(format!("{} is open again{times}", branch.name())));
                (slot.branch, slot.why) = (Some(branch), None);
                works = true;
            }
        }
        if works {
            let why = self.all.iter().find_map(|slot| slot.why.clone());
            (self.listener)(OutputEvent::Failing(why));
        }
    }
}
