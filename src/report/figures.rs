//! What a run measured, as the pipeline hands it over: the run report, the closing table and the page are made of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::StreamReport;
use super::gpu::GpuUse;
use super::threads::ThreadTimes;
use crate::clock::HostTime;
use crate::inference::ProviderReport;
use crate::latency::{LatencyBook, SecondCounts};
use crate::stream::{AudioKept, LiveOutput};

/// Figures of one run, over all its streams.
pub struct RunFigures {
    /// One a source, in the order of the command line.
    pub streams: Vec<StreamReport>,
    /// Latencies of all streams.
    pub book: LatencyBook,
    /// Frames handed over in every second.
    pub seconds: SecondCounts,
    /// The execution provider that ran, once one did.
    pub provider: Option<ProviderReport>,
    /// Shape of the last run's input, `[B,3,H,W]`.
    pub input: [usize; 4],
    /// Files written, each with what it has of the audio.
    pub outputs: Vec<(PathBuf, AudioKept)>,
    /// What live outputs sent.
    pub live_outputs: Vec<LiveOutput>,
    /// Detections by class id.
    pub objects: Vec<u64>,
    /// Runs of the model by how many frames they took.
    pub batches: BTreeMap<usize, u64>,
    /// CPU time by stage.
    pub threads: ThreadTimes,
    /// The GPU's part, where there is one.
    pub gpu: Option<GpuUse>,
    /// When the first frame could be processed: it was decoded, and the session was there.
    pub first_frame: Option<HostTime>,
    /// When the last frame was handed over.
    pub last_frame: Option<HostTime>,
}

impl RunFigures {
    /// Frames processed, over all streams.
    #[must_use]
    pub fn processed(&self) -> u64 {
        self.streams.iter().map(|stream| stream.frames.processed).sum()
    }
}
