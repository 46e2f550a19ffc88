//! From pixels to directions in the camera: a pinhole, by field of view or focal length, or as it was calibrated.

use std::path::{Path, PathBuf};

use super::ellipsoid::{Vector, dot, scale};
use super::ray::Unlocated;
use crate::telemetry::Known;

/// Diagonal of 35 mm film, mm.
const FILM_DIAGONAL: f64 = 43.266_615;
/// Times that the distortion is taken away, at most: each time what is left becomes several times smaller.
const ROUNDS: usize = 50;

/// A camera as `OpenCV` calibrates it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    /// Of the pictures that it was calibrated with, pixels.
    size: (f64, f64),
    /// Focal lengths, pixels.
    focal: (f64, f64),
    /// Principal point; the middle of the upper left pixel is 0, 0.
    centre: (f64, f64),
    /// k1, k2, p1, p2, k3, k4, k5, k6.
    distortion: [f64; 8],
}

/// Why a file describes no camera.
#[derive(Debug, thiserror::Error)]
#[error("--camera {}: {problem}\n  give what OpenCV's calibration writes (camera_matrix, distortion_coefficients, image_width, image_height), as YAML or JSON", path.display())]
pub struct CameraError {
    path: PathBuf,
    problem: String,
}

impl Camera {
    /// Reads a calibration: YAML of `OpenCV`'s `FileStorage` or of ROS' `camera_info`, or JSON with the same keys.
    ///
    /// # Errors
    /// When it cannot be read, or lacks something.
    pub fn read(path: &Path) -> Result<Self, CameraError> {
        let failed = |problem: String| CameraError { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let numbers =
            |keys: &[&str]| keys.iter().find_map(|key| numbers(text, key)).ok_or(format!("there is no {}", keys[0]));
        let one = |keys: &[&str]| Ok::<f64, String>(*numbers(keys)?.first().ok_or(format!("{} is empty", keys[0]))?);
        let size = (one(&["image_width", "width"])?, one(&["image_height", "height"])?);
        let matrix = numbers(&["camera_matrix", "cameraMatrix", "K"])?;
        let &[fx, _, cx, _, fy, cy, ..] = &matrix[..] else {
            return Err("camera_matrix has fewer than 9 numbers".into());
        };
        let given = numbers(&["distortion_coefficients", "dist_coeffs", "distCoeffs", "D"]).unwrap_or_default();
        if given.len() > 8 && given[8..].iter().any(|part| *part != 0.0) {
            return Err("distortion_coefficients has thin prism or tilt terms, which are not supported".into());
        }
        let mut distortion = [0.0; 8];
        distortion.iter_mut().zip(&given).for_each(|(to, from)| *to = *from);
        let all = [size.0, size.1, fx, fy];
        if all.iter().any(|n| !n.is_finite() || *n <= 0.0) || [cx, cy].iter().chain(&distortion).any(|n| !n.is_finite())
        {
            return Err("size and focal lengths have to be above 0".into());
        }
        Ok(Self { size, focal: (fx, fy), centre: (cx, cy), distortion })
    }

    fn distort(&self, x: f64, y: f64) -> (f64, f64) {
        let [k1, k2, p1, p2, k3, k4, k5, k6] = self.distortion;
        let r2 = x * x + y * y;
        let radial = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)));
        let across = 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x);
        let down = p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y;
        (x * radial + across, y * radial + down)
    }

    /// Right and down at distance 1, without the distortion.
    fn undistorted(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (mut found, mut left) = ((x, y), f64::MAX);
        for _ in 0..ROUNDS {
            let (dx, dy) = self.distort(found.0, found.1);
            let off = (x - dx, y - dy);
            let size = off.0.hypot(off.1);
            // Beyond what was calibrated, it may lead away: the best so far is kept.
            if size < 1e-12 || size.is_nan() || size >= left {
                break;
            }
            left = size;
            found = (found.0 + off.0, found.1 + off.1);
        }
        found
    }
}

