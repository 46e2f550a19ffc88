//! What is checked, and the remedy for what is missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Check, State};
use crate::detector::{DetectError, Detector, DetectorOptions};
use crate::folders::short;
use crate::inference::{InferenceError, ProviderChoice, ProviderOptions, Runtime, cuda, inspect};
use crate::model::{Model, ModelRef, store};
use crate::overlay::opencv_version;
use crate::sink::H264;
use crate::source::cameras::Camera;
use crate::source::survey;
use crate::tensor::{InputShape, InputTensor};

/// Codecs: for people, as a media type, the package whose decoder does for it.
const CODECS: [(&str, &str, &str); 8] = [
    ("H.264", "video/x-h264", "gstreamer1.0-libav"),
    ("H.265", "video/x-h265", "gstreamer1.0-libav"),
    ("AV1", "video/x-av1", "gstreamer1.0-plugins-bad"),
    ("VP9", "video/x-vp9", "gstreamer1.0-plugins-good"),
    ("VP8", "video/x-vp8", "gstreamer1.0-plugins-good"),
    ("MPEG-2, MPEG-4", "video/mpeg", "gstreamer1.0-libav"),
    ("JPEG", "image/jpeg", "gstreamer1.0-plugins-good"),
    ("PNG", "image/png", "gstreamer1.0-plugins-good"),
];

/// Kinds of source: the elements each needs, and their package.
const SOURCES: [(&str, &[&str], &str); 6] = [
    (
        "files",
        &["filesrc", "parsebin", "qtdemux", "matroskademux", "tsdemux", "avidemux"],
        "gstreamer1.0-plugins-good and -bad",
    ),
    ("RTSP", &["rtspsrc", "rtpjitterbuffer", "rtph264depay"], "gstreamer1.0-plugins-good"),
    ("HTTP, HLS", &["souphttpsrc", "hlsdemux"], "gstreamer1.0-plugins-good and -bad"),
    ("UDP", &["udpsrc", "tsdemux"], "gstreamer1.0-plugins-good and -bad"),
    ("SRT", &["srtsrc"], "gstreamer1.0-plugins-bad"),
    ("V4L2 cameras", &["v4l2src"], "gstreamer1.0-plugins-good"),
];

/// Kinds of output file: the elements each needs, and their package.
const CONTAINERS: [(&str, &str, &str); 4] = [
    ("MP4", "mp4mux", "gstreamer1.0-plugins-good"),
    ("MOV", "qtmux", "gstreamer1.0-plugins-good"),
    ("MKV", "matroskamux", "gstreamer1.0-plugins-good"),
    ("WebM", "webmmux", "gstreamer1.0-plugins-good"),
];

impl Check {
    fn ok(group: &'static str, name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { group, name: name.into(), state: State::Ok, detail, remedy: None, essential: false }
    }

    fn missing(group: &'static str, name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { remedy, state: State::Missing, ..Self::ok(group, name, detail) }
    }

    fn none(group: &'static str, name: &str, detail: impl Into<String>) -> Self {
        Self { state: State::None, ..Self::ok(group, name, detail) }
    }

    fn essential(self) -> Self {
        Self { essential: true, ..self }
    }
}

/// The version of `GStreamer` that runs.
#[must_use]
pub fn gstreamer_version() -> String {
    let (major, minor, micro, _) = gstreamer::version();
    format!("{major}.{minor}.{micro}")
}

