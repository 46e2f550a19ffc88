//! Where a model's time goes: `streamdet profile` held against the model's published figures and against its own clock.

mod program;

use std::process::Output;

use program::{json, made_clip, said, shared, skipped, streamdet_command, succeeds, text};
use serde_json::Value;

fn profile(folder: &std::path::Path, args: &[&str]) -> Output {
    streamdet_command(folder, "profile").args(args).output().expect("it starts")
}

fn sum(rows: &Value, column: &str) -> f64 {
    rows.as_array().expect("rows").iter().filter_map(|row| row[column].as_f64()).sum()
}

#[track_caller]
fn near(found: f64, expected: f64, share: f64) {
    assert!((found - expected).abs() <= expected * share, "{found} against {expected}");
}

#[test]
fn operators_on_the_cpu_sum_to_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["--provider", "cpu", "--imgsz", "384x640", "--runs", "8", "--report", "p.json", "--trace", "t.json"];
    let output = profile(folder.path(), &args);
    succeeds(&output);
    let report = json(&folder.path().join("p.json"));
    let run_ms = report["profiled_run_ms"]["mean"].as_f64().expect("a time");
    for rows in ["types", "nodes"] {
        // However much of it a busy machine spends between them.
        let between = report["between_operators_ms"].as_f64().expect("a time");
        near(sum(&report[rows], "ms") + between, run_ms, 0.001);
        near(sum(&report[rows], "share"), report["in_operators"].as_f64().expect("a share"), 1e-6);
        near(sum(&report[rows], "gflop"), report["gflop"].as_f64().expect("counted"), 0.001);
        near(sum(&report[rows], "parameters"), report["parameters"].as_f64().expect("counted"), 0.001);
    }
    assert!(sum(&report["nodes"], "ms") <= run_ms, "no time is counted twice");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("between operators") && said.contains("rows sum to the run"), "{said}");
    assert!(report["profiler_ms"].as_f64().expect("a time") >= 0.0);
    assert_eq!(report["fused"], false);
    assert_eq!((&report["runs"], &report["warm_up_runs_excluded"]), (&8.into(), &3.into()));
    // The trace that is kept is the one that was summed up.
    let trace = json(&folder.path().join("t.json"));
    let runs: Vec<f64> = trace
        .as_array()
        .expect("events")
        .iter()
        .filter(|event| event["name"] == "model_run")
        .map(|event| event["dur"].as_f64().expect("a time") / 1000.0)
        .collect();
    // Two turns: three runs to warm up before the five and the three that count.
    assert_eq!(runs.len(), 14);
    let counted: Vec<f64> = runs[3..8].iter().chain(&runs[11..]).copied().collect();
    near(counted.iter().sum::<f64>() / 8.0, run_ms, 1e-6);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// What lies between operators is told apart: where there is little to compute, it and the profiler are much of a run.
#[test]
fn rows_sum_to_the_run_whatever_the_size() {
    let folder = tempfile::tempdir().expect("a folder");
    for imgsz in ["640", "96"] {
        let args = ["--provider", "cpu", "--imgsz", imgsz, "--runs", "5", "--report", "p.json", "--trace", "t.json"];
        succeeds(&profile(folder.path(), &args));
        let report = json(&folder.path().join("p.json"));
        let trace = json(&folder.path().join("t.json"));
        let (mut run_ms, mut between_ms) = (0.0, 0.0);
        // A run's nodes stand before it, one after the other: the gaps between them, and at both ends, are no node's.
        let mut nodes: Vec<(f64, f64)> = Vec::new();
        let mut runs = 0;
        for event in trace.as_array().expect("events") {
            let number = |key: &str| event[key].as_f64().expect("microseconds");
            let name = event["name"].as_str().expect("a name");
            if event["cat"] == "Node" && name.ends_with("_kernel_time") {
                nodes.push((number("ts"), number("ts") + number("dur")));
            } else if name == "model_run" {
                runs += 1;
                if runs > 3 {
                    let (start, end) = (number("ts"), number("ts") + number("dur"));
                    let starts = nodes.iter().map(|node| node.0).chain([end]);
                    let ends = [start].into_iter().chain(nodes.iter().map(|node| node.1));
                    between_ms += starts.zip(ends).map(|(next, before)| next - before).sum::<f64>() / 1000.0;
                    run_ms += number("dur") / 1000.0;
                }
                nodes.clear();
            }
        }
        let (run_ms, between_ms) = (run_ms / 5.0, between_ms / 5.0);
        let between = report["between_operators_ms"].as_f64().expect("a time");
        near(between, between_ms, 0.05);
        for rows in ["types", "nodes"] {
            near(sum(&report[rows], "ms") + between, run_ms, 0.1);
        }
    }
}

