//! Where tracked objects stood over a run, as an image (`--heatmap`).
//!
//! Every point weighs as long as its frame was shown, by PTS. A grid of bounded size gathers the weights in parts of the frame, so
//! that frames of several sizes fall into one. At the end it is smoothed and laid over the newest frame, dimmed, in colours whose
//! lightness rises with the time.

use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::clock::StreamTime;
use crate::frame::{FrameView, PixelFormat, Range};
use crate::geometry::Size;

/// Cells along each side.
const CELLS: usize = 256;
/// Standard deviation of the smoothing, cells: a fiftieth of the frame, about as wide as somebody in the middle distance.
const SPREAD: f32 = 5.0;
/// A frame weighs no longer: what comes after an outage did not stand there meanwhile.
const LONGEST: Duration = Duration::from_secs(1);
/// How dark the frame becomes, of its light; and how much of it shows where most time was spent.
const DIMMED: f32 = 0.45;
const SHINES_THROUGH: f32 = 0.15;

/// Gathers where objects stand.
pub struct Heatmap {
    /// Seconds, row by row.
    cells: Vec<f64>,
    /// Cells of the newest frame's points, which weigh until the next frame.
    standing: Vec<usize>,
    shown: Option<StreamTime>,
    interval: Duration,
}

impl Default for Heatmap {
    fn default() -> Self {
        Self { cells: vec![0.0; CELLS * CELLS], standing: Vec::new(), shown: None, interval: Duration::ZERO }
    }
}

impl Heatmap {
    /// Takes where objects stand in a frame of `size`, shown at `pts`, pixels.
    pub fn frame(&mut self, pts: StreamTime, size: Size, points: impl Iterator<Item = (f64, f64)>) {
        if let Some(before) = self.shown.replace(pts) {
            self.interval = Duration::from_nanos(pts.ns.saturating_sub(before.ns)).min(LONGEST);
            self.weigh();
        }
        let cell = |value: f64, side: u32| {
            let share = value / f64::from(side.max(1));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "clamped to the grid"
            )]
            let cell = (share.clamp(0.0, 1.0) * CELLS as f64) as usize;
            cell.min(CELLS - 1)
        };
        self.standing.clear();
        let finite = points.filter(|(x, y)| x.is_finite() && y.is_finite());
        self.standing.extend(finite.map(|(x, y)| cell(y, size.height) * CELLS + cell(x, size.width)));
    }

    /// The newest frame was shown for as long as the one before it.
    fn weigh(&mut self) {
        for cell in &self.standing {
            self.cells[*cell] += self.interval.as_secs_f64();
        }
        self.standing.clear();
    }

    /// Whether nothing stood anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.standing.is_empty() && self.cells.iter().all(|seconds| *seconds == 0.0)
    }

    /// The image: the heat over `frame`, RGB.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn image(
        &mut self,
        frame: &FrameView<'_>,
    ) -> Result<(gst::Buffer, gst_video::VideoInfo), gst::glib::BoolError> {
        self.weigh();
        #[expect(clippy::cast_possible_truncation, reason = "colours need no more")]
        let heat = smoothed(&self.cells.iter().map(|seconds| *seconds as f32).collect::<Vec<_>>());
        let most = heat.iter().copied().fold(0.0, f32::max);
        let Size { width, height } = frame.info.size;
        let video = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height).build()?;
        let buffer = gst::Buffer::with_size(video.size())?;
        let mut target = gst_video::VideoFrame::from_buffer_writable(buffer, &video)
            .map_err(|_| gst::glib::bool_error!("the heatmap cannot be mapped"))?;
        let stride = usize::try_from(target.plane_stride()[0]).unwrap_or(0);
        let data = target.plane_data_mut(0)?;
        let (width, height) = (width as usize, height as usize);
        for (y, row) in data.chunks_mut(stride.max(1)).take(height).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(3).take(width).enumerate() {
                // The root shows where little time was spent beside where much was.
                let value = if most > 0.0 { (between(&heat, x, y, (width, height)) / most).sqrt() } else { 0.0 };
                let over = (value * 2.0).min(1.0) * (1.0 - SHINES_THROUGH);
                let (below, above) = (rgb(frame, x, y), ramp(value));
                for (out, (below, above)) in pixel.iter_mut().zip(below.into_iter().zip(above)) {
                    let mixed = below * DIMMED * (1.0 - over) + above * over;
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=255")]
                    let byte = (mixed.clamp(0.0, 1.0) * 255.0).round() as u8;
                    *out = byte;
                }
            }
        }
        Ok((target.into_buffer(), video))
    }
}

