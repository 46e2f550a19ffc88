//! Which benchmark's rules apply to a file of ground truth.

use crate::mot::Row;

/// A benchmark, by what its ground truth's columns mean and what is prepared before scoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// No classes. What the flag in column 7 excludes is left out.
    Mot15,
    /// 2016 and 2017: classes in column 8, of which pedestrians count; what is found on a distractor is left out.
    Mot16,
    /// The same, with vehicles among the distractors.
    Mot20,
    /// Categories in column 8; what lies in ignored regions is left out.
    VisDrone,
}

impl Format {
    /// By its columns, and MOT20 by its name, since it has the columns of 2016.
    #[must_use]
    pub fn guess(sequence: &str, gt: &[Row]) -> Self {
        let whole = |value: f64, to: f64| value.fract() == 0.0 && (0.0..=to).contains(&value);
        let drone = |row: &Row| {
            let [category, truncation, occlusion] = row.extra;
            row.columns == 10 && whole(category, 11.0) && whole(truncation, 2.0) && whole(occlusion, 2.0)
        };
        if gt.iter().any(|row| row.extra[0] >= 1.0) && gt.iter().all(drone) {
            Self::VisDrone
        } else if !gt.iter().any(|row| row.columns == 9) {
            Self::Mot15
        } else if sequence.starts_with("MOT20") {
            Self::Mot20
        } else {
            Self::Mot16
        }
    }

    /// As `--mot-format` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mot15 => "mot15",
            Self::Mot16 => "mot16",
            Self::Mot20 => "mot20",
            Self::VisDrone => "visdrone",
        }
    }

    /// Its rule, for people.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Mot15 => "rows with flag 0 left out",
            Self::Mot16 | Self::Mot20 => "pedestrians, without distractors",
            Self::VisDrone => "5 classes, without ignored regions",
        }
    }
}
