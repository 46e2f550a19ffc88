//! Models: what a file is, what its card says, how it is recognised.

mod card;
mod coco;
pub mod facts;
#[cfg(test)]
mod fuzz;
pub(crate) mod layout;
mod names;
mod recognise;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::geometry::{Letterbox, Placement, Size};
use crate::tensor::{InputPort, InputSpec};
use card::Card;
use facts::OnnxFacts;

pub use layout::Layout;

const DEFAULT_NAME: &str = "visdrone-nano";
const DEFAULT_CARD: &str = include_str!("../../models/visdrone-nano.toml");
static DEFAULT_BYTES: &[u8] = include_bytes!("../../models/visdrone-nano.onnx");

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a file nor a known name.
    #[error(
        "model {name}: no such file, and no card of that name\n  known here: {known}; or give the path of an ONNX file"
    )]
    Missing {
        /// What was asked for.
        name: String,
        /// Names that exist.
        known: String,
    },
    /// A file cannot be read.
    #[error("{path}: {problem}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// A card is wrong.
    #[error("{path}: {problem}")]
    Card {
        /// The card.
        path: String,
        /// Line and field.
        problem: String,
    },
    /// The file differs from what its card says.
    #[error("{path}: SHA-256 is {found}, its card says {expected}\n  fetch the file again, or correct the card")]
    Checksum {
        /// The model file.
        path: String,
        /// As stated.
        expected: String,
        /// As computed.
        found: String,
    },
    /// The model is of a kind that is not supported.
    #[error("{model}: {problem}\n  {remedy}")]
    Unsupported {
        /// The model.
        model: String,
        /// What was seen.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

/// Where the model's bytes are.
#[derive(Debug, Clone)]
pub enum ModelFile {
    /// A file.
    Path(PathBuf),
    /// Compiled in.
    Embedded(&'static [u8]),
}

impl ModelFile {
    /// For messages: the path, or that it is built in.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Embedded(_) => "the built-in model".into(),
        }
    }
}

/// What `-m` gave, found: the file, its checksum, its card if it has one.
#[derive(Debug)]
pub struct ModelRef {
    name: String,
    file: ModelFile,
    sha256: String,
    card: Option<Card>,
}

impl ModelRef {
    /// Finds the model: nothing for the built-in one, the path of an ONNX file (its card beside it counts), the path of a
    /// card, or a card's name (looked for in `models/` and the user's data folder).
    ///
    /// # Errors
    /// When there is no such model, its card is wrong, or its checksum differs from the card's.
    pub fn resolve(arg: Option<&str>) -> Result<Self, ModelError> {
        let arg = arg.unwrap_or(DEFAULT_NAME);
        let path = Path::new(arg);
        let is_card = path.extension().is_some_and(|e| e == "toml");
        if path.is_file() && !is_card {
            let beside = path.with_extension("toml");
            let card = if beside.is_file() { Some(Card::read(&beside)?) } else { None };
            return Self::from_file(path, card);
        }
        if path.is_file() {
            return Self::from_card(path);
        }
        let found = card_folders().into_iter().map(|f| f.join(format!("{arg}.toml"))).find(|p| p.is_file());
        match found {
            Some(card) if arg != DEFAULT_NAME => Self::from_card(&card),
            _ if arg == DEFAULT_NAME => Self::built_in(),
            _ => Err(ModelError::Missing { name: arg.to_owned(), known: known_names().join(", ") }),
        }
    }

    fn built_in() -> Result<Self, ModelError> {
        let card = Card::parse(DEFAULT_CARD, "models/visdrone-nano.toml")?;
        let sha256 = hex(&Sha256::digest(DEFAULT_BYTES));
        Self { name: DEFAULT_NAME.into(), file: ModelFile::Embedded(DEFAULT_BYTES), sha256, card: Some(card) }
            .verified()
    }

    fn from_card(path: &Path) -> Result<Self, ModelError> {
        let card = Card::read(path)?;
        let file = path.with_file_name(&card.file);
        Self::from_file(&file, Some(card))
    }

