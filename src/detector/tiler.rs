//! Which views of a frame the model gets: the whole frame and, where asked for, tiles, as many as time allows.

use std::collections::HashMap;
use std::time::Duration;

use super::options::Wanted;
use crate::geometry::{Region, Size};
use crate::model::Model;
use crate::stream::StreamId;
use crate::tiling::{self, Grid, Tiling};

/// Weight of the newest run in the running mean of a view's cost.
const NEWEST: f64 = 0.2;
/// More tiles are taken only when they are expected to need less than this share of the target latency: without such room
/// every second frame would overrun.
const ROOM: f64 = 0.9;

/// Chooses the views of every frame.
pub(super) struct Tiler {
    /// What is asked for where a stream has nothing else.
    asked: Asked,
    /// What is asked for by stream.
    asked_of: HashMap<StreamId, Asked>,
    /// Into which views are fitted, where that does not depend on what is asked for.
    static_size: Option<Size>,
    /// The tensor's size for a view's, and the input size that is asked for.
    tensor_size: Box<dyn Fn(Size, Size) -> Size + Send>,
    streams: HashMap<StreamId, StreamTiling>,
    /// What each stream's frames were given so far.
    usage: HashMap<StreamId, Usage>,
    /// Seconds a view costs, a running mean.
    cost_s: Option<f64>,
}

/// What the views depend on.
#[derive(Debug, Clone, Copy)]
struct Asked {
    imgsz: Size,
    tiling: Option<Tiling>,
    target: Option<Duration>,
}

impl From<&Wanted> for Asked {
    fn from(wanted: &Wanted) -> Self {
        Self { imgsz: wanted.imgsz, tiling: wanted.tiling, target: wanted.target_latency }
    }
}

/// The views of a stream's frames, as long as those are of one size.
#[derive(Debug)]
struct StreamTiling {
    frame: Size,
    tensor: Size,
    /// From the whole frame alone to all tiles.
    levels: Vec<Level>,
    level: usize,
}

#[derive(Debug)]
struct Level {
    grid: Option<Grid>,
    views: Vec<Region>,
}

/// Counts of the tiles that a stream's frames were given. Images of a folder differ in size, and so in their grids.
#[derive(Debug)]
struct Usage {
    grids: Vec<Grid>,
    frames: u64,
    tiles: u64,
    tiles_min: u64,
    tiles_max: u64,
}

/// The tiles that a stream's frames were given, beside the whole frame.
#[derive(Debug, Clone, PartialEq)]
pub struct TilingFigures {
    /// As asked for.
    pub requested: Tiling,
    /// The grids it became; several, where frames differ in size.
    pub grids: Vec<Grid>,
    /// Fewest tiles a frame.
    pub tiles_min: u64,
    /// Tiles a frame, arithmetic mean.
    pub tiles_mean: f64,
    /// Most tiles a frame.
    pub tiles_max: u64,
}

impl Tiler {
    pub(super) fn new(wanted: &Wanted, model: &Model) -> Self {
        let (static_size, model) = (model.static_size, model.clone());
        let tensor_size = Box::new(move |view, imgsz| model.tensor_size(view, imgsz));
        Self {
            asked: wanted.into(),
            asked_of: HashMap::new(),
            static_size,
            tensor_size,
            streams: HashMap::new(),
            usage: HashMap::new(),
            cost_s: None,
        }
    }

    /// From now on, `wanted` is asked for on the stream's frames.
    pub(super) fn ask(&mut self, stream: StreamId, wanted: &Wanted) {
        self.asked_of.insert(stream, wanted.into());
        self.streams.remove(&stream);
    }

    /// Nothing more comes of the stream. What its frames were given, where tiles were asked for.
    pub(super) fn forget(&mut self, stream: StreamId) -> Option<TilingFigures> {
        let tiling = self.asked(stream).tiling;
        self.asked_of.remove(&stream);
        self.streams.remove(&stream);
        Some(self.usage.remove(&stream)?.figures(tiling?))
    }

    /// Whether the number of the stream's views follows their cost.
    pub(super) fn adapts(&self, stream: StreamId) -> bool {
        self.asked(stream).target.is_some()
    }

