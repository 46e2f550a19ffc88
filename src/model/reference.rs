//! The model that was asked for: found, and its checksum compared with its card's.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::card::Card;
use super::checksum::{hex, sha256_of};
use super::error::ModelError;
use super::store::{self, DEFAULT_NAME, Known, Place, nearest};

static DEFAULT_BYTES: &[u8] = include_bytes!("../../models/visdrone-nano.onnx");

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
    pub(super) name: String,
    pub(super) file: ModelFile,
    pub(super) sha256: String,
    pub(super) card: Option<Card>,
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
        let unreadable = |source| ModelError::Unreadable { path: path.to_owned(), source };
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
