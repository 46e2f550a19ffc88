//! From the decoder's planes to the model's input: letterbox, colour and packing in one pass over the frame.
//!
//! The reference (Ultralytics) turns the whole frame into 8-bit BGR, resizes it with `cv2.resize` (`INTER_LINEAR`),
//! pads it with 114 and divides by 255. Here the YUV planes themselves are resampled, at the same positions, and only
//! the pixels of the tensor are turned into colours: for 1080p at 640×384 a ninth of the work, and no copy of the
//! frame. The results differ from the reference's by the 8-bit roundings that are not made here. A frame that is not
//! scaled has no other values than the 8-bit colours it is made of, so there they are rounded: that is what every other
//! program sees, and brings confidences a third closer to the reference's.
//!
//! A row of the tensor takes two steps. Every source row it needs is resampled across once, into a scratch row (which
//! the next tensor row finds there still, when enlarging); then pairs of scratch rows are blended and go through the
//! colour matrix straight into the three planes of the tensor.

mod axis;
mod conversion;
mod kernels;
#[cfg(test)]
mod tests;

use crate::frame::{ChromaSite, FrameInfo, FrameView, PixelFormat, Plane};
use crate::geometry::{Letterbox, Size};
use crate::tensor::{InputSpec, TensorSlot};

use axis::{AxisMap, Columns};
use conversion::Conversion;
use kernels::{Backend, RowPair};

/// Frame formats whose tables are kept: as many can alternate without tables being made anew.
const RESAMPLINGS: usize = 4;

/// Packs frames into input tensors. Keeps its tables and scratch rows from frame to frame: once it has seen a
/// frame's format and size it allocates nothing.
#[derive(Debug)]
pub struct Preprocessor {
    spec: InputSpec,
    backend: Backend,
    /// Most recently used first.
    resamplings: Vec<Resampling>,
    /// For Y, U, V.
    scratch: [ScratchRows; 3],
}

/// All that is known of a frame before its bytes.
#[derive(Debug)]
struct Resampling {
    info: FrameInfo,
    letterbox: Letterbox,
    conversion: Conversion,
    /// For Y, U, V.
    channels: [ChannelResampling; 3],
}

/// How one of Y, U and V is resampled.
#[derive(Debug)]
struct ChannelResampling {
    /// Plane that holds it.
    plane: usize,
    /// Sample value that means zero.
    zero: u8,
    columns: Columns,
    /// One entry a content row.
    rows: Vec<RowTap>,
}

/// The source rows of one content row, and the weight of the second.
#[derive(Debug, Clone, Copy)]
struct RowTap {
    lower: usize,
    upper: usize,
    weight: f32,
}

/// The last two source rows that were resampled across, and which ones they are.
#[derive(Debug, Default)]
struct ScratchRows {
    rows: [Vec<f32>; 2],
    held: [Option<usize>; 2],
}

impl Preprocessor {
    /// A preprocessor for a model with this input.
    #[must_use]
    pub fn new(spec: InputSpec) -> Self {
        Self {
            spec,
            backend: Backend::detect(),
            resamplings: Vec::with_capacity(RESAMPLINGS),
            scratch: Default::default(),
        }
    }

    /// Letterboxes (or stretches) `frame` into `slot`, f32 `[3,H,W]` with channels and values as the [`InputSpec`] says, and
    /// says how it was fitted. Every element is written, the padding too.
    ///
    /// # Panics
    ///
    /// When the frame has no pixels, or a plane is shorter than its rows and stride say.
    pub fn run(&mut self, frame: &FrameView<'_>, mut slot: TensorSlot<'_>) -> Letterbox {
        let size = slot.size();
        let width = size.width as usize;
        let Size { width: across, height: down } = frame.info.size;
        assert!(across > 0 && down > 0, "a frame of {across}x{down} has no pixels");
        self.prepare(frame.info, size);
        let resampling = &self.resamplings[0];
        if size.width == 0 || size.height == 0 {
            return resampling.letterbox;
        }
        for scratch in &mut self.scratch {
            scratch.reset(resampling);
        }

        let mut planes = slot.planes();
        let [red, ..] = conversion::channels(self.spec.order);
        if red == 2 {
            planes.reverse();
        }
        let (top, left) = (resampling.letterbox.top as usize, resampling.letterbox.left as usize);
        let content_width = resampling.letterbox.content.width as usize;
        let bottom = top + resampling.letterbox.content.height as usize;
        for (plane, pad) in planes.iter_mut().zip(resampling.conversion.pad) {
            plane[..top * width].fill(pad);
            plane[bottom * width..].fill(pad);
        }
        for row in top..bottom {
            let mut index = 0;
            let out = planes.each_mut().map(|plane| {
                let pad = resampling.conversion.pad[index];
                index += 1;
                let line = &mut plane[row * width..][..width];
                line[..left].fill(pad);
                line[left + content_width..].fill(pad);
                &mut line[left..left + content_width]
            });
            let [y, u, v] = &mut self.scratch;
            let [tables_y, tables_u, tables_v] = &resampling.channels;
            let pairs = [
                y.pair(tables_y, row - top, frame, self.backend),
                u.pair(tables_u, row - top, frame, self.backend),
                v.pair(tables_v, row - top, frame, self.backend),
            ];
            self.backend.colour(pairs, &resampling.conversion, out);
        }
        resampling.letterbox
    }

