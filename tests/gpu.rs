//! Execution providers and hardware encoders, as far as they show on a machine without a GPU: what is refused, what gives way to
//! what, what the report says. What CUDA, `TensorRT` and each encoder are sent is tested beside the code that sends it.

mod program;

use std::path::{Path, PathBuf};
use std::process::Command;

use program::{bare, json, made_clip, probe, said, skipped, streamdet, succeeds, text, witness};
use serde_json::Value;

const PHOTOGRAPH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/visdrone-nano.jpg");

/// What `detect` on a photograph says, with exit code 2.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let output = streamdet(folder.path(), &[&[PHOTOGRAPH, "-o", "none"], args].concat());
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    said(&output)
}

#[test]
fn a_precision_that_the_provider_lacks_is_refused_with_those_it_has() {
    let cpu = refused(&["--provider", "cpu", "--precision", "bf16"]);
    assert!(cpu.contains("the cpu execution provider has no bf16: it has fp32"), "{cpu}");
    assert!(cpu.contains("give --precision fp32, or --provider tensorrt"), "{cpu}");
    let openvino = refused(&["--provider", "openvino", "--precision", "fp16"]);
    assert!(openvino.contains("the openvino execution provider has no fp16: it has "), "{openvino}");
    assert!(openvino.contains("fp32") && openvino.contains("or --provider tensorrt"), "{openvino}");
    let cuda = refused(&["--provider", "cuda", "--precision", "int8"]);
    assert!(cuda.contains("the cuda execution provider has no int8: it has tf32, fp32"), "{cuda}");
    let negative = refused(&["--device=-1"]);
    assert!(negative.contains("--device"), "{negative}");
}

#[test]
fn a_precision_that_no_provider_here_has_is_not_replaced_in_silence() {
    let said = refused(&["--precision", "fp16"]);
    assert!(said.contains("the tensorrt execution provider does not run here"), "{said}");
    assert!(said.contains("make setup-cuda"), "{said}");
}

#[test]
fn the_report_says_which_provider_runs_how_many_nodes() {
    for (provider, precision) in [("cpu", "fp32"), ("openvino", "fp32")] {
        let folder = tempfile::tempdir().expect("a folder");
        let args = ["--provider", provider, "--precision", precision, "-o", "none", "--report", "r.json"];
        succeeds(&streamdet(folder.path(), &[&[PHOTOGRAPH], &args[..]].concat()));
        let report = json(&folder.path().join("r.json"));
        let ran = &report["provider"];
        assert_eq!([&ran["requested"], &ran["actual"], &ran["detail"]], [provider, provider, precision]);
        assert!(ran["nodes"][provider].as_u64().is_some_and(|nodes| nodes > 0), "{ran}");
    }
}

/// A CUDA driver that knows two GPUs and runs nothing: what the program asks of one, and what it does with the answer.
fn stand_in_driver(folder: &Path) -> Option<PathBuf> {
    let source = r#"
        #include <string.h>
        static const char *const ids[] = {"0000:81:00.0", "0000:01:00.0"};
        int cuInit(unsigned flags) { return flags; }
        int cuDeviceGetCount(int *count) { *count = 2; return 0; }
        int cuDeviceGet(int *device, int number) { *device = number + 100; return number < 0 || number > 1; }
        static int copy(char *to, int length, const char *from) { strncpy(to, from, length); return 0; }
        int cuDeviceGetPCIBusId(char *id, int length, int device) { return copy(id, length, ids[device - 100]); }
        int cuDeviceGetName(char *name, int length, int device) { return copy(name, length, device == 100 ? "Fast" : "Slow"); }
    "#;
    let (code, library) = (folder.join("cuda.c"), folder.join("libcuda.so.1"));
    std::fs::write(&code, source).expect("a file");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o", text(&library), text(&code)]).output();
    built.is_ok_and(|output| output.status.success()).then(|| folder.to_owned())
}

/// ONNX Runtime as `make setup` installed it for whoever runs the tests.
fn installed_runtime() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?;
    let library = data.join("streamdet/onnxruntime/libonnxruntime.so");
    std::fs::canonicalize(library).ok()
}

