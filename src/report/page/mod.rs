//! The page of a run (`--html`): one file, no network, no script.

mod axis;
mod charts;

use super::plot::{escaped, to_svg};
use super::sheet;
use super::{ModelReport, RunReport, StreamReport};
use crate::latency::{LatencyBook, Timeline};
use crate::text::{append, counted, grouped, megabytes};

const STYLE: &str = include_str!("page.css");

/// Writes the page.
#[must_use]
pub fn page(report: &RunReport, book: &LatencyBook, timeline: &Timeline) -> String {
    let mut out = String::new();
    let names: Vec<&str> = report.streams.iter().map(|s| s.uri.rsplit('/').next().unwrap_or(&s.uri)).collect();
    let title = match names.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("{} streams", several.len()),
    };
    sheet::begin(&mut out, &title, STYLE);
    head(&mut out, report, &title);
    stage_table(&mut out, report, book);
    out.push_str("<h2>Over time</h2><div class=\"charts\">\n");
    let rate = charts::rate(timeline, report.fps.mean, report.real_time.budget_ms);
    for scene in [charts::over_time(book, timeline), rate, charts::distribution(book)] {
        append(&mut out, format_args!("<div class=\"chart\">{}</div>\n", to_svg(&scene)));
    }
    out.push_str("</div>\n");
    streams(&mut out, &report.streams);
    facts(&mut out, report);
    sheet::end(&mut out, &report.command);
    out
}

fn head(out: &mut String, report: &RunReport, title: &str) {
    let (provider, machine) = (&report.provider, &report.machine);
    let with = match (&report.model, &report.detections) {
        (Some(ModelReport { name, input: [_, _, height, width], .. }), _) => {
            format!("{} at {height}×{width}", escaped(name))
        }
        (None, Some(recorded)) => format!("detections of {}", escaped(&recorded.file)),
        (None, None) => String::new(),
    };
    let cores = counted(machine.cores as u64, "core");
    append(
        out,
        format_args!(
            "<h1>{}</h1><p class=\"sub\">{with} · {} ({}) · {} · {cores}</p><div class=\"tiles\">",
            escaped(title),
            provider.actual,
            escaped(&provider.detail),
            escaped(&machine.cpu)
        ),
    );
    let dropped: u64 = report.streams.iter().map(|s| s.frames.dropped.total()).sum();
    let end_to_end = report.latency_ms.get("end_to_end").copied().unwrap_or_default();
    let verdict = &report.real_time;
    let tiles = [
        ("lead", format!("{:.1}", report.fps.mean), "frames per second".to_owned()),
        ("", format!("{:.1}", report.fps.min_1s), "in the slowest second".into()),
        ("", format!("{:.1} ms", end_to_end.p50), "end to end, median".into()),
        ("", format!("{:.1} ms", end_to_end.p99), "end to end, p99".into()),
        ("", grouped(report.processed()), format!("frames, {} dropped", grouped(dropped))),
        (
            if verdict.verdict == "no" { "verdict no" } else { "verdict" },
            verdict.verdict.to_owned(),
            "real-time".into(),
        ),
    ];
    for (class, value, label) in tiles {
        append(out, format_args!("<div class=\"tile {class}\"><b>{value}</b><span>{label}</span></div>"));
    }
    append(out, format_args!("</div><p class=\"note\">Real-time: {}.", escaped(&verdict.reason)));
    if verdict.budget_ms > 0.0 {
        append(out, format_args!(" {:.1} ms per frame are available.", verdict.budget_ms));
    }
    out.push_str("</p>\n");
}