/// The numbers that stand behind `key` in YAML or JSON: a number, a list of them (of lists), or a matrix with `data`.
fn numbers(text: &str, key: &str) -> Option<Vec<f64>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let at = text.match_indices(key).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + key.len()..].trim_start_matches('"').trim_start();
        !before.is_some_and(is_word) && after.starts_with(':')
    })?;
    let rest = text[at + key.len()..].split_once(':')?.1;
    let line = rest.trim_start();
    if let Ok(number) = line.split([',', '}', '\n']).next()?.trim().parse() {
        return Some(vec![number]);
    }
    // A matrix says rows and columns before its numbers.
    let rest = if line.starts_with('[') { line } else { &rest[rest.find("data")?..] };
    let list = &rest[rest.find('[')?..];
    let mut depth = 0;
    let end = list.find(|c| {
        depth += match c {
            '[' => 1,
            ']' => -1,
            _ => 0,
        };
        depth == 0
    })?;
    let parts = list[..end].split(['[', ']', ',', ' ', '\n', '\r', '\t']).filter(|part| !part.is_empty());
    parts.map(|part| part.parse().ok()).collect()
}

/// How pixels of a frame become directions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lens {
    /// Half of the frame, and right and down at its edges at distance 1.
    Pinhole { half: (f64, f64), tangent: (f64, f64) },
    /// As calibrated, with its pixels to one of the frame's.
    Calibrated { camera: Camera, scale: (f64, f64) },
}

impl Lens {
    /// That of a frame so large.
    pub fn of(
        known: &Known,
        camera: Option<&Camera>,
        hfov_deg: Option<f64>,
        (width, height): (f64, f64),
    ) -> Result<Self, Unlocated> {
        let half = (width / 2.0, height / 2.0);
        if let Some(camera) = camera {
            return Ok(Self::Calibrated { camera: *camera, scale: (camera.size.0 / width, camera.size.1 / height) });
        }
        let tangent = |deg: Option<f64>| {
            deg.filter(|deg| (0.0..180.0).contains(deg) && *deg > 0.0).map(|deg| (deg / 2.0).to_radians().tan())
        };
        // Pixels are square where only one field of view is known.
        let tangent = match (tangent(known.hfov_deg.or(hfov_deg)), tangent(known.vfov_deg)) {
            (Some(across), Some(down)) => (across, down),
            (Some(across), None) => (across, across * height / width),
            (None, Some(down)) => (down * width / height, down),
            (None, None) => {
                let focal = known.focal_35mm.filter(|focal| *focal > 0.0).ok_or(Unlocated::NoFieldOfView)?;
                let across = FILM_DIAGONAL / 2.0 / focal / width.hypot(height);
                (across * width, across * height)
            }
        };
        Ok(Self::Pinhole { half, tangent })
    }

    /// The direction of a pixel, of length 1: along the boresight, right, down.
    pub fn direction(&self, u: f64, v: f64) -> Vector {
        let (right, down) = match self {
            Self::Pinhole { half, tangent } => ((u / half.0 - 1.0) * tangent.0, (v / half.1 - 1.0) * tangent.1),
            Self::Calibrated { camera, scale } => {
                let x = (u * scale.0 - 0.5 - camera.centre.0) / camera.focal.0;
                let y = (v * scale.1 - 0.5 - camera.centre.1) / camera.focal.1;
                camera.undistorted((x, y))
            }
        };
        let direction = [1.0, right, down];
        scale(direction, 1.0 / dot(direction, direction).sqrt())
    }

