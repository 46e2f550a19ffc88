//! Which encoder runs, and with which settings.

use std::time::Duration;

use gstreamer as gst;

use super::error::OutputError;
use crate::geometry::Size;

/// What the user asked of the encoder.
#[derive(Debug, Clone, Default)]
pub struct EncoderOptions {
    /// An element by name, instead of the best one present.
    pub name: Option<String>,
    /// Constant quality: 0 (lossless) to 51, 23 by default.
    pub crf: Option<u32>,
    /// Constant bitrate instead, kbit/s.
    pub bitrate: Option<u32>,
    /// Speed preset of x264, `superfast` by default.
    pub preset: Option<String>,
    /// Added to every frame's time in the encoder, to see that the figures show it.
    pub delay: Duration,
}

/// What is encoded, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EncoderParams {
    /// `h264` or `vp9`.
    pub codec: &'static str,
    /// There is a live output: no frame waits in the encoder for the next, and the bitrate is limited.
    pub live: bool,
    /// Size of the frames, pixels.
    pub size: Size,
    /// They are HDR, of 10 bits.
    pub hdr: bool,
    /// As a fraction, where it is constant.
    pub frame_rate: Option<(i32, i32)>,
}

/// HDR frames as encoders take them.
pub(super) const HDR_FORMAT: &str = "I420_10LE";

/// Encoders for H.264, best first.
pub const H264: [&str; 4] = ["nvh264enc", "vah264enc", "vaapih264enc", "x264enc"];

/// Keyframes are at most this far apart: a file cut off by a crash plays up to the last of them, and a client that connects
/// waits for the next at most.
const KEYFRAME_FILE: Duration = Duration::from_secs(2);
const KEYFRAME_LIVE: Duration = Duration::from_secs(1);

/// What muxers of `GStreamer` take at least, pixels.
const SMALLEST: u32 = 16;

/// Most that a live stream may take of the network, bits a pixel. Constant quality 23 took 0.05 to 0.1 for recorded traffic;
/// noise and rain take more, and are held to this.
const LIVE_BITS_PER_PIXEL: f64 = 0.15;

impl EncoderParams {
    /// How far apart keyframes are, at most.
    pub fn keyframe_interval(&self) -> Duration {
        if self.live { KEYFRAME_LIVE } else { KEYFRAME_FILE }
    }

    /// The same in frames.
    fn keyframe_distance(&self) -> u32 {
        let (numer, denom) = self.frame_rate.unwrap_or((30, 1));
        let seconds = i64::try_from(self.keyframe_interval().as_secs()).unwrap_or(1);
        let frames = seconds * i64::from(numer) / i64::from(denom.max(1));
        u32::try_from(frames.clamp(10, 250)).unwrap_or(250)
    }

    /// How its access units leave the encoder.
    pub fn unit_caps(&self) -> &'static str {
        if self.codec == "vp9" { "video/x-vp9" } else { "video/x-h264,stream-format=avc,alignment=au" }
    }

    /// Most that a live stream takes at constant quality, kbit/s.
    fn live_limit(&self) -> u32 {
        let rate = self.frame_rate.map_or(30.0, |(n, d)| f64::from(n) / f64::from(d.max(1))).clamp(1.0, 120.0);
        let pixels = f64::from(self.size.width) * f64::from(self.size.height);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let kbit = (pixels * rate * LIVE_BITS_PER_PIXEL / 1000.0).clamp(1000.0, 50_000.0) as u32;
        kbit
    }
}

impl EncoderOptions {
    /// The encoder's element.
    fn element(&self, params: &EncoderParams) -> Result<&str, OutputError> {
        let is_there = |name: &str| gst::ElementFactory::find(name).is_some();
        let is_able = |name: &str| !params.hdr || takes_hdr(name);
        match &self.name {
            _ if params.codec == "vp9" => Ok("vp9enc"),
            Some(name) if !is_there(name) => Err(OutputError::UnknownEncoder(name.to_owned())),
            Some(name) if !is_able(name) => Err(OutputError::NoHdr(name.to_owned())),
            Some(name) => Ok(name),
            None => H264.into_iter().find(|name| is_there(name) && is_able(name)).ok_or(OutputError::NoEncoder),
        }
    }

