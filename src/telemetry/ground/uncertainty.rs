//! How certain a position is, from how certain the inputs are.

use super::ellipsoid::{Geodetic, Vector, add, cross, dot, in_earth, scale};

/// Standard deviations of the inputs. The defaults are our assumptions for a small drone with a satellite receiver and a stabilised
/// gimbal: what a source states replaces them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uncertainty {
    /// Of the camera's position, in each direction.
    pub horizontal_m: f64,
    /// Of its height.
    pub vertical_m: f64,
    /// Of the platform's heading.
    pub heading_deg: f64,
    /// Of its pitch and roll.
    pub attitude_deg: f64,
    /// Of the gimbal's angles; where they are against north, `heading_deg` is added.
    pub gimbal_deg: f64,
    /// Of the field of view, parts of it.
    pub fov: f64,
    /// Of the ground's elevation.
    pub ground_m: f64,
    /// Of the point in the picture, across and down.
    pub pixels: f64,
}

impl Default for Uncertainty {
    fn default() -> Self {
        Self {
            horizontal_m: 2.0,
            vertical_m: 3.0,
            heading_deg: 2.0,
            attitude_deg: 0.5,
            gimbal_deg: 0.5,
            fov: 0.01,
            ground_m: 5.0,
            pixels: 2.0,
        }
    }
}

/// How a point is seen; directions are north, east and down at the camera.
pub(super) struct Sight {
    /// Those directions in the earth's frame.
    pub axes: [Vector; 3],
    /// What a small change of each angle turns about.
    pub turns: [Vector; 6],
    /// The ray.
    pub ned: Vector,
    /// How it changes with a pixel to the right and down.
    pub pixel: [Vector; 2],
    /// How it changes with the deviation of the field of view.
    pub zoom: Vector,
}

/// Where a position lies with a probability of 90 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ellipse {
    /// Half of its longer axis.
    pub major_m: f64,
    /// Half of its shorter axis.
    pub minor_m: f64,
    /// Of the longer axis, clockwise from north, 0..180.
    pub azimuth_deg: f64,
    /// Radius of the circle that has the same probability.
    pub ce90_m: f64,
}

/// 90 % of the χ² distribution with two degrees of freedom, its root.
const NINETY: f64 = 2.145_966;
/// Radius of the circle that holds 90 % of a normal distribution of two dimensions, in standard deviations of the longer axis, by the ratio
/// of the axes: 0, 0.05, …, 1.
const CIRCLE: [f64; 21] = [
    1.644_85, 1.645_61, 1.647_91, 1.651_79, 1.657_31, 1.664_61, 1.673_83, 1.685_23, 1.699_18, 1.716_26, 1.737_08,
    1.762_12, 1.791_52, 1.825_11, 1.862_53, 1.903_35, 1.947_16, 1.993_59, 2.042_36, 2.093_21, 2.145_97,
];
/// Beyond this the ground is too level for a linear answer: the ellipse would reach the horizon.
const STEEPEST: f64 = 3.0;

impl Uncertainty {
    /// The ellipse of a point that is seen so, at `hit`, so far away: each input's deviation moves it along the ground, and the squares
    /// add up.
    pub(super) fn ellipse(&self, sight: &Sight, hit: &Geodetic, distance: f64) -> Option<Ellipse> {
        let [north, east, down] = hit.north_east_down();
        let direction = in_earth(&sight.axes, sight.ned);
        let slope = dot(direction, down);
        // A ray that is turned by three deviations has to come down as well.
        let turned = (self.attitude_deg.max(self.gimbal_deg) * STEEPEST).to_radians();
        if slope <= turned.sin() {
            return None;
        }
        // What moves the end of the ray moves it along the ground: up or down it goes on along the ray.
        let along = |moved: Vector| {
            let moved = add(moved, scale(direction, -dot(moved, down) / slope));
            [dot(moved, north), dot(moved, east)]
        };
        let change = |ned: Vector, by: f64| along(scale(in_earth(&sight.axes, ned), by * distance));
        let turn = |axis: Vector, deg: f64| change(cross(axis, sight.ned), deg.to_radians());
        let [heading, pitch, roll, azimuth, elevation, gimbal_roll] = sight.turns;
        let heights = self.vertical_m.hypot(self.ground_m);
        let moves = [
            [self.horizontal_m, 0.0],
            [0.0, self.horizontal_m],
            along(scale(down, heights)),
            turn(heading, self.heading_deg),
            turn(pitch, self.attitude_deg),
            turn(roll, self.attitude_deg),
            turn(azimuth, self.gimbal_deg),
            turn(elevation, self.gimbal_deg),
            turn(gimbal_roll, self.gimbal_deg),
            change(sight.pixel[0], self.pixels),
            change(sight.pixel[1], self.pixels),
            change(sight.zoom, 1.0),
        ];
        let sum = |part: fn([f64; 2]) -> f64| moves.map(part).iter().sum::<f64>();
        Some(Ellipse::of(sum(|[n, _]| n * n), sum(|[_, e]| e * e), sum(|[n, e]| n * e)))
    }
}

impl Ellipse {
    /// Of the variances to the north and to the east, and their covariance.
    fn of(north: f64, east: f64, both: f64) -> Self {
        let (middle, half) = (f64::midpoint(north, east), ((north - east) / 2.0).hypot(both));
        let [major, minor] = [middle + half, (middle - half).max(0.0)].map(f64::sqrt);
        let azimuth_deg = ((2.0 * both).atan2(north - east) / 2.0).to_degrees().rem_euclid(180.0);
        Self {
            major_m: major * NINETY,
            minor_m: minor * NINETY,
            azimuth_deg,
            ce90_m: major * circle(if major > 0.0 { minor / major } else { 1.0 }),
        }
    }
}

/// By the ratio of the axes, 0 to 1.
fn circle(ratio: f64) -> f64 {
    let steps = 20.0;
    let place = (ratio * steps).clamp(0.0, steps);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 19")]
    let at = place.floor().min(steps - 1.0) as usize;
    let part = place - place.floor().min(steps - 1.0);
    CIRCLE[at] + (CIRCLE[at + 1] - CIRCLE[at]) * part
}
