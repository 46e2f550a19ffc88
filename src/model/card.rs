//! Model cards: TOML files that say what a model is. Unknown keys are refused.

use std::path::Path;

use super::ModelError;
use super::recognise::Layout;
use crate::geometry::Placement;
use crate::tensor::ChannelOrder;

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
    /// Letterbox placement.
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
        let text = std::fs::read_to_string(path)
            .map_err(|e| ModelError::Unreadable { path: path.display().to_string(), problem: e.to_string() })?;
        Self::parse(&text, &path.display().to_string())
    }

    pub(super) fn parse(text: &str, path: &str) -> Result<Self, ModelError> {
        let problem = |problem: String| ModelError::Card { path: path.to_owned(), problem };
        let card: Self = toml::from_str(text).map_err(|e| problem(e.to_string()))?;
        if card.file.contains(['/', '\\']) || card.file.chars().any(char::is_control) {
            return Err(problem(format!("file = {:?} must be a plain file name beside the card", card.file)));
        }
        if card.stride == Some(0) || card.imgsz == Some(0) {
            return Err(problem("stride and imgsz must be above 0".into()));
        }
        if card.std.is_some_and(|s| s.iter().any(|v| *v == 0.0 || !v.is_finite())) {
            return Err(problem("std must not hold 0".into()));
        }
        Ok(card)
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
