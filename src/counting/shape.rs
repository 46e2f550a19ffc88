//! Lines and zones: what is refused, and the geometry of points against them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::geometry::Size;

/// Lines and zones together, at most: each is a label of metrics and a share of every object's memory.
pub const MOST_SHAPES: usize = 64;
/// Corners of a zone, at most.
pub const MOST_CORNERS: usize = 256;
/// Longest name, characters: it is drawn in the frame.
const LONGEST_NAME: usize = 60;
/// No coordinate is larger, pixels: far beyond any frame, and their products stay exact.
const LARGEST: f64 = 1e6;

/// A point in pixels of the frame as displayed, y downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Pixels across.
    pub x: f64,
    /// Pixels down.
    pub y: f64,
}

impl Point {
    /// The same point in a frame of another size.
    #[must_use]
    pub(super) fn rescaled(self, from: Size, to: Size) -> Self {
        let ratio = |to: u32, from: u32| f64::from(to) / f64::from(from.max(1));
        Self { x: self.x * ratio(to.width, from.width), y: self.y * ratio(to.height, from.height) }
    }
}

/// Why a line or zone cannot be counted at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// It has no name that can be shown.
    #[error("a name has 1 to {LONGEST_NAME} characters, none of them `=` or a control character")]
    Name,
    /// Two of them share a name.
    #[error("`{0}` names two of them: give each line and zone a name of its own")]
    Twice(String),
    /// There are too many.
    #[error("{0} lines and zones: {MOST_SHAPES} are taken at most")]
    TooMany(usize),
    /// A coordinate is no number, or far outside of any frame.
    #[error("coordinates are numbers, from 0 to 1 of the frame's width and height, or pixels")]
    Number,
    /// Not an even number of coordinates, or not four for a line.
    #[error("{found} coordinates: give {expected}")]
    Coordinates {
        /// How many there are.
        found: usize,
        /// What is taken.
        expected: &'static str,
    },
    /// Both ends are one point.
    #[error("its ends are one point: give two that differ")]
    NoLength,
    /// Two corners, or fewer.
    #[error("a zone has 3 to {MOST_CORNERS} corners that differ, not {0}")]
    Corners(usize),
    /// Its border meets itself.
    #[error("its border meets itself at corner {0}: give the corners in the order in which one walks around it")]
    MeetsItself(usize),
}

/// Which unit coordinates are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// 0 to 1 of the frame's width and height.
    Normalised,
    /// Pixels of the frame as displayed.
    Pixels,
}

/// Points with their unit: normalised where no coordinate is above 1.
#[derive(Debug, Clone, PartialEq)]
struct Points {
    points: Vec<Point>,
    unit: Unit,
}

impl Points {
    fn new(points: &[[f64; 2]]) -> Result<Self, ShapeError> {
        if points.iter().flatten().any(|value| !value.is_finite() || value.abs() > LARGEST) {
            return Err(ShapeError::Number);
        }
        let normalised = points.iter().flatten().all(|value| value.abs() <= 1.0);
        let unit = if normalised { Unit::Normalised } else { Unit::Pixels };
        Ok(Self { points: points.iter().map(|[x, y]| Point { x: *x, y: *y }).collect(), unit })
    }

    fn on(&self, size: Size) -> Vec<Point> {
        let (width, height) = match self.unit {
            Unit::Normalised => (f64::from(size.width), f64::from(size.height)),
            Unit::Pixels => (1.0, 1.0),
        };
        self.points.iter().map(|point| Point { x: point.x * width, y: point.y * height }).collect()
    }

    /// Whether nothing of them can lie in a frame of this size.
    fn is_outside(&self, size: Size) -> bool {
        let points = self.on(size);
        let beyond = |axis: fn(&Point) -> f64, side: u32| {
            points.iter().all(|point| axis(point) < 0.0) || points.iter().all(|point| axis(point) > f64::from(side))
        };
        beyond(|point| point.x, size.width) || beyond(|point| point.y, size.height)
    }
}

/// A line from A to B. Who crosses it from the left to the right of somebody that walks from A to B goes in, the other way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    name: Arc<str>,
    ends: Points,
}

