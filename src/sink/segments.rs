//! Names of segments, by the UTC time at which each begins, and which of them are kept.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::error::SinkError;
use super::target::Segments;
use super::wall_clock::CLOCK_ERROR;
use crate::part::{PartFile, set_aside};

/// What a name without a time gets.
const TIME: &[u8] = b"-%Y%m%dT%H%M%SZ";
/// Fields of a time (strftime), with how many digits each has.
const FIELDS: [Field; 7] = [
    Field { name: b'Y', digits: 4, values: 1970..=9999 },
    Field { name: b'm', digits: 2, values: 1..=12 },
    Field { name: b'd', digits: 2, values: 1..=31 },
    Field { name: b'H', digits: 2, values: 0..=23 },
    Field { name: b'M', digits: 2, values: 0..=59 },
    Field { name: b'S', digits: 2, values: 0..=59 },
    Field { name: b'j', digits: 3, values: 1..=366 },
];
/// Segments that begin in one moment, at most: no folder is looked through for longer.
const MOST: u32 = 10_000;

/// How the segments of one output are called: `cam-%Y%m%dT%H%M%SZ.mkv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentNames {
    folder: PathBuf,
    stem: Vec<Piece>,
    /// With its dot.
    ending: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Field(&'static Field),
}

/// A field of a time (strftime).
#[derive(Debug, PartialEq, Eq)]
struct Field {
    name: u8,
    digits: usize,
    values: RangeInclusive<u32>,
}

/// A segment that is there.
struct Found {
    path: PathBuf,
    ended: SystemTime,
    bytes: u64,
}

