//! From pixels to the ground: the ray through a point of the picture, cut with a surface of constant height or with a terrain model.
//!
//! WGS84 throughout. Heights above sea level are taken as if they were above the ellipsoid: camera and ground are measured from the same,
//! and what counts is their difference.

mod ellipsoid;
mod lens;
mod pose;
mod ray;
mod terrain;
mod uncertainty;

use std::sync::Arc;

use super::{Datum, Known};
use ellipsoid::{Geodetic, Vector, add, scale};
use lens::Lens;
pub use lens::{Camera, CameraError};
use pose::Pose;
use ray::Ray;
pub use ray::Unlocated;
pub use terrain::{Terrain, TerrainError};
use uncertainty::Sight;
pub use uncertainty::{Ellipse, Uncertainty};

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
        let uncertainty = &self.with.uncertainty;
        let change = |du: f64, dv: f64| add(self.direction(u + du, v + dv), scale(ned, -1.0));
        let (wide, high) = self.lens.off_centre(u, v);
        let sight = Sight {
            axes: self.axes,
            turns: self.pose.axes,
            ned,
            pixel: [change(1.0, 0.0), change(0.0, 1.0)],
            zoom: change(wide * uncertainty.fov, high * uncertainty.fov),
        };
        let error = uncertainty.ellipse(&sight, &hit, distance);
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
        ellipsoid::in_earth(&self.axes, ned)
    }
}

#[cfg(test)]
mod tests;
