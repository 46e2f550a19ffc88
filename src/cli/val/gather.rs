//! The model's run: every picture's boxes, in the dataset's classes and pixels.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{ModelRun, Scoring, ValArgs};
use crate::cli::messages::{command_line, print_failures};
use crate::cli::signals::Signals;
use crate::clock::{Clock, RealClock};
use crate::controls::Controls;
use crate::frame::{DecodedFrame, FrameView, PixelFormat, Plane};
use crate::geometry::Size;
use crate::inference::ProviderReport;
use crate::model::Model;
use crate::overlay::Style;
use crate::pipeline::{self, Job, Listener, Outcome, OutputSpec, RunEvent, Settings, SourceSpec};
use crate::postprocess::Thresholds;
use crate::report::{RunContext, RunReport};
use crate::sink::EncoderOptions;
use crate::stream::{StreamId, StreamInfo};
use crate::text::{counted, printable};
use crate::ui::screen::Screen;
use crate::validate::classes::ClassMap;
use crate::validate::dataset::header::Header;
use crate::validate::dataset::{Dataset, Issue};
use crate::validate::{LabelBox, Scored};
use anyhow::anyhow;

/// Finds the boxes with the model; an exit code where it came to no end.
pub(super) fn run_model(
    args: &ValArgs,
    dataset: &mut Dataset,
    signals: &Signals,
) -> anyhow::Result<Result<Scoring, u8>> {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    gstreamer::init()?;
    let present: Vec<usize> = (0..dataset.pictures.len()).filter(|i| dataset.pictures[*i].header.is_some()).collect();
    if present.is_empty() {
        let example = dataset.pictures.first().map_or_else(String::new, |p| p.path.display().to_string());
        return Err(anyhow!(
            "{}: none of its pictures is there, e.g. {example}\n  say where they are with --images",
            dataset.name
        ));
    }
    let (runtime, model) = args.model.load()?;
    let map = ClassMap::new(&model.classes, &dataset.classes, &args.map)?;
    let paths = present.iter().map(|i| dataset.pictures[*i].path.clone()).collect();
    let job =
        Job { name: dataset.name.clone(), source: SourceSpec::Images(paths), output: OutputSpec::None, paced: false };
    let imgsz = args.model.imgsz.unwrap_or(model.default_size);
    let jobs = vec![job];
    let screen = Arc::new(Screen::new(args.invocation.verbosity(), &jobs, None, &model, imgsz));
    say_classes(&map, dataset, &model, &screen);
    let gatherer = Arc::new(Gatherer {
        screen: screen.clone(),
        places: present.iter().map(|i| (*i, dataset.pictures[*i].size, dataset.pictures[*i].header)).collect(),
        classes: map.dataset_from_model.clone(),
        found: Mutex::new(dataset.pictures.iter().map(|_| None).collect()),
    });
    let settings = Settings {
        jobs,
        track: None,
        imgsz,
        thresholds: Thresholds {
            conf: args.conf,
            iou: args.iou,
            max_det: args.max_det,
            agnostic: false,
            classes: None,
        },
        batch: usize::from(args.model.batch),
        batch_timeout: Duration::from_millis(args.model.batch_timeout),
        tiling: args.tiling.tile,
        target_latency: args.tiling.target_latency.map(Duration::from_millis),
        frames: None,
        stride: 1,
        real_time: false,
        live: crate::source::LiveOptions::default(),
        delays: pipeline::Delays::default(),
        provider: args.model.provider_options(),
        style: Style::default(),
        controls: Arc::new(Controls::fixed(args.conf, false)),
        encoder: EncoderOptions::default(),
    };
    let Outcome { figures, errors } = pipeline::run(
        settings,
        model.clone(),
        &runtime,
        clock.clone(),
        gatherer.clone(),
        Vec::new(),
        &signals.shutdown,
    );
    screen.finish();
    let context = RunContext {
        command: command_line(),
        model: &model,
        requested: args.model.provider,
        settings: std::collections::BTreeMap::new(),
    };
    let report = RunReport::assemble(&context, &figures, clock.now());
    let processed = report.processed();
    let code = print_failures(&errors, processed, 0);
    if code != 0 || signals.shutdown.is_requested() {
        eprintln!("{processed} of {} were run; no figures without the rest", counted(present.len() as u64, "picture"));
        return Ok(Err(code));
    }
    let found = std::mem::take(&mut *gatherer.found.lock().unwrap_or_else(PoisonError::into_inner));
    for (picture, seen) in dataset.pictures.iter().zip(&found) {
        // Stored with three components all the same; those with one are found already.
        if seen.as_ref().is_some_and(|s| s.grey) && picture.header.is_some_and(|h| !h.grey) {
            dataset.findings.add(Issue::Grey, picture.path.display().to_string(), || "it has no colours".into());
        }
    }
    for index in present.iter().copied().filter(|i| found[*i].is_none()) {
        let (place, objects) =
            (dataset.pictures[index].path.display().to_string(), dataset.pictures[index].truths.len());
        let text = || format!("it does not decode; its {objects} objects do not count");
        dataset.findings.add(Issue::Missing, place, text);
    }
    let counted = found.iter().map(Option::is_some).collect();
    let found = found.into_iter().map(|seen| seen.map_or_else(Vec::new, |s| s.boxes)).collect();
    let scored = (0..dataset.classes.len()).map(|c| !map.unknown.contains(&c)).collect();
    Ok(Ok(Scoring { found, counted, scored, run: Some(ModelRun { model, figures, report }) }))
}

