//! One stream's way out: draw, write, count. Runs on the stream's own sink thread.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::count::StreamCounts;
use super::handover::{FromWorker, SinkEvent};
use super::heat::StreamHeat;
use super::job::{Job, OutputSpec};
use super::locate::StreamPositions;
use super::shared::{Shared, StreamFigures};
use super::sinks::DetectionSinks;
use super::snapshot::{SnapshotError, Snapshots, free_name};
use super::{RunError, RunEvent};
use crate::clock::StreamTime;
use crate::detections::{DetectedFrame, StreamEvent};
use crate::frame::{DecodedFrame, Drawable, FramePool, FrameViewMut, planes_mut};
use crate::geometry::Size;
use crate::latency::FrameRecord;
use crate::overlay::Overlay;
use crate::report::Outage;
use crate::sink::{AudioWritten, EncodeTimes, FILES, OutputEvent, OutputListener, OutputOptions, StreamSink};
use crate::stills::StillWriter;
use crate::stream::{AudioKept, AudioTrack, Gap, Opening, StreamId, StreamInfo};
use crate::text::counted;
use crate::thread::{Turns, catch, test_panic_point};
use crate::track::{FrameToTrack, Given, Tracker};

/// How often it is seen whether a snapshot was asked for while no frame comes; only with a dashboard, which can ask for one.
const IDLE: Duration = Duration::from_millis(100);
/// Outages that are listed in the report; all are counted.
const OUTAGES: usize = 1000;
/// Frames that wait to hear of their time in the encoder, at most; the oldest then goes without.
const ENCODING: usize = 256;

#[expect(clippy::struct_excessive_bools, reason = "each is known of the stream by itself")]
struct Delivery<'a> {
    shared: &'a Shared,
    stream: StreamId,
    overlay: Overlay,
    info: Option<StreamInfo>,
    sides: Vec<AudioTrack>,
    announced: bool,
    sink: Option<StreamSink>,
    listener: OutputListener,
    stills: StillWriter,
    /// Where each image of a folder is written.
    files_of_stills: HashMap<PathBuf, PathBuf>,
    tracker: Option<Tracker>,
    /// Objects that have ids without a tracker: those of a file.
    given: Given,
    /// Counts at lines and in zones, where that is asked for.
    counts: Option<StreamCounts<'a>>,
    /// Gathers where objects stand, where that is asked for.
    heat: Option<StreamHeat<'a>>,
    positions: StreamPositions<'a>,
    detections: DetectionSinks<'a>,
    pool: FramePool,
    /// Mean time between frames, s.
    interval_s: Option<f64>,
    last: Option<crate::clock::HostTime>,
    /// Files begun so far by outputs that ended, whether the next frame begins another one, and whether its audio differs.
    files: u32,
    cut: bool,
    audio_differs: bool,
    size: Option<Size>,
    /// Frames taken that are not counted yet: one at most.
    in_hand: u64,
    /// The newest frame is encoded.
    encodes: bool,
    /// In order; of frames whose time in the encoder is not known yet, with the pauses there had been, unless one was just
    /// then.
    encoding: VecDeque<(FrameRecord, Option<u32>)>,
    encoded: Vec<EncodeTimes>,
    /// The newest frame, for a snapshot and under the heatmap; only with a dashboard or a heatmap.
    newest: Option<Box<DecodedFrame>>,
    snapshots: Snapshots,
    turns: Arc<Turns>,
}

/// Takes the stream's frames until the worker has no more, then finishes its outputs, whatever happened on the way. Errors go
/// on record.
pub(super) fn run(shared: &Arc<Shared>, stream: StreamId, frames: &FromWorker<SinkEvent>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    let overlay = Overlay::new(shared.settings.style, &shared.origin.classes, shared.fonts.clone());
    let mut delivery = Delivery::new(shared, stream, overlay);
    if let Err(panicked) = catch(name, || delivery.work(frames)) {
        delivery.fail(panicked.into());
    }
    if let Err(panicked) = catch(name, || delivery.finish()) {
        shared.fail_stream(stream, panicked.into());
    }
    // After a failure, what is still on its way.
    while let Ok(event) = frames.next(None) {
        if matches!(event, SinkEvent::Frame(_)) {
            shared.swallow(stream, 1);
        }
    }
}

