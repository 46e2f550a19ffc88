//! Frigate's topics and payloads, as its page on MQTT names them: <https://docs.frigate.video/integrations/mqtt/>.
//!
//! `PREFIX/events` has each object's new, update and end; `PREFIX/CAMERA/LABEL` and `PREFIX/CAMERA/all` how many there are;
//! `PREFIX/CAMERA/LABEL/snapshot` the newest that has ended, where crops are asked for; `PREFIX/available` whether we are. What Frigate knows and we do not is as its page has it where it is unknown. Its commands
//! (`…/set`, `restart`) are not listened to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::follow::{Change, Object, What};

/// Topic of objects, below the prefix.
pub(super) const EVENTS: &str = "events";
/// Topic of availability, below the prefix.
pub(super) const AVAILABLE: &str = "available";

/// Topic of an object's picture, below its camera and label.
pub(super) const SNAPSHOT: &str = "snapshot";

/// How many streams of this process are there, by what they share.
static THERE: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

fn there() -> MutexGuard<'static, BTreeMap<String, u32>> {
    THERE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream is there, until this is dropped.
pub(super) struct Present(String);

impl Present {
    pub fn new(shared: String) -> Self {
        *there().entry(shared.clone()).or_default() += 1;
        Self(shared)
    }

    /// Whether any is.
    pub fn is_any(shared: &str) -> bool {
        there().contains_key(shared)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut there = there();
        let left = there.get(&self.0).map_or(0, |count| count.saturating_sub(1));
        if left > 0 {
            there.insert(self.0.clone(), left)
        } else {
            there.remove(&self.0)
        };
    }
}

/// The message of a change in `camera`.
pub(super) fn event(change: &Change, camera: &str, label: &str) -> Vec<u8> {
    let end = (change.what == What::End).then_some(change.after.last.1);
    let message = json!({
        "type": change.what.name(),
        "before": object(&change.before, camera, label, None),
        "after": object(&change.after, camera, label, end),
    });
    message.to_string().into_bytes()
}

#[expect(clippy::cast_possible_truncation, reason = "pixels of a frame")]
fn object(object: &Object, camera: &str, label: &str, end: Option<f64>) -> Value {
    let corners = object.corners.map(|side| side.round() as i64);
    let [x1, y1, x2, y2] = corners;
    let (width, height) = ((x2 - x1).max(1), (y2 - y1).max(1));
    let zones = |zones: &[std::sync::Arc<str>]| zones.iter().map(ToString::to_string).collect::<Vec<_>>();
    let ratio =
        f64::from(object.corners[2] - object.corners[0]) / f64::from((object.corners[3] - object.corners[1]).max(1.0));
    json!({
        "id": id(object),
        "camera": camera,
        "frame_time": object.last.1,
        "snapshot": null,
        "snapshot_time": null,
        "label": label,
        "sub_label": null,
        "top_score": object.best,
        "false_positive": false,
        "start_time": object.first.1,
        "end_time": end,
        "score": object.confidence,
        "box": corners,
        "area": width * height,
        "ratio": ratio,
        "region": corners,
        "active": end.is_none(),
        "stationary": false,
        "motionless_count": 0,
        "position_changes": 0,
        "current_zones": zones(&object.zones),
        "entered_zones": zones(&object.entered),
        "thumbnail": null,
        "has_snapshot": false,
        "has_clip": false,
        "attributes": {},
        "current_attributes": [],
    })
}

/// Frigate's ids: when it began, and six letters or digits.
fn id(object: &Object) -> String {
    let mut number = object.id;
    let suffix: Vec<u8> = (0..6)
        .map(|_| {
            let digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
            number /= 36;
            digit
        })
        .collect();
    format!("{:.6}-{}", object.first.1, String::from_utf8_lossy(&suffix))
}
