//! `--tui`: the dashboard of the real program in a real terminal, which `tmux` is.

mod program;
mod rtsp;

use std::path::Path;
use std::process::Command;

use program::{bare, events, frames, json, json_lines, made_clip, probe, said, shared, succeeds, text};
use rtsp::{Feed, PASSWORD, ServerProcess, Told, USER};
use tempfile::TempDir;

/// What the shell says when the program has ended, before its exit code.
const ENDED: &str = "exit code";

/// A terminal with a shell, on a tmux server of its own.
struct Terminal {
    folder: TempDir,
}

impl Terminal {
    fn new((width, height): (u16, u16)) -> Self {
        let terminal = Self { folder: tempfile::tempdir().expect("a folder") };
        let (width, height) = (width.to_string(), height.to_string());
        let shell = "env -i PATH=\"$PATH\" HOME=\"$HOME\" TERM=\"$TERM\" LANG=C.UTF-8 PS1='$ ' sh";
        terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, shell]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-u", "-f", "/dev/null", "-S"]).arg(self.folder.path().join("socket")).args(args);
        let output = command.current_dir(self.folder.path()).output().expect("tmux is installed");
        assert!(output.status.success(), "tmux {args:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts `streamdet` with these arguments and what stands before it.
    fn run(&self, before: &str, args: &str) {
        let program = env!("CARGO_BIN_EXE_streamdet");
        let config = format!("XDG_CONFIG_HOME='{}/xdg'", self.folder.path().display());
        let line = format!("clear; {config} {before} '{program}' {args}; echo \"{ENDED} $?\"");
        self.tmux(&["send-keys", "-l", &line]);
        self.keys(&["Enter"]);
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn resize(&self, (width, height): (u16, u16)) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen, once it is as it should be.
    #[track_caller]
    fn wait(&self, what: &str, as_it_should_be: impl Fn(&str) -> bool) -> String {
        let look = || Some(self.screen()).filter(|screen| as_it_should_be(screen));
        events::state(|| format!("{what}:\n{}", self.screen()), look)
    }

    /// The screen, once all of this is on it.
    #[track_caller]
    fn shows(&self, words: &[&str]) -> String {
        self.wait(&format!("{words:?}"), |screen| words.iter().all(|word| screen.contains(word)))
    }

    /// Waits for the program's end, and sees that the terminal is as it was before; what is on it.
    #[track_caller]
    fn ends(&self, code: u8) -> String {
        let ended = format!("{ENDED} {code}");
        let screen = self.wait(&ended, |screen| screen.lines().any(|line| line.starts_with(ENDED)));
        assert!(screen.lines().any(|line| line == ended), "{ended}:\n{screen}");
        // With what has left it at the top.
        let screen = self.tmux(&["capture-pane", "-p", "-S", "-200"]);
        let flags = self.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(flags.trim(), "0 1", "the main screen with its cursor:\n{screen}");
        self.tmux(&["send-keys", "-l", "stty -a > stty.part; mv stty.part stty"]);
        self.keys(&["Enter"]);
        events::file(&self.path("stty"), |_| true);
        let stty = std::fs::read_to_string(self.path("stty")).expect("what the terminal is like");
        for on in ["icanon", "echo", "isig", "opost"] {
            assert!(stty.split_whitespace().any(|word| word == on), "{on}: {stty}");
        }
        screen
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// A clip that takes a while: 20 s, and every frame some time in the model.
    fn clip(&self) -> &'static str {
        made_clip(self.folder.path(), "clip.mp4", "640x360", "20", &[]);
        "detect clip.mp4 -o out.mp4 --provider cpu --imgsz 96 --delay inference=20 --tui"
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command.args(["-S"]).arg(self.folder.path().join("socket")).arg("kill-server").output();
    }
}

/// Frames in `12/599 frames`.
fn count(screen: &str) -> u64 {
    let before = screen.split(" frames · ").next().expect("a count");
    let digits = before.rsplit_once("  ").expect("a count").1.split('/').next().expect("a count").replace(' ', "");
    digits.parse().unwrap_or_else(|_| panic!("a count in {screen}"))
}

#[test]
fn rtsp_server_process() {
    rtsp::serve_as_told();
}

#[test]
fn keys_do_what_they_say() {
    let terminal = Terminal::new((80, 24));
    terminal.run("", &format!("{} --report r.json", terminal.clip()));
    let screen = terminal.shows(&[
        "● running",
        "clip.mp4",
        "end to end",
        "inference",
        "encode",
        "queue",
        "visdrone-nano",
        "cpu",
    ]);
    assert!(screen.contains("640×360") && screen.contains("29.97 fps") && screen.contains("h264 + aac"), "{screen}");
    assert_eq!(screen.lines().count(), 24, "{screen}");

    terminal.keys(&["p"]);
    terminal.shows(&["‖ paused", "p  resume"]);
    // What was on its way arrives; then nothing moves.
    let stands = |screen: &str| screen.contains("0/8 frames");
    let first = count(&terminal.wait("an empty queue", stands));
    terminal.keys(&["h"]);
    terminal.shows(&["HUD on"]);
    terminal.keys(&["+", "+", "-"]);
    terminal.shows(&["conf 0.30"]);
    terminal.keys(&["s"]);
    terminal.shows(&["notice: snapshot:"]);
    let paused = count(&terminal.screen());
    assert!(paused <= first + 2, "{first} frames, then {paused}");
    let snapshot = terminal.path(&format!("clip-{}.png", paused - 1));
    assert_eq!(probe(&snapshot, "codec_name,width,height"), "png,640,360");

    terminal.keys(&["?"]);
    terminal.shows(&["╭ keys", "exit code 0", "Ctrl-C"]);
    terminal.keys(&["Escape"]);
    terminal.wait("no help", |screen| !screen.contains("╭ keys"));
    terminal.keys(&["p"]);
    terminal.wait("more frames", |screen| screen.contains("● running") && count(screen) > paused + 10);
    terminal.keys(&["q"]);
    let screen = terminal.ends(0);
    assert!(screen.contains("→ out.mp4 (audio kept)") && screen.contains("end to end"), "{screen}");
    assert!(screen.contains("notice: paused for") && screen.contains("from 0.25 to 0.30"), "{screen}");
    assert!(screen.contains("notice: snapshot:"), "{screen}");
    let report = json(&terminal.path("r.json"));
    let (_, processed, _) = frames(&report);
    assert!(processed > paused && processed < 599, "{processed} frames");
    assert_eq!(probe(&terminal.path("out.mp4"), "nb_frames"), processed.to_string());
    // A pause of seconds is no latency.
    for stage in ["decode", "queue_wait", "encode", "end_to_end"] {
        let paused_s = report["latency_ms"][stage]["max"].as_f64().expect("a time") / 1000.0;
        assert!(paused_s < 2.0, "{stage}: {}", report["latency_ms"][stage]);
    }
}

#[test]
fn every_size_shows_what_fits_while_it_changes() {
    let terminal = Terminal::new((200, 50));
    terminal.run("", terminal.clip());
    let whole = |screen: &str, (width, height): (usize, usize)| {
        let lines: Vec<&str> = screen.lines().collect();
        lines.len() == height && lines.iter().all(|line| line.chars().count() <= width)
    };
    let screen = terminal.shows(&[
        "╭ end to end",
        "╭ frames per second",
        "╭ stages, ms",
        "╭ detections",
        "╭ log",
        "encode",
        "● running",
    ]);
    assert!(whole(&screen, (200, 50)), "{screen}");
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[4].starts_with('╭') && lines[4].ends_with('╮') && lines[48].starts_with('╰'), "{screen}");
    for (size, words, absent) in [
        ((30, 8), vec!["● running", " fps ", " ms", "queue", "q quit"], "stages"),
        ((80, 24), vec!["streamdet", "─ stages, ms", "● running", "─ log"], "╭"),
        ((12, 3), vec!["● running", "q quit"], "─"),
        ((120, 40), vec!["╭ stages, ms", "╭ log", "● running"], "╭ keys"),
        ((64, 17), vec!["─ stages, ms", "● running"], "╭"),
    ] {
        terminal.resize(size);
        let fits = |screen: &str| {
            whole(screen, (size.0.into(), size.1.into()))
                && words.iter().all(|word| screen.contains(word))
                && !screen.contains(absent)
        };
        terminal.wait(&format!("{words:?} at {size:?}"), fits);
    }
    terminal.keys(&["q"]);
    terminal.ends(0);
}

#[test]
fn a_small_terminal_and_the_interrupt_key() {
    let terminal = Terminal::new((30, 8));
    terminal.run("NO_COLOR=1", terminal.clip());
    let screen = terminal.shows(&["● running clip.mp4", " fps ", " ms", "queue", "drops", "q quit"]);
    assert_eq!(screen.lines().count(), 8, "{screen}");
    let styled = terminal.tmux(&["capture-pane", "-p", "-e"]);
    let colours = styled.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m')).any(|(codes, _)| {
        codes.split(';').any(|code| matches!(code.parse(), Ok(30..=38 | 40..=48 | 90..=97 | 100..=107)))
    });
    assert!(!colours, "{styled:?}");
    terminal.resize((80, 24));
    terminal.shows(&["─ stages, ms"]);
    terminal.keys(&["C-c"]);
    let screen = terminal.ends(130);
    assert!(screen.contains("→ out.mp4"), "{screen}");
    assert!(probe(&terminal.path("out.mp4"), "nb_frames").parse::<u64>().expect("frames") > 0);
}

