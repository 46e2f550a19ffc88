//! Runs with different settings against each other, by their reports.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Least, median and largest of a figure over the runs.
fn spread(runs: &[Value], figure: &dyn Fn(&Value) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    let (half, n) = (values.len() / 2, values.len());
    let median = if n.is_multiple_of(2) { f64::midpoint(values[half - 1], values[half]) } else { values[half] };
    [values[0], median, values[n - 1]]
}

fn fps(run: &Value) -> f64 {
    run["fps"]["mean"].as_f64().unwrap_or(0.0)
}

fn p50(stage: &'static str) -> impl Fn(&Value) -> f64 {
    move |run| run["latency_ms"][stage]["p50"].as_f64().unwrap_or(0.0)
}

/// The table of combinations, each with its runs' reports.
#[must_use]
pub fn table(names: &[String], runs: &[Vec<Value>]) -> String {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(11);
    let mut lines = vec![format!(
        "  {:width$}  {:>8}{:>8}{:>8}{:>8}  {:>11}{:>12}{:>9}  real-time",
        "combination", "fps min", "median", "max", "ratio", "inference", "end to end", "memory"
    )];
    let first = spread(&runs[0], &fps)[1];
    for (name, runs) in names.iter().zip(runs) {
        let [min, median, max] = spread(runs, &fps);
        let (inference, end_to_end) = (spread(runs, &p50("inference"))[1], spread(runs, &p50("end_to_end"))[1]);
        let memory = spread(runs, &|run| run["resources"]["max_rss_bytes"].as_f64().unwrap_or(0.0))[1] / 1e6;
        let yes = runs.iter().filter(|run| run["real_time"]["verdict"] == "yes").count();
        lines.push(format!(
            "  {name:width$}  {min:>8.1}{median:>8.1}{max:>8.1}{:>8.2}  {inference:>8.1} ms{end_to_end:>9.1} ms{memory:>6.0} MB  \
             {yes} of {}",
            median / first.max(1e-9),
            runs.len()
        ));
    }
    lines.push("\n  fps over the rounds; ratio of medians to the first row; latencies are medians of p50".into());
    lines.join("\n")
}

/// One combination in the report of a comparison.
#[must_use]
pub fn summary(row: &[(&str, &str)], runs: &[Value]) -> Value {
    let [min, median, max] = spread(runs, &fps);
    let settings: BTreeMap<_, _> = row.iter().copied().collect();
    json!({ "settings": settings, "fps": { "min": min, "median": median, "max": max }, "runs": runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let runs: Vec<Value> = [3.0, 1.0, 2.0, 10.0].iter().map(|fps| json!({ "fps": { "mean": fps } })).collect();
        assert_eq!(spread(&runs, &fps).map(|fps| format!("{fps:.1}")), ["1.0", "2.5", "10.0"]);
    }
}
