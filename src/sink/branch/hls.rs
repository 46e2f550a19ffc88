//! An HLS playlist (RFC 8216), written whenever a segment is whole.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::part::{set_aside, write_whole};
use crate::sink::check_output;
use crate::sink::error::SinkError;

/// Segments in a live playlist.
const LISTED: usize = 6;
/// Segments that are kept after they left the list: a client may still be reading them.
const SPARED: usize = 3;
/// The list.
pub const PLAYLIST: &str = "index.m3u8";
/// What a segment's name begins with.
const SEGMENT: &str = "segment-";

/// One segment in the list.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    path: PathBuf,
    length: Duration,
    /// Its times or its format do not go on from the one before.
    is_discontinuous: bool,
}

/// `index.m3u8` and what it names.
pub(super) struct Playlist {
    folder: PathBuf,
    /// No segment is longer, rounded to seconds. Players expect that it stays as it is.
    target: Duration,
    live: bool,
    segments: VecDeque<Segment>,
    /// The next segment's times or its format do not go on from the one before.
    pub is_discontinuous: bool,
    /// Segments that left the list, oldest first.
    left: VecDeque<PathBuf>,
    /// Numbers of the first segment in the list, and of the discontinuities before it.
    first: u64,
    discontinuities: u64,
    /// In the name of the newest segment.
    number: u64,
    /// A list that only grows, as it is appended to.
    growing: Option<File>,
}

impl Playlist {
    /// In `folder`, of segments about so long. `live`: the newest ones only, after those that a run before has left there.
    pub fn open(folder: &Path, segment: Duration, live: bool) -> Self {
        let mut list = Self {
            folder: folder.to_owned(),
            target: segment,
            live,
            segments: VecDeque::new(),
            is_discontinuous: false,
            left: VecDeque::new(),
            first: 0,
            discontinuities: 0,
            number: 0,
            growing: None,
        };
        if live {
            list.resume();
            if !list.segments.is_empty() {
                // Players that come meanwhile are not told that this is its end; what cannot be written fails with the first segment.
                let _ = list.write(false);
            }
        }
        list
    }

