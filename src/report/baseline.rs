//! A run against an earlier one: FPS, and every stage's median.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::RunReport;
use crate::latency::STAGES;

/// Medians that differ by less are the same, whatever share that is, ms.
const SAME_MS: f64 = 0.5;

/// Why an earlier run's report cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--baseline {path}: {problem}\n  give a file that --report wrote")]
pub struct BaselineError {
    path: PathBuf,
    problem: BaselineProblem,
}

#[derive(Debug, thiserror::Error)]
enum BaselineProblem {
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    #[error(transparent)]
    NotJson(#[from] serde_json::Error),
    #[error("no frame rate")]
    NoFrameRate,
}

/// An earlier run's report.
#[derive(Debug)]
pub struct Baseline {
    /// Its file.
    pub path: PathBuf,
    fps: f64,
    /// Median of every stage that was passed, ms.
    p50_ms: Vec<(&'static str, f64)>,
    model: String,
}

impl Baseline {
    /// Reads a report.
    ///
    /// # Errors
    /// When it cannot be read, or holds no frame rate.
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        Self::try_read(path).map_err(|problem| BaselineError { path: path.to_owned(), problem })
    }

    fn try_read(path: &Path) -> Result<Self, BaselineProblem> {
        let report: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let fps = report["fps"]["mean"].as_f64().filter(|fps| *fps > 0.0).ok_or(BaselineProblem::NoFrameRate)?;
        let p50 = |stage: &'static str| {
            let row = &report["latency_ms"][stage];
            (row["count"].as_u64()? > 0).then_some((stage, row["p50"].as_f64()?))
        };
        let p50_ms = STAGES.iter().filter_map(|stage| p50(stage.key())).collect();
        let model = report["model"]["sha256"].as_str().unwrap_or_default().to_owned();
        Ok(Self { path: path.to_owned(), fps, p50_ms, model })
    }

    /// The differences as a table, and whether none is worse by more than `limit` per cent.
    #[must_use]
    pub fn compare(&self, now: &RunReport, limit: f64) -> (String, bool) {
        let mut text =
            format!("\n  {:<14}{:>9}{:>9}{:>10}   against {}", "", "before", "now", "change", self.path.display());
        if self.model != now.model.as_ref().map_or("", |model| &model.sha256) {
            text += "\n  notice: the baseline is of another model";
        }
        let mut held = true;
        let mut row = |name: &str, before: f64, now: f64, worse: bool| {
            held &= !worse;
            let change = (now / before.max(1e-9) - 1.0) * 100.0;
            let mark = if worse { "   worse" } else { "" };
            text = format!("{text}\n  {name:<14}{before:>9.1}{now:>9.1}{change:>+9.1} %{mark}");
        };
        row("fps", self.fps, now.fps.mean, now.fps.mean < self.fps * (1.0 - limit / 100.0));
        for (stage, before) in &self.p50_ms {
            let Some(summary) = now.latency_ms.get(stage).filter(|summary| summary.count > 0) else { continue };
            let worse = summary.p50 > before * (1.0 + limit / 100.0) && summary.p50 - before > SAME_MS;
            row(&stage.replace('_', " "), *before, summary.p50, worse);
        }
        (text, held)
    }
}
