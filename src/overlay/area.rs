//! Rectangles of whole pixels, as they are drawn.

/// A rectangle of whole luma pixels, right and bottom exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Area {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl Area {
    /// First column beyond it.
    pub fn right(self) -> i32 {
        self.x + self.width
    }

    /// First row beyond it.
    pub fn bottom(self) -> i32 {
        self.y + self.height
    }

    /// How many pixels it has.
    pub fn pixels(self) -> i64 {
        i64::from(self.width.max(0)) * i64::from(self.height.max(0))
    }

    /// How many pixels it has in common with `other`.
    pub fn shared(self, other: Self) -> i64 {
        let width = self.right().min(other.right()) - self.x.max(other.x);
        let height = self.bottom().min(other.bottom()) - self.y.max(other.y);
        i64::from(width.max(0)) * i64::from(height.max(0))
    }

    /// Larger by so many pixels on every side.
    pub fn grown(self, by: i32) -> Self {
        Self { x: self.x - by, y: self.y - by, width: self.width + 2 * by, height: self.height + 2 * by }
    }

    /// Whether all of it lies in `other`.
    pub fn within(self, other: Self) -> bool {
        self.x >= other.x && self.y >= other.y && self.right() <= other.right() && self.bottom() <= other.bottom()
    }
}
