//! `--run-dir` keeps a run, `--repeat` does it again; and no file that exists is replaced unasked.

mod program;

use std::path::Path;
use std::process::Output;

use program::{bare, json, made_clip, said, succeeds};
use tempfile::TempDir;

/// A folder with a clip.
fn with_clip() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "0.5", &[]);
    folder
}

fn detect(folder: &Path, args: &[&str]) -> Output {
    bare(folder, "detect").args(args).output().expect("it starts")
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
}

const FP32: [&str; 6] = ["--provider", "cpu", "--precision", "fp32", "--imgsz", "96"];

#[test]
fn a_kept_run_is_done_again_with_the_same_json_to_the_byte() {
    let folder = with_clip();
    let at = folder.path();
    let args =
        [&["made.mp4", "-o", "none", "--json", "runs/a/d.jsonl", "--conf", "0.01", "--run-dir", "runs/a"][..], &FP32]
            .concat();
    succeeds(&detect(at, &args));
    let first = read(at, "runs/a/d.jsonl");
    assert!(first.lines().count() > 10 && first.contains("\"confidence\""), "{first}");
    let run = json(&at.join("runs/a/run.json"));
    assert_eq!((&run["command"], &run["model"]["name"]), (&"detect".into(), &"visdrone-nano".into()));
    assert_eq!(run["model"]["sha256"], json(&at.join("runs/a/report.json"))["model"]["sha256"]);
    for library in ["streamdet", "onnxruntime", "gstreamer", "opencv"] {
        assert!(
            run["versions"][library].as_str().is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())),
            "{run}"
        );
    }
    assert!(run["machine"]["cores"].as_u64() > Some(0), "{run}");
    // Outputs that lay in its folder lie in the new one's.
    succeeds(&detect(at, &["--repeat", "runs/a", "--run-dir", "runs/b"]));
    assert!(read(at, "runs/b/d.jsonl") == first, "not the same to the byte");
    assert_eq!(json(&at.join("runs/b/report.json"))["settings"]["provider"], "cpu");
    // Without a new folder they are those of then, which exist.
    refused(&detect(at, &["--repeat", "runs/a"]), &["--json runs/a/d.jsonl exists", "--overwrite"]);
    succeeds(&detect(at, &["--repeat", "runs/a", "--json", "again.jsonl"]));
    assert!(read(at, "again.jsonl") == first);
    // The kept settings are a config file, too.
    succeeds(&detect(at, &["--config", "runs/a/config.toml", "--json", "config.jsonl"]));
    assert!(read(at, "config.jsonl") == first);
}

#[test]
fn what_is_done_again_has_no_settings_of_today() {
    let folder = with_clip();
    let at = folder.path();
    succeeds(&detect(at, &[&["made.mp4", "-o", "none", "--run-dir", "a", "--frames", "3"][..], &FP32].concat()));
    let mut again = bare(at, "detect");
    again.args(["--repeat", "a", "--show-config"]).env("STREAMDET_FRAMES", "9").env("STREAMDET_MAX_DET", "5");
    let output = again.output().expect("it starts");
    succeeds(&output);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let row =
        |key: &str| table.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap_or_default().to_owned();
    assert!(
        row("frames").contains(" 3 ") && row("max-det").contains(" 300 ") && row("source").contains("made.mp4"),
        "{table}"
    );
}

#[test]
fn a_folder_with_a_run_in_it_and_another_model_are_refused() {
    let folder = with_clip();
    let at = folder.path();
    let args = [&["made.mp4", "-o", "none", "--run-dir", "a"][..], &FP32].concat();
    succeeds(&detect(at, &args));
    refused(&detect(at, &args), &["--run-dir a: there is a run in this folder", "--overwrite"]);
    succeeds(&detect(at, &[&args[..], &["--overwrite"]].concat()));
    refused(&detect(at, &["--repeat", "nowhere"]), &["nowhere: there is no run in this folder", "--run-dir"]);
    let bench = bare(at, "bench").args(["--repeat", "a"]).output().expect("it starts");
    refused(&bench, &["this run was made by streamdet detect", "streamdet detect --repeat a"]);
    let kept = read(at, "a/run.json");
    let sha256 = json(&at.join("a/run.json"))["model"]["sha256"].as_str().expect("a checksum").to_owned();
    std::fs::write(at.join("a/run.json"), kept.replace(&sha256, &"0".repeat(64))).expect("a file");
    refused(
        &detect(at, &["--repeat", "a"]),
        &["the model is another one", &sha256, &"0".repeat(64), "--config a/config.toml"],
    );
}

