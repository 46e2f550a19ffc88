//! What one stream has to say, made on its thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::follow::{Change, Follower, What};
use super::inbox::{Inbox, Produced};
use super::lines;
use super::plan::{Format, On, Route};
use super::views::Views;
use super::{deepstream, frigate};
use crate::detections::json::{write_event, write_line};
use crate::detections::{DetectedFrame, DetectionError, DetectionSink, StreamEvent, class_name};
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::stream::{StreamId, StreamInfo};

/// Makes a stream's messages, and hands them over to every broker's inbox.
pub(super) struct PublishSink {
    pub stream: StreamId,
    /// In topics.
    pub name: String,
    pub classes: Arc<[String]>,
    pub routes: Vec<(Arc<Route>, Inbox)>,
    pub format: Format,
    pub on: On,
    /// A moment's wait costs no frame.
    pub may_wait: bool,
    pub interval_ns: u64,
    /// Of the objects that are followed, where they are asked for.
    pub views: Option<Views>,
    pub follower: Follower,
    /// Objects by class in the newest frame, those that are gone with 0.
    pub counts: Option<BTreeMap<u16, u32>>,
    /// What was in the frame that was published last, and from when on the next one may be.
    pub told: Option<Vec<(u16, Option<u32>)>>,
    pub next_ns: u64,
    /// Of the newest frame.
    pub size: Size,
}

