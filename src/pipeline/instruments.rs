//! What a run writes about itself: report, CSV, trace and page. Opened with the run, closed with its report.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::plan::is_file;
use super::{Listener, RunEvent};
use crate::latency::{FrameRecord, LatencyBook, Timeline};
use crate::part::PartFile;
use crate::report::csv::CsvFile;
use crate::report::trace::TraceFile;
use crate::report::{RunReport, page};
use crate::shutdown::Shutdown;

/// Where each goes, if anywhere; `-` is standard output.
#[derive(Debug, Clone, Default)]
pub struct InstrumentFiles {
    /// Run report, JSON.
    pub report: Option<PathBuf>,
    /// A row a frame.
    pub csv: Option<PathBuf>,
    /// Trace of the stages by thread.
    pub trace: Option<PathBuf>,
    /// Charts and tables on one HTML page.
    pub html: Option<PathBuf>,
}

impl InstrumentFiles {
    /// Those that were asked for, by their options.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let all = [("--report", &self.report), ("--csv", &self.csv), ("--trace", &self.trace), ("--html", &self.html)];
        all.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)))
    }

    /// The same, to be named anew.
    pub fn named_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        let all = [
            ("--report", &mut self.report),
            ("--csv", &mut self.csv),
            ("--trace", &mut self.trace),
            ("--html", &mut self.html),
        ];
        all.into_iter().filter_map(|(option, path)| Some((option, path.as_mut()?)))
    }
}

