//! `--tui`: a dashboard of the run in the terminal, with keys.
//!
//! It listens to the run's events; what its keys change goes through [`Controls`]. A thread of its own draws ten times a second
//! and after every key.

mod bars;
mod draw;
mod footer;
mod keys;
mod log;
mod panel;
mod panels;
mod scene;
mod small;
mod state;
pub mod terminal;
#[cfg(test)]
mod tests;
mod theme;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use signal_hook::consts::SIGINT;

use crate::clock::{self, HostTime};
use crate::controls::Controls;
use crate::pipeline::Listener;
use crate::shutdown::Shutdown;
use crate::stream::StreamId;
use crate::text::print_stderr;
use crate::thread::{self, Thread, ThreadError};
use keys::Command;
use scene::Scene;
use terminal::{Canvas, Held, Keys};
use theme::Theme;

pub(crate) use log::Log;
pub(crate) use scene::Facts;
pub(crate) use state::State;
pub(crate) use terminal::unsuitable;

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);

/// The dashboard, until it is finished.
pub(crate) struct Dashboard {
    state: Arc<State>,
    log: Arc<Log>,
    stop: Shutdown,
    thread: Thread<Result<(), ThreadError>>,
}

impl Dashboard {
    /// Takes the terminal and begins to draw. `shutdown` is requested by the key that quits.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub fn start(
        facts: Facts,
        state: State,
        controls: &Arc<Controls>,
        log: &Arc<Log>,
        shutdown: &Shutdown,
    ) -> io::Result<Self> {
        let (held, canvas) = terminal::take(log)?;
        log.hold();
        let stop = Shutdown::new();
        let state = Arc::new(state);
        let painter = Painter {
            facts,
            state: state.clone(),
            controls: controls.clone(),
            log: log.clone(),
            shutdown: shutdown.clone(),
            theme: Theme::from_environment(),
            started: clock::now(),
            selected: 0,
            help: false,
            paused_since: None,
            paused: Duration::ZERO,
        };
        let stopped = stop.clone();
        let body = move || painter.work(held, canvas, &stopped);
        let thread = thread::spawn(terminal::THREAD, body);
        let thread = thread.inspect_err(|_| drop(log.release())).map_err(io::Error::other)?;
        Ok(Self { state, log: log.clone(), stop, thread })
    }

    /// What has to be told of the run.
    pub fn listener(&self) -> Arc<dyn Listener> {
        self.state.clone()
    }

    /// Gives the terminal back, and prints the lines that were kept meanwhile.
    ///
    /// # Errors
    /// When one of its threads panicked; the terminal is given back all the same.
    pub fn finish(self) -> Result<(), ThreadError> {
        self.stop.request();
        let ended = self.thread.join();
        for line in self.log.release() {
            print_stderr(&line);
        }
        ended?
    }
}

/// What the thread draws with.
struct Painter {
    facts: Facts,
    state: Arc<State>,
    controls: Arc<Controls>,
    log: Arc<Log>,
    shutdown: Shutdown,
    theme: Theme,
    started: HostTime,
    selected: usize,
    help: bool,
    paused_since: Option<HostTime>,
    /// Pauses that are over.
    paused: Duration,
}

impl Painter {
    fn work(mut self, held: Held, mut canvas: Canvas, stopped: &Shutdown) -> Result<(), ThreadError> {
        let confidence = self.controls.confidence();
        let mut due = clock::now();
        while !stopped.is_requested() {
            thread::test_panic_point();
            let now = clock::now();
            if now >= due {
                due = now.after(EVERY);
                if !self.draw(&mut canvas, now) {
                    break;
                }
            }
            match held.keys(due.since(clock::now())) {
                Keys::Some => {
                    let mut is_key = false;
                    while let Ok(true) = event::poll(Duration::ZERO) {
                        is_key = true;
                        let Ok(event) = event::read() else { break };
                        self.take(&event);
                        due = clock::now();
                    }
                    // What is there is not a whole key yet.
                    if !is_key && stopped.wait(EVERY) {
                        break;
                    }
                }
                Keys::None => {}
                Keys::Gone => break,
            }
        }
        self.resume();
        drop(canvas);
        let left = held.leave();
        self.note_changes(confidence);
        left
    }

    /// Draws; whether the terminal is still held.
    fn draw(&self, canvas: &mut Canvas, now: HostTime) -> bool {
        let view = self.state.view(now, self.selected);
        let scene = Scene {
            facts: &self.facts,
            view: &view,
            controls: &self.controls,
            log: &self.log,
            theme: self.theme,
            elapsed: now.since(self.started),
            selected: self.selected,
            help: self.help,
            finishing: self.shutdown.is_requested(),
        };
        terminal::draw(canvas, |frame| draw::draw(frame, &scene)).unwrap_or(false)
    }

    fn take(&mut self, event: &Event) {
        let Event::Key(key) = event else { return };
        let Some(command) = keys::command(*key) else { return };
        let stream = StreamId(u32::try_from(self.selected).unwrap_or(u32::MAX));
        match command {
            Command::Quit => self.shutdown.request(),
            // As the signal itself: the second one ends the program at once.
            Command::Interrupt => drop(signal_hook::low_level::raise(SIGINT)),
            Command::Pause => self.pause(),
            Command::Hud => self.controls.show_hud(!self.controls.hud()),
            Command::Snapshot => self.controls.want_snapshot(stream),
            Command::Confidence(up) => self.controls.step_confidence(up),
            Command::Stream(forward) => {
                let streams = self.state.streams().max(1);
                self.selected = (self.selected + if forward { 1 } else { streams - 1 }) % streams;
            }
            Command::Help => self.help = !self.help,
            Command::Back => self.help = false,
        }
    }

    fn pause(&mut self) {
        if self.paused_since.is_some() {
            return self.resume();
        }
        let (recorded, others) = self.state.recorded();
        if !recorded {
            self.log.passing("live sources, and files with --real-time, cannot be paused");
            return;
        }
        if others {
            self.log.passing("recorded files are paused; live sources are not");
        }
        self.paused_since = Some(clock::now());
        self.controls.pause(true);
    }

    fn resume(&mut self) {
        if let Some(since) = self.paused_since.take() {
            self.paused += clock::now().since(since);
            self.controls.pause(false);
        }
    }

    /// Notes what the figures of the run do not show by themselves.
    fn note_changes(&self, confidence: f32) {
        if !self.paused.is_zero() {
            let seconds = self.paused.as_secs_f64();
            self.log.line(&format!("  notice: paused for {seconds:.1} s, which FPS includes and latencies do not"));
        }
        let now = self.controls.confidence();
        if (now - confidence).abs() > f32::EPSILON {
            self.log.line(&format!(
                "  notice: confidence threshold changed from {confidence:.2} to {now:.2} during the run"
            ));
        }
    }
}
