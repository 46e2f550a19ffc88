//! What `val` leaves behind: report, boxes, charts, page.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{ModelRun, ValArgs};
use crate::geometry::Size;
use crate::part::{PartFile, write_whole};
use crate::report::plot::{Scene, standalone, to_png};
use crate::report::{RunReport, write_json};
use crate::secrets::redact;
use crate::stills::thumbnail;
use crate::text;
use crate::validate::charts::{confusion_matrix, over_confidence, precision_recall};
use crate::validate::dataset::{Dataset, Finding, Picture, Summary};
use crate::validate::page::{About, page};
use crate::validate::predictions::{self, Found};
use crate::validate::scores::{Accuracy, Scores};

/// Longer side of a picture on the page, pixels.
const ON_PAGE: u32 = 1024;

/// The report of `val`: the run's, where a model ran, with what it was worth.
#[derive(serde::Serialize)]
struct ValReport {
    #[serde(flatten)]
    run: Option<RunReport>,
    accuracy: Accuracy,
    speed_ms: Option<Speed>,
    dataset: DatasetReport,
}

/// Milliseconds a picture.
#[derive(serde::Serialize)]
struct Speed {
    preprocess: f64,
    inference: f64,
    postprocess: f64,
}

#[derive(serde::Serialize)]
struct DatasetReport {
    path: String,
    #[serde(flatten)]
    summary: Summary,
    pictures_scored: usize,
    findings: FindingsReport,
}

#[derive(serde::Serialize)]
struct FindingsReport {
    counts: BTreeMap<&'static str, u64>,
    /// Up to a hundred of a kind.
    listed: Vec<Finding>,
}

/// A file that could not be written.
type Failed = (PathBuf, std::io::Error);

/// Writes whatever was asked for, and says where.
pub(super) fn write(
    args: &ValArgs,
    dataset: &Dataset,
    summary: Summary,
    scores: &Scores,
    found: &Found,
    run: Option<ModelRun>,
    say: &dyn Fn(&str),
) -> Result<(), Failed> {
    let in_folder = |name: &str| args.output.as_ref().map(|folder| folder.join(name));
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).map_err(|e| (folder.clone(), e))?;
    }
    for path in args.save_json.iter().cloned().chain(in_folder("predictions.json")) {
        write_predictions(&path, dataset, found).map_err(|e| (path, e))?;
    }
    let pages: Vec<PathBuf> = args.html.iter().cloned().chain(in_folder("report.html")).collect();
    if !pages.is_empty() {
        // Where it is missing, the page does without photographs.
        let _ = gstreamer::init();
        let text = page(dataset, scores, found, &about(args, &summary, run.as_ref()), &on_page);
        for path in pages {
            write_whole(&path, text.as_bytes()).map_err(|e| (path, e))?;
        }
    }
    for (name, scene) in args.output.iter().flat_map(|_| scenes(dataset, scores)) {
        for (ending, bytes) in [("svg", Ok(standalone(&scene).into_bytes())), ("png", to_png(&scene))] {
            let Some(path) = in_folder(&format!("{name}.{ending}")) else { continue };
            let written = bytes.map_err(std::io::Error::other).and_then(|bytes| write_whole(&path, &bytes));
            written.map_err(|e| (path, e))?;
        }
    }
    let speed_ms = run.as_ref().map(|run| {
        let [preprocess, inference, postprocess] = run.figures.book.per_image_ms();
        Speed { preprocess, inference, postprocess }
    });
    let report = ValReport {
        run: run.map(|run| run.report),
        accuracy: scores.accuracy(dataset),
        speed_ms,
        dataset: DatasetReport {
            path: dataset.name.clone(),
            summary,
            pictures_scored: scores.totals().1,
            findings: FindingsReport {
                counts: dataset.findings.counts().iter().map(|(kind, n)| (kind.name(), *n)).collect(),
                listed: dataset.findings.kept().into_iter().cloned().collect(),
            },
        },
    };
    for path in args.report.iter().cloned().chain(in_folder("report.json")) {
        write_json(&report, &path).map_err(|e| (path, e))?;
    }
    let shown = [&args.html, &args.save_json, &args.report].into_iter().flatten().filter(|p| p.as_os_str() != "-");
    for path in args.output.iter().chain(shown) {
        say(&format!("  → {}", path.display()));
    }
    Ok(())
}

fn scenes(dataset: &Dataset, scores: &Scores) -> [(&'static str, Scene); 5] {
    let curves = &scores.curves;
    [
        ("pr_curve", precision_recall(dataset, scores)),
        ("p_curve", over_confidence(dataset, curves, "precision", |p| p.precision)),
        ("r_curve", over_confidence(dataset, curves, "recall", |p| p.recall)),
        ("f1_curve", over_confidence(dataset, curves, "F1", |p| p.f1)),
        ("confusion_matrix", confusion_matrix(dataset, scores)),
    ]
}

fn about<'a>(args: &ValArgs, summary: &'a Summary, run: Option<&ModelRun>) -> About<'a> {
    let command = redact(&std::env::args().collect::<Vec<_>>().join(" "));
    let samples = args.samples;
    if let Some(ModelRun { model, figures, report }) = run {
        let [_, _, height, width] = figures.input;
        let (actual, detail) = (report.provider.actual, &report.provider.detail);
        return About {
            model: text::printable(&model.name),
            run: format!("last input {height}×{width}, {actual} ({detail})"),
            ms: Some(figures.book.per_image_ms().iter().sum()),
            command,
            summary,
            samples,
        };
    }
    let file = args.predictions.as_ref().and_then(|p| p.file_name());
    let model = file.map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    About { model, run: "boxes from a file".into(), ms: None, command, summary, samples }
}

/// A picture as it is shown on the page: in the space of its boxes.
fn on_page(picture: &Picture) -> Option<Vec<u8>> {
    let (header, stated) = (picture.header?, picture.size?);
    // A dataset that means the unturned pixels has its picture shown like that.
    let unturned = header.orientation >= 5 && stated != header.size;
    let orientation = if unturned { 1 } else { header.orientation };
    let longest = stated.width.max(stated.height);
    let scaled = |side: u32| {
        if longest <= ON_PAGE {
            return side;
        }
        u32::try_from(u64::from(side) * u64::from(ON_PAGE) / u64::from(longest)).unwrap_or(ON_PAGE).max(1)
    };
    thumbnail(&picture.path, orientation, Size { width: scaled(stated.width), height: scaled(stated.height) })
}

fn write_predictions(path: &Path, dataset: &Dataset, found: &Found) -> std::io::Result<()> {
    let file = PartFile::create(path)?;
    let mut out = std::io::BufWriter::new(file.writer()?);
    predictions::write(&mut out, dataset, found).and_then(|()| out.flush())?;
    file.finish()
}
