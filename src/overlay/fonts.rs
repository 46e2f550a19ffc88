//! Fonts for class names: the built-in one, and the system's for what it lacks.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ab_glyph::{Font, FontArc, FontRef, FontVec};
use fontdb::{Database, FaceInfo, Style};
use unicode_bidi::BidiInfo;

/// Characters that a notice lists.
const LISTED: usize = 8;

/// Fonts that have, together, the characters of the class names.
#[derive(Debug)]
pub struct Fonts {
    /// The built-in one first.
    faces: Vec<FontArc>,
    missing: BTreeSet<char>,
}

impl Fonts {
    /// The built-in font alone: Latin, Greek, Cyrillic, Arabic, Hebrew and more.
    ///
    /// # Panics
    /// Never: the font is part of the program.
    #[must_use]
    pub fn built_in() -> Self {
        let font = FontArc::try_from_slice(dejavu::sans::regular()).expect("the built-in font");
        Self { faces: vec![font], missing: BTreeSet::new() }
    }

    /// The built-in font, and as many of the system's, as fontconfig lists them, as it takes to draw `names`.
    #[must_use]
    pub fn for_names(names: &[String]) -> Self {
        let mut fonts = Self::built_in();
        let mut missing: BTreeSet<char> =
            names.iter().flat_map(|name| visual(name).chars().collect::<Vec<_>>()).collect();
        missing.retain(|c| !c.is_whitespace() && !c.is_control() && !fonts.faces[0].has(*c));
        if !missing.is_empty() {
            let mut system = Database::new();
            system.load_system_fonts();
            while let Some(face) = best(&system, &missing) {
                missing.retain(|c| !face.has(*c));
                fonts.faces.push(face);
            }
        }
        fonts.missing = missing;
        fonts
    }

    /// What the user should know: characters that no font has.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let mut listed: Vec<String> = self.missing.iter().take(LISTED).map(char::to_string).collect();
        let more = self.missing.len().saturating_sub(LISTED);
        if more > 0 {
            listed.push(format!("and {more} more"));
        }
        (!listed.is_empty()).then(|| {
            format!(
                "no installed font has {}: class names are drawn with empty boxes; install one, e.g. fonts-noto-cjk",
                listed.join(" ")
            )
        })
    }

    /// The font that draws `c`.
    pub(super) fn face(&self, c: char) -> &FontArc {
        self.faces.iter().find(|face| face.has(c)).unwrap_or(&self.faces[0])
    }

    /// Height of a line of `c`, where one of the built-in font is as high as `height`: an em is as large in every font.
    pub(super) fn scale(&self, c: char, height: f32) -> f32 {
        let per_em = |face: &FontArc| face.units_per_em().map(|em| face.height_unscaled() / em);
        let ratio = per_em(self.face(c)).zip(per_em(&self.faces[0])).map_or(1.0, |(own, built_in)| own / built_in);
        height * ratio
    }
}

/// Whether a font has a character.
trait Has {
    fn has(&self, c: char) -> bool;
}

impl<F: Font> Has for F {
    fn has(&self, c: char) -> bool {
        self.glyph_id(c).0 != 0
    }
}

/// The font that has most of the characters, an upright one of usual weight before others.
fn best(system: &Database, missing: &BTreeSet<char>) -> Option<FontArc> {
    let covers = |face: &FaceInfo| {
        let count = |data: &[u8], index| {
            let font = FontRef::try_from_slice_and_index(data, index).ok()?;
            Some(missing.iter().filter(|c| font.has(**c)).count())
        };
        system.with_face_data(face.id, count).flatten().unwrap_or(0)
    };
    let rank = |face: &FaceInfo| (covers(face), face.style == Style::Normal, -(i32::from(face.weight.0) - 400).abs());
    let (face, _) = system
        .faces()
        .map(|face| (face, rank(face)))
        .filter(|(_, (covers, ..))| *covers > 0)
        .max_by_key(|(_, rank)| *rank)?;
    let load = |data: &[u8], index| FontVec::try_from_vec_and_index(data.to_vec(), index).ok();
    system.with_face_data(face.id, load).flatten().map(FontArc::new)
}

/// A name as it is drawn, character by character from the left: Arabic letters joined, right-to-left scripts turned around.
pub(super) fn visual(name: &str) -> Cow<'_, str> {
    if !unicode_bidi::BidiInfo::new(name, None).has_rtl() {
        return Cow::Borrowed(name);
    }
    let joined = ar_reshaper::reshape_line(name);
    let lines = BidiInfo::new(&joined, None);
    let line =
        lines.paragraphs.first().map(|paragraph| lines.reorder_line(paragraph, paragraph.range.clone()).into_owned());
    line.map_or(Cow::Borrowed(name), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arabic_is_joined_and_drawn_from_the_right() {
        assert_eq!(visual("car é 行人"), "car é 行人");
        // seen, yeh, alef, reh, teh marbuta: initial, medial, final, isolated, isolated.
        assert_eq!(visual("سيارة"), "\u{FE93}\u{FEAD}\u{FE8E}\u{FEF4}\u{FEB3}");
        assert_eq!(visual("שלום 2"), "2 םולש");
        let fonts = Fonts::for_names(&["سيارة".into(), "שלום".into(), "автомобиль".into()]);
        assert_eq!((fonts.faces.len(), fonts.notice()), (1, None), "the built-in font has them");
    }

    #[test]
    fn what_no_font_has_is_said() {
        let fonts = Fonts::for_names(&["a\u{10FFFD}".into(), "b".into()]);
        assert!(fonts.notice().is_some_and(|notice| notice.contains("\u{10FFFD}:")), "{:?}", fonts.notice());
        assert_eq!(Fonts::for_names(&["b".into()]).notice(), None);
    }

    #[test]
    fn other_scripts_come_from_the_systems_fonts() {
        let names = ["行人", "自転車", "자동차"].map(str::to_owned);
        let fonts = Fonts::for_names(&names);
        if fonts.faces.len() == 1 {
            return crate::text::skipped("no font with Chinese, Japanese and Korean is installed (fonts-wqy-microhei)");
        }
        assert_eq!(fonts.notice(), None);
        for c in names.iter().flat_map(|name| name.chars()) {
            assert!(fonts.face(c).has(c), "{c}");
            assert!(fonts.scale(c, 20.0) > 10.0);
        }
    }
}
