//! Metrics of runs that come and go, in one text.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::exposition::Exposition;
use super::metrics::Metrics;
use crate::fleet::Figures;

/// Families about the program: the same in every run's text.
const OF_THE_PROGRAM: [&str; 4] = [
    "streamdet_build_info",
    "streamdet_model_info",
    "process_cpu_seconds_total",
    "streamdet_peak_resident_memory_bytes",
];

/// Metrics of several runs, by their names, and of the program.
#[derive(Default)]
pub struct MergedMetrics {
    program: Option<Metrics>,
    /// Where the program is an instance of a fleet.
    fleet: OnceLock<Arc<Figures>>,
    runs: RwLock<BTreeMap<String, Arc<Metrics>>>,
}

impl MergedMetrics {
    /// Of the program; no run yet.
    #[must_use]
    pub fn of(program: Metrics) -> Self {
        Self { program: Some(program), ..Self::default() }
    }

    /// Has the program be an instance of a fleet, of which this is counted.
    pub fn count_fleet(&self, figures: Arc<Figures>) {
        // It joins once.
        let _ = self.fleet.set(figures);
    }

    /// Adds a run's; those of a run of the same name go.
    pub fn insert(&self, name: &str, metrics: Arc<Metrics>) {
        self.runs.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), metrics);
    }

    /// Those of this run go.
    pub fn remove(&self, name: &str) {
        self.runs.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// What is missing before every stream delivers frames, a line each.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let not_ready = |(name, metrics): (&String, &Arc<Metrics>)| {
            let named = |problem: String| format!("{name}: {problem}");
            metrics.not_ready().into_iter().map(named).collect::<Vec<_>>()
        };
        self.runs.read().unwrap_or_else(PoisonError::into_inner).iter().flat_map(not_ready).collect()
    }

    /// Appends everything in Prometheus' text format: each family once, with the samples of all runs.
    pub fn write(&self, text: &mut String) {
        let all: Vec<_> = self.runs.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let written = |write: &dyn Fn(&mut String)| {
            let mut own = String::new();
            write(&mut own);
            own
        };
        let program = self.program.iter().map(|program| written(&|text| program.write_program(text)));
        let runs = all.iter().map(|metrics| written(&|text| metrics.write(text)));
        merge(&program.chain(runs).collect::<Vec<_>>(), text);
        if let Some(figures) = self.fleet.get() {
            about_the_fleet(figures, &mut Exposition::new(text));
        }
    }
}

fn about_the_fleet(figures: &Figures, out: &mut Exposition) {
    let Figures { is_connected, capacity, streams, desired, taken, taken_over } = figures;
    let is_connected = u64::from(is_connected.load(Ordering::Relaxed));
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    for (name, kind, help, value) in [
        ("streamdet_fleet_connected", "gauge", "Whether the fleet's server is reached.", is_connected),
        ("streamdet_fleet_capacity_streams", "gauge", "Streams that this instance takes at most.", get(capacity)),
        ("streamdet_fleet_streams", "gauge", "The fleet's streams that this instance runs.", get(streams)),
        ("streamdet_fleet_desired_streams", "gauge", "Streams of the whole fleet, with those that wait.", get(desired)),
        ("streamdet_fleet_taken_total", "counter", "Streams that this instance has taken.", get(taken)),
        ("streamdet_fleet_taken_over_total", "counter", "Those of them whose instance was gone.", get(taken_over)),
    ] {
        out.family(name, kind, help);
        out.sample(&[], value);
    }
}

/// Texts in one, family by family.
fn merge(texts: &[String], all: &mut String) {
    let mut families: Vec<(&str, &str, String)> = Vec::new();
    for text in texts {
        // Each begins with its help, then its type.
        let mut rest = text.as_str();
        while let Some(after) = rest.strip_prefix("# HELP ") {
            let end = after.find("# HELP ").unwrap_or(after.len());
            let (family, following) = after.split_at(end);
            rest = following;
            let name = family.split(' ').next().unwrap_or_default();
            let head = family.match_indices('\n').nth(1).map_or(family.len(), |(at, _)| at + 1);
            let (head, samples) = family.split_at(head);
            match families.iter_mut().find(|(known, ..)| *known == name) {
                Some(_) if OF_THE_PROGRAM.contains(&name) => {}
                Some((.., all)) => all.push_str(samples),
                None => families.push((name, head, samples.to_owned())),
            }
        }
    }
    for (_, head, samples) in families {
        all.extend(["# HELP ", head, &samples]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_stands_once_with_the_samples_of_all() {
        let text = |stream: &str| {
            format!(
                "# HELP streamdet_build_info It.\n# TYPE streamdet_build_info gauge\nstreamdet_build_info 1\n# HELP streamdet_fps \
                 Frames.\n# TYPE streamdet_fps gauge\nstreamdet_fps{{stream=\"{stream}\"}} 25\n"
            )
        };
        let mut all = String::new();
        merge(&[text("a"), text("b")], &mut all);
        assert_eq!(
            all,
            "# HELP streamdet_build_info It.\n# TYPE streamdet_build_info gauge\nstreamdet_build_info 1\n# HELP streamdet_fps \
             Frames.\n# TYPE streamdet_fps gauge\nstreamdet_fps{stream=\"a\"} 25\nstreamdet_fps{stream=\"b\"} 25\n"
        );
    }
}
