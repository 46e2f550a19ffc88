//! Element types other than f32, and channels last: converted on the way in and on the way out.

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::session::{SessionInputValue, SessionOutputs};
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};

use crate::tensor::{InputElement, InputPort, InputShape, InputTensor, OutputView};

/// The input tensor in the graph's element type and layout, where those are not f32 `[B,3,H,W]`; reused from run to run.
#[derive(Debug, Default)]
pub(super) struct ConvertedInput {
    f32: Vec<f32>,
    f16: Vec<f16>,
    u8: Vec<u8>,
}

impl ConvertedInput {
    /// The input value for `tensor`: a view of it where the graph takes f32 `[B,3,H,W]`, else of a copy.
    pub(super) fn value<'a>(
        &'a mut self,
        port: &InputPort,
        tensor: &'a InputTensor,
    ) -> ort::Result<SessionInputValue<'a>> {
        let (shape, planes) = (tensor.shape(), tensor.host());
        let [batch, channels, height, width] = shape.dims();
        let dims = if port.channels_last { [batch, height, width, channels] } else { shape.dims() };
        Ok(match (port.element, port.channels_last) {
            (InputElement::F32, false) => TensorRef::from_array_view((dims, planes))?.into(),
            (InputElement::F32, true) => {
                interleave(planes, shape, &mut self.f32, |value| value);
                TensorRef::from_array_view((dims, self.f32.as_slice()))?.into()
            }
            (InputElement::F16, false) => {
                self.f16.resize(planes.len(), f16::ZERO);
                self.f16.convert_from_f32_slice(planes);
                TensorRef::from_array_view((dims, self.f16.as_slice()))?.into()
            }
            (InputElement::F16, true) => {
                interleave(planes, shape, &mut self.f16, f16::from_f32);
                TensorRef::from_array_view((dims, self.f16.as_slice()))?.into()
            }
            (InputElement::U8, false) => {
                self.u8.clear();
                self.u8.extend(planes.iter().copied().map(byte));
                TensorRef::from_array_view((dims, self.u8.as_slice()))?.into()
            }
            (InputElement::U8, true) => {
                interleave(planes, shape, &mut self.u8, byte);
                TensorRef::from_array_view((dims, self.u8.as_slice()))?.into()
            }
        })
    }
}

/// The nearest byte.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast holds to the type's range")]
fn byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// `[B,3,H,W]` to `[B,H,W,3]`, element by element through `convert`.
fn interleave<T>(planes: &[f32], shape: InputShape, out: &mut Vec<T>, convert: impl Fn(f32) -> T) {
    out.clear();
    out.reserve(planes.len());
    let pixels = shape.frame_len() / 3;
    for frame in planes.chunks_exact(shape.frame_len().max(1)) {
        let (first, rest) = frame.split_at(pixels);
        let (second, third) = rest.split_at(pixels);
        for ((a, b), c) in first.iter().zip(second).zip(third) {
            out.extend([convert(*a), convert(*b), convert(*c)]);
        }
    }
}

/// An output that cannot be read as f32.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputReadError {
    /// It is of another kind.
    #[error("output {name:?} is {kind}, not a tensor of numbers")]
    NotNumbers {
        /// Its name in the graph.
        name: String,
        /// What it is.
        kind: String,
    },
    /// The runtime does not give it.
    #[error(transparent)]
    Runtime(#[from] ort::Error),
}

/// A run's outputs as f32; buffers for those of another type are reused from run to run.
#[derive(Debug, Default)]
pub(super) struct OutputReader {
    converted: Vec<Vec<f32>>,
}

impl OutputReader {
    /// Shows every output to `read`, f32 ones where they lie.
    pub(super) fn show<R>(
        &mut self,
        outputs: &SessionOutputs<'_>,
        read: impl FnOnce(&[OutputView<'_>]) -> R,
    ) -> Result<R, OutputReadError> {
        self.converted.resize(outputs.len(), Vec::new());
        let values: Vec<_> = outputs.iter().collect();
        for ((name, value), buffer) in values.iter().zip(&mut self.converted) {
            convert(name, value, buffer)?;
        }
        let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(values.len());
        for (name, value) in &values {
            let ValueType::Tensor { shape, .. } = value.dtype() else { return Err(not_numbers(name, value)) };
            shapes.push(shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect());
        }
        let mut views = Vec::with_capacity(values.len());
        for (((name, value), shape), buffer) in values.iter().zip(&shapes).zip(&self.converted) {
            let data = match element(value) {
                // An empty tensor may have no memory at all.
                _ if shape.contains(&0) => &[],
                Some(TensorElementType::Float32) => value.try_extract_tensor::<f32>()?.1,
                _ => buffer,
            };
            views.push(OutputView { name, shape, data });
        }
        Ok(read(&views))
    }
}

fn element(value: &DynValue) -> Option<TensorElementType> {
    match value.dtype() {
        ValueType::Tensor { ty, .. } => Some(*ty),
        _ => None,
    }
}

fn not_numbers(name: &str, value: &DynValue) -> OutputReadError {
    OutputReadError::NotNumbers { name: name.to_owned(), kind: value.dtype().to_string() }
}

/// Fills `buffer` with an output that is not f32. Integers beyond 2^24 lose their last digits; no class or count is one.
#[expect(clippy::cast_precision_loss, reason = "said above")]
fn convert(name: &str, value: &DynValue, buffer: &mut Vec<f32>) -> Result<(), OutputReadError> {
    buffer.clear();
    match element(value) {
        Some(TensorElementType::Float32) => {}
        Some(_) if value.shape().num_elements() == 0 => {}
        Some(TensorElementType::Float16) => {
            let (_, data) = value.try_extract_tensor::<f16>()?;
            buffer.resize(data.len(), 0.0);
            data.convert_to_f32_slice(buffer);
        }
        Some(TensorElementType::Int64) => {
            let (_, data) = value.try_extract_tensor::<i64>()?;
            buffer.extend(data.iter().map(|n| *n as f32));
        }
        Some(TensorElementType::Int32) => {
            let (_, data) = value.try_extract_tensor::<i32>()?;
            buffer.extend(data.iter().map(|n| *n as f32));
        }
        Some(TensorElementType::Uint8) => {
            let (_, data) = value.try_extract_tensor::<u8>()?;
            buffer.extend(data.iter().map(|n| f32::from(*n)));
        }
        _ => return Err(not_numbers(name, value)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    #[test]
    fn planes_are_interleaved_and_rounded() {
        let shape = InputShape { batch: 2, size: Size { width: 2, height: 1 } };
        let planes = [0.4, 1.6, 10.0, 11.0, 254.6, 300.0, -3.0, f32::NAN, 1.0, 2.0, 3.0, 4.0];
        let mut bytes = Vec::new();
        interleave(&planes, shape, &mut bytes, byte);
        assert_eq!(bytes, [0, 10, 255, 2, 11, 255, 0, 1, 3, 0, 2, 4]);
    }
}
