//! `streamdet val`: accuracy on a labelled dataset.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use super::messages::{command_line, print_error, print_failures, print_line};
use super::mot::MotOptions;
use super::options::{Invocation, ModelOptions, TilingOptions, fraction};
use super::signals::Signals;
use crate::clock::{Clock, Deadline, RealClock};
use crate::detector::{DetectError, Detector, DetectorOptions, Wanted};
use crate::inference::Runtime;
use crate::model::Model;
use crate::pipeline::{Images, NextImage, RunError};
use crate::postprocess::Thresholds;
use crate::report::{RunContext, RunReport};
use crate::shutdown::Shutdown;
use crate::stream::StreamInfo;
use crate::text::{counted, printable};
use crate::ui::screen::Screen;
use crate::ui::tables::{speed_line, tiles};
use crate::ui::validation::{dataset_line, table, width};
use crate::validate::classes::ClassMap;
use crate::validate::dataset::{Dataset, Finding, Image, Kind, Places, Summary, checks};
use crate::validate::outputs::{self, ModelRun, Outputs};
use crate::validate::predictions::{self, Found};
use crate::validate::run::DatasetRun;
use crate::validate::scores::Scores;

const EXAMPLES: &str = "Examples:
  streamdet val data.yaml -m yolov8n.onnx            a YOLO dataset's val split
  streamdet val instances_val2017.json --images val2017 -m yolov8n.onnx -o out/
  streamdet val VisDrone2019-DET-val --imgsz 960 --html visdrone.html
  streamdet val VisDrone2019-DET-val -m yolov8n.onnx --map 'person=pedestrian,motorcycle=motor'
  streamdet val instances.json --predictions results.json       score given boxes; no model runs
  streamdet val --mot gt.txt tracks.txt --report figures.json   score a tracker's result: HOTA, MOTA, IDF1
  streamdet val --mot MOT17/train results/                      all sequences, and what they are worth together

Figures are those of the official COCO evaluator (101 recalls, at most 100 boxes per image and class). For VisDrone, \
the toolkit's rules are applied first: boxes and objects that lie by half or more in ignored regions are removed, category 11 \
(others) is not scored, objects with score 0 are ignored, and up to 500 boxes per image and class count. Classes that the model \
does not have are not scored.

Precision, recall, F1 and the confusion matrix are at IoU 0.5 and the confidence with the best mean F1.

With --mot the figures are TrackEval's. Ground truth is SEQ/gt/gt.txt, SEQ/gt.txt or SEQ.txt in its folder, the result SEQ.txt, \
data/SEQ.txt or SEQ/result.txt. Frames are those of seqinfo.ini where there is one, else up to the last in either file. For \
VisDrone, pedestrian, car, van, truck and bus are scored and summed up, as by its toolkit: categories 0 and 11 are ignored regions, \
boxes that lie in them by half or more are left out, and a class is not scored where a sequence has none of it; a result without \
categories is scored as one class.

Settings: as with detect; thresholds and outputs are taken from the command line only.

Exit codes: 0 done; 1 failed while running; 2 unusable dataset, model or options; 130, 143 interrupted.";

