//! Checked against a slow reference in f64 that shares no code with the module.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small numbers"
)]
#![expect(clippy::many_single_char_names, reason = "x, y, u, v, w, h mean what they always mean")]

use super::*;
use crate::frame::{Colour, Matrix, Range};
use crate::geometry::Placement;
use crate::tensor::{ChannelOrder, InputShape, InputTensor};
use proptest::prelude::*;

const FORMATS: [PixelFormat; 4] = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444];
const MATRICES: [Matrix; 3] = [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020];
const RANGES: [Range; 2] = [Range::Limited, Range::Full];
const SITES: [ChromaSite; 2] = [ChromaSite::Left, ChromaSite::Centre];

/// Allowed difference in 0..1: weights are rounded to 14 bits, which is up to 1/128 of an 8-bit step a sample, twice
/// that after the matrix.
const TOLERANCE: f64 = 2e-4;

/// Owned planes, the last row of each cut off at its last sample.
struct Picture {
    info: FrameInfo,
    planes: [(Vec<u8>, usize); 3],
}

impl Picture {
    /// Fills samples from `sample(plane, x, y)` (x in bytes), and the padding of rows with `garbage`.
    fn new(info: FrameInfo, padding: usize, garbage: u8, sample: impl Fn(usize, usize, usize) -> u8) -> Self {
        let planes = [0, 1, 2].map(|index| {
            if index >= info.format.planes() {
                return (Vec::new(), 0);
            }
            let (width, height) = row_bytes(&info, index);
            let stride = width + padding;
            let mut data = vec![garbage; stride * (height - 1) + width];
            for y in 0..height {
                for x in 0..width {
                    data[y * stride + x] = sample(index, x, y);
                }
            }
            (data, stride)
        });
        Self { info, planes }
    }

    fn view(&self) -> FrameView<'_> {
        FrameView {
            info: self.info,
            planes: self.planes.each_ref().map(|(data, stride)| Plane { data, stride: *stride }),
        }
    }

    /// One of Y, U, V at a sample position, clamped to the plane.
    fn sample(&self, channel: usize, x: f64, y: f64) -> f64 {
        let nv12 = channel > 0 && self.info.format == PixelFormat::Nv12;
        let (plane, step, offset) = if nv12 { (1, 2, channel - 1) } else { (channel, 1, 0) };
        let size = self.info.plane_size(plane);
        let (data, stride) = &self.planes[plane];
        let at = |x: f64, y: f64| {
            let x = x.clamp(0.0, f64::from(size.width) - 1.0) as usize;
            let y = y.clamp(0.0, f64::from(size.height) - 1.0) as usize;
            f64::from(data[y * stride + x * step + offset])
        };
        let (fx, fy) = (x - x.floor(), y - y.floor());
        let top = at(x.floor(), y.floor()) * (1.0 - fx) + at(x.floor() + 1.0, y.floor()) * fx;
        let below = at(x.floor(), y.floor() + 1.0) * (1.0 - fx) + at(x.floor() + 1.0, y.floor() + 1.0) * fx;
        top * (1.0 - fy) + below * fy
    }
}

fn row_bytes(info: &FrameInfo, plane: usize) -> (usize, usize) {
    let size = info.plane_size(plane);
    let step = if plane == 1 && info.format == PixelFormat::Nv12 { 2 } else { 1 };
    (size.width as usize * step, size.height as usize)
}

/// Noise over a gradient: what is near looks different, and every value occurs.
fn texture(plane: usize, x: usize, y: usize) -> u8 {
    let hash = (x * 7919 + y * 104_729 + plane * 15_485_863).wrapping_mul(2_654_435_761) >> 13;
    ((hash & 0xff) / 2 + (x * 3 + y * 5) % 128) as u8
}

fn info(format: PixelFormat, width: u32, height: u32) -> FrameInfo {
    let colour = Colour { matrix: Matrix::Bt709, range: Range::Limited, site: ChromaSite::Left };
    FrameInfo { format, size: Size { width, height }, colour }
}