/// Not with a card, nor with ONNX Runtime's CUDA build: with the CPU build, a file of the provider's name, and a stand-in for the
/// driver.
#[test]
fn auto_takes_what_setup_cuda_installed_where_the_driver_has_a_gpu_and_says_why_it_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(library) = installed_runtime() else { return skipped("ONNX Runtime is not in the user's data folder") };
    let Some(driver) = stand_in_driver(folder.path()) else { return skipped("no C compiler") };
    let data = folder.path().join("data");
    for name in ["onnxruntime", "onnxruntime-cuda"] {
        let place = data.join("streamdet").join(name);
        std::fs::create_dir_all(&place).expect("a folder");
        std::fs::copy(&library, place.join("libonnxruntime.so.1.24.1")).expect("a copy");
    }
    std::fs::write(data.join("streamdet/onnxruntime-cuda/libonnxruntime_providers_cuda.so"), b"").expect("a file");
    let run = |command: &str, with_driver: bool, args: &[&str]| {
        let mut program = bare(folder.path(), command);
        program.env("XDG_DATA_HOME", &data).args(args);
        if with_driver {
            program.env("LD_LIBRARY_PATH", &driver);
        }
        program.output().expect("it starts")
    };
    let found = |with_driver| {
        let output = run("doctor", with_driver, &["--json"]);
        let checks: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let detail = |name: &str| {
            let check = checks["checks"].as_array().expect("a list").iter().find(|check| check["name"] == name);
            check.expect("it is checked")["detail"].as_str().expect("words").to_owned()
        };
        (detail("ONNX Runtime"), detail("NVIDIA GPUs"))
    };
    let (plain, none) = found(false);
    assert!(plain.ends_with("streamdet/onnxruntime/libonnxruntime.so.1.24.1"), "{plain}");
    assert_eq!(none, "the CUDA driver is not there, or has no GPU");
    let (with_cuda, gpus) = found(true);
    assert!(with_cuda.ends_with("streamdet/onnxruntime-cuda/libonnxruntime.so.1.24.1"), "{with_cuda}");
    assert_eq!(gpus, "--device 0: Fast at 0000:81:00.0, --device 1: Slow at 0000:01:00.0");
    let output = run("detect", true, &[PHOTOGRAPH, "-o", "none"]);
    succeeds(&output);
    let notice = "there is an NVIDIA GPU, but cpu runs the model: ";
    assert!(said(&output).contains(notice), "{}", said(&output));
}

/// `FFmpeg`'s encoder for boards with `OpenMAX` is installed everywhere, and its device nowhere else.
const NO_DEVICE: &str = "avenc_h264_omx";

fn has_encoder(name: &str) -> bool {
    let found = Command::new("gst-inspect-1.0").arg(name).output().is_ok_and(|output| output.status.success());
    if !found {
        skipped(&format!("no {name}"));
    }
    found
}

#[test]
fn an_encoder_that_cannot_open_gives_way_with_a_notice_and_alone_is_refused() {
    if !has_encoder(NO_DEVICE) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "clip.mp4", "320x240", "1", &[]);
    let several = format!("{NO_DEVICE},x264enc");
    let output = streamdet(folder.path(), &["clip.mp4", "--encoder", &several, "-o", "out.mp4"]);
    succeeds(&output);
    let notice = format!("encoded with x264enc, since others do not open ({NO_DEVICE}: ");
    assert!(said(&output).contains(&notice), "{}", said(&output));
    assert_eq!(probe(&folder.path().join("out.mp4"), "codec_name"), "h264");
    for (encoder, words) in [(NO_DEVICE, "no encoder opens: avenc_h264_omx: "), ("x265enc", "x265enc gives no H.264")] {
        if !has_encoder(encoder) {
            continue;
        }
        let output = streamdet(folder.path(), &["clip.mp4", "--encoder", encoder, "-o", "no.mp4"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
        assert!(!folder.path().join("no.mp4").exists());
    }
}

/// Where keyframes lie, seconds.
fn keyframes(file: &Path) -> Vec<f64> {
    let entries =
        ["-select_streams", "v:0", "-skip_frame", "nokey", "-show_entries", "frame=pts_time", "-of", "csv=p=0"];
    let times = witness("ffprobe", &[&entries[..], &[text(file)]].concat());
    times.lines().filter_map(|line| line.trim_matches(',').parse().ok()).collect()
}

#[test]
fn encoders_other_than_x264_keep_quality_bitrate_and_keyframes() {
    if !has_encoder("openh264enc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "clip.mp4", "640x360", "5", &[]);
    let encode = |out: &str, options: &[&str]| {
        let args = [&[text(&clip), "--stride", "50", "--encoder", "openh264enc", "-o", out], options].concat();
        succeeds(&streamdet(folder.path(), &args));
        folder.path().join(out)
    };
    let size = |file: &Path| std::fs::metadata(file).expect("a file").len();
    let (good, poor) = (encode("good.mp4", &["--crf", "18"]), encode("poor.mp4", &["--crf", "40"]));
    assert!(size(&good) > 2 * size(&poor), "{} and {} bytes", size(&good), size(&poor));
    let keyframes = keyframes(&good);
    assert!(keyframes.len() >= 3, "{keyframes:?}");
    assert!(keyframes.windows(2).all(|pair| pair[1] - pair[0] < 2.05), "{keyframes:?}");
    let (much, little) = (encode("much.mp4", &["--bitrate", "2000"]), encode("little.mp4", &["--bitrate", "200"]));
    assert!(size(&much) > 2 * size(&little), "{} and {} bytes", size(&much), size(&little));
    // No element's default of 128 kbit/s, which 640x360 is not to be had for.
    let default = encode("default.mp4", &[]);
    assert!(size(&default) > 128_000 / 8 * 5, "{} bytes", size(&default));
}
