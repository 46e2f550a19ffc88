//! Detections that were found before: read from a file, by stream and frame, in place of a model's.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::detection::{Detection, Track};
use crate::geometry::{FrameBox, Size, px};
use crate::model::{Origin, RecordedIn};
use crate::mot::{self, MotError};
use crate::postprocess::Thresholds;
use crate::stream::StreamId;
use crate::text::printable;

/// Boxes of a file, at most.
const MOST_BOXES: u64 = 20_000_000;
/// The longest line of JSON, bytes: a frame with hundreds of thousands of boxes.
const LONGEST_LINE: u64 = 64 << 20;
/// MOTChallenge's text names no class.
const CLASS: &str = "object";
/// What points are called.
const POINT: &str = "point";

/// Why a file of detections cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// As MOTChallenge text.
    #[error("--detections {0}")]
    Mot(#[from] MotError),
    /// Points of frames.
    #[error("--geolocate-points {}: {problem}\n  give pixels from the upper left corner: [{{\"frame\": 0, \"x\": 320.5, \"y\": 240.5}}]", path.display())]
    Points {
        /// The file.
        path: PathBuf,
        /// What was seen.
        problem: String,
    },
    /// As JSON Lines, or as either.
    #[error("--detections {place}: {problem}\n  {remedy}")]
    Unusable {
        /// File, and line where there is one.
        place: String,
        /// What was seen.
        problem: String,
        /// What to do next.
        remedy: &'static str,
    },
    /// A frame has another shape than the one in which they were found.
    #[error(
        "--detections {file}: frame {frame} of stream {stream} is {}×{} there and {}×{} here\n  give the video that it was made of; \
         one of another size is taken where its shape is the same",
        there.width, there.height, here.width, here.height
    )]
    OtherShape {
        /// The file.
        file: String,
        /// Number of the stream, from 0.
        stream: u32,
        /// Number of the frame, from 0.
        frame: u64,
        /// The size of which the file says the frame is.
        there: Size,
        /// The size that it has.
        here: Size,
    },
}

/// The format of points.
const POINTS: &str = "points";

/// The detections of a file.
#[derive(Debug, Default)]
pub struct Recorded {
    path: PathBuf,
    format: &'static str,
    classes: Arc<[String]>,
    /// By stream and frame, both from 0.
    frames: HashMap<(u32, u64), Found>,
    boxes: u64,
    notices: Vec<String>,
}

/// What a file has of a frame.
#[derive(Debug, Default)]
struct Found {
    /// The frame's size, where the file says it.
    size: Option<Size>,
    /// By falling confidence.
    objects: Vec<Detection>,
}

/// A pixel of a frame, from the upper left corner of the picture.
#[derive(Deserialize)]
struct PixelOf {
    frame: u64,
    x: f32,
    y: f32,
}

/// A line of `--json`.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    stream: u32,
    frame: Option<u64>,
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    event: Option<IgnoredAny>,
    #[serde(default)]
    detections: Vec<Object>,
}

/// A detection in it.
#[derive(Deserialize)]
struct Object {
    class_id: u16,
    class: Option<String>,
    confidence: f32,
    #[serde(rename = "box")]
    corners: [f32; 4],
    track_id: Option<u32>,
    track: Option<State>,
}

/// Of its track.
#[derive(Deserialize)]
struct State {
    #[serde(default)]
    state: String,
}

