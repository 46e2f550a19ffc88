//! Terrain models: tiles of elevations above sea level, one a degree (SRTM's `.hgt`).

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::ellipsoid::{Geodetic, dot};
use super::ray::{FARTHEST, Ray, Unlocated};

/// Tiles in memory, at most: 26 MB each at one arc second.
const TILES: usize = 16;
/// Where there is no elevation.
const VOID: i16 = i16::MIN;
/// The highest ground there is, m.
const HIGHEST: f64 = 8_900.0;
/// The ray's end is found to within this, m.
const PRECISION: f64 = 0.05;

/// A folder of tiles.
#[derive(Debug)]
pub struct Terrain {
    /// By the degrees of their south west corner, latitude first.
    files: HashMap<(i32, i32), PathBuf>,
    tiles: Mutex<Tiles>,
}

#[derive(Debug, Default)]
struct Tiles {
    /// The one that was used last at the end.
    loaded: Vec<((i32, i32), Arc<Tile>)>,
}

/// The elevations of a degree, rows from north to south.
#[derive(Debug)]
struct Tile {
    side: usize,
    elevations: Vec<i16>,
}

/// Why a folder is no terrain model.
#[derive(Debug, thiserror::Error)]
pub enum TerrainError {
    /// It cannot be read.
    #[error("--terrain {}: {source}\n  name a folder of .hgt files", path.display())]
    Unreadable {
        /// Folder or file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It has no tiles.
    #[error("--terrain {}: there are no .hgt files\n  name a folder of SRTM tiles, called as N34W087.hgt", .0.display())]
    NoTiles(PathBuf),
    /// A file has another size.
    #[error("--terrain {}: {size} bytes are no tile of 1201 or 3601 elevations a side\n  download it again", path.display())]
    NoTile {
        /// The file.
        path: PathBuf,
        /// Bytes.
        size: u64,
    },
}

impl Terrain {
    /// The tiles of a folder; they are read when they are needed.
    ///
    /// # Errors
    /// When there are none, or one has another size than tiles have.
    pub fn open(folder: &Path) -> Result<Self, TerrainError> {
        let unreadable = |path: &Path, source| TerrainError::Unreadable { path: path.to_owned(), source };
        let mut files = HashMap::new();
        for entry in std::fs::read_dir(folder).map_err(|e| unreadable(folder, e))? {
            let path = entry.map_err(|e| unreadable(folder, e))?.path();
            let Some(corner) = path.file_name().and_then(|name| corner(name.to_str()?)) else { continue };
            let size = std::fs::metadata(&path).map_err(|e| unreadable(&path, e))?.len();
            if side(size).is_none() {
                return Err(TerrainError::NoTile { path, size });
            }
            files.insert(corner, path);
        }
        if files.is_empty() {
            return Err(TerrainError::NoTiles(folder.to_owned()));
        }
        Ok(Self { files, tiles: Mutex::default() })
    }

    /// The ground's elevation, m above sea level; `None` where no tile has it.
    #[must_use]
    pub fn elevation(&self, lat_deg: f64, lon_deg: f64) -> Option<f64> {
        #[expect(clippy::cast_possible_truncation, reason = "degrees of the earth")]
        let corner = (lat_deg.floor() as i32, lon_deg.floor() as i32);
        let tile = self.tile(corner)?;
        tile.elevation(lat_deg - f64::from(corner.0), lon_deg - f64::from(corner.1))
    }

    fn tile(&self, corner: (i32, i32)) -> Option<Arc<Tile>> {
        let path = self.files.get(&corner)?;
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = tiles.loaded.iter().position(|(known, _)| *known == corner) {
            if at + 1 < tiles.loaded.len() {
                let used = tiles.loaded.remove(at);
                tiles.loaded.push(used);
            }
            return tiles.loaded.last().map(|(_, tile)| tile.clone());
        }
        // One that went since is as one that never was.
        let tile = Arc::new(Tile::read(path)?);
        if tiles.loaded.len() == TILES {
            tiles.loaded.remove(0);
        }
        tiles.loaded.push((corner, tile.clone()));
        Some(tile)
    }