    fn asked(&self, stream: StreamId) -> Asked {
        self.asked_of.get(&stream).copied().unwrap_or(self.asked)
    }

    /// The tensor size of a stream's views, for frames of `frame`.
    pub(super) fn tensor(&mut self, stream: StreamId, frame: Size) -> Size {
        self.stream(stream, frame).tensor
    }

    /// Numbers of views that a frame of the stream may get, fewest first.
    pub(super) fn counts(&mut self, stream: StreamId, frame: Size) -> Vec<usize> {
        self.stream(stream, frame).levels.iter().map(|level| level.views.len()).collect()
    }

    /// The largest of them.
    pub(super) fn most(&mut self, stream: StreamId, frame: Size) -> usize {
        self.stream(stream, frame).levels.last().map_or(1, |level| level.views.len())
    }

    /// The number of views that the stream's next frame gets.
    pub(super) fn next_count(&mut self, stream: StreamId, frame: Size) -> usize {
        self.choose(stream, frame).views.len()
    }

    /// The views of the stream's next frame, the whole frame first; they are counted as used.
    pub(super) fn views(&mut self, stream: StreamId, frame: Size) -> &[Region] {
        let tiles = self.choose(stream, frame).views.len() as u64 - 1;
        let stream_tiling = &self.streams[&stream];
        let grid = stream_tiling.levels.last().and_then(|level| level.grid);
        self.usage.entry(stream).or_insert_with(|| Usage::new(tiles)).add(tiles, grid);
        &stream_tiling.levels[stream_tiling.level].views
    }

    /// Takes note of what a run over `views` views cost, packing and reading included.
    pub(super) fn ran(&mut self, views: usize, elapsed: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a count of views")]
        let cost_s = elapsed.as_secs_f64() / views.max(1) as f64;
        self.cost_s = Some(self.cost_s.map_or(cost_s, |mean| mean * (1.0 - NEWEST) + cost_s * NEWEST));
    }

    /// What was used, for streams that were to be tiled.
    pub(super) fn figures(&self) -> impl Iterator<Item = (StreamId, TilingFigures)> {
        self.usage.iter().filter_map(move |(stream, usage)| Some((*stream, usage.figures(self.asked(*stream).tiling?))))
    }

    /// Chooses the level for the stream's next frame.
    fn choose(&mut self, stream: StreamId, frame: Size) -> &Level {
        let (target, cost_s) = (self.asked(stream).target, self.cost_s);
        let stream = self.stream(stream, frame);
        stream.level = match (target, cost_s) {
            (None, _) => stream.levels.len() - 1,
            // No cost is known yet: begin with the cheapest level.
            (_, None) => 0,
            (Some(target), Some(cost_s)) => stream.affordable(target.as_secs_f64(), cost_s),
        };
        &stream.levels[stream.level]
    }

    fn stream(&mut self, stream: StreamId, frame: Size) -> &mut StreamTiling {
        let Asked { imgsz, tiling, target } = self.asked(stream);
        let (adapts, input) = (target.is_some(), self.static_size.unwrap_or(imgsz));
        let tensor_size = |view| (self.tensor_size)(view, imgsz);
        let make = || {
            let grid = tiling.map(|tiling| tiling.grid(frame, input));
            let grids = match grid.filter(|grid| grid.count() > 1) {
                Some(grid) if adapts => tiling::coarser(grid, frame),
                grid => vec![grid],
            };
            // All views of a stream go into tensors of one size.
            let tensor = grids.iter().flatten().fold(tensor_size(frame), |size, grid| {
                let tile = tensor_size(grid.tile(frame));
                Size { width: size.width.max(tile.width), height: size.height.max(tile.height) }
            });
            let level = |grid: Option<Grid>| Level {
                grid,
                views: std::iter::once(Region::whole(frame)).chain(grid.iter().flat_map(|g| g.tiles(frame))).collect(),
            };
            StreamTiling { frame, tensor, levels: grids.into_iter().map(level).collect(), level: 0 }
        };
        let stream = self.streams.entry(stream).or_insert_with(make);
        if stream.frame != frame {
            *stream = make();
        }
        stream
    }
}

