//! From the decoder's planes to the letterboxed tensor, with no full-frame conversion.
//!
//! A tensor row needs two source rows of each plane: they are blended vertically into a scratch row (contiguous, vector
//! code), sampled horizontally by tables, and turned into RGB. Resizing before the matrix equals resizing after it but
//! for rounding and clamping, as both are linear; sampling is bilinear at half-pixel centres, as `cv2.resize` does it.

use crate::frame::{ChromaSite, PictureInfo, PictureView, PixelFormat, Plane, Range};
use crate::geometry::{Letterbox, Size};
use crate::tensor::{ChannelOrder, InputSpec};

/// Picture shapes whose tables are kept: streams that share a detector alternate.
const PLANS: usize = 4;

/// One output position along an axis: the two source samples and the weight of the second.
#[derive(Debug, Clone, Copy)]
struct Tap {
    first: u32,
    second: u32,
    weight: f32,
}

/// Tables for one picture shape and tensor size.
#[derive(Debug)]
struct Plan {
    info: PictureInfo,
    letterbox: Letterbox,
    luma_x: Vec<Tap>,
    luma_y: Vec<Tap>,
    chroma_x: Vec<Tap>,
    chroma_y: Vec<Tap>,
    matrix: ColourMatrix,
}

/// `rgb = y' * gain + chroma`, all in 0..255.
#[derive(Debug, Clone, Copy)]
struct ColourMatrix {
    y_gain: f32,
    y_offset: f32,
    r_v: f32,
    g_u: f32,
    g_v: f32,
    b_u: f32,
}

/// Packs pictures into tensors. Keeps tables and scratch rows between frames; nothing is allocated per frame.
#[derive(Debug)]
pub struct Preprocessor {
    spec: InputSpec,
    plans: Vec<Plan>,
    blended: Vec<f32>,
    rows: [Vec<f32>; 3],
}

impl Preprocessor {
    /// For a model with this input.
    #[must_use]
    pub fn new(spec: InputSpec) -> Self {
        Self { spec, plans: Vec::new(), blended: Vec::new(), rows: Default::default() }
    }

    /// Letterboxes `picture` into `tensor`, f32 `[3,H,W]` of `size`, every element written. Returns the transform.
    ///
    /// # Panics
    /// When `tensor` does not hold `3·H·W` elements.
    pub fn run(&mut self, picture: &PictureView<'_>, size: Size, tensor: &mut [f32]) -> Letterbox {
        let area = size.width as usize * size.height as usize;
        assert_eq!(tensor.len(), 3 * area, "a tensor of [3,{},{}]", size.height, size.width);
        let index = self.plan(picture.info, size);
        let plan = &self.plans[index];
        let letterbox = plan.letterbox;
        let (width, content) = (size.width as usize, letterbox.content);
        let pad = |channel: usize| (f32::from(self.spec.pad) * self.spec.scale - self.spec.mean[channel]) / self.spec.std[channel];
        let pads = [pad(0), pad(1), pad(2)];
        let gain: [f32; 3] = std::array::from_fn(|c| self.spec.scale / self.spec.std[c]);
        let bias: [f32; 3] = std::array::from_fn(|c| -self.spec.mean[c] / self.spec.std[c]);

        let (first, rest) = tensor.split_at_mut(area);
        let (second, third) = rest.split_at_mut(area);
        let mut channels = [first, second, third];
        let (top, left) = (letterbox.top as usize, letterbox.left as usize);
        let (rows, columns) = (content.height as usize, content.width as usize);
        for (channel, value) in channels.iter_mut().zip(pads) {
            channel[..top * width].fill(value);
            channel[(top + rows) * width..].fill(value);
        }
        for row in &mut self.rows {
            row.resize(columns, 0.0);
        }
        for y in 0..rows {
            let [luma, u, v] = &mut self.rows;
            let blended = &mut self.blended;
            sample_row(&picture.planes[0], 1, 0, plan.luma_y[y], &plan.luma_x, picture.info.size.width, blended, luma);
            let chroma_width = picture.info.plane_size(1).width;
            if picture.info.format == PixelFormat::Nv12 {
                sample_row(&picture.planes[1], 2, 0, plan.chroma_y[y], &plan.chroma_x, chroma_width, blended, u);
                sample_row(&picture.planes[1], 2, 1, plan.chroma_y[y], &plan.chroma_x, chroma_width, blended, v);
            } else {
                sample_row(&picture.planes[1], 1, 0, plan.chroma_y[y], &plan.chroma_x, chroma_width, blended, u);
                sample_row(&picture.planes[2], 1, 0, plan.chroma_y[y], &plan.chroma_x, chroma_width, blended, v);
            }
            let start = (top + y) * width;
            let mut out = channels.iter_mut().map(|channel| &mut channel[start..start + width]);
            let (Some(c0), Some(c1), Some(c2)) = (out.next(), out.next(), out.next()) else { continue };
            for (row, value) in [&mut *c0, &mut *c1, &mut *c2].into_iter().zip(pads) {
                row[..left].fill(value);
                row[left + columns..].fill(value);
            }
            let (c0, c1, c2) =
                (&mut c0[left..left + columns], &mut c1[left..left + columns], &mut c2[left..left + columns]);
            let (red, blue, red_at, blue_at) = match self.spec.order {
                ChannelOrder::Rgb => (c0, c2, 0, 2),
                ChannelOrder::Bgr => (c2, c0, 2, 0),
            };
            let factors = [(gain[red_at], bias[red_at]), (gain[1], bias[1]), (gain[blue_at], bias[blue_at])];
            convert_row(&plan.matrix, luma, u, v, [red, c1, blue], factors);
        }
        letterbox
    }

