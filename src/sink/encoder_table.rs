//! What each encoder is told, in its own properties: quality or bitrate, distance of keyframes, latency.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

/// Encoders for H.264, best first.
pub const H264: [&str; 8] = [
    "nvh264enc",
    "vah264enc",
    "vah264lpenc",
    "vaapih264enc",
    "qsvh264enc",
    "x264enc",
    "openh264enc",
    // Which driver of which board is behind it, and what that can do, is not known beforehand.
    "v4l2h264enc",
];

/// What is asked of an encoder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub rate: Rate,
    /// Frames between keyframes, at most.
    pub keyframes: u32,
    /// No frame waits in it for the next.
    pub live: bool,
    /// Speed preset of x264.
    pub preset: &'a str,
}

/// How many bits it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rate {
    /// As many as this quality takes, 0 to 51 as x264 counts (63 for VP9), of a live stream at most `limit`. Encoders without
    /// constant quality aim at `kbit`.
    Quality { quality: u32, limit: Option<u32>, kbit: u32 },
    /// So many, kbit/s.
    Bitrate(u32),
}

/// A property and its value.
pub(super) type Setting = (&'static str, String);

/// Whether it runs wherever it is installed: no device stands behind it.
pub(super) fn is_software(element: &str) -> bool {
    matches!(element, "x264enc" | "openh264enc" | "vp9enc")
}

/// What `element` is sent. Where versions of `GStreamer` name a property differently, it is there under each name.
pub(super) fn settings(element: &str, wanted: &Wanted<'_>) -> Vec<Setting> {
    match element {
        "x264enc" => x264(wanted),
        "openh264enc" => openh264(wanted),
        "vp9enc" => vp9(wanted),
        "nvh264enc" => nvenc(wanted),
        "vah264enc" | "vah264lpenc" => va(wanted),
        "vaapih264enc" => vaapi(wanted),
        "qsvh264enc" => quick_sync(wanted),
        "v4l2h264enc" => v4l2(wanted),
        other => unknown(other, wanted),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "numbers, switches and names")]
fn set(name: &'static str, value: impl ToString) -> Setting {
    (name, value.to_string())
}

fn x264(wanted: &Wanted<'_>) -> Vec<Setting> {
    let mut sent = vec![
        set("speed-preset", wanted.preset),
        // Files need no delimiters, and parsers add them to transport streams.
        set("aud", false),
        // Decoding order is presentation order, so a file cut short plays to its last frame.
        set("bframes", 0),
        set("key-int-max", wanted.keyframes),
    ];
    if wanted.live {
        sent.push(set("tune", "zerolatency"));
    }
    match wanted.rate {
        Rate::Bitrate(kbit) => sent.push(set("bitrate", kbit)),
        Rate::Quality { quality, limit, .. } => {
            sent.extend([set("pass", "qual"), set("quantizer", quality.min(50))]);
            // A second of buffer: a keyframe may be large, what follows makes up for it. Without a limit no buffer model: x264enc's
            // own holds constant quality to 2 Mbit/s.
            sent.push(set("vbv-buf-capacity", if limit.is_some() { 1000 } else { 0 }));
            sent.extend(limit.map(|kbit| set("bitrate", kbit)));
        }
    }
    sent
}

fn openh264(wanted: &Wanted<'_>) -> Vec<Setting> {
    let mut sent = vec![
        set("gop-size", wanted.keyframes),
        set("complexity", "low"),
        // Frames are dropped where they are counted, not in the encoder.
        set("enable-frame-skip", false),
        set("scene-change-detection", false),
    ];
    // bit/s. It has no constant quality: quantizers below the one asked for are not used.
    let (mode, kbit, least) = match wanted.rate {
        Rate::Bitrate(kbit) => ("bitrate", kbit, 0),
        Rate::Quality { quality, kbit, .. } => ("quality", kbit, quality.min(51)),
    };
    sent.extend([set("rate-control", mode), set("bitrate", u64::from(kbit) * 1000), set("qp-min", least)]);
    sent
}

fn vp9(wanted: &Wanted<'_>) -> Vec<Setting> {
    let mut sent = vec![
        set("deadline", 1),
        set("cpu-used", 8),
        set("threads", 4),
        set("row-mt", true),
        set("lag-in-frames", 0),
        set("keyframe-max-dist", wanted.keyframes),
    ];
    match wanted.rate {
        Rate::Bitrate(kbit) => {
            sent.extend([set("end-usage", "cbr"), set("target-bitrate", u64::from(kbit) * 1000)]);
        }
        Rate::Quality { quality, .. } => {
            sent.extend([set("end-usage", "cq"), set("cq-level", quality.min(63)), set("target-bitrate", 0)]);
        }
    }
    sent
}

/// NVENC (`GStreamer` 1.26 renamed `rc-mode` and `bframes`).
fn nvenc(wanted: &Wanted<'_>) -> Vec<Setting> {
    let mut sent = vec![
        set("gop-size", wanted.keyframes),
        set("bframes", 0),
        set("b-frames", 0),
        set("rc-lookahead", 0),
        set("zerolatency", wanted.live),
        set("zero-reorder-delay", wanted.live),
        set("aud", false),
    ];
    let mode = match wanted.rate {
        Rate::Bitrate(kbit) => {
            sent.push(set("bitrate", kbit));
            "cbr"
        }
        Rate::Quality { quality, limit, .. } => {
            // 0 is NVENC's own choice. Without a bitrate, variable bitrate is constant quality.
            sent.extend([set("const-quality", quality.clamp(1, 51)), set("bitrate", 0)]);
            sent.push(set("max-bitrate", limit.unwrap_or(0)));
            "vbr"
        }
    };
    sent.extend([set("rc-mode", mode), set("rate-control", mode)]);
    sent
}

/// The plugin `va` (Intel, AMD).
fn va(wanted: &Wanted<'_>) -> Vec<Setting> {
    let mut sent = vec![set("key-int-max", wanted.keyframes), set("b-frames", 0), set("aud", false)];
    match wanted.rate {
        Rate::Bitrate(kbit) => sent.extend([set("rate-control", "cbr"), set("bitrate", kbit)]),
        Rate::Quality { limit: Some(kbit), .. } => sent.extend([set("rate-control", "vbr"), set("bitrate", kbit)]),
        Rate::Quality { quality, .. } => {
            sent.push(set("rate-control", "cqp"));
            sent.extend(["qpi", "qpp", "qpb"].map(|name| set(name, quality.min(51))));
        }
    }
    sent
}

/// The older plugin `vaapi` (Intel, AMD).
fn vaapi(wanted: &Wanted<'_>) -> Vec<Setting> {
    let mut sent = vec![set("keyframe-period", wanted.keyframes), set("max-bframes", 0), set("aud", false)];
    match wanted.rate {
        Rate::Bitrate(kbit) => sent.extend([set("rate-control", "cbr"), set("bitrate", kbit)]),
        Rate::Quality { limit: Some(kbit), .. } => sent.extend([set("rate-control", "vbr"), set("bitrate", kbit)]),
        Rate::Quality { quality, .. } => {
            sent.extend([set("rate-control", "cqp"), set("init-qp", quality.clamp(1, 51))]);
        }
    }
    sent
}

/// Intel Quick Sync.
fn quick_sync(wanted: &Wanted<'_>) -> Vec<Setting> {
    let mut sent =
        vec![set("gop-size", wanted.keyframes), set("b-frames", 0), set("low-latency", wanted.live), set("aud", false)];
    match wanted.rate {
        Rate::Bitrate(kbit) => sent.extend([set("rate-control", "cbr"), set("bitrate", kbit)]),
        Rate::Quality { limit: Some(kbit), .. } => {
            sent.extend([set("rate-control", "vbr"), set("bitrate", kbit), set("max-bitrate", kbit)]);
        }
        Rate::Quality { quality, .. } => {
            sent.push(set("rate-control", "cqp"));
            sent.extend(["qp-i", "qp-p", "qp-b"].map(|name| set(name, quality.clamp(1, 51))));
        }
    }
    sent
}

/// The kernel's encoders (Raspberry Pi and other boards), by their controls.
fn v4l2(wanted: &Wanted<'_>) -> Vec<Setting> {
    // 0: variable, 1: constant. Few drivers have constant quality.
    let (mode, kbit) = match wanted.rate {
        Rate::Bitrate(kbit) => (1, kbit),
        Rate::Quality { kbit, .. } => (0, kbit),
    };
    let (keyframes, bitrate) = (wanted.keyframes, u64::from(kbit) * 1000);
    let controls = format!(
        "controls,video_bitrate_mode={mode},video_bitrate={bitrate},h264_i_frame_period={keyframes},\
         video_gop_size={keyframes},video_b_frames=0,repeat_sequence_header=1"
    );
    vec![set("extra-controls", controls)]
}

/// Any other: what most of them call these things.
fn unknown(element: &str, wanted: &Wanted<'_>) -> Vec<Setting> {
    let keyframes = wanted.keyframes;
    let mut sent = ["key-int-max", "gop-size", "keyframe-period"].map(|name| set(name, keyframes)).to_vec();
    sent.extend(["bframes", "b-frames", "max-bframes"].map(|name| set(name, 0)));
    match wanted.rate {
        // FFmpeg's take bit/s.
        Rate::Bitrate(kbit) | Rate::Quality { kbit, .. } if element.starts_with("avenc_") => {
            sent.push(set("bitrate", u64::from(kbit) * 1000));
        }
        Rate::Bitrate(kbit) => sent.push(set("bitrate", kbit)),
        // In which unit is not known: its own default is no worse than a guess.
        Rate::Quality { .. } => {}
    }
    sent
}

/// Sets what of `settings` this version of the encoder has.
pub(super) fn configure(encoder: &gst::Element, settings: &[Setting]) {
    for (name, value) in settings {
        let writable = encoder.find_property(name).filter(|p| p.flags().contains(glib::ParamFlags::WRITABLE));
        let value = writable.and_then(|property| glib::Value::deserialize_with_pspec(value, &property).ok());
        if let Some(value) = value {
            encoder.set_property_from_value(name, &value);
        } else {
            tracing::debug!(encoder = %encoder.name(), name, "the encoder has no such setting");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Wanted<'_> = Wanted {
        rate: Rate::Quality { quality: 23, limit: None, kbit: 4000 },
        keyframes: 60,
        live: false,
        preset: "superfast",
    };
    const LIVE: Wanted<'_> = Wanted {
        rate: Rate::Quality { quality: 23, limit: Some(4000), kbit: 4000 },
        keyframes: 30,
        live: true,
        preset: "superfast",
    };
    const CONSTANT: Wanted<'_> = Wanted { rate: Rate::Bitrate(2500), ..FILE };

    fn sent(element: &str, wanted: &Wanted<'_>) -> String {
        let mut sent: Vec<String> =
            settings(element, wanted).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        sent.sort();
        sent.join(" ")
    }

    /// What would be sent; no encoder with a device behind it has been seen to take it.
    #[test]
    fn every_encoder_is_sent_quality_bitrate_keyframes_and_latency() {
        let expected = [
            (
                "nvh264enc",
                "aud=false b-frames=0 bframes=0 bitrate=0 const-quality=23 gop-size=60 max-bitrate=0 rate-control=vbr \
                 rc-lookahead=0 rc-mode=vbr zero-reorder-delay=false zerolatency=false",
                "aud=false b-frames=0 bframes=0 bitrate=0 const-quality=23 gop-size=30 max-bitrate=4000 rate-control=vbr \
                 rc-lookahead=0 rc-mode=vbr zero-reorder-delay=true zerolatency=true",
                "aud=false b-frames=0 bframes=0 bitrate=2500 gop-size=60 rate-control=cbr rc-lookahead=0 rc-mode=cbr \
                 zero-reorder-delay=false zerolatency=false",
            ),
            (
                "vah264enc",
                "aud=false b-frames=0 key-int-max=60 qpb=23 qpi=23 qpp=23 rate-control=cqp",
                "aud=false b-frames=0 bitrate=4000 key-int-max=30 rate-control=vbr",
                "aud=false b-frames=0 bitrate=2500 key-int-max=60 rate-control=cbr",
            ),
            (
                "vaapih264enc",
                "aud=false init-qp=23 keyframe-period=60 max-bframes=0 rate-control=cqp",
                "aud=false bitrate=4000 keyframe-period=30 max-bframes=0 rate-control=vbr",
                "aud=false bitrate=2500 keyframe-period=60 max-bframes=0 rate-control=cbr",
            ),
            (
                "qsvh264enc",
                "aud=false b-frames=0 gop-size=60 low-latency=false qp-b=23 qp-i=23 qp-p=23 rate-control=cqp",
                "aud=false b-frames=0 bitrate=4000 gop-size=30 low-latency=true max-bitrate=4000 rate-control=vbr",
                "aud=false b-frames=0 bitrate=2500 gop-size=60 low-latency=false rate-control=cbr",
            ),
            (
                "x264enc",
                "aud=false bframes=0 key-int-max=60 pass=qual quantizer=23 speed-preset=superfast vbv-buf-capacity=0",
                "aud=false bframes=0 bitrate=4000 key-int-max=30 pass=qual quantizer=23 speed-preset=superfast \
                 tune=zerolatency vbv-buf-capacity=1000",
                "aud=false bframes=0 bitrate=2500 key-int-max=60 speed-preset=superfast",
            ),
            (
                "openh264enc",
                "bitrate=4000000 complexity=low enable-frame-skip=false gop-size=60 qp-min=23 rate-control=quality \
                 scene-change-detection=false",
                "bitrate=4000000 complexity=low enable-frame-skip=false gop-size=30 qp-min=23 rate-control=quality \
                 scene-change-detection=false",
                "bitrate=2500000 complexity=low enable-frame-skip=false gop-size=60 qp-min=0 rate-control=bitrate \
                 scene-change-detection=false",
            ),
        ];
        for (element, file, live, constant) in expected {
            assert_eq!(sent(element, &FILE), file, "{element} to a file");
            assert_eq!(sent(element, &LIVE), live, "{element} live");
            assert_eq!(sent(element, &CONSTANT), constant, "{element} at a bitrate");
        }
        assert_eq!(sent("vah264lpenc", &LIVE), sent("vah264enc", &LIVE));
        assert!(
            sent("v4l2h264enc", &CONSTANT)
                .contains("video_bitrate_mode=1,video_bitrate=2500000,h264_i_frame_period=60")
        );
        assert!(sent("avenc_h264_omx", &CONSTANT).contains("b-frames=0 bframes=0 bitrate=2500000 gop-size=60"));
    }

    /// With the real elements, where they are installed.
    #[test]
    fn installed_encoders_have_every_property_they_are_sent() {
        gst::init().expect("GStreamer");
        let mut seen = 0;
        for element in H264.into_iter().chain(["vp9enc"]).filter(|element| is_software(element)) {
            let Ok(encoder) = gst::ElementFactory::make(element).build() else { continue };
            seen += 1;
            for (name, value) in [FILE, LIVE, CONSTANT].iter().flat_map(|wanted| settings(element, wanted)) {
                let property = encoder.find_property(name).unwrap_or_else(|| panic!("{element} has no {name}"));
                let value = glib::Value::deserialize_with_pspec(&value, &property);
                assert!(value.is_ok(), "{element} takes no {name} of {value:?}");
            }
        }
        assert!(seen > 0, "x264enc is installed");
    }

    #[test]
    fn what_another_version_of_an_encoder_lacks_is_left_out() {
        gst::init().expect("GStreamer");
        let encoder = gst::ElementFactory::make("x264enc").build().expect("it is installed");
        let foreign = [set("rc-mode", "vbr"), set("pass", "no such pass"), set("key-int-max", 77)];
        configure(&encoder, &foreign);
        assert_eq!(encoder.property::<u32>("key-int-max"), 77, "what it has is set");
    }
}