    fn from_file(path: &Path, card: Option<Card>) -> Result<Self, ModelError> {
        let unreadable =
            |e: std::io::Error| ModelError::Unreadable { path: path.display().to_string(), problem: e.to_string() };
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            let n = file.read(&mut chunk).map_err(unreadable)?;
            if n == 0 {
                break;
            }
            hash.update(&chunk[..n]);
        }
        let name = path.file_stem().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Self { name, file: ModelFile::Path(path.to_owned()), sha256: hex(&hash.finalize()), card }.verified()
    }

    fn verified(self) -> Result<Self, ModelError> {
        match self.card.as_ref().and_then(|c| c.sha256.as_ref()) {
            Some(expected) if !expected.eq_ignore_ascii_case(&self.sha256) => {
                Err(ModelError::Checksum { path: self.file.label(), expected: expected.clone(), found: self.sha256 })
            }
            _ => Ok(self),
        }
    }

    /// The default that its card states for an option, as one would write it on the command line.
    #[must_use]
    pub fn card_default(&self, option: &str) -> Option<String> {
        let card = self.card.as_ref()?;
        match option {
            "imgsz" => card.imgsz.map(|n| n.to_string()),
            "conf" => card.conf.map(|v| v.to_string()),
            "iou" => card.iou.map(|v| v.to_string()),
            _ => None,
        }
    }

    /// The model's bytes.
    #[must_use]
    pub fn file(&self) -> &ModelFile {
        &self.file
    }
}

/// A model that can be run.
#[derive(Debug, Clone)]
pub struct Model {
    /// Short name.
    pub name: String,
    /// Its bytes.
    pub file: ModelFile,
    /// Checksum of the bytes, lower-case hex.
    pub sha256: String,
    /// How pictures become its input.
    pub input: InputSpec,
    /// The graph's inputs.
    pub port: InputPort,
    /// Frames a run takes; `None`: any.
    pub batch: Option<usize>,
    /// Input size when it is static.
    pub static_size: Option<Size>,
    /// Input size to use when it is dynamic and the user says nothing.
    pub default_size: Size,
    /// Sides of a dynamic input are multiples of this, pixels.
    pub stride: u32,
    /// How the output is read.
    pub layout: Layout,
    /// Why that layout.
    pub layout_reason: String,
    /// What a user should know of how it is used: outputs that are ignored, names that are assumed.
    pub notices: Vec<String>,
    /// Class names by id.
    pub classes: Arc<[String]>,
    /// Default confidence threshold.
    pub conf: f32,
    /// Default `IoU` threshold of the NMS.
    pub iou: f32,
}

impl Model {
    /// Puts together what the file, its metadata and its card say.
    ///
    /// # Errors
    /// When the layout cannot be recognised or is not supported, saying what was seen.
    pub fn build(reference: ModelRef, facts: &OnnxFacts) -> Result<Self, ModelError> {
        recognise::build(reference, facts)
    }

    /// Size of the tensor for pictures of size `picture`, with `imgsz` where the model leaves it open: padded up to the
    /// stride only, or `imgsz` itself where pictures are stretched.
    #[must_use]
    pub fn tensor_size(&self, picture: Size, imgsz: Size) -> Size {
        match (self.static_size, self.input.placement) {
            (Some(size), _) => size,
            (None, Placement::Stretch) => imgsz,
            (None, _) => Letterbox::dynamic_tensor(picture, imgsz, self.stride),
        }
    }
}

fn card_folders() -> Vec<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/share")));
    std::iter::once(PathBuf::from("models")).chain(data.map(|d| d.join("streamdet/models"))).collect()
}

fn known_names() -> Vec<String> {
    let mut names = vec![DEFAULT_NAME.to_owned()];
    for folder in card_folders() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "toml")
                && let Some(stem) = path.file_stem().and_then(|s| s.to_str())
            {
                names.push(stem.to_owned());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}
