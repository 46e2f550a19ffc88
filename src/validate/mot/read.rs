//! Reading the files: rows by frame, and what a file of tracks must not have.

use std::collections::BTreeSet;
use std::path::Path;

use super::format::Format;
use crate::mot::{self, MotError, Row};
use crate::text::printable;

/// Rows of a file, at most; MOT20's largest has 700 000.
const MOST_ROWS: usize = 20_000_000;
/// Boxes of a frame, at most: all are compared with all. MOT20's fullest frame has 250.
const MOST_IN_FRAME: usize = 3_000;

/// Whether rows are of ground truth or of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Gt,
    Result,
}

/// The rows by frame; within a frame in the order of the file, which decides where boxes tie.
pub(super) fn rows(path: &Path) -> Result<Vec<Row>, MotError> {
    let mut rows = Vec::new();
    for row in mot::open(path)? {
        if rows.len() == MOST_ROWS {
            let problem = format!("more than {MOST_ROWS} rows");
            return Err(MotError::new(path.display(), problem, "split the sequence"));
        }
        rows.push(row?);
    }
    rows.sort_by_key(|row| row.frame);
    Ok(rows)
}

/// Refuses rows beyond the sequence's end, ids below 0, ids that a frame has twice, and frames with too many boxes.
pub(super) fn check(
    path: &Path,
    role: Role,
    rows: &[Row],
    length: Option<u32>,
    format: Format,
) -> Result<(), MotError> {
    let at = |row: &Row, problem: String, remedy: &str| {
        Err(MotError::new(format_args!("{}:{}", path.display(), row.line), problem, remedy))
    };
    if let (Some(last), Some(length)) = (rows.last(), length)
        && last.frame > length
    {
        let problem = format!("frame {}, after the last one of the sequence, {length}", last.frame);
        return at(last, problem, "frames count from 1; is this result of another sequence?");
    }
    // An ignored region is no object: its id means nothing.
    let has_id = |row: &Row| role == Role::Result || format != Format::VisDrone || row.extra[0] >= 1.0;
    for frame in rows.chunk_by(|a, b| a.frame == b.frame) {
        if let Some(row) = frame.get(MOST_IN_FRAME) {
            let problem = format!("frame {} has {} boxes", row.frame, frame.len());
            return at(row, problem, &format!("at most {MOST_IN_FRAME} are compared: are these tracks?"));
        }
        let mut seen: Vec<(i64, u32)> = Vec::with_capacity(frame.len());
        for row in frame.iter().filter(|row| has_id(row)) {
            if row.id < 0 {
                let remedy = match role {
                    Role::Gt => "ground truth has ids from 0 on: are these detections?",
                    Role::Result => {
                        "leave boxes without an id (unconfirmed tracks) out of a result; TrackEval refuses them too"
                    }
                };
                return at(row, format!("id {} in frame {}", row.id, row.frame), remedy);
            }
            seen.push((row.id, row.line));
        }
        seen.sort_unstable();
        if let Some(&[(id, first), (_, second)]) = seen.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let frame = frame.first().map_or(0, |row| row.frame);
            let problem = format!("id {id} twice in frame {frame} (first in line {first})");
            return Err(MotError::new(
                format_args!("{}:{second}", path.display()),
                problem,
                "an object has one box in a frame",
            ));
        }
    }
    Ok(())
}

/// The frames that count, one number a line.
pub(super) fn frames(path: &Path) -> Result<BTreeSet<u32>, MotError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| MotError::new(path.display(), e, "give --mot-frames a text file with one frame number a line"))?;
    let mut frames = BTreeSet::new();
    for (number, line) in (1_usize..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let frame = line.trim().parse().ok().filter(|frame| *frame > 0).ok_or_else(|| {
            let place = format!("{}:{number}", path.display());
            let seen: String = printable(line).chars().take(40).collect();
            MotError::new(place, format_args!("{seen:?} is no frame number"), "one whole number from 1 on a line")
        })?;
        frames.insert(frame);
    }
    if frames.is_empty() {
        return Err(MotError::new(path.display(), "no frame", "list the frames that count, one number a line"));
    }
    Ok(frames)
}
