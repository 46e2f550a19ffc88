//! A run's end: the run report, and what is said of it.

use super::show::Screen;
use crate::clock::HostTime;
use crate::inference::ProviderChoice;
use crate::latency::STAGES;
use crate::model::Model;
use crate::pipeline::Outcome;
use crate::report::{
    self, Fps, Machine, ModelReport, ProviderFigures, Resources, RunReport, Verdict, redact, terminal,
};

/// Puts a run's figures together.
pub(super) fn run_report(requested: ProviderChoice, model: &Model, outcome: &Outcome, now: HostTime) -> RunReport {
    let wall_s = now.since_start().as_secs_f64();
    let start_up_s = outcome.first_frame.map_or(wall_s, |t| t.since_start().as_secs_f64());
    let run_s = match (outcome.first_frame, outcome.last_frame) {
        (Some(first), Some(last)) => last.since(first).as_secs_f64(),
        _ => 0.0,
    };
    let processed: u64 = outcome.streams.iter().map(|s| s.frames.processed).sum();
    #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
    let mean = if run_s > 0.0 { processed as f64 / run_s } else { 0.0 };
    let rate = outcome.streams.first().and_then(|s| {
        let (n, d) = s.frame_rate.split_once('/')?;
        let (n, d): (f64, f64) = (n.parse().ok()?, d.parse().ok()?);
        (n > 0.0 && d > 0.0).then_some(n / d)
    });
    let real_time = match rate {
        Some(rate) if processed > 0 => Verdict {
            verdict: if mean >= rate { "yes" } else { "no" },
            budget_ms: 1000.0 / rate,
            reason: format!("{mean:.1} fps against the stream's {rate:.2}; {}", terminal::bound_by(&outcome.threads)),
        },
        _ => Verdict { verdict: "n/a", budget_ms: 0.0, reason: "no constant frame rate".into() },
    };
    RunReport {
        version: env!("CARGO_PKG_VERSION"),
        command: redact(&std::env::args().collect::<Vec<_>>().join(" ")),
        machine: Machine::read(),
        model: ModelReport { name: model.name.clone(), sha256: model.sha256.clone(), input: outcome.input },
        provider: outcome.provider.as_ref().map_or_else(
            || ProviderFigures { requested: requested.name(), actual: "none", detail: String::new() },
            |p| ProviderFigures { requested: p.requested.name(), actual: p.actual.name(), detail: p.detail.clone() },
        ),
        streams: outcome.streams.clone(),
        fps: Fps { mean, min_1s: outcome.seconds.slowest().unwrap_or(mean) },
        latency_ms: STAGES.iter().map(|s| (s.key(), outcome.book.summary(*s))).collect(),
        real_time,
        resources: Resources {
            wall_s,
            start_up_s,
            run_s,
            cpu_share: report::threads::WORKERS
                .into_iter()
                .zip(outcome.threads.shares().into_iter().flatten())
                .collect(),
            close_s: (wall_s - start_up_s - run_s).max(0.0),
            ..report::Resources::read()
        },
        warm_up_frames_excluded: outcome.book.warm_up_frames_excluded(),
        outputs: outcome.outputs.iter().map(|(p, _)| p.display().to_string()).collect(),
    }
}

/// Shows what was found and where the time went.
pub(super) fn show(model: &Model, outcome: &Outcome, report: &RunReport, screen: &Screen) {
    let processed = report.processed();
    let dropped: u64 = report.streams.iter().map(|s| s.frames.dropped.total()).sum();
    if processed > 0 {
        screen.line("");
        screen.line(&terminal::stage_table(&outcome.book));
        screen.line(&terminal::speed_line(&outcome.book, outcome.input));
        screen.line(&format!(
            "\n  {} in {:.1} s · {:.1} fps · {dropped} dropped\n  {}",
            terminal::counted(processed, "frame"),
            report.resources.run_s,
            report.fps.mean,
            terminal::bound_by(&outcome.threads)
        ));
        for tiling in report.streams.iter().filter_map(|stream| stream.tiling.as_ref()) {
            screen.line(&format!("  {}", terminal::tiles(tiling)));
        }
        let mut seen: Vec<(u64, &String)> =
            outcome.objects.iter().copied().zip(model.classes.iter()).filter(|(n, _)| *n > 0).collect();
        seen.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        if !seen.is_empty() {
            let parts: Vec<String> = seen.iter().map(|(n, c)| terminal::counted(*n, c)).collect();
            screen.line(&format!("  {}", terminal::as_many_as_fit(&parts, screen.width().saturating_sub(2))));
        }
    }
    for (path, audio) in &outcome.outputs {
        let audio = if *audio > 0 { " (audio kept)" } else { "" };
        screen.line(&format!("  → {}{audio}", path.display()));
    }
}

/// Says what went wrong; the exit code of a run that would else have ended with `code`.
pub(super) fn failures(outcome: &Outcome, processed: u64, mut code: u8) -> u8 {
    for error in &outcome.errors {
        eprintln!("error: {}", redact(&error.to_string()));
        code = if error.is_usage() && processed == 0 && code != 1 { 2 } else { 1 };
    }
    code
}