    /// The playlist's file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(PLAYLIST)
    }

    /// Takes over what a run before has left: players that have its list go on with this one.
    fn resume(&mut self) {
        let mut numbers: Vec<(u64, PathBuf)> = std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((number_of(entry.file_name().to_str()?)?, entry.path())))
            .collect();
        numbers.sort();
        self.number = numbers.last().map_or(0, |(number, _)| *number);
        let Some(text) = std::fs::read_to_string(self.path()).ok().filter(|text| is_own(text)) else { return };
        let mut length = None;
        let mut is_discontinuous = false;
        for line in text.lines() {
            let tag = |name: &str| line.strip_prefix(name)?.trim_end_matches(',').parse::<f64>().ok();
            let number = |name: &str| line.strip_prefix(name)?.parse::<u64>().ok();
            if let Some(first) = number("#EXT-X-MEDIA-SEQUENCE:") {
                self.first = first;
            } else if let Some(before) = number("#EXT-X-DISCONTINUITY-SEQUENCE:") {
                self.discontinuities = before;
            } else if let Some(target) = number("#EXT-X-TARGETDURATION:") {
                self.target = self.target.max(Duration::from_secs(target));
            } else if line == "#EXT-X-DISCONTINUITY" {
                is_discontinuous = true;
            } else if let Some(seconds) = tag("#EXTINF:") {
                length = Duration::try_from_secs_f64(seconds).ok();
            } else if let Some(length) = length.take().filter(|_| number_of(line).is_some()) {
                let is_discontinuous = std::mem::take(&mut is_discontinuous);
                self.segments.push_back(Segment { path: self.folder.join(line), length, is_discontinuous });
            }
        }
        self.is_discontinuous = !self.segments.is_empty();
        let oldest = self.segments.front().and_then(|segment| number_of(segment.path.file_name()?.to_str()?));
        let left = numbers.into_iter().take_while(|(number, _)| oldest.is_some_and(|oldest| *number < oldest));
        self.left = left.map(|(_, path)| path).collect();
    }

    /// The file of the segment after the newest.
    pub fn next(&mut self) -> PathBuf {
        self.number += 1;
        self.folder.join(format!("{SEGMENT}{:04}.ts", self.number))
    }

    /// Takes in one more segment, and deletes the oldest that has left the list.
    pub fn add(&mut self, path: &Path, length: Duration) -> Result<(), SinkError> {
        let is_discontinuous = std::mem::take(&mut self.is_discontinuous);
        let segment = Segment { path: path.to_owned(), length, is_discontinuous };
        let fits = seconds(length) <= seconds(self.target);
        self.target = self.target.max(length);
        let entry = entry(&segment);
        self.segments.push_back(segment);
        while self.live && self.segments.len() > LISTED {
            let gone = self.segments.pop_front();
            self.first += 1;
            self.discontinuities += u64::from(gone.as_ref().is_some_and(|segment| segment.is_discontinuous));
            self.left.extend(gone.map(|segment| segment.path));
        }
        match &mut self.growing {
            Some(list) if fits => list.write_all(entry.as_bytes()).map_err(|error| self.unwritable(error))?,
            _ => self.write(false)?,
        }
        // After the list: what it names is there.
        while self.left.len() > SPARED {
            // What cannot be deleted takes space and does no other harm.
            let _ = self.left.pop_front().map(std::fs::remove_file);
        }
        Ok(())
    }

    /// The newest segment was deleted while it was written, and others perhaps with it: the list goes on without them.
    pub fn forget_deleted(&mut self) {
        while let Some(oldest) = self.segments.pop_front() {
            if oldest.path.exists() {
                self.segments.push_front(oldest);
                break;
            }
            self.first += 1;
            self.discontinuities += u64::from(oldest.is_discontinuous);
        }
        self.is_discontinuous = true;
        self.growing = None;
    }

    /// Nothing comes any more.
    pub fn end(&mut self) -> Result<(), SinkError> {
        self.write(true)
    }

    fn write(&mut self, ended: bool) -> Result<(), SinkError> {
        write_whole(&self.path(), self.text(ended).as_bytes(), None).map_err(|error| self.unwritable(error))?;
        if !self.live {
            let list = File::options().append(true).open(self.path()).map_err(|error| self.unwritable(error))?;
            self.growing = Some(list);
        }
        Ok(())
    }

    fn unwritable(&self, error: std::io::Error) -> SinkError {
        SinkError::unwritable(&self.path(), error)
    }

    fn text(&self, ended: bool) -> String {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n",
            seconds(self.target),
            self.first
        );
        if self.discontinuities > 0 {
            let before = format!("#EXT-X-DISCONTINUITY-SEQUENCE:{}\n", self.discontinuities);
            text.push_str(&before);
        }
        if !self.live {
            text.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n");
        }
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        self.segments.iter().for_each(|segment| text.push_str(&entry(segment)));
        if ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        text
    }
}

/// What a length is rounded to may not be more than the target duration (4.3.3.1).
fn seconds(length: Duration) -> u64 {
    (length + Duration::from_millis(500)).as_secs()
}

/// The lines of a segment.
fn entry(segment: &Segment) -> String {
    let discontinuity = if segment.is_discontinuous { "#EXT-X-DISCONTINUITY\n" } else { "" };
    let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
    format!("{discontinuity}#EXTINF:{:.6},\n{name}\n", segment.length.as_secs_f64())
}

/// The number in a segment's name, one that is being written or that a crash left among them.
fn number_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix(SEGMENT)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, ending) = rest.split_at(digits);
    let is_one = [".ts", ".ts.part"].contains(&ending)
        || ending.strip_suffix(".ts").is_some_and(|left| left.starts_with(".recovered"));
    is_one.then(|| number.parse().ok())?
}

/// Whether a list is a live one of ours: it names nothing but such segments, and is no recording's.
fn is_own(list: &str) -> bool {
    let mut names = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    list.starts_with("#EXTM3U") && !list.contains("#EXT-X-PLAYLIST-TYPE") && names.all(|name| number_of(name).is_some())
}

