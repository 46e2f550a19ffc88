//! Names of files that are no paths: `s3://BUCKET/KEY`, `http(s)://HOST/PATH`.

use std::path::{Path, PathBuf};

use object_store::path::Path as Key;
use percent_encoding::percent_decode_str;

use crate::secrets::redact;
use crate::text::append;

/// A file elsewhere, or, of S3, all whose names begin alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    pub(super) kind: Kind,
    /// The bucket; of a web server `http(s)://HOST[:PORT]`.
    pub(super) place: String,
    /// The object's name, not encoded. It begins with no `/`.
    pub(super) key: String,
}

/// How it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    S3,
    Http,
}

/// Why a name is none that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// User and password, or a signature.
    #[error(
        "{0}: an address with a password or a query, which may be a signature: an archive's names hold no secrets\n  give \
         s3://BUCKET/KEY, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the workers' environment, or an address that needs none"
    )]
    Secret(String),
    /// No bucket or host.
    #[error("{0}: names no file\n  give s3://BUCKET/KEY, s3://BUCKET/PREFIX/ or https://HOST/PATH")]
    NoName(String),
    /// A name that the client would send as another one.
    #[error(
        "{0}: a name with an empty part, `.`, `..` or a control character cannot be asked for\n  copy the object to another name"
    )]
    Key(String),
    /// A glob.
    #[error("{0}: globs are for paths\n  give the prefix, as s3://BUCKET/PREFIX/")]
    Glob(String),
    /// All below, where one is needed.
    #[error("{0}: all files below it, and one is needed here\n  add it with `streamdet work add QUEUE {0}`")]
    Prefix(String),
    /// A web server's folder.
    #[error("{0}: what is below an address of a web server is not known\n  name its files")]
    NoFolder(String),
}

impl Location {
    /// What `text` names, where it is no path.
    ///
    /// # Errors
    /// When it is an address that cannot be used.
    #[must_use]
    pub fn of(text: &str) -> Option<Result<Self, LocationError>> {
        let (scheme, rest) = text.split_once("://")?;
        match scheme.to_ascii_lowercase().as_str() {
            "s3" => Some(Self::s3(text, rest)),
            scheme @ ("http" | "https") => Some(Self::http(text, scheme, rest)),
            _ => None,
        }
    }

    fn s3(text: &str, rest: &str) -> Result<Self, LocationError> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let shown = || redact(text);
        if bucket.contains(['@', '?']) || key.to_ascii_lowercase().contains("x-amz-signature=") {
            return Err(LocationError::Secret(shown()));
        }
        let is_bucket = bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
            && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        if !is_bucket {
            return Err(LocationError::NoName(shown()));
        }
        let location = Self { kind: Kind::S3, place: bucket.to_owned(), key: key.to_owned() };
        // What all names begin with is sent as it is.
        if !location.is_prefix() && !is_sent_as_it_is(key) {
            return Err(LocationError::Key(location.to_string()));
        }
        Ok(location)
    }

    fn http(text: &str, scheme: &str, rest: &str) -> Result<Self, LocationError> {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if host.contains('@') || path.contains(['?', '#']) {
            return Err(LocationError::Secret(redact(text)));
        }
        let place = format!("{scheme}://{}", host.to_ascii_lowercase());
        let is_host = !host.is_empty() && place.parse::<http::Uri>().is_ok();
        // A slash that is no slash would become one.
        let key = percent_decode_str(path.trim_start_matches('/')).decode_utf8();
        let key = key.ok().filter(|_| is_host && !path.to_ascii_lowercase().contains("%2f"));
        let Some(key) = key else { return Err(LocationError::NoName(redact(text))) };
        if key.is_empty() || key.ends_with('/') {
            return Err(LocationError::NoFolder(redact(text)));
        }
        if path.starts_with("//") || !is_sent_as_it_is(&key) {
            return Err(LocationError::Key(redact(text)));
        }
        Ok(Self { kind: Kind::Http, place, key: key.into_owned() })
    }

    /// Whether it stands for all objects whose names begin so.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    /// Whether something can be written there.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.kind == Kind::S3
    }

    /// Whether it looks like a glob.
    #[must_use]
    pub fn has_glob(&self) -> bool {
        self.key.contains('*')
    }

    /// Its name while it is on this machine: short enough for a file, with its ending.
    #[must_use]
    pub fn short_name(&self) -> String {
        short_name(&self.local().1)
    }

    pub(super) fn key(&self) -> Key {
        // It was parsed as one.
        Key::parse(&self.key).unwrap_or_default()
    }

    /// The folder and the name that it has among local ones: of no parts but names, and another one for each file.
    #[must_use]
    pub fn local(&self) -> (PathBuf, String) {
        let mut parts: Vec<String> = self.key.split('/').map(local_part).collect();
        let name = parts.pop().unwrap_or_default();
        let place = match self.kind {
            Kind::S3 => self.place.clone(),
            Kind::Http => self.place.rsplit('/').next().map(local_part).unwrap_or_default(),
        };
        (std::iter::once(place).chain(parts).collect(), name)
    }
}

