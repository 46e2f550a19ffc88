//! Home Assistant's discovery: a retained message for each entity, as <https://www.home-assistant.io/integrations/mqtt/> has them.
//! Sent with every connection, and again whenever Home Assistant says that it is online (its birth message).

use serde_json::{Value, json};

use super::plan::Route;
use super::sink::COUNTS;

/// What Home Assistant says when it is there, at `PREFIX/status`.
pub(super) const BIRTH: &[u8] = b"online";

/// Topic of its birth and its will.
pub(super) fn status(prefix: &str) -> String {
    format!("{prefix}/status")
}

/// Topics and messages of a stream's entities; `counts` is the newest of its counts, `id` what tells it from others.
pub(super) fn entities(route: &Route, prefix: &str, id: &str, counts: &[u8]) -> Vec<(String, Vec<u8>)> {
    let counts: Value = serde_json::from_slice(counts).unwrap_or_default();
    let object = format!("streamdet_{id}");
    let entity = |key: &str, own: Value| {
        let mut message = json!({
            "unique_id": format!("{object}_{key}"),
            "state_topic": route.topic(&format!("{}/{COUNTS}", route.name)),
            "availability_topic": route.topic(&format!("{}/state", route.name)),
            "device": {
                "identifiers": [object],
                "name": route.name,
                "manufacturer": "streamdet",
                "model": "stream",
                "sw_version": env!("CARGO_PKG_VERSION"),
            },
            "origin": { "name": "streamdet", "sw_version": env!("CARGO_PKG_VERSION") },
        });
        if let (Some(message), Value::Object(own)) = (message.as_object_mut(), own) {
            message.extend(own);
        }
        message.to_string().into_bytes()
    };
    let occupancy = json!({
        "name": "Occupancy",
        "device_class": "occupancy",
        "value_template": "{{ 'ON' if value_json.all > 0 else 'OFF' }}",
    });
    let all = json!({ "name": "Objects", "state_class": "measurement", "value_template": "{{ value_json.all }}" });
    let topic = |kind: &str, key: &str| format!("{prefix}/{kind}/{object}/{key}/config");
    let mut messages = vec![
        (topic("binary_sensor", "occupancy"), entity("occupancy", occupancy)),
        (topic("sensor", "all"), entity("all", all)),
    ];
    let classes = counts["classes"].as_object();
    messages.extend(classes.into_iter().flat_map(serde_json::Map::keys).map(|class| {
        let key = format!("class_{}", slug(class));
        // Quoted as JSON is, which is how Jinja reads it.
        let template = format!("{{{{ value_json.classes[{}] | default(0) }}}}", Value::from(class.as_str()));
        let own = json!({ "name": class, "state_class": "measurement", "value_template": template });
        (topic("sensor", &key), entity(&key, own))
    }));
    messages
}

/// A class as an id: letters, digits, - and _; where another character was, a checksum keeps it apart.
fn slug(class: &str) -> String {
    let kept: String = class.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    if kept == class { kept } else { format!("{kept}_{:08x}", crc32fast::hash(class.as_bytes())) }
}