fn stage_table(out: &mut String, report: &RunReport, book: &LatencyBook) {
    out.push_str(
        "<h2>Every stage, ms</h2><div class=\"scroll\"><table><tr><th>stage</th><th>frames</th><th>p50</th><th>p90</th>\
         <th>p99</th><th>max</th><th>mean</th><th></th></tr>\n",
    );
    for stage in charts::stages(book) {
        let s = book.summary(stage);
        let class = if stage == crate::latency::Stage::EndToEnd { " class=\"all\"" } else { "" };
        append(
            out,
            format_args!(
                "<tr{class}><td>{}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td>\
             <td class=\"histogram\">{}</td></tr>\n",
                charts::name(stage),
                grouped(s.count),
                s.p50,
                s.p90,
                s.p99,
                s.max,
                s.mean,
                to_svg(&charts::histogram(book, stage)).replacen("<svg ", "<svg preserveAspectRatio=\"none\" ", 1)
            ),
        );
    }
    let warm_up = match report.warm_up_frames_excluded {
        0 => String::new(),
        n => format!(" The first {} are excluded here; the charts over time have them.", counted(n, "frame")),
    };
    append(
        out,
        format_args!(
            "</table></div><p class=\"note\">Elapsed times of single frames. From queue wait to hand over they sum to end to end; \
         decode and encode lie outside. Histograms share one logarithmic axis.{warm_up}</p>\n"
        ),
    );
}

fn streams(out: &mut String, streams: &[StreamReport]) {
    out.push_str(
        "<h2>Streams</h2><div class=\"scroll\"><table><tr><th>source</th><th>size</th><th>frames/s</th><th>received</th>\
         <th>processed</th><th>inferred</th><th>stale</th><th>queue full</th><th>corrupt</th></tr>\n",
    );
    for s in streams {
        let (f, d) = (s.frames, s.frames.dropped);
        append(out, format_args!("<tr><td>{}</td><td>{}×{}</td>", escaped(&s.uri), s.width, s.height));
        let rate = if s.frame_rate == "0/1" { "varies" } else { &s.frame_rate };
        append(out, format_args!("<td>{}</td>", escaped(rate)));
        for n in [f.received, f.processed, f.inferred, d.stale, d.queue_full, d.corrupt] {
            append(out, format_args!("<td>{}</td>", grouped(n)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn facts(out: &mut String, report: &RunReport) {
    let (r, machine) = (&report.resources, &report.machine);
    let s = |seconds: f64| format!("{seconds:.2} s");
    let mut resources = vec![
        ("wall time", s(r.wall_s)),
        ("start-up", s(r.start_up_s)),
        ("run", s(r.run_s)),
        ("close", s(r.close_s)),
        ("CPU time", format!("{:.2} s, {:.2} s in the kernel", r.cpu_user_s + r.cpu_system_s, r.cpu_system_s)),
        ("cores used", format!("{:.2} of {}", r.cores_used, machine.cores)),
        ("memory", format!("{} at most", megabytes(r.max_rss_bytes))),
        ("threads", format!("{} at most", r.threads)),
    ];
    resources
        .extend(r.cpu_share.iter().map(|(worker, share)| (*worker, format!("{:.0} % of the CPU time", share * 100.0))));
    resources.extend(r.gpu_utilisation.map(|share| ("GPU", format!("{:.0} % busy", share * 100.0))));
    resources.extend(r.gpu_memory_bytes.map(|bytes| ("GPU memory", megabytes(bytes))));
    let mut place = vec![
        ("CPU", machine.cpu.clone()),
        ("cores", machine.cores.to_string()),
        ("memory", megabytes(machine.memory_bytes)),
        ("GPU", machine.gpu.clone().unwrap_or_else(|| "none".into())),
    ];
    if let Some(model) = &report.model {
        place.push(("model", model.name.clone()));
        place.push(("sha256", model.sha256.clone()));
        place.push(("input", format!("{:?}", model.input)));
    }
    place.extend(report.detections.iter().map(|recorded| ("detections", recorded.file.clone())));
    let settings = report.settings.iter().map(|(key, value)| (*key, value.clone())).collect();
    out.push_str("<div class=\"facts\">\n");
    for (title, rows) in [("Resources", resources), ("Settings", settings), ("Machine and model", place)] {
        append(out, format_args!("<section><h2>{title}</h2><table>"));
        for (name, value) in rows {
            append(out, format_args!("<tr><td>{name}</td><td>{}</td></tr>", escaped(&value)));
        }
        out.push_str("</table></section>\n");
    }
    out.push_str("</div>\n");
}
