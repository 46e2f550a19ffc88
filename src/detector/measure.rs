//! The model alone: for measuring it, or for finding out whether it runs, without the steps around it.

use std::path::PathBuf;
use std::time::Duration;

use super::{DetectError, Detector};
use crate::frame::FrameView;
use crate::geometry::Size;
use crate::inference::{Engine, InferenceError};
use crate::tensor::{InputShape, InputTensor, OutputView};

impl Detector {
    /// Size of the tensor for the whole of a frame of size `frame`, pixels.
    #[must_use]
    pub fn tensor_size(&self, frame: Size) -> Size {
        self.model.tensor_size(frame, self.options.wanted.imgsz)
    }

    /// A frame as the model takes it: `[1,3,H,W]`, letterboxed into `size`.
    #[must_use]
    pub fn pack(&mut self, frame: &FrameView<'_>, size: Size) -> InputTensor {
        let mut tensor = InputTensor::filled(InputShape { batch: 1, size }, 0.0);
        for slot in tensor.slots() {
            self.preprocessor.run(frame, slot);
        }
        tensor
    }

    /// Makes the session for tensors of just this shape.
    ///
    /// # Errors
    /// When no execution provider, or not the one that was asked for, takes the model.
    pub fn prepare(&mut self, shape: InputShape) -> Result<(), DetectError> {
        self.session(shape).map(|_| ())
    }

    /// Runs the model on `tensor`, without reading its outputs; the elapsed time of the run, the making of a session left out.
    ///
    /// # Errors
    /// When the model does not run.
    pub fn infer(&mut self, tensor: &InputTensor) -> Result<Duration, DetectError> {
        let clock = self.options.clock.clone();
        let engine = self.session(tensor.shape())?;
        let start = clock.now();
        Ok(engine.run(tensor, |_| clock.now().since(start))?)
    }

    /// Runs the model on `tensor`, of whatever batch, and shows its outputs as they are to `read`.
    ///
    /// # Errors
    /// When the model does not run.
    pub fn run_tensor<R>(
        &mut self,
        tensor: &InputTensor,
        read: impl FnOnce(&[OutputView<'_>]) -> R,
    ) -> Result<R, DetectError> {
        Ok(self.prepare_shape(tensor.shape(), None)?.run(tensor, read)?)
    }

    /// Finishes the trace of the session for `shape`, which [`ProviderOptions::trace`] asked for; its path. Nothing is recorded
    /// from then on.
    ///
    /// # Errors
    /// When there is no such session, or its trace cannot be written.
    ///
    /// [`ProviderOptions::trace`]: crate::inference::ProviderOptions::trace
    pub fn end_profiling(&mut self, shape: InputShape) -> Result<PathBuf, DetectError> {
        let engine = self.engine.as_mut().ok_or(InferenceError::NoSession)?;
        Ok(engine.end_profiling(shape)?)
    }

    /// The engine, with a session for `shape`.
    fn session(&mut self, shape: InputShape) -> Result<&mut Engine, DetectError> {
        self.prepare_shape(shape, Some(shape.batch))
    }
}
