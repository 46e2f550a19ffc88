//! What a person sees in a terminal: progress, closing figures, `--stats` lines, the dashboard.

pub(crate) mod closing;
pub mod dashboard;
pub(crate) mod doctor;
pub(crate) mod download;
pub mod logs;
pub(crate) mod model;
pub(crate) mod models;
pub mod said;
pub(crate) mod screen;
pub mod stats;
pub mod streams;
pub(crate) mod tables;
pub(crate) mod telemetry;
pub(crate) mod tracking;
pub(crate) mod validation;
mod view;

pub(crate) use view::{Presentation, View};
