//! Precision, recall and F1 over confidence, at `IoU` 0.5, and the confidence with the best F1.

use super::evaluate::{ClassResult, Evaluation, Ranked};
use super::real;

/// Steps of confidence from 0 to 1.
pub const STEPS: usize = 1000;
/// Classes whose own curves are kept, those with most truths.
const KEPT: usize = 100;

/// Precision, recall and F1 at one confidence.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Point {
    /// Of what is found, how much is right. 1 where nothing is claimed, 0 for a class that is never found.
    pub precision: f64,
    /// Of what is there, how much is found.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// The curves.
#[derive(Debug, Clone)]
pub struct Curves {
    /// Mean over the classes with truths, by step of confidence.
    pub mean: Vec<Point>,
    /// Classes with their curves, by falling number of truths.
    pub classes: Vec<(usize, Vec<Point>)>,
    /// Confidence with the best mean F1.
    pub best_confidence: f64,
    /// The mean there.
    pub best: Point,
    /// Every class there; `None` without truths.
    pub at_best: Vec<Option<Point>>,
}

/// The step's confidence.
#[must_use]
pub fn confidence(step: usize) -> f64 {
    real(step) / real(STEPS)
}

/// Draws them from what was matched.
#[must_use]
pub fn curves(evaluation: &Evaluation) -> Curves {
    let mut with_truths: Vec<(usize, &ClassResult)> =
        evaluation.classes.iter().enumerate().filter(|(_, c)| c.truths > 0).collect();
    with_truths.sort_by_key(|(_, c)| std::cmp::Reverse(c.truths));
    let mut mean = vec![Point::default(); STEPS + 1];
    let mut classes = Vec::new();
    for (class, result) in &with_truths {
        let curve = of_class(result);
        for (sum, point) in mean.iter_mut().zip(&curve) {
            sum.precision += point.precision;
            sum.recall += point.recall;
            sum.f1 += point.f1;
        }
        if classes.len() < KEPT {
            classes.push((*class, curve));
        }
    }
    let count = real(with_truths.len().max(1));
    for point in &mut mean {
        *point = Point { precision: point.precision / count, recall: point.recall / count, f1: point.f1 / count };
    }
    // Of equals the lowest: it finds most.
    let best_step = (0..=STEPS).rev().max_by(|a, b| mean[*a].f1.total_cmp(&mean[*b].f1)).unwrap_or(0);
    let at_best = evaluation.classes.iter().map(|c| (c.truths > 0).then(|| at(c, confidence(best_step)))).collect();
    Curves { best: mean[best_step], best_confidence: confidence(best_step), mean, classes, at_best }
}

fn of_class(result: &ClassResult) -> Vec<Point> {
    let (mut right, mut wrong, mut next) = (0, 0, 0);
    let mut curve = vec![Point::default(); STEPS + 1];
    for step in (0..=STEPS).rev() {
        while let Some(ranked) = result.ranked.get(next).filter(|r| r.score >= confidence(step)) {
            match ranked.verdict() {
                Some(true) => right += 1,
                Some(false) => wrong += 1,
                None => {}
            }
            next += 1;
        }
        curve[step] = point(right, wrong, result);
    }
    curve
}

fn at(result: &ClassResult, confidence: f64) -> Point {
    let kept = || result.ranked.iter().take_while(|r| r.score >= confidence).filter_map(Ranked::verdict);
    point(kept().filter(|right| *right).count(), kept().filter(|right| !*right).count(), result)
}

fn point(right: usize, wrong: usize, result: &ClassResult) -> Point {
    let precision = match right + wrong {
        0 if result.ranked.is_empty() => 0.0,
        0 => 1.0,
        claimed => real(right) / real(claimed),
    };
    let recall = real(right) / real(result.truths.max(1));
    let f1 = if right == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
    Point { precision, recall, f1 }
}