impl Recorded {
    /// Reads a file: MOTChallenge text, whose frame N is the decoded frame N − 1 of the only stream, or the lines of `--json`.
    /// `streams` says how many streams there are.
    ///
    /// # Errors
    /// When it cannot be read, or holds what is no detection.
    pub fn read(path: &Path, streams: usize) -> Result<Self, RecordedError> {
        let unusable =
            |problem: String, remedy| RecordedError::Unusable { place: path.display().to_string(), problem, remedy };
        let file = std::fs::File::open(path)
            .map_err(|e| unusable(e.to_string(), "name a file of detections: MOTChallenge text, or lines of --json"))?;
        let mut file = BufReader::new(file);
        let start = file.fill_buf().map_err(|e| unusable(e.to_string(), "name a file that can be read"))?;
        let is_json = start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let mut recorded = Self { path: path.to_owned(), ..Self::default() };
        if is_json {
            recorded.format = "json";
            recorded.read_json(file)?;
        } else if streams > 1 {
            let problem = format!("MOTChallenge text, which has no streams, and {streams} sources");
            return Err(unusable(problem, "give one source, or lines of --json, which say their stream"));
        } else {
            recorded.format = "mot";
            recorded.read_mot(mot::Rows::of(file, &path.display().to_string()))?;
        }
        for found in recorded.frames.values_mut() {
            found.objects.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        }
        Ok(recorded)
    }

