//! Models: what a file is, what its card says, how it is recognised.

mod card;
mod coco;
pub mod facts;
pub mod fetch;
#[cfg(test)]
mod fuzz;
pub(crate) mod layout;
pub mod licence;
mod names;
mod recognise;
pub mod starter;
pub mod store;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::geometry::{Letterbox, Placement, Size};
use crate::tensor::{InputPort, InputSpec};
use facts::OnnxFacts;
use store::{Known, Place};

pub use card::{Card, is_sha256};
pub use layout::Layout;

const DEFAULT_NAME: &str = "visdrone-nano";
static DEFAULT_BYTES: &[u8] = include_bytes!("../../models/visdrone-nano.onnx");

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a file nor a known name.
    #[error(
        "model {name}: no such file, and no model of that name\n  the nearest is {nearest}; `streamdet model list` shows all; or give the path of an ONNX file"
    )]
    Missing {
        /// What was asked for.
        name: String,
        /// The name that resembles it most.
        nearest: String,
    },
    /// Its card is known, its file is not here.
    #[error("model {name}: its file {file} is not here\n  streamdet model fetch {name}")]
    NotHere {
        /// What was asked for.
        name: String,
        /// As its card says.
        file: String,
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

impl ModelError {
    /// A file that cannot be read.
    pub(crate) fn unreadable(path: &Path, source: &std::io::Error) -> Self {
        Self::Unreadable { path: path.display().to_string(), problem: source.to_string() }
    }
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
#[derive(Debug, Clone)]
pub struct ModelRef {
    name: String,
    file: ModelFile,
    sha256: String,
    card: Option<Card>,
}

impl ModelRef {
    /// Finds the model: nothing for the built-in one, the path of an ONNX file (its card beside it counts), the path of a
    /// card, or a name (see [`store::find`]).
    ///
    /// # Errors
    /// When there is no such model, its card is wrong, its file is not here, or its checksum differs from the card's.
    pub fn resolve(arg: Option<&str>) -> Result<Self, ModelError> {
        let arg = arg.unwrap_or(DEFAULT_NAME);
        let path = Path::new(arg);
        if path.is_file() {
            if path.extension().is_some_and(|e| e == "toml") {
                let card = Card::read(path)?;
                return Self::from_file(&path.with_file_name(&card.file), Some(card));
            }
            let beside = path.with_extension("toml");
            let card = if beside.is_file() { Some(Card::read(&beside)?) } else { None };
            return Self::from_file(path, card);
        }
        let Some(Known { name, card, place, .. }) = store::find(arg)? else {
            return Err(ModelError::Missing { name: arg.to_owned(), nearest: nearest(arg) });
        };
        match place {
            Place::BuiltIn => {
                let sha256 = hex(&Sha256::digest(DEFAULT_BYTES));
                Self { name, file: ModelFile::Embedded(DEFAULT_BYTES), sha256, card }.verified()
            }
            Place::Here(path) => Ok(Self { name, ..Self::from_file(&path, card)? }),
            Place::Missing => Err(ModelError::NotHere { name, file: card.map_or_else(String::new, |c| c.file) }),
        }
    }

    /// The file at `path`, whatever any card says of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn without_card(path: &Path) -> Result<Self, ModelError> {
        let unreadable =
            |e: std::io::Error| ModelError::Unreadable { path: path.display().to_string(), problem: e.to_string() };
        let sha256 = sha256_of(std::fs::File::open(path).map_err(unreadable)?).map_err(unreadable)?;
        let name = path.file_stem().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok(Self { name, file: ModelFile::Path(path.to_owned()), sha256, card: None })
    }

    fn from_file(path: &Path, card: Option<Card>) -> Result<Self, ModelError> {
        let bare = Self::without_card(path)?;
        Self { card: card.or_else(|| store::card_of(&bare.sha256)), ..bare }.verified()
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

    /// Its short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checksum of its bytes, lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What its card says, if it has one.
    #[must_use]
    pub fn card(&self) -> Option<&Card> {
        self.card.as_ref()
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

/// A channel order or a placement, as cards write it.
#[must_use]
pub fn card_word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The known name that resembles `name` most.
#[must_use]
pub fn nearest(name: &str) -> String {
    let names = store::list().0.into_iter().map(|known| known.name);
    crate::text::nearest(name, names).unwrap_or_else(|| DEFAULT_NAME.to_owned())
}

/// Checksum of everything that can be read from `file`, lower-case hex.
fn sha256_of(mut file: impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}
