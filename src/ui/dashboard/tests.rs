//! The dashboard at sizes from nothing to the widest, without a terminal.

use std::sync::Arc;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::draw::draw;
use super::log::Log;
use super::scene::{Facts, Scene};
use super::state::State;
use super::state::tests::{open, state};
use super::theme::Theme;
use crate::controls::Controls;
use crate::latency::tests::frame_at;
use crate::stream::{Dropped, StreamId};

/// A run with something of everything.
fn busy(names: &[&str]) -> State {
    let state = state(names);
    open(&state, 0);
    for n in 0..300 {
        state.record(&frame_at(n));
    }
    let dropped = Dropped { queue_full: 10, corrupt: 2, ..Dropped::default() };
    state.dropped(StreamId(0), dropped, crate::clock::HostTime::default());
    state.queue(3, 8);
    state
}

fn scene(state: &State, (width, height): (u16, u16), colours: bool, help: bool) -> Terminal<TestBackend> {
    let classes: Arc<[String]> = ["car", "pedestrian", "日本語", "x"].map(str::to_owned).into();
    let facts = Facts { command: "detect", model: "visdrone-nano · 10 classes · 640".into(), classes };
    let log = Log::default();
    for n in 0..40 {
        log.line(&format!("  notice: number {n} of something that is long enough to need more than a line of it"));
    }
    let controls = Controls::attended(0.25, true, 3);
    let view = state.view(crate::clock::now().after(Duration::from_secs(5)), 0);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen in memory");
    let scene = Scene {
        facts: &facts,
        view: &view,
        controls: &controls,
        log: &log,
        theme: Theme::new(colours),
        elapsed: Duration::from_secs(75),
        selected: 0,
        help,
        finishing: false,
    };
    terminal.draw(|frame| draw(frame, &scene)).expect("it draws");
    terminal
}

fn text(terminal: &Terminal<TestBackend>) -> String {
    terminal.backend().to_string()
}

#[test]
fn every_size_is_drawn() {
    let one = busy(&["clip.mp4"]);
    let many = busy(&["clip.mp4", "rtsp://host/a", "b.mkv"]);
    let nothing = state(&["clip.mp4"]);
    for width in (0..12).chain((12..230).step_by(7)) {
        for height in (0..40).chain([50, 70]) {
            for state in [&one, &many, &nothing] {
                scene(state, (width, height), true, height % 2 == 0);
            }
        }
    }
}

#[test]
fn what_matters_most_is_there_at_every_size() {
    let state = busy(&["clip.mp4"]);
    for (size, wanted) in [
        ((30, 8), vec!["running", "clip.mp4", "21.0 ms", "queue 3/8", "notice", "quit"]),
        ((20, 2), vec!["running", "12/599"]),
        ((64, 17), vec!["end to end", "inference", "log", "quit"]),
        (
            (80, 24),
            vec![
                "streamdet",
                "detect",
                "visdrone-nano",
                "conf 0.25",
                "HUD on",
                "1920×1080",
                "29.97 fps",
                "h264 + aac",
                "12/599",
                "decode",
                "queue wait",
                "preprocess",
                "inference",
                "postprocess",
                "overlay",
                "hand over",
                "encode",
                "p99",
                "3/8",
                "10 queue_full",
                "2 corrupt",
                "number 39",
                "quit",
                "pause",
                "snapshot",
                "help",
            ],
        ),
        ((200, 50), vec!["╭", "number 20", "encode", "2 corrupt"]),
    ] {
        let text = text(&scene(&state, size, true, false));
        for word in wanted {
            assert!(text.contains(word), "{word} at {size:?}:\n{text}");
        }
    }
    let help = text(&scene(&state, (80, 24), true, true));
    assert!(help.contains("exit code 0") && help.contains("Ctrl-C"), "{help}");
}

#[test]
fn without_colours_there_are_none_and_the_words_are_the_same() {
    let state = busy(&["clip.mp4", "b.mp4"]);
    for size in [(80, 24), (200, 50), (30, 8)] {
        let (plain, coloured) = (scene(&state, size, false, false), scene(&state, size, true, false));
        let colours = |terminal: &Terminal<TestBackend>| {
            terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(!colours(&plain) && colours(&coloured));
        assert_eq!(text(&plain), text(&coloured));
    }
}
