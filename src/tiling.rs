//! Tiles: parts of a frame that the model sees enlarged, so that small objects keep enough pixels.
//!
//! A grid's tiles are all of one size, begin at even pixels (chroma is halved), and overlap: an object up to the overlap's
//! size lies whole in some tile, wherever it is.

use std::fmt;
use std::str::FromStr;

use crate::geometry::{Region, Size};

/// Overlap of neighbouring tiles when nothing else is said, as a share of their side.
const OVERLAP: f64 = 0.2;
/// Most tiles along one side.
const MOST_A_SIDE: u32 = 8;
/// `auto` adds tiles until the model sees the frame shrunk no further than this. Finer grids cost their tiles' share of
/// the frame rate for little: `val` on `VisDrone` shows what each gains.
const AUTO_SCALE: f64 = 0.5;

/// A grid of tiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Tiles across, from 1.
    pub columns: u32,
    /// Tiles down, from 1.
    pub rows: u32,
    /// Share of a tile's side that its neighbour covers as well, `0..=0.5`.
    pub overlap: f64,
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}@{}", self.columns, self.rows, self.overlap)
    }
}

impl Grid {
    /// Size of its tiles in frames of size `frame`, never larger than those.
    #[must_use]
    pub fn tile(&self, frame: Size) -> Size {
        let side = |length: u32, count: u32| {
            let tile = f64::from(length) / (f64::from(count) - f64::from(count - 1) * self.overlap);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the frame's side")]
            let tile = if count == 1 { length } else { tile.ceil() as u32 + 2 };
            // Two more, as tiles begin at even pixels. Odd where the frame is: so the last tile begins at an even pixel too.
            (tile + (tile + length) % 2).min(length)
        };
        Size { width: side(frame.width, self.columns), height: side(frame.height, self.rows) }
    }

    /// Its tiles, row by row; together they cover the frame.
    pub fn tiles(&self, frame: Size) -> impl Iterator<Item = Region> {
        let size = self.tile(frame);
        let grid = *self;
        (0..grid.rows).flat_map(move |row| {
            (0..grid.columns).map(move |column| Region {
                left: origin(column, grid.columns, frame.width - size.width),
                top: origin(row, grid.rows, frame.height - size.height),
                size,
            })
        })
    }

    /// Number of tiles.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.columns * self.rows
    }
}

/// Where tile `number` of `count` begins, when the last one begins at `last`, an even pixel.
fn origin(number: u32, count: u32, last: u32) -> u32 {
    (last * number / (count - 1).max(1)) & !1
}

/// How frames are to be tiled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tiling {
    /// As few tiles as keep the model's view from shrinking the frame below half.
    Auto {
        /// As in [`Grid`].
        overlap: f64,
    },
    /// At most so many tiles, of the frame's shape as nearly as can be.
    AtMost {
        /// Tiles.
        count: u32,
        /// As in [`Grid`].
        overlap: f64,
    },
    /// This grid.
    Grid(Grid),
}

/// A text that is no [`Tiling`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "give auto, a number of tiles or COLSxROWS, up to {MOST_A_SIDE} a side, with an overlap from 0 to 0.5 after an @ if you \
     like: auto, 4, 3x2, 3x2@0.25"
)]
pub struct NoTiling;

impl FromStr for Tiling {
    type Err = NoTiling;

