//! What a live source is read with: a template of elements a kind, from `pipelines/source.toml` and the user's own file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::secrets::redact;
use crate::text::nearest;

const BUILT_IN: &str = include_str!("../../pipelines/source.toml");
/// The element whose pads are decoded.
const OUT: &str = "out";

/// How frames come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Time {
    /// Each when it was captured.
    #[default]
    Clock,
    /// In bursts: they are played in their own time.
    Own,
    /// As fast as they are taken.
    Recorded,
    /// Recorded where a length is stated, else in their own time.
    Either,
}

/// One section of the file.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceTemplate {
    elements: String,
    #[serde(default)]
    pub time: Time,
}

/// What is put in place of `{…}`.
pub(super) type Values<'a> = BTreeMap<&'static str, &'a str>;

/// Why a source has no template, or its elements cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The user's file cannot be read.
    #[error("--pipeline {}: {source}\n  give the path of a file like pipelines/source.toml", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It holds what no section has.
    #[error(
        "--pipeline {}:{line}: {}\n  a section has `elements`, a description with an element named out, and may have `time`",
        file.display(), problem.replace('\n', "; ")
    )]
    Invalid {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What was expected; the line itself may hold a password.
        problem: String,
    },
    /// There is no such section.
    #[error("no section [{name}] describes it; the nearest is [{nearest}]")]
    NoSection {
        /// What was asked for.
        name: String,
        /// The section with the most similar name.
        nearest: String,
    },
    /// A placeholder is unknown.
    #[error("{{{name}}} is no placeholder; the nearest is {{{nearest}}}")]
    NoPlaceholder {
        /// As written.
        name: String,
        /// The most similar one.
        nearest: &'static str,
    },
    /// An element is missing, or has no such property.
    #[error("{}", without_value(.0.message()))]
    Elements(#[from] gst::glib::Error),
    /// None of the elements is the one whose pads are decoded.
    #[error("no element is named {OUT}")]
    NoOut,
}

/// Every section.
#[derive(Debug, Clone)]
pub struct SourceTemplates(BTreeMap<String, SourceTemplate>);

impl Default for SourceTemplates {
    fn default() -> Self {
        Self(toml::from_str(BUILT_IN).expect("a test parses pipelines/source.toml"))
    }
}

impl SourceTemplates {
    /// The built-in ones, with those of the user's file in their places.
    ///
    /// # Errors
    /// When it cannot be read, or holds what no section has: the file, the line, what was expected.
    pub fn with_file(path: &Path) -> Result<Self, TemplateError> {
        let file = path.to_owned();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(source) => return Err(TemplateError::Unreadable { file, source }),
        };
        let own: BTreeMap<String, SourceTemplate> = toml::from_str(&text).map_err(|source| {
            let line = text[..source.span().map_or(0, |span| span.start)].matches('\n').count() + 1;
            TemplateError::Invalid { file, line, problem: source.message().to_owned() }
        })?;
        let mut templates = Self::default();
        templates.0.extend(own);
        Ok(templates)
    }

    /// The section called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn get(&self, name: &str) -> Result<&SourceTemplate, TemplateError> {
        self.0.get(name).ok_or_else(|| TemplateError::NoSection {
            name: name.to_owned(),
            nearest: nearest(name, self.0.keys()).cloned().unwrap_or_default(),
        })
    }
}

/// What GStreamer says of a description, without the value that a property cannot take: it may be a password.
fn without_value(message: &str) -> String {
    let message = match message.split_once("\" to \"") {
        Some((before, _)) if message.starts_with("could not set property") => format!("{before}\""),
        _ => message.to_owned(),
    };
    redact(&message)
}

impl SourceTemplate {
    /// The elements, and the one among them that is called `out`.
    ///
    /// # Errors
    /// When a placeholder is unknown, an element is missing, or none is called so.
    pub(super) fn build(&self, values: &Values) -> Result<(gst::Bin, gst::Element), TemplateError> {
        let description = self.filled(values)?;
        let bin = gst::parse::bin_from_description(&description.replace('\n', " "), false)?;
        let out = bin.by_name(OUT).ok_or(TemplateError::NoOut)?;
        Ok((bin, out))
    }

    fn filled(&self, values: &Values) -> Result<String, TemplateError> {
        let mut text = String::new();
        let mut rest = self.elements.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            // GStreamer's lists stand in braces as well: {I420,NV12}.
            let name = after.split_once('}').map(|(name, _)| name);
            let is_name = |n: &&str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let Some(name) = name.filter(is_name) else {
                text.push('{');
                rest = after;
                continue;
            };
            let Some(value) = values.get(name) else {
                let nearest = nearest(name, values.keys().copied()).unwrap_or_default();
                return Err(TemplateError::NoPlaceholder { name: name.to_owned(), nearest });
            };
            text.push('"');
            text.push_str(&value.replace('\\', "\\\\").replace('"', "\\\""));
            text.push('"');
            rest = &after[name.len() + 1..];
        }
        Ok(text + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_sections_parse() {
        let templates = SourceTemplates::default();
        for name in ["rtsp", "http", "udp", "srt", "device", "test", "stdin"] {
            assert!(templates.get(name).is_ok(), "{name}");
        }
        assert_eq!(templates.get("stdin").expect("it is there").time, Time::Recorded);
        assert!(templates.get("rtps").expect_err("none").to_string().contains("[rtsp]"));
    }

    #[test]
    fn placeholders_are_quoted_and_known() {
        let template =
            SourceTemplate { elements: "a x={location} caps=v,format={I420,NV12} ! b".into(), time: Time::Clock };
        let values = Values::from([("location", "a \"b\\")]);
        assert_eq!(template.filled(&values).expect("known"), "a x=\"a \\\"b\\\\\" caps=v,format={I420,NV12} ! b");
        let wrong = SourceTemplate { elements: "a x={locaton}".into(), time: Time::Clock };
        assert!(wrong.filled(&values).expect_err("unknown").to_string().contains("{location}"));
    }

    #[test]
    fn a_users_file_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("own.toml");
        std::fs::write(&path, "[test]\nelements = \"fakesrc name=out\"\n\n[mine]\nelements = \"x\"\ntiem = \"own\"\n")
            .expect("a file");
        let said = SourceTemplates::with_file(&path).expect_err("a wrong key").to_string();
        assert!(said.contains("own.toml:6") && said.contains("tiem"), "{said}");
        std::fs::write(&path, "[mine]\nelements = \"videotestsrc name=out\"\n").expect("a file");
        let templates = SourceTemplates::with_file(&path).expect("it is fine");
        gst::init().expect("GStreamer");
        let (bin, out) = templates.get("mine").expect("it is there").build(&Values::new()).expect("elements");
        assert_eq!((out.name().as_str(), bin.children().len()), ("out", 1));
        let nameless = SourceTemplate { elements: "videotestsrc".into(), time: Time::Clock };
        assert!(nameless.build(&Values::new()).expect_err("no out").to_string().contains("named out"));
    }
}