    /// The size that frames have in the encoder: even, and no smaller than it and the containers take.
    pub(super) fn encoded_size(&self, params: &EncoderParams) -> Result<Size, OutputError> {
        let factory = gst::ElementFactory::find(self.element(params)?);
        let pads = factory.map(|factory| factory.static_pad_templates()).unwrap_or_default();
        let caps = pads.iter().find(|pad| pad.direction() == gst::PadDirection::Sink).map(gst::StaticPadTemplate::caps);
        let least = |side: &str| {
            let range = caps.as_ref()?.structure(0)?.get::<gst::IntRange<i32>>(side).ok()?;
            u32::try_from(range.min()).ok()
        };
        let side = |pixels: u32, name| pixels.max(least(name).unwrap_or_default()).max(SMALLEST).next_multiple_of(2);
        Ok(Size { width: side(params.size.width, "width"), height: side(params.size.height, "height") })
    }

    /// The launch description of the encoder and its parser.
    pub(super) fn description(&self, params: &EncoderParams) -> Result<String, OutputError> {
        let keyframes = params.keyframe_distance();
        if params.codec == "vp9" {
            let rate = self.bitrate.map_or_else(
                || format!("end-usage=cq cq-level={} target-bitrate=0", self.crf.unwrap_or(31).min(63)),
                |kbit| format!("end-usage=cbr target-bitrate={}", u64::from(kbit) * 1000),
            );
            return Ok(format!(
                "vp9enc name=encoder deadline=1 cpu-used=8 threads=4 row-mt=true lag-in-frames=0 \
                 keyframe-max-dist={keyframes} {rate} ! vp9parse"
            ));
        }
        let name = self.element(params)?;
        let settings = match name {
            "x264enc" => self.x264(params, keyframes)?,
            _ => self.bitrate.map_or_else(String::new, |kbit| format!("bitrate={kbit}")),
        };
        Ok(format!("{name} name=encoder {settings} ! h264parse"))
    }

    fn x264(&self, params: &EncoderParams, keyframes: u32) -> Result<String, OutputError> {
        let preset = self.preset.as_deref().unwrap_or("superfast");
        if !preset.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(OutputError::UnknownPreset(preset.to_owned()));
        }
        let quality = self.crf.unwrap_or(23).min(50);
        let rate = match self.bitrate {
            Some(kbit) => format!("bitrate={kbit}"),
            // A second of buffer: a keyframe may be large, what follows makes up for it.
            None if params.live => {
                format!("pass=qual quantizer={quality} bitrate={} vbv-buf-capacity=1000", params.live_limit())
            }
            // Without a buffer model: x264enc's own holds constant quality to 2 Mbit/s.
            None => format!("pass=qual vbv-buf-capacity=0 quantizer={quality}"),
        };
        let tune = if params.live { "tune=zerolatency " } else { "" };
        // No delimiters: files need none, and parsers add them to transport streams. No B-frames: decoding order is presentation order, so a file cut short plays to its last frame.
        Ok(format!("{tune}speed-preset={preset} aud=false bframes=0 key-int-max={keyframes} {rate}"))
    }
}

/// Whether the encoder called `name` takes frames of 10 bits.
fn takes_hdr(name: &str) -> bool {
    let wanted = gst::Caps::builder("video/x-raw").field("format", HDR_FORMAT).build();
    gst::ElementFactory::find(name).is_some_and(|factory| factory.can_sink_any_caps(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(live: bool, frame_rate: Option<(i32, i32)>) -> EncoderParams {
        EncoderParams { codec: "h264", live, size: Size { width: 1280, height: 720 }, hdr: false, frame_rate }
    }

    #[test]
    fn keyframes_keep_their_distance_at_any_rate() {
        let distance = |rate| params(false, rate).keyframe_distance();
        let distances = [Some((25, 1)), Some((i32::MAX, 1)), Some((1, i32::MAX)), None].map(distance);
        assert_eq!(distances, [50, 250, 10, 60]);
    }

    #[test]
    fn small_and_odd_frames_are_padded() {
        gst::init().expect("GStreamer");
        let options = EncoderOptions { name: Some("x264enc".into()), ..EncoderOptions::default() };
        let size = |width, height| {
            let params = EncoderParams { size: Size { width, height }, ..params(false, None) };
            options.encoded_size(&params).map(|size| (size.width, size.height)).expect("it is installed")
        };
        assert_eq!([size(8, 1), size(161, 16), size(640, 480)], [(16, 16), (162, 16), (640, 480)]);
    }

    #[test]
    fn a_live_stream_has_a_limit_by_its_size() {
        assert_eq!(params(true, Some((30, 1))).live_limit(), 4147);
        let wild = params(true, Some((i32::MAX, 1)));
        assert!(wild.live_limit() <= 50_000);
    }
}
