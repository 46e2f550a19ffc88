//! Detections as JSON Lines, one object a frame, in frame order.

use std::io::Write;

use crate::frame::Frame;
use crate::geometry::Size;
use crate::stream::{Gap, StreamId};

#[derive(serde::Serialize)]
struct Line<'a> {
    stream: u32,
    frame: u64,
    pts_ns: u64,
    width: u32,
    height: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    detections: Vec<Object<'a>>,
}

#[derive(serde::Serialize)]
struct Object<'a> {
    class_id: u16,
    class: &'a str,
    confidence: f32,
    #[serde(rename = "box")]
    corners: [f32; 4],
    track_id: Option<u64>,
}

#[derive(serde::Serialize)]
struct Away<'a> {
    stream: u32,
    event: &'static str,
    from_pts_ns: u64,
    to_pts_ns: u64,
    reason: &'a str,
}

/// Writes the line of a stretch in which a stream was away.
///
/// # Errors
/// When the output cannot be written.
pub fn write_gap(out: &mut dyn Write, stream: StreamId, gap: &Gap) -> std::io::Result<()> {
    let Gap { from, to, reason, .. } = gap;
    let line = Away { stream: stream.0, event: "gap", from_pts_ns: from.ns, to_pts_ns: to.ns, reason };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Writes one frame's line.
///
/// # Errors
/// When the output cannot be written.
pub fn write_line<P>(out: &mut dyn Write, frame: &Frame<P>, size: Size, classes: &[String]) -> std::io::Result<()> {
    let line = Line {
        stream: frame.stream.0,
        frame: frame.index,
        pts_ns: frame.pts.ns,
        width: size.width,
        height: size.height,
        file: frame.file.as_deref(),
        detections: frame
            .detections
            .iter()
            .map(|d| Object {
                class_id: d.class_id,
                class: classes.get(usize::from(d.class_id)).map_or("", String::as_str),
                confidence: d.confidence,
                corners: [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2],
                track_id: None,
            })
            .collect(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
