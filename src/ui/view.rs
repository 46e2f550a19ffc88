//! What a run looks like in the terminal: the screen, and beside it `--stats` lines or the dashboard.

use std::sync::Arc;
use std::time::Duration;

use super::dashboard::{self, Dashboard};
use super::logs;
use super::screen::{Screen, Verbosity};
use super::stats::{Format, Stats};
use crate::model::Origin;
use crate::pipeline::{Listener, Settings};
use crate::shutdown::Shutdown;
use crate::thread::ThreadError;

/// How a run is to be presented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presentation {
    pub verbosity: Verbosity,
    /// How often statistics are printed, and in which format.
    pub stats: Option<(Duration, Format)>,
    /// The dashboard, titled with the command's name.
    pub dashboard: Option<&'static str>,
    /// Whether data goes to standard output.
    pub to_stdout: bool,
}

/// The same, for the terminal there is.
pub(crate) struct Resolved {
    asked: Presentation,
    log: Option<Arc<dashboard::Log>>,
    /// Why there is no dashboard, where one was asked for.
    refused: Option<&'static str>,
}

impl Presentation {
    /// Looks whether the terminal can show it.
    pub fn resolve(self) -> Resolved {
        let refused = self.dashboard.and_then(|_| dashboard::unsuitable(self.to_stdout));
        let log = (self.dashboard.is_some() && refused.is_none()).then(Arc::default);
        Resolved { asked: self, log, refused }
    }
}

impl Resolved {
    /// Whether there will be a dashboard.
    pub fn has_dashboard(&self) -> bool {
        self.log.is_some()
    }
}

/// The view of a run, until it is closed.
pub(crate) struct View {
    screen: Arc<Screen>,
    stats: Option<Stats>,
    dashboard: Option<Dashboard>,
}

impl View {
    /// Opens it, and prints `notices`.
    pub fn open<'a>(
        Resolved { asked, log, refused }: Resolved,
        settings: &Settings,
        origin: &Origin,
        notices: impl Iterator<Item = &'a String>,
        shutdown: &Shutdown,
    ) -> Self {
        let screen = Screen::new(asked.verbosity, &settings.jobs, settings.frames, origin, settings.imgsz);
        let lines = asked.stats.filter(|(_, format)| *format == Format::Ultralytics).map(|(every, _)| every);
        let screen = Arc::new(screen.lines_every(lines).logged(log.clone()));
        if let Some(reason) = refused {
            screen.notice(&format!("{reason}; printing lines instead"));
        }
        for notice in notices {
            screen.notice(notice);
        }
        let printer: Arc<dyn logs::Printer> = screen.clone();
        logs::print_through(&printer);
        let stats = asked.stats.filter(|(_, format)| *format != Format::Ultralytics);
        let stats = stats.and_then(|(every, format)| {
            let started = Stats::start(every, format, &screen);
            started.map_err(|e| screen.notice(&format!("no --stats lines: {e}"))).ok()
        });
        let dashboard = log.zip(asked.dashboard).and_then(|(log, command)| {
            let facts = dashboard::Facts { command, model: screen.model().to_owned(), classes: origin.classes.clone() };
            let (jobs, classes) = (&settings.jobs, origin.classes.len());
            let state = dashboard::State::new(jobs, settings.frames, settings.real_time, classes, log.clone());
            let started = Dashboard::start(facts, state, &settings.controls, &log, shutdown);
            started.map_err(|e| screen.notice(&format!("--tui: {e}; printing lines instead"))).ok()
        });
        Self { screen, stats, dashboard }
    }

    /// Where lines are printed.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// All that have to be told of the run.
    pub fn listeners(&self) -> Vec<Arc<dyn Listener>> {
        let mut all: Vec<Arc<dyn Listener>> = vec![self.screen.clone()];
        all.extend(self.stats.as_ref().map(Stats::listener));
        all.extend(self.dashboard.as_ref().map(Dashboard::listener));
        all
    }

    /// Ends everything but the screen, which the closing figures go to; threads that panicked.
    pub fn close(self) -> (Arc<Screen>, Vec<ThreadError>) {
        let stats = self.stats.map(Stats::stop);
        let dashboard = self.dashboard.map(Dashboard::finish);
        self.screen.finish();
        (self.screen, stats.into_iter().chain(dashboard).filter_map(Result::err).collect())
    }
}
