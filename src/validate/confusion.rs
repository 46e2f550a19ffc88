//! Which class is taken for which: boxes above a confidence against truths, whatever their classes, at `IoU` 0.5.

use std::collections::BTreeMap;

use super::dataset::{Dataset, Image};
use super::predictions::Found;
use super::{LabelBox, Scored};

/// Overlap from which a box and a truth belong together.
const OVERLAP: f64 = 0.5;
/// Boxes of one image that are paired, the most confident ones; every pair of boxes is looked at.
const MOST_BOXES: usize = 1_000;

/// What became of one image's boxes and truths.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pairing {
    /// By truth: the box that belongs to it.
    pub truths: Vec<Option<usize>>,
    /// By box: whether it is above the confidence, and its truth; a box inside a crowd belongs to it without matching it.
    pub boxes: Vec<Fate>,
}

/// What became of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not confident enough, or one too many.
    Dropped,
    /// With a truth of its class.
    Right(usize),
    /// With a truth of another class.
    Confused(usize),
    /// In a crowd, or on something that does not count.
    Ignored,
    /// With nothing.
    False,
}

impl Pairing {
    /// Right boxes, boxes that are wrong, truths of `scored` classes that are missed.
    #[must_use]
    pub fn counts(&self, image: &Image, scored: &[bool]) -> (usize, usize, usize) {
        let right = self.boxes.iter().filter(|f| matches!(f, Fate::Right(_))).count();
        let wrong = self.boxes.iter().filter(|f| matches!(f, Fate::False | Fate::Confused(_))).count();
        let there = image.truths.iter().filter(|t| !t.crowd && scored[t.class]).count();
        (right, wrong, there.saturating_sub(right))
    }

    /// `2 right / (2 right + wrong + missed)`; 1 where there is nothing and nothing is claimed.
    #[must_use]
    pub fn f1(&self, image: &Image, scored: &[bool]) -> f64 {
        let (right, wrong, missed) = self.counts(image, scored);
        let all = 2 * right + wrong + missed;
        if all == 0 { 1.0 } else { super::real(2 * right) / super::real(all) }
    }
}

/// Pairs boxes and truths one to one, the largest overlaps first, of equals those of one class.
#[must_use]
pub fn pair(image: &Image, boxes: &[Scored], confidence: f64) -> Pairing {
    let iou = |a: &LabelBox, b: &LabelBox| {
        let shared = a.shared(b);
        if shared > 0.0 { shared / (a.area() + b.area() - shared) } else { 0.0 }
    };
    let mut kept: Vec<(usize, &Scored)> = boxes.iter().enumerate().filter(|(_, b)| b.score >= confidence).collect();
    kept.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    kept.truncate(MOST_BOXES);
    let mut pairs = Vec::new();
    for (b, found) in &kept {
        for (t, truth) in image.truths.iter().enumerate().filter(|(_, t)| !t.crowd) {
            let overlap = iou(&found.bbox, &truth.bbox);
            if overlap >= OVERLAP {
                pairs.push((overlap, found.class == truth.class, found.score, *b, t));
            }
        }
    }
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then(y.1.cmp(&x.1)).then(y.2.total_cmp(&x.2)));
    let mut pairing = Pairing { truths: vec![None; image.truths.len()], boxes: vec![Fate::Dropped; boxes.len()] };
    for (b, _) in kept {
        pairing.boxes[b] = Fate::False;
    }
    for (_, same, _, b, t) in pairs {
        if pairing.truths[t].is_none() && pairing.boxes[b] == Fate::False {
            pairing.truths[t] = Some(b);
            pairing.boxes[b] = if same { Fate::Right(t) } else { Fate::Confused(t) };
        }
    }
    for (fate, found) in pairing.boxes.iter_mut().zip(boxes) {
        let in_crowd = || {
            let crowds = image.truths.iter().filter(|t| t.crowd && t.class == found.class);
            crowds.map(|t| found.bbox.shared(&t.bbox)).any(|shared| shared >= OVERLAP * found.bbox.area())
        };
        if *fate == Fate::False && in_crowd() {
            *fate = Fate::Ignored;
        }
    }
    pairing
}

/// Counts of `(truth, found)` pairs; `None` stands for the background: missed, or found where nothing is.
#[derive(Debug, Clone, Default)]
pub struct Confusion {
    /// Only what happened.
    pub counts: BTreeMap<(Option<usize>, Option<usize>), usize>,
}

impl Confusion {
    /// Counts every image that `counts` says yes to.
    #[must_use]
    pub fn of(
        dataset: &Dataset,
        found: &Found,
        confidence: f64,
        counts: &dyn Fn(usize) -> bool,
        scored: &dyn Fn(usize) -> bool,
    ) -> Self {
        let mut matrix = Self::default();
        let mut add =
            |truth: Option<usize>, found: Option<usize>| *matrix.counts.entry((truth, found)).or_default() += 1;
        for (_, (image, boxes)) in dataset.images.iter().zip(found).enumerate().filter(|(index, _)| counts(*index)) {
            let pairing = pair(image, boxes, confidence);
            for (fate, b) in pairing.boxes.iter().zip(boxes) {
                match fate {
                    Fate::Right(t) | Fate::Confused(t) => add(Some(image.truths[*t].class), Some(b.class)),
                    Fate::False => add(None, Some(b.class)),
                    Fate::Dropped | Fate::Ignored => {}
                }
            }
            for (truth, _) in image.truths.iter().zip(&pairing.truths).filter(|(_, b)| b.is_none()) {
                if !truth.crowd && scored(truth.class) {
                    add(Some(truth.class), None);
                }
            }
        }
        matrix
    }

    /// One cell.
    #[must_use]
    pub fn get(&self, truth: Option<usize>, found: Option<usize>) -> usize {
        self.counts.get(&(truth, found)).copied().unwrap_or(0)
    }
}
