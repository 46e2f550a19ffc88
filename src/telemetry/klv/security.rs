//! How a video may be shared (MISB ST 0102, Security Metadata Local Set).

use super::ber::unsigned;
use super::set::{Items, text};

/// What a security set says.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Security {
    /// `UNCLASSIFIED`, `RESTRICTED`, `CONFIDENTIAL`, `SECRET`, `TOP SECRET`, or its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classification: Option<String>,
    /// Who classified it, `//US`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifying_country: Option<String>,
    /// Caveats, codewords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caveats: Option<String>,
    /// Who may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releasing_instructions: Option<String>,
    /// Where what is seen lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_country_codes: Option<String>,
    /// Of ST 0102.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Security {
    /// What the set `value` says; what cannot be read is left out.
    #[must_use]
    pub fn decode(value: &[u8]) -> Self {
        let mut security = Self::default();
        for (tag, value) in Items::new(value).map_while(Result::ok) {
            match tag {
                1 => security.classification = unsigned(value).map(classification),
                3 => security.classifying_country = Some(text(value)),
                5 => security.caveats = Some(text(value)),
                6 => security.releasing_instructions = Some(text(value)),
                13 => security.object_country_codes = Some(wide(value)),
                22 => security.version = unsigned(value),
                _ => {}
            }
        }
        security
    }
}

fn classification(number: u64) -> String {
    let names = ["UNCLASSIFIED", "RESTRICTED", "CONFIDENTIAL", "SECRET", "TOP SECRET"];
    let name = usize::try_from(number).ok().and_then(|number| names.get(number.checked_sub(1)?));
    name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// UTF-16 by the standard; by some platforms ASCII.
fn wide(value: &[u8]) -> String {
    let units: Vec<u16> = value.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
    let is_wide = value.len().is_multiple_of(2) && units.iter().all(|unit| *unit < 0x100 || *unit > 0x7F7F);
    if is_wide { String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned() } else { text(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn country_codes_are_read_in_both_spellings() {
        let wide = Security::decode(&[
            1, 1, 7, 3, 5, b'/', b'/', b'U', b'S', b'A', 13, 6, 0, b'U', 0, b'S', 0, b'A', 22, 2, 0, 10,
        ]);
        assert_eq!(wide.object_country_codes.as_deref(), Some("USA"));
        assert_eq!((wide.classification.as_deref(), wide.version), (Some("7"), Some(10)));
        let ascii = Security::decode(&[1, 1, 1, 13, 2, b'U', b'S']);
        assert_eq!(
            (ascii.object_country_codes.as_deref(), ascii.classification.as_deref()),
            (Some("US"), Some("UNCLASSIFIED"))
        );
    }
}
