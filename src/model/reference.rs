//! The model that was asked for: found, and its checksum compared with its card's.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::card::Card;
use super::checksum::sha256_of;
use super::error::ModelError;
use super::external::{DataFile, data_files, whole_sha256};
use super::store::{self, DEFAULT_NAME, Known, Place, nearest};
use crate::text::hex;

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
    /// Of the file itself.
    pub(super) sha256: String,
    /// Files beside it in which its weights lie.
    pub(super) data: Vec<DataFile>,
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
                Self { name, file: ModelFile::Embedded(DEFAULT_BYTES), sha256, data: Vec::new(), card }.verified()
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
        let data = data_files(path)?;
        let name = path.file_stem().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok(Self { name, file: ModelFile::Path(path.to_owned()), sha256, data, card: None })
    }

    fn from_file(path: &Path, card: Option<Card>) -> Result<Self, ModelError> {
        let bare = Self::without_card(path)?;
        Self { card: card.or_else(|| store::card_of(&bare.sha256)), ..bare }.verified()
    }

    fn verified(self) -> Result<Self, ModelError> {
        self.verify_data()?;
        match self.card.as_ref().and_then(|c| c.sha256.as_ref()) {
            Some(expected) if !expected.eq_ignore_ascii_case(&self.sha256) => {
                Err(ModelError::Checksum { path: self.file.label(), expected: expected.clone(), found: self.sha256 })
            }
            _ => Ok(self),
        }
    }

    /// Compares its files of external data with what its card says. A card that states a checksum of the model states theirs.
    fn verify_data(&self) -> Result<(), ModelError> {
        let Some(card) = &self.card else { return Ok(()) };
        for data in &self.data {
            let path = data.path.display().to_string();
            let found = data.sha256.clone();
            match card.data.iter().find(|stated| Path::new(&stated.file) == Path::new(&data.location)) {
                Some(stated) if !stated.sha256.eq_ignore_ascii_case(&found) => {
                    return Err(ModelError::Checksum { path, expected: stated.sha256.clone(), found });
                }
                None if card.sha256.is_some() => {
                    let (card, location) = (format!("the card of {}", self.name), data.location.clone());
                    return Err(ModelError::DataUnstated { path, card, location, found });
                }
                _ => {}
            }
        }
        Ok(())
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

    /// Checksum of its file, lower-case hex, as its card states it.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Files beside it in which its weights lie (ONNX external data).
    #[must_use]
    pub fn data(&self) -> &[DataFile] {
        &self.data
    }

    /// Checksum of all that it is of, lower-case hex: of its file, or of what `sha256sum` prints of that and of its data, in order
    /// of their names.
    #[must_use]
    pub fn whole_sha256(&self) -> String {
        match &self.file {
            ModelFile::Path(path) => whole_sha256(path, &self.sha256, &self.data),
            ModelFile::Embedded(_) => self.sha256.clone(),
        }
    }

    /// What its card says, if it has one.
    #[must_use]
    pub fn card(&self) -> Option<&Card> {
        self.card.as_ref()
    }
}