    /// How far a pixel is from the one that the boresight hits.
    pub fn off_centre(&self, u: f64, v: f64) -> (f64, f64) {
        match self {
            Self::Pinhole { half, .. } => (u - half.0, v - half.1),
            Self::Calibrated { camera, scale } => {
                (u - (camera.centre.0 + 0.5) / scale.0, v - (camera.centre.1 + 0.5) / scale.1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENCV: &str = "%YAML:1.0\n---\nimage_width: 1280\nimage_height: 720\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ 1000., 0., 639.5, 0.,\n       1000., 359.5, 0., 0., 1. ]\ndistortion_coefficients: !!opencv-matrix\n   rows: 5\n   cols: 1\n   dt: d\n   data: [ -2.5e-01, 8.0e-02, 1.0e-03,\n       -5.0e-04, -1.0e-02 ]\n";
    const ROS: &str = "image_width: 1280\nimage_height: 720\ncamera_name: narrow\ncamera_matrix:\n  rows: 3\n  cols: 3\n  data: [1000, 0, 639.5, 0, 1000, 359.5, 0, 0, 1]\ndistortion_model: plumb_bob\ndistortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [-0.25, 0.08, 0.001, -0.0005, -0.01]\n";
    const JSON: &str = r#"{"image_width": 1280, "image_height": 720, "camera_matrix": [[1000, 0, 639.5], [0, 1000, 359.5], [0, 0, 1]],
        "distortion_coefficients": [-0.25, 0.08, 0.001, -0.0005, -0.01]}"#;

    #[test]
    #[expect(clippy::float_cmp, reason = "they are read, and not computed")]
    fn calibrations_are_read_as_programs_write_them() {
        let camera = Camera::parse(OPENCV).expect("a camera");
        assert_eq!((camera.focal, camera.centre), ((1000.0, 1000.0), (639.5, 359.5)));
        assert_eq!(camera.distortion, [-0.25, 0.08, 0.001, -0.0005, -0.01, 0.0, 0.0, 0.0]);
        assert_eq!((Camera::parse(ROS), Camera::parse(JSON)), (Ok(camera), Ok(camera)));
        for (text, problem) in [
            ("image_width: 3", "there is no image_height"),
            ("{}", "there is no image_width"),
            ("width: 1\nheight: 1\nK: [1, 2]", "camera_matrix has fewer than 9 numbers"),
            ("width: 1\nheight: 1\nK: [0,0,0,0,0,0,0,0,1]", "size and focal lengths have to be above 0"),
        ] {
            assert_eq!(Camera::parse(text).expect_err("no camera"), problem);
        }
    }

    #[test]
    fn distortion_is_taken_away() {
        let camera = Camera::parse(OPENCV).expect("a camera");
        let lens =
            |width: f64| Lens::of(&Known::default(), Some(&camera), None, (width, width * 0.5625)).expect("a lens");
        for (x, y) in [(0.0, 0.0), (0.3, -0.2), (-0.6, 0.33), (0.63, 0.35)] {
            let (dx, dy) = camera.distort(x, y);
            let (u, v) = (dx * 1000.0 + 640.0, dy * 1000.0 + 360.0);
            for (lens, by) in [(lens(1280.0), 1.0), (lens(640.0), 0.5)] {
                let [ahead, right, down] = lens.direction(u * by, v * by);
                assert!((right / ahead - x).abs() < 1e-9 && (down / ahead - y).abs() < 1e-9, "{x} {y}: {right} {down}");
            }
        }
    }

    #[test]
    fn a_field_of_view_follows_from_what_is_known() {
        let tangent = |known: Known| match Lens::of(&known, None, None, (1600.0, 900.0)) {
            Ok(Lens::Pinhole { tangent, .. }) => Ok(tangent),
            Ok(Lens::Calibrated { .. }) => panic!("it is not calibrated"),
            Err(error) => Err(error),
        };
        let across = Known { hfov_deg: Some(90.0), ..Known::default() };
        let (right, down) = tangent(across).expect("a lens");
        assert!((right - 1.0).abs() < 1e-12 && (down - 0.5625).abs() < 1e-12);
        let focal = Known { focal_35mm: Some(24.0), ..Known::default() };
        let (right, down) = tangent(focal).expect("a lens");
        // 84° across the diagonal.
        let diagonal = 2.0 * right.hypot(down).atan().to_degrees();
        assert!((diagonal - 84.06).abs() < 0.01 && (down / right - 0.5625).abs() < 1e-12, "{diagonal}");
        assert_eq!(tangent(Known::default()), Err(Unlocated::NoFieldOfView));
    }
}
