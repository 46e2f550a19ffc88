//! What finds the objects of a run's frames: a model of its own, one that runs share, or a file that says what was found before.

use std::sync::Arc;

use crate::clock::Clock;
use crate::detector::{Client, Detector, DetectorOptions, Recorded, RecordedError, Service, Timings};
use crate::frame::DecodedFrame;
use crate::geometry::{Letterbox, Placement, Size};
use crate::inference::{ProviderReport, Runtime};
use crate::model::{Model, Origin};
use crate::postprocess::Thresholds;

/// What a run detects with.
pub enum Finder {
    /// A model, and what runs it.
    Model(Box<Model>, Runtime),
    /// A detector that several runs share.
    Service(Arc<Service>, Box<Origin>),
    /// Detections from a file: no model is loaded.
    File(Arc<Recorded>),
}

impl Finder {
    /// What is said of it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Model(model, _) => (&**model).into(),
            Self::Service(_, origin) => (**origin).clone(),
            Self::File(recorded) => recorded.origin(),
        }
    }

    /// Makes what detects, for frames of `one_size` or of many.
    pub(super) fn eye(&self, options: DetectorOptions, one_size: bool) -> Eye<'_> {
        match self {
            Self::Model(model, runtime) => Eye::Own(Box::new(Detector::new(runtime, model, options))),
            Self::Service(service, _) => Eye::Shared(service, service.client(options.wanted, one_size)),
            Self::File(recorded) => Eye::File(recorded),
        }
    }
}

/// What a worker detects with.
pub(super) enum Eye<'a> {
    /// A detector of its own.
    Own(Box<Detector>),
    /// One that others use too.
    Shared(&'a Service, Client),
    /// What was found before.
    File(&'a Recorded),
}

impl Eye<'_> {
    /// The detector, where it is the worker's own.
    pub fn own(&mut self) -> Option<&mut Detector> {
        if let Self::Own(detector) = self { Some(detector) } else { None }
    }

    /// Which execution provider runs, once one does.
    pub fn provider(&self) -> Option<&ProviderReport> {
        match self {
            Self::Own(detector) => detector.provider(),
            Self::Shared(service, _) => Some(service.provider()),
            Self::File(_) => None,
        }
    }
}

/// Gives a frame what the file has of it. It counts as inferred, in no time. Where its size is another one in the file, that.
///
/// # Errors
/// When its shape is another one there.
pub(super) fn look_up(
    recorded: &Recorded,
    frame: &mut DecodedFrame,
    (thresholds, conf): (&Thresholds, f32),
    clock: &dyn Clock,
) -> Result<Option<Size>, RecordedError> {
    let ran_from = clock.now();
    let size = frame.pixels.info().size;
    let scaled = recorded.find((frame.stream, frame.index), size, (thresholds, conf), &mut frame.detections)?;
    frame.letterbox = Some(Letterbox::fit(size, size, Placement::Centre));
    let postprocess = clock.now().since(ran_from);
    Timings { ran_from, postprocess, batch_size: 1, ..Timings::default() }.stamp(&mut frame.stamps);
    Ok(scaled)
}
