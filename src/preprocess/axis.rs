//! Where the samples of one output row or column come from.

/// Weights of a horizontal blend sum to this (14 bits: the largest that fits an `i16` twice over, as the vector code
/// multiplies pairs of `i16`). A blend of 8-bit samples stays below 2^22, so it is exact in an f32 too.
pub(super) const ONE: i32 = 1 << 14;

/// Bytes the vector code loads at once to pick samples from.
pub(super) const WINDOW: usize = 16;

/// Outputs the vector code makes at once.
pub(super) const BLOCK: usize = 8;

/// How output positions map to samples of a plane, along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct AxisMap {
    /// Length of the scaled frame, tensor pixels.
    pub content: u32,
    /// Length of the source frame, luma pixels.
    pub frame: u32,
    /// Length of the plane, samples.
    pub samples: u32,
    /// Luma pixels from one sample to the next (1 or 2).
    pub pitch: f64,
    /// Luma position of the first sample: 0, or 0.5 where it sits halfway between two luma pixels.
    pub origin: f64,
}

/// One output position: samples `lower` and `upper` (the same one or neighbours), blended `1 - weight : weight`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tap {
    pub lower: u32,
    pub upper: u32,
    pub weight: f64,
}

impl AxisMap {
    /// The taps of every output position, in order.
    pub fn taps(self) -> impl Iterator<Item = Tap> {
        (0..self.content).map(move |out| self.tap(out))
    }

    /// Half-pixel centres, clamped at the edges, as `cv2.resize` does with `INTER_LINEAR`.
    fn tap(&self, out: u32) -> Tap {
        // (out + 0.5) * frame / content - 0.5 over one denominator: whole ratios then give whole positions exactly.
        let numerator = f64::from(2 * out + 1) * f64::from(self.frame) - f64::from(self.content);
        let luma = (numerator / (2.0 * f64::from(self.content))).clamp(0.0, f64::from(self.frame - 1));
        let last = self.samples - 1;
        let position = ((luma - self.origin) / self.pitch).clamp(0.0, f64::from(last));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the plane")]
        let lower = position as u32;
        let weight = position - f64::from(lower);
        // A tap of no weight names no second sample, so that its row need not be read.
        let upper = if weight > 0.0 { (lower + 1).min(last) } else { lower };
        Tap { lower, upper, weight }
    }
}

/// The tables of one horizontal resampling, for the plain and for the vector code.
#[derive(Debug)]
pub(super) struct Columns {
    /// Bytes of a source row that these tables refer to.
    pub row_bytes: usize,
    /// One entry an output.
    pub taps: Vec<ColumnTap>,
    /// Whether output `i` is just byte `i`.
    pub identity: bool,
    /// Windows that four outputs are picked from: 1, 2 or 4, as few as their spread allows.
    pub windows: usize,
    /// First byte of every window; `2 * windows` a block (first those of its lower four outputs).
    pub bases: Vec<u32>,
    /// For each of `windows` a block: which byte of the window goes where (0x80: none), as pairs of 16-bit samples.
    pub masks: Vec<[u8; 32]>,
    /// Per block: the weights of those pairs.
    pub weights: Vec<[i16; 16]>,
}

/// One output of a horizontal resampling: byte offsets in the row, and the weights (of [`ONE`]).
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnTap {
    pub lower: u32,
    pub upper: u32,
    pub weights: [i16; 2],
}

impl Columns {
    /// Tables for rows whose samples lie `step` bytes apart, the first at byte `offset`.
    pub fn new(map: AxisMap, step: u32, offset: u32) -> Self {
        let taps: Vec<ColumnTap> = map.taps().map(|tap| ColumnTap::new(tap, step, offset)).collect();
        let row_bytes = map.samples as usize * step as usize;
        let identity = taps.len() == row_bytes
            && taps.iter().zip(0..).all(|(tap, index)| tap.lower == index && tap.weights[1] == 0);
        let windows = [1, 2].into_iter().find(|&count| fits(&taps, 4 / count, row_bytes)).unwrap_or(4);
        let mut columns =
            Self { row_bytes, taps, identity, windows, bases: Vec::new(), masks: Vec::new(), weights: Vec::new() };
        columns.lay_out_windows();
        columns
    }

    /// Outputs rounded up to whole blocks: the length of a scratch row.
    pub fn padded(&self) -> usize {
        self.taps.len().next_multiple_of(BLOCK)
    }

    fn lay_out_windows(&mut self) {
        let per_window = 4 / self.windows;
        for block in self.taps.chunks(BLOCK) {
            let mut weights = [0; 16];
            let mut masks = vec![[0x80_u8; 32]; self.windows];
            for half in 0..2 {
                for (window, mask) in masks.iter_mut().enumerate() {
                    let first = half * 4 + window * per_window;
                    let group = block.get(first..block.len().min(first + per_window)).unwrap_or(&[]);
                    let base = group.first().map_or(0, |tap| window_base(*tap, self.row_bytes));
                    self.bases.push(base);
                    for (tap, lane) in group.iter().zip(first..) {
                        mask[lane * 4] = pick(tap.lower, base);
                        mask[lane * 4 + 2] = pick(tap.upper, base);
                        weights[lane * 2..lane * 2 + 2].copy_from_slice(&tap.weights);
                    }
                }
            }
            self.masks.append(&mut masks);
            self.weights.push(weights);
        }
    }
}

impl ColumnTap {
    #[expect(clippy::cast_possible_truncation, reason = "a weight is 0..=ONE")]
    fn new(tap: Tap, step: u32, offset: u32) -> Self {
        let upper = (tap.weight * f64::from(ONE)).round() as i16;
        Self {
            lower: tap.lower * step + offset,
            upper: tap.upper * step + offset,
            weights: [ONE as i16 - upper, upper],
        }
    }
}

/// A window starts at the tap's first byte, or earlier where it would reach past the row's end.
fn window_base(first: ColumnTap, row_bytes: usize) -> u32 {
    let latest = u32::try_from(row_bytes.saturating_sub(WINDOW)).unwrap_or(u32::MAX);
    first.lower.min(latest)
}

/// Whether every group of outputs finds its samples in one window.
fn fits(taps: &[ColumnTap], per_window: usize, row_bytes: usize) -> bool {
    // Blocks are whole multiples of a group, so plain chunks are the groups.
    taps.chunks(per_window).all(|group| {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return true };
        ((last.upper - window_base(*first, row_bytes)) as usize) < WINDOW
    })
}

fn pick(byte: u32, base: u32) -> u8 {
    u8::try_from(byte - base).expect("a group of outputs was checked to fit its window")
}
