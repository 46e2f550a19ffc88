//! What a run writes about itself: report, rows, page, trace, and lines while it runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use super::units::interval;
use crate::clock::HostTime;
use crate::inference::ProviderReport;
use crate::latency::{FrameRecord, LatencyBook, Timeline};
use crate::part::PartFile;
use crate::pipeline::{Delays, Listener, RunEvent};
use crate::report::csv::CsvFile;
use crate::report::trace::TraceFile;
use crate::report::{RunReport, page};
use crate::stream::{Dropped, StreamId, StreamInfo};
use crate::ui::screen::Screen;
use crate::ui::stats::{self, Stats};

/// What is measured, and where it goes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Measuring")]
pub struct MeasureOptions {
    /// Run report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// One row a frame, with its time in every stage
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// One page to look at: latencies and frame rate over time, distributions, resources
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Trace of the stages by thread, for Perfetto or Chrome
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Figures while it runs, a line every so often: 1s, 500ms
    #[arg(long, value_name = "INTERVAL", value_parser = interval)]
    pub stats: Option<Duration>,
    /// Whose lines they look like
    #[arg(long, value_enum, default_value_t)]
    pub stats_format: StatsLines,
    /// Time added to stages, STAGE=MS, to see that the figures show it
    #[arg(long, hide = true, default_value = "decode=0", hide_default_value = true)]
    pub delay: Delays,
}

impl MeasureOptions {
    /// How often the screen prints the line that Ultralytics' users know.
    pub(super) fn frame_lines(&self) -> Option<Duration> {
        self.stats.filter(|_| self.stats_format == StatsLines::Ultralytics)
    }
}

/// How `--stats` lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StatsLines {
    /// Frame rate, latency, drops and queue
    #[default]
    Streamdet,
    /// `**PERF:` lines, a column a stream
    Deepstream,
    /// The newest frame's line, as -v prints it for every frame
    Ultralytics,
}

/// What is open while a run is measured.
pub(super) struct Instruments {
    csv: Option<Mutex<CsvFile>>,
    trace: Option<Mutex<TraceFile>>,
    page: Option<(PartFile, Mutex<Timeline>)>,
    report: Option<PathBuf>,
}

impl Instruments {
    /// Opens what was asked for.
    pub(super) fn open(options: &MeasureOptions) -> anyhow::Result<Self> {
        let refused = |flag: &str, path: &Path, e: &dyn std::fmt::Display| {
            anyhow!("--{flag} {}: {e}\n  name a file in a folder that can be written", path.display())
        };
        if let Some(path) = options.report.as_ref().filter(|p| p.as_os_str() != "-") {
            let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
            if folder.is_some_and(|f| !f.is_dir()) {
                return Err(refused("report", path, &"no such folder"));
            }
        }
        let mut open = Self { csv: None, trace: None, page: None, report: options.report.clone() };
        let opened = open.open_files(options, &refused);
        if let Err(refusal) = opened {
            open.discard();
            return Err(refusal);
        }
        Ok(open)
    }

    fn open_files(
        &mut self,
        options: &MeasureOptions,
        refused: &dyn Fn(&str, &Path, &dyn std::fmt::Display) -> anyhow::Error,
    ) -> anyhow::Result<()> {
        if let Some(path) = &options.csv {
            self.csv = Some(Mutex::new(CsvFile::create(path).map_err(|e| refused("csv", path, &e))?));
        }
        if let Some(path) = &options.trace {
            self.trace = Some(Mutex::new(TraceFile::create(path).map_err(|e| refused("trace", path, &e))?));
        }
        if let Some(path) = &options.html {
            self.page = Some((PartFile::create(path).map_err(|e| refused("html", path, &e))?, Mutex::default()));
        }
        Ok(())
    }