/// Options of `val`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ValArgs {
    /// COCO .json, YOLO data.yaml, or a folder with images/ and labels/ (YOLO) or annotations/ (VisDrone)
    #[arg(required_unless_present_any = ["show_config", "mot"], value_name = "DATASET")]
    dataset: Option<PathBuf>,
    /// Folder of the images [default: images/ beside the labels]
    #[arg(long, value_name = "FOLDER", help_heading = "Dataset")]
    images: Option<PathBuf>,
    /// Split of a data.yaml: train, val or test
    #[arg(long, default_value = "val", help_heading = "Dataset")]
    split: String,
    /// Classes whose names differ: `MODEL_CLASS=DATASET_CLASS`, by name or number, comma separated
    #[arg(long, value_delimiter = ',', value_name = "A=B", help_heading = "Dataset")]
    map: Vec<String>,
    /// Score these boxes (COCO results) instead of a model's; the images need not be there
    #[arg(long, value_name = "FILE", help_heading = "Dataset")]
    predictions: Option<PathBuf>,
    #[command(flatten)]
    mot: MotOptions,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    tiling: TilingOptions,
    /// Confidence threshold, 0 to 1
    #[arg(long, default_value_t = 0.001, value_parser = fraction, help_heading = "Detections")]
    conf: f32,
    /// IoU threshold of NMS, 0 to 1
    #[arg(long, default_value_t = 0.7, value_parser = fraction, help_heading = "Detections")]
    iou: f32,
    /// Detections per image, at most
    #[arg(long, default_value_t = 300, help_heading = "Detections")]
    max_det: usize,
    /// Folder for everything: page, curves and confusion matrix as SVG, predictions, report
    #[arg(short, long, value_name = "FOLDER", help_heading = "Output")]
    output: Option<PathBuf>,
    /// HTML page: table, curves, sample images
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,
    /// Sample images on the page, the worst ones
    #[arg(long, default_value_t = 16, help_heading = "Output")]
    samples: usize,
    /// Boxes as COCO results; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    save_json: Option<PathBuf>,
    /// Report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,
    #[command(flatten)]
    invocation: Invocation,
}

/// Boxes to be scored.
struct Scoring {
    found: Found,
    /// By image: whether it counts.
    counted: Vec<bool>,
    /// By class: whether it is scored.
    scored: Vec<bool>,
    run: Option<ModelRun>,
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &ValArgs) -> u8 {
    let signals = Signals::watch();
    let result = validate(args, &signals);
    signals.conclude(result)
}

fn validate(args: &ValArgs, signals: &Signals) -> anyhow::Result<u8> {
    args.invocation.start_logs()?;
    for file in args.html.iter().chain(&args.save_json).chain(&args.report).filter(|p| p.as_os_str() != "-") {
        let folder = file.parent().filter(|f| !f.as_os_str().is_empty());
        if folder.is_some_and(|f| !f.is_dir()) {
            return Err(anyhow!("{}: no such folder\n  create it, or name another", file.display()));
        }
    }
    if let Some((gt, result)) = args.mot.files() {
        return args.mot.run((gt, result), args.report.as_deref(), args.invocation.quiet, &signals.shutdown);
    }
    let path = args.dataset.as_ref().ok_or_else(|| anyhow!("give a dataset"))?;
    let say = |text: &str| {
        if !args.invocation.quiet {
            print_line(text);
        }
    };
    let places = Places { images: args.images.clone(), split: args.split.clone() };
    let mut dataset = Dataset::load(path, &places)?;
    checks::check(&mut dataset, args.predictions.is_none());
    let read = match &args.predictions {
        Some(file) => Some(predictions::read(file, &mut dataset)?),
        None => None,
    };
    let summary = Summary::of(&dataset);
    say(&dataset_line(&dataset, &summary, width()));
    let mut said = Vec::new();
    say_findings(args, &dataset, &mut said, &say);
    if summary.objects == 0 {
        return Err(anyhow!("{}: it has no labelled object\n  check what is said of its labels above", dataset.name));
    }
    let scoring = match read {
        Some(found) => {
            // Fractions of an unknown size are no boxes.
            let counts = |p: &Image| dataset.kind != Kind::Yolo || p.size.is_some();
            let counted = dataset.images.iter().map(counts).collect();
            Scoring { found, counted, scored: vec![true; dataset.classes.len()], run: None }
        }
        None => match run_model(args, &mut dataset, signals)? {
            Ok(scoring) => {
                say_findings(args, &dataset, &mut said, &say);
                scoring
            }
            Err(code) => return Ok(code),
        },
    };
    close(args, &dataset, summary, scoring, &say, &signals.shutdown)
}

