//! What lies where in a frame, by cell: a look at a small area costs what lies near it, not what is in the frame.

use super::area::Area;

/// Pixels a cell has a side, at least: a small label touches one to four.
const CELL: i32 = 48;
/// Cells across and down, at most.
const CELLS: i32 = 40;
/// What takes more cells than this is kept once, and met by every look: so the memory for an item is bounded.
const WIDE: i32 = 64;
/// No further item.
const END: u32 = u32::MAX;

/// Items by the cells that their areas touch.
#[derive(Default)]
pub(super) struct Grid {
    cell: i32,
    columns: i32,
    rows: i32,
    /// By cell: its newest link.
    heads: Vec<u32>,
    /// An item, and the link before.
    links: Vec<(u32, u32)>,
    wide: Vec<u32>,
}

impl Grid {
    /// Takes everything out, and covers `width` by `height` pixels.
    pub fn clear(&mut self, [width, height]: [i32; 2]) {
        self.cell = CELL.max(width.max(height) / CELLS + 1);
        self.columns = (width / self.cell + 1).max(1);
        self.rows = (height / self.cell + 1).max(1);
        self.heads.clear();
        self.heads.resize(usize::try_from(self.columns * self.rows).unwrap_or(0), END);
        self.links.clear();
        self.wide.clear();
    }

    pub fn insert(&mut self, area: Area, item: u32) {
        let (columns, rows) = self.cells(area);
        if (columns.end() - columns.start() + 1) * (rows.end() - rows.start() + 1) > WIDE {
            self.wide.push(item);
            return;
        }
        for row in rows {
            for column in columns.clone() {
                let at = self.index(column, row);
                let next = std::mem::replace(&mut self.heads[at], u32::try_from(self.links.len()).unwrap_or(END));
                self.links.push((item, next));
            }
        }
    }

    /// Whether `found` holds for an item that may touch `area`. An item of several cells is met several times.
    pub fn any(&self, area: Area, mut found: impl FnMut(u32) -> bool) -> bool {
        if self.wide.iter().any(|item| found(*item)) {
            return true;
        }
        let (columns, rows) = self.cells(area);
        for row in rows {
            for column in columns.clone() {
                let mut at = self.heads[self.index(column, row)];
                while let Some((item, next)) = self.links.get(at as usize) {
                    if found(*item) {
                        return true;
                    }
                    at = *next;
                }
            }
        }
        false
    }

    /// The columns and rows that it touches; beyond the frame, those at its edge.
    fn cells(&self, area: Area) -> (std::ops::RangeInclusive<i32>, std::ops::RangeInclusive<i32>) {
        let span = |start: i32, size: i32, count: i32| {
            let place = |at: i32| (at / self.cell).clamp(0, count - 1);
            place(start)..=place(start + size.max(1) - 1)
        };
        (span(area.x, area.width, self.columns), span(area.y, area.height, self.rows))
    }

    fn index(&self, column: i32, row: i32) -> usize {
        usize::try_from(row * self.columns + column).unwrap_or(0)
    }
}

#[cfg(test)]
impl Grid {
    /// What it holds, in items.
    pub fn memory(&self) -> usize {
        self.heads.capacity() + self.links.capacity() + self.wide.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn area() -> impl Strategy<Value = Area> {
        let side = || prop_oneof![0..60i32, 0..3000i32];
        (-50..2000i32, -50..1200i32, side(), side()).prop_map(|(x, y, width, height)| Area { x, y, width, height })
    }

    proptest! {
        #[test]
        fn a_look_meets_everything_that_it_touches(
            areas in proptest::collection::vec(area(), 0..60), looks in proptest::collection::vec(area(), 1..20)
        ) {
            let mut grid = Grid::default();
            for frame in [[1, 1], [1920, 1080]] {
                grid.clear(frame);
                for (number, area) in (0..).zip(&areas) {
                    grid.insert(*area, number);
                }
                for look in &looks {
                    let mut met = Vec::new();
                    grid.any(*look, |item| { met.push(item as usize); false });
                    for (number, area) in areas.iter().enumerate() {
                        prop_assert!(area.shared(*look) == 0 || met.contains(&number), "{look:?} {area:?}");
                    }
                }
            }
        }
    }
}
