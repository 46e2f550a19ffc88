//! What is measured, and where the figures go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::choices;
use crate::pipeline::Delays;
use crate::pipeline::instruments::InstrumentFiles;
use crate::ui::stats::Format;
use crate::units::interval;

/// What is measured, and where the figures go.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Measuring")]
pub struct MeasureOptions {
    /// Run report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// One row per frame, with its time in every stage
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// HTML page: latencies and frame rate over time, distributions, resources
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Trace of the stages by thread, for Perfetto or Chrome
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print statistics every so often: 1s, 500ms
    #[arg(long, value_name = "INTERVAL", value_parser = interval)]
    pub stats: Option<Duration>,
    /// Format of the --stats lines
    #[arg(long, value_parser = choices::stats_format(), default_value = "streamdet")]
    pub stats_format: Format,
    /// Time added to stages, STAGE=MS, to see that the figures show it
    #[arg(long, hide = true, default_value = "decode=0", hide_default_value = true)]
    pub delay: Delays,
}

impl MeasureOptions {
    /// The files that are written.
    pub(super) fn files(&self) -> InstrumentFiles {
        InstrumentFiles {
            report: self.report.clone(),
            csv: self.csv.clone(),
            trace: self.trace.clone(),
            html: self.html.clone(),
        }
    }
}
