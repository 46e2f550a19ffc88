//! The encoder: frames in, access units out, each stamped on both sides.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, after, bounded, never, select};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::encoder::{EncoderOptions, EncoderParams, HDR_FORMAT};
use super::encoder_table::{configure, is_software};
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

/// How long an encoder may take for its first frame: a GPU that sleeps takes a second or two.
const OPENING: Duration = Duration::from_secs(10);

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
    notices: Vec<String>,
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
    /// Starts an encoder for frames like `video`, the first one; others are scaled to its size. What needs a device is tried
    /// first: where it does not open, the next one is taken.
    ///
    /// # Errors
    /// What is missing or refused.
    pub fn start(
        video: &gst_video::VideoInfo,
        options: &EncoderOptions,
        params: &EncoderParams,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, OutputError> {
        let mut closed = Vec::new();
        for element in options.elements(params)? {
            if !is_software(&element)
                && let Err(reason) = try_out(&element, video, options, params)
            {
                tracing::debug!(element, %reason, "encoder not used");
                closed.push(format!("{element}: {reason}"));
                continue;
            }
            let mut encoding = Self::with(&element, video, options, params, clock)?;
            if !closed.is_empty() {
                encoding
                    .notices
                    .push(format!("encoded with {element}, since others do not open ({})", closed.join("; ")));
            }
            if options.preset.is_some() && element != "x264enc" {
                encoding.notices.push(format!("--preset is x264's: {element} has none of that name"));
            }
            if params.codec == "vp9" && !options.names.is_empty() {
                encoding.notices.push(format!("--encoder is for H.264: VP9 is encoded with {element}"));
            }
            return Ok(encoding);
        }
        Err(OutputError::NoEncoderOpens(closed.join("; ")))
    }

    fn with(
        element: &str,
        video: &gst_video::VideoInfo,
        options: &EncoderOptions,
        params: &EncoderParams,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, OutputError> {
        let (pipeline, frames) = pipeline(element, video, options, params)?;
        let caps = video.to_caps()?;
        let units = pipeline.app_sink("units")?;
        let encoder = pipeline.element("encoder")?;
        let times = stamp_encoder(&encoder, clock, options.delay);
        let keyframes = KeyframeRequester(encoder.downgrade());
        pipeline.start()?;
        let notices = padding(element, params).into_iter().collect();
        Ok(Self { pipeline, frames, units, keyframes, caps, times, notices })
    }

    /// What the user should know of how it encodes.
    pub fn notices(&self) -> &[String] {
        &self.notices
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

/// The encoder's pipeline, and where frames like `video` enter it.
fn pipeline(
    element: &str,
    video: &gst_video::VideoInfo,
    options: &EncoderOptions,
    params: &EncoderParams,
) -> Result<(Pipeline, Input), OutputError> {
    let Size { width, height } = EncoderOptions::encoded_size(element, params);
    let pad = if (width, height) == (video.width(), video.height()) {
        String::new()
    } else {
        let (right, bottom) = (width - video.width(), height - video.height());
        format!("! videobox right=-{right} bottom=-{bottom} ")
    };
    let formats = if params.hdr { HDR_FORMAT } else { "{I420,NV12}" };
    let settings = options.settings(element, params)?;
    let description = format!(
        "appsrc name=frames ! videoconvertscale add-borders=true ! capsfilter name=size ! videoconvert \
         ! video/x-raw,format=(string){formats} {pad}! {element} name=encoder ! {} ! {} \
         ! appsink name=units sync=false async=false max-buffers={UNITS}",
        params.parser(),
        params.unit_caps(),
    );
    let pipeline = Pipeline::parse("encoder", &description)?;
    configure(&pipeline.element("encoder")?, &settings);
    // Every frame has the first one's size and pixel aspect while the pipeline runs.
    let first = gst::Caps::builder("video/x-raw")
        .field("width", i32::try_from(video.width()).unwrap_or(i32::MAX))
        .field("height", i32::try_from(video.height()).unwrap_or(i32::MAX))
        .field("pixel-aspect-ratio", video.par())
        .build();
    pipeline.element("size")?.set_property("caps", &first);
    let frames = Input::new(pipeline.app_source("frames")?, Limit::Buffers(FRAMES));
    frames.set_caps(&video.to_caps()?);
    Ok((pipeline, frames))
}

/// Has `element` encode an empty frame. A device that is gone or busy, or a driver that does not fit, shows only then.
fn try_out(
    element: &str,
    video: &gst_video::VideoInfo,
    options: &EncoderOptions,
    params: &EncoderParams,
) -> Result<(), OutputError> {
    let (pipeline, frames) = pipeline(element, video, options, params)?;
    let (came_out, encoded) = bounded(1);
    if let Some(pad) = pipeline.element("units")?.static_pad("sink") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            // The first one is enough.
            let _ = came_out.try_send(());
            gst::PadProbeReturn::Ok
        });
    }
    pipeline.start()?;
    // As its caps lay it out: those of decoders may have wider lines.
    let caps = video.to_caps()?;
    let mut frame = gst::Buffer::with_size(gst_video::VideoInfo::from_caps(&caps)?.size())?;
    if let Some(frame) = frame.get_mut() {
        frame.set_pts(gst::ClockTime::ZERO);
    }
    frames.push(frame);
    frames.end();
    let result = select! {
        recv(encoded) -> _ => Ok(()),
        recv(pipeline.events()) -> event => match event {
            Ok(BusEvent::Error(error)) => Err(error.into()),
            // The end comes after what was encoded.
            _ => encoded.try_recv().map_err(|_| OutputError::Stopped("encoder")),
        },
        recv(after(OPENING)) -> _ => Err(OutputError::EncoderStalled(OPENING)),
    };
    // One that does not stop is left alone.
    let _ = pipeline.stop();
    result
}

