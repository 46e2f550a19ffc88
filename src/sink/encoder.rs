//! Which encoder runs, and with which settings.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::encoder_table::{H264, Rate, Setting, Wanted, settings};
use super::error::OutputError;
use crate::geometry::Size;

/// What the user asked of the encoder.
#[derive(Debug, Clone, Default)]
pub struct EncoderOptions {
    /// Elements by name, of which the first that opens is used, instead of the best one present.
    pub names: Vec<String>,
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

    /// The launch name of the parser behind the encoder.
    pub fn parser(&self) -> &'static str {
        if self.codec == "vp9" { "vp9parse" } else { "h264parse" }
    }

    /// What an encoder without constant quality aims at, kbit/s: six more in quality halve it.
    fn bitrate_for(&self, quality: u32) -> u32 {
        let kbit = f64::from(self.live_limit()) * ((23.0 - f64::from(quality)) / 6.0).exp2();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let kbit = kbit.clamp(100.0, 200_000.0) as u32;
        kbit
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
    /// Checks that what was asked for by name is there, before there are frames.
    ///
    /// # Errors
    /// When none of the encoders is, or the preset is none.
    pub fn check(&self) -> Result<(), OutputError> {
        if let Some(preset) = &self.preset
            && is_there("x264enc")
            && !has_value("x264enc", "speed-preset", preset)
        {
            return Err(OutputError::UnknownPreset(preset.clone()));
        }
        // One of several need not be installed everywhere.
        let is_able = |name: &String| refusal(name).is_none();
        if self.names.iter().any(is_able) { Ok(()) } else { self.names.iter().find_map(refusal).map_or(Ok(()), Err) }
    }

    /// The elements to try, in order; at least one.
    ///
    /// # Errors
    /// When none that could be tried is installed.
    pub(super) fn elements(&self, params: &EncoderParams) -> Result<Vec<String>, OutputError> {
        if params.codec == "vp9" {
            return Ok(vec!["vp9enc".into()]);
        }
        let is_able = |name: &str| !params.hdr || takes_hdr(name);
        if self.names.is_empty() {
            let able: Vec<String> =
                H264.into_iter().filter(|name| is_there(name) && is_able(name)).map(ToOwned::to_owned).collect();
            return if able.is_empty() { Err(OutputError::NoEncoder) } else { Ok(able) };
        }
        let no_hdr = |name: &String| (!is_able(name)).then(|| OutputError::NoHdr(name.clone()));
        let refusal = |name: &String| refusal(name).or_else(|| no_hdr(name));
        // One of several need not be installed everywhere.
        let able: Vec<String> = self.names.iter().filter(|name| refusal(name).is_none()).cloned().collect();
        if able.is_empty() {
            return Err(self.names.iter().find_map(refusal).unwrap_or(OutputError::NoEncoder));
        }
        Ok(able)
    }

    /// The size that frames have in `element`: even, and no smaller than it and the containers take.
    pub(super) fn encoded_size(element: &str, params: &EncoderParams) -> Size {
        let caps = pad_caps(element, gst::PadDirection::Sink);
        let least = |side: &str| {
            let range = caps.as_ref()?.structure(0)?.get::<gst::IntRange<i32>>(side).ok()?;
            u32::try_from(range.min()).ok()
        };
        let side = |pixels: u32, name| pixels.max(least(name).unwrap_or_default()).max(SMALLEST).next_multiple_of(2);
        Size { width: side(params.size.width, "width"), height: side(params.size.height, "height") }
    }

    /// What `element` is told.
    ///
    /// # Errors
    /// When a preset is none.
    pub(super) fn settings(&self, element: &str, params: &EncoderParams) -> Result<Vec<Setting>, OutputError> {
        let preset = self.preset.as_deref().unwrap_or("superfast");
        if element == "x264enc" && !has_value(element, "speed-preset", preset) {
            return Err(OutputError::UnknownPreset(preset.to_owned()));
        }
        let quality = self.crf.unwrap_or(if params.codec == "vp9" { 31 } else { 23 });
        let rate = match self.bitrate {
            Some(kbit) => Rate::Bitrate(kbit),
            None => Rate::Quality {
                quality,
                limit: params.live.then(|| params.live_limit()),
                kbit: params.bitrate_for(quality),
            },
        };
        let wanted = Wanted { rate, keyframes: params.keyframe_distance(), live: params.live, preset };
        Ok(settings(element, &wanted))
    }
}

/// Why an encoder that was asked for by name cannot be taken.
fn refusal(name: &String) -> Option<OutputError> {
    match name {
        name if !is_there(name) => Some(OutputError::UnknownEncoder(name.clone())),
        name if !gives_h264(name) => Some(OutputError::NotH264(name.clone())),
        _ => None,
    }
}

fn is_there(name: &str) -> bool {
    gst::ElementFactory::find(name).is_some()
}

fn pad_caps(element: &str, direction: gst::PadDirection) -> Option<gst::Caps> {
    let pads = gst::ElementFactory::find(element)?.static_pad_templates();
    pads.iter().find(|pad| pad.direction() == direction).map(gst::StaticPadTemplate::caps)
}

fn gives_h264(element: &str) -> bool {
    let h264 = gst::Caps::new_empty_simple("video/x-h264");
    pad_caps(element, gst::PadDirection::Src).is_some_and(|caps| caps.can_intersect(&h264))
}

fn has_value(element: &str, property: &str, value: &str) -> bool {
    let Ok(element) = gst::ElementFactory::make(element).build() else { return false };
    element.find_property(property).is_some_and(|p| glib::Value::deserialize_with_pspec(value, &p).is_ok())
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
        let size = |width, height| {
            let params = EncoderParams { size: Size { width, height }, ..params(false, None) };
            let size = EncoderOptions::encoded_size("x264enc", &params);
            (size.width, size.height)
        };
        assert_eq!([size(8, 1), size(161, 16), size(640, 480)], [(16, 16), (162, 16), (640, 480)]);
    }

    #[test]
    fn a_live_stream_has_a_limit_by_its_size() {
        assert_eq!(params(true, Some((30, 1))).live_limit(), 4147);
        let wild = params(true, Some((i32::MAX, 1)));
        assert!(wild.live_limit() <= 50_000);
    }

    #[test]
    fn an_encoder_without_constant_quality_aims_at_a_bitrate_that_fits_it() {
        let params = params(false, Some((30, 1)));
        let kbit = [17, 23, 29, 51, 0].map(|quality| params.bitrate_for(quality));
        assert_eq!(kbit, [8294, 4147, 2073, 163, 59_112]);
    }

    #[test]
    fn what_is_no_h264_encoder_is_refused_by_name() {
        gst::init().expect("GStreamer");
        let tried = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            EncoderOptions { names, ..EncoderOptions::default() }.elements(&params(false, None))
        };
        assert!(
            matches!(tried(&["no-such-encoder"]), Err(OutputError::UnknownEncoder(name)) if name == "no-such-encoder")
        );
        assert!(matches!(tried(&["vp9enc"]), Err(OutputError::NotH264(name)) if name == "vp9enc"));
        assert_eq!(tried(&["nowhere264enc", "x264enc"]).expect("one is installed"), ["x264enc"]);
    }
}
