//! Messages of our own format: the lines of `--json`, with the stream's name, the run and the number in it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::follow::Change;
use crate::detections::json::SCHEMA;
use crate::geometry::Size;
use crate::stream::StreamId;

#[derive(Serialize)]
struct TrackLine<'a> {
    schema: u32,
    stream: u32,
    event: &'static str,
    what: &'static str,
    frame: u64,
    pts_ns: u64,
    width: u32,
    height: u32,
    track_id: u32,
    class_id: u16,
    class: &'a str,
    confidence: f32,
    best_confidence: f32,
    #[serde(rename = "box")]
    corners: [f32; 4],
    from_pts_ns: u64,
    zones: Vec<&'a str>,
    entered_zones: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crop: Option<String>,
}

/// The line of a change; `crop` is a JPEG.
pub(super) fn track(change: &Change, stream: StreamId, size: Size, class: &str, crop: Option<&[u8]>) -> Vec<u8> {
    let after = &change.after;
    let line = TrackLine {
        schema: SCHEMA,
        stream: stream.0,
        event: "track",
        what: change.what.name(),
        frame: after.frame,
        pts_ns: after.last.0.ns,
        width: size.width,
        height: size.height,
        track_id: after.id,
        class_id: after.class_id,
        class,
        confidence: after.confidence,
        best_confidence: after.best,
        corners: after.corners,
        from_pts_ns: after.first.0.ns,
        zones: after.zones.iter().map(AsRef::as_ref).collect(),
        entered_zones: after.entered.iter().map(AsRef::as_ref).collect(),
        crop: crop.map(|jpeg| BASE64_STANDARD.encode(jpeg)),
    };
    // Numbers and texts: it does not fail.
    serde_json::to_vec(&line).unwrap_or_default()
}

#[derive(Serialize)]
struct LostLine<'a> {
    schema: u32,
    stream: u32,
    event: &'static str,
    messages: u64,
    from_seq: u64,
    to_seq: u64,
    stream_name: &'a str,
    run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

/// What tells a stream's lines in a run from others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub stream_name: &'a str,
    pub run: &'a str,
    /// Of a fleet's stream.
    pub epoch: Option<u64>,
}

/// The line that takes the place of messages that did not fit.
pub(super) fn lost(stream: StreamId, (first, last): (u64, u64), told: Told<'_>) -> Vec<u8> {
    let Told { stream_name, run, epoch } = told;
    let messages = last - first + 1;
    let line = LostLine {
        schema: SCHEMA,
        stream: stream.0,
        event: "lost",
        messages,
        from_seq: first,
        to_seq: last,
        stream_name,
        run,
        epoch,
    };
    serde_json::to_vec(&line).unwrap_or_default()
}

/// Adds what tells a line from those of other streams and runs.
pub(super) fn number(line: &mut Vec<u8>, told: Told<'_>, seq: u64) {
    while line.last().is_some_and(|last| b"}\n".contains(last)) {
        let was = line.pop();
        if was == Some(b'}') {
            break;
        }
    }
    let Told { stream_name, run, epoch } = told;
    let epoch = epoch.map_or(String::new(), |epoch| format!(",\"epoch\":{epoch}"));
    // Both are letters, digits, - and _.
    line.extend(format!(",\"stream_name\":\"{stream_name}\",\"run\":\"{run}\"{epoch},\"seq\":{seq}}}").into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gets_its_number_and_stays_json() {
        let mut line = b"{\"a\":{\"b\":[{}]}}\n".to_vec();
        let told = Told { stream_name: "gate", run: "r-1", epoch: None };
        number(&mut line, told, 7);
        let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(value, serde_json::json!({"a": {"b": [{}]}, "stream_name": "gate", "run": "r-1", "seq": 7}));
        let told = Told { epoch: Some(3), ..told };
        let gone: serde_json::Value = serde_json::from_slice(&lost(StreamId(2), (5, 9), told)).expect("JSON");
        assert_eq!((&gone["messages"], &gone["event"]), (&serde_json::json!(5), &serde_json::json!("lost")));
        let mut line = b"{\"a\":1}".to_vec();
        number(&mut line, told, 8);
        let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!((&value["epoch"], &gone["epoch"]), (&serde_json::json!(3), &serde_json::json!(3)));
    }
}
