//! What a person sees in a terminal: progress, closing figures, `--stats` lines, the dashboard.

pub(crate) mod closing;
pub mod dashboard;
pub mod logs;
pub(crate) mod screen;
pub mod stats;
pub(crate) mod tables;
mod view;

pub(crate) use view::{Presentation, View};