impl SegmentNames {
    /// Reads the name of an output; without a time in it, it gets one.
    ///
    /// # Errors
    /// When it has another field than those of [`FIELDS`].
    pub fn new(path: &Path) -> Result<Self, SinkError> {
        let mut stem = path.file_stem().unwrap_or_default().as_bytes().to_vec();
        let mut ending = path.extension().map_or_else(Vec::new, |extension| extension.as_bytes().to_vec());
        if !ending.is_empty() {
            ending.insert(0, b'.');
        }
        let mut pieces = Self::pieces(&stem).ok_or_else(|| SinkError::SegmentName { path: path.to_owned() })?;
        if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
            stem.extend_from_slice(TIME);
            pieces = Self::pieces(&stem).unwrap_or(pieces);
        }
        Ok(Self { folder: path.parent().map(Path::to_owned).unwrap_or_default(), stem: pieces, ending })
    }

    fn pieces(stem: &[u8]) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        let mut bytes = stem.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'%' => match *bytes.next()? {
                    b'%' => text.push(b'%'),
                    field => {
                        let field = FIELDS.iter().find(|known| known.name == field)?;
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                        pieces.push(Piece::Field(field));
                    }
                },
                byte => text.push(byte),
            }
        }
        pieces.push(Piece::Text(text));
        Some(pieces)
    }

    /// The file of one that begins at `time`; where that name is taken, with a number.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn reserve(&self, time: Timestamp) -> Result<PartFile, SinkError> {
        let mut number = 1;
        loop {
            let path = self.at(time, number);
            number += 1;
            if path.symlink_metadata().is_ok() {
                continue;
            }
            match PartFile::reserve(&path) {
                // Another run writes it, or this one still does.
                Err(error) if error.kind() == ErrorKind::ResourceBusy && number <= MOST => {}
                reserved => return reserved.map_err(|error| SinkError::unwritable(&path, error)),
            }
        }
    }

    /// The name of the so manyth one that begins at `time`.
    fn at(&self, time: Timestamp, number: u32) -> PathBuf {
        let mut stem = Vec::new();
        for piece in &self.stem {
            match piece {
                Piece::Text(text) => stem.extend_from_slice(text),
                Piece::Field(field) => {
                    let format = [b'%', field.name];
                    let format = std::str::from_utf8(&format).unwrap_or_default();
                    stem.extend_from_slice(time.strftime(format).to_string().as_bytes());
                }
            }
        }
        if number > 1 {
            stem.extend_from_slice(format!("-{number}").as_bytes());
        }
        stem.extend_from_slice(&self.ending);
        self.folder.join(OsStr::from_bytes(&stem))
    }

    /// Whether a file is called so. What a crash left is called otherwise: it is never deleted.
    fn matches(&self, name: &OsStr) -> bool {
        let Some(mut rest) = name.as_bytes().strip_suffix(self.ending.as_slice()) else { return false };
        for piece in &self.stem {
            let after = match piece {
                Piece::Text(text) => rest.strip_prefix(text.as_slice()),
                Piece::Field(field) => rest.split_at_checked(field.digits).and_then(|(digits, after)| {
                    number(digits).is_some_and(|value| field.values.contains(&value)).then_some(after)
                }),
            };
            let Some(after) = after else { return false };
            rest = after;
        }
        rest.is_empty()
            || rest.strip_prefix(b"-").is_some_and(|digits| {
                // From the second on, as they are written.
                number(digits).is_some_and(|value| value > 1 && value <= MOST && digits[0] != b'0')
            })
    }

    fn folder(&self) -> &Path {
        if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder }
    }

    /// Files called so that are there, with the oldest first; those being written are not among them.
    fn there(&self) -> Vec<Found> {
        let Ok(entries) = std::fs::read_dir(self.folder()) else { return Vec::new() };
        let mut found: Vec<Found> = entries
            .flatten()
            .filter(|entry| self.matches(&entry.file_name()))
            .filter_map(|entry| {
                let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some(Found { path: entry.path(), ended: metadata.modified().ok()?, bytes: metadata.len() })
            })
            .collect();
        // What is from a time to come was written before the clock was set right.
        let now = SystemTime::now() + CLOCK_ERROR;
        let age = |found: &Found| if found.ended > now { SystemTime::UNIX_EPOCH } else { found.ended };
        found.sort_by(|a, b| (age(a), &a.path).cmp(&(age(b), &b.path)));
        found
    }

    /// Moves what runs that did not end left aside; a notice each.
    ///
    /// # Errors
    /// When another run writes one of them.
    fn set_aside(&self) -> Result<Vec<String>, SinkError> {
        let Ok(entries) = std::fs::read_dir(self.folder()) else { return Ok(Vec::new()) };
        let whole = |name: OsString| {
            let name = OsStr::from_bytes(name.as_bytes().strip_suffix(b".part")?);
            self.matches(name).then(|| self.folder.join(name))
        };
        let left = entries.flatten().filter_map(|entry| whole(entry.file_name()));
        left.filter_map(|path| set_aside(&path).map_err(|error| SinkError::unwritable(&path, error)).transpose())
            .collect()
    }

    /// Deletes the oldest ones, those of earlier runs among them, until what is left is what `segments` keeps, `newest` among them:
    /// the bytes of one that is about to be whole. The newest one stays, however large. `now` is what ages count to.
    pub fn delete_old(&self, segments: &Segments, newest: Option<u64>, now: SystemTime) {
        if segments.keep.is_none() && segments.keep_bytes.is_none() {
            return;
        }
        let mut found = self.there();
        let mut bytes: u64 = newest.unwrap_or(0) + found.iter().map(|found| found.bytes).sum::<u64>();
        if newest.is_none() {
            found.pop();
        }
        for Found { path, ended, bytes: own } in found {
            let age = now.duration_since(ended).unwrap_or_default();
            let is_old = segments.keep.is_some_and(|keep| age > keep);
            let is_too_much = segments.keep_bytes.is_some_and(|most| bytes > most);
            // What cannot be deleted takes space and does no other harm.
            if (is_old || is_too_much) && std::fs::remove_file(path).is_ok() {
                bytes -= own;
            }
        }
    }
}

