//! An HLS playlist (RFC 8216), rewritten whenever a segment is whole.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::part::write_whole;
use crate::sink::error::SinkError;

/// Segments in a live playlist.
const LISTED: usize = 6;
/// Segments that are kept after they left the list: a client may still be reading them.
const SPARED: usize = 3;

/// One segment in the list.
struct Segment {
    path: PathBuf,
    length: Duration,
    /// Its format is another than that of the one before.
    broken: bool,
}

/// `index.m3u8` and what it names.
pub(super) struct Playlist {
    path: PathBuf,
    longest: Duration,
    live: bool,
    segments: VecDeque<Segment>,
    /// The next segment has another format than the one before.
    pub broken: bool,
    /// Segments that left the list, oldest first.
    left: VecDeque<PathBuf>,
    /// Number of the first in the list.
    first: u64,
}

impl Playlist {
    /// In `folder`, of segments about so long. `live`: the newest ones only.
    pub fn new(folder: &Path, segment: Duration, live: bool) -> Self {
        let (segments, left) = (VecDeque::new(), VecDeque::new());
        Self { path: folder.join("index.m3u8"), longest: segment, live, segments, broken: false, left, first: 0 }
    }

    /// The playlist's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes in one more segment, and deletes the oldest that has left the list.
    pub fn add(&mut self, segment: &Path, length: Duration) -> Result<(), SinkError> {
        self.longest = self.longest.max(length);
        let broken = std::mem::take(&mut self.broken);
        self.segments.push_back(Segment { path: segment.to_owned(), length, broken });
        if self.live && self.segments.len() > LISTED {
            self.left.extend(self.segments.pop_front().map(|segment| segment.path));
            self.first += 1;
        }
        self.write(false)?;
        // After the list: what it names is there.
        if self.left.len() > SPARED
            && let Some(path) = self.left.pop_front()
        {
            // What cannot be deleted takes space and does no other harm.
            let _ = std::fs::remove_file(&path);
        }
        Ok(())
    }

    /// Nothing comes any more.
    pub fn end(&mut self) -> Result<(), SinkError> {
        self.write(true)
    }

    fn write(&self, ended: bool) -> Result<(), SinkError> {
        write_whole(&self.path, self.text(ended).as_bytes(), None)
            .map_err(|e| SinkError::Unwritable { path: self.path.clone(), source: e.into() })
    }

    fn text(&self, ended: bool) -> String {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n",
            // What a length is rounded to may not be more (4.3.3.1).
            self.longest.as_secs_f64().round(),
            self.first
        );
        if !self.live {
            text.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n");
        }
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        for Segment { path, length, broken } in &self.segments {
            if *broken {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let entry = format!("#EXTINF:{:.6},\n{name}\n", length.as_secs_f64());
            text.push_str(&entry);
        }
        if ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_list_names_the_newest_segments_and_the_oldest_are_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut list = Playlist::new(folder.path(), Duration::from_secs(4), true);
        let path = |n: u32| folder.path().join(format!("s-{n}.ts"));
        for n in 1..=12 {
            std::fs::write(path(n), b"x").expect("a segment");
            list.add(&path(n), Duration::from_secs_f64(4.25)).expect("a list");
        }
        let text = std::fs::read_to_string(folder.path().join("index.m3u8")).expect("the list");
        assert!(text.contains("#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:6\n"), "{text}");
        assert!(text.ends_with("#EXTINF:4.250000,\ns-12.ts\n") && !text.contains("s-6.ts"), "{text}");
        let there: Vec<u32> = (1..=12).filter(|n| path(*n).exists()).collect();
        assert_eq!(there, (4..=12).collect::<Vec<_>>());
        list.end().expect("its end");
        assert!(std::fs::read_to_string(folder.path().join("index.m3u8")).expect("it").ends_with("#EXT-X-ENDLIST\n"));
    }
}