#[test]
fn a_second_interrupt_leaves_at_once_and_the_terminal_is_as_it_was() {
    let terminal = Terminal::new((80, 24));
    // The worker is far from looking up when it is asked to stop.
    terminal.run("", &terminal.clip().replace("inference=20", "inference=60000"));
    // It has taken a frame: before that, there would be nothing to finish.
    terminal.shows(&["streamdet", "◌ opening", "/8 frames", "q  quit"]);
    terminal.keys(&["C-c"]);
    terminal.shows(&["finishing", "Ctrl-C quits at once"]);
    terminal.keys(&["C-c"]);
    let screen = terminal.ends(130);
    assert!(!screen.contains("opening") && !screen.contains("→ out.mp4"), "{screen}");
}

#[test]
fn what_libraries_say_goes_into_the_log() {
    let terminal = Terminal::new((80, 24));
    terminal.run("GST_DEBUG=*:4", terminal.clip());
    let screen = terminal.shows(&["● running", "INFO", "─ log"]);
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[0].starts_with(" streamdet  detect") && lines[23].starts_with(" q  quit"), "{screen}");
    let log = lines.iter().position(|line| line.starts_with("─ log")).expect("a log");
    assert!(!lines[..log].iter().any(|line| line.contains("INFO")), "{screen}");
    terminal.keys(&["q"]);
    terminal.ends(0);
}

