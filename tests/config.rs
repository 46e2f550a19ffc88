//! Settings as a user gives them: flags, environment, config file, defaults.

mod program;

use std::path::Path;
use std::process::Output;

use program::bare;
use tempfile::TempDir;

/// `streamdet detect` in `folder`, with no settings but those given here.
fn detect(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    bare(folder, "detect").envs(environment.iter().copied()).args(args).output().expect("it starts")
}

fn folder_with(config: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("c.toml"), config).expect("a file");
    folder
}

/// Value and origin of `key` in the table of `--show-config`.
fn shown(output: &Output, key: &str) -> (String, String) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let row = text.lines().find(|line| line.split_whitespace().next() == Some(key)).expect("a row of that key");
    let (value, origin) = row[key.len()..].trim_start().split_once("  ").expect("three columns");
    (value.to_owned(), origin.trim_start().to_owned())
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let folder = folder_with("stride = 2\n");
    let (file, variable) = (["--config", "c.toml", "--show-config"], [("STREAMDET_STRIDE", "3")]);
    let stride =
        |args: &[&str], environment: &[(&str, &str)]| shown(&detect(folder.path(), args, environment), "stride");
    assert_eq!(stride(&["--show-config"], &[]), pair("1", "default"));
    assert_eq!(stride(&file, &[]), pair("2", "c.toml:1"));
    assert_eq!(stride(&file, &variable), pair("3", "environment STREAMDET_STRIDE"));
    assert_eq!(stride(&[&file[..], &["--stride", "4"]].concat(), &variable), pair("4", "flag"));
}

#[test]
fn an_option_that_is_given_several_times_is_a_list_in_the_file() {
    let folder = folder_with("output = [\"a.mkv\", \"rtsp://:8554/a\"]\nsegment = \"10m\"\n");
    let said = detect(folder.path(), &["--config", "c.toml", "--show-config"], &[]);
    let (outputs, origin) = shown(&said, "output");
    assert!(outputs.contains("a.mkv") && outputs.contains("rtsp://:8554/a"), "{outputs}");
    assert_eq!(origin, "c.toml:1");
    assert_eq!(shown(&said, "segment").1, "c.toml:2");
}

#[test]
fn an_option_that_requires_another_may_stand_beside_it_in_the_file() {
    let folder = folder_with("keep = \"7d\"\nsegment = \"10m\"\ntarget-latency = 30\ntile = \"2x2\"\n");
    let said = detect(folder.path(), &["--config", "c.toml", "--show-config"], &[]);
    assert_eq!(shown(&said, "keep"), pair("7d", "c.toml:1"));
    assert_eq!(shown(&said, "target-latency"), pair("30", "c.toml:3"));
    let beside = detect(folder.path(), &["--config", "c.toml", "--show-config"], &[("STREAMDET_KEEP", "1d")]);
    assert_eq!(shown(&beside, "keep"), pair("1d", "environment STREAMDET_KEEP"));
}

#[test]
fn of_a_flag_that_is_given_twice_the_last_one_counts() {
    let folder = folder_with("");
    let args =
        ["x.mp4", "--show-config", "--imgsz", "640", "-o", "a.mkv", "--imgsz", "96", "-o", "b.mkv", "--hud", "--hud"];
    let said = detect(folder.path(), &args, &[]);
    assert_eq!(shown(&said, "imgsz").0, "96");
    let outputs = shown(&said, "output").0;
    assert!(outputs.contains("a.mkv") && outputs.contains("b.mkv"), "{outputs}");
}

#[test]
fn a_switch_can_be_turned_off_by_each_higher_layer() {
    let folder = folder_with("hud = true\n");
    let file = ["--config", "c.toml", "--show-config"];
    let hud = |args: &[&str], environment: &[(&str, &str)]| shown(&detect(folder.path(), args, environment), "hud");
    assert_eq!(hud(&file, &[]), pair("true", "c.toml:1"));
    assert_eq!(hud(&file, &[("STREAMDET_HUD", "")]), pair("true", "c.toml:1"));
    assert_eq!(hud(&file, &[("STREAMDET_HUD", "0")]), pair("0", "environment STREAMDET_HUD"));
    assert_eq!(hud(&[&file[..], &["--hud=false"]].concat(), &[]), pair("false", "flag"));
    assert_eq!(hud(&[&file[..], &["--hud"]].concat(), &[("STREAMDET_HUD", "no")]), pair("true", "flag"));
}