#[test]
fn secrets_are_left_out_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let mut command = bare(at, "detect");
    command.args(["test:ball", "-o", "none", "--frames", "2", "--run-dir", "a", "--password", "hunter2-planted"]);
    succeeds(&command.args(FP32).env("STREAMDET_TOKEN", "token-planted").output().expect("it starts"));
    for name in ["config.toml", "run.json", "report.json"] {
        assert!(!read(at, &format!("a/{name}")).contains("planted"), "{name}");
    }
    let left_out = json(&at.join("a/run.json"))["secrets_left_out"].to_string();
    assert!(
        left_out.contains("password (STREAMDET_PASSWORD)") && left_out.contains("token (STREAMDET_TOKEN)"),
        "{left_out}"
    );
    assert!(read(at, "a/config.toml").contains("# Left out: password (STREAMDET_PASSWORD)"));
}

#[test]
fn bench_keeps_its_runs_too_and_a_comparison_is_none() {
    let folder = with_clip();
    let at = folder.path();
    let bench = |args: &[&str]| bare(at, "bench").args(args).output().expect("it starts");
    succeeds(&bench(&[&["made.mp4", "--frames", "4", "--run-dir", "a", "--real-time"][..], &FP32].concat()));
    succeeds(&bench(&["--repeat", "a", "--run-dir", "b"]));
    let settings = &json(&at.join("b/report.json"))["settings"];
    assert_eq!((&settings["frames"], &settings["real-time"]), (&"4".into(), &"true".into()));
    refused(&bench(&["made.mp4", "--run-dir", "c", "--compare", "imgsz=96,128"]), &["--run-dir", "--compare"]);
}

#[test]
fn no_file_that_exists_is_replaced_unasked() {
    let folder = with_clip();
    let at = folder.path();
    for option in ["--json", "--csv", "--report", "--html", "--trace", "--mot-output", "--events-csv"] {
        std::fs::write(at.join("x"), "precious").expect("a file");
        let args = [&["made.mp4", "-o", "none", option, "x"][..], &FP32].concat();
        refused(&detect(at, &args), &[&format!("{option} x exists already"), "--overwrite"]);
        assert_eq!(read(at, "x"), "precious");
        succeeds(&detect(at, &[&args[..], &["--overwrite"]].concat()));
        assert_ne!(read(at, "x"), "precious", "{option}");
    }
    std::fs::write(at.join("heat.png"), "precious").expect("a file");
    let args = [&["made.mp4", "-o", "none", "--heatmap", "heat.png"][..], &FP32].concat();
    refused(&detect(at, &args), &["--heatmap heat.png exists already", "--overwrite"]);
    assert_eq!(read(at, "heat.png"), "precious");
}

#[test]
fn a_recorder_that_is_started_again_writes_beside_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let args =
        [&["test:ball", "-o", "none", "--frames", "2", "--json", "d.jsonl", "--report", "r.json"][..], &FP32].concat();
    succeeds(&detect(at, &args));
    let first = read(at, "d.jsonl");
    let output = detect(at, &args);
    succeeds(&output);
    assert!(said(&output).contains("--json d.jsonl exists: writing d-2"), "{}", said(&output));
    assert_eq!(read(at, "d.jsonl"), first);
    let names = |stem: &str| {
        let files =
            std::fs::read_dir(at).expect("a folder").flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        files.filter(|name| name.starts_with(stem)).count()
    };
    assert_eq!((names("d-2"), names("r-2")), (1, 1));
}

#[test]
fn a_device_is_no_output_of_video_and_a_pattern_names_images() {
    let folder = with_clip();
    let at = folder.path();
    for device in ["/dev/null", "-"] {
        refused(&detect(at, &["made.mp4", "-o", device]), &[&format!("-o {device}: "), "-o none"]);
    }
    assert!(!Path::new("/dev/null.mkv").exists());
    std::fs::create_dir(at.join("in")).expect("a folder");
    for name in ["a", "b"] {
        let file = at.join(format!("in/{name}.png"));
        program::witness(
            "ffmpeg",
            &["-f", "lavfi", "-i", "testsrc=size=64x64", "-frames:v", "1", program::text(&file)],
        );
    }
    succeeds(&detect(at, &[&["in", "-o", "out/{stem}-x.jpg"][..], &FP32].concat()));
    let mut files: Vec<_> =
        std::fs::read_dir(at.join("out")).expect("a folder").flatten().map(|e| e.file_name()).collect();
    files.sort();
    assert_eq!(files, ["a-x.jpg", "b-x.jpg"]);
    let kind = std::fs::read(at.join("out/a-x.jpg")).expect("an image");
    assert_eq!(kind[..2], [0xFF, 0xD8], "a JPEG");
}
