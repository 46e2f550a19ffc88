//! Outputs that fail: full disks, readers that go away, disks that hang, panics in an output's thread. What else a run writes is
//! finished.

mod program;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use program::running::Running;
use program::{
    SmallDisk, detect, events, frames, free_port, json, json_lines, made_clip, said, streamdet, text, times,
};
use streamdet::clock::now;

#[test]
fn a_full_disk_under_json_ends_the_json_and_no_video() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "4", &[]);
    let args = ["made.mp4", "-o", "o.mp4", "--json", "/dev/full", "--report", "r.json", "--imgsz", "96"];
    let output = streamdet(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(said(&output).matches("error: ").count(), 1, "{}", said(&output));
    assert!(said(&output).contains("--json /dev/full: No space left on device"), "{}", said(&output));
    assert_eq!(times(&folder.path().join("o.mp4")).len(), times(&clip).len(), "the video has every frame");
    let (received, processed, _) = frames(&json(&folder.path().join("r.json")));
    assert_eq!((received, processed), (120, 120));
    // With nothing else to write, the stream ends.
    let output = streamdet(folder.path(), &["made.mp4", "-o", "none", "--json", "/dev/full", "--imgsz", "96"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(said(&output).matches("error: ").count(), 1, "{}", said(&output));
}

/// A source that is waited for may not come for hours.
#[test]
fn a_recording_is_locked_while_its_source_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("rtsp://127.0.0.1:{}/x", free_port());
    let args = [url.as_str(), "--wait", "-o", "cam.mkv", "--imgsz", "96"];
    let first = Running::start(detect(folder.path(), &args));
    let part = folder.path().join("cam.mkv.part");
    events::state(|| first.said(), || part.exists().then_some(()));
    let second = streamdet(folder.path(), &args);
    assert_eq!(second.status.code(), Some(2), "{}", said(&second));
    assert!(said(&second).contains("cam.mkv.part is being written by another run"), "{}", said(&second));
    let (code, said) = first.interrupt();
    assert!(code == Some(130) && !said.contains("left by a run"), "{code:?} {said}");
    assert!(!part.exists(), "nothing was recorded, and nothing is left: {said}");
}

#[test]
fn detections_on_a_full_disk_are_kept_up_to_the_last_whole_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), "12k") else { return };
    for name in ["a.mp4", "b.mp4"] {
        made_clip(folder.path(), name, "320x240", "4", &[]);
    }
    let args = ["a.mp4", "b.mp4", "-o", "out/", "--json", "disk/d.jsonl", "--imgsz", "96"];
    let output = streamdet(folder.path(), &args);
    let kept = json_lines(&disk.path.join("d.jsonl.part"));
    let unmounted = disk.unmount();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(said(&output).matches("error: ").count(), 1, "{}", said(&output));
    assert!(said(&output).contains("d.jsonl.part"), "{}", said(&output));
    assert!(kept.len() > 50 && unmounted, "{} lines kept", kept.len());
    for stem in ["a", "b"] {
        let video = folder.path().join(format!("out/{stem}-annotated.mp4"));
        assert_eq!(times(&video).len(), 120, "{stem}");
        let stream = u64::from(stem == "b");
        let numbers = kept.iter().filter(|l| l["stream"] == stream).map(|l| l["frame"].as_u64().expect("a number"));
        assert!(numbers.zip(0..).all(|(frame, expected)| frame == expected), "{stem}: frames are in order");
    }
}

/// Of two recordings, the one whose disk is full ends, and the other has every frame.
#[test]
fn a_full_disk_under_one_recording_costs_the_other_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), "64k") else { return };
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "8", &["-vf", "noise=alls=60:allf=t"]);
    let args = ["made.mp4", "-o", "disk/full.mkv", "-o", "o.mp4", "--report", "r.json", "--imgsz", "96"];
    let output = streamdet(folder.path(), &args);
    let kept = disk.path.join("full.mkv.part").metadata().expect("what was written").len();
    let unmounted = disk.unmount();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(said(&output).matches("error: ").count(), 1, "{}", said(&output));
    assert!(said(&output).contains("disk/full.mkv: the disk is full"), "{}", said(&output));
    assert!(kept > 20_000 && unmounted, "{kept}");
    assert_eq!(times(&folder.path().join("o.mp4")).len(), times(&clip).len());
    let (received, processed, _) = frames(&json(&folder.path().join("r.json")));
    assert_eq!((received, processed), (240, 240));
}

