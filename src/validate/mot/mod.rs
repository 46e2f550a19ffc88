//! Trackers' results against ground truth, as TrackEval (PyPI trackeval 1.3.0) scores them: HOTA, CLEAR MOT, Identity.
//!
//! [`find`] pairs the files, [`score`] reads, prepares as the benchmark has it, and scores; [`Report`] is what is written.

mod clear;
mod figures;
mod format;
mod hota;
mod identity;
mod overlap;
mod prepare;
mod read;
mod run;
mod scene;
mod sequences;
#[cfg(test)]
mod tests;

pub use figures::Figures;
pub use format::Format;
pub use run::{Options, Report, Scored, score};
pub use sequences::{Found, Sequence, find};