/// Says which classes did not meet.
fn say_classes(map: &ClassMap, dataset: &Dataset, model: &Model, screen: &Screen) {
    let names = |of: &mut dyn Iterator<Item = &String>| of.map(|n| printable(n)).collect::<Vec<_>>().join(", ");
    if map.by_number {
        screen.notice(
            "no class of the model has a name of the dataset's: classes are taken by number (--map says otherwise)",
        );
    }
    let instances = dataset.instances();
    let unknown = map.unknown.iter().filter(|c| instances[**c].0 > 0).map(|c| &dataset.classes[*c].name);
    let unknown = names(&mut unknown.collect::<Vec<_>>().into_iter());
    if !unknown.is_empty() {
        screen.notice(&format!(
            "not scored, as the model has no such class: {unknown} (--map MODEL_CLASS=DATASET_CLASS)"
        ));
    }
    let unused = model.classes.iter().zip(&map.dataset_from_model).filter(|(_, to)| to.is_none()).count();
    if unused > 0 {
        screen.notice(&format!(
            "{} of the model are none of the dataset's: their boxes do not count",
            counted(unused as u64, "class")
        ));
    }
}

/// Keeps every picture's boxes, in the dataset's classes and pixels.
struct Gatherer {
    screen: Arc<Screen>,
    /// By place in the run: index in the dataset, size that it states, header of the file.
    places: Vec<(usize, Option<Size>, Option<Header>)>,
    classes: Vec<Option<usize>>,
    found: Mutex<Vec<Option<Seen>>>,
}

/// What came of one picture.
struct Seen {
    boxes: Vec<Scored>,
    grey: bool,
}

/// Whether a picture has no colours: no chroma is further from the middle than rounding takes it.
fn is_grey(picture: &FrameView) -> bool {
    let Size { width, height } = picture.info.size;
    let (across, down) = picture.info.format.chroma_shift();
    let (width, height) = (width.div_ceil(1 << across) as usize, height.div_ceil(1 << down) as usize);
    let [_, u, v] = &picture.planes;
    let (planes, bytes): (&[&Plane], usize) =
        if picture.info.format == PixelFormat::Nv12 { (&[u], 2 * width) } else { (&[u, v], width) };
    let grey = |row: &[u8]| row.iter().take(bytes).all(|c| c.abs_diff(128) <= 2);
    planes.iter().all(|plane| plane.data.chunks(plane.stride.max(1)).take(height).all(grey))
}

impl Gatherer {
    fn opened(&self, stream: StreamId, info: &StreamInfo, provider: Option<&ProviderReport>) {
        self.screen.began(stream, info, provider);
    }

    fn frame(&self, frame: &DecodedFrame, size: Size) {
        let place = usize::try_from(frame.index).ok().and_then(|index| self.places.get(index));
        if let Some((index, stated, header)) = place {
            let displayed = Header { size, orientation: header.map_or(1, |h| h.orientation), grey: false };
            let scored = frame.detections.iter().filter_map(|d| {
                let class = self.classes.get(usize::from(d.class_id)).copied().flatten()?;
                let b = displayed.stated_from_displayed(&d.bbox, stated.unwrap_or(size));
                let (x, y) = (f64::from(b.x1), f64::from(b.y1));
                let bbox = LabelBox { x, y, width: f64::from(b.x2) - x, height: f64::from(b.y2) - y };
                Some(Scored { class, score: f64::from(d.confidence), bbox })
            });
            let seen = Seen { boxes: scored.collect(), grey: is_grey(&frame.pixels.view()) };
            self.found.lock().unwrap_or_else(PoisonError::into_inner)[*index] = Some(seen);
        }
        self.screen.frame(frame, size);
    }

    fn notice(&self, text: &str) {
        self.screen.notice(text);
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Gatherer {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, provider } => self.opened(stream, info, provider),
            RunEvent::FrameDone { frame, size } => self.frame(frame, size),
            RunEvent::Notice(text) => self.notice(text),
            RunEvent::Disconnected { .. }
            | RunEvent::Reconnected { .. }
            | RunEvent::Outage { .. }
            | RunEvent::StreamEnded { .. }
            | RunEvent::FrameRecorded(_)
            | RunEvent::Dropped { .. }
            | RunEvent::Queue { .. }
            | RunEvent::Serving { .. }
            | RunEvent::Failed { .. } => {}
        }
    }
}
