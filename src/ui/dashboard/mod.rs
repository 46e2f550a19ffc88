//! `--tui`: a dashboard of the run in the terminal, with keys.
//!
//! It watches as an observer does; what it changes goes through [`Controls`]. A thread of its own draws, ten times a second
//! and after a key.

mod bars;
mod draw;
mod keys;
mod log;
mod panels;
mod small;
mod state;
pub mod terminal;
#[cfg(test)]
mod tests;
mod theme;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use ratatui::crossterm::event::{self, Event};
use signal_hook::consts::SIGINT;

use crate::controls::Controls;
use crate::pipeline::Listener;
use crate::shutdown::Shutdown;
use crate::stream::StreamId;
use draw::Picture;
use keys::Wish;
use terminal::{Held, Screen};
use theme::Theme;

pub(crate) use draw::Facts;
pub(crate) use log::Log;
pub(crate) use state::State;
pub(crate) use terminal::unsuitable;

/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);

/// The dashboard, until it is finished.
pub(crate) struct Dashboard {
    state: Arc<State>,
    log: Arc<Log>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
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
        let (held, screen) = terminal::take(log)?;
        log.hold();
        let (stop_drawing, stopped) = bounded(0);
        let state = Arc::new(state);
        let desk = Desk {
            facts,
            state: state.clone(),
            controls: controls.clone(),
            log: log.clone(),
            shutdown: shutdown.clone(),
            theme: Theme::from_environment(),
            started: Instant::now(),
            selected: 0,
            help: false,
            paused_since: None,
            paused: Duration::ZERO,
        };
        let body = move || desk.work(held, screen, &stopped);
        let thread = std::thread::Builder::new().name(terminal::THREAD.into()).spawn(body);
        let thread = thread.inspect_err(|_| drop(log.release()))?;
        Ok(Self { state, log: log.clone(), stop: stop_drawing, thread })
    }

    /// Who is to be told of the run.
    pub fn listener(&self) -> Arc<dyn Listener> {
        self.state.clone()
    }

    /// Gives the terminal back, and says what would have been said meanwhile.
    pub fn finish(self) {
        drop(self.stop);
        let _ = self.thread.join();
        for line in self.log.release() {
            eprintln!("{line}");
        }
    }
}

/// The thread's own.
struct Desk {
    facts: Facts,
    state: Arc<State>,
    controls: Arc<Controls>,
    log: Arc<Log>,
    shutdown: Shutdown,
    theme: Theme,
    started: Instant,
    selected: usize,
    help: bool,
    paused_since: Option<Instant>,
    /// Pauses that are over.
    paused: Duration,
}

impl Desk {
    fn work(mut self, held: Held, mut screen: Screen, stopped: &Receiver<()>) {
        let confidence = self.controls.confidence();
        let mut due = Instant::now();
        while stopped.try_recv() != Err(TryRecvError::Disconnected) {
            let now = Instant::now();
            if now >= due {
                due = now + EVERY;
                if !self.draw(&mut screen, now) {
                    break;
                }
            }
            match event::poll(due.saturating_duration_since(Instant::now())) {
                Ok(true) => {
                    if let Ok(event) = event::read() {
                        self.take(&event);
                        due = Instant::now();
                    }
                }
                Ok(false) => {}
                // Nobody can press a key any more.
                Err(_) => drop(stopped.recv_timeout(EVERY)),
            }
        }
        self.resume();
        drop(screen);
        held.leave();
        self.say_changes(confidence);
    }

    /// Whether the terminal is still there to be drawn on.
    fn draw(&self, screen: &mut Screen, now: Instant) -> bool {
        let view = self.state.view(now, self.selected);
        let picture = Picture {
            facts: &self.facts,
            view: &view,
            controls: &self.controls,
            log: &self.log,
            theme: self.theme,
            elapsed: now - self.started,
            selected: self.selected,
            help: self.help,
            finishing: self.shutdown.is_requested(),
        };
        terminal::draw(screen, |frame| draw::draw(frame, &picture)).unwrap_or(false)
    }

    fn take(&mut self, event: &Event) {
        let Event::Key(key) = event else { return };
        let Some(wish) = keys::wish(*key) else { return };
        let stream = StreamId(u32::try_from(self.selected).unwrap_or(u32::MAX));
        match wish {
            Wish::Quit => self.shutdown.request(),
            // Through the same door as the signal itself: a second one leaves at once.
            Wish::Interrupt => drop(signal_hook::low_level::raise(SIGINT)),
            Wish::Pause => self.pause(),
            Wish::Hud => self.controls.show_hud(!self.controls.hud()),
            Wish::Snapshot => self.controls.want_snapshot(stream),
            Wish::Confidence(up) => self.controls.step_confidence(up),
            Wish::Stream(forward) => {
                let streams = self.state.streams().max(1);
                self.selected = (self.selected + if forward { 1 } else { streams - 1 }) % streams;
            }
            Wish::Help => self.help = !self.help,
            Wish::Back => self.help = false,
        }
    }

    fn pause(&mut self) {
        if self.paused_since.is_some() {
            return self.resume();
        }
        let (recorded, others) = self.state.recorded();
        if !recorded {
            self.log.passing("what is live, or plays as if it were, cannot be paused");
            return;
        }
        if others {
            self.log.passing("recorded files are paused; what is live goes on");
        }
        self.paused_since = Some(Instant::now());
        self.controls.pause(true);
    }

    fn resume(&mut self) {
        if let Some(since) = self.paused_since.take() {
            self.paused += since.elapsed();
            self.controls.pause(false);
        }
    }

    /// What the figures of the run do not show by themselves.
    fn say_changes(&self, confidence: f32) {
        if !self.paused.is_zero() {
            let seconds = self.paused.as_secs_f64();
            self.log.line(&format!(
                "  notice: paused for {seconds:.1} s: frames a second count that time, latencies do not"
            ));
        }
        let now = self.controls.confidence();
        if (now - confidence).abs() > f32::EPSILON {
            self.log.line(&format!("  notice: the confidence was changed from {confidence:.2} to {now:.2} meanwhile"));
        }
    }
}
