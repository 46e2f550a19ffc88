//! Model cards: TOML files that say what a model is. Unknown keys are refused.

use std::io::Read;
use std::path::Path;

use super::ModelError;
use super::layout::Layout;
use super::names;
use crate::geometry::Placement;
use crate::tensor::ChannelOrder;

/// Longest card that is read; names of ten thousand classes fit.
const MAX_BYTES: u64 = 4 << 20;

/// A model card as written.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Card {
    /// File name of the model, beside the card.
    pub file: String,
    /// Its checksum.
    pub sha256: Option<String>,
    /// Where it can be had.
    #[serde(rename = "url")]
    pub _url: Option<String>,
    /// Licence of the weights.
    #[serde(rename = "licence")]
    pub _licence: Option<String>,
    /// Longer side of the default input, pixels.
    pub imgsz: Option<u32>,
    /// Multiple of the input's sides.
    pub stride: Option<u32>,
    /// Output layout.
    pub layout: Option<Layout>,
    /// Channel order of the input.
    pub order: Option<ChannelOrder>,
    /// Largest input value: 1 or 255.
    pub value_max: Option<f32>,
    /// Subtracted, per channel.
    pub mean: Option<[f32; 3]>,
    /// Divided by, per channel.
    pub std: Option<[f32; 3]>,
    /// Where the picture sits: `centre`, `corner` or `stretch`.
    pub placement: Option<Placement>,
    /// Class names in order of their ids.
    pub classes: Option<Vec<String>>,
    /// Default confidence threshold.
    pub conf: Option<f32>,
    /// Default `IoU` threshold.
    pub iou: Option<f32>,
    /// What was measured with it, on what.
    #[serde(rename = "accuracy")]
    pub _accuracy: Option<String>,
}

impl Card {
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let unreadable =
            |e: std::io::Error| ModelError::Unreadable { path: path.display().to_string(), problem: e.to_string() };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_BYTES {
            let problem = format!("it is larger than {MAX_BYTES} bytes: no model card");
            return Err(ModelError::Card { path: path.display().to_string(), problem });
        }
        Self::parse(&text, &path.display().to_string())
    }

    pub(super) fn parse(text: &str, path: &str) -> Result<Self, ModelError> {
        let problem = |problem: String| ModelError::Card { path: path.to_owned(), problem };
        let card: Self = toml::from_str(text).map_err(|e| problem(e.to_string()))?;
        if card.file.contains(['/', '\\']) || card.file.chars().any(char::is_control) {
            return Err(problem(format!("file = {:?} must be a plain file name beside the card", card.file)));
        }
        card.check().map_err(problem)?;
        Ok(card)
    }

    /// Whether every number is one that can be worked with.
    fn check(&self) -> Result<(), String> {
        let numbers = |values: [f32; 3], ok: fn(f32) -> bool| values.into_iter().all(|v| v.is_finite() && ok(v));
        let fraction = |value: Option<f32>| value.is_none_or(|v| (0.0..=1.0).contains(&v));
        let rules = [
            (self.stride.is_none_or(|n| (1..=256).contains(&n)), "stride must be from 1 to 256"),
            (self.imgsz.is_none_or(|n| (32..=8192).contains(&n)), "imgsz must be from 32 to 8192"),
            (self.value_max.is_none_or(|v| v.is_finite() && v != 0.0), "value_max must be a number other than 0"),
            (self.mean.is_none_or(|m| numbers(m, |_| true)), "mean must hold numbers"),
            (self.std.is_none_or(|s| numbers(s, |v| v != 0.0)), "std must hold numbers other than 0"),
            (fraction(self.conf) && fraction(self.iou), "conf and iou must be from 0 to 1"),
        ];
        if let Some((_, said)) = rules.iter().find(|(holds, _)| !holds) {
            return Err((*said).to_owned());
        }
        self.classes.as_ref().map_or(Ok(()), |classes| names::check(classes).map_err(|e| format!("classes: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = Card::parse("file = \"a.onnx\"\nlayuot = \"yolov8\"\n", "a.toml").expect_err("a wrong key");
        assert!(error.to_string().contains("layuot"), "{error}");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
