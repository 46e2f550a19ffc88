//! A profile as a person reads it.

use super::{Figures, Profile};
use crate::text::{append, counted, printable};

/// Widest name of a node or type that is shown whole.
const NAME: usize = 46;

/// Header, both tables with at most `top` rows, and what should be known about them.
#[must_use]
pub fn text(profile: &Profile, top: usize) -> String {
    let mut text = header(profile);
    let types: Vec<Row> = profile.types.iter().map(|of| Row::new(printable(&of.op), of)).collect();
    let several = profile.types.iter().any(|of| of.provider != profile.types[0].provider);
    let nodes = profile.nodes.iter().map(|node| {
        let provider =
            if several { format!(" ({})", node.provider.trim_end_matches("ExecutionProvider")) } else { String::new() };
        Row::new(format!("{}  {}{provider}", printable(&node.name), printable(&node.op)), node)
    });
    table(&mut text, "by type", types, top, profile);
    table(&mut text, "by node", nodes.collect(), top, profile);
    let share = profile.in_operators * 100.0;
    append(
        &mut text,
        format_args!(
            "\n  rows sum to the run with profiler, {:.3} ms in the mean: operators take {share:.1} % of it; the runtime's executor and\n  \
         the profiler, between them, {:.1} %\n",
            profile.profiled_run_ms.mean,
            100.0 - share
        ),
    );
    let calls: f64 = profile.nodes.iter().map(|node| node.calls).sum();
    let each = profile.profiler_ms * 1000.0 / calls.max(1.0);
    let each = if profile.fused { String::new() } else { format!(", {each:.1} µs a call") };
    append(
        &mut text,
        format_args!(
            "  the profiler adds {:.1} ms to a run of {:.1} ms{each}; the two took turns\n",
            profile.profiler_ms, profile.run_ms.p50
        ),
    );
    if profile.gflop.is_some() {
        append(&mut text, format_args!("  GFLOP counts a multiply-add as two, in {}\n", profile.gflop_counts));
    }
    if profile.fused {
        let provider = profile.provider.actual;
        let written = profile.nodes_as_written.map_or_else(String::new, |n| format!(" of {n} as written"));
        let made = counted(profile.nodes.len() as u64, "node");
        append(
            &mut text,
            format_args!(
                "  {provider} compiled the graph: {made}{written} ran, and what happens inside is not told;\n  --provider cpu shows operators one by one\n"
            ),
        );
    }
    for notice in &profile.notices {
        append(&mut text, format_args!("  notice: {}\n", printable(notice).replace("? ", "; ")));
    }
    text
}

fn header(profile: &Profile) -> String {
    let [b, c, h, w] = profile.model.input;
    let cores = counted(profile.machine.cores as u64, "core");
    let (plain, traced) = (&profile.run_ms, &profile.profiled_run_ms);
    let mut facts = vec![printable(&profile.model.name), format!("{} parameters", scaled(profile.parameters))];
    facts.extend(profile.gflop.map(|gflop| format!("{gflop:.2} GFLOP a run")));
    facts.push(format!("({b}, {c}, {h}, {w})"));
    let provider = &profile.provider;
    let memory =
        profile.peak_memory_bytes.map_or_else(String::new, |bytes| format!(" · peak memory {}", mebibytes(bytes)));
    let rate = profile.gflop.filter(|_| plain.p50 > 0.0);
    let rate = rate.map_or_else(String::new, |gflop| format!(" · {:.0} GFLOP/s", gflop / plain.p50 * 1000.0));
    format!(
        "  {}\n  {} ({}) · {cores} · {}, each turn after {} to warm up · input: {}\n\n  \
         run            p50 {:.1} ms, {:.1} to {:.1}{rate}{memory}\n  \
         with profiler  p50 {:.1} ms, {:.1} to {:.1}\n",
        facts.join(" · "),
        provider.actual,
        provider.detail,
        counted(profile.runs as u64, "run"),
        profile.warm_up_runs_excluded,
        printable(&profile.input),
        plain.p50,
        plain.min,
        plain.max,
        traced.p50,
        traced.min,
        traced.max,
    )
}

struct Row {
    name: String,
    calls: f64,
    ms: f64,
    share: f64,
    gflop: Option<f64>,
    parameters: Option<u64>,
}

impl Row {
    fn new(name: String, of: &Figures) -> Self {
        Self { name, calls: of.calls, ms: of.ms, share: of.share, gflop: of.gflop, parameters: of.parameters }
    }
}

fn table(text: &mut String, title: &str, mut rows: Vec<Row>, top: usize, profile: &Profile) {
    if rows.len() > top {
        let rest = rows.split_off(top);
        let left = counted(rest.len() as u64, if title == "by type" { "type" } else { "node" });
        let sum = |of: fn(&Row) -> f64| rest.iter().map(of).sum();
        rows.push(Row {
            name: format!("{left} more"),
            calls: sum(|row| row.calls),
            ms: sum(|row| row.ms),
            share: sum(|row| row.share),
            gflop: Some(sum(|row| row.gflop.unwrap_or(0.0))).filter(|gflop| *gflop > 0.0),
            parameters: Some(rest.iter().filter_map(|row| row.parameters).sum()),
        });
    }
    rows.push(Row {
        name: "between operators".into(),
        calls: 0.0,
        ms: profile.between_operators_ms,
        share: 1.0 - profile.in_operators,
        gflop: None,
        parameters: None,
    });
    let names: Vec<String> = rows.iter().map(|row| shortened(&row.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(title.len());
    append(
        text,
        format_args!(
            "\n  {title:width$}{:>8}{:>10}{:>9}{:>10}{:>10}{:>12}\n",
            "calls", "ms", "share", "GFLOP", "GFLOP/s", "parameters"
        ),
    );
    for (row, name) in rows.iter().zip(names) {
        let dash = || "-".to_owned();
        let calls = if row.calls > 0.0 { format!("{:.0}", row.calls) } else { dash() };
        let gflop = row.gflop.map_or_else(dash, |gflop| format!("{gflop:.3}"));
        let rate =
            row.gflop.filter(|_| row.ms > 0.0).map_or_else(dash, |gflop| format!("{:.0}", gflop / row.ms * 1000.0));
        let parameters = row.parameters.filter(|n| *n > 0).map_or_else(dash, scaled);
        append(
            text,
            format_args!(
                "  {name:width$}{calls:>8}{:>10.3}{:>7.1} %{gflop:>10}{rate:>10}{parameters:>12}\n",
                row.ms,
                row.share * 100.0
            ),
        );
    }
}

/// The end of a long name: graphs name nodes from the outermost part to the innermost.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= NAME {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(length + 1 - NAME)).collect()
}

/// A count with three digits or so: `3.15 M`.
#[expect(clippy::cast_precision_loss, reason = "a count for people")]
fn scaled(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", n as f64 / 1e6),
        _ => format!("{:.2} G", n as f64 / 1e9),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_fit_their_columns() {
        assert_eq!(scaled(9_999), "9999");
        assert_eq!(scaled(912_345), "912.3 k");
        assert_eq!(scaled(3_151_904), "3.15 M");
        assert_eq!(mebibytes(3 << 20), "3 MiB");
        let long = format!("/backbone{}/Conv", "/dark".repeat(20));
        let short = shortened(&long);
        assert_eq!(short.chars().count(), NAME);
        assert!(short.starts_with('…') && short.ends_with("/Conv"), "{short}");
        assert_eq!(shortened("é/Conv"), "é/Conv");
    }
}
