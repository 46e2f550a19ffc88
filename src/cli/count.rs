//! Options of counting: lines, zones, and the point that decides.

use std::path::PathBuf;

use clap::Args;

use crate::config::choices;
use crate::counting::{self, Anchor, Counting, CountingError, Line, Zone};

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
    /// What is to be counted, if anything.
    pub(super) fn counting(&self) -> Result<Option<Counting>, CountingError> {
        Counting::of(&self.count_line, &self.zone, self.zones.as_deref(), self.anchor)
    }
}
