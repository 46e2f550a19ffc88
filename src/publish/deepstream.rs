//! NVIDIA's minimal schema, as Gst-nvmsgconv writes it: a frame's objects as texts with bars.
//! <https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvmsgconv.html>.

use serde_json::json;

use crate::detection::Detection;
use crate::detections::class_name;

/// The version of the schema.
const VERSION: &str = "4.0";
/// What stands for an object that is not tracked: `UNTRACKED_OBJECT_ID` of DeepStream's nvdsmeta.h.
const UNTRACKED: u64 = u64::MAX;

/// A frame's message.
pub(super) fn frame(index: u64, sensor: &str, time: &str, found: &[Detection], classes: &[String]) -> Vec<u8> {
    let object = |detection: &Detection| {
        let id = detection.track.map_or(UNTRACKED, |track| track.id.into());
        let bbox = &detection.bbox;
        // A bar would part the name.
        let class = class_name(classes, detection.class_id).replace('|', "_");
        format!("{id}|{}|{}|{}|{}|{class}", bbox.x1, bbox.y1, bbox.x2, bbox.y2)
    };
    let message = json!({
        "version": VERSION,
        "id": index.to_string(),
        "@timestamp": time,
        "sensorId": sensor,
        "objects": found.iter().map(object).collect::<Vec<_>>(),
    });
    message.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Track;
    use crate::geometry::FrameBox;

    #[test]
    fn objects_are_texts_with_bars() {
        let bbox = FrameBox::new(441.5, 510.0, 470.25, 562.5);
        let tracked = Detection { class_id: 0, confidence: 0.5, bbox, track: Some(Track::numbered(345)) };
        let alone = Detection { class_id: 1, track: None, ..tracked };
        let message = frame(
            418,
            "gate",
            "2026-11-30T04:00:00.000Z",
            &[tracked, alone],
            &["Bicycle".to_owned(), "a|b".to_owned()],
        );
        let message: serde_json::Value = serde_json::from_slice(&message).expect("JSON");
        assert_eq!(
            message,
            json!({
                "version": "4.0",
                "id": "418",
                "@timestamp": "2026-11-30T04:00:00.000Z",
                "sensorId": "gate",
                "objects": ["345|441.5|510|470.25|562.5|Bicycle", "18446744073709551615|441.5|510|470.25|562.5|a_b"],
            })
        );
    }
}