impl PublishSink {
    fn push(&self, topic: &str, payload: &[u8]) {
        for (route, inbox) in &self.routes {
            let message = Produced { topic: topic.to_owned(), payload: payload.to_owned() };
            if !inbox.push(message, self.may_wait) && inbox.is_gone() {
                route.figures.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn set(&self, topic: &str, payload: &[u8]) {
        self.inboxes().for_each(|inbox| inbox.set(topic, payload.to_vec()));
    }

    fn inboxes(&self) -> impl Iterator<Item = &Inbox> {
        self.routes.iter().map(|(_, inbox)| inbox)
    }

    /// A topic of the stream, below the prefix.
    fn topic(&self, of: &str) -> String {
        format!("{}/{of}", self.name)
    }

    fn class(&self, id: u16) -> &str {
        class_name(&self.classes, id)
    }

    /// Publishes how many objects there are, where that has changed.
    fn count(&mut self, frame: &DecodedFrame) {
        let known = self.counts.iter().flat_map(BTreeMap::keys);
        let mut now: BTreeMap<u16, u32> = known.map(|class| (*class, 0)).collect();
        for found in &frame.detections {
            *now.entry(found.class_id).or_default() += 1;
        }
        if self.counts.as_ref() == Some(&now) {
            return;
        }
        let before = self.counts.replace(now.clone()).unwrap_or_default();
        let all: u32 = now.values().sum();
        match self.format {
            Format::Frigate => {
                for (class, count) in now.iter().filter(|(class, count)| before.get(class) != Some(count)) {
                    self.set(&self.topic(&label(self.class(*class))), count.to_string().as_bytes());
                }
                self.set(&self.topic("all"), all.to_string().as_bytes());
            }
            Format::Streamdet => {
                let counts = now.iter().map(|(class, count)| (self.class(*class).to_owned(), (*count).into()));
                let counts: serde_json::Map<String, serde_json::Value> = counts.collect();
                let counts = serde_json::json!({ "all": all, "classes": counts });
                self.set(&self.topic(COUNTS), counts.to_string().as_bytes());
            }
            Format::DeepStreamMinimal => {}
        }
    }

    /// Whether this frame is to be published.
    fn is_due(&mut self, frame: &DecodedFrame) -> bool {
        let mut now: Vec<_> = frame.detections.iter().map(|d| (d.class_id, d.track.map(|track| track.id))).collect();
        now.sort_unstable();
        let is_other = self.on == On::Frame || self.told.as_ref() != Some(&now);
        let is_due = !frame.events.is_empty() || (is_other && frame.pts.ns >= self.next_ns);
        if is_due {
            self.told = Some(now);
            self.next_ns = frame.pts.ns.saturating_add(self.interval_ns);
        }
        is_due
    }

    /// The frame as a message.
    fn whole(&self, frame: &DecodedFrame, size: Size) -> Vec<u8> {
        if self.format == Format::DeepStreamMinimal {
            let time = jiff::Timestamp::now();
            let time = format!("{time:.3}");
            return deepstream::frame(frame.index, &self.name, &time, &frame.detections, &self.classes);
        }
        let mut line = Vec::with_capacity(512);
        // Nothing that is written into memory fails.
        let _ = write_line(&mut line, frame, size, &self.classes);
        line
    }

    fn tell(&mut self, changes: &[Change]) {
        for change in changes {
            let ended = self.views.as_mut().filter(|_| change.what == What::End);
            let crop = ended.and_then(|views| views.take(change.after.id));
            let class = self.class(change.after.class_id);
            if self.format == Format::Frigate {
                self.push(frigate::EVENTS, &frigate::event(change, &self.name, class));
                if let Some(jpeg) = crop {
                    self.set(&self.topic(&format!("{}/{}", label(class), frigate::SNAPSHOT)), &jpeg);
                }
                continue;
            }
            let line = |crop| lines::track(change, self.stream, self.size, class, crop);
            let with_crop = crop.as_deref().map(|jpeg| line(Some(jpeg)));
            // A message without its crop is more than none.
            let fits = |line: &Vec<u8>| self.may_wait || self.inboxes().all(|inbox| inbox.takes(line.len()));
            self.push(&self.topic(EVENTS), &with_crop.filter(fits).unwrap_or_else(|| line(None)));
        }
    }
}

/// Topic of counts by class.
pub(super) const COUNTS: &str = "counts";
/// Topic of what is not a frame.
pub(super) const EVENTS: &str = "events";
/// Topic of frames.
const DETECTIONS: &str = "detections";

/// A class as the last part of a topic.
fn label(class: &str) -> String {
    class.chars().map(|c| if "/+#".contains(c) || c.is_control() { '_' } else { c }).collect()
}

impl DetectionSink for PublishSink {
    fn open(&mut self, _: &StreamInfo) -> Result<(), DetectionError> {
        self.inboxes().for_each(Inbox::open);
        Ok(())
    }

    fn frame(&mut self, detected: &DetectedFrame<'_>) -> Result<(), DetectionError> {
        let DetectedFrame { frame, size } = *detected;
        self.size = size;
        self.count(frame);
        match self.on {
            On::Frame | On::Change => {
                if self.is_due(frame) {
                    self.push(&self.topic(DETECTIONS), &self.whole(frame, size));
                }
            }
            On::Event => {
                if !frame.events.is_empty() {
                    self.push(&self.topic(EVENTS), &self.whole(frame, size));
                }
            }
            On::Track => {
                if let Some(views) = &mut self.views {
                    views.frame(frame, size);
                }
                let wall = jiff::Timestamp::now().as_duration().as_secs_f64();
                let changes = self.follower.frame((frame.index, frame.pts, wall), &frame.detections, &frame.events);
                self.tell(&changes);
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &StreamEvent<'_>) -> Result<(), DetectionError> {
        if self.format == Format::Streamdet {
            let mut line = Vec::with_capacity(256);
            // Nothing that is written into memory fails.
            let _ = write_event(&mut line, self.stream, event, &self.classes);
            self.push(&self.topic(EVENTS), &line);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DetectionError> {
        let changes = self.follower.finish();
        self.tell(&changes);
        self.inboxes().for_each(Inbox::end);
        Ok(())
    }
}

/// A stream whose thread is gone says no more.
impl Drop for PublishSink {
    fn drop(&mut self) {
        self.inboxes().for_each(Inbox::end);
    }
}