#[test]
fn several_streams_take_turns_on_the_screen() {
    let terminal = Terminal::new((80, 24));
    made_clip(terminal.folder.path(), "first.mp4", "640x360", "20", &[]);
    made_clip(terminal.folder.path(), "second.mp4", "320x240", "20", &[]);
    std::fs::write(terminal.path("broken.mp4"), "this is not video\n".repeat(100)).expect("a file");
    let args = "bench first.mp4 second.mp4 broken.mp4 --provider cpu --imgsz 96 --delay inference=20 --tui";
    terminal.run("", args);
    terminal.shows(&[
        "● running  first.mp4",
        "640×360",
        "1 first.mp4",
        "2 second.mp4",
        "3 broken.mp4",
        "streamdet  bench",
    ]);
    terminal.keys(&["Tab"]);
    terminal.shows(&["● running  second.mp4", "320×240"]);
    terminal.keys(&["Left", "Left"]);
    terminal.shows(&["◌ opening  broken.mp4"]);
    terminal.keys(&["q"]);
    terminal.ends(0);
}

#[test]
fn a_stream_that_fails_is_shown_while_the_others_go_on() {
    let terminal = Terminal::new((80, 24));
    terminal.clip();
    std::fs::write(terminal.path("broken.mp4"), "this is not video\n".repeat(100)).expect("a file");
    terminal.run("", "bench clip.mp4 broken.mp4 --provider cpu --imgsz 96 --delay inference=20 --tui");
    terminal.shows(&["✗ 2 broken.mp4", "● running  clip.mp4", "error: broken.mp4"]);
    terminal.keys(&["q"]);
    let screen = terminal.ends(1);
    assert_eq!(screen.matches("error: broken.mp4").count(), 1, "{screen}");
}

#[test]
fn what_plays_as_live_cannot_be_paused() {
    let terminal = Terminal::new((80, 24));
    terminal.clip();
    terminal.run("", "bench clip.mp4 --real-time --provider cpu --imgsz 96 --tui");
    terminal.shows(&["● running"]);
    terminal.keys(&["p"]);
    terminal.shows(&["cannot be paused", "● running"]);
    terminal.keys(&["q"]);
    terminal.ends(0);
}