/// A folder that cannot be had for a while, as a network's or a disk's: the playlist goes on meanwhile, and the recording afterwards.
#[test]
fn a_recording_of_a_live_stream_that_failed_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let args =
        ["test:ball", "-o", "out/cam.mkv", "--segment", "1s", "-o", "hls:h/", "--imgsz", "96", "--report", "r.json"];
    std::fs::create_dir(folder.path().join("h")).expect("a folder");
    let run = Running::start(detect(folder.path(), &args));
    let (out, away) = (folder.path().join("out"), folder.path().join("away"));
    events::file(&folder.path().join("h/index.m3u8"), |list| !list.is_empty());
    std::fs::rename(&out, &away).expect("it is there");
    // Were there nothing, it would be created.
    std::fs::write(&out, "no folder").expect("a file");
    run.wait_for("the other outputs go on", 1);
    std::fs::remove_file(&out).expect("it is there");
    std::fs::create_dir(&out).expect("a folder");
    run.wait_for("is open again", 1);
    let is_there =
        || std::fs::read_dir(&out).expect("it").flatten().find(|e| e.path().extension() == Some("mkv".as_ref()));
    let segment = events::state(|| "no segment".into(), is_there);
    let (code, said) = run.interrupt();
    assert_eq!(code, Some(1), "{said}");
    assert!(times(&segment.path()).len() > 10, "{said}");
    let listed = std::fs::read_to_string(folder.path().join("h/index.m3u8")).expect("a list");
    assert!(!listed.contains("DISCONTINUITY") && listed.contains("ENDLIST"), "{listed}");
    let report = json(&folder.path().join("r.json"));
    assert_eq!(report["streams"][0]["frames"]["dropped"]["failed"], 0, "{}", report["streams"][0]["frames"]);
}

/// What ended as a `.part` is named, and the segment after it is finished all the same.
#[test]
fn a_segment_that_cannot_take_its_name_costs_the_one_after_it_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    std::fs::create_dir(&out).expect("a folder");
    let args = ["test:ball", "-o", "out/cam.mkv", "--segment", "2s", "--imgsz", "96", "--report", "r.json"];
    let mut run = Running::start(detect(folder.path(), &args));
    let named = |ending: &str| {
        let files = std::fs::read_dir(&out).expect("it is there").flatten().map(|entry| entry.path());
        files.filter(|path| path.extension() == Some(ending.as_ref())).collect::<Vec<_>>()
    };
    let part = events::state(|| "no segment".into(), || named("part").pop());
    let taken = part.with_extension("");
    std::fs::write(&taken, "mine").expect("a file");
    assert_eq!(run.ended(), Some(1), "{}", run.said());
    let said = run.said();
    assert!(
        said.contains("something else took this name meanwhile")
            && said.contains(text(part.file_name().map(Path::new).expect("a name"))),
        "{said}"
    );
    assert_eq!(named("part"), std::slice::from_ref(&part), "{said}");
    assert!(times(&part).len() > 30, "what was written plays");
    let whole: Vec<_> = named("mkv").into_iter().filter(|path| *path != taken).collect();
    assert_eq!(whole.len(), 1, "{said}");
    assert!(times(&whole[0]).len() > 30, "{said}");
    assert_eq!(std::fs::read(&taken).expect("it"), b"mine");
}

#[test]
fn a_reader_of_detections_that_goes_away_ends_the_run_quietly() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "long.mp4", "320x240", "60", &["-preset", "ultrafast"]);
    let args = ["long.mp4", "-o", "o.mp4", "--json", "-", "--report", "r.json", "--imgsz", "96"];
    let mut child =
        detect(folder.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.next().expect("a line").expect("text").contains("\"frame\":0"));
    drop(lines);
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("error"), "{}", said(&output));
    let (_, processed, _) = frames(&json(&folder.path().join("r.json")));
    assert!(processed < 1700, "it ends early: {processed}");
    assert_eq!(times(&folder.path().join("o.mp4")).len() as u64, processed);
}