    fn from_str(text: &str) -> Result<Self, NoTiling> {
        let expected = || NoTiling;
        let (grid, overlap) = match text.split_once('@') {
            Some((grid, overlap)) => (grid, overlap.parse().map_err(|_| expected())?),
            None => (text, OVERLAP),
        };
        if !(0.0..=0.5).contains(&overlap) {
            return Err(expected());
        }
        let number = |text: &str, most| text.parse().ok().filter(|n| (1..=most).contains(n)).ok_or_else(expected);
        Ok(match grid.split_once(['x', 'X']) {
            _ if grid == "auto" => Self::Auto { overlap },
            Some((columns, rows)) => {
                Self::Grid(Grid { columns: number(columns, MOST_A_SIDE)?, rows: number(rows, MOST_A_SIDE)?, overlap })
            }
            None => Self::AtMost { count: number(grid, MOST_A_SIDE * MOST_A_SIDE)?, overlap },
        })
    }
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto { overlap } => write!(f, "auto@{overlap}"),
            Self::AtMost { count, overlap } => write!(f, "{count}@{overlap}"),
            Self::Grid(grid) => grid.fmt(f),
        }
    }
}

impl Tiling {
    /// The grid for frames of size `frame`, which the model sees inside `input`.
    #[must_use]
    pub fn grid(&self, frame: Size, input: Size) -> Grid {
        match *self {
            Self::Grid(grid) => grid,
            Self::AtMost { count, overlap } => best(frame, count, overlap),
            Self::Auto { overlap } => {
                let square = |n| Grid { columns: n, rows: n, overlap };
                let enough = |grid: &Grid| scale(grid.tile(frame), input) >= AUTO_SCALE;
                (1..MOST_A_SIDE).map(square).find(enough).unwrap_or_else(|| square(MOST_A_SIDE))
            }
        }
    }
}

/// Of the grids of at most `most` tiles the one with most tiles, of those the one whose tiles are most like the frame; of two
/// as like, the one with the squarer tiles.
fn best(frame: Size, most: u32, overlap: f64) -> Grid {
    let share = |count: u32| f64::from(count) - f64::from(count - 1) * overlap;
    let unlike = |grid: &Grid| (share(grid.columns) / share(grid.rows)).ln().abs();
    let badness = |grid: &Grid| {
        let (across, down) = (f64::from(frame.width) / share(grid.columns), f64::from(frame.height) / share(grid.rows));
        unlike(grid) + 0.01 * (across / down).ln().abs()
    };
    let grids =
        (1..=MOST_A_SIDE).flat_map(|columns| (1..=MOST_A_SIDE).map(move |rows| Grid { columns, rows, overlap }));
    grids
        // Slivers show nothing: a tile may be half or twice as wide as the frame's shape, no more.
        .filter(|grid| grid.count() <= most && unlike(grid) < 0.75)
        .max_by(|a, b| a.count().cmp(&b.count()).then(badness(b).total_cmp(&badness(a))))
        .unwrap_or(Grid { columns: 1, rows: 1, overlap })
}

/// Tensor pixels per frame pixel.
fn scale(frame: Size, input: Size) -> f64 {
    (f64::from(input.width) / f64::from(frame.width)).min(f64::from(input.height) / f64::from(frame.height))
}