impl Line {
    /// A line from `a` to `b`.
    ///
    /// # Errors
    /// When it has no name, no length, or coordinates that are no numbers.
    pub fn new(name: &str, a: [f64; 2], b: [f64; 2]) -> Result<Self, ShapeError> {
        let (name, ends) = (checked(name)?, Points::new(&[a, b])?);
        if ends.points[0] == ends.points[1] {
            return Err(ShapeError::NoLength);
        }
        Ok(Self { name, ends })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// A and B in a frame of this size, pixels.
    #[must_use]
    pub fn on(&self, size: Size) -> [Point; 2] {
        let points = self.ends.on(size);
        [points[0], points[1]]
    }
}

/// A polygon whose border does not meet itself; the border belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: Arc<str>,
    corners: Points,
}

impl Zone {
    /// A zone of these corners, in the order of its border; the first may stand at the end once more.
    ///
    /// # Errors
    /// When it has no name, fewer than three corners, a border that meets itself, or coordinates that are no numbers.
    pub fn new(name: &str, corners: &[[f64; 2]]) -> Result<Self, ShapeError> {
        let (name, mut corners) = (checked(name)?, Points::new(corners)?);
        if corners.points.len() > 1 && corners.points.first() == corners.points.last() {
            corners.points.pop();
        }
        let count = corners.points.len();
        if !(3..=MOST_CORNERS).contains(&count) {
            return Err(ShapeError::Corners(count));
        }
        match meets_itself(&corners.points) {
            Some(at) => Err(ShapeError::MeetsItself(at + 1)),
            None => Ok(Self { name, corners }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its corners in a frame of this size, pixels.
    #[must_use]
    pub fn on(&self, size: Size) -> Vec<Point> {
        self.corners.on(size)
    }
}

/// Lines and zones whose names differ.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shapes {
    /// In the order in which they were given.
    pub lines: Vec<Line>,
    /// In the order in which they were given.
    pub zones: Vec<Zone>,
}

impl Shapes {
    /// These lines and zones.
    ///
    /// # Errors
    /// When two share a name, or there are too many.
    pub fn new(lines: Vec<Line>, zones: Vec<Zone>) -> Result<Self, ShapeError> {
        let count = lines.len() + zones.len();
        if count > MOST_SHAPES {
            return Err(ShapeError::TooMany(count));
        }
        let mut taken = HashSet::new();
        let names = lines.iter().map(Line::name).chain(zones.iter().map(Zone::name));
        if let Some(twice) = names.into_iter().find(|name| !taken.insert(name.to_string())) {
            return Err(ShapeError::Twice(twice.to_string()));
        }
        Ok(Self { lines, zones })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.zones.is_empty()
    }

    /// Names of those that no frame of this size shows: they can count nothing.
    #[must_use]
    pub fn outside(&self, size: Size) -> Vec<&str> {
        let lines = self.lines.iter().map(|line| (line.name.as_ref(), &line.ends));
        let zones = self.zones.iter().map(|zone| (zone.name.as_ref(), &zone.corners));
        lines.chain(zones).filter(|(_, points)| points.is_outside(size)).map(|(name, _)| name).collect()
    }

    /// Which lines and zones are in pixels: those move on the scene when the frame changes its size.
    pub(super) fn in_pixels(&self) -> (Vec<bool>, Vec<bool>) {
        let is = |points: &Points| points.unit == Unit::Pixels;
        (self.lines.iter().map(|line| is(&line.ends)).collect(), self.zones.iter().map(|z| is(&z.corners)).collect())
    }
}

fn checked(name: &str) -> Result<Arc<str>, ShapeError> {
    let count = name.chars().count();
    let taken = (1..=LONGEST_NAME).contains(&count) && !name.chars().any(|c| c == '=' || c.is_control());
    if taken && name.trim() == name { Ok(name.into()) } else { Err(ShapeError::Name) }
}

/// `(b − a) × (p − a)`, y downwards: above 0 where `p` is on the right-hand side of somebody who walks from `a` to `b`.
pub(super) fn turn(a: Point, b: Point, p: Point) -> f64 {
    (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x)
}

/// Whether the step from `from` to `to`, which lie on different sides of the line through `a` and `b`, meets it between them.
pub(super) fn meets(from: Point, to: Point, [a, b]: [Point; 2]) -> bool {
    // Only signs are compared: a product might vanish.
    let (of_a, of_b) = (turn(from, to, a), turn(from, to, b));
    !((of_a > 0.0 && of_b > 0.0) || (of_a < 0.0 && of_b < 0.0))
}

/// Whether `p` lies between `a` and `b` on the line through them, ends included.
fn is_between(a: Point, b: Point, p: Point) -> bool {
    let within = |a: f64, b: f64, p: f64| p >= a.min(b) && p <= a.max(b);
    within(a.x, b.x, p.x) && within(a.y, b.y, p.y) && turn(a, b, p) == 0.0
}

/// Whether `p` lies in the polygon, by the even-odd rule, or on its border: boxes are clipped to the frame, so that a zone up to
/// the frame's edge has feet on it.
pub(super) fn contains(corners: &[Point], p: Point) -> bool {
    let mut inside = false;
    let mut before = corners.len().saturating_sub(1);
    for at in 0..corners.len() {
        let (a, b) = (corners[at], corners[before]);
        if is_between(a, b, p) {
            return true;
        }
        if (a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x {
            inside = !inside;
        }
        before = at;
    }
    inside
}

/// Where the border of a polygon touches or crosses itself: the first corner of that edge.
fn meets_itself(corners: &[Point]) -> Option<usize> {
    let n = corners.len();
    let edge = |at: usize| (corners[at], corners[(at + 1) % n]);
    for first in 0..n {
        let (a, b) = edge(first);
        let (_, c) = edge((first + 1) % n);
        // The next edge must not lead back along this one.
        let back = (a.x - b.x) * (c.x - b.x) + (a.y - b.y) * (c.y - b.y);
        if a == b || (turn(a, b, c) == 0.0 && back >= 0.0) {
            return Some(first);
        }
        for second in first + 2..n {
            let is_neighbour = first == 0 && second == n - 1;
            if !is_neighbour && touch(edge(first), edge(second)) {
                return Some(first);
            }
        }
    }
    None
}

fn touch((a, b): (Point, Point), (c, d): (Point, Point)) -> bool {
    let opposite = |x: f64, y: f64| (x > 0.0 && y < 0.0) || (x < 0.0 && y > 0.0);
    let crosses = opposite(turn(a, b, c), turn(a, b, d)) && opposite(turn(c, d, a), turn(c, d, b));
    crosses || is_between(a, b, c) || is_between(a, b, d) || is_between(c, d, a) || is_between(c, d, b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: Size = Size { width: 200, height: 100 };

    fn zone(corners: &[[f64; 2]]) -> Result<Zone, ShapeError> {
        Zone::new("yard", corners)
    }

    #[test]
    fn a_line_without_length_or_with_no_number_is_refused() {
        assert_eq!(Line::new("gate", [0.5, 0.5], [0.5, 0.5]), Err(ShapeError::NoLength));
        for wrong in [f64::NAN, f64::INFINITY, -2e6] {
            assert_eq!(Line::new("gate", [wrong, 0.5], [0.5, 0.5]), Err(ShapeError::Number));
        }
        for name in ["", " gate", "a=b", "a\u{1b}b", &"x".repeat(61)] {
            assert_eq!(Line::new(name, [0.0, 0.0], [1.0, 1.0]), Err(ShapeError::Name), "{name:?}");
        }
    }

    #[test]
    fn a_zone_that_is_no_area_is_refused() {
        assert_eq!(zone(&[[0.0, 0.0], [1.0, 1.0]]), Err(ShapeError::Corners(2)));
        assert_eq!(zone(&[[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), Err(ShapeError::Corners(2)), "closed, yet no area");
        assert_eq!(zone(&vec![[0.0, 0.0]; 300]), Err(ShapeError::Corners(299)));
        let bow_tie = [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]];
        assert_eq!(zone(&bow_tie), Err(ShapeError::MeetsItself(1)));
        let flat = [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]];
        assert!(matches!(zone(&flat), Err(ShapeError::MeetsItself(_))));
        let pinched = [[0.0, 0.0], [0.5, 0.5], [0.0, 1.0], [1.0, 1.0], [0.5, 0.5], [1.0, 0.0]];
        assert!(matches!(zone(&pinched), Err(ShapeError::MeetsItself(_))), "one corner stands twice");
        let spike = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 0.5], [0.0, 0.5]];
        assert!(matches!(zone(&spike), Err(ShapeError::MeetsItself(_))), "an edge leads back");
        assert!(zone(&[[0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [1.0, 1.0]]).is_ok(), "a corner may be straight");
        assert!(zone(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).is_ok(), "the first corner may end it");
    }

    #[test]
    fn coordinates_are_normalised_where_none_is_above_one() {
        let line = Line::new("gate", [0.5, 0.0], [0.5, 1.0]).expect("a line");
        assert_eq!(line.on(SIZE), [Point { x: 100.0, y: 0.0 }, Point { x: 100.0, y: 100.0 }]);
        let line = Line::new("gate", [0.5, 0.0], [0.5, 99.0]).expect("a line");
        assert_eq!(line.on(SIZE), [Point { x: 0.5, y: 0.0 }, Point { x: 0.5, y: 99.0 }]);
    }

    #[test]
    fn names_differ_and_shapes_outside_of_the_frame_are_named() {
        let line = |name: &str, x: f64| Line::new(name, [x, 2.0], [x, 50.0]).expect("a line");
        let twice = zone(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).expect("a zone");
        let refused = Shapes::new(vec![line("yard", 5.0)], vec![twice]);
        assert_eq!(refused, Err(ShapeError::Twice("yard".into())));
        let many = (0..65).map(|n| line(&format!("l{n}"), 5.0)).collect();
        assert_eq!(Shapes::new(many, Vec::new()), Err(ShapeError::TooMany(65)));
        let shapes = Shapes::new(vec![line("near", 199.0), line("far", 640.0)], Vec::new()).expect("two lines");
        assert_eq!(shapes.outside(SIZE), ["far"]);
    }

    #[test]
    fn the_border_belongs_to_a_zone() {
        let whole = zone(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).expect("a zone").on(SIZE);
        for (x, y) in [(0.0, 0.0), (200.0, 100.0), (50.0, 100.0), (200.0, 3.0), (0.0, 99.0), (70.0, 70.0)] {
            assert!(contains(&whole, Point { x, y }), "{x} {y}");
        }
        for (x, y) in [(-0.1, 5.0), (200.1, 5.0), (5.0, 100.1), (300.0, 100.0)] {
            assert!(!contains(&whole, Point { x, y }), "{x} {y}");
        }
        let notched = zone(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.2], [0.0, 1.0]]).expect("a zone").on(SIZE);
        assert!(!contains(&notched, Point { x: 100.0, y: 60.0 }) && contains(&notched, Point { x: 5.0, y: 60.0 }));
    }

    proptest! {
        #[test]
        fn a_triangle_holds_what_lies_between_its_corners(
            t in prop::array::uniform6(2f64..100.0), u in 0.01f64..0.98, v in 0.01f64..0.98
        ) {
            let [a, b, c] = [[t[0], t[1]], [t[2], t[3]], [t[4], t[5]]];
            let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
            prop_assume!(area.abs() > 1.0);
            let corners = zone(&[a, b, c]).expect("a triangle").on(SIZE);
            let at = |u: f64, v: f64| Point { x: a[0] + u * (b[0] - a[0]) + v * (c[0] - a[0]), y: a[1] + u * (b[1] - a[1]) + v * (c[1] - a[1]) };
            let (u, v) = if u + v < 0.99 { (u, v) } else { (u * 0.5, v * 0.5) };
            prop_assert!(contains(&corners, at(u, v)));
            prop_assert!(!contains(&corners, at(u, 1.02 - u)) && !contains(&corners, at(-0.02, v)));
        }

        #[test]
        fn no_corners_panic(corners in prop::collection::vec(prop::array::uniform2(prop::num::f64::ANY), 0..9)) {
            if let Ok(zone) = zone(&corners) {
                contains(&zone.on(SIZE), Point { x: 1.0, y: 1.0 });
            }
        }
    }
}
