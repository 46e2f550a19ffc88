//! Model cards: TOML files that say what a model is. Unknown keys are refused.

use std::path::Path;

use super::ModelError;
use super::recognise::Layout;
use crate::geometry::Placement;
use crate::tensor::ChannelOrder;

/// A model card as written. Its name is that of its file, without `.toml`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// File name of the model, beside the card or in a folder of models.
    pub file: String,
    /// Its checksum, 64 hex digits.
    pub sha256: Option<String>,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Where it can be downloaded.
    pub url: Option<String>,
    /// The command that makes it, where it cannot be downloaded.
    pub obtain: Option<String>,
    /// The page it comes from.
    pub source: Option<String>,
    /// Licence of the weights: an SPDX expression or `non-commercial`.
    pub licence: Option<String>,
    /// What the licence's name leaves out, in words.
    pub terms: Option<String>,
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
    pub accuracy: Option<String>,
}

impl Card {
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ModelError::Unreadable { path: path.display().to_string(), problem: e.to_string() })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses a card; `path` is for messages.
    ///
    /// # Errors
    /// When a key is unknown or a value cannot be used.
    pub fn parse(text: &str, path: &str) -> Result<Self, ModelError> {
        let problem = |problem: String| ModelError::Card { path: path.to_owned(), problem };
        let card: Self = toml::from_str(text).map_err(|e| {
            // As `model inspect --card` leaves it where the layout was not recognised.
            let blank = if text.contains("\"?\"") { "\n  fill in what the starter card leaves as \"?\"" } else { "" };
            problem(format!("{}{blank}", e.to_string().trim_end()))
        })?;
        if card.file.contains(['/', '\\']) || matches!(card.file.as_str(), "" | "." | "..") {
            return Err(problem(format!("file = {:?} must be a plain file name beside the card", card.file)));
        }
        let texts = [&card.url, &card.obtain, &card.source, &card.licence, &card.terms];
        if let Some(text) =
            texts.into_iter().flatten().chain([&card.file]).find(|text| text.chars().any(char::is_control))
        {
            return Err(problem(format!("{text:?} holds a control character")));
        }
        if let Some(sha256) = card.sha256.as_ref().filter(|text| !is_sha256(text)) {
            return Err(problem(format!("sha256 = {sha256:?} must be 64 hex digits")));
        }
        if let Some(url) = card.url.as_ref().filter(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return Err(problem(format!("url = {:?} must start with https://", crate::report::redact(url))));
        }
        if card.stride == Some(0) || card.imgsz == Some(0) || card.size_bytes == Some(0) {
            return Err(problem("stride, imgsz and size_bytes must be above 0".into()));
        }
        if card.std.is_some_and(|s| s.iter().any(|v| *v == 0.0 || !v.is_finite())) {
            return Err(problem("std must not hold 0".into()));
        }
        Ok(card)
    }
}

/// Whether `text` is a SHA-256 in hex.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
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

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (line, said) in [
            ("sha256 = \"abc\"", "64 hex digits"),
            ("url = \"ftp://h/a.onnx\"", "https://"),
            ("url = \"u:secret@h\"", "https://"),
            ("terms = \"a\\u001bb\"", "control character"),
            ("size_bytes = 0", "above 0"),
            ("layout = \"?\"", "fill in"),
        ] {
            let error = Card::parse(&format!("file = \"a.onnx\"\n{line}\n"), "a.toml").expect_err(line).to_string();
            assert!(error.contains(said) && error.starts_with("a.toml: "), "{error}");
        }
        for file in ["", "..", "a/b.onnx", "a\\\\b.onnx", "a\\u0007"] {
            Card::parse(&format!("file = \"{file}\"\n"), "a.toml").expect_err(file);
        }
    }
}
