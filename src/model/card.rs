//! Model cards: TOML files that say what a model is. Unknown keys are refused.

use std::io::Read;
use std::path::Path;

use super::ModelError;
use super::coco;
use super::external::is_inside;
use super::layout::Layout;
use super::names;
use crate::geometry::Placement;
use crate::tensor::ChannelOrder;

/// Longest card that is read; names of ten thousand classes fit.
const MAX_BYTES: u64 = 4 << 20;

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
    /// Where the frame sits: `centre`, `corner` or `stretch`.
    pub placement: Option<Placement>,
    /// Class names in order of their ids; `"coco"` stands for COCO's 80.
    #[serde(default, deserialize_with = "classes")]
    pub classes: Option<Vec<String>>,
    /// Default confidence threshold.
    pub conf: Option<f32>,
    /// Default `IoU` threshold.
    pub iou: Option<f32>,
    /// What was measured with it, on what.
    pub accuracy: Option<String>,
    /// The files beside it in which its weights lie (ONNX external data).
    #[serde(default)]
    pub data: Vec<Data>,
}

/// A file beside a model in which weights of it lie.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Its name as the model has it, relative to the model's folder.
    pub file: String,
    /// Its checksum, 64 hex digits.
    pub sha256: String,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Where it can be downloaded.
    pub url: Option<String>,
}

impl Card {
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let unreadable = |source| ModelError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_BYTES {
            let problem = format!("it is larger than {MAX_BYTES} bytes: no model card");
            return Err(ModelError::Card { path: path.display().to_string(), problem });
        }
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
        if let Some(text) = texts
            .into_iter()
            .flatten()
            .chain([&card.file])
            .chain(card.data.iter().filter_map(|data| data.url.as_ref()))
            .find(|text| text.chars().any(char::is_control))
        {
            return Err(problem(format!("{text:?} holds a control character")));
        }
        if let Some(data) = card.data.iter().find(|data| !is_inside(&data.file)) {
            return Err(problem(format!("data: file = {:?} must be a name in the model's folder", data.file)));
        }
        let mut sums = card.sha256.iter().chain(card.data.iter().map(|data| &data.sha256));
        if let Some(sha256) = sums.find(|text| !is_sha256(text)) {
            return Err(problem(format!("sha256 = {sha256:?} must be 64 hex digits")));
        }
        let mut urls = card.url.iter().chain(card.data.iter().filter_map(|data| data.url.as_ref()));
        if let Some(url) = urls.find(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return Err(problem(format!("url = {:?} must start with https://", crate::secrets::redact(url))));
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
            (
                self.size_bytes != Some(0) && self.data.iter().all(|data| data.size_bytes != Some(0)),
                "size_bytes must be above 0",
            ),
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

/// A list of names, or the name of a list.
fn classes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "expected a list of class names, or \"coco\"")]
    enum Classes {
        Named(Vec<String>),
        Known(Known),
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Known {
        Coco,
    }
    serde::Deserialize::deserialize(from).map(|classes| {
        Some(match classes {
            Classes::Named(names) => names,
            Classes::Known(Known::Coco) => coco::names(),
        })
    })
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
            ("classes = \"cocoa\"", "a list of class names, or \"coco\""),
            (
                "[[data]]\nfile = \"../a.data\"\nsha256 = \"\"",
                "data: file = \"../a.data\" must be a name in the model's folder",
            ),
            ("[[data]]\nfile = \"a.data\"\nsha256 = \"1\"", "64 hex digits"),
            ("[[data]]\nfile = \"a.data\"", "sha256"),
        ] {
            let error = Card::parse(&format!("file = \"a.onnx\"\n{line}\n"), "a.toml").expect_err(line).to_string();
            assert!(error.contains(said) && error.starts_with("a.toml: "), "{error}");
        }
        for file in ["", "..", "a/b.onnx", "a\\\\b.onnx", "a\\u0007"] {
            Card::parse(&format!("file = \"{file}\"\n"), "a.toml").expect_err(file);
        }
    }
}