/// The reference: each tensor pixel by itself, from the definitions.
fn reference(picture: &Picture, letterbox: &Letterbox, spec: &InputSpec) -> Vec<f64> {
    let Colour { matrix, range, site } = picture.info.colour;
    let (kr, kb) = match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let (w, h) = (letterbox.tensor.width as usize, letterbox.tensor.height as usize);
    let mut tensor = vec![f64::NAN; 3 * w * h];
    let (fw, fh) = (f64::from(picture.info.size.width), f64::from(picture.info.size.height));
    let (cw, ch) = (f64::from(letterbox.content.width), f64::from(letterbox.content.height));
    for row in 0..h {
        for column in 0..w {
            let x = column as f64 - f64::from(letterbox.left);
            let y = row as f64 - f64::from(letterbox.top);
            let rgb = if x < 0.0 || y < 0.0 || x >= cw || y >= ch {
                [f64::from(spec.pad); 3]
            } else {
                let lx = ((x + 0.5) * fw / cw - 0.5).clamp(0.0, fw - 1.0);
                let ly = ((y + 0.5) * fh / ch - 0.5).clamp(0.0, fh - 1.0);
                let shift = if site == ChromaSite::Centre { 0.5 } else { 0.0 };
                let (cx, cy) = match picture.info.format {
                    PixelFormat::Y444 => (lx, ly),
                    PixelFormat::Y42b => ((lx - shift) / 2.0, ly),
                    PixelFormat::I420 | PixelFormat::Nv12 => ((lx - shift) / 2.0, (ly - 0.5) / 2.0),
                };
                let (cx, cy) = (cx.max(0.0), cy.max(0.0));
                let (luma, u, v) =
                    (picture.sample(0, lx, ly), picture.sample(1, cx, cy) - 128.0, picture.sample(2, cx, cy) - 128.0);
                let (luma, u, v) = match range {
                    Range::Limited => ((luma - 16.0) * 255.0 / 219.0, u * 255.0 / 224.0, v * 255.0 / 224.0),
                    Range::Full => (luma, u, v),
                };
                let red = luma + 2.0 * (1.0 - kr) * v;
                let blue = luma + 2.0 * (1.0 - kb) * u;
                let green = (luma - kr * red - kb * blue) / (1.0 - kr - kb);
                [red, green, blue].map(|value| value.clamp(0.0, 255.0))
            };
            for (channel, value) in rgb.into_iter().enumerate() {
                let to = if spec.order == ChannelOrder::Bgr { 2 - channel } else { channel };
                let value = (value * f64::from(spec.scale) - f64::from(spec.mean[to])) / f64::from(spec.std[to]);
                tensor[to * w * h + row * w + column] = value;
            }
        }
    }
    tensor
}

/// What `preprocessor` makes of `picture` in a tensor that held no numbers before.
fn packed(preprocessor: &mut Preprocessor, picture: &Picture, size: Size) -> (Vec<f32>, Letterbox) {
    let mut tensor = InputTensor::filled(InputShape { batch: 1, size }, f32::NAN);
    let slot = tensor.slots().next().expect("one frame");
    let letterbox = preprocessor.run(&picture.view(), slot);
    (tensor.host().to_vec(), letterbox)
}

fn backends() -> Vec<Backend> {
    let mut all = vec![Backend::Plain];
    if Backend::detect() != Backend::Plain {
        all.push(Backend::detect());
    }
    all
}

/// Runs every backend on a dirty tensor, holds each against the reference and against the first.
fn check(picture: &Picture, spec: InputSpec, tensor_size: Size) {
    let mut first: Option<Vec<f32>> = None;
    for backend in backends() {
        let mut preprocessor = Preprocessor { backend, ..Preprocessor::new(spec) };
        let (tensor, letterbox) = packed(&mut preprocessor, picture, tensor_size);
        assert_eq!(letterbox, Letterbox::fit(picture.info.size, tensor_size, spec.placement));
        let step = 255.0 * f64::from(spec.scale) / f64::from(spec.std.into_iter().fold(f32::MAX, f32::min));
        let whole = letterbox.content == picture.info.size;
        for (at, (&is, &should)) in tensor.iter().zip(&reference(picture, &letterbox, &spec)).enumerate() {
            let difference = (f64::from(is) - should).abs();
            let channel = at / (tensor.len() / 3);
            let level = (is * spec.std[channel] + spec.mean[channel]) / spec.scale;
            // Unscaled: the nearest 8-bit level. Both are written so that NaN (an element not written) fails.
            let near = if whole {
                (level - level.round()).abs() <= 1e-3 && difference <= (0.5 / 255.0 + TOLERANCE) * step.abs()
            } else {
                difference <= TOLERANCE * step.abs()
            };
            assert!(near, "{:?} to {tensor_size:?}, {backend:?}, element {at}: {is}, should be {should}", picture.info);
        }
        if let Some(first) = &first {
            for (a, b) in first.iter().zip(&tensor) {
                // Rounding may tip to either side of a half.
                let allowed = 1e-5 * a.abs().max(1.0) + if whole { spec.scale.abs() / spec.std[0] } else { 0.0 };
                assert!((a - b).abs() <= allowed, "backends differ: {a}, {b}");
            }
        }
        first.get_or_insert(tensor);
    }
}