/// Smoothed by a Gaussian, whose sums are kept at the edges.
fn smoothed(cells: &[f32]) -> Vec<f32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few cells")]
    let reach = (SPREAD * 3.0).ceil() as usize;
    #[expect(clippy::cast_precision_loss, reason = "a few cells")]
    let weights: Vec<f32> = (0..=reach).map(|n| (-((n * n) as f32) / (2.0 * SPREAD * SPREAD)).exp()).collect();
    let along = |cells: &[f32], step: usize, other: usize| {
        let mut out = vec![0.0; cells.len()];
        for line in 0..CELLS {
            for at in 0..CELLS {
                let value = cells[line * other + at * step];
                if value == 0.0 {
                    continue;
                }
                let near = at.saturating_sub(reach)..=(at + reach).min(CELLS - 1);
                let sum: f32 = near.clone().map(|to| weights[to.abs_diff(at)]).sum();
                for to in near {
                    out[line * other + to * step] += value * weights[to.abs_diff(at)] / sum;
                }
            }
        }
        out
    };
    along(&along(cells, 1, CELLS), CELLS, 1)
}

/// The heat at a pixel, between the cells around it.
fn between(heat: &[f32], x: usize, y: usize, (width, height): (usize, usize)) -> f32 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in the grid"
    )]
    let place = |at: usize, side: usize| {
        let cell = ((at as f32 + 0.5) / side as f32 * CELLS as f32 - 0.5).clamp(0.0, (CELLS - 1) as f32);
        let low = cell as usize;
        (low, (low + 1).min(CELLS - 1), cell - low as f32)
    };
    let ((left, right, u), (top, bottom, v)) = (place(x, width), place(y, height));
    let row = |row: usize| heat[row * CELLS + left] * (1.0 - u) + heat[row * CELLS + right] * u;
    row(top) * (1.0 - v) + row(bottom) * v
}

/// From violet over red and orange to pale yellow: lightness rises evenly in `OKLab` (Ottosson, 2020), so that the order of values is seen
/// by everybody, in grey as well.
fn ramp(value: f32) -> [f32; 3] {
    let value = value.clamp(0.0, 1.0);
    let lightness = 0.25 + 0.7 * value;
    // Most colourful in the middle, where the display has most colours.
    let chroma = 0.06 + 0.13 * (std::f32::consts::PI * value).sin();
    let hue = (300.0 + 170.0 * value).to_radians();
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let cube = |l: f32| l * l * l;
    let l = cube(lightness + 0.396_337_78 * a + 0.215_803_76 * b);
    let m = cube(lightness - 0.105_561_346 * a - 0.063_854_17 * b);
    let s = cube(lightness - 0.089_484_18 * a - 1.291_485_5 * b);
    let linear = [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_93 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ];
    linear.map(|light| {
        let light = light.clamp(0.0, 1.0);
        if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
    })
}

