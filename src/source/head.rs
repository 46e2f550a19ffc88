//! What a live source is read with, as `pipelines/source.toml` and the user describe it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

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

/// One section.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    elements: String,
    #[serde(default)]
    pub time: Time,
}

/// What is put in place of `{…}`.
pub(super) type Values<'a> = BTreeMap<&'static str, &'a str>;

/// Every section.
#[derive(Debug, Clone)]
pub struct Heads(BTreeMap<String, Head>);

impl Default for Heads {
    fn default() -> Self {
        Self(toml::from_str(BUILT_IN).expect("a test parses pipelines/source.toml"))
    }
}

impl Heads {
    /// The built-in ones, with those of the user's file in their places.
    ///
    /// # Errors
    /// When it cannot be read, or holds what no section has: the file, the line, what was expected.
    pub fn with_file(path: &Path) -> Result<Self, String> {
        let file = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("--pipeline {file}: {e}\n  give the path of a file like pipelines/source.toml"))?;
        let own: BTreeMap<String, Head> = toml::from_str(&text).map_err(|e| {
            let line = text[..e.span().map_or(0, |span| span.start)].matches('\n').count() + 1;
            let remedy = "a section has `elements`, a description with an element named out, and may have `time`";
            format!("--pipeline {file}:{line}: {}\n  {remedy}", e.message().replace('\n', "; "))
        })?;
        let mut heads = Self::default();
        heads.0.extend(own);
        Ok(heads)
    }

    /// The section called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn get(&self, name: &str) -> Result<&Head, String> {
        self.0.get(name).ok_or_else(|| {
            let nearest = nearest(name, self.0.keys()).map_or("", String::as_str);
            format!("no section [{name}] describes it; the nearest is [{nearest}]")
        })
    }
}

impl Head {
    /// The elements, and the one among them that is called `out`.
    ///
    /// # Errors
    /// When a placeholder is unknown, an element is missing, or none is called so.
    pub(super) fn build(&self, values: &Values) -> Result<(gst::Bin, gst::Element), String> {
        let description = self.filled(values)?;
        let bin = gst::parse::bin_from_description(&description.replace('\n', " "), false)
            .map_err(|e| redact(e.message()))?;
        let out = bin.by_name(OUT).ok_or_else(|| format!("no element is named {OUT}"))?;
        Ok((bin, out))
    }

    fn filled(&self, values: &Values) -> Result<String, String> {
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
                return Err(format!("{{{name}}} is no placeholder; the nearest is {{{nearest}}}"));
            };
            let _ = write!(text, "\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
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
        let heads = Heads::default();
        for name in ["rtsp", "http", "udp", "srt", "device", "test", "stdin"] {
            assert!(heads.get(name).is_ok(), "{name}");
        }
        assert_eq!(heads.get("stdin").expect("it is there").time, Time::Recorded);
        assert!(heads.get("rtps").expect_err("none").contains("[rtsp]"));
    }

    #[test]
    fn placeholders_are_quoted_and_known() {
        let head = Head { elements: "a x={location} caps=v,format={I420,NV12} ! b".into(), time: Time::Clock };
        let values = Values::from([("location", "a \"b\\")]);
        assert_eq!(head.filled(&values).expect("known"), "a x=\"a \\\"b\\\\\" caps=v,format={I420,NV12} ! b");
        let wrong = Head { elements: "a x={locaton}".into(), time: Time::Clock };
        assert!(wrong.filled(&values).expect_err("unknown").contains("{location}"));
    }

    #[test]
    fn a_users_file_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("own.toml");
        std::fs::write(&path, "[test]\nelements = \"fakesrc name=out\"\n\n[mine]\nelements = \"x\"\ntiem = \"own\"\n")
            .expect("a file");
        let said = Heads::with_file(&path).expect_err("a wrong key");
        assert!(said.contains("own.toml:6") && said.contains("tiem"), "{said}");
        std::fs::write(&path, "[mine]\nelements = \"videotestsrc name=out\"\n").expect("a file");
        let heads = Heads::with_file(&path).expect("it is fine");
        gst::init().expect("GStreamer");
        let (bin, out) = heads.get("mine").expect("it is there").build(&Values::new()).expect("elements");
        assert_eq!((out.name().as_str(), bin.children().len()), ("out", 1));
        let nameless = Head { elements: "videotestsrc".into(), time: Time::Clock };
        assert!(nameless.build(&Values::new()).expect_err("no out").contains("named out"));
    }
}