#[test]
fn standard_error_that_takes_nothing_costs_no_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    for verbosity in ["-v", "-vv"] {
        let closed = std::io::pipe().map(|(_, writer)| Stdio::from(writer)).expect("a pipe");
        let full = std::fs::File::options().write(true).open("/dev/full").map(Stdio::from).expect("a device");
        for stderr in [closed, full] {
            let args = ["made.mp4", "-o", "o.mp4", "--overwrite", "--imgsz", "96", verbosity];
            let status = detect(folder.path(), &args).stderr(stderr).status().expect("it starts");
            assert_eq!(status.code(), Some(0), "{verbosity}");
            assert_eq!(times(&folder.path().join("o.mp4")).len(), times(&clip).len(), "{verbosity}");
        }
    }
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
    let refused = detect(folder.path(), &["none.mp4"]).stderr(full).status().expect("it starts");
    assert_eq!(refused.code(), Some(2), "an error that cannot be said has its exit code");
}

#[test]
fn a_pipe_that_nothing_reads_is_waited_for_until_a_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    for option in ["--json", "--csv", "--trace", "--html", "--report"] {
        let args = ["made.mp4", "-o", "o.mp4", "--overwrite", option, "pipe", "--imgsz", "96"];
        let mut run = Running::start(detect(folder.path(), &args));
        run.wait_for("  waiting for a reader of pipe", 1);
        run.signal("INT");
        // The report is written at the end of a run that has done its work.
        let whole = option == "--report";
        assert_eq!(run.ended(), Some(130), "{option}: {}", run.said());
        let unread = format!("{option} pipe: nothing reads this pipe\n  start its reader first");
        assert!(run.said().contains(&unread), "{option}: {}", run.said());
        assert_eq!(folder.path().join("o.mp4").exists(), whole, "{option}");
        assert!(pipe.exists() && !folder.path().join("o.mp4.part").exists(), "{option}");
    }
}

/// A pipe that nobody reads, held open.
fn unread_pipe(path: &Path) -> std::fs::File {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    std::fs::File::options().read(true).write(true).open(path).expect("a pipe")
}

#[test]
fn a_file_that_hangs_is_named_and_every_other_output_is_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let noise = ["-preset", "ultrafast", "-vf", "noise=alls=60:allf=t"];
    for name in ["a.mp4", "b.mp4"] {
        made_clip(folder.path(), name, "320x240", "5", &noise);
    }
    // Stands for a disk that does not answer: writing the second segment does not return.
    std::fs::create_dir(folder.path().join("out")).expect("a folder");
    // Of one year, the second has a number.
    let year = jiff::Timestamp::now().strftime("%Y").to_string();
    let segment = |stem: &str, number: &str| folder.path().join(format!("out/{stem}-{year}{number}.mkv"));
    let _pipe = unread_pipe(&folder.path().join(format!("out/a-{year}-2.mkv.part")));
    let args =
        ["a.mp4", "b.mp4", "-o", "out/{stem}-%Y.mkv", "--segment", "3s", "-o", "hls:{stem}-hls/", "--imgsz", "96"];
    let start = now();
    let output = streamdet(folder.path(), &args);
    let took = now().since(start);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(said(&output).matches("error: ").count(), 1, "{}", said(&output));
    assert!(said(&output).contains(&format!("out/a-{year}-2.mkv: took nothing for 10 s")), "{}", said(&output));
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert_eq!(times(&segment("a", "")).len(), 90);
    let whole: usize = ["", "-2"].map(|number| times(&segment("b", number)).len()).iter().sum();
    assert_eq!(whole, 150, "the other stream is whole");
    for stem in ["a", "b"] {
        let list = folder.path().join(stem.to_owned() + "-hls/index.m3u8");
        assert!(std::fs::read_to_string(&list).expect("a list").ends_with("#EXT-X-ENDLIST\n"), "{stem}");
        assert_eq!(times(&list).len(), 150, "{stem}: what else it goes to is finished");
    }
}

