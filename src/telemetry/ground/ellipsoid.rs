//! WGS84.

/// Semi-major axis, m, and flattening.
const A: f64 = 6_378_137.0;
const F: f64 = 1.0 / 298.257_223_563;
const E2: f64 = F * (2.0 - F);

/// In a frame that the context says.
pub(super) type Vector = [f64; 3];

pub(super) fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(super) fn scale(a: Vector, by: f64) -> Vector {
    a.map(|part| part * by)
}

pub(super) fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// A vector of the local axes (north, east, down), in the earth's frame.
pub(super) fn in_earth([n, e, d]: &[Vector; 3], ned: Vector) -> Vector {
    add(add(scale(*n, ned[0]), scale(*e, ned[1])), scale(*d, ned[2]))
}

/// A point by its geodetic coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Geodetic {
    pub lat_deg: f64,
    pub lon_deg: f64,
    /// Above the ellipsoid.
    pub height_m: f64,
}

impl Geodetic {
    /// The point `[x, y, z]`, earth-centred and earth-fixed, m.
    pub fn of([x, y, z]: Vector) -> Self {
        let p = x.hypot(y);
        // Bowring's formula, twice: exact to nanometres at any height of an aircraft.
        let mut reduced = z.atan2(p * (1.0 - F));
        let mut lat = 0.0;
        for _ in 0..2 {
            let (sin, cos) = reduced.sin_cos();
            lat = (z + E2 / (1.0 - E2) * A * (1.0 - F) * sin.powi(3)).atan2(p - E2 * A * cos.powi(3));
            let (sin, cos) = lat.sin_cos();
            reduced = ((1.0 - F) * sin).atan2(cos);
        }
        let (sin, cos) = lat.sin_cos();
        let height_m = p * cos + z * sin - A * (1.0 - E2 * sin * sin).sqrt();
        Self { lat_deg: lat.to_degrees(), lon_deg: y.atan2(x).to_degrees(), height_m }
    }

    /// Earth-centred, earth-fixed, m.
    pub fn to_earth(self) -> Vector {
        let (lat_sin, lat_cos) = self.lat_deg.to_radians().sin_cos();
        let (lon_sin, lon_cos) = self.lon_deg.to_radians().sin_cos();
        let n = A / (1.0 - E2 * lat_sin * lat_sin).sqrt();
        let across = (n + self.height_m) * lat_cos;
        [across * lon_cos, across * lon_sin, (n * (1.0 - E2) + self.height_m) * lat_sin]
    }

    /// The ellipsoid's normal.
    pub fn up(self) -> Vector {
        scale(self.north_east_down()[2], -1.0)
    }

    /// The local axes, in the earth's frame.
    pub fn north_east_down(self) -> [Vector; 3] {
        let (lat_sin, lat_cos) = self.lat_deg.to_radians().sin_cos();
        let (lon_sin, lon_cos) = self.lon_deg.to_radians().sin_cos();
        [
            [-lat_sin * lon_cos, -lat_sin * lon_sin, lat_cos],
            [-lon_sin, lon_cos, 0.0],
            [-lat_cos * lon_cos, -lat_cos * lon_sin, -lat_sin],
        ]
    }
}
