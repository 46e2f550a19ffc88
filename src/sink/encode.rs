//! The encoder: pictures in, access units out, each stamped on both sides.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::encoder::{EncoderOptions, Purpose};
use crate::clock::{Clock, HostTime, StreamTime};

/// Pictures waiting for the encoder; the overlay waits when it is full.
const PICTURES: u64 = 4;
/// Access units waiting to be written or sent; the encoder waits when it is full.
const UNITS: u32 = 8;
/// Pictures an encoder may hold at once: its look-ahead and a picture a thread, with room to spare.
const PENDING: usize = 256;

/// A picture's time in the encoder.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    /// The picture's time in the stream.
    pub pts: StreamTime,
    /// It entered.
    pub entered: HostTime,
    /// It left, compressed.
    pub left: HostTime,
}

type Encodings = Arc<Mutex<Vec<Encoded>>>;

/// An encoder at work.
pub(super) struct Encoding {
    pipeline: gst::Pipeline,
    pictures: gst_app::AppSrc,
    units: gst_app::AppSink,
    keys: KeyFrames,
    caps: gst::Caps,
    encoded: Encodings,
}

/// Asks the encoder for key frames; can be kept by whoever finds that one is needed.
#[derive(Clone)]
pub(super) struct KeyFrames(gst::glib::WeakRef<gst::Element>);

impl KeyFrames {
    /// The first picture shown at `at` or later, or the very next one, becomes a key frame. Not to be asked before the first
    /// one came out.
    pub fn ask(&self, at: Option<gst::ClockTime>) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().running_time(at).all_headers(true).build();
        if let Some(pad) = self.0.upgrade().and_then(|encoder| encoder.static_pad("src")) {
            pad.send_event(event);
        }
    }
}

impl Encoding {
    /// Starts an encoder for pictures like `video`, the first one; others are scaled to its size.
    ///
    /// # Errors
    /// What is missing or refused.
    pub fn start(
        video: &gst_video::VideoInfo,
        options: &EncoderOptions,
        purpose: &Purpose,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let even = |n: u32| n.next_multiple_of(2);
        let (width, height) = (even(video.width()), even(video.height()));
        let pad = if (width, height) == (video.width(), video.height()) {
            String::new()
        } else {
            let (right, bottom) = (width - video.width(), height - video.height());
            format!("! videobox right=-{right} bottom=-{bottom} ")
        };
        let description = format!(
            "appsrc name=pictures ! videoconvertscale add-borders=true ! capsfilter name=size ! videoconvert \
             ! video/x-raw,format=(string){{I420,NV12}} {pad}! {} ! {} \
             ! appsink name=units sync=false async=false max-buffers={UNITS}",
            options.description(purpose)?,
            purpose.unit_caps(),
        );
        let pipeline = gst::parse::launch(&description)
            .map_err(|e| format!("the encoder cannot be set up: {e}"))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| "not a pipeline")?;
        let element = |name: &str| pipeline.by_name(name).ok_or_else(|| format!("no element {name}"));
        // Every picture has the first one's size and pixel aspect while the pipeline runs.
        let first = gst::Caps::builder("video/x-raw")
            .field("width", i32::try_from(video.width()).unwrap_or(i32::MAX))
            .field("height", i32::try_from(video.height()).unwrap_or(i32::MAX))
            .field("pixel-aspect-ratio", video.par())
            .build();
        element("size")?.set_property("caps", &first);
        let caps = video.to_caps().map_err(|e| e.to_string())?;
        let pictures = element("pictures")?.downcast::<gst_app::AppSrc>().map_err(|_| "no picture input")?;
        pictures.set_caps(Some(&caps));
        pictures.set_format(gst::Format::Time);
        pictures.set_block(true);
        pictures.set_max_buffers(PICTURES);
        pictures.set_max_bytes(0);
        let units = element("units")?.downcast::<gst_app::AppSink>().map_err(|_| "no output")?;
        let encoder = element("encoder")?;
        let encoded = stamp_encoder(&encoder, clock, options.delay);
        let keys = KeyFrames(encoder.downgrade());
        let encoding = Self { pipeline, pictures, units, keys, caps, encoded };
        encoding
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| encoding.error().unwrap_or_else(|| "the encoder does not start".into()))?;
        Ok(encoding)
    }

    /// Where its access units come out.
    pub fn units(&self) -> gst_app::AppSink {
        self.units.clone()
    }

    /// Asks for key frames.
    pub fn keys(&self) -> &KeyFrames {
        &self.keys
    }

    /// Hands one picture over; waits while the encoder is busy. Says whether it was taken.
    pub fn push(&mut self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> bool {
        if let Ok(caps) = video.to_caps()
            && caps != self.caps
        {
            self.pictures.set_caps(Some(&caps));
            self.caps = caps;
        }
        self.pictures.push_buffer(buffer).is_ok()
    }

    /// No picture comes any more: what the encoder still holds comes out.
    pub fn end(&self) {
        let _ = self.pictures.end_of_stream();
    }

    /// What went wrong, once.
    pub fn error(&self) -> Option<String> {
        super::bus_error(&self.pipeline).map(|error| error.message)
    }

    /// What goes wrong within so long.
    pub fn wait_for_error(&self, time: Duration) -> Option<String> {
        let time = gst::ClockTime::try_from(time).ok()?;
        let message = self.pipeline.bus()?.timed_pop_filtered(time, &[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
            _ => None,
        }
    }

    /// Stops at once; what it still holds is gone.
    pub fn stop(&self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }

    /// What has left the encoder since the last call, in `encoded`, whose memory is used for the next.
    pub fn take_encoded(&self, encoded: &mut Vec<Encoded>) {
        encoded.clear();
        std::mem::swap(encoded, &mut *self.encoded.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Stamps what enters and leaves the encoder, matched by running time: encoders shift their PTS.
fn stamp_encoder(encoder: &gst::Element, clock: &Arc<dyn Clock>, delay: Duration) -> Encodings {
    let entered: Arc<Mutex<VecDeque<(StreamTime, HostTime)>>> = Arc::new(Mutex::new(VecDeque::with_capacity(PENDING)));
    let encoded: Encodings = Arc::default();
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
                encoded.lock().unwrap_or_else(PoisonError::into_inner).push(Encoded { pts, entered, left });
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
