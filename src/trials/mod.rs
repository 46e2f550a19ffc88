//! Runs of this program in processes of their own, one after the other, judged by their reports.

pub mod capacity;
pub mod comparison;
mod process;
