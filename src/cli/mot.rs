//! `streamdet val --mot`: a tracker's result against ground truth.

use std::path::{Path, PathBuf};

use clap::Args;

use super::messages::{command_line, print_error, print_line};
use crate::config::choices;
use crate::pipeline::plan::check_distinct;
use crate::report::write_json;
use crate::shutdown::Shutdown;
use crate::text::printable;
use crate::ui::tracking::tables;
use crate::ui::validation::width;
use crate::validate::mot::{Format, Options, Report, find, score};

/// Options of a tracker's evaluation.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tracking")]
pub(super) struct MotOptions {
    /// Score a tracker's result (MOTChallenge text) against ground truth: two files, or two folders of sequences
    #[arg(long, num_args = 2, value_names = ["GT", "RESULT"], conflicts_with_all = ["ModelOptions", "TilingOptions",
        "dataset", "images", "split", "map", "predictions", "conf", "iou", "max_det", "output", "html", "samples", "save_json"])]
    mot: Option<Vec<PathBuf>>,
    // Clap waives a requirement that a given option excludes, so that these exclude it too.
    /// Benchmark whose rules apply [default: by the columns of ground truth]
    #[arg(long, value_name = "FORMAT", conflicts_with = "dataset", value_parser = choices::mot_format())]
    mot_format: Option<Format>,
    /// Frames that count, one number per line [default: all]
    #[arg(long, value_name = "FILE", conflicts_with = "dataset")]
    mot_frames: Option<PathBuf>,
}

impl MotOptions {
    /// Ground truth and result.
    pub(super) fn files(&self) -> Option<(&Path, &Path)> {
        let [gt, result] = self.mot.as_deref()? else { return None };
        Some((gt, result))
    }

    /// Scores, says, writes; the exit code.
    pub(super) fn run(
        &self,
        (gt, result): (&Path, &Path),
        report: Option<&Path>,
        quiet: bool,
        stopping: &Shutdown,
    ) -> anyhow::Result<u8> {
        for read in
            [Some(("GT", gt)), Some(("RESULT", result)), self.mot_frames.as_deref().map(|f| ("--mot-frames", f))]
        {
            if let Some((read, report)) = read.zip(report) {
                check_distinct(&[], &[read, ("--report", report)])?;
            }
        }
        let options = Options { format: self.mot_format, frames: self.mot_frames.clone() };
        let Some(scored) = score(&find(gt, result)?, &options, stopping)? else { return Ok(0) };
        if !quiet {
            print_line(&tables(&scored, width()));
            for notice in &scored.notices {
                print_line(&format!("  notice: {}", printable(notice)));
            }
        }
        let Some(path) = report else { return Ok(0) };
        if let Err(e) = write_json(&Report::of(&scored, gt, result, &options, command_line()), path, stopping) {
            print_error(&format!("{}: {e}", path.display()));
            return Ok(1);
        }
        if !quiet && path.as_os_str() != "-" {
            print_line(&format!("  → {}", path.display()));
        }
        Ok(0)
    }
}