    fn plan(&mut self, info: PictureInfo, size: Size) -> usize {
        let fits = |p: &Plan| p.info == info && p.letterbox.tensor == size;
        if let Some(index) = self.plans.iter().position(fits) {
            return index;
        }
        if self.plans.len() == PLANS {
            self.plans.remove(0);
        }
        self.plans.push(Plan::new(info, size, &self.spec));
        self.plans.len() - 1
    }
}

impl Plan {
    fn new(info: PictureInfo, size: Size, spec: &InputSpec) -> Self {
        let letterbox = Letterbox::fit(info.size, size, spec.placement);
        let (across, down) = info.format.chroma_shift();
        let chroma = info.plane_size(1);
        // Distance of a chroma sample from the middle of its block of luma samples, in luma samples.
        let shift_x = if across == 1 && info.colour.site == ChromaSite::Left { -0.5 } else { 0.0 };
        Self {
            info,
            letterbox,
            luma_x: taps(letterbox.content.width, info.size.width, 0, 0.0, info.size.width),
            luma_y: taps(letterbox.content.height, info.size.height, 0, 0.0, info.size.height),
            chroma_x: taps(letterbox.content.width, info.size.width, across, shift_x, chroma.width),
            chroma_y: taps(letterbox.content.height, info.size.height, down, 0.0, chroma.height),
            matrix: ColourMatrix::new(info),
        }
    }
}

impl ColourMatrix {
    fn new(info: PictureInfo) -> Self {
        let (kr, kb) = info.colour.matrix.coefficients();
        let kg = 1.0 - kr - kb;
        let (y_gain, y_offset, c_gain) = match info.colour.range {
            Range::Limited => (255.0 / 219.0, 16.0, 255.0 / 224.0),
            Range::Full => (1.0, 0.0, 1.0),
        };
        Self {
            y_gain,
            y_offset,
            r_v: 2.0 * (1.0 - kr) * c_gain,
            g_u: -2.0 * kb * (1.0 - kb) / kg * c_gain,
            g_v: -2.0 * kr * (1.0 - kr) / kg * c_gain,
            b_u: 2.0 * (1.0 - kb) * c_gain,
        }
    }
}

/// Bilinear taps for `out` positions over `luma` samples, on a plane subsampled by `shift` with `samples` samples whose
/// centres are off by `offset` luma samples.
fn taps(out: u32, luma: u32, shift: u32, offset: f32, samples: u32) -> Vec<Tap> {
    let ratio = f64::from(luma) / f64::from(out);
    let block = f64::from(1u32 << shift);
    (0..out)
        .map(|i| {
            let centre = (f64::from(i) + 0.5) * ratio - f64::from(offset);
            let at = (centre / block - 0.5).clamp(0.0, f64::from(samples - 1));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..samples")]
            let first = at as u32;
            #[expect(clippy::cast_possible_truncation, reason = "a weight in 0..1")]
            let weight = (at - f64::from(first)) as f32;
            Tap { first, second: (first + 1).min(samples - 1), weight }
        })
        .collect()
}

