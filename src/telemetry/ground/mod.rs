//! From pixels to the ground: the ray through a point of the picture, cut with a surface of constant height or with a terrain model.
//!
//! WGS84 throughout. Heights above sea level are taken as if they were above the ellipsoid: camera and ground are measured from the same,
//! and what counts is their difference.

mod ellipsoid;
mod lens;
mod pose;
mod terrain;
mod uncertainty;

use std::sync::Arc;

use super::{Datum, Known};
use ellipsoid::{Geodetic, Vector, add, dot, scale};
use lens::Lens;
pub use lens::{Camera, CameraError};
use pose::Pose;
pub use terrain::{Terrain, TerrainError};
pub use uncertainty::{Ellipse, Uncertainty};

/// How far a ray is followed, m.
const FARTHEST: f64 = 500_000.0;

/// What positions are computed with, besides what the telemetry says.
#[derive(Debug, Clone, Default)]
pub struct Geolocation {
    /// A calibrated camera, in place of the field of view that the telemetry says.
    pub camera: Option<Camera>,
    /// Horizontal field of view, degrees, where nothing else says it.
    pub hfov_deg: Option<f64>,
    /// Elevation of the ground, in place of what the telemetry says.
    pub ground_m: Option<f64>,
    /// Elevations above sea level.
    pub terrain: Option<Arc<Terrain>>,
    /// Height of the geoid above the ellipsoid, for a terrain model where the telemetry has heights above the ellipsoid.
    pub geoid_m: Option<f64>,
    /// How certain the inputs are.
    pub uncertainty: Uncertainty,
}

/// A place on the ground.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Degrees.
    pub lat: f64,
    /// Degrees, −180..180.
    pub lon: f64,
    /// Of the ground, above what the telemetry measures from.
    pub alt_m: f64,
    /// From the camera, along the ray.
    pub slant_m: f64,
    /// Where it lies with a probability of 90 %; `None` where the uncertainties reach the horizon.
    pub error: Option<Ellipse>,
}

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

/// A frame of which the camera is known.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    with: &'a Geolocation,
    pose: Pose,
    lens: Lens,
    origin: Vector,
    /// North, east and down at the camera, in the earth's frame.
    axes: [Vector; 3],
    ground_m: Option<f64>,
    /// Added to heights above sea level.
    geoid_m: f64,
}

impl Geolocation {
    /// A frame of `width`×`height` pixels of which `known` is known.
    ///
    /// # Errors
    /// What is missing.
    pub fn view(&self, known: &Known, (width, height): (f64, f64)) -> Result<View<'_>, Unlocated> {
        let pose = Pose::of(known)?;
        let lens = Lens::of(known, self.camera.as_ref(), self.hfov_deg, (width, height))?;
        let takeoff = known.height_m.map(|height| pose.height_m - height);
        let ground_m = self.ground_m.or(known.ground_m).or(takeoff);
        if ground_m.is_none() && self.terrain.is_none() {
            return Err(Unlocated::NoGround);
        }
        let geoid_m = match (&self.terrain, known.datum) {
            (Some(_), Datum::Ellipsoid) => self.geoid_m.ok_or(Unlocated::NoGeoid)?,
            _ => 0.0,
        };
        let here = Geodetic { lat_deg: pose.lat_deg, lon_deg: pose.lon_deg, height_m: pose.height_m };
        Ok(View { with: self, pose, lens, origin: here.to_earth(), axes: here.north_east_down(), ground_m, geoid_m })
    }
}

impl View<'_> {
    /// Where the point `(u, v)` is on the ground; pixels from the upper left corner of the picture.
    ///
    /// # Errors
    /// Why it is nowhere.
    pub fn locate(&self, u: f64, v: f64) -> Result<Position, Unlocated> {
        let ned = self.direction(u, v);
        let ray = Ray { origin: self.origin, direction: self.in_earth(ned) };
        let (hit, distance) = match &self.with.terrain {
            Some(terrain) => match terrain.hit(&ray, self.pose.height_m, self.geoid_m) {
                Err(Unlocated::NoTerrain) if self.ground_m.is_some() => self.plane(&ray)?,
                hit => hit?,
            },
            None => self.plane(&ray)?,
        };
        let error = self.with.uncertainty.ellipse(self, (u, v), ned, (&hit, distance));
        Ok(Position { lat: hit.lat_deg, lon: hit.lon_deg, alt_m: hit.height_m, slant_m: distance, error })
    }

    fn plane(&self, ray: &Ray) -> Result<(Geodetic, f64), Unlocated> {
        ray.hit(self.ground_m.ok_or(Unlocated::NoGround)?, self.pose.height_m)
    }

    /// The ray's direction, north, east and down.
    fn direction(&self, u: f64, v: f64) -> Vector {
        self.pose.turned(self.lens.direction(u, v))
    }

    fn in_earth(&self, ned: Vector) -> Vector {
        let [n, e, d] = self.axes;
        add(add(scale(n, ned[0]), scale(e, ned[1])), scale(d, ned[2]))
    }
}

/// A line of sight in the earth's frame.
#[derive(Debug, Clone, Copy)]
struct Ray {
    origin: Vector,
    direction: Vector,
}

impl Ray {
    fn at(&self, distance: f64) -> Vector {
        add(self.origin, scale(self.direction, distance))
    }

    /// Where it first comes down to `ground_m` above the ellipsoid, from `height_m` of them, and how far that is.
    fn hit(&self, ground_m: f64, height_m: f64) -> Result<(Geodetic, f64), Unlocated> {
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

#[cfg(test)]
mod tests;
