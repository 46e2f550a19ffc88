//! The numbers between resampled YUV and the tensor's values.

use crate::frame::{Colour, Range};
use crate::tensor::{ChannelOrder, InputSpec};

use super::axis::ONE;

/// The colour matrix with the model's scale, mean and standard deviation folded in.
///
/// It takes samples as [`resample`](super::kernels::Backend::resample) leaves them: minus their zero, times [`ONE`].
/// Arrays are in the order red, green, blue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conversion {
    /// Factor on luma.
    pub luma: [f32; 3],
    /// Factor on V for red.
    pub red_v: f32,
    /// Factor on U for green.
    pub green_u: f32,
    /// Factor on V for green.
    pub green_v: f32,
    /// Factor on U for blue.
    pub blue_u: f32,
    /// What black becomes; added.
    pub black: [f32; 3],
    /// Lower limit: the value of 8-bit 0 (or of 255, for a negative scale).
    pub lowest: [f32; 3],
    /// Upper limit: the value of 8-bit 255 (or of 0).
    pub highest: [f32; 3],
    /// Whether values are rounded to whole 8-bit levels.
    pub whole: bool,
    /// From one 8-bit level to the next.
    pub level: [f32; 3],
    /// Value of the padding.
    pub pad: [f32; 3],
    /// Sample value that means zero: of luma, and of chroma.
    pub zeros: [u8; 2],
}

/// The tensor channel that red, green and blue go to.
pub(super) fn channels(order: ChannelOrder) -> [usize; 3] {
    match order {
        ChannelOrder::Rgb => [0, 1, 2],
        ChannelOrder::Bgr => [2, 1, 0],
    }
}

#[expect(clippy::cast_possible_truncation, reason = "computed in f64, used in f32")]
impl Conversion {
    /// For frames in `colour`; `whole` says whether to round to 8-bit levels.
    pub fn new(colour: Colour, spec: &InputSpec, whole: bool) -> Self {
        let (kr, kb) = colour.matrix.coefficients();
        let (kr, kb) = (f64::from(kr), f64::from(kb));
        let kg = 1.0 - kr - kb;
        // 8-bit RGB per step of a sample: nominal excursions 219 (luma) and 224 (chroma) of BT.601, 709 and 2020.
        let (luma, chroma, black) = match colour.range {
            Range::Limited => (255.0 / 219.0, 255.0 / 224.0, 16),
            Range::Full => (1.0, 1.0, 0),
        };
        let channel = channels(spec.order);
        let gain = channel.map(|c| f64::from(spec.scale) / f64::from(spec.std[c]));
        // As the formula is written and in f32, so that 0, the padding and 255 come out as any other program has them.
        let value = |level: u8| channel.map(|c| (f32::from(level) * spec.scale - spec.mean[c]) / spec.std[c]);
        let (zero, full) = (value(0), value(255));
        let unit = 1.0 / f64::from(ONE);
        Self {
            luma: gain.map(|gain| (gain * luma * unit) as f32),
            red_v: (gain[0] * chroma * unit * 2.0 * (1.0 - kr)) as f32,
            green_u: (gain[1] * chroma * unit * -2.0 * kb * (1.0 - kb) / kg) as f32,
            green_v: (gain[1] * chroma * unit * -2.0 * kr * (1.0 - kr) / kg) as f32,
            blue_u: (gain[2] * chroma * unit * 2.0 * (1.0 - kb)) as f32,
            black: zero,
            lowest: std::array::from_fn(|i| zero[i].min(full[i])),
            highest: std::array::from_fn(|i| zero[i].max(full[i])),
            whole,
            level: gain.map(|gain| gain as f32),
            pad: value(spec.pad),
            zeros: [black, 128],
        }
    }
}
