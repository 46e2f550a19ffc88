//! Models known by name: the cards in the user's data folder, those compiled in and those in `./models`; and where their files are.

use std::path::{Path, PathBuf};

use super::card::Card;
use super::error::ModelError;
use crate::folders;

/// The folder of models in the current one.
const HERE: &str = "models";
/// The model that is built in.
pub(super) const DEFAULT_NAME: &str = "visdrone-nano";

/// A card compiled in: its name and its text.
macro_rules! card {
    ($name:literal) => {
        ($name, include_str!(concat!("../../models/", $name, ".toml")))
    };
}

/// Every card of `models/`.
const BUILT_IN: [(&str, &str); 19] = [
    card!("dfine-n"),
    card!("dfine-s"),
    card!("fastestdet"),
    card!("nanodet-plus-m"),
    card!("picodet-s"),
    card!("rtdetr-l"),
    card!("rtdetrv2-s"),
    card!("visdrone-nano"),
    card!("yolo11n"),
    card!("yolo11s"),
    card!("yolo26n"),
    card!("yolo26s"),
    card!("yolov8n"),
    card!("yolov8n-visdrone"),
    card!("yolov8s"),
    card!("yolov8s-visdrone"),
    card!("yolox-nano"),
    card!("yolox-s"),
    card!("yolox-tiny"),
];

/// Where the file of a known model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Compiled in.
    BuiltIn,
    /// At this path.
    Here(PathBuf),
    /// Nowhere on this machine.
    Missing,
}

/// A model known by name.
#[derive(Debug, Clone)]
pub struct Known {
    /// The card's name, or that of the file without its ending.
    pub name: String,
    /// Its card; `None` for a file that lies in a folder of models without one.
    pub card: Option<Card>,
    /// The card's file; `None` when it is compiled in, or there is no card.
    pub card_path: Option<PathBuf>,
    /// Where its file is.
    pub place: Place,
}

/// `${XDG_DATA_HOME:-~/.local/share}/streamdet/models`: where fetched models go.
#[must_use]
pub fn user_folder() -> Option<PathBuf> {
    Some(folders::data()?.join("models"))
}

/// Folders that are searched for cards and models, in this order.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    std::iter::once(PathBuf::from(HERE)).chain(user_folder()).collect()
}

/// The model of that name: its card from the user's folder, compiled in, or from `./models`; else a file `NAME.onnx` in one of the
/// folders.
///
/// # Errors
/// When its card is wrong.
pub fn find(name: &str) -> Result<Option<Known>, ModelError> {
    if name.is_empty() || name.contains(['/', '\\']) {
        return Ok(None);
    }
    let read = |folder: PathBuf| {
        let path = folder.join(format!("{name}.toml"));
        path.is_file().then(|| Ok::<_, ModelError>(known(name, Card::read(&path)?, Some(path)))).transpose()
    };
    // The built-in default stays itself, whatever lies around.
    if name != DEFAULT_NAME
        && let Some(own) = user_folder().map(read).transpose()?.flatten()
    {
        return Ok(Some(own));
    }
    // Before what lies in the current folder: a foreign checkout does not choose what a known name is.
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return Ok(Some(known(name, Card::parse(text, &format!("models/{name}.toml"))?, None)));
    }
    if let Some(here) = read(PathBuf::from(HERE))? {
        return Ok(Some(here));
    }
    let file = format!("{name}.onnx");
    let here = folders().into_iter().map(|folder| folder.join(&file)).find(|path| path.is_file());
    Ok(here.map(|path| Known { name: name.to_owned(), card: None, card_path: None, place: Place::Here(path) }))
}

/// Puts a card and its file together: the file lies beside the card, or in one of the folders.
fn known(name: &str, card: Card, card_path: Option<PathBuf>) -> Known {
    let beside = card_path.as_ref().map(|path| path.with_file_name(&card.file));
    let place = if name == DEFAULT_NAME {
        Place::BuiltIn
    } else {
        let elsewhere = folders().into_iter().map(|folder| folder.join(&card.file));
        beside.into_iter().chain(elsewhere).find(|path| path.is_file()).map_or(Place::Missing, Place::Here)
    };
    Known { name: name.to_owned(), card: Some(card), card_path, place }
}

/// Every model known by name, in order of their names, and the cards that cannot be read.
#[must_use]
pub fn list() -> (Vec<Known>, Vec<ModelError>) {
    let files: Vec<PathBuf> = folders().iter().flat_map(|folder| entries(folder)).collect();
    let with_ending = |ending: &'static str| files.iter().filter(move |path| path.extension() == Some(ending.as_ref()));
    let stem = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let mut names: Vec<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.extend(with_ending("toml").filter_map(stem));
    let (mut models, mut problems) = (Vec::new(), Vec::new());
    names.sort();
    names.dedup();
    for name in names {
        match find(&name) {
            Ok(found) => models.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let mut without_card: Vec<String> = with_ending("onnx")
        .filter(|path| !models.iter().any(|m| m.card.as_ref().is_some_and(|c| path.ends_with(&c.file))))
        .filter_map(stem)
        .collect();
    without_card.sort();
    without_card.dedup();
    for name in without_card {
        match find(&name) {
            Ok(Some(found)) if !models.iter().any(|m| m.name == found.name) => models.push(found),
            _ => {}
        }
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    (models, problems)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The compiled-in card of the file with this checksum: it counts wherever the file lies.
pub(super) fn card_of(sha256: &str) -> Option<Card> {
    BUILT_IN
        .iter()
        // Most files are known to no card: compare as text before anything is parsed.
        .filter(|(_, text)| text.contains(sha256))
        .filter_map(|(name, text)| Card::parse(text, name).ok())
        .find(|card| card.sha256.as_deref() == Some(sha256))
}

/// The known name that resembles `name` most.
#[must_use]
pub fn nearest(name: &str) -> String {
    let names = list().0.into_iter().map(|known| known.name);
    crate::text::nearest(name, names).unwrap_or_else(|| DEFAULT_NAME.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::licence::{self, LicenceKind};

    #[test]
    fn every_card_is_compiled_in_and_can_be_used() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut names: Vec<String> = entries(&folder)
            .iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
            .map(|path| path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned())
            .collect();
        names.sort();
        assert_eq!(names, BUILT_IN.map(|(name, _)| name), "BUILT_IN is models/, in order");
        for (name, text) in BUILT_IN {
            let card = Card::parse(text, name).expect(name);
            let licence = card.licence.as_deref().expect(name);
            assert_ne!(licence::kind(licence), LicenceKind::Unclear, "{name}: {licence}");
            assert!(card.layout.is_some() && card.imgsz.is_some(), "{name}: layout and imgsz");
            assert!(card.source.is_some() || name == DEFAULT_NAME, "{name}: source");
            assert_eq!(card.url.is_some(), card.sha256.is_some() && name != DEFAULT_NAME, "{name}: url with sha256");
            assert!(card.url.is_some() != card.obtain.is_some() || name == DEFAULT_NAME, "{name}: url or obtain");
            assert!(card.url.is_none_or(|url| url.starts_with("https://")), "{name}: https");
            assert!(card.classes.is_some_and(|c| [10, 80].contains(&c.len())), "{name}: classes");
        }
    }

    #[test]
    fn the_default_is_built_in() {
        let found = find(DEFAULT_NAME).expect("a good card").expect("known");
        assert_eq!((found.place, found.card_path), (Place::BuiltIn, None));
        assert!(find("../visdrone-nano").expect("no card").is_none());
        assert!(find("").expect("no card").is_none());
    }
}
