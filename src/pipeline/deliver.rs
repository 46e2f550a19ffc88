//! One stream's way out: draw, write, count. Runs on the stream's own sink thread.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::{Opening, OutputSpec, RunError, Shared, SinkEvent};
use crate::frame::{PictureViewMut, PlaneMut, StreamId};
use crate::overlay::Overlay;
use crate::sink::{FileSink, VideoFormat, json, write_picture};
use crate::source::{SourceFrame, StreamInfo};

struct Delivery<'a> {
    shared: &'a Shared,
    stream: StreamId,
    overlay: Overlay,
    sink: Option<FileSink>,
    pool: Option<(gst_video::VideoInfo, gst::BufferPool)>,
    fps: f64,
    last: Option<crate::clock::HostTime>,
    audio_kept: usize,
}

/// Takes the stream's frames until the channel closes, then finishes its output. Errors go on record.
pub(super) fn run(shared: &Shared, stream: StreamId, frames: &Receiver<SinkEvent>, opening: &Receiver<Opening>) {
    let overlay = match Overlay::new(shared.settings.style, shared.model.classes.clone()) {
        Ok(overlay) => overlay,
        Err(error) => return shared.fail(error.into()),
    };
    let mut delivery =
        Delivery { shared, stream, overlay, sink: None, pool: None, fps: 0.0, last: None, audio_kept: 0 };
    let mut opened = None;
    let mut failed = false;
    for event in frames {
        match event {
            SinkEvent::Corrupt(n) => {
                let frames = &mut shared.tally().streams[stream.0 as usize].frames;
                frames.received += n;
                frames.dropped.corrupt += n;
            }
            SinkEvent::Frame(mut frame) => {
                if opened.is_none() {
                    // The source is opening while its first pictures are already on their way.
                    opened = opening.recv().ok();
                    if let Some((info, _)) = &opened {
                        delivery.announce(info);
                    }
                }
                if failed {
                    continue;
                }
                let sides = opened.as_mut().map(|(_, sides)| std::mem::take(sides)).unwrap_or_default();
                let info = opened.as_ref().map(|(info, _)| info);
                if let Err(error) = delivery.frame(&mut frame, info, sides) {
                    failed = true;
                    shared.fail(error);
                    // A full disk ends the run; what was written is kept.
                    shared.failed.store(true, Ordering::SeqCst);
                }
            }
        }
    }
    delivery.finish();
}