/// As it is written into a queue. A web server's is encoded again.
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::S3 => write!(f, "s3://{}/{}", self.place, self.key),
            Kind::Http => {
                let encoded = percent_encoding::utf8_percent_encode(&self.key, &ENCODED);
                write!(f, "{}/{encoded}", self.place)
            }
        }
    }
}

/// What stands in a URL's path for itself.
const ENCODED: percent_encoding::AsciiSet = percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// Whether the client asks for an object by this name, and not by one that it has made of it.
fn is_sent_as_it_is(key: &str) -> bool {
    Key::parse(key).is_ok_and(|sent| sent.as_ref() == key)
}

/// A part of a name as that of a file: `.`, `..`, nothing and what is not printed are names of nothing.
fn local_part(part: &str) -> String {
    match part {
        "" => "%00".to_owned(),
        "." | ".." => part.replace('.', "%2E"),
        part => {
            let mut name = String::with_capacity(part.len());
            for c in part.chars() {
                if c.is_ascii_control() || c == '%' || c == '/' {
                    append(&mut name, format_args!("%{:02X}", u32::from(c)));
                } else {
                    name.push(c);
                }
            }
            name
        }
    }
}

fn short_name(name: &str) -> String {
    const MOST: usize = 180;
    if name.len() <= MOST {
        return name.to_owned();
    }
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).filter(|ending| ending.len() < 16);
    let cut = (0..=MOST).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    ending.map_or_else(|| name[..cut].to_owned(), |ending| format!("{}.{ending}", &name[..cut]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_bucket_and_a_key_or_a_host_and_a_path() {
        let of = |text: &str| Location::of(text).expect("an address").expect("a name");
        for (text, folder, name) in [
            ("s3://b.x/a.mp4", "b.x", "a.mp4"),
            ("S3://b/2026/day 1/é+ü%41?#.mp4", "b/2026/day 1", "é+ü%2541?#.mp4"),
            ("https://Host:8443/a%20b/c.mp4", "host:8443/a b", "c.mp4"),
            ("http://[::1]:80/c.mp4", "[::1]:80", "c.mp4"),
        ] {
            assert_eq!(of(text).local(), (PathBuf::from(folder), name.to_owned()), "{text}");
            assert_eq!(of(&of(text).to_string()), of(text), "{text}");
        }
        for text in ["s3://b", "s3://b/", "s3://b/a/", "s3://b//../"] {
            assert!(of(text).is_prefix(), "{text}");
        }
        assert!(Location::of("/a/b.mp4").is_none() && Location::of("rtsp://h/x").is_none());
    }

    #[test]
    fn no_name_leads_out_of_a_folder_and_no_two_are_one() {
        let key = |key: &str| Location { kind: Kind::S3, place: "b".into(), key: key.into() };
        let names = [
            "../../etc/a",
            "/etc/a",
            "a/../a",
            "a//a",
            "a/./a",
            "a/%2E/a",
            "a/%00/a",
            "..",
            ".",
            "a\n",
            "a%0A",
            "a/",
            "a",
        ];
        let mut found = std::collections::HashSet::new();
        for name in names {
            let (folder, file) = key(name).local();
            let path = folder.join(&file);
            let is_inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            assert!(is_inside && path.starts_with("b") && !file.contains('/'), "{name}: {}", path.display());
            assert!(found.insert(path), "{name}");
        }
        let long = format!("{}.mp4", "ü".repeat(500));
        let short = short_name(&long);
        assert!(short.len() < 200 && Path::new(&short).extension() == Path::new(&long).extension());
    }

    #[test]
    fn what_cannot_be_used_is_said_without_secrets() {
        type Is = fn(&LocationError) -> bool;
        let cases: [(&str, Is); 12] = [
            ("s3://AKIA:geheim@b/a.mp4", |e| matches!(e, LocationError::Secret(_))),
            ("s3://b/a.mp4?X-Amz-Signature=geheim", |e| matches!(e, LocationError::Secret(_))),
            ("https://u:geheim@h/a.mp4", |e| matches!(e, LocationError::Secret(_))),
            ("https://h/a.mp4?X-Amz-Signature=geheim", |e| matches!(e, LocationError::Secret(_))),
            ("https://h/a.mp4#t=1", |e| matches!(e, LocationError::Secret(_))),
            ("s3://", |e| matches!(e, LocationError::NoName(_))),
            ("s3://../a.mp4", |e| matches!(e, LocationError::NoName(_))),
            ("s3://b//a.mp4", |e| matches!(e, LocationError::Key(_))),
            ("s3://b/../a.mp4", |e| matches!(e, LocationError::Key(_))),
            ("https://h/%2e%2e/a.mp4", |e| matches!(e, LocationError::Key(_))),
            ("https://h/a%2fb.mp4", |e| matches!(e, LocationError::NoName(_))),
            ("https://h/a/", |e| matches!(e, LocationError::NoFolder(_))),
        ];
        for (text, is) in cases {
            let error = Location::of(text).expect("an address").expect_err(text);
            assert!(is(&error) && !error.to_string().contains("geheim"), "{text}: {error}");
        }
    }
}
