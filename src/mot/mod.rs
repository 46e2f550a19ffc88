//! MOTChallenge's text: one box a line, `frame,id,left,top,width,height,confidence,x,y,z`, frames from 1, pixels.
//!
//! Ground truth, detections (id −1) and results of trackers have this form. What the columns after the sixth mean depends
//! on the file: see [`Row::extra`].

mod read;
mod write;

use std::fmt;

pub use read::{Rows, open};
pub use write::write_row;

/// Columns that a line must have, and may have.
pub const COLUMNS: std::ops::RangeInclusive<usize> = 6..=10;

/// Left, top, width and height, pixels. Sides may be negative: such a box overlaps nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotBox {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Number of the frame, from 1.
    pub frame: u32,
    /// Number of the object, −1 where it has none.
    pub id: i64,
    /// Where.
    pub bbox: MotBox,
    /// Column 7: the confidence; in ground truth a flag, 0 for what does not count. 1 where it is missing.
    pub confidence: f64,
    /// Columns 8 to 10. 2015: world coordinates, or −1. 2016 and later: class and visibility. VisDrone: category, truncation,
    /// occlusion. −1 where they are missing.
    pub extra: [f64; 3],
    /// How many columns the line has.
    pub columns: u8,
    /// The line, from 1.
    pub line: u32,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}\n  {remedy}")]
pub struct MotError {
    /// File, and line where there is one.
    place: String,
    /// What was seen.
    problem: String,
    /// What to do next.
    remedy: String,
}

impl MotError {
    /// Of a file, `FILE:LINE`, or whatever else names the place.
    pub fn new(place: impl fmt::Display, problem: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { place: place.to_string(), problem: problem.to_string(), remedy: remedy.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<Row>, String> {
        Rows::of(Cursor::new(text), "it.txt").collect::<Result<_, _>>().map_err(|e| e.to_string())
    }

    #[track_caller]
    fn refused(text: &str, problem: &str) {
        let error = rows(text.as_bytes()).expect_err("it cannot be used");
        assert!(error.starts_with("it.txt:") && error.contains(problem), "{error}");
        assert!(error.lines().count() == 2, "a remedy: {error}");
    }

    #[test]
    fn lines_of_every_year_are_read() {
        let text = "\u{feff}2,7,1.5,-2,3,4,0.5,-1,-1,-1\r\n\r\n1, 8, 1, 2, 3, 4\n3 9 1 2 3 4 1\n4;1;0;0;1;1\n5,1,0,0,1,1,1,3,0.25,";
        let rows = rows(text.as_bytes()).expect("it is read");
        let seen: Vec<_> = rows.iter().map(|r| (r.frame, r.id, r.columns, r.line)).collect();
        assert_eq!(seen, [(2, 7, 10, 1), (1, 8, 6, 3), (3, 9, 7, 4), (4, 1, 6, 5), (5, 1, 9, 6)]);
        assert_eq!(rows[0].bbox, MotBox { left: 1.5, top: -2.0, width: 3.0, height: 4.0 });
        assert_eq!((rows[0].confidence, rows[1].confidence), (0.5, 1.0));
        assert_eq!(format!("{:?}", rows[4].extra), "[3.0, 0.25, -1.0]");
    }

    #[test]
    fn what_is_no_box_is_refused_with_its_line() {
        refused("1,1,0,0,1,1\n1,1,0,0,1\n", "it.txt:2: 5 columns");
        refused("1,1,0,0,1,1,1,-1,-1,-1,-1\n", "11 columns");
        refused("1,1,0,0,1,x\n", "\"x\"");
        refused("1,1,0,0,1,nan\n", "\"nan\"");
        refused("1,1,0,inf,1,1\n", "\"inf\"");
        refused("1,1,0,0,1e300,1\n", "1e300");
        refused("-1,1,0,0,1,1\n", "frame -1");
        refused("0,1,0,0,1,1\n", "frame 0");
        refused("1.5,1,0,0,1,1\n", "frame 1.5");
        refused("9999999999,1,0,0,1,1\n", "frame 9999999999");
        refused("1,1.5,0,0,1,1\n", "id 1.5");
        refused("frame,id,x,y,w,h\n", "\"frame\"");
        refused(&format!("{}\n", "1,".repeat(9_999)), "longer than");
        assert!(rows(b"1,1,0,0,1,\xff\n").expect_err("no text").contains("UTF-8"));
    }

    #[test]
    fn what_was_refused_is_not_read_on() {
        let mut rows = Rows::of(Cursor::new(b"x\n1,1,0,0,1,1\n"), "it.txt");
        assert!(rows.next().is_some_and(|row| row.is_err()) && rows.next().is_none());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = rows(&text);
        }

        #[test]
        fn lines_that_look_right_do_not_panic(text in "([0-9,.;e+-]{0,40}\r?\n){0,8}") {
            let _ = rows(text.as_bytes());
        }

        #[test]
        fn what_was_written_is_read_again(
            frame in 1u32.., id in 1i64..1_000_000, left in -1e4..1e4, top in -1e4..1e4, width in 0.0..1e4,
            height in 0.0..1e4, confidence in 0.0f64..1.0,
        ) {
            let bbox = MotBox { left, top, width, height };
            let mut text = Vec::new();
            write_row(&mut text, frame, id, &bbox, confidence).expect("memory takes it");
            let read = rows(&text).expect("it is read");
            prop_assert_eq!((read.len(), read[0].frame, read[0].id, read[0].columns), (1, frame, id, 10));
            let off = |a: f64, b: f64| (a - b).abs();
            prop_assert!(off(read[0].bbox.left, left) < 1e-3 && off(read[0].bbox.height, height) < 1e-3);
            prop_assert!(off(read[0].confidence, confidence) < 1e-4);
        }
    }
}
