//! One file with what is asked of it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::remote::Location;
use crate::secrets::redact;
use crate::text::hex;

/// A recorded file, and the options that were given with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its absolute path, the same on every machine, or its address.
    pub source: String,
    /// Options of `streamdet detect`, by their names.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub options: toml::Table,
}

/// Why a file cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What `streamdet detect` would end with.
    pub exit_code: u8,
    /// What it would say, without secrets.
    pub message: String,
}

impl Item {
    /// Its name, as it may be shown: somebody else may have written an address with a password into the queue.
    #[must_use]
    pub fn shown(&self) -> String {
        match Location::of(&self.source) {
            Some(Err(_)) => redact(&self.source),
            _ => self.source.clone(),
        }
    }

    /// The same for the same file with the same options: 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        // Of a text and a table of texts there is always JSON.
        let text = serde_json::to_vec(self).unwrap_or_default();
        hex(&Sha256::digest(text)[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_that_of_a_file_with_its_options() {
        let item = |source: &str, conf: Option<f64>| Item {
            source: source.into(),
            options: conf.into_iter().map(|conf| ("conf".to_owned(), conf.into())).collect(),
        };
        let ids: std::collections::HashSet<String> =
            [item("/a", None), item("/b", None), item("/a", Some(0.5)), item("/a", Some(0.5))]
                .iter()
                .map(Item::id)
                .collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.iter().all(|id| id.len() == 32));
        let text = serde_json::to_string(&item("/a", Some(0.5))).expect("JSON");
        assert_eq!(text, r#"{"source":"/a","options":{"conf":0.5}}"#);
        assert_eq!(serde_json::from_str::<Item>(&text).expect("an item"), item("/a", Some(0.5)));
        assert_eq!(serde_json::from_str::<Item>(r#"{"source":"/a"}"#).expect("an item"), item("/a", None));
    }
}
