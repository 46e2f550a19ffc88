//! Monitoring: Prometheus metrics, liveness and readiness, as `serve` answers with them.
//!
//! Metrics receive; they never steer. The pipeline's threads add to atomics; whoever asks reads them.

mod counts;
mod exposition;
mod liveness;
mod merged;
mod metrics;
mod pace;
mod published;
mod watched;

pub use liveness::Liveness;
pub use merged::MergedMetrics;
pub use metrics::Metrics;
pub use pace::Pace;
