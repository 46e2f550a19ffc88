//! What is known of a camera at one moment, whatever said it.

/// What said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// MISB ST 0601, UAS Datalink Local Set.
    #[default]
    Misb0601,
    /// DJI's subtitles, in the container or beside it.
    DjiSrt,
    /// `GoPro`'s GPMF track.
    Gpmf,
}

impl Origin {
    /// As it is written in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Misb0601 => "misb0601",
            Self::DjiSrt => "dji_srt",
            Self::Gpmf => "gpmf",
        }
    }
}

/// What an altitude is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Datum {
    /// Mean sea level (the geoid).
    #[default]
    Msl,
    /// The WGS84 ellipsoid.
    Ellipsoid,
    /// It does not say.
    Unstated,
}

/// Angles of the platform, degrees. Heading is clockwise from true north, pitch is nose up, roll is right wing down.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Attitude {
    /// 0..360.
    pub heading_deg: f64,
    /// −90..90.
    pub pitch_deg: f64,
    /// −180..180.
    pub roll_deg: f64,
}

/// Where the camera looks, degrees. Elevation is up, −90 is straight down; roll is clockwise as seen from behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gimbal {
    /// Clockwise: from the nose, or from true north.
    pub azimuth_deg: f64,
    /// From the platform's plane, or from the horizon.
    pub elevation_deg: f64,
    /// About the line of sight.
    pub roll_deg: f64,
    /// Whether the angles are those from the platform.
    pub is_relative: bool,
}

/// What is known at one moment. Everything but the origin may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Known {
    /// What said it.
    pub origin: Origin,
    /// Microseconds since 1970, UTC.
    pub time_us: Option<u64>,
    /// Degrees, WGS84.
    pub lat: Option<f64>,
    /// Degrees, WGS84, −180..180.
    pub lon: Option<f64>,
    /// Of the camera, above `datum`.
    pub alt_m: Option<f64>,
    /// What `alt_m` and `ground_m` are measured from.
    pub datum: Datum,
    /// Of the camera above the place it took off from.
    pub height_m: Option<f64>,
    /// Of the platform.
    pub attitude: Option<Attitude>,
    /// Of the camera.
    pub gimbal: Option<Gimbal>,
    /// Horizontal field of view, degrees.
    pub hfov_deg: Option<f64>,
    /// Vertical field of view, degrees.
    pub vfov_deg: Option<f64>,
    /// Focal length for 35 mm film that has the same diagonal field of view.
    pub focal_35mm: Option<f64>,
    /// Elevation of the ground in the middle of the picture, above `datum`.
    pub ground_m: Option<f64>,
}

impl Known {
    /// The same, with what `before` says where it says nothing.
    #[must_use]
    pub fn or(self, before: &Self) -> Self {
        // A height and what it is measured from belong together.
        let (alt_m, ground_m, datum) = match self.alt_m {
            Some(_) if self.datum == before.datum => (self.alt_m, self.ground_m.or(before.ground_m), self.datum),
            Some(_) => (self.alt_m, self.ground_m, self.datum),
            None => (before.alt_m, before.ground_m, before.datum),
        };
        Self {
            origin: self.origin,
            time_us: self.time_us.or(before.time_us),
            lat: self.lat.or(before.lat),
            lon: self.lon.or(before.lon),
            alt_m,
            datum,
            height_m: self.height_m.or(before.height_m),
            attitude: self.attitude.or(before.attitude),
            gimbal: self.gimbal.or(before.gimbal),
            hfov_deg: self.hfov_deg.or(before.hfov_deg),
            vfov_deg: self.vfov_deg.or(before.vfov_deg),
            focal_35mm: self.focal_35mm.or(before.focal_35mm),
            ground_m,
        }
    }
}
