//! Detections in YOLO's text format: class, centre and size relative to the picture, confidence; one line a box.

use std::io::Write;
use std::path::Path;

use crate::detection::Detection;
use crate::geometry::Size;

/// Writes the labels of one picture of `size` pixels.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, detections: &[Detection], size: Size) -> std::io::Result<()> {
    let (w, h) = (f64::from(size.width), f64::from(size.height));
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    for d in detections {
        let [x1, y1, x2, y2] = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(f64::from);
        let (cx, cy) = (f64::midpoint(x1, x2) / w, f64::midpoint(y1, y2) / h);
        let (width, height) = ((x2 - x1) / w, (y2 - y1) / h);
        writeln!(out, "{} {cx:.6} {cy:.6} {width:.6} {height:.6} {:.6}", d.class_id, d.confidence)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::FrameBox;

    #[test]
    fn a_box_becomes_relative_centre_and_size() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        let d = Detection { class_id: 3, confidence: 0.5, bbox: FrameBox::new(10.0, 20.0, 30.0, 60.0) };
        write(&path, &[d], Size { width: 100, height: 200 }).expect("it is written");
        let text = std::fs::read_to_string(path).expect("it is there");
        assert_eq!(text, "3 0.200000 0.200000 0.200000 0.200000 0.500000\n");
    }
}
