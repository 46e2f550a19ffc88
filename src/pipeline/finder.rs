//! What finds the objects of a run's frames: a model, or a file that says what was found before.

use std::sync::Arc;

use crate::clock::Clock;
use crate::detector::{Detector, DetectorOptions, Recorded, RecordedError, Timings};
use crate::frame::DecodedFrame;
use crate::geometry::{Letterbox, Placement, Size};
use crate::inference::Runtime;
use crate::model::{Model, Origin};
use crate::postprocess::Thresholds;

/// What a run detects with.
pub enum Finder {
    /// A model, and what runs it.
    Model(Box<Model>, Runtime),
    /// Detections from a file: no model is loaded.
    File(Arc<Recorded>),
}

impl Finder {
    /// What is said of it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Model(model, _) => (&**model).into(),
            Self::File(recorded) => recorded.origin(),
        }
    }

    /// Makes what detects; nothing where a file does.
    pub(super) fn detector(&self, options: DetectorOptions) -> Option<Detector> {
        match self {
            Self::Model(model, runtime) => Some(Detector::new(runtime, model, options)),
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
