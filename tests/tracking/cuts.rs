//! PETS09-S2L1 with parts missing, tracked by the default tracker and scored: its figures beside those of other trackers.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use streamdet::clock::StreamTime;
use streamdet::detection::Detection;
use streamdet::frame::{ChromaSite, Colour, FrameInfo, FrameView, Matrix, PixelFormat, Plane, Range};
use streamdet::geometry::{FrameBox, Size};
use streamdet::mot;
use streamdet::shutdown::Shutdown;
use streamdet::track::{FrameToTrack, Options, Tracker};
use streamdet::validate::mot::{Options as Scoring, find, score};

/// Frames of the clip, and nanoseconds from one to the next.
pub const FRAMES: u32 = 795;
const FRAME_NS: u64 = 100_000_000;
/// The files of detections.
pub const DETECTIONS: [&str; 2] = ["det", "det_streamdet"];

/// The clip's frames as I420, one after the other.
pub struct Clip {
    pub size: Size,
    pub data: Vec<u8>,
}

impl Clip {
    fn view(&self, frame: u32) -> FrameView<'_> {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
        let info = FrameInfo { format: PixelFormat::I420, size: self.size, colour };
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let luma = width * height;
        let start = (frame as usize - 1) * luma * 3 / 2;
        let plane = |from: usize, bytes: usize, stride| Plane { data: &self.data[start + from..][..bytes], stride };
        let planes =
            [plane(0, luma, width), plane(luma, luma / 4, width / 2), plane(luma * 5 / 4, luma / 4, width / 2)];
        FrameView { info, planes }
    }
}

/// Which frames a tracker sees, and which rows of the detections it does not.
pub struct Cut {
    pub condition: String,
    pub frames: Vec<u32>,
    pub without: HashSet<usize>,
}

/// HOTA and IDF1.
pub type Pair = [f64; 2];

/// What a condition's cuts came to: mean and standard deviation.
pub struct Outcome {
    pub mean: Pair,
    pub deviation: Pair,
}

/// The default tracker on every cut of `many.csv`, by condition, with the files of `folder` (PETS09-S2L1).
pub fn many(folder: &Path, detections: &str, clip: Option<&Clip>) -> BTreeMap<String, Outcome> {
    let rows = rows(&folder.join(format!("{detections}.txt")));
    let mut of = BTreeMap::<String, Vec<Pair>>::new();
    for cut in cuts(&folder.join("many.csv"), detections) {
        let pair = figures(&folder.join("gt.txt"), &rows, &cut, clip);
        of.entry(cut.condition).or_default().push(pair);
    }
    of.into_iter().map(|(condition, pairs)| (condition, outcome(&pairs))).collect()
}

/// The best means of other trackers, each at its best setting, by condition: HOTA of one, IDF1 of another perhaps.
pub fn peers(mot: &Path, detections: &str) -> BTreeMap<String, Pair> {
    let mut best = BTreeMap::<String, Pair>::new();
    let pan = |condition: &str| condition.starts_with("pan");
    for (file, hota, idf1, wanted) in
        [("means.csv", "HOTA_mean", "IDF1_mean", false), ("peers.csv", "HOTA", "IDF1", true)]
    {
        let text = std::fs::read_to_string(mot.join(file)).expect("peers' figures");
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
        let column = |name: &str| names.iter().position(|n| *n == name).expect("a column");
        for line in lines {
            let values: Vec<&str> = line.split(',').collect();
            let condition = values[column("condition")];
            if values[column("detections")] != detections || pan(condition) != wanted {
                continue;
            }
            let entry = best.entry(condition.to_owned()).or_default();
            for (at, name) in [hota, idf1].into_iter().enumerate() {
                entry[at] = entry[at].max(values[column(name)].parse().expect("a figure"));
            }
        }
    }
    best
}

fn cuts(file: &Path, detections: &str) -> Vec<Cut> {
    let text = std::fs::read_to_string(file).expect("many.csv");
    let cut = |line: &str| {
        let mut fields = line.split(',');
        let name = fields.next()?;
        let numbers = fields.map(|field| field.parse::<u32>().expect("a number"));
        let condition = name.split('_').next()?.to_owned();
        if condition == "thin" {
            // thin_SEED_FILE
            let of = name.splitn(3, '_').nth(2)?;
            let without = numbers.map(|number| number as usize).collect();
            return (of == detections).then(|| Cut { condition, frames: (1..=FRAMES).collect(), without });
        }
        Some(Cut { condition, frames: numbers.collect(), without: HashSet::new() })
    };
    text.lines().filter_map(cut).collect()
}

pub fn rows(file: &Path) -> Vec<mot::Row> {
    mot::open(file).expect("detections").map(|row| row.expect("a row")).collect()
}

pub fn figures(gt: &Path, rows: &[mot::Row], cut: &Cut, clip: Option<&Clip>) -> Pair {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let result = write("result.txt", &tracked(rows, cut, clip));
    let frames: Vec<String> = cut.frames.iter().map(ToString::to_string).collect();
    let scoring = Scoring { frames: Some(write("frames.txt", &frames.join("\n"))), ..Scoring::default() };
    let found = find(gt, &result).expect("two files");
    let scored = score(&found, &scoring, &Shutdown::new()).expect("figures").expect("nobody stops it");
    [scored.combined.hota, scored.combined.idf1]
}

/// What the tracker makes of the cut, as MOTChallenge text.
fn tracked(rows: &[mot::Row], cut: &Cut, clip: Option<&Clip>) -> String {
    let mut by_frame = BTreeMap::<u32, Vec<Detection>>::new();
    for (row, number) in rows.iter().zip(1..) {
        if !cut.without.contains(&number) {
            #[expect(clippy::cast_possible_truncation, reason = "pixels")]
            let [x, y, w, h, confidence] =
                [row.bbox.left, row.bbox.top, row.bbox.width, row.bbox.height, row.confidence].map(|v| v as f32);
            let bbox = FrameBox::new(x, y, x + w, y + h);
            by_frame.entry(row.frame).or_default().push(Detection { class_id: 0, confidence, bbox, track: None });
        }
    }
    let mut tracker = Tracker::new(Options::default());
    let mut text = String::new();
    for number in &cut.frames {
        let mut detections = by_frame.get(number).cloned().unwrap_or_default();
        let pts = StreamTime { ns: u64::from(number - 1) * FRAME_NS };
        let (view, size) = match clip {
            Some(clip) => (Some(clip.view(*number)), clip.size),
            // Boxes reach beyond the frame, as the ground truth's do.
            None => (None, Size { width: 4096, height: 4096 }),
        };
        tracker.frame(&FrameToTrack { view, pts, size, inferred: true }, &mut detections);
        for d in detections.iter().filter(|d| d.is_seen()) {
            let Some(track) = d.track else { continue };
            let b = d.bbox;
            let (w, h) = (b.width(), b.height());
            writeln!(text, "{number},{},{},{},{w},{h},{},-1,-1,-1", track.id, b.x1, b.y1, d.confidence)
                .expect("memory takes everything");
        }
    }
    text
}

pub fn outcome(pairs: &[Pair]) -> Outcome {
    #[expect(clippy::cast_precision_loss, reason = "a few cuts")]
    let n = pairs.len() as f64;
    let mean = [0, 1].map(|at| pairs.iter().map(|pair| pair[at]).sum::<f64>() / n);
    let square = |at: usize| pairs.iter().map(|pair| (pair[at] - mean[at]).powi(2)).sum::<f64>();
    Outcome { mean, deviation: [0, 1].map(|at| (square(at) / (n - 1.0).max(1.0)).sqrt()) }
}