    /// Brings the tables for such frames to the front, making it when there is none.
    fn prepare(&mut self, info: FrameInfo, size: Size) {
        if let Some(at) = self
            .resamplings
            .iter()
            .position(|resampling| resampling.info == info && resampling.letterbox.tensor == size)
        {
            self.resamplings[..=at].rotate_right(1);
            return;
        }
        self.resamplings.truncate(RESAMPLINGS - 1);
        self.resamplings.insert(0, Resampling::new(info, size, &self.spec));
    }
}

impl Resampling {
    fn new(info: FrameInfo, tensor: Size, spec: &InputSpec) -> Self {
        let letterbox = Letterbox::fit(info.size, tensor, spec.placement);
        let conversion = Conversion::new(info.colour, spec, letterbox.content == info.size);
        let channels = [0, 1, 2].map(|channel| ChannelResampling::new(channel, info, &letterbox, conversion.zeros));
        Self { info, letterbox, conversion, channels }
    }
}

impl ChannelResampling {
    fn new(channel: usize, info: FrameInfo, letterbox: &Letterbox, [luma_zero, chroma_zero]: [u8; 2]) -> Self {
        let interleaved = channel > 0 && info.format == PixelFormat::Nv12;
        let samples = info.plane_size(channel.min(1));
        let (halved_across, halved_down) = match info.format.chroma_shift() {
            _ if channel == 0 => (false, false),
            (across, down) => (across > 0, down > 0),
        };
        let horizontal_origin = match info.colour.site {
            ChromaSite::Centre if halved_across => 0.5,
            _ => 0.0,
        };
        let across = AxisMap {
            content: letterbox.content.width,
            frame: info.size.width,
            samples: samples.width,
            pitch: if halved_across { 2.0 } else { 1.0 },
            origin: horizontal_origin,
        };
        let down = AxisMap {
            content: letterbox.content.height,
            frame: info.size.height,
            samples: samples.height,
            pitch: if halved_down { 2.0 } else { 1.0 },
            origin: if halved_down { 0.5 } else { 0.0 },
        };
        #[expect(clippy::cast_possible_truncation, reason = "a weight needs no more than f32 precision")]
        let rows = down
            .taps()
            .map(|tap| RowTap { lower: tap.lower as usize, upper: tap.upper as usize, weight: tap.weight as f32 })
            .collect();
        let columns = match (interleaved, channel) {
            (true, 1) => Columns::new(across, 2, 0),
            (true, _) => Columns::new(across, 2, 1),
            (false, _) => Columns::new(across, 1, 0),
        };
        Self {
            plane: if interleaved { 1 } else { channel },
            zero: if channel == 0 { luma_zero } else { chroma_zero },
            columns,
            rows,
        }
    }
}

impl ScratchRows {
    /// Forgets the last frame's rows and makes room for this one's.
    fn reset(&mut self, resampling: &Resampling) {
        let length = resampling.channels[0].columns.padded();
        for row in &mut self.rows {
            if row.len() < length {
                row.resize(length, 0.0);
            }
        }
        self.held = [None; 2];
    }

    /// The two resampled rows that content row `row` is a blend of.
    fn pair(
        &mut self,
        resampling: &ChannelResampling,
        row: usize,
        frame: &FrameView<'_>,
        backend: Backend,
    ) -> RowPair<'_> {
        let RowTap { lower, upper, weight } = resampling.rows[row];
        let plane = frame.planes[resampling.plane];
        let first = self.slot(lower, upper, resampling, plane, backend);
        let second = self.slot(upper, lower, resampling, plane, backend);
        RowPair { lower: &self.rows[first], upper: &self.rows[second], weight }
    }

    /// Where source row `row` is, resampled now if it is not there yet; leaves row `keep` in place.
    fn slot(
        &mut self,
        row: usize,
        keep: usize,
        resampling: &ChannelResampling,
        plane: Plane<'_>,
        backend: Backend,
    ) -> usize {
        if let Some(slot) = self.held.iter().position(|&held| held == Some(row)) {
            return slot;
        }
        let slot = usize::from(self.held[0] == Some(keep));
        let source = &plane.data[row * plane.stride..][..resampling.columns.row_bytes];
        backend.resample(source, &resampling.columns, resampling.zero, &mut self.rows[slot]);
        self.held[slot] = Some(row);
        slot
    }
}
