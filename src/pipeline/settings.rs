//! What a run is to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Delays, Job};
use crate::controls::Controls;
use crate::counting::{Anchor, Counting};
use crate::frame::pixelate::Pixelation;
use crate::geometry::Size;
use crate::inference::ProviderOptions;
use crate::postprocess::Thresholds;
use crate::publish::Plan;
use crate::sink::EncoderOptions;
use crate::source::{Hdr, LiveOptions};
use crate::telemetry::Timeline;
use crate::telemetry::ground::Geolocation;
use crate::tiling::Tiling;
use crate::track;

/// Everything a run needs, validated.
pub struct Settings {
    /// Sources with their outputs, in order of their stream numbers.
    pub jobs: Vec<Job>,
    /// Video track, from 1.
    pub video_track: Option<u32>,
    /// Input size for dynamic models.
    pub imgsz: Size,
    /// What counts as a detection.
    pub thresholds: Thresholds,
    /// Batch size: frames a run of the model takes, at most.
    pub batch: usize,
    /// How long a batch waits to fill.
    pub batch_timeout: Duration,
    /// How objects are tracked, where they are.
    pub tracking: Option<track::Options>,
    /// Lines and zones at which tracked objects are counted, after the stages.
    pub counting: Option<Counting>,
    /// The point of a box that says where an object is.
    pub anchor: Anchor,
    /// Telemetry of a file that the user named.
    pub telemetry: Option<Arc<Timeline>>,
    /// What positions on the ground are computed with, of streams with telemetry.
    pub geolocation: Geolocation,
    /// Where the heatmap of each stream is written; none where there are none.
    pub heatmaps: Vec<PathBuf>,
    /// What is published of each stream, and where.
    pub publish: Option<Arc<Plan>>,
    /// Classes that nobody is to recognise in what is written.
    pub pixelation: Pixelation,
    /// Tiles that the model is run on besides the whole frame.
    pub tiling: Option<Tiling>,
    /// What preprocess, inference and postprocess may take a frame: tiles are left out to keep to it.
    pub target_latency: Option<Duration>,
    /// Frames a stream, at most.
    pub frames: Option<u64>,
    /// Every Nth frame is inferred.
    pub stride: u64,
    /// Files are played in their own time, as a live source sends them, and the newest frame wins.
    pub real_time: bool,
    /// What HDR video is written as.
    pub hdr: Hdr,
    /// Options of live sources.
    pub live: LiveOptions,
    /// Delays added to stages, for tests of the figures.
    pub delays: Delays,
    /// Execution provider and inference precision.
    pub provider: ProviderOptions,
    /// How boxes are drawn.
    pub style: crate::overlay::Style,
    /// What may change during the run: the confidence threshold (at first that of `thresholds`), figures in the frame, pauses.
    pub controls: Arc<Controls>,
    /// Encoder settings.
    pub encoder: EncoderOptions,
}