impl<'a> Delivery<'a> {
    fn new(shared: &'a Arc<Shared>, stream: StreamId, overlay: Overlay) -> Self {
        Self {
            shared,
            stream,
            overlay,
            info: None,
            sides: Vec::new(),
            announced: false,
            sink: None,
            listener: output_listener(shared, stream),
            stills: StillWriter::default(),
            files_of_stills: shared.settings.jobs[stream.0 as usize].stills(stream.0 as usize),
            tracker: shared.settings.tracking.map(Tracker::new),
            given: Given::default(),
            counts: StreamCounts::new(shared, stream),
            heat: StreamHeat::new(shared, stream),
            positions: StreamPositions::new(shared),
            detections: DetectionSinks::new(shared, stream),
            pool: FramePool::default(),
            interval_s: None,
            last: None,
            files: 0,
            cut: false,
            audio_differs: false,
            size: None,
            in_hand: 0,
            encodes: false,
            encoding: VecDeque::with_capacity(ENCODING),
            encoded: Vec::with_capacity(ENCODING),
            newest: None,
            snapshots: Snapshots::default(),
            turns: Turns::of(std::thread::current().name().unwrap_or("sink")),
        }
    }

    /// Takes what comes until the worker has no more.
    fn work(&mut self, frames: &FromWorker<SinkEvent>) {
        let attended = self.shared.settings.controls.is_attended();
        loop {
            test_panic_point();
            match frames.next(attended.then_some(IDLE)) {
                Ok(SinkEvent::Open(opening)) => self.open(*opening),
                Ok(SinkEvent::Reopen(opening)) => self.reopen(*opening),
                Ok(SinkEvent::Gap(gap)) => self.gap(&gap),
                Ok(SinkEvent::Frame(_)) if self.shared.has_failed(self.stream) => self.shared.swallow(self.stream, 1),
                Ok(SinkEvent::Frame(mut frame)) => {
                    self.in_hand = 1;
                    if let Err(error) = self.turns.clone().take(|| self.frame(&mut frame)) {
                        self.fail(error);
                        self.finish_sink();
                    } else if attended || self.heat.is_some() {
                        self.newest = Some(frame);
                        self.take_snapshot();
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.take_snapshot(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// The output failed, with the frame that was just being written.
    fn fail(&mut self, error: RunError) {
        self.shared.fail_stream(self.stream, error);
        self.shared.swallow(self.stream, std::mem::take(&mut self.in_hand));
        // Its audio goes with it: nothing else would take it from the demuxer.
        self.sides = Vec::new();
    }

    fn job(&self) -> &'a Job {
        &self.shared.settings.jobs[self.stream.0 as usize]
    }

    fn figures(&self) -> MutexGuard<'a, StreamFigures> {
        self.shared.stream(self.stream).figures()
    }

    /// Whether there is an output that takes audio.
    fn carries_audio(&self) -> bool {
        matches!(self.job().output, OutputSpec::Stream(_))
    }

    fn open(&mut self, (info, sides): Opening) {
        self.detections.open(&info);
        self.info = Some(info);
        // With nothing to carry it, audio is not wanted, and the demuxer must not wait for anyone to take it.
        if self.carries_audio() {
            self.sides = sides;
        }
    }

    /// The stream was re-established. Another frame size or codec, or other audio, begins another file.
    fn reopen(&mut self, (info, sides): Opening) {
        let same = self.info.as_ref().is_some_and(|before| (before.size, &before.codec) == (info.size, &info.codec));
        self.cut |= !same || !sides.is_empty();
        if !sides.is_empty() && self.carries_audio() {
            self.audio_differs = true;
            self.sides = sides;
        }
        self.info = Some(info);
        self.figures().report.reconnects += 1;
        self.shared.listener.on(&RunEvent::Reconnected { stream: self.stream });
    }

    /// The stream was away: it goes on record, and into the detections.
    fn gap(&mut self, gap: &Gap) {
        let shared = self.shared;
        let s = |time: StreamTime| std::time::Duration::from_nanos(time.ns).as_secs_f64();
        let outage = Outage { from_s: s(gap.from), to_s: s(gap.to), reason: gap.reason.clone() };
        let mut own = self.figures();
        own.report.outages_s += outage.to_s - outage.from_s;
        if own.report.outages.len() < OUTAGES {
            own.report.outages.push(outage);
        }
        drop(own);
        shared.listener.on(&RunEvent::Outage { stream: self.stream, gap });
        self.tell_tracker(gap);
        self.detections.event(StreamEvent::Gap(gap));
        if let Some(sink) = &mut self.sink {
            sink.gap();
        }
    }

    /// Tells the user of the stream, once its first frame and with it the provider is there.
    fn announce(&mut self) {
        let Some(info) = self.info.as_ref().filter(|_| !self.announced) else { return };
        self.announced = true;
        let mut own = self.shared.stream(self.stream).figures();
        own.report.width = info.size.width;
        own.report.height = info.size.height;
        own.report.frame_rate = info.frame_rate.map_or_else(|| "0/1".into(), |(n, d)| format!("{n}/{d}"));
        drop(own);
        let provider = self.shared.provider.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.shared.listener.on(&RunEvent::StreamUp { stream: self.stream, info, provider: provider.as_ref() });
        for notice in &info.notices {
            self.shared.listener.on(&RunEvent::Notice(notice));
        }
    }

    fn frame(&mut self, frame: &mut DecodedFrame) -> Result<(), RunError> {
        self.announce();
        let shared = self.shared;
        let settings = &shared.settings;
        let size = frame.pixels.info().size;
        self.track(frame);
        self.positions.frame(frame, size);
        if let Some(counts) = &mut self.counts {
            counts.frame(frame, size);
        }
        if let Some(heat) = &mut self.heat {
            heat.frame(frame, size);
        }
        let job = self.job();
        if !matches!(job.output, OutputSpec::None) {
            let start = shared.clock.now();
            frame.stamps.drawn_from = Some(start);
            let buffer = self.draw(frame, frame.pixels.output())?;
            if !settings.delays.overlay.is_zero() {
                shared.clock.sleep(settings.delays.overlay);
            }
            frame.stamps.overlay = shared.clock.now().since(start);
            self.write(&job.output, frame, buffer)?;
        }
        frame.stamps.handed_over = shared.clock.now();
        self.detections.frame(&DetectedFrame { frame, size });
        self.count(frame);
        shared.listener.on(&RunEvent::FrameDone { frame, size });
        Ok(())
    }

    /// Gives the frame's detections their tracks.
    fn track(&mut self, frame: &mut DecodedFrame) {
        let (pts, inferred) = (frame.pts, frame.letterbox.is_some());
        let Some(tracker) = &mut self.tracker else {
            return self.given.frame(pts, inferred, &mut frame.detections);
        };
        let start = self.shared.clock.now();
        let view = frame.pixels.view();
        tracker.frame(&FrameToTrack { view: Some(view), pts, size: view.info.size, inferred }, &mut frame.detections);
        frame.stamps.tracked_from = Some(start);
        frame.stamps.track = self.shared.clock.now().since(start);
    }

    /// The stream was away: objects may have gone.
    fn tell_tracker(&mut self, gap: &Gap) {
        let Some(tracker) = &mut self.tracker else { return };
        let length = Duration::from_nanos(gap.to.ns.saturating_sub(gap.from.ns));
        let gone = tracker.gap(length);
        if gone > 0 && gap.resumed {
            let said = format!(
                "{}: the outage of {:.1} s was longer than --track-buffer: {} will have new ids",
                self.job().name,
                length.as_secs_f64(),
                counted(gone as u64, "object")
            );
            self.shared.listener.on(&RunEvent::Occurrence(&said));
        }
    }

    /// Writes the newest frame as it is drawn, where that is asked for: a paused file has one, too.
    fn take_snapshot(&mut self) {
        if let Some(written) = self.snapshots.written() {
            self.say_snapshot(written);
        }
        let shared = self.shared;
        if self.newest.is_none() || !shared.settings.controls.take_snapshot(self.stream) {
            return;
        }
        let Some(frame) = self.newest.take() else { return };
        let path = free_name(self.job(), frame.file.as_deref(), frame.index);
        match self.draw(&frame, frame.pixels.shown()) {
            Ok(drawn) => {
                let before = self.snapshots.write(path, drawn, frame.pixels.video_info().clone());
                if let Some(before) = before {
                    self.say_snapshot(before);
                }
            }
            Err(error) => self.say_no_snapshot(&error),
        }
        self.newest = Some(frame);
    }

    fn say_snapshot(&self, written: Result<PathBuf, SnapshotError>) {
        match written {
            Ok(path) => {
                self.shared.listener.on(&RunEvent::Notice(&format!("snapshot: {}", path.display())));
                self.figures().outputs.push((path, AudioKept::default()));
            }
            // A bug, or a disk that hangs.
            Err(SnapshotError::Thread(error)) => self.shared.fail(error.into()),
            Err(error) => self.say_no_snapshot(&error),
        }
    }

    fn say_no_snapshot(&self, error: &dyn std::error::Error) {
        self.shared.listener.on(&RunEvent::Notice(&format!("no snapshot: {error}")));
    }

    /// Where the frames have another size from this one on, or another codec or audio: recordings go on in another file.
    fn begin_anew(&mut self, frame: &DecodedFrame, video: &gst_video::VideoInfo) -> Result<(), RunError> {
        let shared = self.shared;
        let live = self.job().source.is_live();
        let size = frame.pixels.info().size;
        if live && self.size.replace(size).is_some_and(|before| before != size) {
            self.cut = true;
        }
        if !std::mem::take(&mut self.cut) {
            return Ok(());
        }
        if std::mem::take(&mut self.audio_differs) {
            self.finish_sink();
        } else if let Some((sink, info)) = self.sink.as_mut().zip(self.info.as_ref()) {
            let options = output_options(shared, self.stream, info, &self.listener);
            sink.change(video, info.frame_rate, &options)?;
        }
        Ok(())
    }

    /// Hands the annotated frame to the output.
    fn write(&mut self, output: &OutputSpec, frame: &DecodedFrame, buffer: gst::Buffer) -> Result<(), RunError> {
        let shared = self.shared;
        let video = frame.pixels.output().video;
        match (output, &frame.file) {
            (OutputSpec::Folder(_) | OutputSpec::Files(_), Some(file)) => {
                // What is not of the job is no frame of it.
                if let Some(path) = self.files_of_stills.get(&**file) {
                    self.stills.write(path, buffer, video)?;
                }
            }
            (OutputSpec::Image(path), Some(_)) => {
                self.stills.write(path, buffer, video)?;
                self.figures().outputs.push((path.clone(), AudioKept::default()));
            }
            (OutputSpec::Stream(targets), None) => {
                self.begin_anew(frame, video)?;
                if self.sink.is_none()
                    && let Some(info) = &self.info
                {
                    let live = self.job().source.is_live();
                    // A live stream may begin again, with the same sound.
                    let sides = if live { self.sides.clone() } else { std::mem::take(&mut self.sides) };
                    let options = output_options(shared, self.stream, info, &self.listener);
                    self.sink = Some(StreamSink::open((targets, self.files), video, info, sides, &options)?);
                }
                if let Some(sink) = &mut self.sink {
                    self.encodes = sink.push(buffer, video)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, frame: &DecodedFrame) {
        let now = frame.stamps.handed_over;
        if let Some(last) = self.last {
            // Intervals are averaged, not their inverses: frames come in bursts.
            let interval = now.since(last).as_secs_f64();
            self.interval_s = self.interval_s.map_or(Some(interval), |mean| Some(mean * 0.95 + interval * 0.05));
        }
        self.last = Some(now);
        self.in_hand = 0;
        let stream = self.shared.stream(self.stream);
        stream.counters.processed(frame.letterbox.is_some());
        self.shared.seconds.lock().unwrap_or_else(PoisonError::into_inner).add(now);
        let mut own = stream.figures();
        own.last_frame = own.last_frame.max(Some(now));
        for d in frame.detections.iter().filter(|d| d.is_seen()) {
            if let Some(n) = own.objects.get_mut(usize::from(d.class_id)) {
                *n += 1;
            }
        }
        drop(own);
        let record = FrameRecord::of(frame);
        let Some(sink) = self.sink.as_ref().filter(|_| self.encodes) else {
            // In order: those before it wait no longer.
            while let Some((earlier, _)) = self.encoding.pop_front() {
                self.complete(&earlier);
            }
            return self.complete(&record);
        };
        if self.encoding.len() == ENCODING
            && let Some((oldest, _)) = self.encoding.pop_front()
        {
            self.complete(&oldest);
        }
        let controls = &self.shared.settings.controls;
        self.encoding.push_back((record, (!controls.is_paused()).then(|| controls.pauses())));
        sink.take_encode_times(&mut self.encoded);
        self.attach();
    }

    /// Gives the frames that have left the encoder their times in it.
    fn attach(&mut self) {
        for n in 0..self.encoded.len() {
            let EncodeTimes { pts, entered, left } = self.encoded[n];
            let Some(at) = self.encoding.iter().position(|(record, _)| record.pts == pts) else { continue };
            let (record, pauses) = &mut self.encoding[at];
            // What stood still in the encoder meanwhile was not late.
            if *pauses == Some(self.shared.settings.controls.pauses()) {
                record.encode = Some((entered, left));
            }
            // Frames leave in order: those before it never will.
            for _ in 0..=at {
                if let Some((record, _)) = self.encoding.pop_front() {
                    self.complete(&record);
                }
            }
        }
    }

    /// Nothing more will be known of the frame.
    fn complete(&self, record: &FrameRecord) {
        self.figures().book.record(record);
        self.shared.listener.on(&RunEvent::FrameRecorded(record));
    }

    /// What `drawable` shows of `frame`, to write: the decoder's own buffer when nothing is drawn, else the one copy that is drawn on
    /// (decoders keep their buffers as references for later frames).
    fn draw(&mut self, frame: &DecodedFrame, drawable: Drawable<'_>) -> Result<gst::Buffer, RunError> {
        let hud = self.shared.settings.controls.hud().then(|| {
            let ms = frame.stamps.batch_closed.since(frame.stamps.decoded)
                + frame.stamps.preprocess
                + frame.stamps.inference;
            let fps = self.interval_s.map_or(0.0, |interval| 1.0 / interval.max(1e-6));
            format!("{fps:.1} fps  {:.1} ms", ms.as_secs_f64() * 1000.0)
        });
        let markings = self.counts.as_ref().map_or(&[][..], StreamCounts::markings);
        let trails = self.tracker.as_ref().map_or(&[][..], Tracker::trails);
        let nothing = frame.detections.is_empty() && hud.is_none() && markings.is_empty() && trails.is_empty();
        let mut buffer = if nothing {
            drawable.frame.buffer().copy()
        } else {
            let fail = |e: gst::glib::BoolError| RunError::FrameCopy { problem: e.to_string() };
            let mut copy = self.pool.take(drawable.video).map_err(fail)?;
            drawable.frame.copy(&mut copy).map_err(fail)?;
            let (info, hdr) = (frame.pixels.info(), drawable.hdr);
            let mut view = FrameViewMut { info, planes: planes_mut(&mut copy), hdr };
            self.shared.settings.pixelation.apply(&mut view, &frame.detections, (0.0, 0.0));
            self.overlay.draw_markings(&mut view, markings)?;
            self.overlay.draw_trails(&mut view, trails)?;
            self.overlay.draw(&mut view, &frame.detections, hud.as_deref())?;
            copy.into_buffer()
        };
        let b = buffer.make_mut();
        b.set_pts(gst::ClockTime::from_nseconds(frame.pts.ns));
        b.set_dts(gst::ClockTime::NONE);
        b.set_duration(frame.duration.and_then(|d| gst::ClockTime::try_from(d).ok()));
        Ok(buffer)
    }

    /// Finishes what was written, and says what came of it.
    fn finish(&mut self) {
        if let Some(counts) = &self.counts {
            counts.finish(&mut self.detections);
        }
        self.detections.finish();
        // Now, while the threads are still there.
        self.shared.sample_now();
        self.finish_sink();
        while let Some((record, _)) = self.encoding.pop_front() {
            self.complete(&record);
        }
        // Asked for since the last frame came.
        self.take_snapshot();
        if let Some(written) = self.snapshots.finish() {
            self.say_snapshot(written);
        }
        if let Some((heat, frame)) = self.heat.take().zip(self.newest.as_deref()) {
            heat.finish(frame);
        }
        if self.announced {
            self.shared.listener.on(&RunEvent::StreamEnded { stream: self.stream });
        }
    }

    /// Ends the stream's outputs, and says what came of them.
    fn finish_sink(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        // Where the frames end early, the audio ends with them.
        let received = self.shared.stream(self.stream).counters.counts().received;
        let limit = self.shared.settings.frames.is_some_and(|limit| received >= limit);
        let recorded = self.info.as_ref().is_some_and(|info| info.recorded);
        let cut = !recorded || limit || self.shared.shutdown_of(self.stream).is_requested();
        let (ended, encoded) = sink.finish(cut);
        self.encoded = encoded;
        self.attach();
        self.files += ended.begun;
        let mut own = self.figures();
        own.outputs.extend(ended.files.into_iter().map(|(path, audio)| (path, audio_kept(&audio))));
        let over = own.outputs.len().saturating_sub(FILES);
        own.outputs.drain(..over);
        ended.live.into_iter().for_each(|output| output.add_to(&mut own.live_outputs));
        drop(own);
        if let Some(error) = ended.failure {
            self.shared.fail_stream(self.stream, error.into());
        }
    }
}

/// What a stream's outputs are opened with.
fn output_options<'a>(
    shared: &'a Shared,
    stream: StreamId,
    info: &StreamInfo,
    listener: &'a OutputListener,
) -> OutputOptions<'a> {
    let (encoder, clock) = (&shared.settings.encoder, &shared.clock);
    OutputOptions { encoder, clock, live: !info.recorded, listener, stopping: shared.shutdown_of(stream) }
}

/// What a file has of its stream's audio.
fn audio_kept(tracks: &[AudioWritten]) -> AudioKept {
    let written = tracks.iter().filter(|track| track.packets > 0);
    written.fold(AudioKept::default(), |kept, track| AudioKept {
        passed_through: kept.passed_through + usize::from(track.reencoded.is_none()),
        reencoded: kept.reencoded + usize::from(track.reencoded.is_some()),
        length: kept.length.max(track.length),
    })
}

/// Passes on what happens to outputs.
fn output_listener(shared: &Arc<Shared>, stream: StreamId) -> OutputListener {
    let shared = shared.clone();
    Arc::new(move |event| match event {
        OutputEvent::Notice(text) => shared.listener.on(&RunEvent::Notice(&text)),
        OutputEvent::Occurrence(text) => shared.listener.on(&RunEvent::Occurrence(&text)),
        OutputEvent::Failing(why) => shared.listener.on(&RunEvent::Output { stream, failing: why.as_deref() }),
        OutputEvent::Serving(address) => shared.listener.on(&RunEvent::Serving { stream, address: &address }),
        // Whoever closes the window has seen enough.
        OutputEvent::WindowClosed => shared.requested.request(),
    })
}
