//! What is wrong with a dataset: each with file and line, counted all, kept up to a bound.

use std::collections::BTreeMap;

/// Findings of one kind that are kept word for word; the rest are counted.
const KEPT: u64 = 100;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Issue {
    /// An image is not there, or cannot be decoded: it is not scored.
    Missing,
    /// A label cannot be read: it is left out.
    Format,
    /// A label, or a prediction, names a class that the dataset does not have: it is left out.
    UnknownClass,
    /// A label, or a prediction, names an image that the dataset does not have: it is left out.
    UnknownImage,
    /// A box is not inside its image.
    OutOfRange,
    /// Too much for one image: the rest is left out.
    TooMany,
    /// Twice the same box, image or id.
    Duplicate,
    /// The file's size is not the one that the dataset states: boxes are brought to the stated one.
    Size,
    /// An image has no labels at all.
    Unlabelled,
    /// An image without colours.
    Grey,
}

impl Issue {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing image",
            Self::Format => "label format",
            Self::UnknownClass => "unknown class",
            Self::UnknownImage => "unknown image",
            Self::OutOfRange => "box out of range",
            Self::TooMany => "too many",
            Self::Duplicate => "duplicate",
            Self::Size => "size differs",
            Self::Unlabelled => "no labels",
            Self::Grey => "grey image",
        }
    }

    /// Whether something is left out of the score for it; otherwise it is worth a look only.
    #[must_use]
    pub fn costs(self) -> bool {
        matches!(self, Self::Missing | Self::Format | Self::UnknownClass | Self::UnknownImage | Self::TooMany)
    }
}

impl serde::Serialize for Issue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Of what kind.
    pub kind: Issue,
    /// `FILE:LINE`, or the file.
    pub place: String,
    /// In words.
    pub text: String,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    counts: BTreeMap<Issue, u64>,
    kept: Vec<Finding>,
}

impl Findings {
    /// Counts one, and keeps it while there are few of its kind.
    pub fn add(&mut self, kind: Issue, place: impl Into<String>, text: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= KEPT {
            self.kept.push(Finding { kind, place: place.into(), text: text() });
        }
    }

    /// How many of each kind, the costly kinds first.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<Issue, u64> {
        &self.counts
    }

    /// Those kept word for word, by kind.
    #[must_use]
    pub fn kept(&self) -> Vec<&Finding> {
        let mut kept: Vec<&Finding> = self.kept.iter().collect();
        kept.sort_by_key(|f| f.kind);
        kept
    }

    /// How many of one kind.
    #[must_use]
    pub fn count(&self, kind: Issue) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }
}
