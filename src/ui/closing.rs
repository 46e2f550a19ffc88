//! The end of a run: what is printed of its figures.

use super::screen::Screen;
use super::tables;
use crate::model::Origin;
use crate::report::RunReport;
use crate::report::figures::RunFigures;
use crate::report::verdict::{Verdict, bound_by};
use crate::stream::{AudioKept, Dropped, LiveOutput};
use crate::text;

/// Shows what was found and where the time went; `thoroughly` also what it took, and whether it keeps up.
pub(crate) fn show(origin: &Origin, figures: &RunFigures, report: &RunReport, screen: &Screen, thoroughly: bool) {
    if report.processed() > 0 {
        screen.line("");
        screen.line(&tables::stage_table(&figures.book));
        if origin.recorded.is_none() {
            screen.line(&tables::speed_line(&figures.book, figures.input));
        }
        screen.line("");
        if thoroughly {
            cost(report, figures, screen);
        } else {
            screen.line(&format!(
                "  {} in {:.1} s · {:.1} fps · {}\n  {}",
                text::counted(report.processed(), "frame"),
                report.resources.run_s,
                report.fps.mean,
                dropped(report),
                bound_by(&figures.threads)
            ));
        }
        for tiling in report.streams.iter().filter_map(|stream| stream.tiling.as_ref()) {
            screen.line(&format!("  {}", tables::tiles(tiling)));
        }
        found(origin, figures, screen);
        for stream in &report.streams {
            // With several streams, whose they are.
            let of =
                if report.streams.len() > 1 { format!("{} · ", text::printable(&stream.uri)) } else { String::new() };
            for line in tables::counts(&stream.lines, &stream.zones) {
                screen.line(&format!("  {of}{line}"));
            }
        }
    }
    for stream in report.streams.iter().filter(|stream| !stream.outages.is_empty()) {
        let times = text::counted(stream.reconnects, "reconnect");
        screen.line(&format!(
            "  {} · {times} · disconnected for {:.1} s",
            text::printable(&stream.uri),
            stream.outages_s
        ));
    }
    for (path, audio) in &figures.outputs {
        screen.line(&format!("  → {}{}", path.display(), kept(audio)));
    }
    for output in &figures.live_outputs {
        screen.line(&format!("  → {}", live(output)));
    }
}

/// What a file has of the audio: ` (audio kept) · 6.0 s of it`.
fn kept(audio: &AudioKept) -> String {
    let AudioKept { passed_through, reencoded, length } = audio;
    let how = match (passed_through, reencoded) {
        (0, 0) => return String::new(),
        (0, _) => "re-encoded",
        (_, 0) => "kept",
        _ => "kept and re-encoded",
    };
    let tracks = passed_through + reencoded;
    let tracks = if tracks > 1 { format!(" in {tracks} tracks") } else { String::new() };
    format!(" (audio {how}) · {:.1} s of it{tracks}", length.as_secs_f64())
}

/// What a live output sent, in a line.
fn live(output: &LiveOutput) -> String {
    let LiveOutput { uri, frames_sent, frames_lost, reconnects, clients, clients_refused } = output;
    let mut said = format!("{uri}: {} sent, {frames_lost} dropped", text::counted(*frames_sent, "frame"));
    if let Some(clients) = clients {
        said = format!("{said} · {}", text::counted(*clients, "client"));
    }
    if let Some(refused @ 1..) = clients_refused {
        said = format!("{said} · {refused} refused");
    }
    if *reconnects > 0 {
        said = format!("{said} · {}", text::counted(*reconnects, "reconnect"));
    }
    said
}

fn found(origin: &Origin, figures: &RunFigures, screen: &Screen) {
    let mut seen: Vec<(u64, &String)> =
        figures.objects.iter().copied().zip(origin.classes.iter()).filter(|(n, _)| *n > 0).collect();
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
    let reasons: Vec<String> =
        [(all.stale, "stale"), (all.queue_full, "queue_full"), (all.corrupt, "corrupt"), (all.failed, "failed")]
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, reason)| format!("{n} {reason}"))
            .collect();
    if reasons.is_empty() { "0 dropped".into() } else { format!("{} dropped: {}", all.total(), reasons.join(", ")) }
}

/// What a streaming test ends with.
fn cost(report: &RunReport, figures: &RunFigures, screen: &Screen) {
    let (r, fps) = (&report.resources, &report.fps);
    let deviation = fps.std_dev_1s.map_or_else(String::new, |d| format!(", deviation {d:.1}"));
    let gpu = match (&report.machine.gpu, r.gpu_utilisation, r.gpu_memory_bytes) {
        (None, ..) => "no GPU".into(),
        (Some(name), busy, memory) => {
            let busy = busy.map_or_else(String::new, |share| format!(" {:.0} % busy", share * 100.0));
            let memory = memory.map_or_else(String::new, |bytes| format!(", {}", text::megabytes(bytes)));
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
                "{:.2} s of CPU, {:.1} of {} cores · {} peak memory · {} threads · {gpu}",
                r.cpu_user_s + r.cpu_system_s,
                r.cores_used,
                report.machine.cores,
                text::megabytes(r.max_rss_bytes),
                r.threads
            ),
        ),
        ("bottleneck", tables::bottleneck(&figures.threads)),
    ];
    for (name, value) in rows {
        screen.line(&format!("  {name:<11} {value}"));
    }
    if report.warm_up_frames_excluded > 0 {
        screen.line(&format!("  {:<11} first {} excluded from the latencies", "warm-up", {
            text::counted(report.warm_up_frames_excluded, "frame")
        }));
    }
    let Verdict { verdict, budget_ms, reason } = &report.real_time;
    let budget = if *budget_ms > 0.0 { format!(" · {budget_ms:.1} ms per frame") } else { String::new() };
    screen.line(&format!("\n  REAL-TIME: {verdict}{budget} · {reason}"));
}