    /// Leaves no file of those that are open.
    pub(super) fn discard(self) {
        if let Some(csv) = self.csv {
            csv.into_inner().unwrap_or_else(PoisonError::into_inner).discard();
        }
        if let Some(trace) = self.trace {
            trace.into_inner().unwrap_or_else(PoisonError::into_inner).discard();
        }
        if let Some((page, _)) = self.page {
            page.discard();
        }
    }

    /// Writes and closes everything; says what could not be written. The exit code of a run that would else have ended with
    /// `code`. Where no frame came, no file is left.
    pub(super) fn close(self, report: &RunReport, book: &LatencyBook, mut code: u8) -> u8 {
        let mut say = |flag: &str, result: std::io::Result<()>| {
            if let Err(e) = result {
                eprintln!("error: --{flag}: {e}; the file is not complete");
                code = 1;
            }
        };
        if let Some(path) = &self.report {
            say("report", report.write(path));
        }
        if report.processed() == 0 {
            self.discard();
            return code;
        }
        if let Some(csv) = self.csv {
            say("csv", csv.into_inner().unwrap_or_else(PoisonError::into_inner).finish());
        }
        if let Some(trace) = self.trace {
            say("trace", trace.into_inner().unwrap_or_else(PoisonError::into_inner).finish());
        }
        if let Some((mut file, timeline)) = self.page {
            let timeline = timeline.into_inner().unwrap_or_else(PoisonError::into_inner);
            let page = page::page(report, book, &timeline);
            say("html", std::io::Write::write_all(&mut file, page.as_bytes()).and_then(|()| file.finish()));
        }
        code
    }
}

impl Instruments {
    fn opened(&self, stream: StreamId, info: &StreamInfo, _provider: Option<&ProviderReport>) {
        if let Some(trace) = &self.trace {
            trace.lock().unwrap_or_else(PoisonError::into_inner).stream(stream, &info.name);
        }
    }

    fn record(&self, record: &FrameRecord) {
        if let Some(csv) = &self.csv {
            csv.lock().unwrap_or_else(PoisonError::into_inner).row(record);
        }
        if let Some(trace) = &self.trace {
            trace.lock().unwrap_or_else(PoisonError::into_inner).frame(record);
        }
        if let Some((_, timeline)) = &self.page {
            timeline.lock().unwrap_or_else(PoisonError::into_inner).add(record);
        }
    }

    fn dropped(&self, _stream: StreamId, dropped: Dropped, at: HostTime) {
        if let Some((_, timeline)) = &self.page {
            timeline.lock().unwrap_or_else(PoisonError::into_inner).drop_frames(at, dropped.total());
        }
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Instruments {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, provider } => self.opened(stream, info, provider),
            RunEvent::FrameRecorded(record) => self.record(record),
            RunEvent::Dropped { stream, dropped, at } => self.dropped(stream, dropped, at),
            RunEvent::Disconnected { .. }
            | RunEvent::Reconnected { .. }
            | RunEvent::Outage { .. }
            | RunEvent::StreamEnded { .. }
            | RunEvent::FrameDone { .. }
            | RunEvent::Queue { .. }
            | RunEvent::Serving { .. }
            | RunEvent::Notice(_)
            | RunEvent::Failed { .. } => {}
        }
    }
}

/// Everybody who watches a run, and what has to be closed after it.
pub(super) fn watchers(
    options: &MeasureOptions,
    screen: &Arc<Screen>,
    instruments: &Arc<Instruments>,
) -> (Vec<Arc<dyn Listener>>, Option<Stats>) {
    let mut all: Vec<Arc<dyn Listener>> = vec![screen.clone(), instruments.clone()];
    let format = match options.stats_format {
        StatsLines::Streamdet => Some(stats::Format::Streamdet),
        StatsLines::Deepstream => Some(stats::Format::Deepstream),
        StatsLines::Ultralytics => None,
    };
    let stats = options.stats.zip(format).map(|(every, format)| Stats::start(every, format, screen));
    all.extend(stats.as_ref().map(Stats::listener));
    (all, stats)
}