/// One line a kind of finding, with `-v` every one that was kept, but for those in `said`.
fn say_findings(args: &ValArgs, dataset: &Dataset, said: &mut Vec<String>, say: &dyn Fn(&str)) {
    let each = |f: &Finding| format!("{}: {}: {}", f.kind.name(), f.place, f.text);
    let lines = match args.invocation.verbose {
        0 => dataset.remarks(),
        _ => dataset.findings.kept().into_iter().map(each).collect(),
    };
    for line in lines {
        if !said.contains(&line) {
            say(&format!("  {}", printable(&line)));
            said.push(line);
        }
    }
}

/// Detects with the model on every image that is there; an exit code where that was not completed.
fn run_model(args: &ValArgs, dataset: &mut Dataset, signals: &Signals) -> anyhow::Result<Result<Scoring, u8>> {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    gstreamer::init()?;
    if dataset.images.iter().all(|image| image.header.is_none()) {
        let example = dataset.images.first().map_or_else(String::new, |p| p.path.display().to_string());
        return Err(anyhow!(
            "{}: none of its images is there, e.g. {example}\n  say where they are with --images",
            dataset.name
        ));
    }
    let (runtime, model) = args.model.load()?;
    let map = ClassMap::new(&model.classes, &dataset.classes, &args.map)?;
    let detector = detector(args, &runtime, &model, &clock);
    let mut run = DatasetRun::new(dataset, &map, detector, clock.clone(), args.model.device);
    let imgsz = args.model.imgsz.unwrap_or(model.default_size);
    let (name, total) = (vec![dataset.name.clone()], Some(run.images() as u64));
    let screen = Screen::of_streams(args.invocation.verbosity(), &name, total, &(&model).into(), imgsz);
    for notice in map.notices(dataset, &model.classes) {
        screen.notice(&notice);
    }
    let errors = match Images::open(run.paths(dataset), &clock, u64::from(args.model.batch), &signals.shutdown) {
        Ok(images) => detect_all(args, images, &mut run, &screen),
        Err(error) => vec![error.into()],
    };
    screen.finish();
    let (images, processed) = (run.images(), run.processed());
    let code = print_failures(&errors, &[], processed, 0);
    if code != 0 || signals.shutdown.is_requested() {
        print_line(&format!(
            "{processed} of {} were run; no figures without the rest",
            counted(images as u64, "image")
        ));
        return Ok(Err(code));
    }
    let (figures, boxes) = run.finish(dataset);
    let (command, requested) = (command_line(), args.model.provider);
    let context = RunContext { command, origin: &(&model).into(), requested, settings: BTreeMap::new() };
    let report = RunReport::assemble(&context, &figures, clock.now());
    Ok(Ok(Scoring {
        counted: boxes.iter().map(Option::is_some).collect(),
        found: boxes.into_iter().map(Option::unwrap_or_default).collect(),
        scored: (0..dataset.classes.len()).map(|c| !map.unknown.contains(&c)).collect(),
        run: Some(ModelRun { model, figures, report }),
    }))
}

fn detector(args: &ValArgs, runtime: &Runtime, model: &Model, clock: &Arc<dyn Clock>) -> Detector {
    let thresholds =
        Thresholds { conf: args.conf, iou: args.iou, max_det: args.max_det, agnostic: false, classes: None };
    let wanted = Wanted {
        imgsz: args.model.imgsz.unwrap_or(model.default_size),
        thresholds,
        tiling: args.tiling.tile,
        target_latency: args.tiling.target_latency.map(Duration::from_millis),
    };
    let options = DetectorOptions {
        wanted,
        provider: args.model.provider_options(),
        clock: clock.clone(),
        ..DetectorOptions::of(model)
    };
    Detector::new(runtime, model, options)
}

