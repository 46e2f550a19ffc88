//! What a profiled model is fed: frames of a source, or noise.

use crate::detector::{Detector, DetectorOptions, Wanted};
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::inference::Runtime;
use crate::model::Model;
use crate::tensor::{InputShape, InputTensor};
use crate::text::counted;

/// Tensors that runs take in turns.
const TENSORS: usize = 8;

/// Tensors of one shape, and what they show.
#[derive(Debug)]
pub struct Input {
    /// Taken in turns; at least one.
    pub tensors: Vec<InputTensor>,
    /// What they show, for people.
    pub name: String,
}

impl Input {
    /// One tensor of noise, in the model's range of values.
    #[must_use]
    pub fn noise(model: &Model, imgsz: Size, batch: usize) -> Self {
        let shape = InputShape { batch, size: model.tensor_size(imgsz, imgsz) };
        let mut tensor = InputTensor::filled(shape, 0.0);
        let mut state = 1u32;
        let spec = &model.input;
        for mut slot in tensor.slots() {
            for ((plane, mean), std) in slot.planes().into_iter().zip(spec.mean).zip(spec.std) {
                for value in plane {
                    // Numerical Recipes' linear congruential generator; its upper bits are the random ones.
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *value = (f32::from(state.to_be_bytes()[0]) * spec.scale - mean) / std;
                }
            }
        }
        Self { tensors: vec![tensor], name: "noise".into() }
    }
}

/// Packs the first frames of a source.
pub struct FrameInput {
    detector: Detector,
    batch: usize,
    /// That of the first frame: all tensors are of one shape.
    size: Option<Size>,
    packed: Vec<InputTensor>,
}

impl FrameInput {
    /// For batches of `batch` frames, fitted into `imgsz` where the model's input size is dynamic.
    #[must_use]
    pub fn new(runtime: &Runtime, model: &Model, imgsz: Size, batch: usize) -> Self {
        let wanted = Wanted { imgsz, ..Wanted::of(model) };
        let options = DetectorOptions { wanted, ..DetectorOptions::of(model) };
        Self { detector: Detector::new(runtime, model, options), batch, size: None, packed: Vec::new() }
    }

    /// How many frames are wanted.
    #[must_use]
    pub fn wanted(&self) -> u64 {
        TENSORS.max(self.batch) as u64
    }

    /// Adds a frame.
    pub fn add(&mut self, frame: &DecodedFrame) {
        let view = frame.pixels.view();
        let size = *self.size.get_or_insert_with(|| self.detector.tensor_size(view.info.size));
        self.packed.push(self.detector.pack(&view, size));
    }

    /// The frames in whole batches, as those of a source called `name`; `None` where there was none.
    #[must_use]
    pub fn finish(self, name: &str) -> Option<Input> {
        let (packed, batch) = (self.packed, self.batch);
        let frames = packed.len();
        if frames == 0 {
            return None;
        }
        let whole = (frames / batch).max(1);
        let stacked = |tensor: usize| InputTensor::stacked((0..batch).map(|i| &packed[(tensor * batch + i) % frames]));
        let tensors = (0..whole).filter_map(stacked).collect();
        let name = format!("{} of {name}", counted(frames.min(whole * batch) as u64, "frame"));
        Some(Input { tensors, name })
    }
}
