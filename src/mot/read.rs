//! Reading, a line at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{COLUMNS, MotBox, MotError, Row};
use crate::text::printable;

/// The longest line, bytes; ten columns have about a hundred.
const LONGEST_LINE: u64 = 1000;
/// Pixels beyond which there is no picture, and products of sides are still exact enough.
const FARTHEST: f64 = 1e9;
/// Ids up to here are exact as numbers.
const LARGEST_ID: f64 = 9_007_199_254_740_992.0;

/// The lines of a text as boxes; ends after the first error.
pub struct Rows<R> {
    from: R,
    name: String,
    line: u32,
    buffer: Vec<u8>,
    ended: bool,
}

/// Opens a file.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> Result<Rows<BufReader<File>>, MotError> {
    let name = path.display();
    let file =
        File::open(path).map_err(|e| MotError::new(name, e, "name a text file: frame,id,left,top,width,height,…"))?;
    Ok(Rows::of(BufReader::new(file), &path.display().to_string()))
}

impl<R: BufRead> Rows<R> {
    /// Of a text that messages call `name`.
    pub fn of(from: R, name: &str) -> Self {
        Self { from, name: printable(name), line: 0, buffer: Vec::new(), ended: false }
    }

    fn error(&self, problem: impl std::fmt::Display, remedy: &str) -> MotError {
        MotError::new(format_args!("{}:{}", self.name, self.line), problem, remedy)
    }

    /// The next line with something on it.
    fn next_row(&mut self) -> Result<Option<Row>, MotError> {
        loop {
            self.buffer.clear();
            self.line = self.line.saturating_add(1);
            let read = self.from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.buffer);
            if let Err(e) = read {
                return Err(MotError::new(&self.name, e, "name a text file that can be read"));
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
            if self.buffer.len() as u64 == LONGEST_LINE {
                let problem = format!("a line longer than {LONGEST_LINE} bytes");
                return Err(self.error(problem, "is this MOTChallenge text? a line is one box"));
            }
            let Ok(text) = std::str::from_utf8(&self.buffer) else {
                return Err(self.error("no text in UTF-8", "is this MOTChallenge text? a line is one box"));
            };
            let text = text.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                return self.parse(text).map(Some);
            }
        }
    }

    fn parse(&self, text: &str) -> Result<Row, MotError> {
        let mut numbers = [-1.0; 10];
        let mut columns = 0;
        let separator = [',', ';'].into_iter().find(|c| text.contains(*c));
        let fields: &mut dyn Iterator<Item = &str> = match separator {
            // Some tools end every line with a comma.
            Some(c) => &mut text.trim_end_matches(c).split(c),
            None => &mut text.split_whitespace(),
        };
        for field in fields {
            if let Some(number) = numbers.get_mut(columns) {
                *number = self.number(field.trim())?;
            }
            columns += 1;
        }
        if !COLUMNS.contains(&columns) {
            let problem = format!("{columns} columns");
            return Err(self.error(problem, "6 to 10 are expected: frame,id,left,top,width,height,confidence,x,y,z"));
        }
        let [frame, id, left, top, width, height, confidence, x, y, z] = numbers;
        if !(frame >= 1.0 && frame <= f64::from(u32::MAX) && frame.fract() == 0.0) {
            return Err(self.error(format_args!("frame {frame}"), "frames are whole numbers from 1 on"));
        }
        if !(id.abs() <= LARGEST_ID && id.fract() == 0.0) {
            return Err(self.error(format_args!("id {id}"), "ids are whole numbers"));
        }
        if let Some(far) = [left, top, width, height].into_iter().find(|v| v.abs() > FARTHEST) {
            return Err(
                self.error(format_args!("{far:e} pixels"), "no box is as large or as far away: check the columns")
            );
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers in range")]
        let (frame, id, count) = (frame as u32, id as i64, columns as u8);
        Ok(Row {
            frame,
            id,
            bbox: MotBox { left, top, width, height },
            confidence: if columns < 7 { 1.0 } else { confidence },
            extra: [x, y, z],
            columns: count,
            line: self.line,
        })
    }

    fn number(&self, field: &str) -> Result<f64, MotError> {
        field.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| {
            let seen: String = printable(field).chars().take(40).collect();
            self.error(
                format_args!("{seen:?} is no number"),
                "a line is one box, without a header: frame,id,left,top,width,height,confidence,x,y,z",
            )
        })
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Row, MotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_row().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
