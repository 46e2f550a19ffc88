//! Where the camera is and how it is turned.

use super::ellipsoid::{Vector, add, scale};
use super::ray::Unlocated;
use crate::telemetry::Known;

/// Rows of a rotation.
type Matrix = [Vector; 3];

/// A camera's position and attitude.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    pub lat_deg: f64,
    pub lon_deg: f64,
    pub height_m: f64,
    /// From the camera (boresight, right, down) to north, east, down.
    turn: Matrix,
    /// What a small change of each angle turns about, north, east, down: heading, pitch and roll of the platform; azimuth, elevation and
    /// roll of the camera.
    pub axes: [Vector; 6],
}

impl Pose {
    pub fn of(known: &Known) -> Result<Self, Unlocated> {
        let (lat_deg, lon_deg) = known.lat.zip(known.lon).ok_or(Unlocated::NoPosition)?;
        // Above the place it took off from, where nothing else is known.
        let height_m = known.alt_m.or(known.height_m).ok_or(Unlocated::NoAltitude)?;
        let gimbal = known.gimbal.ok_or(Unlocated::NoDirection)?;
        let platform = match (gimbal.is_relative, known.attitude) {
            (true, Some(attitude)) => [attitude.heading_deg, attitude.pitch_deg, attitude.roll_deg],
            (true, None) => return Err(Unlocated::NoDirection),
            (false, _) => [0.0; 3],
        };
        let camera = [gimbal.azimuth_deg, gimbal.elevation_deg, gimbal.roll_deg];
        let (platform, platform_axes) = turns(platform);
        let (camera, camera_axes) = turns(camera);
        // Of a gimbal that is stabilised against the horizon, the platform's pitch and roll are no part.
        let [a, b, c] = platform_axes;
        let [b, c] = if gimbal.is_relative { [b, c] } else { [[0.0; 3]; 2] };
        let [d, e, f] = camera_axes.map(|axis| apply(&platform, axis));
        Ok(Self { lat_deg, lon_deg, height_m, turn: times(&platform, &camera), axes: [a, b, c, d, e, f] })
    }

    /// A direction of the camera, north, east, down.
    pub fn turned(&self, camera: Vector) -> Vector {
        apply(&self.turn, camera)
    }
}

/// Rz(yaw)·Ry(pitch)·Rx(roll), and the axes that small changes of the three turn about.
fn turns([yaw, pitch, roll]: [f64; 3]) -> (Matrix, [Vector; 3]) {
    let [(sy, cy), (sp, cp), (sr, cr)] = [yaw, pitch, roll].map(|angle| angle.to_radians().sin_cos());
    let z = [[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]];
    let y = [[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]];
    let x = [[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]];
    let zy = times(&z, &y);
    (times(&zy, &x), [[0.0, 0.0, 1.0], apply(&z, [0.0, 1.0, 0.0]), apply(&zy, [1.0, 0.0, 0.0])])
}

fn apply(matrix: &Matrix, [x, y, z]: Vector) -> Vector {
    matrix.map(|[a, b, c]| a * x + b * y + c * z)
}

fn times(a: &Matrix, b: &Matrix) -> Matrix {
    a.map(|[x, y, z]| add(add(scale(b[0], x), scale(b[1], y)), scale(b[2], z)))
}
