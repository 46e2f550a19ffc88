//! Everything that is said of a set of boxes: what counts is sorted out once, here.

use super::confusion::Confusion;
use super::curves::{Curves, curves};
use super::dataset::{Dataset, Kind};
use super::evaluate::{COCO_MAX_DETS, ClassResult, Evaluation, Figures, VISDRONE_MAX_DETS, evaluate};
use super::predictions::Found;

/// Classes up to which the report carries the whole confusion matrix.
const MATRIX_CLASSES: usize = 366;

/// What a dataset's images and boxes come to.
#[derive(Debug)]
pub struct Scores {
    /// By image: whether it counts.
    pub counted: Vec<bool>,
    /// By class of the dataset: whether it is scored.
    pub scored: Vec<bool>,
    /// Detections an image and class that count, for the three average recalls.
    pub max_dets: [usize; 3],
    /// Boxes dropped for lying in ignored regions.
    pub in_ignored: usize,
    /// The official figures.
    pub evaluation: Evaluation,
    /// Over confidence.
    pub curves: Curves,
    /// At the best confidence.
    pub confusion: Confusion,
}

impl Scores {
    /// Scores `found`, from which boxes in ignored regions go.
    #[must_use]
    pub fn of(dataset: &Dataset, found: &mut Found, counted: Vec<bool>, scored: Vec<bool>) -> Self {
        let mut in_ignored = 0;
        for (image, boxes) in dataset.images.iter().zip(found.iter_mut()) {
            let before = boxes.len();
            boxes.retain(|b| !image.ignores(&b.bbox));
            in_ignored += before - boxes.len();
        }
        let max_dets = if dataset.kind == Kind::VisDrone { VISDRONE_MAX_DETS } else { COCO_MAX_DETS };
        let evaluation = evaluate(dataset, found, max_dets, &|p| counted[p], &|c| scored[c]);
        let curves = curves(&evaluation);
        let confusion = Confusion::of(dataset, found, curves.best_confidence, &|p| counted[p], &|c| scored[c]);
        Self { counted, scored, max_dets, in_ignored, evaluation, curves, confusion }
    }

    /// Objects and images that count.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        let objects = self.evaluation.classes.iter().map(|c| c.truths).sum();
        (objects, self.counted.iter().filter(|c| **c).count())
    }

    /// For the report.
    #[must_use]
    pub fn accuracy(&self, dataset: &Dataset) -> Accuracy {
        let classes = self.evaluation.classes.iter().zip(&self.curves.at_best).zip(&dataset.classes);
        let names = || dataset.classes.iter().map(|c| c.name.clone());
        let matrix = (dataset.classes.len() <= MATRIX_CLASSES).then(|| {
            let ids = || (0..dataset.classes.len()).map(Some).chain([None]);
            Matrix {
                iou: 0.5,
                confidence: self.curves.best_confidence,
                labels: names().chain(["background".to_owned()]).collect(),
                truth_by_found: ids().map(|t| ids().map(|f| self.confusion.get(t, f)).collect()).collect(),
            }
        });
        Accuracy {
            figures: self.evaluation.overall,
            max_dets: self.max_dets,
            best: AtBest {
                confidence: self.curves.best_confidence,
                precision: self.curves.best.precision,
                recall: self.curves.best.recall,
                f1: self.curves.best.f1,
            },
            classes: classes
                .filter(|((result, _), _)| result.truths > 0)
                .map(|((result, at_best), class)| {
                    ClassAccuracy::new(class.name.clone(), result, at_best.unwrap_or_default())
                })
                .collect(),
            not_scored: names().zip(&self.scored).filter(|(_, scored)| !**scored).map(|(name, _)| name).collect(),
            in_ignored_regions: self.in_ignored,
            confusion: matrix,
        }
    }
}

/// `accuracy` in the report; every figure is 0..1, or null where there is nothing to be found.
#[derive(Debug, serde::Serialize)]
pub struct Accuracy {
    #[serde(flatten)]
    figures: Figures,
    /// Detections an image and class that count, for `ar_1`, `ar_10` and everything else.
    max_dets: [usize; 3],
    best: AtBest,
    classes: Vec<ClassAccuracy>,
    not_scored: Vec<String>,
    in_ignored_regions: usize,
    confusion: Option<Matrix>,
}

/// The mean over classes at the confidence with the best F1, `IoU` 0.5.
#[derive(Debug, serde::Serialize)]
struct AtBest {
    confidence: f64,
    precision: f64,
    recall: f64,
    f1: f64,
}

#[derive(Debug, serde::Serialize)]
struct ClassAccuracy {
    class: String,
    images: usize,
    objects: usize,
    /// At the best confidence of all classes together.
    precision: f64,
    recall: f64,
    f1: f64,
    #[serde(flatten)]
    figures: Figures,
}

impl ClassAccuracy {
    fn new(class: String, result: &ClassResult, at_best: super::curves::Point) -> Self {
        let super::curves::Point { precision, recall, f1 } = at_best;
        let ClassResult { images, truths, figures, .. } = *result;
        Self { class, images, objects: truths, precision, recall, f1, figures }
    }
}

#[derive(Debug, serde::Serialize)]
struct Matrix {
    iou: f64,
    confidence: f64,
    labels: Vec<String>,
    /// A row a class of the truth, a column a class that was found; the last of each is the background.
    truth_by_found: Vec<Vec<usize>>,
}