#[test]
fn what_excludes_a_setting_of_a_lower_layer_beats_it() {
    let folder = folder_with("crf = 20\n");
    let output = detect(folder.path(), &["--config", "c.toml", "--show-config", "--bitrate", "900"], &[]);
    assert_eq!(shown(&output, "bitrate"), pair("900", "flag"));
    assert_eq!(shown(&output, "crf"), pair("-", "not used with bitrate"));
    let output = detect(folder.path(), &["--config", "c.toml", "--show-config"], &[("STREAMDET_BITRATE", "900")]);
    assert_eq!(shown(&output, "crf"), pair("-", "not used with bitrate"));
}

#[test]
fn labels_are_a_setting_that_hide_labels_yields_to() {
    let folder = folder_with("hide-labels = true\n");
    let file = ["--config", "c.toml", "--show-config"];
    let output = detect(folder.path(), &["--show-config"], &[]);
    assert_eq!(shown(&output, "labels"), pair("auto", "default"));
    assert_eq!(shown(&detect(folder.path(), &file, &[]), "hide-labels"), pair("true", "c.toml:1"));
    let output = detect(folder.path(), &file, &[("STREAMDET_LABELS", "all")]);
    assert_eq!(shown(&output, "labels"), pair("all", "environment STREAMDET_LABELS"));
    assert_eq!(shown(&output, "hide-labels"), pair("false", "not used with labels"));
    let both = detect(folder.path(), &["x.mp4", "--hide-labels", "--labels", "all"], &[]);
    assert_eq!(both.status.code(), Some(2));
    let said = detect(folder.path(), &["x.mp4", "--labels", "some"], &[]);
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.code() == Some(2) && text.contains("auto, all, none"), "{text}");
}

#[test]
fn the_users_file_is_found_and_another_can_be_named() {
    let folder = folder_with("frames = 9\n");
    let home = folder.path().join("xdg/streamdet");
    std::fs::create_dir_all(&home).expect("a folder");
    std::fs::write(home.join("config.toml"), "frames = 7\n").expect("a file");
    let frames =
        |args: &[&str], environment: &[(&str, &str)]| shown(&detect(folder.path(), args, environment), "frames");
    let (value, origin) = frames(&["--show-config"], &[]);
    assert_eq!(value, "7");
    assert!(origin.ends_with("xdg/streamdet/config.toml:1"), "{origin}");
    assert_eq!(frames(&["--show-config"], &[("STREAMDET_CONFIG", "c.toml")]), pair("9", "c.toml:1"));
    assert_eq!(frames(&["--show-config", "--config", "c.toml"], &[("STREAMDET_CONFIG", "no")]).0, "9");
    assert_eq!(frames(&["--show-config", "--config", "/dev/null"], &[]), pair("-", "default"));
}

#[test]
fn the_table_is_aligned_names_the_card_and_hides_secrets() {
    let folder =
        folder_with("output = \"rtsp://me:hunter2@host/x?token=abc\"\nclasses = [\"car\", 3]\nimgsz = \"384x640\"\n");
    let output = detect(folder.path(), &["--config", "c.toml", "--show-config"], &[]);
    assert_eq!(shown(&output, "conf"), pair("0.25", "model card"));
    assert_eq!(shown(&output, "threads"), pair("one per core", "default"));
    assert_eq!(shown(&output, "output"), pair("rtsp://***@host/x?***", "c.toml:1"));
    assert_eq!(shown(&output, "classes"), pair("car,3", "c.toml:2"));
    assert_eq!(shown(&output, "imgsz"), pair("384x640", "c.toml:3"));
    assert!(output.stderr.is_empty());
    let text = String::from_utf8_lossy(&output.stdout);
    let column = text.lines().next().and_then(|head| head.find("from")).expect("a head");
    assert!(text.lines().all(|row| row.as_bytes()[column - 1] == b' ' && row.as_bytes()[column] != b' '), "{text}");
}

