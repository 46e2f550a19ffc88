//! What a run writes about itself: report, CSV, trace and page. Opened with the run, closed with its report.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Listener, RunEvent};
use crate::latency::{FrameRecord, LatencyBook, Timeline};
use crate::part::PartFile;
use crate::report::csv::CsvFile;
use crate::report::trace::TraceFile;
use crate::report::{RunReport, page};

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
    /// Writing failed later.
    #[error("--{flag}: {source}; the file is not complete")]
    Write {
        /// Its option.
        flag: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The open files of a run.
pub struct Instruments {
    report: Option<PathBuf>,
    csv: Option<Mutex<CsvFile>>,
    trace: Option<Mutex<TraceFile>>,
    page: Option<(PartFile, Mutex<Timeline>)>,
}

impl Instruments {
    /// Opens what was asked for.
    ///
    /// # Errors
    /// When a file cannot be created; none is left then.
    pub fn open(files: &InstrumentFiles) -> Result<Self, InstrumentError> {
        if let Some(path) = files.report.as_deref().filter(|path| path.as_os_str() != "-") {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(cannot_open("report", path)(std::io::ErrorKind::NotFound.into()));
            }
        }
        let mut open = Self { report: files.report.clone(), csv: None, trace: None, page: None };
        match open.open_files(files) {
            Ok(()) => Ok(open),
            Err(error) => {
                open.discard();
                Err(error)
            }
        }
    }

    fn open_files(&mut self, files: &InstrumentFiles) -> Result<(), InstrumentError> {
        if let Some(path) = &files.csv {
            self.csv = Some(Mutex::new(CsvFile::create(path).map_err(cannot_open("csv", path))?));
        }
        if let Some(path) = &files.trace {
            self.trace = Some(Mutex::new(TraceFile::create(path).map_err(cannot_open("trace", path))?));
        }
        if let Some(path) = &files.html {
            self.page = Some((PartFile::create(path).map_err(cannot_open("html", path))?, Mutex::default()));
        }
        Ok(())
    }

    /// Removes the open files.
    pub fn discard(self) {
        if let Some(csv) = self.csv {
            inner(csv).discard();
        }
        if let Some(trace) = self.trace {
            inner(trace).discard();
        }
        if let Some((page, _)) = self.page {
            page.discard();
        }
    }

    /// Completes and closes them; what could not be written. A run without a frame leaves none but the report.
    #[must_use]
    pub fn finish(self, report: &RunReport, book: &LatencyBook) -> Vec<InstrumentError> {
        let mut errors = Vec::new();
        let mut keep = |flag, result: std::io::Result<()>| {
            errors.extend(result.err().map(|source| InstrumentError::Write { flag, source }));
        };
        if let Some(path) = &self.report {
            keep("report", report.write(path));
        }
        if report.processed() == 0 {
            self.discard();
            return errors;
        }
        if let Some(csv) = self.csv {
            keep("csv", inner(csv).finish());
        }
        if let Some(trace) = self.trace {
            keep("trace", inner(trace).finish());
        }
        if let Some((mut file, timeline)) = self.page {
            let page = page::page(report, book, &inner(timeline));
            keep("html", std::io::Write::write_all(&mut file, page.as_bytes()).and_then(|()| file.finish()));
        }
        errors
    }

    fn record(&self, record: &FrameRecord) {
        if let Some(csv) = &self.csv {
            lock(csv).row(record);
        }
        if let Some(trace) = &self.trace {
            lock(trace).frame(record);
        }
        if let Some((_, timeline)) = &self.page {
            lock(timeline).add(record);
        }
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Instruments {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, .. } => {
                if let Some(trace) = &self.trace {
                    lock(trace).stream(stream, &info.name);
                }
            }
            RunEvent::FrameRecorded(record) => self.record(record),
            RunEvent::Dropped { dropped, at, .. } => {
                if let Some((_, timeline)) = &self.page {
                    lock(timeline).drop_frames(at, dropped.total());
                }
            }
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

fn cannot_open(flag: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> InstrumentError {
    let path = path.to_owned();
    move |source| InstrumentError::Open { flag, path, source }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
