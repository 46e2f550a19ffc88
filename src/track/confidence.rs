//! Which confidence speaks for an object: learned from the stream, class by class.
//!
//! A model that gives pedestrians from above 0.4 and cars 0.9 knows both. What is usual for a class at its better moments
//! (the upper quartile) is kept; a detection somewhat below that says nothing about whether there is an object, one further
//! below speaks against it.

use std::collections::HashMap;

/// The share of detections below what is kept.
const QUARTILE: f64 = 0.75;
/// Log-odds below the quartile at which a detection says nothing.
const BELOW: f64 = 0.7;
/// That level is never higher than a confidence of 0.67, and never lower than 0.25.
const LEVELS: (f64, f64) = (-1.1, 0.7);
/// Where a class begins: 0.73, so that what is doubtful waits for a few dozen detections.
const FIRST: f64 = 1.0;
/// Detections that the beginning is worth.
const FIRST_WEIGHT: f64 = 10.0;
/// The quartile moves in steps of 4 over the number of detections, never smaller than this: it forgets within hundreds.
const SMALLEST_STEP: f64 = 0.01;
/// What is below is not counted: `--conf` decides how much of it there is.
const COUNTED: f32 = 0.25;

/// Levels by class.
#[derive(Debug, Default)]
pub struct Levels {
    classes: HashMap<u16, Level>,
}

#[derive(Debug)]
struct Level {
    quartile: f64,
    seen: f64,
}

impl Levels {
    /// Takes note of a detection.
    pub fn note(&mut self, class_id: u16, confidence: f32) {
        if confidence < COUNTED {
            return;
        }
        let level = self.classes.entry(class_id).or_insert(Level { quartile: FIRST, seen: FIRST_WEIGHT });
        level.seen += 1.0;
        let step = (4.0 / level.seen).max(SMALLEST_STEP);
        level.quartile += step * if log_odds(confidence) > level.quartile { QUARTILE } else { QUARTILE - 1.0 };
    }

    /// What a detection says for (positive) or against an object, as log-odds.
    #[must_use]
    pub fn evidence(&self, class_id: u16, confidence: f32) -> f64 {
        let quartile = self.classes.get(&class_id).map_or(FIRST, |level| level.quartile);
        log_odds(confidence) - (quartile - BELOW).clamp(LEVELS.0, LEVELS.1)
    }
}

/// Log-odds of a confidence; 0 and 1 are taken for 0.02 and 0.98.
pub fn log_odds(confidence: f32) -> f64 {
    let share = f64::from(confidence).clamp(0.02, 0.98);
    (share / (1.0 - share)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_for_a_class_counts_for_an_object() {
        let mut levels = Levels::default();
        assert!(levels.evidence(0, 0.9) > 0.0 && levels.evidence(0, 0.5) < 0.0);
        for _ in 0..200 {
            for confidence in [0.3, 0.35, 0.4, 0.45] {
                levels.note(1, confidence);
            }
            for confidence in [0.3, 0.85, 0.9, 0.9] {
                levels.note(2, confidence);
            }
        }
        assert!(levels.evidence(1, 0.4) > 0.0, "as sure as it gets in class 1");
        assert!(levels.evidence(2, 0.4) < 0.0, "doubtful in class 2");
        assert!(levels.evidence(3, 0.5) < 0.0, "class 3 was not seen yet");
    }
}