/// Checks that a playlist may be written into `folder`; a live one goes on after what a run before has left there. What runs that
/// did not end left is moved aside, a notice each.
///
/// # Errors
/// When another list is there and `overwrite` is not given, another run writes one there, or the folder cannot be written.
pub fn check_playlist(folder: &Path, live: bool, overwrite: bool) -> Result<Vec<String>, SinkError> {
    let list = folder.join(PLAYLIST);
    let goes_on = live && std::fs::read_to_string(&list).is_ok_and(|text| is_own(&text));
    let mut notices: Vec<String> = check_output(&list, overwrite || goes_on)?.into_iter().collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| number_of(name).is_some()) else { continue };
        if let Some(whole) = name.strip_suffix(".part") {
            let path = folder.join(whole);
            notices.extend(set_aside(&path).map_err(|error| SinkError::unwritable(&path, error))?);
        } else if !live && !overwrite {
            return Err(SinkError::Exists(entry.path()));
        }
    }
    Ok(notices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(folder: &Path) -> String {
        std::fs::read_to_string(folder.join(PLAYLIST)).expect("the list")
    }

    fn add(list: &mut Playlist, seconds: f64) {
        let path = list.next();
        std::fs::write(&path, b"x").expect("a segment");
        list.add(&path, Duration::from_secs_f64(seconds)).expect("a list");
    }

    #[test]
    fn a_live_list_names_the_newest_segments_and_the_oldest_are_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut list = Playlist::open(folder.path(), Duration::from_secs(4), true);
        (0..12).for_each(|_| add(&mut list, 4.25));
        let said = text(folder.path());
        assert!(said.contains("#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:6\n"), "{said}");
        assert!(said.ends_with("#EXTINF:4.250000,\nsegment-0012.ts\n") && !said.contains("segment-0006.ts"), "{said}");
        let there = |n: u32| folder.path().join(format!("segment-{n:04}.ts")).exists();
        assert_eq!((1..=12).filter(|n| there(*n)).collect::<Vec<_>>(), (4..=12).collect::<Vec<_>>());
        list.end().expect("its end");
        assert!(text(folder.path()).ends_with("#EXT-X-ENDLIST\n"));
    }

    #[test]
    fn a_live_list_goes_on_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut list = Playlist::open(folder.path(), Duration::from_secs(4), true);
        (0..8).for_each(|_| add(&mut list, 4.0));
        list.end().expect("its end");
        // A crash: the segment that was being written, and one that is in no list yet.
        std::fs::write(folder.path().join("segment-0009.ts"), b"x").expect("a segment");
        std::fs::write(folder.path().join("segment-0010.ts.part"), b"x").expect("a segment");
        let said = check_playlist(folder.path(), true, false).expect("it goes on");
        assert!(said.len() == 1 && said[0].ends_with("segment-0010.recovered.ts now"), "{said:?}");
        let mut list = Playlist::open(folder.path(), Duration::from_secs(4), true);
        add(&mut list, 4.0);
        let said = text(folder.path());
        assert!(said.contains("#EXT-X-MEDIA-SEQUENCE:3\n") && !said.contains("ENDLIST"), "{said}");
        assert!(
            said.ends_with("segment-0008.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:4.000000,\nsegment-0011.ts\n"),
            "{said}"
        );
        // When the first one after the restart leaves the list, the discontinuity before it is counted.
        (0..6).for_each(|_| add(&mut list, 4.0));
        let said = text(folder.path());
        assert!(said.contains("#EXT-X-MEDIA-SEQUENCE:9\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n"), "{said}");
        assert!(!said.contains("#EXT-X-DISCONTINUITY\n"), "{said}");
        assert!(!folder.path().join("segment-0005.ts").exists(), "what the run before had left goes as well");
        // Another's list is not ours to go on with.
        std::fs::write(folder.path().join(PLAYLIST), "#EXTM3U\n#EXTINF:4,\nother.ts\n").expect("a list");
        assert!(matches!(check_playlist(folder.path(), true, false), Err(SinkError::Exists(_))));
    }

    #[test]
    fn a_recordings_list_is_appended_to_and_keeps_its_target() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut list = Playlist::open(folder.path(), Duration::from_secs(4), false);
        add(&mut list, 4.0);
        let first = folder.path().join(PLAYLIST).metadata().expect("the list");
        (0..3).for_each(|_| add(&mut list, 4.25));
        let now = folder.path().join(PLAYLIST).metadata().expect("the list");
        assert_eq!(std::os::unix::fs::MetadataExt::ino(&first), std::os::unix::fs::MetadataExt::ino(&now));
        assert_eq!(text(folder.path()), list.text(false));
        // A segment that cannot be cut earlier is longer: the list says so.
        add(&mut list, 7.0);
        assert!(text(folder.path()).contains("#EXT-X-TARGETDURATION:7\n"));
        list.end().expect("its end");
        assert_eq!(text(folder.path()), list.text(true));
        assert!(matches!(check_playlist(folder.path(), false, false), Err(SinkError::Exists(_))));
    }
}