#[test]
fn a_live_stream_that_goes_away_is_looked_for() {
    let mut server = ServerProcess::start(Told::showing([Feed::new("/yard")]));
    let url = server.url("/yard").replace("rtsp://", &format!("rtsp://{USER}:{PASSWORD}@"));
    let terminal = Terminal::new((80, 24));
    terminal.run("", &format!("detect '{url}' --rtsp-transport tcp --provider cpu --imgsz 96 --report r.json --tui"));
    let screen = terminal.shows(&["● running", "320×240", "h264", "frames per second", "inference"]);
    assert!(!screen.contains(PASSWORD) && !screen.contains(USER), "{screen}");
    terminal.keys(&["p"]);
    terminal.shows(&["cannot be paused", "● running"]);
    terminal.keys(&["s"]);
    terminal.shows(&["notice: snapshot: yard-"]);
    server.kill();
    let screen = terminal.shows(&["↻ reconnecting", "disconnected:"]);
    assert!(!screen.contains(PASSWORD) && !screen.contains(USER), "{screen}");
    server.restart(None);
    terminal.shows(&["● running", "reconnects 1", "reconnected after"]);
    terminal.keys(&["q"]);
    terminal.ends(0);
    let report = json(&terminal.path("r.json"));
    assert_eq!(report["streams"][0]["reconnects"], 1);
    frames(&report);
}

/// Its window is closed, which a program that `nohup` started outlives.
#[test]
fn a_terminal_that_is_closed_is_left_alone() {
    let terminal = Terminal::new((80, 24));
    let clip = terminal.clip();
    // A script's shell: one for people ends with its terminal.
    let script = "trap '' HUP; \"$@\"; echo $? >ended; mv ended code";
    std::fs::write(terminal.path("script"), script).expect("a file");
    terminal.run("sh script", &format!("{clip} --frames 150 --report r.json"));
    terminal.shows(&["● running"]);
    terminal.tmux(&["kill-server"]);
    events::file(&terminal.path("code"), |_| true);
    assert_eq!(std::fs::read_to_string(terminal.path("code")).expect("a file"), "0\n");
    assert_eq!(frames(&json(&terminal.path("r.json"))).1, 150);
}

#[test]
fn confidence_counts_from_the_next_frame_on() {
    let Some(root) = shared() else { return };
    let terminal = Terminal::new((80, 24));
    let clip = root.join("data/video/car-detection.mp4");
    let clip = std::fs::canonicalize(clip).expect("the clip");
    let args = format!(
        "detect '{}' -o none --json f.jsonl --conf 0.05 --provider cpu --imgsz 320 --delay inference=30 --tui",
        text(&clip)
    );
    terminal.run("", &args);
    terminal.wait("some frames", |screen| screen.contains("● running") && count(screen) > 120);
    terminal.keys(&["+"; 18]);
    let at = count(&terminal.shows(&["conf 0.95"]));
    terminal.wait("more frames", |screen| count(screen) > at + 100);
    terminal.keys(&["q"]);
    terminal.ends(0);
    let lines = json_lines(&terminal.path("f.jsonl"));
    let unsure = |from: usize, to: usize| {
        let found = lines[from..to].iter().flat_map(|line| line["detections"].as_array().expect("detections"));
        found.filter(|d| d["confidence"].as_f64().expect("a number") < 0.949).count()
    };
    let at = usize::try_from(at).expect("a count");
    assert!(unsure(0, 120) > 0, "there is something to leave out");
    // What was on its way when the screen was drawn keeps what it was given.
    assert_eq!(unsure(at + 20, lines.len()), 0);
}

#[test]
fn without_a_terminal_there_are_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "clip.mp4", "320x240", "1", &[]);
    let mut command = bare(folder.path(), "detect");
    let output = command.args(["clip.mp4", "-o", "out.mp4", "--imgsz", "96", "--tui"]).output().expect("it starts");
    succeeds(&output);
    let said = said(&output);
    assert_eq!(said.matches("notice: --tui needs a terminal on standard error").count(), 1, "{said}");
    assert!(said.contains("end to end") && !said.contains('\u{1b}'), "{said}");
    assert!(Path::new(&folder.path().join("out.mp4")).exists());
}

#[test]
fn data_on_the_terminal_is_not_drawn_over() {
    let terminal = Terminal::new((200, 50));
    made_clip(terminal.folder.path(), "clip.mp4", "320x240", "1", &[]);
    terminal.run("", "detect clip.mp4 -o none --imgsz 96 --frames 3 --json - --tui");
    let screen = terminal.ends(0);
    assert!(screen.contains("cannot share the terminal") && screen.contains("\"frame\":2"), "{screen}");
}