/// Versions of the program and of the libraries that a run uses; `runtime` runs its model, if it has one.
#[must_use]
pub fn versions(runtime: Option<&Runtime>) -> BTreeMap<String, String> {
    let onnxruntime = runtime.map(|runtime| runtime.version().unwrap_or_else(|| "unknown".into()));
    let known = [
        ("streamdet", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("gstreamer", Some(gstreamer_version())),
        ("opencv", Some(opencv_version())),
        ("onnxruntime", onnxruntime),
    ];
    known.into_iter().filter_map(|(name, version)| Some((name.to_owned(), version?))).collect()
}

/// Checks everything, in the order of the pipeline; takes seconds, since every execution provider runs the built-in model.
#[must_use]
pub fn all(onnxruntime: Option<&Path>, cameras: &[Camera]) -> Vec<Check> {
    let mut checks = sources(cameras);
    checks.extend(CODECS.into_iter().map(decoder));
    checks.extend(inference(onnxruntime));
    checks.extend(outputs());
    checks
}

fn sources(cameras: &[Camera]) -> Vec<Check> {
    const GROUP: &str = "sources";
    let mut checks: Vec<Check> =
        SOURCES.into_iter().map(|(name, needed, package)| elements(GROUP, name, needed, package)).collect();
    checks.push(if survey::has_tls() {
        Check::ok(GROUP, "TLS", "rtsps:// and https://")
    } else {
        Check::missing(GROUP, "TLS", "no rtsps:// nor https://", "apt install glib-networking")
    });
    checks.push(match cameras {
        [] => Check::none(GROUP, "cameras", "none is plugged in"),
        [one] => Check::ok(GROUP, "cameras", format!("camera:0, {}", one.name)),
        several => Check::ok(GROUP, "cameras", format!("{}; --cameras lists them", several.len())),
    });
    checks.push(page_reader(GROUP));
    checks
}

/// `yt-dlp` makes streams of web pages.
fn page_reader(group: &'static str) -> Check {
    let output = Command::new("yt-dlp").arg("--version").stdin(Stdio::null()).output();
    match output.ok().filter(|output| output.status.success()) {
        Some(output) => {
            Check::ok(group, "video pages", format!("yt-dlp {}", String::from_utf8_lossy(&output.stdout).trim()))
        }
        None => Check::missing(group, "video pages", "YouTube and the like need yt-dlp", "pipx install yt-dlp"),
    }
}

fn elements(group: &'static str, name: &str, needed: &[&str], package: &str) -> Check {
    let absent: Vec<&str> = needed.iter().copied().filter(|element| !survey::has(element)).collect();
    if absent.is_empty() {
        return Check::ok(group, name, needed[0]);
    }
    Check::missing(group, name, format!("no {}", absent.join(", ")), format!("apt install {package}"))
}

fn decoder((name, media_type, package): (&str, &str, &str)) -> Check {
    const GROUP: &str = "decoders, first choice first";
    let found = survey::decoders(media_type);
    let check = if found.is_empty() {
        Check::missing(GROUP, name, "no decoder", format!("apt install {package}"))
    } else {
        let text = |d: &survey::Decoder| if d.hardware { format!("{} (hardware)", d.name) } else { d.name.clone() };
        Check::ok(GROUP, name, found.iter().map(text).collect::<Vec<_>>().join(", "))
    };
    if media_type == "video/x-h264" { check.essential() } else { check }
}

fn inference(onnxruntime: Option<&Path>) -> Vec<Check> {
    const GROUP: &str = "inference";
    let runtime = match Runtime::load(onnxruntime, ProviderChoice::Auto) {
        Ok(runtime) => runtime,
        Err(e) => {
            let text = e.to_string();
            let (problem, remedy) = text.rsplit_once('\n').unwrap_or((&text, "run `make setup`"));
            let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
            return vec![Check::missing(GROUP, "ONNX Runtime", problem, remedy.trim()).essential()];
        }
    };
    let mut checks = vec![Check::ok(GROUP, "ONNX Runtime", short(runtime.path())).essential()];
    let built_in = ModelRef::resolve(None).map_err(|e| e.to_string()).and_then(|reference| {
        let facts = inspect(&runtime, reference.file()).map_err(|e| e.to_string())?;
        Model::build(reference, &facts).map_err(|e| e.to_string())
    });
    let model = match built_in {
        Ok(model) => model,
        Err(e) => {
            checks.push(Check::missing(GROUP, "built-in model", e, "this build is broken: build it again").essential());
            return checks;
        }
    };
    checks.push(gpus(GROUP));
    checks.extend(ProviderChoice::ALL.map(|choice| provider(GROUP, choice, &runtime, &model)));
    let (known, problems) = store::list();
    let here = known.iter().filter(|model| !matches!(model.place, store::Place::Missing)).count();
    checks.push(Check::ok(
        GROUP,
        "models",
        format!("{here} of {} known are here; `streamdet model list`", known.len()),
    ));
    for problem in problems {
        checks.push(Check::missing(GROUP, "model card", problem.to_string(), "mend or remove the card"));
    }
    checks
}

/// What `--device N` may be.
fn gpus(group: &'static str) -> Check {
    let devices = cuda::devices();
    if devices.is_empty() {
        return Check::none(group, "NVIDIA GPUs", "the CUDA driver is not there, or has no GPU");
    }
    let numbered = devices.iter().enumerate();
    let named: Vec<String> =
        numbered.map(|(number, gpu)| format!("--device {number}: {} at {}", gpu.name, gpu.pci_bus_id)).collect();
    Check::ok(group, "NVIDIA GPUs", named.join(", "))
}

/// Runs the built-in model once.
fn provider(group: &'static str, choice: ProviderChoice, runtime: &Runtime, model: &Model) -> Check {
    let provider = ProviderOptions { choice, ..ProviderOptions::default() };
    let mut detector = Detector::new(runtime, model, DetectorOptions { provider, ..DetectorOptions::of(model) });
    let shape = InputShape { batch: 1, size: model.static_size.unwrap_or(model.default_size) };
    let check = match detector.infer(&InputTensor::filled(shape, 0.5)) {
        Ok(_) => Check::ok(
            group,
            choice.name(),
            detector.provider().map_or_else(String::new, |report| match &report.notice {
                Some(notice) => notice.clone(),
                None if report.nodes.len() > 1 => report.summary(),
                None => report.detail.clone(),
            }),
        ),
        Err(e) => {
            let problem = match e {
                DetectError::Inference(InferenceError::Provider { problem, .. }) => problem,
                other => other.to_string(),
            };
            let remedy = match choice {
                ProviderChoice::Cuda | ProviderChoice::Tensorrt => "for NVIDIA: CUDA 12, cuDNN 9",
                _ => "run `make setup`",
            };
            Check::missing(group, choice.name(), problem.lines().next().unwrap_or_default(), remedy)
        }
    };
    if choice == ProviderChoice::Cpu { check.essential() } else { check }
}

fn outputs() -> Vec<Check> {
    const GROUP: &str = "outputs";
    let present: Vec<&str> = H264.into_iter().filter(|name| survey::has(name)).collect();
    let h264 = if present.is_empty() {
        Check::missing(GROUP, "H.264", "no encoder", "apt install gstreamer1.0-plugins-ugly")
    } else {
        Check::ok(GROUP, "H.264", present.join(", "))
    };
    let mut checks = vec![h264.essential(), elements(GROUP, "VP9", &["vp9enc"], "gstreamer1.0-plugins-good")];
    checks.extend(CONTAINERS.map(|(name, muxer, package)| elements(GROUP, name, &[muxer], package)));
    checks
}
