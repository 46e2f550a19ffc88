//! What a name or a URL means as a download, and on which terms.

use std::path::PathBuf;
use std::time::Duration;

use super::Request;
use crate::folders::short;
use crate::model::licence::{self, LicenceKind};
use crate::model::store::{self, Known, Place};
use crate::model::{Card, ModelError, nearest};

/// What the user asks for.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// A known model's name, or a URL.
    pub model: String,
    /// SHA-256 that the file must have, hex; without it the card's.
    pub sha256: Option<String>,
    /// Name of the file.
    pub output: Option<PathBuf>,
    /// Folder of the file, where its name is the usual one.
    pub folder: Option<PathBuf>,
    /// How long the server may say nothing.
    pub patience: Duration,
    /// Tries after the first that bring nothing new.
    pub retries: u32,
    /// Whether a file of that name may be replaced.
    pub overwrite: bool,
}

/// A download, with the card of the model where there is one.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What is to be downloaded.
    pub request: Request,
    /// The files beside it in which its weights lie, as far as they are offered.
    pub data: Vec<Request>,
    /// What is known of it.
    pub card: Option<Card>,
}

/// Why a model cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No such model, or its card is wrong.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its card names no download.
    #[error("{name}: no ONNX file of it is offered for download{}", obtaining(card))]
    NotOffered {
        /// The model.
        name: String,
        /// What is known of it.
        card: Box<Card>,
    },
    /// There is a file, and no card.
    #[error("{name} has no card to say where it comes from; its file is {path}")]
    NoCard {
        /// The model.
        name: String,
        /// Its file.
        path: String,
    },
    /// There is no user's data folder.
    #[error("HOME is not set\n  name a --folder")]
    NoHome,
    /// The URL does not say what the file is called.
    #[error("the URL ends in no file name\n  name the file with -o")]
    NoFileName,
    /// Two checksums are stated.
    #[error("--sha256 {flag}: the card of {name} says {card}\n  leave out one of them")]
    Checksums {
        /// The model.
        name: String,
        /// On the command line.
        flag: String,
        /// In the card.
        card: String,
    },
    /// Its licence is restrictive and was not accepted.
    #[error(
        "{name}: its licence is {terms}\n  {}\n  read it at {page}; if you accept it, add --accept-license", .kind.words()
    )]
    Licence {
        /// The model.
        name: String,
        /// The licence and its terms.
        terms: String,
        /// What kind of licence it is.
        kind: LicenceKind,
        /// Where it can be read.
        page: String,
    },
}

/// Finds out what is to be downloaded; `None`: the model is built in.
///
/// # Errors
/// When there is no such model, no download of it, or no place for it.
pub fn resolve(options: &FetchOptions) -> Result<Option<Resolved>, ResolveError> {
    let model = &options.model;
    let (url, name, card) = if model.contains("://") {
        (model.clone(), file_name(model), None)
    } else {
        let missing = || ModelError::Missing { name: model.clone(), nearest: nearest(model) };
        match store::find(model)?.ok_or_else(missing)? {
            Known { place: Place::BuiltIn, .. } => return Ok(None),
            Known { card: Some(card), .. } => match &card.url {
                Some(url) => (url.clone(), Some(card.file.clone()), Some(card)),
                None => return Err(ResolveError::NotOffered { name: model.clone(), card: Box::new(card) }),
            },
            Known { place, .. } => {
                let path = if let Place::Here(path) = place { short(&path) } else { String::new() };
                return Err(ResolveError::NoCard { name: model.clone(), path });
            }
        }
    };
    let target = match (&options.output, &options.folder) {
        (Some(file), _) => file.clone(),
        (None, folder) => {
            let folder = folder.clone().or_else(store::user_folder).ok_or(ResolveError::NoHome)?;
            folder.join(name.ok_or(ResolveError::NoFileName)?)
        }
    };
    let stated = card.as_ref().and_then(|card| card.sha256.clone());
    if let (Some(flag), Some(card)) = (&options.sha256, &stated)
        && !flag.eq_ignore_ascii_case(card)
    {
        return Err(ResolveError::Checksums { name: model.clone(), flag: flag.clone(), card: card.clone() });
    }
    let data = card.iter().flat_map(|card| &card.data).filter_map(|data| {
        Some(Request {
            url: data.url.clone()?,
            // Beside the model, under the name by which it knows it.
            target: target.with_file_name(&data.file),
            sha256: Some(data.sha256.clone()),
            size_bytes: data.size_bytes,
            patience: options.patience,
            retries: options.retries,
            overwrite: options.overwrite,
        })
    });
    let data = data.collect();
    let request = Request {
        url,
        target,
        sha256: options.sha256.clone().or(stated),
        size_bytes: card.as_ref().and_then(|card| card.size_bytes),
        patience: options.patience,
        retries: options.retries,
        overwrite: options.overwrite,
    };
    Ok(Some(Resolved { request, data, card }))
}

impl Resolved {
    /// The model's licence with its terms, as far as they are known.
    ///
    /// # Errors
    /// When it is restrictive and was not `accepted`; `name` is for the message.
    pub fn licence(&self, name: &str, accepted: bool) -> Result<Option<String>, ResolveError> {
        let Some((card, licence)) = self.card.as_ref().and_then(|card| Some((card, card.licence.as_deref()?))) else {
            return Ok(None);
        };
        let (kind, terms) = (licence::kind(licence), with_terms(licence, card));
        if kind != LicenceKind::Permissive && !accepted {
            let page = card.source.clone().unwrap_or_else(|| "the model's page".into());
            return Err(ResolveError::Licence { name: name.to_owned(), terms, kind, page });
        }
        Ok(Some(terms))
    }
}

fn with_terms(licence: &str, card: &Card) -> String {
    let terms = card.terms.as_ref().map_or_else(String::new, |terms| format!("; {terms}"));
    format!("{licence}{terms}")
}

/// How a model is obtained that is not offered as an ONNX file.
fn obtaining(card: &Card) -> String {
    let licence = card.licence.as_deref().map(|licence| format!(" (licence: {})", with_terms(licence, card)));
    let folder = store::user_folder().map_or_else(|| "streamdet/models".into(), |folder| short(&folder));
    let how = card.obtain.as_ref().map(|command| {
        format!("\n  make it: {command}\n  then put {} into {folder}, or give its path to -m", card.file)
    });
    let page = card.source.as_ref().map(|page| format!("\n  its page: {page}"));
    [licence, how, page].into_iter().flatten().collect()
}

/// Last part of a URL's path, if it can be a file's name.
fn file_name(url: &str) -> Option<String> {
    let path = url.split_once("://")?.1.split(['?', '#']).next()?;
    let last = path.split_once('/')?.1.rsplit('/').next()?;
    let name = percent_encoding::percent_decode_str(last).decode_utf8().ok()?;
    let plain = !name.contains(['/', '\\']) && !name.chars().any(char::is_control);
    (plain && !matches!(&*name, "" | "." | "..")).then(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_url_names_its_file() {
        for (url, name) in [
            ("https://h/a/b.onnx?token=1#x", Some("b.onnx")),
            ("https://h/a%20b.onnx", Some("a b.onnx")),
            ("https://h/a/", None),
            ("https://h", None),
            ("https://h/..", None),
            ("https://h/%2e%2e", None),
            ("https://h/a%2fb", None),
            ("https://h/a%00b", None),
        ] {
            assert_eq!(file_name(url).as_deref(), name, "{url}");
        }
    }
}
