//! Lines of sight, and why one ends nowhere.

use super::ellipsoid::{Geodetic, Vector, add, dot, scale};

/// How far a ray is followed, m.
pub(super) const FARTHEST: f64 = 500_000.0;

/// Why a point of the picture has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unlocated {
    /// There is no packet for the frame, or it says no latitude and longitude.
    #[error("no camera position")]
    NoPosition,
    /// Neither altitude nor height above take-off.
    #[error("no camera altitude")]
    NoAltitude,
    /// Neither attitude and gimbal, nor a gimbal against north.
    #[error("no camera direction")]
    NoDirection,
    /// No field of view, focal length or calibration.
    #[error("no field of view")]
    NoFieldOfView,
    /// Nothing says how high the ground is.
    #[error("no ground elevation")]
    NoGround,
    /// No tile of the terrain model has it.
    #[error("no terrain there")]
    NoTerrain,
    /// Heights above the ellipsoid, and a terrain model above sea level.
    #[error("heights above the ellipsoid, and no geoid height")]
    NoGeoid,
    /// The ray goes up, or is level.
    #[error("above the horizon")]
    AboveHorizon,
    /// It passes above the curved ground.
    #[error("beyond the horizon")]
    BeyondHorizon,
    /// The camera is not above the ground.
    #[error("camera not above the ground")]
    NotAboveGround,
}

/// A line of sight in the earth's frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ray {
    pub origin: Vector,
    pub direction: Vector,
}

impl Ray {
    pub fn at(&self, distance: f64) -> Vector {
        add(self.origin, scale(self.direction, distance))
    }

    /// Where it first comes down to `ground_m` above the ellipsoid, from `height_m` of them, and how far that is.
    pub fn hit(&self, ground_m: f64, height_m: f64) -> Result<(Geodetic, f64), Unlocated> {
        if height_m <= ground_m {
            return Err(Unlocated::NotAboveGround);
        }
        let slope = |point: &Geodetic| dot(self.direction, point.up());
        let down = -slope(&Geodetic::of(self.origin));
        // Level to a millimetre in a thousand kilometres.
        if down <= 1e-9 {
            return Err(Unlocated::AboveHorizon);
        }
        // Newton's method from above the ground: over a convex surface it never passes the first crossing.
        let mut distance = 0.0;
        let mut point = Geodetic::of(self.origin);
        for _ in 0..60 {
            let left = point.height_m - ground_m;
            if left.abs() < 1e-6 {
                point.height_m = ground_m;
                return Ok((point, distance));
            }
            let down = -slope(&point);
            if down <= 0.0 || distance > FARTHEST {
                return Err(Unlocated::BeyondHorizon);
            }
            distance += left / down;
            point = Geodetic::of(self.at(distance));
        }
        Err(Unlocated::BeyondHorizon)
    }
}
