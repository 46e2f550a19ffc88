//! Every recorded clip of the test data, held against `clips.tsv`: how many frames it yields, or which error.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::program::running::Running;
use crate::program::{detect, frames, json, probe, shared, text, times};

const TABLE: &str = include_str!("../clips.tsv");
/// No clip here takes a tenth of this; one that does hangs.
const HANGS: Duration = Duration::from_mins(5);

struct Row<'a> {
    clip: &'a str,
    track: Option<&'a str>,
    frames: Option<RangeInclusive<u64>>,
    size: &'a str,
    words: &'a str,
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let [clip, track, frames, size, words] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("five columns: {line}");
        };
        let number = |text: &str| text.parse::<u64>().expect("a number of frames");
        let frames = (frames != "-").then(|| match frames.split_once("..") {
            Some((low, high)) => number(low)..=number(high),
            None => number(frames)..=number(frames),
        });
        Row { clip, track: (track != "-").then_some(track), frames, size, words }
    })
}

/// Runs one clip; `Err` says what differs from its row.
fn check(row: &Row<'_>, clip: &Path) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut args = vec![text(clip), "-o", "o.mp4", "--report", "r.json", "--preset", "ultrafast", "--imgsz", "320"];
    args.extend(row.track.map(|n| ["--video-track", n]).into_iter().flatten());
    let mut run = Running::start(detect(folder.path(), &args));
    let Some(status) = run.ends_within(HANGS) else {
        return Err(format!("it hangs: not ended after {} s", HANGS.as_secs()));
    };
    let said = run.said();
    let out = folder.path().join("o.mp4");
    let Some(expected) = &row.frames else {
        let error = said.lines().find(|l| l.starts_with("error:")).unwrap_or_default();
        let left = out.exists() || folder.path().join("o.mp4.part").exists();
        return match status.code() {
            Some(2) if error.contains(row.words) && !left => Ok(format!("exit 2, {:?}", row.words)),
            code => Err(format!("exit {code:?}, files left: {left}, said: {said}")),
        };
    };
    if status.code() != Some(0) {
        return Err(format!("exit {:?}: {said}", status.code()));
    }
    let (received, processed, corrupt) = frames(&json(&folder.path().join("r.json")));
    let written = times(&out).len() as u64;
    let size = probe(&out, "width,height").replace(',', "x");
    let found = format!("{received} received, {processed} processed, {corrupt} corrupt, {written} written, {size}");
    let right = expected.contains(&received) && written == processed && size == row.size;
    if right { Ok(found) } else { Err(format!("{found}; expected {expected:?} at {}", row.size)) }
}

#[test]
fn every_clip_yields_its_frames_or_its_error() {
    let Some(root) = shared() else { return };
    let folder = root.join("data/video");
    let mut wrong = 0;
    for row in rows() {
        let result = check(&row, &folder.join(row.clip));
        let clip = row.track.map_or_else(|| row.clip.to_owned(), |n| format!("{} #{n}", row.clip));
        match result {
            Ok(found) => println!("ok     {clip:<40} {found}"),
            Err(found) => {
                wrong += 1;
                println!("WRONG  {clip:<40} {found}");
            }
        }
    }
    let named: Vec<&str> = rows().map(|row| row.clip).collect();
    for entry in std::fs::read_dir(&folder).expect("the clips") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
        if !has_ending(&name, "csv") && !named.contains(&name.as_str()) {
            wrong += 1;
            println!("WRONG  {name:<40} has no row");
        }
    }
    assert_eq!(wrong, 0, "rows that do not hold; see above");
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == ending)
}