impl StreamTiling {
    /// The highest level that fits into the target latency.
    fn affordable(&self, target_s: f64, cost_s: f64) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "a count of views")]
        let needs = |level: &Level| cost_s * level.views.len() as f64;
        let fits = |at: &usize| needs(&self.levels[*at]) <= if *at > self.level { target_s * ROOM } else { target_s };
        (0..self.levels.len()).rev().find(fits).unwrap_or(0)
    }
}

impl Usage {
    fn new(tiles: u64) -> Self {
        Self { grids: Vec::new(), frames: 0, tiles: 0, tiles_min: tiles, tiles_max: tiles }
    }

    fn add(&mut self, tiles: u64, grid: Option<Grid>) {
        self.frames += 1;
        self.tiles += tiles;
        self.tiles_min = self.tiles_min.min(tiles);
        self.tiles_max = self.tiles_max.max(tiles);
        if let Some(grid) = grid.filter(|grid| !self.grids.contains(grid)) {
            self.grids.push(grid);
        }
    }

    fn figures(&self, requested: Tiling) -> TilingFigures {
        #[expect(clippy::cast_precision_loss, reason = "counts of frames and tiles")]
        let tiles_mean = self.tiles as f64 / self.frames as f64;
        let (grids, tiles_min, tiles_max) = (self.grids.clone(), self.tiles_min, self.tiles_max);
        TilingFigures { requested, grids, tiles_min, tiles_mean, tiles_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Letterbox;

    const STREAM: StreamId = StreamId(0);
    const HD: Size = Size { width: 1920, height: 1080 };
    const INPUT: Size = Size { width: 640, height: 640 };

    fn tiler(tiling: &str, target_ms: Option<u64>) -> Tiler {
        Tiler {
            asked: Asked {
                imgsz: INPUT,
                tiling: Some(tiling.parse().expect("a tiling")),
                target: target_ms.map(Duration::from_millis),
            },
            asked_of: HashMap::new(),
            static_size: None,
            tensor_size: Box::new(|view, imgsz| Letterbox::dynamic_tensor(view, imgsz, 32)),
            streams: HashMap::new(),
            usage: HashMap::new(),
            cost_s: None,
        }
    }

    /// Runs `frames` frames on a machine that needs `cost_ms` a view; the last frame's number of views.
    fn after(tiler: &mut Tiler, frames: u32, cost_ms: u64) -> usize {
        let mut views = 0;
        for _ in 0..frames {
            views = tiler.views(STREAM, HD).len();
            let views_run = u32::try_from(views).expect("few views");
            tiler.ran(views, Duration::from_millis(cost_ms) * views_run);
        }
        views
    }

    #[test]
    fn without_a_target_every_frame_gets_every_tile() {
        let mut tiler = tiler("2x2", None);
        assert_eq!(tiler.tensor(STREAM, HD), Size { width: 640, height: 384 });
        assert_eq!(after(&mut tiler, 3, 1000), 5);
    }

    #[test]
    fn tiles_come_and_go_with_the_time_there_is() {
        let mut tiler = tiler("4x4", Some(100));
        assert_eq!(tiler.counts(STREAM, HD), [1, 5, 10, 17]);
        assert_eq!(after(&mut tiler, 10, 8), 10);
        assert_eq!(after(&mut tiler, 30, 15), 5);
        assert_eq!(after(&mut tiler, 30, 200), 1);
        assert_eq!(after(&mut tiler, 60, 2), 17);
        let (_, figures) = tiler.figures().next().expect("a stream");
        assert_eq!((figures.tiles_min, figures.tiles_max), (0, 16));
        assert_eq!(figures.grids, [Grid { columns: 4, rows: 4, overlap: 0.2 }]);
    }

    #[test]
    fn at_the_brink_the_number_does_not_flap() {
        let mut tiler = tiler("2x2", Some(100));
        // Five views in 95 ms: too tight to go up, but not to stay.
        assert_eq!(after(&mut tiler, 20, 19), 1);
        assert_eq!(after(&mut tiler, 40, 10), 5);
        assert_eq!(after(&mut tiler, 40, 19), 5);
    }

    #[test]
    fn a_small_frame_is_not_tiled_by_auto() {
        let mut tiler = tiler("auto", Some(100));
        assert_eq!(tiler.counts(STREAM, Size { width: 640, height: 480 }), [1]);
    }
}
