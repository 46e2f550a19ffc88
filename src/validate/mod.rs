//! Accuracy: a model's boxes, or those in a file, against labelled images.
//!
//! [`dataset`] reads the truth and says what is wrong with it, [`predictions`] reads and writes boxes as COCO's results,
//! [`classes`] brings the model's classes and the dataset's together, [`evaluate`] gives the figures of the official COCO
//! evaluator, [`curves`] and [`confusion`] what is drawn, [`charts`] and [`page`] draw it; [`run`] has a model detect on the images.
//! [`mot`] scores a tracker's result.

pub mod charts;
pub mod classes;
pub mod confusion;
pub mod curves;
pub mod dataset;
pub mod evaluate;
pub mod mot;
pub mod outputs;
pub mod page;
pub mod predictions;
pub mod run;
pub mod scores;

/// A box as datasets state it: left, top, width, height, in pixels of the image as the dataset means it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelBox {
    /// Left edge, pixels.
    pub x: f64,
    /// Top edge, pixels.
    pub y: f64,
    /// Width, pixels.
    pub width: f64,
    /// Height, pixels.
    pub height: f64,
}

impl LabelBox {
    /// Area, square pixels.
    #[must_use]
    pub fn area(&self) -> f64 {
        self.width * self.height
    }

    /// Area shared with `other`, square pixels.
    #[must_use]
    pub fn shared(&self, other: &Self) -> f64 {
        let across = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let down = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        if across > 0.0 && down > 0.0 { across * down } else { 0.0 }
    }

    /// Whether every figure is finite and the sides are not negative.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        [self.x, self.y, self.width, self.height, self.area()].iter().all(|v| v.is_finite())
            && self.width >= 0.0
            && self.height >= 0.0
    }
}

/// A box that was found, with its class in the dataset's count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Index into [`dataset::Dataset::classes`].
    pub class: usize,
    /// Confidence.
    pub score: f64,
    /// Where.
    pub bbox: LabelBox,
}

/// A count as a figure to calculate with; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn real(count: usize) -> f64 {
    count as f64
}
