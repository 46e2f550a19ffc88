//! The files of a validation: report, boxes, charts, page.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::charts::{confusion_matrix, over_confidence, precision_recall};
use super::dataset::{Dataset, Finding, Image, Summary};
use super::page::{About, page};
use super::predictions::{self, Found};
use super::scores::{Accuracy, Scores};
use crate::geometry::Size;
use crate::model::Model;
use crate::part::{PartFile, write_whole};
use crate::report::figures::RunFigures;
use crate::report::plot::{Scene, standalone};
use crate::report::{RunReport, write_json};
use crate::shutdown::Shutdown;
use crate::stills::thumbnail;
use crate::text;

/// Longer side of an image on the page, pixels.
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

/// Milliseconds an image.
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
    images_scored: usize,
    findings: FindingsReport,
}

#[derive(serde::Serialize)]
struct FindingsReport {
    counts: BTreeMap<&'static str, u64>,
    /// Up to a hundred of a kind.
    listed: Vec<Finding>,
}

/// Which files are written, and what the page says of the command.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// Folder for everything.
    pub folder: Option<PathBuf>,
    /// The page.
    pub html: Option<PathBuf>,
    /// Boxes as COCO results; `-` is standard output.
    pub save_json: Option<PathBuf>,
    /// Report; `-` is standard output.
    pub report: Option<PathBuf>,
    /// Images on the page.
    pub samples: usize,
    /// The command line, without secrets.
    pub command: String,
    /// The file that boxes were read from.
    pub predictions: Option<PathBuf>,
}

/// A model's run over the dataset.
pub struct ModelRun {
    /// The model.
    pub model: Model,
    /// What was measured.
    pub figures: RunFigures,
    /// The run report.
    pub report: RunReport,
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct OutputError {
    path: PathBuf,
    source: std::io::Error,
}

/// Writes what was asked for; the files and folders for people to look at.
///
/// # Errors
/// When one of them cannot be written.
pub fn write(
    outputs: &Outputs,
    dataset: &Dataset,
    summary: Summary,
    scores: &Scores,
    found: &Found,
    run: Option<ModelRun>,
    stopping: &Shutdown,
) -> Result<Vec<PathBuf>, OutputError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OutputError { path, source }
    };
    let in_folder = |name: &str| outputs.folder.as_ref().map(|folder| folder.join(name));
    if let Some(folder) = &outputs.folder {
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    for path in outputs.save_json.iter().cloned().chain(in_folder("predictions.json")) {
        write_predictions(&path, dataset, found, stopping).map_err(failed(&path))?;
    }
    let pages: Vec<PathBuf> = outputs.html.iter().cloned().chain(in_folder("report.html")).collect();
    if !pages.is_empty() {
        // Where GStreamer is missing, the page has no photographs.
        let _ = gstreamer::init();
        let text = page(dataset, scores, found, &about(outputs, &summary, run.as_ref()), &on_page);
        for path in pages {
            write_whole(&path, text.as_bytes(), Some(stopping)).map_err(failed(&path))?;
        }
    }
    for (name, scene) in outputs.folder.iter().flat_map(|_| scenes(dataset, scores)) {
        let Some(path) = in_folder(&format!("{name}.svg")) else { continue };
        write_whole(&path, standalone(&scene).as_bytes(), None).map_err(failed(&path))?;
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
            images_scored: scores.totals().1,
            findings: FindingsReport {
                counts: dataset.findings.counts().iter().map(|(kind, n)| (kind.name(), *n)).collect(),
                listed: dataset.findings.kept().into_iter().cloned().collect(),
            },
        },
    };
    for path in outputs.report.iter().cloned().chain(in_folder("report.json")) {
        write_json(&report, &path, stopping).map_err(failed(&path))?;
    }
    let shown =
        [&outputs.html, &outputs.save_json, &outputs.report].into_iter().flatten().filter(|p| p.as_os_str() != "-");
    Ok(outputs.folder.iter().chain(shown).cloned().collect())
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

fn about<'a>(outputs: &Outputs, summary: &'a Summary, run: Option<&ModelRun>) -> About<'a> {
    let command = outputs.command.clone();
    let samples = outputs.samples;
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
    let file = outputs.predictions.as_ref().and_then(|p| p.file_name());
    let model = file.map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    About { model, run: "boxes from a file".into(), ms: None, command, summary, samples }
}

/// An image as it is shown on the page: in the space of its boxes.
fn on_page(image: &Image) -> Option<Vec<u8>> {
    let (header, stated) = (image.header?, image.size?);
    // A dataset that means the unturned pixels has its image shown like that.
    let unturned = header.orientation >= 5 && stated != header.size;
    let orientation = if unturned { 1 } else { header.orientation };
    let longest = stated.width.max(stated.height);
    let scaled = |side: u32| {
        if longest <= ON_PAGE {
            return side;
        }
        u32::try_from(u64::from(side) * u64::from(ON_PAGE) / u64::from(longest)).unwrap_or(ON_PAGE).max(1)
    };
    thumbnail(&image.path, orientation, Size { width: scaled(stated.width), height: scaled(stated.height) })
}

fn write_predictions(path: &Path, dataset: &Dataset, found: &Found, stopping: &Shutdown) -> std::io::Result<()> {
    let file = PartFile::create(path, Some(stopping))?;
    let mut out = std::io::BufWriter::new(file.writer()?);
    predictions::write(&mut out, dataset, found).and_then(|()| out.flush())?;
    file.finish()
}