#[test]
fn detections_that_nobody_reads_do_not_hold_up_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = unread_pipe(&folder.path().join("d.jsonl"));
    made_clip(folder.path(), "long.mp4", "320x240", "60", &["-preset", "ultrafast"]);
    let args = ["long.mp4", "-o", "o.mp4", "--json", "d.jsonl", "--report", "r.json", "--imgsz", "96", "-v"];
    let mut run = Running::start(detect(folder.path(), &args));
    // As much as the pipe holds, and what waits before it.
    run.wait_for("(frame 710/", 1);
    run.signal("INT");
    assert_eq!(run.ended(), Some(1), "{}", run.said());
    let log = run.said();
    let errors: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("--json d.jsonl: took nothing for"), "{errors:?}");
    let (_, processed, _) = frames(&json(&folder.path().join("r.json")));
    assert_eq!(times(&folder.path().join("o.mp4")).len() as u64, processed, "the video is finished");
    drop(pipe);
}

#[test]
fn a_panic_in_an_outputs_thread_is_an_error_of_its_stream_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.mp4", "b.mp4"] {
        made_clip(folder.path(), name, "320x240", "4", &[]);
    }
    for (thread, turn, whole) in [("encoded", 40, 1), ("mux-end", 1, 1), ("json", 20, 2)] {
        let args = ["a.mp4", "b.mp4", "-o", "out/", "--overwrite", "--json", "d.jsonl", "--imgsz", "96"];
        let mut command = detect(folder.path(), &args);
        let output = command.env("STREAMDET_TEST_PANIC", format!("{thread}:{turn}")).output().expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{thread}: {}", said(&output));
        assert!(said(&output).contains("error: "), "{thread}: {}", said(&output));
        assert!(said(&output).contains(&format!("thread {thread} panicked: planted")), "{thread}: {}", said(&output));
        if thread == "json" {
            assert!(said(&output).contains("--json d.jsonl: "), "{}", said(&output));
            assert!(said(&output).contains("kept in d.jsonl.part"), "{}", said(&output));
            assert!(json_lines(&folder.path().join("d.jsonl.part")).len() >= 19, "lines that were taken are kept");
        }
        let videos = ["a", "b"].map(|stem| folder.path().join(format!("out/{stem}-annotated.mp4")));
        let complete = videos.iter().filter(|video| video.exists() && times(video).len() == 120).count();
        assert!(complete >= whole, "{thread}: {complete} of 2 are complete: {}", said(&output));
        std::fs::remove_dir_all(folder.path().join("out")).expect("the folder");
    }
}

/// Whoever tidies up takes the folder of the day, with what is being written in it: what comes next is there.
#[test]
fn a_folder_that_is_deleted_during_a_run_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let day = folder.path().join("day");
    let outputs = ["-o", "day/seg/cam.mkv", "--segment", "1s", "-o", "hls:day/live/", "--save-txt", "day/labels"];
    let run = Running::start(detect(folder.path(), &[&["test:ball", "--imgsz", "96"][..], &outputs].concat()));
    let segments = || glob::glob(text(&day.join("seg/*.mkv"))).expect("a pattern").flatten().collect::<Vec<_>>();
    let list = day.join("live/index.m3u8");
    events::state(|| "no segment".into(), || (!segments().is_empty() && list.exists()).then_some(()));
    // What is written meanwhile is in its way.
    events::state(|| "it stays".into(), || std::fs::remove_dir_all(&day).is_ok().then_some(()));
    let labels = || std::fs::read_dir(day.join("labels")).is_ok_and(|labels| labels.count() > 30);
    events::state(|| "nothing is written".into(), || (segments().len() > 1 && list.exists() && labels()).then_some(()));
    let (code, said) = run.interrupt();
    assert_eq!(code, Some(130), "{said}");
    assert!(
        said.contains("what was written before was moved or deleted meanwhile") && !said.contains("error:"),
        "{said}"
    );
    for segment in segments() {
        assert!(!times(&segment).is_empty(), "{}", segment.display());
    }
    let list = std::fs::read_to_string(list).expect("a list");
    let named: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(!named.is_empty() && named.iter().all(|name| day.join("live").join(name).exists()), "{list}");
}