/// Why one of them cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum InstrumentError {
    /// It cannot be created.
    #[error("--{flag} {path}: {source}\n  name a file in a folder that can be written")]
    Open {
        /// Its option.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is a pipe that nothing read before the run was to stop.
    #[error("--{flag} {path}: nothing reads this pipe\n  start its reader first")]
    Unread {
        /// Its option.
        flag: &'static str,
        /// The pipe.
        path: PathBuf,
    },
    /// Writing failed later.
    #[error("--{flag}: {source}; the file is not complete")]
    Write {
        /// Its option.
        flag: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The open files of a run. They are taken out when the run has ended: a thread that never ends still holds the listeners.
pub struct Instruments {
    report: Option<PathBuf>,
    /// The report's file: what has its name by the end, and had it not before, is not replaced.
    reserved: Option<Mutex<Option<PartFile>>>,
    csv: Option<Mutex<Option<CsvFile>>>,
    trace: Option<Mutex<Option<TraceFile>>>,
    page: Option<Mutex<Option<(PartFile, Timeline)>>>,
    stopping: Shutdown,
}

impl Instruments {
    /// Opens what was asked for.
    ///
    /// # Errors
    /// When a file cannot be created; none is left then.
    pub fn open(files: &InstrumentFiles, stopping: &Shutdown) -> Result<Self, InstrumentError> {
        let mut open = Self {
            report: files.report.clone(),
            reserved: None,
            csv: None,
            trace: None,
            page: None,
            stopping: stopping.clone(),
        };
        match open.open_files(files) {
            Ok(()) => Ok(open),
            Err(error) => {
                open.discard();
                Err(error)
            }
        }
    }

    fn open_files(&mut self, files: &InstrumentFiles) -> Result<(), InstrumentError> {
        if let Some(path) = files.report.as_deref().filter(|path| is_file(path)) {
            self.reserved = Some(Mutex::new(Some(PartFile::reserve(path).map_err(cannot_open("report", path))?)));
        }
        if let Some(path) = &files.csv {
            self.csv = Some(Mutex::new(Some(CsvFile::create(path, &self.stopping).map_err(cannot_open("csv", path))?)));
        }
        if let Some(path) = &files.trace {
            self.trace =
                Some(Mutex::new(Some(TraceFile::create(path, &self.stopping).map_err(cannot_open("trace", path))?)));
        }
        if let Some(path) = &files.html {
            self.page = Some(Mutex::new(Some((
                PartFile::create(path, Some(&self.stopping)).map_err(cannot_open("html", path))?,
                Timeline::default(),
            ))));
        }
        Ok(())
    }

    /// Removes the open files.
    pub fn discard(&self) {
        if let Some(report) = take(self.reserved.as_ref()) {
            report.discard();
        }
        if let Some(csv) = take(self.csv.as_ref()) {
            csv.discard();
        }
        if let Some(trace) = take(self.trace.as_ref()) {
            trace.discard();
        }
        if let Some((page, _)) = take(self.page.as_ref()) {
            page.discard();
        }
    }

    /// Completes and closes them; what could not be written. A run without a frame leaves none but the report.
    #[must_use]
    pub fn finish(&self, report: &RunReport, book: &LatencyBook) -> Vec<InstrumentError> {
        let mut errors = Vec::new();
        if let Some(path) = &self.report {
            let written = match take(self.reserved.as_ref()) {
                Some(file) => report.write_into(file),
                None => report.write(path, &self.stopping),
            };
            errors.extend(written.err().map(|source| match source.kind() {
                ErrorKind::Interrupted => InstrumentError::Unread { flag: "report", path: path.clone() },
                _ => InstrumentError::Write { flag: "report", source },
            }));
        }
        let mut keep = |flag, result: std::io::Result<()>| {
            errors.extend(result.err().map(|source| InstrumentError::Write { flag, source }));
        };
        if report.processed() == 0 {
            self.discard();
            return errors;
        }
        if let Some(csv) = take(self.csv.as_ref()) {
            keep("csv", csv.finish());
        }
        if let Some(trace) = take(self.trace.as_ref()) {
            keep("trace", trace.finish());
        }
        if let Some((mut file, timeline)) = take(self.page.as_ref()) {
            let page = page::page(report, book, &timeline);
            keep("html", std::io::Write::write_all(&mut file, page.as_bytes()).and_then(|()| file.finish()));
        }
        errors
    }

    fn record(&self, record: &FrameRecord) {
        with(self.csv.as_ref(), |csv| csv.row(record));
        with(self.trace.as_ref(), |trace| trace.frame(record));
        with(self.page.as_ref(), |(_, timeline)| timeline.add(record));
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Instruments {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, .. } => {
                with(self.trace.as_ref(), |trace| trace.stream(stream, &info.name));
            }
            RunEvent::FrameRecorded(record) => self.record(record),
            RunEvent::Dropped { dropped, at, .. } => {
                with(self.page.as_ref(), |(_, timeline)| timeline.drop_frames(at, dropped.total()));
            }
            RunEvent::Disconnected { .. }
            | RunEvent::Reconnected { .. }
            | RunEvent::Outage { .. }
            | RunEvent::StreamEnded { .. }
            | RunEvent::FrameDone { .. }
            | RunEvent::Occupancy { .. }
            | RunEvent::Output { .. }
            | RunEvent::Queue { .. }
            | RunEvent::Serving { .. }
            | RunEvent::Notice(_)
            | RunEvent::Occurrence(_)
            | RunEvent::Failed { .. } => {}
        }
    }
}

fn cannot_open(flag: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> InstrumentError {
    let path = path.to_owned();
    move |source| match source.kind() {
        ErrorKind::Interrupted => InstrumentError::Unread { flag, path },
        _ => InstrumentError::Open { flag, path, source },
    }
}

/// Writes into one that is open.
fn with<T>(instrument: Option<&Mutex<Option<T>>>, write: impl FnOnce(&mut T)) {
    let mut open = instrument.map(|mutex| mutex.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(open) = open.as_mut().and_then(|open| open.as_mut()) {
        write(open);
    }
}

/// Takes it out: nothing is written any more.
fn take<T>(instrument: Option<&Mutex<Option<T>>>) -> Option<T> {
    instrument?.lock().unwrap_or_else(PoisonError::into_inner).take()
}
