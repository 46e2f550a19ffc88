//! The encoder: frames in, access units out, each stamped on both sides.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, after, never, select};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::encoder::{EncoderOptions, EncoderParams, HDR_FORMAT};
use super::error::OutputError;
use super::input::{Input, Limit};
use super::pipeline::{BusEvent, Pipeline};
use crate::clock::{Clock, HostTime, StreamTime};
use crate::geometry::Size;
use crate::shutdown::Shutdown;

/// Frames waiting for the encoder; the overlay waits when it is full.
const FRAMES: u64 = 4;
/// Access units waiting to be written or sent; the encoder waits when it is full.
const UNITS: u32 = 8;
/// Frames an encoder may hold at once: its look-ahead and a frame a thread, with room to spare.
const PENDING: usize = 256;
/// How long an encoder may take for a frame once the run is to stop: 8K in the slowest presets takes a few seconds, and the worker
/// then waits no longer than 10 s for the stream's thread.
const PATIENCE: Duration = Duration::from_secs(8);

/// When a frame entered and left the encoder.
#[derive(Debug, Clone, Copy)]
pub struct EncodeTimes {
    /// The frame's time in the stream.
    pub pts: StreamTime,
    /// It entered.
    pub entered: HostTime,
    /// It left, compressed.
    pub left: HostTime,
}

type Times = Arc<Mutex<Vec<EncodeTimes>>>;

/// An encoder at work.
pub(super) struct Encoding {
    pipeline: Pipeline,
    frames: Input,
    units: gst_app::AppSink,
    keyframes: KeyframeRequester,
    caps: gst::Caps,
    times: Times,
}

/// Requests keyframes of an encoder.
#[derive(Clone)]
pub(super) struct KeyframeRequester(gst::glib::WeakRef<gst::Element>);

impl KeyframeRequester {
    /// The first frame shown at `at` or later, or the very next one, becomes a keyframe. Not to be called before the first one
    /// came out.
    pub fn request(&self, at: Option<gst::ClockTime>) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().running_time(at).all_headers(true).build();
        if let Some(pad) = self.0.upgrade().and_then(|encoder| encoder.static_pad("src")) {
            pad.send_event(event);
        }
    }
}

