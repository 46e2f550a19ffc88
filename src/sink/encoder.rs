//! Which encoder runs, and with which settings.

use std::time::Duration;

use gstreamer as gst;

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
    /// Added to every picture's time in the encoder, to see that the figures show it.
    pub delay: Duration,
}

/// Encoders for H.264, best first.
pub const H264: [&str; 4] = ["nvh264enc", "vah264enc", "vaapih264enc", "x264enc"];

impl EncoderOptions {
    /// The launch description of the encoder and its parser for `codec` (`h264` or `vp9`), with a key frame at least every
    /// `key_frames` frames.
    pub(super) fn description(&self, codec: &str, key_frames: u32) -> Result<String, String> {
        if codec == "vp9" {
            let rate = self.bitrate.map_or_else(
                || format!("end-usage=cq cq-level={} target-bitrate=0", self.crf.unwrap_or(31).min(63)),
                |kbit| format!("end-usage=cbr target-bitrate={}", u64::from(kbit) * 1000),
            );
            return Ok(format!(
                "vp9enc name=encoder deadline=1 cpu-used=8 threads=4 row-mt=true lag-in-frames=0 \
                 keyframe-max-dist={key_frames} {rate} ! vp9parse"
            ));
        }
        let name = match &self.name {
            Some(name) => name.as_str(),
            None => H264
                .into_iter()
                .find(|name| gst::ElementFactory::find(name).is_some())
                .ok_or("no H.264 encoder is installed; install gstreamer1.0-plugins-ugly")?,
        };
        if gst::ElementFactory::find(name).is_none() {
            return Err(format!("the encoder {name} is not installed; `gst-inspect-1.0` lists what is"));
        }
        let settings = match name {
            "x264enc" => {
                let preset = self.preset.as_deref().unwrap_or("superfast");
                if !preset.chars().all(|c| c.is_ascii_alphanumeric()) {
                    return Err(format!("--preset {preset}: give one of x264's, e.g. superfast, fast, slow"));
                }
                let rate = self.bitrate.map_or_else(
                    // Without a buffer model: x264enc's own holds constant quality to 2 Mbit/s.
                    || format!("pass=qual vbv-buf-capacity=0 quantizer={}", self.crf.unwrap_or(23).min(50)),
                    |kbit| format!("bitrate={kbit}"),
                );
                // No B-frames: decoding order is presentation order, so a file cut short plays to its last frame.
                format!("speed-preset={preset} bframes=0 key-int-max={key_frames} {rate}")
            }
            _ => self.bitrate.map_or_else(String::new, |kbit| format!("bitrate={kbit}")),
        };
        Ok(format!("{name} name=encoder {settings} ! h264parse"))
    }
}