/// The colour of a pixel, 0..1.
fn rgb(frame: &FrameView<'_>, x: usize, y: usize) -> [f32; 3] {
    let (across, down) = frame.info.format.chroma_shift();
    let sample = |index: usize, at: usize| frame.planes[index].data.get(at).map_or(0.0, |value| f32::from(*value));
    let luma = sample(0, y * frame.planes[0].stride + x);
    let (cx, row) = (x >> across, y >> down);
    let (cb, cr) = if frame.info.format == PixelFormat::Nv12 {
        let at = row * frame.planes[1].stride + cx * 2;
        (sample(1, at), sample(1, at + 1))
    } else {
        (sample(1, row * frame.planes[1].stride + cx), sample(2, row * frame.planes[2].stride + cx))
    };
    let (luma, cb, cr) = match frame.info.colour.range {
        Range::Full => (luma / 255.0, (cb - 128.0) / 255.0, (cr - 128.0) / 255.0),
        Range::Limited => ((luma - 16.0) / 219.0, (cb - 128.0) / 224.0, (cr - 128.0) / 224.0),
    };
    let (kr, kb) = frame.info.colour.matrix.coefficients();
    let (red, blue) = (luma + 2.0 * (1.0 - kr) * cr, luma + 2.0 * (1.0 - kb) * cb);
    let green = (luma - kr * red - kb * blue) / (1.0 - kr - kb);
    [red, green, blue].map(|value| value.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChromaSite, Colour, FrameInfo, Matrix, Plane};

    const SIZE: Size = Size { width: 64, height: 48 };

    fn at(ms: u64) -> StreamTime {
        StreamTime { ns: ms * 1_000_000 }
    }

    /// The image over a grey frame: RGB, row by row.
    fn image(map: &mut Heatmap, format: PixelFormat) -> Vec<[u8; 3]> {
        gst::init().expect("GStreamer");
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
        let info = FrameInfo { format, size: SIZE, colour };
        let (luma, chroma) = (vec![126u8; 64 * 48], vec![128u8; 64 * 48 * 2]);
        let plane = |data| Plane { data, stride: 64 };
        let view = FrameView { info, planes: [plane(&luma[..]), plane(&chroma[..]), plane(&chroma[..])] };
        let (buffer, video) = map.image(&view).expect("an image");
        assert_eq!((video.width(), video.height()), (64, 48));
        let bytes = buffer.map_readable().expect("its bytes");
        bytes.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
    }

    fn brightness([r, g, b]: [u8; 3]) -> u32 {
        u32::from(r) * 3 + u32::from(g) * 6 + u32::from(b)
    }

    #[test]
    fn where_objects_stood_longer_is_lighter_however_many_frames_there_were() {
        for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444] {
            let mut map = Heatmap::default();
            assert!(map.is_empty());
            // Two seconds at the left in four frames, then one second at the right in ten.
            for n in 0..4 {
                map.frame(at(n * 500), SIZE, [(10.0, 24.0)].into_iter());
            }
            for n in 0..11 {
                map.frame(at(2000 + n * 100), SIZE, [(54.0, 24.0)].into_iter());
            }
            let image = image(&mut map, format);
            let [left, right, nowhere] = [(10, 24), (54, 24), (32, 4)].map(|(x, y)| image[y * 64 + x]);
            assert!(brightness(left) > brightness(right) + 100, "{format:?}: {left:?} {right:?}");
            assert!(brightness(right) > brightness(nowhere) + 100, "{format:?}: {right:?} {nowhere:?}");
            let [r, g, b] = nowhere;
            assert!(r == g && g == b && (50..65).contains(&r), "{format:?}: the frame, dimmed: {nowhere:?}");
        }
    }

    #[test]
    fn an_outage_weighs_no_more_than_a_second() {
        let mut map = Heatmap::default();
        map.frame(at(0), SIZE, [(10.0, 24.0), (f64::NAN, 3.0)].into_iter());
        map.frame(at(600_000), SIZE, [(-5.0, 1e9)].into_iter());
        assert!((map.cells.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        map.weigh();
        assert!((map.cells.iter().sum::<f64>() - 2.0).abs() < 1e-6, "the last frame as long as the one before");
        assert!(map.cells[(CELLS - 1) * CELLS] > 0.0, "outside of the frame is at its edge");
    }

    #[test]
    fn a_frame_in_which_nobody_stood_is_only_dimmed() {
        let mut map = Heatmap::default();
        map.frame(at(0), SIZE, std::iter::empty());
        map.frame(at(100), SIZE, std::iter::empty());
        assert!(map.is_empty());
        assert!(image(&mut map, PixelFormat::I420).windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn smoothing_keeps_the_time() {
        let mut cells = vec![0.0; CELLS * CELLS];
        (cells[0], cells[CELLS * 100 + 50]) = (3.0, 4.0);
        assert!((smoothed(&cells).iter().sum::<f32>() - 7.0).abs() < 1e-3);
    }

    #[test]
    fn colours_rise_in_lightness_alone() {
        let luma = |[r, g, b]: [f32; 3]| 0.2126 * r.powf(2.2) + 0.7152 * g.powf(2.2) + 0.0722 * b.powf(2.2);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let steps: Vec<f32> = (0..=64).map(|n| luma(ramp(n as f32 / 64.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[1] > pair[0]), "{steps:?}");
        assert!(steps[0] < 0.05 && steps[64] > 0.7, "{steps:?}");
    }
}