/// That frames are padded, where it is by more than a line.
fn padding(element: &str, params: &EncoderParams) -> Option<String> {
    let (size, padded) = (params.size, EncoderOptions::encoded_size(element, params));
    let by = (padded.width - size.width).max(padded.height - size.height);
    let [size, padded] = [size, padded].map(|Size { width, height }| format!("{width}×{height}"));
    (by > 1).then(|| format!("frames of {size} are padded to {padded}, the least that encoder and container take"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn start(names: &[&str]) -> Result<Encoding, OutputError> {
        gst::init().expect("GStreamer");
        let video = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 320, 240).fps((30, 1)).build();
        let params = EncoderParams {
            codec: "h264",
            live: false,
            size: Size { width: 320, height: 240 },
            hdr: false,
            frame_rate: Some((30, 1)),
        };
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let options = EncoderOptions { names, ..EncoderOptions::default() };
        Encoding::start(&video.expect("a format"), &options, &params, clock::process())
    }

    /// `FFmpeg`'s encoder for boards with `OpenMAX` is there everywhere, and its device nowhere else.
    #[test]
    fn an_encoder_without_its_device_gives_way_to_the_next() {
        gst::init().expect("GStreamer");
        if gst::ElementFactory::find("avenc_h264_omx").is_none() {
            crate::text::skipped("no avenc_h264_omx");
            return;
        }
        let encoding = start(&["avenc_h264_omx", "x264enc"]).expect("x264enc opens");
        let encoder = encoding.pipeline.element("encoder").expect("it has one");
        assert_eq!(encoder.factory().expect("it was made by one").name(), "x264enc");
        let [notice] = encoding.notices() else { panic!("one notice: {:?}", encoding.notices()) };
        assert!(notice.starts_with("encoded with x264enc, since others do not open (avenc_h264_omx: "), "{notice}");
        let Err(OutputError::NoEncoderOpens(tried)) = start(&["avenc_h264_omx"]) else { panic!("it does not open") };
        assert!(tried.starts_with("avenc_h264_omx: "), "{tried}");
    }

    #[test]
    fn an_encoder_that_opens_is_kept() {
        let encoding = start(&["x264enc", "avenc_h264_omx"]).expect("it opens");
        assert!(encoding.notices().is_empty());
        let element = "x264enc";
        let video = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 64, 48).build().expect("a format");
        let size = Size { width: 64, height: 48 };
        let params = EncoderParams { codec: "h264", live: true, size, hdr: false, frame_rate: None };
        try_out(element, &video, &EncoderOptions::default(), &params).expect("a frame comes out");
    }
}
