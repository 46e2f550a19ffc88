//! From options to the settings of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::options::{DetectionOptions, DrawingOptions, ModelOptions, RunOptions, TilingOptions};
use crate::config::Kept;
use crate::controls::Controls;
use crate::counting::CountingError;
use crate::detector::Wanted;
use crate::frame::pixelate::Pixelation;
use crate::model::Origin;
use crate::overlay::{Labels, Style};
use crate::pipeline::plan::{self, Plan};
use crate::pipeline::{OutputSpec, Settings, stream_names};
use crate::postprocess::Thresholds;
use crate::publish::Request;
use crate::sink::{EncoderOptions, OutputError};
use crate::source::{LiveOptions, SourceTemplates, TemplateError};
use crate::telemetry::Timeline;
use crate::telemetry::ground::Geolocation;
use crate::text::nearest;
use crate::track;

use crate::config::LiveArgs;

/// What a command adds to the options.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
pub(super) struct Task {
    /// The command's name.
    pub command: &'static str,
    pub plan: Plan,
    /// What `--run-dir` keeps.
    pub kept: Kept,
    /// Outputs that exist are replaced.
    pub overwrite: bool,
    /// It is started again and again: where files exist, it writes beside them.
    pub goes_on: bool,
    /// Where detections come from, instead of a model.
    pub detections: Option<PathBuf>,
    /// Pixels that are located in their place.
    pub points: Option<PathBuf>,
    /// Where detections go.
    pub json: Option<PathBuf>,
    pub save_txt: Option<PathBuf>,
    pub crops: Option<PathBuf>,
    pub best_crops: bool,
    pub mot_output: Option<PathBuf>,
    pub events_csv: Option<PathBuf>,
    /// What is published.
    pub publish: Option<Request>,
    /// Telemetry of a file that the user named.
    pub telemetry: Option<Arc<Timeline>>,
    /// What positions are computed with.
    pub geolocation: Geolocation,
    /// The name of its one stream, where it has one.
    pub stream_name: Option<String>,
    /// One a job, where they are asked for.
    pub heatmaps: Vec<PathBuf>,
    pub real_time: bool,
    /// Whether the closing figures contain resources and the verdict.
    pub thorough: bool,
}

impl Task {
    /// Every file and folder that it has for itself, with its option.
    pub fn places(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let Self { plan, json, mot_output, events_csv, heatmaps, save_txt, crops, .. } = self;
        let named = [
            ("--json", json),
            ("--mot-output", mot_output),
            ("--events-csv", events_csv),
            ("--save-txt", save_txt),
            ("--crops", crops),
        ];
        let named = named.into_iter().filter_map(|(option, path)| Some((option, path.as_mut()?)));
        let heatmaps = heatmaps.iter_mut().map(|path| ("--heatmap", path));
        plan::places(&mut plan.jobs).map(|path| ("-o", path)).chain(named).chain(heatmaps).collect()
    }

    /// The files that are written beside video, with their options.
    pub fn files(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let lines = [
            ("--json", &mut self.json),
            ("--mot-output", &mut self.mot_output),
            ("--events-csv", &mut self.events_csv),
        ];
        let lines = lines.into_iter().filter_map(|(option, path)| Some((option, path.as_mut()?)));
        lines.chain(self.heatmaps.iter_mut().map(|path| ("--heatmap", path))).collect()
    }
}

