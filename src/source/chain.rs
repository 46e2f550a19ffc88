//! An element that is kept for many images. It has no threads: what is pushed into it comes out within the call, and afterwards it is as
//! if it were new, since stopping an element lets go of all that it knows of a stream.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::filter::orientation;
use super::probe::offer_clean_memory;

/// One buffer with what goes before it.
#[derive(Debug, Clone)]
pub(super) struct Passed {
    pub buffer: gst::Buffer,
    pub caps: gst::Caps,
    pub segment: gst::Segment,
    /// How it lies, as `GStreamer` says it.
    pub orientation: Option<String>,
}

/// An element between two pads of ours.
pub(super) struct Chain {
    element: gst::Element,
    input: gst::Pad,
    output: gst::Pad,
    out: Arc<Mutex<Option<gst::Buffer>>>,
}

impl Chain {
    /// Around `element`, which has one pad on each side; `takes_strides` says whether what comes out may have strides and offsets of its
    /// own.
    pub fn new(element: gst::Element, takes_strides: bool) -> Option<Self> {
        let out = Arc::<Mutex<Option<gst::Buffer>>>::default();
        let input = gst::Pad::new(gst::PadDirection::Src);
        let taken = out.clone();
        let output = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |_, _, buffer| {
                taken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(buffer);
                // One is all.
                Err(gst::FlowError::Eos)
            })
            .build();
        if takes_strides {
            offer_clean_memory(&output);
        }
        input.link(&element.static_pad("sink")?).ok()?;
        element.static_pad("src")?.link(&output).ok()?;
        Some(Self { element, input, output, out })
    }

    /// What the element makes of `given` first; `None` where that is nothing.
    pub fn pass(&self, given: &Passed) -> Option<Passed> {
        let passed = self.pass_once(given);
        self.stop();
        self.out.lock().unwrap_or_else(PoisonError::into_inner).take();
        passed
    }

    fn pass_once(&self, given: &Passed) -> Option<Passed> {
        let pads = [&self.output, &self.input];
        pads.into_iter().try_for_each(|pad| pad.set_active(true)).ok()?;
        self.element.set_state(gst::State::Paused).ok()?;
        let mut tags = gst::TagList::new();
        if let Some(orientation) = &given.orientation {
            tags.make_mut().add::<gst::tags::ImageOrientation>(&orientation.as_str(), gst::TagMergeMode::Replace);
        }
        self.input.push_event(gst::event::StreamStart::new("image"));
        self.input.push_event(gst::event::Caps::new(&given.caps));
        self.input.push_event(gst::event::Segment::new(&given.segment));
        if given.orientation.is_some() {
            self.input.push_event(gst::event::Tag::new(tags));
        }
        // Whether it refused it shows in what comes out.
        self.input.push(given.buffer.clone()).ok();
        if self.out().is_none() {
            // Held back until nothing more comes.
            self.input.push_event(gst::event::Eos::new());
        }
        let buffer = self.out()?;
        let segment = self.output.sticky_event::<gst::event::Segment>(0)?.segment().to_owned();
        Some(Passed { buffer, caps: self.output.current_caps()?, segment, orientation: orientation(&self.output) })
    }

    fn out(&self) -> Option<gst::Buffer> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(&self) {
        self.element.set_state(gst::State::Ready).ok();
        for pad in [&self.input, &self.output] {
            pad.set_active(false).ok();
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.stop();
        self.element.set_state(gst::State::Null).ok();
    }
}
