//! Writing.

use std::io::{Result, Write};

use super::MotBox;

/// A line of a tracker's result: `frame,id,left,top,width,height,confidence,-1,-1,-1`, `frame` from 1.
///
/// # Errors
/// When it cannot be written.
pub fn write_row(out: &mut impl Write, frame: u32, id: i64, bbox: &MotBox, confidence: f64) -> Result<()> {
    let MotBox { left, top, width, height } = bbox;
    // A thousandth of a pixel: finer than any box is known.
    writeln!(out, "{frame},{id},{left:.3},{top:.3},{width:.3},{height:.3},{confidence:.4},-1,-1,-1")
}