/// Blends two rows of `plane` (`step` bytes a sample, starting at byte `at`) and samples the blend at `x`.
#[expect(clippy::too_many_arguments, reason = "one row of one plane, spelled out")]
fn sample_row(plane: &Plane<'_>, step: usize, at: usize, y: Tap, x: &[Tap], samples: u32, blended: &mut Vec<f32>, out: &mut [f32]) {
    let bytes = samples as usize * step;
    let row = |number: u32| {
        let start = number as usize * plane.stride;
        &plane.data[start..start + bytes]
    };
    blended.resize(bytes, 0.0);
    blend(row(y.first), row(y.second), y.weight, blended);
    for (value, tap) in out.iter_mut().zip(x) {
        let a = blended[tap.first as usize * step + at];
        let b = blended[tap.second as usize * step + at];
        *value = a + (b - a) * tap.weight;
    }
}

fn blend(a: &[u8], b: &[u8], weight: f32, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has AVX2 and FMA, just checked.
        return unsafe { blend_avx2(a, b, weight, out) };
    }
    blend_body(a, b, weight, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn blend_avx2(a: &[u8], b: &[u8], weight: f32, out: &mut [f32]) {
    blend_body(a, b, weight, out);
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once a CPU level")]
fn blend_body(a: &[u8], b: &[u8], weight: f32, out: &mut [f32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        let (a, b) = (f32::from(*a), f32::from(*b));
        *out = a + (b - a) * weight;
    }
}

type Factors = [(f32, f32); 3];

fn convert_row(m: &ColourMatrix, y: &[f32], u: &[f32], v: &[f32], rgb: [&mut [f32]; 3], factors: Factors) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the CPU has AVX2 and FMA, just checked.
        return unsafe { convert_row_avx2(m, y, u, v, rgb, factors) };
    }
    convert_row_body(m, y, u, v, rgb, factors);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn convert_row_avx2(m: &ColourMatrix, y: &[f32], u: &[f32], v: &[f32], rgb: [&mut [f32]; 3], factors: Factors) {
    convert_row_body(m, y, u, v, rgb, factors);
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once a CPU level")]
fn convert_row_body(m: &ColourMatrix, y: &[f32], u: &[f32], v: &[f32], rgb: [&mut [f32]; 3], factors: Factors) {
    let [red, green, blue] = rgb;
    let [(r_gain, r_bias), (g_gain, g_bias), (b_gain, b_bias)] = factors;
    let n = y.len();
    let (u, v) = (&u[..n], &v[..n]);
    let (red, green, blue) = (&mut red[..n], &mut green[..n], &mut blue[..n]);
    for i in 0..n {
        let luma = (y[i] - m.y_offset) * m.y_gain;
        let (cb, cr) = (u[i] - 128.0, v[i] - 128.0);
        red[i] = (luma + m.r_v * cr).clamp(0.0, 255.0) * r_gain + r_bias;
        green[i] = (luma + m.g_u * cb + m.g_v * cr).clamp(0.0, 255.0) * g_gain + g_bias;
        blue[i] = (luma + m.b_u * cb).clamp(0.0, 255.0) * b_gain + b_bias;
    }
}

/// The tensor size for a picture: the model's own when it is static, else the smallest that holds the letterbox.
#[must_use]
pub fn tensor_size(picture: Size, static_size: Option<Size>, imgsz: Size, stride: u32) -> Size {
    static_size.unwrap_or_else(|| Letterbox::dynamic_tensor(picture, imgsz, stride))
}


#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Colour, Matrix};
    use proptest::prelude::*;

    fn info(format: PixelFormat, width: u32, height: u32, range: Range) -> PictureInfo {
        let colour = Colour { matrix: Matrix::Bt601, range, site: ChromaSite::Left };
        PictureInfo { format, size: Size { width, height }, colour }
    }

    /// Planes with padded strides; the padding holds garbage that must not be read into the result.
    struct Planes {
        info: PictureInfo,
        data: [Vec<u8>; 3],
        strides: [usize; 3],
    }

    impl Planes {
        fn new(info: PictureInfo, sample: impl Fn(usize, u32, u32) -> u8) -> Self {
            let mut planes = Self { info, data: Default::default(), strides: [0; 3] };
            let interleaved = info.format == PixelFormat::Nv12;
            for index in 0..info.format.planes() {
                let size = info.plane_size(index);
                let step = if interleaved && index == 1 { 2 } else { 1 };
                let stride = size.width as usize * step + 5;
                let mut data = vec![0xEE; stride * size.height as usize];
                for y in 0..size.height {
                    for x in 0..size.width {
                        let at = y as usize * stride + x as usize * step;
                        data[at] = sample(index, x, y);
                        if step == 2 {
                            data[at + 1] = sample(2, x, y);
                        }
                    }
                }
                planes.data[index] = data;
                planes.strides[index] = stride;
            }
            planes
        }

        fn view(&self) -> PictureView<'_> {
            let planes = std::array::from_fn(|i| Plane { data: &self.data[i], stride: self.strides[i] });
            PictureView { info: self.info, planes }
        }
    }

    fn run(planes: &Planes, size: Size) -> (Vec<f32>, Letterbox) {
        let mut tensor = vec![f32::NAN; 3 * (size.width * size.height) as usize];
        let letterbox = Preprocessor::new(InputSpec::default()).run(&planes.view(), size, &mut tensor);
        (tensor, letterbox)
    }

    #[test]
    fn uniform_pictures_have_their_known_colour() {
        for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444] {
            // BT.601 limited: white is 235/128/128; full-range red is 76/85/255.
            for (range, yuv, rgb) in
                [(Range::Limited, [235, 128, 128], [1.0, 1.0, 1.0]), (Range::Full, [76, 85, 255], [1.0, 0.0, 0.0])]
            {
                let planes = Planes::new(info(format, 33, 17, range), |plane, _, _| yuv[plane]);
                let size = Size { width: 32, height: 32 };
                let (tensor, letterbox) = run(&planes, size);
                let middle = (size.height / 2 * size.width + 16) as usize;
                for (channel, expected) in rgb.into_iter().enumerate() {
                    let value = tensor[channel * 1024 + middle];
                    assert!((value - expected).abs() < 0.01, "{format:?} {range:?} channel {channel}: {value}");
                }
                assert!(letterbox.top > 0);
                assert!((tensor[0] - 114.0 / 255.0).abs() < 1e-6, "padding");
            }
        }
    }

    #[test]
    fn luma_is_resized_as_a_plain_bilinear_filter() {
        let pattern = |plane: usize, x: u32, y: u32| if plane == 0 { u8::try_from((x * 7 + y * 13) % 251).unwrap_or(0) } else { 128 };
        let planes = Planes::new(info(PixelFormat::I420, 101, 57, Range::Full), pattern);
        let size = Size { width: 64, height: 64 };
        let (tensor, letterbox) = run(&planes, size);
        let (rx, ry) = (101.0 / f64::from(letterbox.content.width), 57.0 / f64::from(letterbox.content.height));
        for y in 0..letterbox.content.height {
            for x in 0..letterbox.content.width {
                let sx = ((f64::from(x) + 0.5) * rx - 0.5).clamp(0.0, 100.0);
                let sy = ((f64::from(y) + 0.5) * ry - 0.5).clamp(0.0, 56.0);
                let mut sum = 0.0;
                for (dx, wx) in [(0u32, 1.0 - sx.fract()), (1, sx.fract())] {
                    for (dy, wy) in [(0u32, 1.0 - sy.fract()), (1, sy.fract())] {
                        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "inside the picture")]
                        let (px, py) = ((sx as u32 + dx).min(100), (sy as u32 + dy).min(56));
                        sum += wx * wy * f64::from(pattern(0, px, py));
                    }
                }
                let at = ((y + letterbox.top) * 64 + x + letterbox.left) as usize;
                assert!((f64::from(tensor[at]) * 255.0 - sum).abs() < 0.01, "at {x},{y}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_element_is_written_and_in_range(
            w in 1u32..90, h in 1u32..90, tw in 1u32..4, th in 1u32..4, f in 0usize..4, seed in any::<u8>()
        ) {
            let format = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444][f];
            let planes = Planes::new(info(format, w, h, Range::Limited), |p, x, y| {
                seed.wrapping_add(u8::try_from((x * 31 + y * 17 + u32::try_from(p).unwrap_or(0) * 7) % 256).unwrap_or(0))
            });
            let (tensor, _) = run(&planes, Size { width: tw * 32, height: th * 32 });
            prop_assert!(tensor.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
}