/// The grids to fall back on when time is short, coarse to fine, ending with `grid`; none is the whole frame alone.
#[must_use]
pub fn coarser(grid: Grid, frame: Size) -> Vec<Option<Grid>> {
    let mut levels = vec![None];
    for count in [4, 9, 16, 36] {
        let coarse = best(frame, count, grid.overlap);
        if coarse.count() < grid.count()
            && coarse.count() > levels.last().copied().flatten().map_or(1, |g: Grid| g.count())
        {
            levels.push(Some(coarse));
        }
    }
    if grid.count() > 1 {
        levels.push(Some(grid));
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HD: Size = Size { width: 1920, height: 1080 };
    const INPUT: Size = Size { width: 640, height: 640 };

    #[test]
    fn what_people_write_is_understood() {
        assert_eq!("auto".parse(), Ok(Tiling::Auto { overlap: 0.2 }));
        assert_eq!("4@0".parse(), Ok(Tiling::AtMost { count: 4, overlap: 0.0 }));
        let grid = Grid { columns: 3, rows: 2, overlap: 0.25 };
        assert_eq!("3x2@0.25".parse(), Ok(Tiling::Grid(grid)));
        for wrong in ["", "0", "65", "3x", "0x2", "9x1", "2x2@0.6", "2x2@-1", "2x2@nan", "2x2@", "-1", "a"] {
            assert!(wrong.parse::<Tiling>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn auto_tiles_what_would_be_shrunk_below_half() {
        let auto = Tiling::Auto { overlap: 0.2 };
        let tiles = |frame| auto.grid(frame, INPUT).count();
        assert_eq!(tiles(HD), 4);
        assert_eq!(tiles(Size { width: 640, height: 480 }), 1);
        assert_eq!(tiles(Size { width: 3840, height: 2160 }), 16);
    }

    #[test]
    fn a_number_of_tiles_becomes_a_grid_like_the_frame() {
        let grid = |count, frame| {
            let Grid { columns, rows, .. } = Tiling::AtMost { count, overlap: 0.2 }.grid(frame, INPUT);
            (columns, rows)
        };
        assert_eq!(grid(4, HD), (2, 2));
        assert_eq!(grid(9, HD), (3, 3));
        assert_eq!(grid(1, HD), (1, 1));
        assert_eq!(grid(2, Size { width: 1000, height: 500 }), (2, 1));
        assert_eq!(grid(2, Size { width: 500, height: 1000 }), (1, 2));
    }

    #[test]
    fn time_pressure_goes_down_step_by_step() {
        let grid = Grid { columns: 4, rows: 4, overlap: 0.2 };
        let counts: Vec<u32> = coarser(grid, HD).iter().map(|g| g.map_or(0, |g| g.count())).collect();
        assert_eq!(counts, [0, 4, 9, 16]);
        let one = Grid { columns: 1, rows: 1, overlap: 0.2 };
        assert_eq!(coarser(one, HD), [None]);
    }

    proptest! {
        #[test]
        fn an_object_up_to_the_overlap_is_whole_in_some_tile(
            width in 16u32..4000, height in 16u32..3000, columns in 1u32..=8, rows in 1u32..=8, overlap in 0.0f64..=0.5,
            x in 0.0f64..1.0, y in 0.0f64..1.0, w in 0.0f64..1.0, h in 0.0f64..1.0,
        ) {
            let frame = Size { width, height };
            let grid = Grid { columns, rows, overlap };
            let tile = grid.tile(frame);
            let limit = |side: u32| (f64::from(side) * overlap - 2.0).max(0.0);
            let (w, h) = (w * limit(tile.width), h * limit(tile.height));
            let (x, y) = (x * (f64::from(width) - w), y * (f64::from(height) - h));
            let inside = |from: f64, size: f64, start: u32, end: u32| f64::from(start) <= from && from + size <= f64::from(end);
            let holds = |t: &Region| inside(x, w, t.left, t.right()) && inside(y, h, t.top, t.bottom());
            prop_assert!(grid.tiles(frame).any(|t| holds(&t)), "{grid} of {frame:?}: {x},{y} {w}x{h}");
        }

        #[test]
        fn tiles_begin_at_even_pixels_and_cover_the_frame(
            width in 1u32..4000, height in 1u32..3000, columns in 1u32..=8, rows in 1u32..=8, overlap in 0.0f64..=0.5,
        ) {
            let frame = Size { width, height };
            let grid = Grid { columns, rows, overlap };
            let tiles: Vec<Region> = grid.tiles(frame).collect();
            prop_assert_eq!(tiles.len(), grid.count() as usize);
            for pair in tiles.windows(2) {
                prop_assert!(pair[1].left <= pair[0].right() && pair[1].top <= pair[0].bottom());
            }
            let end = |of: fn(&Region) -> u32| tiles.iter().map(of).max();
            prop_assert_eq!((end(Region::right), end(Region::bottom)), (Some(width), Some(height)));
            for tile in &tiles {
                prop_assert_eq!((tile.left % 2, tile.top % 2), (0, 0));
            }
        }
    }
}
