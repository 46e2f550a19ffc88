//! What one does with ids: who crosses a line, who is in a zone and for how long.
//!
//! One point of a box decides, the middle of its lower edge unless another is asked for. It counts on the other side of a line, or
//! inside a zone, once it has stood there for [`HOLD`] of stream time; so a box that trembles on a line counts nothing, and an object
//! counts again each time it has come back and stayed. The tests hold the counts against those of recorded people.

mod counter;
mod figures;
mod file;
mod parse;
mod shape;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::detection::{Detection, TrackState};
use crate::geometry::FrameBox;

pub use counter::{Counter, HOLD, Sighting};
pub use figures::{Crossings, Figures, LineFigures, ZoneFigures};
pub use file::{ShapesFileError, read_shapes};
pub use parse::{line, zone};
pub use shape::{Line, MOST_CORNERS, MOST_SHAPES, Point, ShapeError, Shapes, Zone};

/// How long objects that are not tracked any more are remembered, unless a tracker finds them again for longer.
const KEPT: Duration = Duration::from_mins(1);

/// Why lines and zones cannot be counted at.
#[derive(Debug, thiserror::Error)]
pub enum CountingError {
    /// Their file cannot be used.
    #[error(transparent)]
    File(#[from] ShapesFileError),
    /// They do not go together.
    #[error("--count-line, --zone, --zones: {0}")]
    Shapes(#[from] ShapeError),
}

/// What is to be counted.
#[derive(Debug, Clone, Default)]
pub struct Counting {
    /// Where.
    pub shapes: Arc<Shapes>,
    /// By which point of a box.
    pub anchor: Anchor,
    /// How long an object that is not tracked any more is remembered: at least as long as the tracker may still find it again.
    pub kept: Duration,
}

impl Counting {
    /// At these lines and zones, and those of `file`; `None` where there are none.
    ///
    /// # Errors
    /// When the file cannot be used, two of them share a name, or there are too many.
    pub fn of(
        lines: &[Line],
        zones: &[Zone],
        file: Option<&Path>,
        anchor: Anchor,
    ) -> Result<Option<Self>, CountingError> {
        let mut shapes = file.map(read_shapes).transpose()?.unwrap_or_default();
        shapes.lines.extend_from_slice(lines);
        shapes.zones.extend_from_slice(zones);
        let shapes = Shapes::new(shapes.lines, shapes.zones)?;
        Ok((!shapes.is_empty()).then(|| Self { shapes: Arc::new(shapes), anchor, kept: KEPT }))
    }
}

/// The point of a box that decides where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Anchor {
    /// The middle of the box.
    Center,
    /// The middle of the left edge.
    CenterLeft,
    /// The middle of the right edge.
    CenterRight,
    /// The middle of the upper edge.
    TopCenter,
    /// The upper left corner.
    TopLeft,
    /// The upper right corner.
    TopRight,
    /// The lower left corner.
    BottomLeft,
    /// The middle of the lower edge: where people stand and wheels turn.
    #[default]
    BottomCenter,
    /// The lower right corner.
    BottomRight,
}

impl Anchor {
    /// That point of `bbox`.
    #[must_use]
    pub fn of(self, bbox: &FrameBox) -> Point {
        let [x1, y1, x2, y2] = [bbox.x1, bbox.y1, bbox.x2, bbox.y2].map(f64::from);
        let x = match self {
            Self::CenterLeft | Self::TopLeft | Self::BottomLeft => x1,
            Self::Center | Self::TopCenter | Self::BottomCenter => f64::midpoint(x1, x2),
            Self::CenterRight | Self::TopRight | Self::BottomRight => x2,
        };
        let y = match self {
            Self::TopCenter | Self::TopLeft | Self::TopRight => y1,
            Self::Center | Self::CenterLeft | Self::CenterRight => f64::midpoint(y1, y2),
            Self::BottomCenter | Self::BottomLeft | Self::BottomRight => y2,
        };
        Point { x, y }
    }
}

/// Where the tracked objects among `detections` are; what is not confirmed has no track and is left out.
pub fn sightings(detections: &[Detection], anchor: Anchor) -> impl Iterator<Item = Sighting> {
    detections.iter().filter_map(move |found| {
        let track = found.track?;
        let seen = track.state == TrackState::Confirmed;
        Some(Sighting { id: track.id, class_id: found.class_id, at: anchor.of(&found.bbox), seen })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_the_point_that_its_name_says() {
        let bbox = FrameBox::new(10.0, 20.0, 30.0, 60.0);
        let points = [
            (Anchor::Center, 20.0, 40.0),
            (Anchor::CenterLeft, 10.0, 40.0),
            (Anchor::CenterRight, 30.0, 40.0),
            (Anchor::TopCenter, 20.0, 20.0),
            (Anchor::TopLeft, 10.0, 20.0),
            (Anchor::TopRight, 30.0, 20.0),
            (Anchor::BottomLeft, 10.0, 60.0),
            (Anchor::BottomCenter, 20.0, 60.0),
            (Anchor::BottomRight, 30.0, 60.0),
        ];
        for (anchor, x, y) in points {
            assert_eq!(anchor.of(&bbox), Point { x, y }, "{anchor:?}");
        }
        assert_eq!(Anchor::default(), Anchor::BottomCenter);
    }

    #[test]
    fn options_and_file_are_counted_at_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("zones.toml");
        std::fs::write(&file, "[[zone]]\nname = \"yard\"\npoints = [[0, 0], [1, 0], [1, 1]]\n").expect("a file");
        let gate = line("gate=0.5,0,0.5,1").expect("a line");
        let counting = Counting::of(&[gate], &[], Some(&file), Anchor::Center).expect("it is fine").expect("shapes");
        assert_eq!((counting.shapes.lines.len(), counting.shapes.zones.len()), (1, 1));
        let twice = Counting::of(&[], &[zone("yard=0,0,1,0,1,1").expect("a zone")], Some(&file), Anchor::Center);
        assert!(twice.expect_err("one name").to_string().contains("`yard` names two of them"));
        assert!(Counting::of(&[], &[], None, Anchor::Center).expect("it is fine").is_none());
    }

    #[test]
    fn an_object_that_is_not_confirmed_is_never_counted() {
        let bbox = FrameBox::new(10.0, 20.0, 30.0, 60.0);
        let found = Detection { class_id: 0, confidence: 0.9, bbox, track: None };
        assert_eq!(sightings(&[found], Anchor::default()).count(), 0);
    }
}
