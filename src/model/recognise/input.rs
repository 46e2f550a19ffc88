//! Which input takes the frames, in what form, and what else is asked for.

use super::signature::{describe, describe_all};
use crate::geometry::Size;
use crate::model::facts::{Dim, Element, OnnxFacts, TensorFacts};
use crate::tensor::{InputElement, InputPort};

/// Longest side of an input, pixels: more than `--imgsz` gives, and 800 MB of tensor.
const MAX_SIDE: usize = 8192;
/// Most frames a run, as `--batch` has it.
const MAX_BATCH: usize = 64;
/// Most elements of an input: 1 GB of f32.
const MAX_ELEMENTS: usize = 1 << 28;

/// The graph's inputs, understood.
pub(super) struct Input {
    pub port: InputPort,
    /// Frames a run takes, if that is fixed.
    pub batch: Option<usize>,
    /// Size, if it is fixed.
    pub size: Option<Size>,
}

/// Finds out; the error says what was seen.
pub(super) fn read(facts: &OnnxFacts) -> Result<Input, String> {
    let (frames, others): (Vec<&TensorFacts>, Vec<_>) = facts.inputs.iter().partition(|i| i.dims.len() == 4);
    let sizes = |i: &&TensorFacts| {
        i.element == Element::I64
            && i.name.to_ascii_lowercase().contains("size")
            && matches!(i.dims.as_slice(), [_, two] if two.fixed().is_none_or(|n| n == 2))
    };
    let (input, target_sizes) = match (frames.as_slice(), others.as_slice()) {
        ([one], []) => (*one, None),
        ([one], [second]) if sizes(second) => (*one, Some(second.name.clone())),
        _ => {
            let seen = describe_all(&facts.inputs);
            return Err(format!(
                "expected one input [B,3,H,W], perhaps with the sizes that boxes are scaled to (I64 [B,2]), found: {seen}"
            ));
        }
    };
    let [batch, second, third, fourth] = input.dims.as_slice() else {
        return Err(format!("expected an input [B,3,H,W], found {}", describe(input)));
    };
    let channels_last = second.fixed() != Some(3) && fourth.fixed() == Some(3);
    let (channels, height, width) = if channels_last { (fourth, second, third) } else { (second, third, fourth) };
    let element = match input.element {
        Element::F32 => InputElement::F32,
        Element::F16 => InputElement::F16,
        Element::U8 => InputElement::U8,
        _ => return Err(format!("expected an input of type F32, F16 or U8, found {}", describe(input))),
    };
    if channels.fixed().is_some_and(|c| c != 3) {
        return Err(format!("expected an input [B,3,H,W] or [B,H,W,3], found {}", describe(input)));
    }
    let within = |dim: &Dim, most: usize| dim.fixed().is_none_or(|n| (1..=most).contains(&n));
    let elements = input.dims.iter().filter_map(Dim::fixed).try_fold(1usize, usize::checked_mul);
    let small = elements.is_some_and(|n| n <= MAX_ELEMENTS);
    if !small || !within(batch, MAX_BATCH) || !within(height, MAX_SIDE) || !within(width, MAX_SIDE) {
        return Err(format!(
            "expected an input of up to {MAX_BATCH} frames, each of 1 to {MAX_SIDE} pixels a side, and of at most 2^28 \
             elements, found {}",
            describe(input)
        ));
    }
    let side = |dim: &Dim| dim.fixed().and_then(|n| u32::try_from(n).ok());
    let symbol = |dim: &Dim| match dim {
        Dim::Dynamic(name) => Some(name.clone()),
        Dim::Fixed(_) => None,
    };
    Ok(Input {
        port: InputPort {
            name: input.name.clone(),
            element,
            channels_last,
            symbols: [symbol(batch), symbol(height), symbol(width)],
            target_sizes,
        },
        batch: batch.fixed(),
        size: side(width).zip(side(height)).map(|(width, height)| Size { width, height }),
    })
}