#[test]
fn the_file_reaches_the_run() {
    let folder = folder_with("output = \"none\"\nonnxruntime = \"nowhere\"\n");
    std::fs::write(folder.path().join("a.mp4"), "").expect("a file");
    let output = detect(folder.path(), &["--config", "c.toml", "--", "a.mp4"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nowhere"), "{said}");
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    for (config, said) in [
        ("# mine\nconf = 0.3\nmax_det = 5\n", "error: c.toml:3: unknown key `max_det`\n  the nearest is `max-det`"),
        ("quiet = true\n", "c.toml:1: unknown key `quiet`\n  --quiet belongs on the command line"),
        ("[detekt]\nconf = 0.3\n", "c.toml:1: unknown table `detekt`\n  the nearest is [detect]"),
        ("[detect]\nconv = 0.3\n", "c.toml:2: unknown key `conv`\n  the nearest is `conf`"),
        ("[stream]\nname = \"gate\"\n", "c.toml:1: one stream is a list of one\n  write [[stream]]"),
        ("\nconf = \"0.3\"\n", "c.toml:2: conf = \"0.3\": expected a number, without quotes\n"),
        ("conf = 1.5\n", "c.toml:1: conf = 1.5: give a number from 0 to 1\n"),
        ("batch = 65\n", "c.toml:1: batch = 65: 65 is not in 1..=64\n"),
        ("threads = -1\n", "c.toml:1: threads = -1: expected a whole number, not below 0\n"),
        ("hud = 1\n", "c.toml:1: hud = 1: expected true or false\n"),
        ("json = true\n", "c.toml:1: json = true: expected text in quotes\n"),
        ("classes = { car = 1 }\n", "c.toml:1: classes = { car = 1 }: expected a list"),
        ("provider = \"gpu\"\n", "c.toml:1: provider = gpu: expected one of auto, cpu, openvino"),
        ("crf = 20\nbitrate = 900\n", "c.toml:2: `bitrate` cannot be combined with `crf` (c.toml:1)\n  keep one"),
        ("model = yolov8n\n", "c.toml:1: "),
    ] {
        let folder = folder_with(config);
        // Overruled or not, and with or without a source.
        for args in [vec!["--show-config"], vec!["a.mp4", "--conf", "0.5"]] {
            let output = detect(folder.path(), &[&["--config", "c.toml"], &args[..]].concat(), &[]);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{config}: {text}");
            assert!(text.contains(said), "{config}: {text}");
            assert!(text.lines().nth(1).is_some_and(|remedy| remedy.starts_with("  ")), "{config}: {text}");
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn the_environment_is_refused_with_the_variable() {
    let folder = folder_with("");
    let output = detect(folder.path(), &["a.mp4"], &[("STREAMDET_BATCH", "many")]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("environment STREAMDET_BATCH: batch = many: expected a whole number"), "{text}");
}

#[test]
fn a_config_file_that_was_named_must_be_there() {
    let folder = folder_with("");
    for (args, environment) in
        [(vec!["a.mp4", "--config", "no.toml"], vec![]), (vec!["a.mp4"], vec![("STREAMDET_CONFIG", "no.toml")])]
    {
        let output = detect(folder.path(), &args, &environment);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.starts_with("error: no.toml: No such file"), "{text}");
    }
}

#[test]
fn without_show_config_a_source_is_required() {
    let folder = folder_with("");
    let output = detect(folder.path(), &["--conf", "0.5"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("<SOURCE>"));
}

#[test]
fn a_table_of_a_command_is_for_it_alone() {
    let folder =
        folder_with("stride = 2\n[detect]\nstride = 3\n[bench]\nrounds = 5\n[[stream]]\nname = \"gate\"\nno = 1\n");
    let shown_by = |command: &str| {
        bare(folder.path(), command).args(["--config", "c.toml", "--show-config"]).output().expect("it starts")
    };
    assert_eq!(shown(&shown_by("detect"), "stride"), pair("3", "c.toml:3"));
    assert_eq!(shown(&shown_by("bench"), "stride"), pair("2", "c.toml:1"));
    assert_eq!(shown(&shown_by("bench"), "rounds"), pair("5", "c.toml:5"));
    let variable = detect(folder.path(), &["--config", "c.toml", "--show-config"], &[("STREAMDET_STRIDE", "4")]);
    assert_eq!(shown(&variable, "stride"), pair("4", "environment STREAMDET_STRIDE"));
}

#[test]
fn val_takes_its_own_thresholds_from_its_own_table_only() {
    let folder = folder_with("conf = 0.4\n[val]\nconf = 0.001\n");
    let output = bare(folder.path(), "val").args(["--config", "c.toml", "--show-config"]).output().expect("it starts");
    assert_eq!(shown(&output, "conf"), pair("0.001", "c.toml:3"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let folder = folder_with("conv = 1\nbatch = 65\nhud = 1\n");
    let output = detect(folder.path(), &["a.mp4", "--config", "c.toml"], &[("STREAMDET_STRIDE", "x")]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    for place in
        ["error: c.toml:1: ", "error: c.toml:2: ", "error: c.toml:3: ", "error: environment STREAMDET_STRIDE: "]
    {
        assert!(text.contains(place), "{text}");
    }
}

#[test]
fn sources_can_stand_in_the_file() {
    let folder = folder_with("source = [\"nowhere-1.mp4\", \"nowhere-2.mp4\"]\noutput = \"none\"\n");
    let output = detect(folder.path(), &["--config", "c.toml", "--show-config"], &[]);
    assert_eq!(shown(&output, "source"), pair("nowhere-1.mp4,nowhere-2.mp4", "c.toml:1"));
    let said = detect(folder.path(), &["--config", "c.toml"], &[]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("nowhere-1.mp4: no such file"));
    // Those of the command line take their place.
    let said = detect(folder.path(), &["other.mp4", "--config", "c.toml"], &[]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(text.contains("other.mp4: no such file") && !text.contains("nowhere"), "{text}");
    let wrong = folder_with("source = 5\n");
    let said = detect(wrong.path(), &["--config", "c.toml"], &[]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(text.contains("c.toml:1: source is no source: integer"), "{text}");
}

#[test]
fn track_false_overrules_a_tracker_of_a_lower_layer_and_yields_to_one_of_a_higher() {
    let folder = folder_with("tracker = \"byte\"\ntrails = \"3s\"\n");
    let file = ["--config", "c.toml", "--show-config"];
    let row = |args: &[&str], key: &str| shown(&detect(folder.path(), &[&file[..], args].concat(), &[]), key);
    assert_eq!(row(&[], "track"), pair("true", "implied by tracker"));
    assert_eq!(row(&["--track=false"], "track"), pair("false", "flag"));
    assert_eq!(row(&["--track=false"], "tracker"), pair("timed", "default"));
    assert_eq!(row(&["--track=false"], "trails"), pair("-", "default"));
    assert_eq!(row(&["--track=false", "--zone", "a=0,0,1,0,1,1"], "track"), pair("true", "implied by zone"));
    let off = folder_with("track = false\n");
    let output = detect(off.path(), &[&file[..], &["--tracker", "sort"]].concat(), &[]);
    assert_eq!(shown(&output, "track"), pair("true", "implied by tracker"));
}

#[test]
fn hide_labels_false_speaks_against_having_none_and_leaves_other_choices() {
    let file = ["--config", "c.toml", "--show-config", "--hide-labels=false"];
    let none = folder_with("labels = \"none\"\n");
    assert_eq!(shown(&detect(none.path(), &file, &[]), "labels"), pair("auto", "default"));
    let all = folder_with("labels = \"all\"\n");
    assert_eq!(shown(&detect(all.path(), &file, &[]), "labels"), pair("all", "c.toml:1"));
}

#[test]
fn show_config_says_what_is_not_used() {
    let folder = folder_with("");
    let output = detect(folder.path(), &["--show-config", "--detections", "d.jsonl"], &[]);
    assert_eq!(shown(&output, "conf"), pair("0", "default with detections"));
    let output = detect(folder.path(), &["--show-config", "--tracker", "byte"], &[]);
    assert_eq!(shown(&output, "track-buffer"), pair("3s", "not used with tracker byte"));
    let output = detect(folder.path(), &["--show-config", "--track"], &[]);
    assert_eq!(shown(&output, "track-buffer"), pair("3s", "default"));
}

#[test]
fn of_a_list_with_commas_the_last_one_counts_and_what_is_repeatable_adds_up() {
    let folder = folder_with("classes = [\"bus\", \"van\"]\n");
    let args =
        ["--config", "c.toml", "--show-config", "--classes", "a,b", "--classes", "c,d", "-o", "a.mkv", "-o", "b.mkv"];
    let output = detect(folder.path(), &args, &[]);
    assert_eq!(shown(&output, "classes"), pair("c,d", "flag"));
    assert_eq!(shown(&output, "output"), pair("a.mkv,b.mkv", "flag"));
    assert_eq!(shown(&detect(folder.path(), &args[..3], &[]), "classes"), pair("bus,van", "c.toml:1"));
}