#[test]
fn every_format_matrix_range_and_site_matches_the_reference() {
    // Odd and even; halved, enlarged, almost unchanged, unchanged.
    let sizes = [(37, 23), (64, 36), (33, 64)];
    let tensors = [(32, 32), (96, 64), (64, 64), (64, 36)];
    for format in FORMATS {
        for matrix in MATRICES {
            for range in RANGES {
                for site in SITES {
                    for (width, height) in sizes {
                        let info = FrameInfo { colour: Colour { matrix, range, site }, ..info(format, width, height) };
                        let picture = Picture::new(info, 5, 0xEE, texture);
                        for (width, height) in tensors {
                            check(&picture, InputSpec::default(), Size { width, height });
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn large_reductions_match_the_reference() {
    // 3:1, 6:1 and beyond what one window of the vector code reaches.
    for format in FORMATS {
        for (width, height) in [(384, 216), (771, 433), (1280, 64), (2000, 31)] {
            let picture = Picture::new(info(format, width, height), 0, 0, texture);
            check(&picture, InputSpec::default(), Size { width: 128, height: 96 });
            check(&picture, InputSpec::default(), Size { width: 32, height: 32 });
        }
    }
}

#[test]
fn the_spec_is_followed() {
    let picture = Picture::new(info(PixelFormat::I420, 50, 31), 3, 0, texture);
    let spec = InputSpec {
        order: ChannelOrder::Bgr,
        scale: 1.0,
        mean: [103.5, 116.25, 123.75],
        std: [57.0, 58.0, 59.0],
        placement: Placement::Corner,
        pad: 7,
    };
    check(&picture, spec, Size { width: 64, height: 64 });
    check(&picture, InputSpec { scale: -1.0, std: [1.0; 3], ..spec }, Size { width: 64, height: 64 });
}

#[test]
fn tiny_pictures_match_the_reference() {
    for format in FORMATS {
        for (width, height) in [(1, 1), (2, 1), (1, 2), (3, 3), (1, 40), (40, 1), (15, 2), (17, 2)] {
            let picture = Picture::new(info(format, width, height), 1, 0xEE, texture);
            for (width, height) in [(1, 1), (5, 3), (32, 32)] {
                check(&picture, InputSpec::default(), Size { width, height });
            }
        }
    }
}

/// RGB (0..1) of the middle of a picture of one colour.
fn uniform(format: PixelFormat, matrix: Matrix, range: Range, yuv: [u8; 3]) -> [f32; 3] {
    let colour = Colour { matrix, range, site: ChromaSite::Left };
    let nv12 = format == PixelFormat::Nv12;
    let info = FrameInfo { colour, ..info(format, 21, 13) };
    let picture = Picture::new(info, 0, 0, |plane, x, _| yuv[if nv12 && plane == 1 { 1 + x % 2 } else { plane }]);
    let (tensor, _) = packed(&mut Preprocessor::new(InputSpec::default()), &picture, Size { width: 64, height: 64 });
    [0, 1, 2].map(|channel| tensor[channel * 64 * 64 + 32 * 64 + 32])
}

#[track_caller]
fn assert_rgb(is: [f32; 3], should: [f32; 3], tolerance: f32) {
    let near = is.iter().zip(should).all(|(is, should)| (is - should).abs() <= tolerance);
    assert!(near, "{is:?}, should be {should:?}");
}

#[test]
fn known_colours_come_out() {
    for format in FORMATS {
        for matrix in MATRICES {
            assert_rgb(uniform(format, matrix, Range::Limited, [235, 128, 128]), [1.0; 3], 1e-6);
            assert_rgb(uniform(format, matrix, Range::Limited, [16, 128, 128]), [0.0; 3], 0.0);
            assert_rgb(uniform(format, matrix, Range::Full, [255, 128, 128]), [1.0; 3], 1e-6);
            assert_rgb(uniform(format, matrix, Range::Full, [0, 128, 128]), [0.0; 3], 0.0);
            assert_rgb(uniform(format, matrix, Range::Full, [51, 128, 128]), [0.2; 3], 1e-6);
            // Blacker than black and whiter than white.
            assert_rgb(uniform(format, matrix, Range::Limited, [0, 128, 128]), [0.0; 3], 0.0);
            assert_rgb(uniform(format, matrix, Range::Limited, [255, 128, 128]), [1.0; 3], 0.0);
        }
        // The primaries, as the standards' 8-bit colour bars have them; within a step of 8 bits each.
        let step = 1.5 / 255.0;
        assert_rgb(uniform(format, Matrix::Bt601, Range::Limited, [81, 90, 240]), [1.0, 0.0, 0.0], step);
        assert_rgb(uniform(format, Matrix::Bt601, Range::Limited, [145, 54, 34]), [0.0, 1.0, 0.0], step);
        assert_rgb(uniform(format, Matrix::Bt601, Range::Limited, [41, 240, 110]), [0.0, 0.0, 1.0], step);
        assert_rgb(uniform(format, Matrix::Bt709, Range::Limited, [63, 102, 240]), [1.0, 0.0, 0.0], step);
        assert_rgb(uniform(format, Matrix::Bt709, Range::Limited, [173, 42, 26]), [0.0, 1.0, 0.0], step);
        assert_rgb(uniform(format, Matrix::Bt709, Range::Limited, [32, 240, 118]), [0.0, 0.0, 1.0], step);
        assert_rgb(uniform(format, Matrix::Bt601, Range::Full, [76, 85, 255]), [1.0, 0.0, 0.0], step);
    }
}

#[test]
fn padding_is_exact() {
    let picture = Picture::new(info(PixelFormat::I420, 64, 36), 0, 0, texture);
    let size = Size { width: 32, height: 32 };
    let (tensor, letterbox) = packed(&mut Preprocessor::new(InputSpec::default()), &picture, size);
    assert_eq!((letterbox.top, letterbox.content.height), (7, 18));
    let pad = 114.0 * (1.0 / 255.0_f32);
    for plane in tensor.chunks(32 * 32) {
        let (above, rest) = plane.split_at(7 * 32);
        let (content, below) = rest.split_at(18 * 32);
        assert!(above.iter().chain(below).all(|value| value.to_bits() == pad.to_bits()));
        assert!(content.iter().any(|value| value.to_bits() != pad.to_bits()));
    }
}

#[test]
fn bytes_between_rows_do_not_matter() {
    for format in FORMATS {
        for width in [3, 16, 17, 50] {
            let size = Size { width: 40, height: 24 };
            let [a, b] = [0, 255].map(|garbage| {
                let picture = Picture::new(info(format, width, 9), 13, garbage, texture);
                packed(&mut Preprocessor::new(InputSpec::default()), &picture, size).0
            });
            assert_eq!(a, b);
        }
    }
}

#[test]
fn alternating_streams_do_not_disturb_each_other() {
    let size = Size { width: 32, height: 32 };
    // One more shape than tables are kept for.
    let pictures: Vec<Picture> = [(64, 36), (20, 20), (9, 31), (32, 32), (200, 100)]
        .map(|(width, height)| Picture::new(info(PixelFormat::I420, width, height), 0, 0, texture))
        .into();
    let run = |preprocessor: &mut Preprocessor, picture: &Picture| packed(preprocessor, picture, size).0;
    let mut shared = Preprocessor::new(InputSpec::default());
    for turn in [0, 1, 2, 3, 0, 4, 1, 1, 2, 4, 3, 0] {
        let alone = run(&mut Preprocessor::new(InputSpec::default()), &pictures[turn]);
        assert_eq!(run(&mut shared, &pictures[turn]), alone);
        assert!(shared.resamplings.len() <= RESAMPLINGS);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_size_matches_the_reference(
        width in 1u32..200, height in 1u32..100, across in 1u32..80, down in 1u32..80,
        format in 0usize..4, site in 0usize..2, placement in 0usize..3, padding in 0usize..40,
    ) {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Full, site: SITES[site] };
        let picture = Picture::new(FrameInfo { colour, ..info(FORMATS[format], width, height) }, padding, 0xEE, texture);
        let placement = [Placement::Centre, Placement::Corner, Placement::Stretch][placement];
        check(&picture, InputSpec { placement, ..InputSpec::default() }, Size { width: across, height: down });
    }
}
