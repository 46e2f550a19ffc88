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

/// How a frame becomes the input tensor, f32 `[B,3,H,W]`: `(rgb * scale - mean) / std`, per channel.
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
    /// Where the frame sits in the tensor.
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

/// Element type that a graph takes frames in.
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
    /// Name of the input that takes the frames.
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

    /// Number of f32 elements of the tensor, `B·3·H·W`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch * self.frame_len()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `[B, 3, H, W]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 4] {
        [self.batch, 3, self.size.height as usize, self.size.width as usize]
    }
}

/// A batch of frames as the model takes them, f32 `[B,3,H,W]`, in memory that is reused from run to run.
///
/// The memory lies on the host. Steps reach it only through this type, so that it can lie on a device one day.
#[derive(Debug)]
pub struct InputTensor {
    shape: InputShape,
    /// At least as long as the shape says; what lies beyond is not used.
    host: Vec<f32>,
}

impl InputTensor {
    /// A tensor whose elements are all `value`.
    #[must_use]
    pub fn filled(shape: InputShape, value: f32) -> Self {
        Self { shape, host: vec![value; shape.len()] }
    }

    /// A tensor of these elements, row-major; `None` where they are not as many as the shape says.
    #[must_use]
    pub fn of(shape: InputShape, host: Vec<f32>) -> Option<Self> {
        (host.len() == shape.len()).then_some(Self { shape, host })
    }

    /// The frames of several tensors of one frame size, one after the other; `None` when there are none, or their sizes differ.
    #[must_use]
    pub fn stacked<'a>(tensors: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut tensors = tensors.into_iter();
        let first = tensors.next()?;
        let mut stack = Self { shape: first.shape, host: first.host().to_vec() };
        for tensor in tensors {
            if tensor.shape.size != stack.shape.size {
                return None;
            }
            stack.host.extend_from_slice(tensor.host());
            stack.shape.batch += tensor.shape.batch;
        }
        Some(stack)
    }

    /// Gives the tensor another shape, keeping its memory where that is large enough. Elements keep whatever value they had:
    /// the caller writes the slots that count.
    pub fn reshape(&mut self, shape: InputShape) {
        if self.host.len() < shape.len() {
            self.host.resize(shape.len(), 0.0);
        }
        self.shape = shape;
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// The slots of its frames, in order.
    pub fn slots(&mut self) -> impl Iterator<Item = TensorSlot<'_>> {
        let InputShape { size, .. } = self.shape;
        let len = self.shape.len();
        self.host[..len].chunks_exact_mut(self.shape.frame_len().max(1)).map(move |data| TensorSlot { size, data })
    }

    /// The elements in host memory, row-major.
    #[must_use]
    pub fn host(&self) -> &[f32] {
        &self.host[..self.shape.len()]
    }
}

/// One frame's place in an [`InputTensor`], f32 `[3,H,W]`, to be written.
#[derive(Debug)]
pub struct TensorSlot<'a> {
    size: Size,
    data: &'a mut [f32],
}

impl TensorSlot<'_> {
    /// Pixels.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The planes of its three channels, in the tensor's order, each `H·W` elements, row by row.
    pub fn planes(&mut self) -> [&mut [f32]; 3] {
        let pixels = self.data.len() / 3;
        let (first, rest) = self.data.split_at_mut(pixels);
        let (second, third) = rest.split_at_mut(pixels);
        [first, second, third]
    }

    /// All elements.
    pub fn host_mut(&mut self) -> &mut [f32] {
        self.data
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
