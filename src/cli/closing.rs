//! A run's end: the run report, and what is said of it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::show::Screen;
use crate::clock::HostTime;
use crate::inference::ProviderChoice;
use crate::latency::{STAGES, Stage};
use crate::model::Model;
use crate::pipeline::Outcome;
use crate::report::verdict::{Load, Verdict};
use crate::report::{self, Fps, Machine, ModelReport, ProviderFigures, Resources, RunReport, terminal};
use crate::secrets::redact;
use crate::stream::{Dropped, LiveOutput};
use crate::text;

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
    let gpu = outcome.gpu.as_ref();
    let resources = Resources {
        wall_s,
        start_up_s,
        run_s,
        close_s: (wall_s - start_up_s - run_s).max(0.0),
        cpu_share: report::threads::WORKERS.into_iter().zip(outcome.threads.shares().into_iter().flatten()).collect(),
        threads: outcome.threads.most(),
        gpu_utilisation: gpu.and_then(|gpu| gpu.utilisation),
        gpu_memory_bytes: gpu.and_then(|gpu| gpu.memory_bytes),
        ..report::Resources::read()
    };
    RunReport {
        version: env!("CARGO_PKG_VERSION"),
        command: redact(&std::env::args().collect::<Vec<_>>().join(" ")),
        machine: Machine { gpu: gpu.map(|gpu| gpu.name.clone()), ..Machine::read() },
        model: ModelReport { name: model.name.clone(), sha256: model.sha256.clone(), input: outcome.input },
        provider: outcome.provider.as_ref().map_or_else(
            || ProviderFigures { requested: requested.name(), actual: "none", detail: String::new() },
            |p| ProviderFigures { requested: p.requested.name(), actual: p.actual.name(), detail: p.detail.clone() },
        ),
        streams: outcome.streams.clone(),
        fps: Fps { mean, min_1s: outcome.seconds.slowest().unwrap_or(mean), std_dev_1s: outcome.seconds.deviation() },
        latency_ms: STAGES
            .iter()
            .map(|stage| (*stage, outcome.book.summary(*stage)))
            .filter(|(stage, summary)| *stage != Stage::CaptureToDisplay || summary.count > 0)
            .map(|(stage, summary)| (stage.key(), summary))
            .collect(),
        batches: report::Batches::new(outcome.batches.clone()),
        real_time: verdict(outcome, mean),
        resources: Resources {
            cores_used: (resources.cpu_user_s + resources.cpu_system_s) / wall_s.max(1e-9),
            ..resources
        },
        warm_up_frames_excluded: outcome.book.warm_up_frames_excluded(),
        outputs: outcome.outputs.iter().map(|(p, _)| p.display().to_string()).collect(),
        live_outputs: outcome.live_outputs.clone(),
        settings: BTreeMap::new(),
    }
}

fn verdict(outcome: &Outcome, fps: f64) -> Verdict {
    let rate = |fraction: &str| {
        let (n, d) = fraction.split_once('/')?;
        let (n, d): (f64, f64) = (n.parse().ok()?, d.parse().ok()?);
        (n > 0.0 && d > 0.0).then_some(n / d)
    };
    let behind = outcome.book.summary(Stage::BehindLive);
    let frames = || outcome.streams.iter().map(|s| s.frames);
    Load {
        rates: outcome.streams.iter().filter_map(|s| rate(&s.frame_rate)).collect(),
        fps,
        received: frames().map(|f| f.received).sum(),
        lost: frames().map(|f| f.dropped.stale + f.dropped.queue_full).sum(),
        behind_p99_ms: (behind.count > 0).then_some(behind.p99),
        model_ms: outcome.book.per_image_ms().iter().sum(),
        bound_by: terminal::bound_by(&outcome.threads),
    }
    .judge()
}

/// Shows what was found and where the time went; `thoroughly` also what it took, and whether it keeps up.
pub(super) fn show(model: &Model, outcome: &Outcome, report: &RunReport, screen: &Screen, thoroughly: bool) {
    if report.processed() > 0 {
        screen.line("");
        screen.line(&terminal::stage_table(&outcome.book));
        screen.line(&terminal::speed_line(&outcome.book, outcome.input));
        screen.line("");
        if thoroughly {
            cost(report, outcome, screen);
        } else {
            screen.line(&format!(
                "  {} in {:.1} s · {:.1} fps · {}\n  {}",
                text::counted(report.processed(), "frame"),
                report.resources.run_s,
                report.fps.mean,
                dropped(report),
                terminal::bound_by(&outcome.threads)
            ));
        }
        for tiling in report.streams.iter().filter_map(|stream| stream.tiling.as_ref()) {
            screen.line(&format!("  {}", terminal::tiles(tiling)));
        }
        found(model, outcome, screen);
    }
    for stream in report.streams.iter().filter(|stream| !stream.outages.is_empty()) {
        let times = text::counted(stream.reconnects, "reconnect");
        screen.line(&format!("  {} · {times} · away for {:.1} s", text::printable(&stream.uri), stream.outages_s));
    }
    for (path, audio) in &outcome.outputs {
        let audio = if *audio > 0 { " (audio kept)" } else { "" };
        screen.line(&format!("  → {}{audio}", path.display()));
    }
    for output in &outcome.live_outputs {
        screen.line(&format!("  → {}", live(output)));
    }
}

