//! A stream for viewers in this process: its access units go to a hub as a byte stream, made once for all of them.

use std::sync::Arc;

use gstreamer as gst;

use super::live::Keyframes;
use crate::clock::StreamTime;
use crate::sink::avc::Avc;
use crate::sink::encode::KeyframeRequester;
use crate::sink::error::SinkError;
use crate::sink::hub::{EncodedFrame, Hub, Watched};
use crate::sink::output::{AccessUnit, Branch, FinishedOutputs};
use crate::stream::LiveOutput;

/// A stream that can be watched.
pub(super) struct Watch {
    hub: Hub,
    /// What the hub had counted before.
    before: Watched,
    format: Option<Avc>,
    keyframes: Keyframes,
}

impl Watch {
    /// For this hub, which may have viewers already: they are this branch's.
    pub fn open(hub: &Hub) -> Self {
        let totals = hub.totals();
        let before = Watched { viewers: totals.viewers.saturating_sub(hub.viewers() as u64), ..totals };
        Self { hub: hub.clone(), before, format: None, keyframes: Keyframes::default() }
    }
}

impl Branch for Watch {
    fn name(&self) -> String {
        self.hub.name().to_owned()
    }

    fn format(&mut self, caps: &gst::Caps, keyframes: &KeyframeRequester) -> Result<(), SinkError> {
        self.format = Avc::of(caps);
        self.keyframes.set_encoder(keyframes);
        if let Some(format) = &self.format {
            self.hub.set_profile(format.profile());
        }
        Ok(())
    }

    fn access_unit(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        if !self.hub.is_watched() {
            return Ok(());
        }
        let Some(format) = &self.format else { return Ok(()) };
        let Ok(bytes) = unit.buffer.map_readable() else { return Ok(()) };
        // One that is damaged cannot be shown; the next keyframe can.
        let Some(data) = format.byte_stream(&bytes, unit.is_keyframe) else { return Ok(()) };
        let pts = StreamTime { ns: unit.pts.nseconds() };
        if self.hub.push(&EncodedFrame { data: Arc::from(data), pts, is_keyframe: unit.is_keyframe }) {
            self.keyframes.request();
        }
        Ok(())
    }

    fn audio_format(&mut self, _: usize, _: &gst::Caps) {}

    fn audio(&mut self, _: usize, _: Option<&gst::Buffer>) {}

    fn finish(self: Box<Self>, _: bool, finished: &mut FinishedOutputs) {
        let Watched { viewers, sent, skipped } = self.hub.totals();
        finished.sent(LiveOutput {
            uri: self.hub.name().to_owned(),
            frames_sent: sent - self.before.sent,
            frames_lost: skipped - self.before.skipped,
            reconnects: 0,
            clients: Some(viewers - self.before.viewers),
            clients_refused: None,
        });
    }
}