impl Delivery<'_> {
    fn announce(&self, info: &StreamInfo) {
        let mut tally = self.shared.tally();
        let report = &mut tally.streams[self.stream.0 as usize];
        report.width = info.size.width;
        report.height = info.size.height;
        report.frame_rate = info.frame_rate.map_or_else(|| "0/1".into(), |(n, d)| format!("{n}/{d}"));
        drop(tally);
        let provider = self.shared.provider.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.shared.observer.opened(self.stream, info, provider.as_ref());
        for notice in &info.notices {
            self.shared.observer.notice(notice);
        }
    }

    fn frame(
        &mut self,
        frame: &mut SourceFrame,
        info: Option<&StreamInfo>,
        sides: Vec<crate::source::SideTrack>,
    ) -> Result<(), RunError> {
        let shared = self.shared;
        let size = frame.picture.info().size;
        let output = &shared.settings.jobs[self.stream.0 as usize].output;
        if !matches!(output, OutputSpec::None) {
            let start = shared.clock.now();
            let buffer = self.draw(frame)?;
            let drawn = shared.clock.now();
            frame.stamps.overlay = drawn.since(start);
            let video = frame.picture.video_info().clone();
            match (output, &frame.file) {
                (OutputSpec::Folder(folder), Some(file)) => {
                    let name = Path::new(file.as_ref()).file_name().unwrap_or_default();
                    write_picture(&picture_name(&folder.join(name)), buffer, &video)?;
                }
                (OutputSpec::File(path), Some(_)) => {
                    write_picture(path, buffer, &video)?;
                    shared.tally().outputs.push((path.clone(), 0));
                }
                (OutputSpec::File(path), None) => {
                    if self.sink.is_none()
                        && let Some(info) = info
                    {
                        let format = VideoFormat { video: video.clone() };
                        let mut sink =
                            FileSink::open(path, &format, info, sides, &shared.settings.encoder, &shared.clock)?;
                        for notice in sink.take_notices() {
                            shared.observer.notice(&notice);
                        }
                        self.audio_kept = sink.audio_kept();
                        self.sink = Some(sink);
                    }
                    if let Some(sink) = &mut self.sink {
                        sink.push(buffer, &video)?;
                    }
                }
                _ => {}
            }
        }
        frame.stamps.handed_over = shared.clock.now();
        self.write_labels(frame)?;
        if let Some(json) = &shared.json {
            let mut out = json.lock().unwrap_or_else(PoisonError::into_inner);
            json::write_line(&mut **out, frame, size, &shared.model.classes)
                .map_err(|e| RunError::Write { path: "--json".into(), problem: e.to_string() })?;
        }
        self.count(frame);
        shared.observer.frame(frame, size);
        Ok(())
    }

    fn count(&mut self, frame: &SourceFrame) {
        let now = frame.stamps.handed_over;
        if let Some(last) = self.last {
            let rate = 1.0 / now.since(last).as_secs_f64().max(1e-6);
            self.fps = if self.fps > 0.0 { self.fps * 0.9 + rate * 0.1 } else { rate };
        }
        self.last = Some(now);
        let mut tally = self.shared.tally();
        let frames = &mut tally.streams[self.stream.0 as usize].frames;
        frames.received += 1;
        frames.processed += 1;
        frames.inferred += u64::from(frame.letterbox.is_some());
        tally.book.record(&frame.stamps);
        if let Some(sink) = &self.sink {
            for elapsed in sink.take_encoded() {
                tally.book.record_encode(elapsed);
            }
        }
        tally.handed_over.push(now.since_start().as_secs_f64());
        tally.first_frame.get_or_insert(frame.stamps.decode_in.unwrap_or(frame.stamps.decoded));
        tally.last_frame = tally.last_frame.max(Some(now));
        for d in &frame.detections {
            if let Some(n) = tally.objects.get_mut(usize::from(d.class_id)) {
                *n += 1;
            }
        }
    }

    /// The picture to write: the decoder's own buffer when nothing is drawn, else the one copy that is drawn on
    /// (decoders keep their buffers as references for later frames).
    fn draw(&mut self, frame: &SourceFrame) -> Result<gst::Buffer, RunError> {
        let hud = self.shared.settings.hud.then(|| {
            let ms = frame.stamps.batch_closed.since(frame.stamps.decoded)
                + frame.stamps.preprocess
                + frame.stamps.inference;
            format!("{:.1} fps  {:.1} ms", self.fps, ms.as_secs_f64() * 1000.0)
        });
        let video = frame.picture.video_info();
        let mut buffer = if frame.detections.is_empty() && hud.is_none() {
            frame.picture.buffer().copy()
        } else {
            let fail = |e: &dyn std::fmt::Display| RunError::Thread(format!("no picture buffer: {e}"));
            let pool = self.pool_for(video).map_err(|e| fail(&e))?;
            let buffer = pool.acquire_buffer(None).map_err(|e| fail(&e))?;
            let mut copy =
                gst_video::VideoFrame::from_buffer_writable(buffer, video).map_err(|_| fail(&"it cannot be mapped"))?;
            frame.picture.copy_to(&mut copy).map_err(|e| fail(&e))?;
            let strides: [usize; 3] =
                std::array::from_fn(|i| copy.plane_stride().get(i).and_then(|s| usize::try_from(*s).ok()).unwrap_or(0));
            let [y, u, v, _] = copy.planes_data_mut();
            let plane = |data, stride| PlaneMut { data, stride };
            let planes = [plane(y, strides[0]), plane(u, strides[1]), plane(v, strides[2])];
            let mut picture = PictureViewMut { info: frame.picture.info(), planes };
            self.overlay.draw(&mut picture, &frame.detections, hud.as_deref())?;
            copy.into_buffer()
        };
        let b = buffer.make_mut();
        b.set_pts(gst::ClockTime::from_nseconds(frame.pts.ns));
        b.set_dts(gst::ClockTime::NONE);
        b.set_duration(frame.duration.and_then(|d| gst::ClockTime::try_from(d).ok()));
        Ok(buffer)
    }

    fn pool_for(&mut self, video: &gst_video::VideoInfo) -> Result<gst::BufferPool, gst::glib::BoolError> {
        if let Some((known, pool)) = &self.pool
            && known == video
        {
            return Ok(pool.clone());
        }
        let pool = gst_video::VideoBufferPool::new();
        let caps = video.to_caps()?;
        let mut config = pool.config();
        config.set_params(Some(&caps), u32::try_from(video.size()).unwrap_or(u32::MAX), 2, 0);
        pool.set_config(config)?;
        pool.set_active(true)?;
        let pool: gst::BufferPool = pool.upcast();
        self.pool = Some((video.clone(), pool.clone()));
        Ok(pool)
    }

    /// YOLO text labels: class and box centre and size, relative to the picture, and the confidence.
    fn write_labels(&self, frame: &SourceFrame) -> Result<(), RunError> {
        let Some(folder) = &self.shared.settings.save_txt else { return Ok(()) };
        let size = frame.picture.info().size;
        let (w, h) = (f64::from(size.width), f64::from(size.height));
        let job = &self.shared.settings.jobs[self.stream.0 as usize];
        let name = match &frame.file {
            Some(file) => stem(Path::new(file.as_ref())),
            None => format!("{}_{}", stem(Path::new(&job.name)), frame.index),
        };
        let path = folder.join(name + ".txt");
        let fail = |e: std::io::Error| RunError::Write { path: path.display().to_string(), problem: e.to_string() };
        let mut out = std::io::BufWriter::new(std::fs::File::create(&path).map_err(fail)?);
        for d in &frame.detections {
            let [x1, y1, x2, y2] = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(f64::from);
            let (cx, cy) = (f64::midpoint(x1, x2) / w, f64::midpoint(y1, y2) / h);
            writeln!(
                out,
                "{} {cx:.6} {cy:.6} {:.6} {:.6} {:.6}",
                d.class_id,
                (x2 - x1) / w,
                (y2 - y1) / h,
                d.confidence
            )
            .map_err(fail)?;
        }
        out.flush().map_err(fail)
    }

    fn finish(mut self) {
        let Some(sink) = self.sink.take() else { return };
        let interrupted = self.shared.stopping();
        match sink.finish(interrupted) {
            Ok((path, encoded)) => {
                let mut tally = self.shared.tally();
                for elapsed in encoded {
                    tally.book.record_encode(elapsed);
                }
                tally.outputs.push((path, self.audio_kept));
            }
            Err(error) => self.shared.fail(error.into()),
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

/// Kinds of picture that are not written become PNG.
#[must_use]
pub(super) fn picture_name(path: &Path) -> PathBuf {
    let known = path
        .extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| matches!(e.to_ascii_lowercase().as_str(), "jpg" | "jpeg" | "png"));
    if known { path.to_owned() } else { path.with_extension("png") }
}
