//! Options that take one of a few names: the names are known here, their meaning below the command line.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::counting::Anchor;
use crate::inference::{Precision, ProviderChoice};
use crate::overlay::Labels;
use crate::source::{Hdr, Transport};
use crate::track;
use crate::ui::logs::LogFormat;
use crate::ui::stats::Format;
use crate::validate::mot::Format as MotFormat;

/// A name, what it means, and the value it stands for.
type Choice<T> = (&'static str, &'static str, T);

const PROVIDERS: [Choice<ProviderChoice>; 5] = [
    ("auto", "The fastest one that works on this machine", ProviderChoice::Auto),
    ("cpu", "ONNX Runtime's own CPU kernels, float32", ProviderChoice::Cpu),
    ("openvino", "Intel OpenVINO, on the CPU", ProviderChoice::Openvino),
    ("cuda", "NVIDIA CUDA", ProviderChoice::Cuda),
    ("tensorrt", "NVIDIA TensorRT", ProviderChoice::Tensorrt),
];

const PRECISIONS: [Choice<Precision>; 6] = [
    (
        "auto",
        "fp16 with TensorRT, tf32 with CUDA, bf16 with OpenVINO where the CPU supports it, else fp32",
        Precision::Auto,
    ),
    ("fp32", "32-bit float (cpu, OpenVINO, CUDA)", Precision::Fp32),
    ("tf32", "32-bit float, multiplied as TensorFloat-32 (CUDA, TensorRT)", Precision::Tf32),
    ("bf16", "bfloat16 (OpenVINO, TensorRT)", Precision::Bf16),
    ("fp16", "16-bit float (TensorRT)", Precision::Fp16),
    ("int8", "8-bit integer where the model is quantised, else fp16 (TensorRT)", Precision::Int8),
];

const TRANSPORTS: [Choice<Transport>; 5] = [
    (
        "auto",
        "UDP, then TCP if no packet arrives, or more than 5 % of the frames lack packets for 10 s; TCP for rtsps://",
        Transport::Auto,
    ),
    ("udp", "UDP", Transport::Udp),
    ("tcp", "Interleaved in the RTSP connection", Transport::Tcp),
    ("http", "Tunnelled through HTTP", Transport::Http),
    ("multicast", "UDP multicast", Transport::Multicast),
];

const HDR_MODES: [Choice<Hdr>; 2] = [
    ("tone-map", "BT.709 with 8 bits, as every player shows it", Hdr::ToneMap),
    (
        "keep",
        "HDR with 10 bits (x264enc, vp9enc), which hardly any browser or hardware decoder plays as H.264",
        Hdr::Keep,
    ),
];

const TRACKERS: [Choice<track::Kind>; 5] = [
    ("timed", "By the time between frames, with camera motion and looks", track::Kind::Timed),
    ("byte", "ByteTrack, by frames", track::Kind::Byte),
    ("botsort", "BoT-SORT, by frames, with camera motion", track::Kind::BotSort),
    ("ocsort", "OC-SORT, by frames", track::Kind::OcSort),
    ("sort", "SORT, by frames", track::Kind::Sort),
];

const LABELS: [Choice<Labels>; 3] = [
    (
        "auto",
        "As large as befits their boxes, where they cover no other box: moved, shrunk to an initial, or left out",
        Labels::Auto,
    ),
    ("all", "All, above their boxes, whatever they cover", Labels::All),
    ("none", "None", Labels::None),
];

const ANCHORS: [Choice<Anchor>; 9] = [
    ("bottom-center", "Where people stand and wheels turn", Anchor::BottomCenter),
    ("center", "The middle of the box", Anchor::Center),
    ("top-center", "The middle of its upper edge", Anchor::TopCenter),
    ("center-left", "The middle of its left edge", Anchor::CenterLeft),
    ("center-right", "The middle of its right edge", Anchor::CenterRight),
    ("top-left", "A corner", Anchor::TopLeft),
    ("top-right", "A corner", Anchor::TopRight),
    ("bottom-left", "A corner", Anchor::BottomLeft),
    ("bottom-right", "A corner", Anchor::BottomRight),
];

const STATS_FORMATS: [Choice<Format>; 3] = [
    ("streamdet", "Frame rate, latency, drops and queue", Format::Streamdet),
    ("deepstream", "`**PERF:` lines, one column per stream", Format::Deepstream),
    ("ultralytics", "The newest frame's line, as -v prints it for every frame", Format::Ultralytics),
];

const MOT_FORMATS: [Choice<MotFormat>; 5] = [
    ("mot15", "No classes; rows of ground truth with a 0 in column 7 are left out", MotFormat::Mot15),
    ("mot16", "Classes in column 8: pedestrians, without what is found on distractors", MotFormat::Mot16),
    ("mot17", "As mot16", MotFormat::Mot16),
    ("mot20", "As mot16, with other vehicles as distractors", MotFormat::Mot20),
    ("visdrone", "Categories in column 8, ignored regions", MotFormat::VisDrone),
];

const LOG_FORMATS: [Choice<LogFormat>; 2] = [
    ("text", "Time, level, target, message and fields", LogFormat::Text),
    ("json", "One JSON object per line", LogFormat::Json),
];

/// `--provider`.
#[must_use]
pub fn provider() -> impl TypedValueParser<Value = ProviderChoice> {
    one_of(&PROVIDERS)
}

/// `--precision`.
#[must_use]
pub fn precision() -> impl TypedValueParser<Value = Precision> {
    one_of(&PRECISIONS)
}

/// `--rtsp-transport`.
#[must_use]
pub fn transport() -> impl TypedValueParser<Value = Transport> {
    one_of(&TRANSPORTS)
}

/// `--hdr`.
#[must_use]
pub fn hdr() -> impl TypedValueParser<Value = Hdr> {
    one_of(&HDR_MODES)
}

/// `--labels`.
#[must_use]
pub fn labels() -> impl TypedValueParser<Value = Labels> {
    one_of(&LABELS)
}

/// `--log-format`.
#[must_use]
pub fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    one_of(&LOG_FORMATS)
}

/// `--tracker`.
#[must_use]
pub fn tracker() -> impl TypedValueParser<Value = track::Kind> {
    one_of(&TRACKERS)
}

/// `--anchor`.
#[must_use]
pub fn anchor() -> impl TypedValueParser<Value = Anchor> {
    one_of(&ANCHORS)
}

/// `--stats-format`.
#[must_use]
pub fn stats_format() -> impl TypedValueParser<Value = Format> {
    one_of(&STATS_FORMATS)
}

/// `--mot-format`.
#[must_use]
pub fn mot_format() -> impl TypedValueParser<Value = MotFormat> {
    one_of(&MOT_FORMATS)
}

fn one_of<T: Copy + Send + Sync + 'static>(choices: &'static [Choice<T>]) -> impl TypedValueParser<Value = T> {
    let values = choices.iter().map(|(name, help, _)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(values).map(|given| {
        let chosen = choices.iter().find(|(name, ..)| *name == given);
        chosen.expect("clap takes no other name").2
    })
}
