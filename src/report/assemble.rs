//! The run report, assembled from what a run measured.

use std::collections::BTreeMap;

use super::figures::RunFigures;
use super::threads::WORKERS;
use super::verdict::{Load, Verdict, bound_by};
use super::{Batches, Fps, Machine, ModelReport, ProviderFigures, Resources, RunReport};
use crate::clock::HostTime;
use crate::inference::ProviderChoice;
use crate::latency::{STAGES, Stage};
use crate::model::Origin;

/// What ran, as far as its figures do not say.
#[derive(Debug, Clone)]
pub struct RunContext<'a> {
    /// The command line, without secrets.
    pub command: String,
    /// Where detections come from.
    pub origin: &'a Origin,
    /// The execution provider that was asked for.
    pub requested: ProviderChoice,
    /// The settings that decide how fast it is, as text.
    pub settings: BTreeMap<&'static str, String>,
}

impl RunReport {
    /// The report of a run that ended at `now`; reads this machine's and this process's figures.
    #[must_use]
    pub fn assemble(run: &RunContext, figures: &RunFigures, now: HostTime) -> Self {
        let wall_s = now.since_start().as_secs_f64();
        let start_up_s = figures.first_frame.map_or(wall_s, |t| t.since_start().as_secs_f64());
        let run_s = match (figures.first_frame, figures.last_frame) {
            (Some(first), Some(last)) => last.since(first).as_secs_f64(),
            _ => 0.0,
        };
        #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
        let mean = if run_s > 0.0 { figures.processed() as f64 / run_s } else { 0.0 };
        let gpu = figures.gpu.as_ref();
        let resources = Resources {
            wall_s,
            start_up_s,
            run_s,
            close_s: (wall_s - start_up_s - run_s).max(0.0),
            cpu_share: WORKERS.into_iter().zip(figures.threads.shares().into_iter().flatten()).collect(),
            threads: figures.threads.most(),
            gpu_utilisation: gpu.and_then(|gpu| gpu.utilisation),
            gpu_memory_bytes: gpu.and_then(|gpu| gpu.memory_bytes),
            ..Resources::read()
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            command: run.command.clone(),
            machine: Machine { gpu: gpu.map(|gpu| gpu.name.clone()), ..Machine::read() },
            model: run.origin.recorded.is_none().then(|| ModelReport {
                name: run.origin.name.clone(),
                sha256: run.origin.sha256.clone(),
                input: figures.input,
            }),
            detections: run.origin.recorded.clone(),
            provider: figures
                .provider
                .as_ref()
                .map_or_else(|| ProviderFigures::none(run.requested), ProviderFigures::new),
            streams: figures.streams.clone(),
            accounted: figures.streams.iter().all(|stream| stream.accounted),
            fps: Fps {
                mean,
                min_1s: figures.seconds.slowest().unwrap_or(mean),
                std_dev_1s: figures.seconds.deviation(),
            },
            latency_ms: STAGES
                .iter()
                .map(|stage| (*stage, figures.book.summary(*stage)))
                .filter(|(stage, summary)| *stage != Stage::CaptureToDisplay || summary.count > 0)
                .map(|(stage, summary)| (stage.key(), summary))
                .collect(),
            batches: Batches::new(figures.batches.clone()),
            real_time: verdict(figures, mean),
            resources: Resources {
                cores_used: (resources.cpu_user_s + resources.cpu_system_s) / wall_s.max(1e-9),
                ..resources
            },
            warm_up_frames_excluded: figures.book.warm_up_frames_excluded(),
            outputs: figures.outputs.iter().map(|(p, _)| p.display().to_string()).collect(),
            live_outputs: figures.live_outputs.clone(),
            settings: run.settings.clone(),
        }
    }
}

fn verdict(figures: &RunFigures, fps: f64) -> Verdict {
    let rate = |fraction: &str| {
        let (n, d) = fraction.split_once('/')?;
        let (n, d): (f64, f64) = (n.parse().ok()?, d.parse().ok()?);
        (n > 0.0 && d > 0.0).then_some(n / d)
    };
    let behind = figures.book.summary(Stage::BehindLive);
    let frames = || figures.streams.iter().map(|s| s.frames);
    Load {
        rates: figures.streams.iter().filter_map(|s| rate(&s.frame_rate)).collect(),
        fps,
        received: frames().map(|f| f.received).sum(),
        dropped: frames().map(|f| f.dropped.stale + f.dropped.queue_full).sum(),
        behind_p99_ms: (behind.count > 0).then_some(behind.p99),
        model_ms: figures.book.per_image_ms().iter().sum(),
        bound_by: bound_by(&figures.threads),
    }
    .judge()
}