/// Ultralytics publishes 3.2 M parameters and 8.7 GFLOP at 640x640 for `YOLOv8n`.
#[test]
fn counts_are_those_that_are_published() {
    let Some(root) = shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let model = root.join("models/yolov8n_coco_dynamic.onnx");
    let args = ["-m", text(&model), "--provider", "cpu", "--imgsz", "640", "--runs", "1", "--report", "p.json"];
    succeeds(&profile(folder.path(), &args));
    let report = json(&folder.path().join("p.json"));
    near(report["parameters"].as_f64().expect("counted"), 3.2e6, 0.02);
    near(report["gflop"].as_f64().expect("counted"), 8.7, 0.02);
    let convolutions = report["types"].as_array().expect("types").iter().find(|row| row["op"] == "Conv").expect("some");
    near(convolutions["gflop"].as_f64().expect("counted"), 8.7, 0.02);
}

#[test]
fn a_fused_graph_is_said_to_be_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let output =
        profile(folder.path(), &["--provider", "openvino", "--imgsz", "256", "--runs", "2", "--report", "p.json"]);
    if said(&output).contains("does not run here") {
        skipped(&said(&output));
        return;
    }
    succeeds(&output);
    let report = json(&folder.path().join("p.json"));
    assert_eq!(report["fused"], true);
    let nodes = report["nodes"].as_array().expect("nodes");
    assert!(nodes.len() < 10, "{} nodes", nodes.len());
    near(sum(&report["nodes"], "gflop"), report["gflop"].as_f64().expect("counted"), 0.001);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("what happens inside is not told") && said.contains("--provider cpu"), "{said}");
}

/// Programs that start in the same moment write the same file of the cache, which then cannot be opened by one of them.
#[test]
fn a_cache_that_cannot_be_written_costs_time_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = || {
        let mut command = streamdet_command(folder.path(), "profile");
        command.args(["--provider", "openvino", "--imgsz", "96", "--runs", "1"]);
        command.env("XDG_CACHE_HOME", folder.path()).output().expect("it runs")
    };
    let output = run();
    if said(&output).contains("libonnxruntime_providers_openvino.so is not beside") {
        skipped(&said(&output));
        return;
    }
    succeeds(&output);
    let kept = std::fs::read_dir(folder.path().join("streamdet/openvino")).expect("a cache");
    let kept: Vec<_> = kept.map(|entry| entry.expect("an entry").path()).collect();
    assert!(!kept.is_empty());
    for file in kept {
        std::fs::remove_file(&file).expect("a file");
        std::os::unix::fs::symlink("/nowhere/at-all", &file).expect("a link to nothing");
    }
    succeeds(&run());
}

#[test]
fn a_source_s_frames_are_the_input() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x160", "1", &[]);
    let args = ["made.mp4", "--provider", "cpu", "--batch", "2", "--imgsz", "320", "--runs", "2", "--report", "-"];
    let output = profile(folder.path(), &args);
    succeeds(&output);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(report["model"]["input"], serde_json::json!([2, 3, 160, 320]));
    assert_eq!(report["input"], "8 frames of made.mp4");
}

#[test]
fn what_cannot_be_profiled_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("text.mp4"), "this is not video\n".repeat(100)).expect("a file");
    for (args, words) in [
        (["missing.mp4", "--runs", "1"], "missing.mp4: no such file"),
        (["text.mp4", "--runs", "1"], "text.mp4"),
        (["--trace", "nowhere/t.json", "--runs=1"], "nowhere"),
    ] {
        let output = profile(folder.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{args:?}: {}", said(&output));
    }
}
