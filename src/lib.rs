//! streamdet watches video and draws what it finds.
//!
//! The order of the modules is the order in which a frame passes them; ARCHITECTURE.md shows the whole way.

// Where standard error is full or closed, their macros panic: text::print_stderr, and write!.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod cli;

pub mod config;

pub mod archive;
pub mod assignment;
pub mod backoff;
pub mod channel;
pub mod clock;
pub mod controls;
pub mod detection;
pub mod fleet;
pub mod folders;
pub mod frame;
pub mod geometry;
pub mod image_file;
pub mod mot;
pub mod part;
pub mod secrets;
pub mod shutdown;
pub mod stream;
pub mod teardown;
pub mod telemetry;
pub mod tensor;
pub mod text;
pub mod thread;
pub mod tiling;
pub mod units;

pub mod source;

pub mod preprocess;

pub mod model;

pub mod inference;

pub mod postprocess;

pub mod detector;

pub mod counting;
pub mod track;

pub mod heatmap;

pub mod overlay;

pub mod sink;

pub mod stills;

pub mod detections;
pub mod publish;

pub mod pipeline;

pub mod validate;

pub mod latency;
pub mod report;

pub mod doctor;

pub mod monitoring;

pub mod serve;

pub mod trials;
pub mod ui;

pub mod profile;