    /// Reads points of frames, `[{"frame": 0, "x": 320.5, "y": 240.5}, …]`: each is a box without area, in the file's order.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn read_points(path: &Path) -> Result<Self, RecordedError> {
        let unusable = |problem: String| RecordedError::Points { path: path.to_owned(), problem };
        let text = std::fs::read(path).map_err(|e| unusable(e.to_string()))?;
        let points: Vec<PixelOf> = serde_json::from_slice(&text).map_err(|e| unusable(printable(&e.to_string())))?;
        let mut recorded = Self { path: path.to_owned(), format: POINTS, ..Self::default() };
        recorded.classes = Arc::from([POINT.to_owned()]);
        for PixelOf { frame, x, y } in points {
            if !(x.is_finite() && y.is_finite() && x >= 0.0 && y >= 0.0) {
                return Err(unusable(format!("x {x}, y {y} of frame {frame}")));
            }
            let point = Detection { class_id: 0, confidence: 1.0, bbox: FrameBox::new(x, y, x, y), track: None };
            recorded.frames.entry((0, frame)).or_default().objects.push(point);
            recorded.boxes += 1;
        }
        Ok(recorded)
    }

    fn read_mot<R: BufRead>(&mut self, rows: mot::Rows<R>) -> Result<(), RecordedError> {
        let (mut flat, mut beyond) = (0, 0);
        for row in rows {
            let row = row?;
            let mot::MotBox { left, top, width, height } = row.bbox;
            if width <= 0.0 || height <= 0.0 {
                flat += 1;
                continue;
            }
            beyond += u64::from(!(0.0..=1.0).contains(&row.confidence));
            #[expect(clippy::cast_possible_truncation, reason = "pixels and confidences are f32 here")]
            let [x1, y1, x2, y2, confidence] =
                [left, top, left + width, top + height, row.confidence.clamp(0.0, 1.0)].map(|v| v as f32);
            // -1: of no object.
            let track = u32::try_from(row.id).ok().map(Track::numbered);
            if row.id > i64::from(u32::MAX) {
                return Err(RecordedError::Unusable {
                    place: format!("{}:{}", self.path.display(), row.line),
                    problem: format!("id {}", row.id),
                    remedy: "ids are up to 4294967295",
                });
            }
            let detection = Detection { class_id: 0, confidence, bbox: FrameBox::new(x1, y1, x2, y2), track };
            let place = || format!("{}:{}", self.path.display(), row.line);
            if self.boxes == MOST_BOXES {
                return Err(too_many(place()));
            }
            self.boxes += 1;
            self.frames.entry((0, u64::from(row.frame) - 1)).or_default().objects.push(detection);
        }
        self.classes = Arc::from([CLASS.to_owned()]);
        let name = self.path.display();
        if flat > 0 {
            self.notices.push(format!("{name}: {flat} boxes without area are left out"));
        }
        if beyond > 0 {
            self.notices
                .push(format!("{name}: {beyond} confidences are not from 0 to 1, and are taken as the nearer of them"));
        }
        Ok(())
    }

    fn read_json(&mut self, mut file: impl BufRead) -> Result<(), RecordedError> {
        let mut classes: Vec<Option<String>> = Vec::new();
        let (mut buffer, mut number) = (Vec::new(), 0_u64);
        loop {
            buffer.clear();
            number += 1;
            let place = format!("{}:{number}", self.path.display());
            let unusable = |problem: String, remedy| RecordedError::Unusable { place: place.clone(), problem, remedy };
            file.by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut buffer)
                .map_err(|e| unusable(e.to_string(), "name a file that can be read"))?;
            if buffer.is_empty() {
                break;
            }
            if buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line: Line = serde_json::from_slice(&buffer)
                .map_err(|e| unusable(printable(&e.to_string()), "give lines as --json writes them"))?;
            if line.event.is_some() {
                continue;
            }
            let Some(frame) = line.frame else {
                return Err(unusable("no frame".into(), "a line has the frame's number, from 0"));
            };
            let mut found = Vec::with_capacity(line.detections.len());
            // What was only predicted was not detected.
            let is_seen = |object: &Object| object.track.as_ref().is_none_or(|track| track.state != "lost");
            for object in line.detections.into_iter().filter(is_seen) {
                let [x1, y1, x2, y2] = object.corners;
                let bbox = FrameBox::new(x1, y1, x2, y2);
                if !bbox.is_finite() || x2 < x1 || y2 < y1 || !(0.0..=1.0).contains(&object.confidence) {
                    let problem = format!("box {:?} with confidence {}", object.corners, object.confidence);
                    return Err(unusable(problem, "a box is [x1, y1, x2, y2], its confidence from 0 to 1"));
                }
                let id = usize::from(object.class_id);
                if classes.len() <= id {
                    classes.resize(id + 1, None);
                }
                match (&classes[id], object.class) {
                    (Some(known), Some(name)) if *known != name => {
                        let problem = format!("class {id} is {:?}, and was {:?}", printable(&name), printable(known));
                        return Err(unusable(problem, "give lines of one model"));
                    }
                    (None, Some(name)) => classes[id] = Some(name),
                    _ => {}
                }
                let (class_id, confidence, track) =
                    (object.class_id, object.confidence, object.track_id.map(Track::numbered));
                found.push(Detection { class_id, confidence, bbox, track });
            }
            self.boxes += found.len() as u64;
            if self.boxes > MOST_BOXES {
                return Err(too_many(place));
            }
            let size = Size { width: line.width, height: line.height };
            let found = Found { size: (size.width > 0 && size.height > 0).then_some(size), objects: found };
            if self.frames.insert((line.stream, frame), found).is_some() {
                let problem = format!("frame {frame} of stream {} a second time", line.stream);
                return Err(unusable(problem, "give the lines of one run"));
            }
        }
        let named = |(id, name): (usize, Option<String>)| name.unwrap_or_else(|| format!("class {id}"));
        self.classes = classes.into_iter().enumerate().map(named).collect();
        if self.classes.is_empty() {
            self.classes = Arc::from([CLASS.to_owned()]);
        }
        Ok(())
    }

    /// What labels, settings and reports say of it. Nothing is left out for its confidence unless the user says so.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let side = Size { width: 0, height: 0 };
        Origin {
            name: self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            sha256: String::new(),
            classes: self.classes.clone(),
            conf: 0.0,
            iou: 1.0,
            static_size: None,
            default_size: side,
            notices: self.notices.clone(),
            recorded: Some(RecordedIn {
                file: self.path.display().to_string(),
                format: self.format,
                boxes: self.boxes,
                numbered: self.frames.values().flat_map(|found| &found.objects).any(|found| found.track.is_some()),
            }),
        }
    }

    /// Adds what the file has of a frame of `size`, scaled to that and clipped to it, to `into`: at least `conf`, of the wanted
    /// classes, not more than `max_det`. Where it was scaled, the size that the file says.
    ///
    /// # Errors
    /// When the frame has another shape there.
    pub fn find(
        &self,
        (stream, frame): (StreamId, u64),
        size: Size,
        (thresholds, conf): (&Thresholds, f32),
        into: &mut Vec<Detection>,
    ) -> Result<Option<Size>, RecordedError> {
        let Some(found) = self.frames.get(&(stream.0, frame)) else { return Ok(None) };
        if self.format == POINTS {
            into.extend_from_slice(&found.objects);
            return Ok(None);
        }
        let other = found.size.filter(|there| *there != size);
        if let Some(there) = other.filter(|there| !is_same_shape(*there, size)) {
            let file = self.path.display().to_string();
            return Err(RecordedError::OtherShape { file, stream: stream.0, frame, there, here: size });
        }
        let scale =
            other.map_or([1.0; 2], |there| [px(size.width) / px(there.width), px(size.height) / px(there.height)]);
        let wanted = |d: &&Detection| {
            let class = usize::from(d.class_id);
            d.confidence >= conf && thresholds.classes.as_ref().is_none_or(|keep| keep.get(class) == Some(&true))
        };
        let placed = |d: &Detection| {
            let FrameBox { x1, y1, x2, y2, .. } = d.bbox;
            let scaled = FrameBox::new(x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1]);
            Detection { bbox: scaled.clipped(px(size.width), px(size.height)), ..*d }
        };
        let inside = |d: &Detection| d.bbox.x2 > d.bbox.x1 && d.bbox.y2 > d.bbox.y1;
        into.extend(found.objects.iter().filter(wanted).map(placed).filter(inside).take(thresholds.max_det));
        Ok(other)
    }
}

