//! What the model's tensors are: the shared words between preprocessing, inference and postprocessing.

use crate::geometry::{Placement, Size};

/// Order of the three colour channels in the input tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first (YOLOX as published).
    Bgr,
}

/// How a picture becomes the input tensor, f32 `[B,3,H,W]`: `(rgb * scale - mean) / std`, per channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputSpec {
    /// Channel order of the tensor.
    pub order: ChannelOrder,
    /// Factor on 8-bit values: 1/255 for a range of 0..1, 1 for 0..255.
    pub scale: f32,
    /// Subtracted after scaling, in the tensor's channel order.
    pub mean: [f32; 3],
    /// Divided by after that, in the tensor's channel order.
    pub std: [f32; 3],
    /// Where the picture sits in the tensor.
    pub placement: Placement,
    /// 8-bit value of the padding in all three channels (114 by convention).
    pub pad: u8,
}

impl Default for InputSpec {
    /// RGB, 0..1, centred, padded with 114: what Ultralytics' exports take.
    fn default() -> Self {
        Self {
            order: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            placement: Placement::Centre,
            pad: 114,
        }
    }
}

impl InputSpec {
    /// Largest value before mean and std: 1 or 255. The scale is its 255th part, and rounding is taken out again.
    #[must_use]
    pub fn value_max(&self) -> f32 {
        (self.scale * 255.0 * 1000.0).round() / 1000.0
    }

    /// Whether mean and std change anything.
    #[must_use]
    pub fn normalises(&self) -> bool {
        self.mean.iter().any(|m| *m != 0.0) || self.std.iter().any(|s| (s - 1.0).abs() > f32::EPSILON)
    }
}

/// Element type that a graph takes pictures in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InputElement {
    /// 32-bit float.
    #[default]
    F32,
    /// 16-bit float (IEEE).
    F16,
    /// Unsigned byte: values are rounded, and held to 0..=255.
    U8,
}

/// The inputs of a graph: what a run feeds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputPort {
    /// Name of the input that takes the pictures.
    pub name: String,
    /// Its element type.
    pub element: InputElement,
    /// Whether it is `[B,H,W,3]` (`TensorFlow`) rather than `[B,3,H,W]`.
    pub channels_last: bool,
    /// Symbolic names of batch, height and width in the graph; `None`: a number.
    pub symbols: [Option<String>; 3],
    /// Name of a second input, i64 `[B,2]`, that takes the width and height boxes are to be scaled to (the DETR family's
    /// `orig_target_sizes`). The tensor's own are given, so boxes come in model space.
    pub target_sizes: Option<String>,
}

/// Shape of one run's input tensor, `[batch, 3, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputShape {
    /// Frames in the tensor.
    pub batch: usize,
    /// Pixels.
    pub size: Size,
}

impl InputShape {
    /// Number of f32 elements of one frame, `3·H·W`.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        3 * self.size.width as usize * self.size.height as usize
    }

    /// `[B, 3, H, W]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 4] {
        [self.batch, 3, self.size.height as usize, self.size.width as usize]
    }
}

/// One output tensor of a run, row-major f32.
#[derive(Debug, Clone, Copy)]
pub struct OutputView<'a> {
    /// Name in the graph.
    pub name: &'a str,
    /// Dimensions as they came out of this run.
    pub shape: &'a [usize],
    /// All elements, row-major.
    pub data: &'a [f32],
}
