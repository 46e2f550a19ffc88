//! Waiting at a pipeline's bus, and waking the thread that does.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::shutdown::{OnRequest, Shutdown};

/// Name of the message; it says only that the thread should look again.
const WAKE: &str = "streamdet-wake";

/// Posts messages to a pipeline's bus, so that the thread that waits there looks again.
#[derive(Debug, Clone)]
pub(super) struct Waker(gst::Bus);

impl Waker {
    pub fn new(pipeline: &gst::Pipeline) -> Self {
        Self(pipeline.bus().expect("a pipeline has a bus"))
    }

    /// The bus it wakes at.
    pub fn bus(&self) -> &gst::Bus {
        &self.0
    }

    /// Wakes it; a message that is not taken stays on the bus until the pipeline goes.
    pub fn wake(&self) {
        let message = gst::message::Application::new(gst::Structure::new_empty(WAKE));
        // A bus that is flushing belongs to a pipeline that is being shut down: no thread waits there.
        self.0.post(message).ok();
    }

    /// From now on a request of `shutdown` requests `stop` and wakes it.
    pub fn on_request(&self, shutdown: &Shutdown, stop: &Shutdown) -> OnRequest {
        let (waker, stop) = (self.clone(), stop.clone());
        shutdown.on_request(move || {
            stop.request();
            waker.wake();
        })
    }
}

/// The next message, within `time`.
pub(super) fn next_message(bus: &gst::Bus, time: Duration) -> Option<gst::Message> {
    bus.timed_pop(gst::ClockTime::try_from(time).unwrap_or(gst::ClockTime::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_the_wait_at_the_bus() {
        gst::init().expect("GStreamer");
        let pipeline = gst::Pipeline::new();
        // In Null, the bus takes no messages.
        pipeline.set_state(gst::State::Ready).expect("an empty pipeline");
        let waker = Waker::new(&pipeline);
        let (shutdown, stop) = (Shutdown::new(), Shutdown::new());
        let _stopping = waker.on_request(&shutdown, &stop);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                std::iter::from_fn(|| next_message(waker.bus(), Duration::from_mins(1)))
                    .any(|message| message.type_() == gst::MessageType::Application)
            });
            shutdown.request();
            assert!(waiter.join().expect("no panic"));
        });
        assert!(stop.is_requested());
        pipeline.set_state(gst::State::Null).expect("an empty pipeline");
    }
}