/// Whether one is the other, scaled: sides are rounded, to even numbers as a rule, so that a hundredth is nothing.
fn is_same_shape(a: Size, b: Size) -> bool {
    let (one, other) = (u64::from(a.width) * u64::from(b.height), u64::from(b.width) * u64::from(a.height));
    one.abs_diff(other) <= one.max(other) / 100
}

fn too_many(place: String) -> RecordedError {
    let problem = format!("more than {MOST_BOXES} boxes");
    RecordedError::Unusable { place, problem, remedy: "split the file" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Result<Recorded, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.txt");
        std::fs::write(&path, text).expect("a file");
        Recorded::read(&path, 1).map_err(|e| e.to_string())
    }

    fn found(recorded: &Recorded, frame: u64, conf: f32) -> Vec<(f32, [f32; 4], Option<u32>)> {
        let thresholds = Thresholds { conf, iou: 1.0, max_det: 2, agnostic: false, classes: None };
        let mut into = Vec::new();
        let size = Size { width: 100, height: 50 };
        recorded.find((StreamId(0), frame), size, (&thresholds, conf), &mut into).expect("the same shape");
        into.iter()
            .map(|d| (d.confidence, [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2], d.track.map(|track| track.id)))
            .collect()
    }

    #[test]
    fn frame_one_of_mot_text_is_the_first_frame() {
        let recorded = read(b"2,-1,90,40,20,20,0.5,-1,-1,-1\n1,7,0,0,10,10,0.3\n1,-1,5,5,10,10,0.9\n1,-1,0,0,9,9,0.2\n1,1,0,0,0,5,1\n3,1,200,0,5,5,1\n")
            .expect("it is read");
        // The surest first, as many as may be.
        assert_eq!(
            found(&recorded, 0, 0.0),
            [(0.9, [5.0, 5.0, 15.0, 15.0], None), (0.3, [0.0, 0.0, 10.0, 10.0], Some(7))]
        );
        assert_eq!(found(&recorded, 0, 0.5).len(), 1);
        // Clipped to the frame; what lies outside is not in it.
        assert_eq!(found(&recorded, 1, 0.0), [(0.5, [90.0, 40.0, 100.0, 50.0], None)]);
        assert!(found(&recorded, 2, 0.0).is_empty() && found(&recorded, 9, 0.0).is_empty());
        assert!(recorded.origin().notices[0].contains("1 boxes without area"));
    }

    #[test]
    fn lines_of_json_are_read_as_they_are_written() {
        let text = r#"
{"stream":0,"frame":4,"pts_ns":1,"width":100,"height":50,"detections":[{"class_id":2,"class":"car","confidence":0.5,"box":[1,2,3,4],"track_id":9}]}
{"stream":0,"event":"gap","from_pts_ns":0,"to_pts_ns":1,"reason":"x"}
{"stream":0,"frame":5,"pts_ns":2,"width":100,"height":50,"detections":[]}
"#;
        let recorded = read(text.as_bytes()).expect("it is read");
        assert_eq!(&*recorded.origin().classes, ["class 0", "class 1", "car"].map(str::to_owned).as_slice());
        assert_eq!(found(&recorded, 4, 0.0), [(0.5, [1.0, 2.0, 3.0, 4.0], Some(9))]);
    }

    #[test]
    fn a_frame_of_another_size_has_its_boxes_scaled_and_one_of_another_shape_is_refused() {
        let line = |size: &str| {
            format!(r#"{{"frame":0,{size}"detections":[{{"class_id":0,"confidence":0.5,"box":[20,20,60,40]}}]}}"#)
        };
        let boxes = |size: &str| {
            let found = found(&read(line(size).as_bytes()).expect("it is read"), 0, 0.0);
            format!("{:?}", found[0].1)
        };
        // Of a frame of 100×50.
        for size in ["", r#""width":100,"height":50,"#] {
            assert_eq!(boxes(size), "[20.0, 20.0, 60.0, 40.0]");
        }
        assert_eq!(boxes(r#""width":200,"height":100,"#), "[10.0, 10.0, 30.0, 20.0]");
        assert_eq!(boxes(r#""width":50,"height":25,"#), "[40.0, 40.0, 100.0, 50.0]", "clipped afterwards");
        let turned = read(line(r#""width":50,"height":100,"#).as_bytes()).expect("it is read");
        let thresholds = Thresholds { conf: 0.0, iou: 1.0, max_det: 2, agnostic: false, classes: None };
        let size = Size { width: 100, height: 50 };
        let error = turned.find((StreamId(0), 0), size, (&thresholds, 0.0), &mut Vec::new()).expect_err("it is turned");
        assert!(error.to_string().contains("frame 0 of stream 0 is 50×100 there and 100×50 here"), "{error}");
        let is_same = |a: (u32, u32), b: (u32, u32)| {
            is_same_shape(Size { width: a.0, height: a.1 }, Size { width: b.0, height: b.1 })
        };
        assert!(is_same((1920, 1080), (854, 480)) && !is_same((1920, 1080), (640, 480)));
    }

    #[test]
    fn what_is_no_detection_is_refused_with_its_line() {
        for (text, words) in [
            ("1,1,0,0,1\n", "d.txt:1: 5 columns"),
            ("{\"frame\":0}\n{\"frame\":0}\n", "d.txt:2: frame 0 of stream 0 a second time"),
            ("{\"stream\":0}\n", "d.txt:1: no frame"),
            ("{\"frame\":0,\n", "d.txt:1: EOF"),
            (
                "{\"frame\":0,\"detections\":[{\"class_id\":0,\"confidence\":2,\"box\":[0,0,1,1]}]}\n",
                "d.txt:1: box [0.0, 0.0, 1.0, 1.0] with confidence 2",
            ),
        ] {
            let error = read(text.as_bytes()).expect_err("it cannot be used");
            assert!(error.starts_with("--detections ") && error.contains(words), "{error}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.txt");
        std::fs::write(&path, "1,1,0,0,1,1\n").expect("a file");
        let error = Recorded::read(&path, 2).expect_err("whose are they?").to_string();
        assert!(error.contains("2 sources"), "{error}");
    }

    proptest! {
        #[test]
        fn no_file_panics(text in prop::collection::vec(any::<u8>(), 0..120), json in any::<bool>()) {
            let text = if json { [b"{".as_slice(), &text].concat() } else { text };
            if let Ok(recorded) = read(&text) {
                let thresholds = Thresholds { conf: 0.1, iou: 1.0, max_det: 2, agnostic: false, classes: None };
                let size = Size { width: 100, height: 50 };
                let _ = (recorded.origin(), recorded.find((StreamId(0), 0), size, (&thresholds, 0.1), &mut Vec::new()));
            }
        }
    }
}