impl Encoding {
    /// Starts an encoder for frames like `video`, the first one; others are scaled to its size.
    ///
    /// # Errors
    /// What is missing or refused.
    pub fn start(
        video: &gst_video::VideoInfo,
        options: &EncoderOptions,
        params: &EncoderParams,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, OutputError> {
        let Size { width, height } = options.encoded_size(params)?;
        let pad = if (width, height) == (video.width(), video.height()) {
            String::new()
        } else {
            let (right, bottom) = (width - video.width(), height - video.height());
            format!("! videobox right=-{right} bottom=-{bottom} ")
        };
        let formats = if params.hdr { HDR_FORMAT } else { "{I420,NV12}" };
        let description = format!(
            "appsrc name=frames ! videoconvertscale add-borders=true ! capsfilter name=size ! videoconvert \
             ! video/x-raw,format=(string){formats} {pad}! {} ! {} \
             ! appsink name=units sync=false async=false max-buffers={UNITS}",
            options.description(params)?,
            params.unit_caps(),
        );
        let pipeline = Pipeline::parse("encoder", &description)?;
        // Every frame has the first one's size and pixel aspect while the pipeline runs.
        let first = gst::Caps::builder("video/x-raw")
            .field("width", i32::try_from(video.width()).unwrap_or(i32::MAX))
            .field("height", i32::try_from(video.height()).unwrap_or(i32::MAX))
            .field("pixel-aspect-ratio", video.par())
            .build();
        pipeline.element("size")?.set_property("caps", &first);
        let caps = video.to_caps()?;
        let frames = Input::new(pipeline.app_source("frames")?, Limit::Buffers(FRAMES));
        frames.set_caps(&caps);
        let units = pipeline.app_sink("units")?;
        let encoder = pipeline.element("encoder")?;
        let times = stamp_encoder(&encoder, clock, options.delay);
        let keyframes = KeyframeRequester(encoder.downgrade());
        pipeline.start()?;
        Ok(Self { pipeline, frames, units, keyframes, caps, times })
    }

    /// Where its access units come out.
    pub fn units(&self) -> gst_app::AppSink {
        self.units.clone()
    }

    /// Requests keyframes.
    pub fn keyframes(&self) -> &KeyframeRequester {
        &self.keyframes
    }

    /// Hands one frame over. Waits while the encoder is busy: for `PATIENCE` at most once `stopping` is requested, and not
    /// after `written`, at the other end, is disconnected.
    ///
    /// # Errors
    /// When the encoder failed, or takes nothing.
    pub fn push(
        &mut self,
        buffer: gst::Buffer,
        video: &gst_video::VideoInfo,
        (written, stopping): (&Receiver<()>, &Shutdown),
    ) -> Result<(), OutputError> {
        if let Ok(caps) = video.to_caps()
            && caps != self.caps
        {
            self.frames.set_caps(&caps);
            self.caps = caps;
        }
        while !self.frames.has_room() {
            let (patience, requested) = if stopping.is_requested() {
                (after(PATIENCE), never())
            } else {
                (never(), stopping.requested().clone())
            };
            select! {
                recv(self.frames.room()) -> _ => {}
                recv(self.pipeline.events()) -> event => if let Ok(BusEvent::Error(error)) = event {
                    return Err(error.into());
                },
                recv(written) -> _ => return Err(OutputError::Stopped("writer")),
                // From now on there is less time.
                recv(requested) -> _ => {}
                recv(patience) -> _ => return Err(OutputError::EncoderStalled(PATIENCE)),
            }
        }
        let pushed = self.frames.push(buffer);
        match self.pipeline.error() {
            Some(error) => Err(error.into()),
            None if pushed => Ok(()),
            None => Err(OutputError::Stopped("encoder")),
        }
    }

    /// No frame comes any more: what the encoder still holds comes out.
    pub fn end(&self) {
        self.frames.end();
    }

    /// What it reports.
    pub fn events(&self) -> &Receiver<BusEvent> {
        self.pipeline.events()
    }

    /// Stops at once; what it still holds is gone.
    pub fn stop(&self) {
        // One that does not stop is left alone.
        let _ = self.pipeline.stop();
    }

    /// What has left the encoder since the last call, in `times`, whose memory is used for the next.
    pub fn take_times(&self, times: &mut Vec<EncodeTimes>) {
        times.clear();
        std::mem::swap(times, &mut *self.times.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Stamps what enters and leaves the encoder, matched by running time: encoders shift their PTS.
fn stamp_encoder(encoder: &gst::Element, clock: &Arc<dyn Clock>, delay: Duration) -> Times {
    let entered: Arc<Mutex<VecDeque<(StreamTime, HostTime)>>> = Arc::new(Mutex::new(VecDeque::with_capacity(PENDING)));
    let encoded: Times = Arc::default();
    if let Some(pad) = encoder.static_pad("sink") {
        let (entered, clock) = (entered.clone(), clock.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(pts) = running_time(pad, info) {
                let mut entered = entered.lock().unwrap_or_else(PoisonError::into_inner);
                if entered.len() == PENDING {
                    entered.pop_front();
                }
                entered.push_back((pts, clock.now()));
            }
            gst::PadProbeReturn::Ok
        });
    }
    if let Some(pad) = encoder.static_pad("src") {
        let (encoded, clock) = (encoded.clone(), clock.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if !delay.is_zero() {
                clock.sleep(delay);
            }
            let Some(pts) = running_time(pad, info) else { return gst::PadProbeReturn::Ok };
            let left = clock.now();
            let mut entered = entered.lock().unwrap_or_else(PoisonError::into_inner);
            let found = entered.iter().position(|(p, _)| *p == pts).and_then(|at| entered.remove(at));
            drop(entered);
            if let Some((_, entered)) = found {
                encoded.lock().unwrap_or_else(PoisonError::into_inner).push(EncodeTimes { pts, entered, left });
            }
            gst::PadProbeReturn::Ok
        });
    }
    encoded
}

fn running_time(pad: &gst::Pad, info: &gst::PadProbeInfo) -> Option<StreamTime> {
    let pts = info.buffer()?.pts()?;
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let running = segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(pts)?;
    Some(StreamTime { ns: running.nseconds() })
}
