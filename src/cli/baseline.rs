//! A run against an earlier one (`--baseline`): frames a second, and every stage's median.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::Value;

use crate::latency::STAGES;
use crate::report::RunReport;

/// Medians that differ by less are the same, whatever share that is, ms.
const SAME_MS: f64 = 0.5;

/// An earlier run's report.
pub(super) struct Baseline {
    pub path: PathBuf,
    fps: f64,
    /// Median of every stage that was passed, ms.
    p50_ms: Vec<(&'static str, f64)>,
    model: String,
}

impl Baseline {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let refused = |problem: &dyn std::fmt::Display| {
            anyhow!("--baseline {}: {problem}\n  give a file that --report wrote", path.display())
        };
        let text = std::fs::read_to_string(path).map_err(|e| refused(&e))?;
        let report: Value = serde_json::from_str(&text).map_err(|e| refused(&e))?;
        let fps = report["fps"]["mean"].as_f64().filter(|fps| *fps > 0.0).ok_or_else(|| refused(&"no frame rate"))?;
        let p50 = |stage: &'static str| {
            let row = &report["latency_ms"][stage];
            (row["count"].as_u64()? > 0).then_some((stage, row["p50"].as_f64()?))
        };
        let p50_ms = STAGES.iter().filter_map(|stage| p50(stage.key())).collect();
        let model = report["model"]["sha256"].as_str().unwrap_or_default().to_owned();
        Ok(Self { path: path.to_owned(), fps, p50_ms, model })
    }

    /// The differences, for people, and whether none is worse by more than `limit` per cent.
    pub(super) fn compare(&self, now: &RunReport, limit: f64) -> (String, bool) {
        let mut text =
            format!("\n  {:<14}{:>9}{:>9}{:>10}   against {}", "", "before", "now", "change", self.path.display());
        if self.model != now.model.sha256 {
            text += "\n  notice: another model ran then";
        }
        let mut held = true;
        let mut row = |name: &str, before: f64, now: f64, worse: bool| {
            held &= !worse;
            let change = (now / before.max(1e-9) - 1.0) * 100.0;
            let mark = if worse { "   worse" } else { "" };
            let _ = write!(text, "\n  {name:<14}{before:>9.1}{now:>9.1}{change:>+9.1} %{mark}");
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
