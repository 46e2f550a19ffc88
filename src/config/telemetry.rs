//! Options of telemetry and of positions on the ground.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::telemetry::Timeline;
use crate::telemetry::ground::{Camera, CameraError, Geolocation, Terrain, TerrainError, Uncertainty};
use crate::telemetry::sidecar::{self, SidecarError};

/// What positions on the ground are computed with, where the source has telemetry.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Positions")]
pub struct TelemetryOptions {
    /// Telemetry beside the video, in place of what it carries: DJI's .SRT, or packets of MISB ST 0601 (.klv) [default: the .SRT of the same
    /// name, where there is one and the video carries nothing]
    #[arg(long, value_name = "FILE")]
    telemetry: Option<PathBuf>,
    /// Seconds that --telemetry begins after the video
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = offset, requires = "telemetry")]
    telemetry_offset: Option<f64>,
    /// Camera as `OpenCV` calibrates it (`camera_matrix`, `distortion_coefficients`, `image_width`, `image_height`): YAML, or JSON [default: the
    /// telemetry's field of view or focal length]
    #[arg(long, value_name = "FILE")]
    camera: Option<PathBuf>,
    /// Horizontal field of view, degrees, where the telemetry says none
    #[arg(long, value_name = "DEG", value_parser = angle)]
    hfov: Option<f64>,
    /// Elevation of the ground, m, above what the telemetry's altitudes are measured from [default: as the telemetry says; else where it
    /// took off]
    #[arg(long, value_name = "M", allow_negative_numbers = true, value_parser = height)]
    ground: Option<f64>,
    /// Terrain model: a folder of SRTM tiles (N34W087.hgt); outside of them --ground holds
    #[arg(long, value_name = "FOLDER")]
    terrain: Option<PathBuf>,
    /// Height of the geoid above the ellipsoid, m, for --terrain with altitudes above the ellipsoid
    #[arg(long, value_name = "M", allow_negative_numbers = true, value_parser = height)]
    geoid: Option<f64>,
    /// Standard deviations that the error of a position follows from, NAME=VALUE,…: horizontal, vertical, ground (m), heading, attitude,
    /// gimbal (degrees), fov (%), pixels [default: 2, 3, 5, 2, 0.5, 0.5, 1, 2]
    #[arg(long, value_name = "NAME=VALUE,…", value_parser = uncertainty)]
    uncertainty: Option<Uncertainty>,
    /// Locate these pixels, and detect nothing: a JSON list of {"frame": 0, "x": 320.5, "y": 240.5}, from the upper left corner
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ModelOptions", "TilingOptions", "detections"])]
    geolocate_points: Option<PathBuf>,
}

/// Why options of positions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `--camera`.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// `--terrain`.
    #[error(transparent)]
    Terrain(#[from] TerrainError),
    /// `--telemetry`.
    #[error("--telemetry {0}")]
    Sidecar(#[from] SidecarError),
    /// One file, and more sources.
    #[error("--telemetry is of one video, and there are {0} sources\n  give them one at a time")]
    Sources(usize),
}

impl TelemetryOptions {
    /// Pixels that are located.
    #[must_use]
    pub fn points(&self) -> Option<&Path> {
        self.geolocate_points.as_deref()
    }

    /// What the file says that is named, for so many sources.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn timeline(&self, sources: usize) -> Result<Option<Arc<Timeline>>, TelemetryError> {
        let Some(path) = &self.telemetry else { return Ok(None) };
        if sources > 1 {
            return Err(TelemetryError::Sources(sources));
        }
        #[expect(clippy::cast_possible_truncation, reason = "a day at most")]
        let offset_ns = (self.telemetry_offset.unwrap_or_default() * 1e9) as i64;
        Ok(Some(Arc::new(sidecar::timeline(path, offset_ns)?)))
    }

    /// What positions are computed with.
    ///
    /// # Errors
    /// When a file or a folder cannot be used.
    pub fn geolocation(&self) -> Result<Geolocation, TelemetryError> {
        Ok(Geolocation {
            camera: self.camera.as_deref().map(Camera::read).transpose()?,
            hfov_deg: self.hfov,
            ground_m: self.ground,
            terrain: self.terrain.as_deref().map(Terrain::open).transpose()?.map(Arc::new),
            geoid_m: self.geoid,
            uncertainty: self.uncertainty.unwrap_or_default(),
        })
    }
}

/// Seconds, of a day at most.
fn offset(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(s) if (-86_400.0..=86_400.0).contains(&s) => Ok(s),
        _ => Err("give seconds, from -86400 to 86400".into()),
    }
}

/// A field of view.
fn angle(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(deg) if (0.1..=170.0).contains(&deg) => Ok(deg),
        _ => Err("give degrees, from 0.1 to 170".into()),
    }
}

/// A height on earth.
fn height(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(m) if (-1000.0..=20_000.0).contains(&m) => Ok(m),
        _ => Err("give metres, from -1000 to 20000".into()),
    }
}

/// Standard deviations by name.
fn uncertainty(text: &str) -> Result<Uncertainty, String> {
    const NAMES: &str =
        "give horizontal, vertical, ground, heading, attitude, gimbal, fov or pixels, as heading=1,fov=2";
    let mut uncertainty = Uncertainty::default();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or(NAMES)?;
        let value: f64 = value.trim().parse().map_err(|_| NAMES)?;
        if !(0.0..=1000.0).contains(&value) {
            return Err(format!("{part}: give a number from 0 to 1000"));
        }
        *match name.trim() {
            "horizontal" => &mut uncertainty.horizontal_m,
            "vertical" => &mut uncertainty.vertical_m,
            "ground" => &mut uncertainty.ground_m,
            "heading" => &mut uncertainty.heading_deg,
            "attitude" => &mut uncertainty.attitude_deg,
            "gimbal" => &mut uncertainty.gimbal_deg,
            "fov" => &mut uncertainty.fov,
            "pixels" => &mut uncertainty.pixels,
            _ => return Err(NAMES.into()),
        } = if name.trim() == "fov" { value / 100.0 } else { value };
    }
    Ok(uncertainty)
}