/// Detects on the images as they are decoded, batch by batch; what went wrong.
fn detect_all(args: &ValArgs, mut images: Images, run: &mut DatasetRun, screen: &Screen) -> Vec<RunError> {
    let mut errors = Vec::new();
    let (mut opened, mut refused, mut deadline) = (None, None, None);
    loop {
        let next = images.next(deadline);
        let is_end = matches!(next, NextImage::End);
        match next {
            NextImage::Opened(info) => {
                run.opened(&info);
                opened = Some(info);
                continue;
            }
            NextImage::Refused(error) => {
                run.count_corrupt();
                if run.images() > 1 {
                    screen.notice(&error.to_string());
                }
                refused = Some(error);
                continue;
            }
            NextImage::Corrupt => {
                run.count_corrupt();
                continue;
            }
            NextImage::Frame(frame) => {
                let timeout = Duration::from_millis(args.model.batch_timeout);
                deadline.get_or_insert_with(|| Deadline::after(timeout));
                if run.add(frame) < usize::from(args.model.batch) {
                    continue;
                }
            }
            NextImage::Timeout | NextImage::End => {}
        }
        deadline = None;
        if let Err(error) = detect(run, &mut images, &mut opened, screen) {
            errors.push(error.into());
            break;
        }
        if is_end {
            break;
        }
    }
    for notice in run.notices() {
        screen.notice(&notice);
    }
    // Not a single good image.
    if run.processed() == 0 && errors.is_empty() {
        errors.extend(refused.map(RunError::from));
    }
    errors.extend(images.finish().err().map(RunError::from));
    let counts = run.counts();
    if errors.is_empty() && !counts.is_accounted() {
        let input = args.dataset.as_ref().map_or_else(String::new, |path| path.display().to_string());
        errors.push(RunError::Unaccounted { input, counts });
    }
    errors
}

/// Detects on the images of the batch; with the first one, the dataset's stream is up.
fn detect(
    run: &mut DatasetRun,
    images: &mut Images,
    opened: &mut Option<StreamInfo>,
    screen: &Screen,
) -> Result<(), DetectError> {
    if !run.is_ready() {
        run.make_session()?;
        images.session_is_made();
    }
    let provider = run.provider().cloned();
    run.detect(&mut |frame| {
        if let Some(info) = opened.take() {
            screen.began(frame.stream, &info, provider.as_ref());
            let notices = provider.iter().filter_map(|provider| provider.notice.as_ref()).chain(&info.notices);
            notices.for_each(|notice| screen.notice(notice));
        }
        screen.frame(frame, frame.pixels.info().size);
    })
}

/// Scores, says, writes.
fn close(
    args: &ValArgs,
    dataset: &Dataset,
    summary: Summary,
    scoring: Scoring,
    say: &dyn Fn(&str),
    stopping: &Shutdown,
) -> anyhow::Result<u8> {
    let Scoring { mut found, counted: counts, scored, run } = scoring;
    let scores = Scores::of(dataset, &mut found, counts, scored);
    let (objects, images) = scores.totals();
    if objects == 0 {
        return Err(anyhow!("{}: nothing is left to be scored\n  check what is said of it above", dataset.name));
    }
    say(&table(dataset, &scores, width()));
    let left_out = scores.counted.len() - images;
    if left_out > 0 {
        say(&format!("  {} left out: missing, or not to be decoded", counted(left_out as u64, "image")));
    }
    if let Some(ModelRun { figures, .. }) = &run {
        say(&speed_line(&figures.book, figures.input));
        for tiling in figures.streams.iter().filter_map(|stream| stream.tiling.as_ref()) {
            say(&format!("  {}", tiles(tiling)));
        }
    }
    let files = Outputs {
        folder: args.output.clone(),
        html: args.html.clone(),
        save_json: args.save_json.clone(),
        report: args.report.clone(),
        samples: args.samples,
        command: command_line(),
        predictions: args.predictions.clone(),
    };
    match outputs::write(&files, dataset, summary, &scores, &found, run, stopping) {
        Ok(written) => {
            for path in written {
                say(&format!("  → {}", path.display()));
            }
            Ok(0)
        }
        Err(error) => {
            print_error(&error);
            Ok(1)
        }
    }
}
