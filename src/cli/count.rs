//! Options of counting: lines, zones, and the point that decides.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::choices;
use super::settings::SettingsError;
use crate::counting::{self, Anchor, Counting, Line, Shapes, Zone, read_shapes};

/// How long objects that are not tracked any more are remembered: their numbers do not come back.
const KEPT: Duration = Duration::from_mins(1);

/// Where tracked objects are counted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Counting")]
pub struct CountingOptions {
    /// Count tracked objects that cross a line from A to B: 0 to 1 of the frame's width and height, or pixels where a number is above 1.
    /// Somebody who walks from A to B sees `in` go from the left to the right, `out` from the right to the left. It counts once an
    /// object stood 0.3 s on either side, and again after a full return; repeatable
    #[arg(long, value_name = "NAME=X1,Y1,X2,Y2", value_parser = counting::line)]
    pub count_line: Vec<Line>,
    /// Count visits of tracked objects to a zone, and how long they stay: its corners, as of --count-line; repeatable
    #[arg(long, value_name = "NAME=X,Y,X,Y,…", value_parser = counting::zone)]
    pub zone: Vec<Zone>,
    /// Lines and zones in a file: TOML (`[[line]]` and `[[zone]]` with `name` and `points = [[x, y], …]`), or `GeoJSON` (`LineString`, `Polygon`)
    #[arg(long, value_name = "FILE")]
    pub zones: Option<PathBuf>,
    /// Point of a box that decides where an object is
    #[arg(long, value_parser = choices::anchor(), default_value = "bottom-center")]
    pub anchor: Anchor,
}

impl CountingOptions {
    /// What is to be counted, if anything; `tracked`: objects are tracked.
    pub(super) fn counting(&self, tracked: bool) -> Result<Option<Counting>, SettingsError> {
        let mut shapes = self.zones.as_deref().map(read_shapes).transpose()?.unwrap_or_default();
        shapes.lines.extend(self.count_line.iter().cloned());
        shapes.zones.extend(self.zone.iter().cloned());
        let shapes = Shapes::new(shapes.lines, shapes.zones).map_err(SettingsError::Shapes)?;
        if shapes.is_empty() {
            return Ok(None);
        }
        if !tracked {
            return Err(SettingsError::Untracked);
        }
        Ok(Some(Counting { shapes: Arc::new(shapes), anchor: self.anchor, kept: KEPT }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_without_tracking_is_refused_with_the_remedy() {
        let line = counting::line("gate=0.5,0,0.5,1").expect("a line");
        let zone = counting::zone("yard=0,0,1,0,1,1").expect("a zone");
        let none = CountingOptions { count_line: Vec::new(), zone: Vec::new(), zones: None, anchor: Anchor::default() };
        assert!(matches!(none.counting(false), Ok(None)));
        let some = CountingOptions { count_line: vec![line], zone: vec![zone], ..none };
        let refused = some.counting(false).expect_err("it needs tracks").to_string();
        assert!(refused.contains("add --track"), "{refused}");
        let counting = some.counting(true).expect("it is fine").expect("there are shapes");
        assert_eq!((counting.shapes.lines.len(), counting.shapes.zones.len()), (1, 1));
    }
}