/// Digits and nothing else, as a number.
fn number(digits: &[u8]) -> Option<u32> {
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Checks that segments of `path` may be written, beside those that are there; what runs that did not end left of them is moved
/// aside, a notice each.
///
/// # Errors
/// When the name has a field that is none, another run writes one of them, or the folder cannot be written.
pub fn check_segments(path: &Path) -> Result<Vec<String>, SinkError> {
    let names = SegmentNames::new(path)?;
    std::fs::create_dir_all(names.folder()).map_err(|error| SinkError::unwritable(path, error))?;
    let left = names.set_aside()?;
    names.reserve(Timestamp::now())?.discard();
    Ok(left)
}

/// A duration of the stream after `began`.
pub(super) fn later(began: Timestamp, by: Duration) -> Timestamp {
    began.checked_add(by).unwrap_or(began)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> SegmentNames {
        SegmentNames::new(Path::new(path)).expect("a name")
    }

    #[test]
    fn segments_are_named_by_time_and_none_is_named_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let time: Timestamp = "2026-11-29T09:05:07.9Z".parse().expect("a time");
        for (given, expected) in [
            ("cam.mkv", "cam-20261129T090507Z.mkv"),
            ("a.b-%Y-%m-%d_%H.mp4", "a.b-2026-11-29_09.mp4"),
            ("100%%-%j.mkv", "100%-333.mkv"),
        ] {
            let names = SegmentNames::new(&folder.path().join(given)).expect("a name");
            let first = names.at(time, 1);
            assert_eq!(first, folder.path().join(expected));
            std::fs::write(&first, "x").expect("a file");
            let written = names.reserve(time).expect("a file");
            let (second, third) = (names.at(time, 2), names.at(time, 3));
            assert!(second.file_stem().expect("a name").as_bytes().ends_with(b"-2"), "{}", second.display());
            assert_eq!(written.path(), second);
            assert_eq!(names.reserve(time).expect("a file").path(), third, "the other is being written");
            assert!(
                names.matches(first.file_name().expect("a name")) && names.matches(second.file_name().expect("a name"))
            );
        }
        for wrong in ["cam-%.mkv", "cam-%q.mkv", "cam%"] {
            let error = SegmentNames::new(Path::new(wrong)).expect_err("no name").to_string();
            assert!(error.contains("%Y") && error.contains("%%"), "{error}");
        }
    }

    #[test]
    fn only_what_is_called_so_is_deleted() {
        let names = names("cam.mkv");
        for (name, is_one) in [
            ("cam-20261129T090507Z.mkv", true),
            ("cam-20261129T090507Z-12.mkv", true),
            ("cam-20261129T090507Z-2.mkv", true),
            ("cam-20261129T090507Z.recovered.mkv", false),
            ("cam-20261129T090507Z-2.recovered-3.mkv", false),
            ("cam-20261129T090507Z-1.mkv", false),
            ("cam-20261129T090507Z-02.mkv", false),
            ("cam-20261129T090507Z-99999999999999999999.mkv", false),
            ("cam-20261329T090507Z.mkv", false),
            ("cam-20261129T240507Z.mkv", false),
            ("cam.mkv", false),
            ("cam-20261129T090507Z-.mkv", false),
            ("cam-20261129T090507Z-holiday.mkv", false),
            ("cam-20261129T090507Z.mkv.part", false),
            ("cam-2026112xT090507Z.mkv", false),
            ("mycam-20261129T090507Z.mkv", false),
            ("cam-2-20261129T090507Z.mkv", false),
            ("cam-20261129T090507Z.mp4", false),
        ] {
            assert_eq!(names.matches(OsStr::new(name)), is_one, "{name}");
        }
    }

    #[test]
    fn the_oldest_go_first_by_age_and_by_size_whichever_run_wrote_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = SegmentNames::new(&folder.path().join("cam-%H%M%S.mkv")).expect("a name");
        let write = |name: &str, age_s: u64| {
            let path = folder.path().join(name);
            std::fs::write(&path, [0; 100]).expect("a file");
            let file = std::fs::File::options().write(true).open(path).expect("the file");
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).expect("a time");
        };
        let left = || {
            let mut left: Vec<_> =
                std::fs::read_dir(folder.path()).expect("it").flatten().map(|e| e.file_name()).collect();
            left.sort();
            left
        };
        for (name, age_s) in
            [("cam-000001.mkv", 500), ("cam-000002.mkv", 300), ("cam-000003.mkv", 10), ("mine.mkv", 900)]
        {
            write(name, age_s);
        }
        write("cam-000000.mkv.part", 1000);
        let segments = |keep: Option<u64>, keep_bytes: Option<u64>| Segments {
            length: Duration::from_secs(10),
            keep: keep.map(Duration::from_secs),
            keep_bytes,
        };
        names.delete_old(&segments(None, None), None, SystemTime::now());
        names.delete_old(&segments(Some(400), None), None, SystemTime::now());
        assert_eq!(left(), ["cam-000000.mkv.part", "cam-000002.mkv", "cam-000003.mkv", "mine.mkv"]);
        names.delete_old(&segments(None, Some(300)), Some(100), SystemTime::now());
        assert_eq!(left().len(), 4, "two, and a third that is about to be whole");
        names.delete_old(&segments(None, Some(299)), Some(100), SystemTime::now());
        assert_eq!(left(), ["cam-000000.mkv.part", "cam-000003.mkv", "mine.mkv"]);
        names.delete_old(&segments(Some(1), Some(1)), None, SystemTime::now());
        assert_eq!(left().len(), 3, "the newest stays");
        // The clock was a year ahead.
        let path = folder.path().join("cam-000009.mkv");
        std::fs::write(&path, [0; 100]).expect("a file");
        let file = std::fs::File::options().write(true).open(path).expect("the file");
        file.set_modified(SystemTime::now() + Duration::from_hours(24 * 365)).expect("a time");
        names.delete_old(&segments(None, Some(100)), None, SystemTime::now());
        assert_eq!(left(), ["cam-000000.mkv.part", "cam-000003.mkv", "mine.mkv"]);
    }
}
