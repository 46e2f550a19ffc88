//! Samples of what is published.

use std::sync::atomic::{AtomicU64, Ordering};

use super::exposition::Exposition;
use crate::publish::{Figures, Plan};
use crate::stream::StreamId;

/// A family: its name, its kind, what it says, and where its values are.
type Family = (&'static str, &'static str, &'static str, fn(&Figures) -> u64);

const FAMILIES: [Family; 6] = [
    ("streamdet_publish_connected", "gauge", "Whether the broker is connected.", |figures| {
        figures.is_connected.load(Ordering::Relaxed).into()
    }),
    ("streamdet_published_total", "counter", "Messages that the broker acknowledged.", |figures| {
        get(&figures.published)
    }),
    ("streamdet_publish_lost_total", "counter", "Messages that did not fit into the spool.", |figures| {
        get(&figures.lost)
    }),
    ("streamdet_publish_reconnects_total", "counter", "Times the broker was connected again.", |figures| {
        get(&figures.reconnects)
    }),
    ("streamdet_spool_messages", "gauge", "Messages that the broker has not acknowledged.", |figures| {
        get(&figures.waiting)
    }),
    ("streamdet_spool_bytes", "gauge", "Bytes of the spool.", |figures| get(&figures.bytes)),
];

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Writes what is counted, by stream and broker.
pub(super) fn write<'a>(out: &mut Exposition, plan: &Plan, label: &dyn Fn(StreamId) -> &'a String) {
    for (name, kind, help, value) in FAMILIES {
        out.family(name, kind, help);
        for route in &plan.routes {
            let to = route.target.to_string();
            out.sample(&[("stream", label(route.stream)), ("to", &to)], value(&route.figures));
        }
    }
}
