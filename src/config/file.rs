//! A config file as it is written.

use std::borrow::Cow;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

/// The name of the tables that each say a stream.
pub const STREAM: &str = "stream";
/// A stream's name is a part of addresses and of metrics: no longer than this, characters.
const LONGEST_NAME: usize = 64;

/// What is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}\n  {remedy}")]
pub struct Fault {
    /// `FILE:LINE`, `environment NAME`, or a request.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Fault {
    /// At `place`.
    #[must_use]
    pub fn new(place: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.to_owned(), problem: problem.into(), remedy: remedy.into() }
    }
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// As written.
    pub name: String,
    /// As written.
    pub value: Value,
    /// `FILE:LINE`.
    pub place: String,
}

/// Keys below a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// As written.
    pub name: String,
    /// In the order of their lines.
    pub keys: Vec<Key>,
    /// `FILE:LINE`.
    pub place: String,
}

impl Table {
    /// Its key of that name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The table as a value.
    #[must_use]
    pub fn value(&self) -> Value {
        Value::Table(self.keys.iter().map(|key| (key.name.clone(), key.value.clone())).collect())
    }
}

/// A config file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct File {
    /// Outside of tables.
    pub keys: Vec<Key>,
    /// `[NAME]`.
    pub tables: Vec<Table>,
    /// `[[stream]]`.
    pub streams: Vec<Table>,
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Where it cannot be read, or is no TOML; every line that is none.
    pub fn read(path: &Path) -> Result<Self, Vec<Fault>> {
        let file = path.display().to_string();
        let unreadable = |e: std::io::Error| {
            let remedy = "give the path of a TOML file to --config or STREAMDET_CONFIG, or leave both out";
            vec![Fault::new(&file, e.to_string(), remedy)]
        };
        Self::parse(&file, &std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Reads `text`, which is that of `file`.
    ///
    /// # Errors
    /// Where it is no TOML.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let place = |offset: usize| {
            let before = text.as_bytes().iter().take(offset);
            format!("{file}:{}", before.filter(|byte| **byte == b'\n').count() + 1)
        };
        let (document, errors) = DeTable::parse_recoverable(text);
        let fault = |e: toml::de::Error| {
            let at = place(e.span().map_or(0, |span| span.start));
            Fault::new(&at, e.message(), "write `key = value`, one per line, text in quotes")
        };
        let mut faults: Vec<Fault> = errors.into_iter().map(fault).collect();
        let mut read = Self::default();
        for (name, value) in in_order(document.get_ref()) {
            let at = place(name.span().start);
            let keys = |table: &DeTable| -> Vec<Key> {
                let key = |(name, value): (&Spanned<_>, &Spanned<DeValue>)| own_key(name, value, &place);
                in_order(table).into_iter().map(key).collect()
            };
            match value.get_ref() {
                DeValue::Array(tables) if name.get_ref() == STREAM => {
                    for table in tables {
                        let at = place(table.span().start);
                        let Some(found) = table.get_ref().as_table() else {
                            faults.push(Fault::new(&at, "a stream that is no table", STREAMS));
                            continue;
                        };
                        read.streams.push(Table { name: STREAM.into(), keys: keys(found), place: at });
                    }
                }
                _ if name.get_ref() == STREAM => faults.push(Fault::new(&at, "one stream is a list of one", STREAMS)),
                DeValue::Table(table) => {
                    read.tables.push(Table { name: name.get_ref().to_string(), keys: keys(table), place: at });
                }
                _ => read.keys.push(own_key(name, value, &place)),
            }
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// The keys of `[name]`; none where it is not there.
    #[must_use]
    pub fn table(&self, name: &str) -> &[Key] {
        self.tables.iter().find(|table| table.name == name).map_or(&[], |table| &table.keys)
    }
}

/// How streams are written.
const STREAMS: &str = "write [[stream]], in two brackets, with `name` and `source`, for each";

fn own_key(name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue>, place: &dyn Fn(usize) -> String) -> Key {
    Key { name: name.get_ref().to_string(), value: own(value.get_ref()), place: place(name.span().start) }
}

/// Keys by their lines.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Spanned<Cow<'i, str>>, &'a Spanned<DeValue<'i>>)> {
    let mut keys: Vec<_> = table.iter().collect();
    keys.sort_by_key(|(name, _)| name.span().start);
    keys
}

/// The same value, without its place in the text.
fn own(value: &DeValue) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            // More than any option takes, which says so.
            Err(_) => Value::Float(number.as_str().parse().unwrap_or(f64::MAX)),
        },
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(is) => Value::Boolean(*is),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| own(item.get_ref())).collect()),
        DeValue::Table(table) => {
            let own = |(name, value): (&Spanned<Cow<str>>, &Spanned<DeValue>)| {
                (name.get_ref().to_string(), own(value.get_ref()))
            };
            Value::Table(table.iter().map(own).collect())
        }
    }
}

/// Checks that `name` can be a stream's: it stands in addresses, in metrics and in file names.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if let Some(wrong) = name.chars().find(|c| !fits(*c)) {
        return Err(format!("a stream's name cannot hold {wrong:?}"));
    }
    match name {
        "" => Err("a stream's name cannot be empty".into()),
        _ if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            Err("a stream's name begins with a letter or a digit".into())
        }
        _ if name.len() > LONGEST_NAME => Err(format!("a stream's name has {LONGEST_NAME} characters at most")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# cameras\nconf = 0.4\n\n[serve]\nlisten = \":8080\"\nallow = [\"rtsp://\"]\n\n[[stream]]\nname = \"gate\"\n\
                        source = \"rtsp://cam/1\"\n[[stream]]\nname = \"yard\"\nconf = 0.5\n";

    #[test]
    fn keys_tables_and_streams_have_their_lines() {
        let file = File::parse("c.toml", TEXT).expect("it is TOML");
        assert_eq!(file.keys, [Key { name: "conf".into(), value: Value::Float(0.4), place: "c.toml:2".into() }]);
        let places: Vec<&str> = file.table("serve").iter().map(|key| key.place.as_str()).collect();
        assert_eq!(places, ["c.toml:5", "c.toml:6"]);
        assert_eq!(file.table("bench"), []);
        let streams: Vec<&str> = file.streams.iter().map(|stream| stream.place.as_str()).collect();
        assert_eq!(streams, ["c.toml:8", "c.toml:11"]);
        assert_eq!(file.streams[1].key("conf").map(|key| key.place.as_str()), Some("c.toml:13"));
        assert_eq!(file.streams[0].value().get("name").and_then(Value::as_str), Some("gate"));
    }

    #[test]
    fn every_line_that_is_no_toml_is_named() {
        let faults = File::parse("c.toml", "a = yes\nb = 1\nc = \"\n").expect_err("it is none");
        let places: Vec<&str> = faults.iter().map(|fault| fault.place.as_str()).collect();
        assert!(places.contains(&"c.toml:1") && places.contains(&"c.toml:3"), "{faults:?}");
    }

    #[test]
    fn one_stream_in_single_brackets_is_refused_with_the_remedy() {
        for text in ["[stream]\nname = \"a\"\n", "stream = [1]\n", "stream = \"a\"\n"] {
            let faults = File::parse("c.toml", text).expect_err("it is no list of tables");
            assert!(faults[0].place == "c.toml:1" && faults[0].remedy.contains("[[stream]]"), "{faults:?}");
        }
    }

    #[test]
    fn names_of_streams_can_stand_in_addresses() {
        for name in ["gate", "cam-2.left_1", &"n".repeat(64)] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["", ".", "..", "a b", "a/b", "ö", "a\n", "%41", &"n".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
