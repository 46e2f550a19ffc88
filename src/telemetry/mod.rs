//! Where a camera was and looked: telemetry that comes with video, and where on the ground a pixel is.

pub mod dji;
pub mod export;
pub mod gpmf;
pub mod ground;
pub mod klv;
mod known;
mod line;
pub mod packet;
pub mod sidecar;
pub mod srt;
pub mod survey;
mod timeline;

pub use known::{Attitude, Datum, Gimbal, Known, Origin};
pub use line::{PositionFields, PositionLine, SampleLine, rfc3339};
pub use timeline::{Sample, Timeline};

/// A file of the tests' telemetry; `None`, said once, where there is none.
#[cfg(test)]
pub(crate) fn test_bytes(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("STREAMDET_TEST_DATA")
        .map_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), std::path::PathBuf::from);
    let path = folder.join("data/telemetry").join(name);
    let bytes = std::fs::read(&path);
    if bytes.is_err() {
        eprintln!("skipped: {} is not there", path.display());
    }
    bytes.ok()
}

/// The same as JSON.
#[cfg(test)]
pub(crate) fn test_data(name: &str) -> Option<serde_json::Value> {
    Some(serde_json::from_slice(&test_bytes(name)?).expect("JSON"))
}