    /// Where a ray from a camera `height_m` above the ellipsoid first meets the ground, and how far that is. `geoid_m` is the height of sea
    /// level above the ellipsoid. It goes on in steps that are shorter near the ground, half a cell at least, and halves the last one.
    pub(super) fn hit(&self, ray: &Ray, height_m: f64, geoid_m: f64) -> Result<(Geodetic, f64), Unlocated> {
        let start = Geodetic::of(ray.origin);
        let clearance = |distance: f64| {
            let point = Geodetic::of(ray.at(distance));
            let ground = self.elevation(point.lat_deg, point.lon_deg).ok_or(Unlocated::NoTerrain)? + geoid_m;
            Ok::<_, Unlocated>((point.height_m - ground, Geodetic { height_m: ground, ..point }))
        };
        if height_m <= self.elevation(start.lat_deg, start.lon_deg).ok_or(Unlocated::NoTerrain)? + geoid_m {
            return Err(Unlocated::NotAboveGround);
        }
        let down = -dot(ray.direction, start.up());
        let (mut above, mut distance) = (0.0, 0.0);
        loop {
            let (clear, ground) = clearance(distance)?;
            if clear <= 0.0 {
                break;
            }
            let rises = dot(ray.direction, ground.up()) >= 0.0;
            if distance > FARTHEST || (rises && ground.height_m + clear - geoid_m > HIGHEST) {
                return Err(if down <= 0.0 { Unlocated::AboveHorizon } else { Unlocated::BeyondHorizon });
            }
            above = distance;
            // No slope of a cell is steeper than this on the way to the ground.
            distance += (clear / 4.0).clamp(5.0, 500.0);
        }
        let mut below = distance;
        while below - above > PRECISION {
            let middle = f64::midpoint(above, below);
            if clearance(middle)?.0 > 0.0 { above = middle } else { below = middle }
        }
        Ok((clearance(below)?.1, below))
    }
}

impl Tile {
    fn read(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(64 << 20).read_to_end(&mut bytes).ok()?;
        let side = side(bytes.len() as u64)?;
        let elevations = bytes.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
        Some(Self { side, elevations })
    }

    /// Between the four elevations around a point, parts of a degree north and east of the south west corner.
    fn elevation(&self, north: f64, east: f64) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "3600 at most")]
        let last = (self.side - 1) as f64;
        let (row, column) = ((1.0 - north) * last, east * last);
        let (top, left) = (row.floor().clamp(0.0, last - 1.0), column.floor().clamp(0.0, last - 1.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the tile")]
        let at = top as usize * self.side + left as usize;
        let corners = [at, at + 1, at + self.side, at + self.side + 1].map(|at| self.elevations[at]);
        if corners.contains(&VOID) {
            return None;
        }
        let [a, b, c, d] = corners.map(f64::from);
        let (x, y) = (column - left, row - top);
        Some((a * (1.0 - x) + b * x) * (1.0 - y) + (c * (1.0 - x) + d * x) * y)
    }
}

/// Elevations a side of a tile of so many bytes.
fn side(bytes: u64) -> Option<usize> {
    [1201, 3601].into_iter().find(|side: &usize| bytes == 2 * (side * side) as u64)
}

/// The south west corner that a file's name says: `N34W087.hgt`.
fn corner(name: &str) -> Option<(i32, i32)> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_suffix(".HGT").filter(|name| name.is_ascii() && name.len() == 7)?;
    let signed = |part: &str, plus: char, minus: char| {
        let degrees: i32 = part[1..].parse().ok()?;
        match part.chars().next()? {
            sign if sign == plus => Some(degrees),
            sign if sign == minus => Some(-degrees),
            _ => None,
        }
    };
    Some((signed(&name[..3], 'N', 'S')?, signed(&name[3..], 'E', 'W')?))
}
