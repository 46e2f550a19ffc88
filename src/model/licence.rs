//! Kinds of licence: which have to be accepted before a model is fetched.

use spdx::{Expression, ParseMode};

/// What a card says where no SPDX licence says it.
const NON_COMMERCIAL: &str = "non-commercial";

/// Kinds of licences, as far as a download is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LicenceKind {
    /// Asks for little more than that its text goes along.
    Permissive,
    /// What is built with it comes under the same licence.
    Copyleft,
    /// Forbids commercial use.
    NonCommercial,
    /// Neither an SPDX expression nor a known word.
    Unclear,
}

impl LicenceKind {
    /// In words, for messages.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Permissive => "permissive",
            Self::Copyleft => "copyleft: what is built with it may come under the same licence",
            Self::NonCommercial => "it forbids commercial use",
            Self::Unclear => "not a licence known here: read it",
        }
    }
}

/// Reads a card's `licence`. Of alternatives (`A OR B`) the most permissive counts.
#[must_use]
pub fn kind(licence: &str) -> LicenceKind {
    if licence.eq_ignore_ascii_case(NON_COMMERCIAL) {
        return LicenceKind::NonCommercial;
    }
    let mode = ParseMode { allow_deprecated: true, ..ParseMode::STRICT };
    let Ok(expression) = Expression::parse_mode(licence, mode) else { return LicenceKind::Unclear };
    let allowed = |refused: &[LicenceKind]| {
        expression.evaluate(|requirement| {
            requirement.license.id().is_some_and(|id| {
                let non_commercial = id.name.split('-').any(|part| part == "NC");
                !(non_commercial && refused.contains(&LicenceKind::NonCommercial)
                    || id.is_copyleft() && refused.contains(&LicenceKind::Copyleft))
            })
        })
    };
    if allowed(&[LicenceKind::NonCommercial, LicenceKind::Copyleft]) {
        LicenceKind::Permissive
    } else if allowed(&[LicenceKind::NonCommercial]) {
        LicenceKind::Copyleft
    } else if allowed(&[]) {
        LicenceKind::NonCommercial
    } else {
        LicenceKind::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_told_apart() {
        for (licence, expected) in [
            ("Apache-2.0", LicenceKind::Permissive),
            ("MIT OR GPL-3.0-only", LicenceKind::Permissive),
            ("AGPL-3.0", LicenceKind::Copyleft),
            ("AGPL-3.0-only", LicenceKind::Copyleft),
            ("GPL-2.0-or-later", LicenceKind::Copyleft),
            ("Apache-2.0 AND LGPL-3.0-only", LicenceKind::Copyleft),
            ("CC-BY-NC-4.0", LicenceKind::NonCommercial),
            ("MIT AND CC-BY-NC-SA-4.0", LicenceKind::NonCommercial),
            ("non-commercial", LicenceKind::NonCommercial),
            ("mine, all mine", LicenceKind::Unclear),
            ("LicenseRef-mine", LicenceKind::Unclear),
            ("", LicenceKind::Unclear),
        ] {
            assert_eq!(kind(licence), expected, "{licence}");
        }
    }
}