/// Why options make no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `--classes` or `--blur` names none of the model's.
    #[error("{option} {class}: {model} has no such class; the nearest is {nearest:?}, ids are 0 to {last}")]
    UnknownClass {
        /// Which of them.
        option: &'static str,
        /// As given.
        class: String,
        /// The model's name.
        model: String,
        /// Its class with the most similar name.
        nearest: String,
        /// Its last class id.
        last: usize,
    },
    /// `--blur` names a class that is not detected.
    #[error("--blur {0}: --classes leaves it out, and what is not detected is not pixelated\n  add it to --classes")]
    NotDetected(String),
    /// `--tls-ca` names no file that can be read.
    #[error("--tls-ca {path}: {source}\n  give a PEM file with CA certificates")]
    TlsCa {
        /// As given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// `--pipeline` names no file of descriptions.
    #[error(transparent)]
    Templates(#[from] TemplateError),
    /// An encoder or a preset that is none.
    #[error(transparent)]
    Encoder(#[from] OutputError),
    /// Lines and zones that cannot be counted at.
    #[error(transparent)]
    Counting(#[from] CountingError),
}

impl RunOptions {
    /// The settings of a run that detects with `origin`; `attended`: the dashboard can change some of them while it runs.
    pub(super) fn settings(&self, task: &Task, origin: &Origin, attended: bool) -> Result<Settings, SettingsError> {
        let thresholds = self.detections.thresholds(origin)?;
        let pixelation = pixelation(&self.drawing.blur, &thresholds, origin)?;
        let mut counting = self.counting.counting()?;
        // What is counted is tracked, unless a file's detections have their ids.
        // Between inferred frames, boxes that are pixelated have to move with what they hide.
        let moved = !self.drawing.blur.is_empty() && self.source.stride > 1;
        let published = task.publish.as_ref().is_some_and(Request::needs_tracks);
        let written = !task.heatmaps.is_empty() || task.best_crops || task.mot_output.is_some();
        let counted = counting.is_some() || written || moved || published;
        let numbered = origin.recorded.as_ref().is_some_and(|file| file.numbered);
        let tracking = self.tracking.tracking(counted && !numbered);
        if let Some((counting, tracking)) = counting.as_mut().zip(tracking) {
            // One that is found again by then goes on; later, its id is not used again.
            let kept = counting.kept.max(tracking.buffer);
            counting.kept = if tracking.kind == track::Kind::Timed { tracking.buffer } else { kept };
        }
        let jobs = task.plan.jobs.clone();
        let names = task.stream_name.clone().map_or_else(|| stream_names(&jobs), |name| vec![name]);
        let controls = Arc::new(if attended {
            Controls::attended(thresholds.conf, self.drawing.hud, jobs.len())
        } else {
            Controls::fixed(thresholds.conf, self.drawing.hud)
        });
        let encoder = EncoderOptions {
            names: self.encoding.encoder.clone(),
            crf: self.encoding.crf,
            bitrate: self.encoding.bitrate,
            preset: self.encoding.preset.clone(),
            delay: self.measure.delay.encode,
        };
        // Whoever looks at a stream of `serve` has it encoded.
        if task.goes_on || jobs.iter().any(|job| matches!(job.output, OutputSpec::Stream(_))) {
            encoder.check()?;
        }
        Ok(Settings {
            jobs,
            video_track: self.source.video_track,
            imgsz: self.model.imgsz.unwrap_or(origin.default_size),
            thresholds,
            batch: usize::from(self.model.batch),
            batch_timeout: Duration::from_millis(self.model.batch_timeout),
            tracking,
            counting,
            anchor: self.counting.anchor,
            telemetry: task.telemetry.clone(),
            geolocation: task.geolocation.clone(),
            heatmaps: task.heatmaps.clone(),
            publish: task.publish.clone().map(|request| Arc::new(request.plan(&names))),
            pixelation,
            tiling: self.tiling.tile,
            target_latency: self.tiling.target_latency.map(Duration::from_millis),
            frames: self.source.frames,
            stride: self.source.stride,
            real_time: task.real_time,
            hdr: self.encoding.hdr,
            live: self.live.options()?,
            delays: self.measure.delay,
            provider: self.model.provider_options(),
            style: self.drawing.style(),
            controls,
            encoder,
        })
    }
}

impl DrawingOptions {
    pub(super) fn style(&self) -> Style {
        let labels = if self.hide_labels { Labels::None } else { self.labels };
        Style { line_width: self.line_width, labels }
    }
}

impl DetectionOptions {
    pub(super) fn thresholds(&self, origin: &Origin) -> Result<Thresholds, SettingsError> {
        Ok(Thresholds {
            conf: self.conf.unwrap_or(origin.conf),
            iou: self.iou.unwrap_or(origin.iou),
            max_det: self.max_det,
            agnostic: self.agnostic,
            classes: wanted_classes("--classes", &self.classes, origin)?,
        })
    }
}

impl LiveArgs {
    pub(super) fn options(&self) -> Result<LiveOptions, SettingsError> {
        if let Some(path) = &self.tls_ca {
            std::fs::metadata(path).map_err(|source| SettingsError::TlsCa { path: path.clone(), source })?;
        }
        Ok(LiveOptions {
            max_lag: Duration::from_millis(self.max_lag),
            jitter: Duration::from_millis(self.jitter),
            stall_timeout: self.stall_timeout,
            reconnect: self.reconnect,
            wait: self.wait,
            transport: self.rtsp_transport,
            tls_ca: self.tls_ca.clone(),
            insecure: self.insecure,
            redirects: true,
            templates: self
                .pipeline
                .as_deref()
                .map_or_else(|| Ok(SourceTemplates::default()), SourceTemplates::with_file)?,
        })
    }
}

/// What is asked of a detector that many share, where nobody asks for something else.
pub(super) fn wanted(
    model: &ModelOptions,
    detections: &DetectionOptions,
    tiling: &TilingOptions,
    origin: &Origin,
) -> Result<Wanted, SettingsError> {
    Ok(Wanted {
        imgsz: model.imgsz.unwrap_or(origin.default_size),
        thresholds: detections.thresholds(origin)?,
        tiling: tiling.tile,
        target_latency: tiling.target_latency.map(Duration::from_millis),
    })
}

/// Which classes are pixelated: all of them must be detected.
pub(super) fn pixelation(
    wanted: &[String],
    thresholds: &Thresholds,
    origin: &Origin,
) -> Result<Pixelation, SettingsError> {
    let classes = wanted_classes("--blur", wanted, origin)?.unwrap_or_default();
    if let Some(kept) = &thresholds.classes
        && let Some(id) = classes.iter().zip(kept).position(|(blurred, kept)| *blurred && !kept)
    {
        return Err(SettingsError::NotDetected(origin.classes[id].clone()));
    }
    Ok(Pixelation::of(&classes))
}

/// By class id: whether it is kept; `None` keeps all.
fn wanted_classes(
    option: &'static str,
    wanted: &[String],
    origin: &Origin,
) -> Result<Option<Vec<bool>>, SettingsError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut keep = vec![false; origin.classes.len()];
    for class in wanted {
        let id = origin.classes.iter().position(|c| c.eq_ignore_ascii_case(class)).or_else(|| class.parse().ok());
        let Some(slot) = id.and_then(|id| keep.get_mut(id)) else {
            return Err(SettingsError::UnknownClass {
                option,
                class: class.clone(),
                model: origin.name.clone(),
                nearest: nearest(class, origin.classes.iter()).cloned().unwrap_or_default(),
                last: origin.classes.len() - 1,
            });
        };
        *slot = true;
    }
    Ok(Some(keep))
}

/// The settings that decide how fast it is, as text for the report.
pub(super) fn resolved(settings: &Settings, origin: &Origin) -> BTreeMap<&'static str, String> {
    let Settings { imgsz, thresholds, provider, .. } = settings;
    let size = origin.static_size.unwrap_or(*imgsz);
    let mut said = BTreeMap::from([
        ("imgsz", format!("{}x{}", size.height, size.width)),
        ("conf", thresholds.conf.to_string()),
        ("iou", thresholds.iou.to_string()),
        ("max-det", thresholds.max_det.to_string()),
        ("provider", provider.choice.name().to_owned()),
        ("batch", settings.batch.to_string()),
        ("batch-timeout", format!("{} ms", settings.batch_timeout.as_millis())),
        ("stride", settings.stride.to_string()),
        ("real-time", settings.real_time.to_string()),
    ]);
    if origin.recorded.is_some() {
        // No model runs.
        for key in ["imgsz", "iou", "provider", "batch", "batch-timeout"] {
            said.remove(key);
        }
    }
    if settings.jobs.iter().any(|job| job.source.is_live()) {
        let live = &settings.live;
        said.extend([
            ("max-lag", format!("{} ms", live.max_lag.as_millis())),
            ("jitter", format!("{} ms", live.jitter.as_millis())),
            ("stall-timeout", format!("{} s", live.stall_timeout.as_secs_f64())),
            ("reconnect", live.reconnect.map_or_else(|| "forever".into(), |n| n.to_string())),
        ]);
    }
    let mut maybe = |key, value: Option<String>| said.extend(value.map(|value| (key, value)));
    maybe("frames", settings.frames.map(|n| n.to_string()));
    maybe("threads", provider.threads.map(|n| n.to_string()));
    maybe("tile", settings.tiling.map(|tiling| tiling.to_string()));
    maybe("target-latency", settings.target_latency.map(|time| format!("{} ms", time.as_millis())));
    maybe("tracker", settings.tracking.map(|tracking| tracking.kind.name().to_owned()));
    let timed = settings.tracking.filter(|tracking| tracking.kind == track::Kind::Timed);
    maybe("track-buffer", timed.map(|tracking| format!("{} s", tracking.buffer.as_secs_f64())));
    maybe("encoder", (!settings.encoder.names.is_empty()).then(|| settings.encoder.names.join(",")));
    maybe("preset", settings.encoder.preset.clone());
    said
}