/// What a live output sent, in a line.
fn live(output: &LiveOutput) -> String {
    let LiveOutput { uri, frames_sent, frames_lost, reconnects, clients } = output;
    let mut said = format!("{uri}: {} sent, {frames_lost} lost", text::counted(*frames_sent, "frame"));
    if let Some(clients) = clients {
        let _ = write!(said, " · {}", text::counted(*clients, "client"));
    }
    if *reconnects > 0 {
        let _ = write!(said, " · {}", text::counted(*reconnects, "reconnect"));
    }
    said
}

fn found(model: &Model, outcome: &Outcome, screen: &Screen) {
    let mut seen: Vec<(u64, &String)> =
        outcome.objects.iter().copied().zip(model.classes.iter()).filter(|(n, _)| *n > 0).collect();
    seen.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    if !seen.is_empty() {
        let parts: Vec<String> = seen.iter().map(|(n, c)| text::counted(*n, c)).collect();
        screen.line(&format!("  {}", text::as_many_as_fit(&parts, Screen::width().saturating_sub(2))));
    }
}

/// `0 dropped`, or how many for which reason.
fn dropped(report: &RunReport) -> String {
    let mut all = Dropped::default();
    for stream in &report.streams {
        all.add(stream.frames.dropped);
    }
    let reasons: Vec<String> = [(all.stale, "stale"), (all.queue_full, "for newer ones"), (all.corrupt, "corrupt")]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, reason)| format!("{n} {reason}"))
        .collect();
    if reasons.is_empty() { "0 dropped".into() } else { format!("{} dropped: {}", all.total(), reasons.join(", ")) }
}

/// What a streaming test ends with.
fn cost(report: &RunReport, outcome: &Outcome, screen: &Screen) {
    let (r, fps) = (&report.resources, &report.fps);
    let deviation = fps.std_dev_1s.map_or_else(String::new, |d| format!(", deviation {d:.1}"));
    let gpu = match (&report.machine.gpu, r.gpu_utilisation, r.gpu_memory_bytes) {
        (None, ..) => "no GPU".into(),
        (Some(name), busy, memory) => {
            let busy = busy.map_or_else(String::new, |share| format!(" {:.0} % busy", share * 100.0));
            let memory = memory.map_or_else(String::new, |bytes| format!(", {}", terminal::megabytes(bytes)));
            format!("{name}{busy}{memory}")
        }
    };
    let rows = [
        ("frames", format!("{} · {}", text::grouped(report.processed()), dropped(report))),
        ("fps", format!("mean {:.1}, lowest second {:.1}{deviation}", fps.mean, fps.min_1s)),
        (
            "time",
            format!("{:.2} s = start-up {:.2} + run {:.2} + close {:.2}", r.wall_s, r.start_up_s, r.run_s, r.close_s),
        ),
        (
            "resources",
            format!(
                "{:.2} s of CPU, {:.1} of {} cores · {} at most · {} threads · {gpu}",
                r.cpu_user_s + r.cpu_system_s,
                r.cores_used,
                report.machine.cores,
                terminal::megabytes(r.max_rss_bytes),
                r.threads
            ),
        ),
        ("bottleneck", terminal::bottleneck(&outcome.threads)),
    ];
    for (name, value) in rows {
        screen.line(&format!("  {name:<11} {value}"));
    }
    if report.warm_up_frames_excluded > 0 {
        screen.line(&format!("  {:<11} first {} left out of the latencies", "warm-up", {
            text::counted(report.warm_up_frames_excluded, "frame")
        }));
    }
    let Verdict { verdict, budget_ms, reason } = &report.real_time;
    let budget = if *budget_ms > 0.0 { format!(" · {budget_ms:.1} ms a frame") } else { String::new() };
    screen.line(&format!("\n  REAL-TIME: {verdict}{budget} · {reason}"));
}

/// Says what went wrong; the exit code of a run that would else have ended with `code`.
pub(super) fn failures(outcome: &Outcome, processed: u64, mut code: u8) -> u8 {
    for error in &outcome.errors {
        eprintln!("error: {}", redact(&error.to_string()));
        code = if error.is_usage() && processed == 0 && code != 1 { 2 } else { 1 };
    }
    code
}
