//! Events of a run in the log.

use tracing::{debug, info, trace, warn};

use super::{Listener, RunEvent};

/// Logs what happens in a run; nothing that happens with every frame but at level trace.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventLog;

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for EventLog {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, provider } => {
                let (width, height) = (info.size.width, info.size.height);
                info!(stream = stream.0, name = %info.name, codec = %info.codec, width, height, "stream up");
                if let Some(provider) = provider {
                    let (name, detail) = (provider.actual.name(), provider.detail.as_str());
                    debug!(stream = stream.0, provider = name, detail, "execution provider");
                }
            }
            RunEvent::Disconnected { stream, reason } => info!(stream = stream.0, reason, "disconnected"),
            RunEvent::Reconnected { stream } => info!(stream = stream.0, "reconnected"),
            RunEvent::Outage { stream, gap } => {
                let (from_ns, to_ns) = (gap.from.ns, gap.to.ns);
                let (reason, resumed) = (gap.reason.as_str(), gap.resumed);
                debug!(stream = stream.0, from_ns, to_ns, reason, resumed, "outage");
            }
            RunEvent::StreamEnded { stream } => info!(stream = stream.0, "stream ended"),
            RunEvent::FrameDone { frame, .. } => {
                let (index, detections) = (frame.index, frame.detections.len());
                trace!(stream = frame.stream.0, frame = index, detections, "frame done");
            }
            RunEvent::FrameRecorded(_) | RunEvent::Queue { .. } | RunEvent::Occupancy { .. } => {}
            RunEvent::Dropped { stream, dropped, .. } => {
                debug!(stream = stream.0, ?dropped, "frames dropped");
            }
            RunEvent::Output { stream, failing } => debug!(stream = stream.0, ?failing, "outputs"),
            RunEvent::Serving { stream, address } => info!(stream = stream.0, address, "serving"),
            RunEvent::Notice(text) | RunEvent::Occurrence(text) => debug!(text, "notice"),
            RunEvent::Failed { stream, error, .. } => {
                warn!(stream = stream.map(|stream| stream.0), %error, "failed");
            }
        }
    }
}
