//! The two inner loops, in a plain and a vector version: one row resampled across, one row turned into colours.
//!
//! Resampling across is done in integers, so that all versions give the same bits; only the blend of two rows and the
//! matrix are in f32, where a fused multiply-add rounds once less.

#[cfg(target_arch = "x86_64")]
use super::axis::{BLOCK, WINDOW};
use super::axis::{Columns, ONE};
use super::conversion::Conversion;

/// Which version of the inner loops to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    /// What the compiler makes of it for the baseline processor.
    Plain,
    /// AVX2 and FMA. Only [`Backend::detect`] makes one, on a processor that has both.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

/// Proof that this processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx2(());

/// Two resampled rows and the weight of the second, `0..1`.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowPair<'a> {
    pub lower: &'a [f32],
    pub upper: &'a [f32],
    pub weight: f32,
}

impl Backend {
    /// The fastest version this processor runs.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self::Avx2(Avx2(()));
        }
        Self::Plain
    }

    /// Resamples a row across: `out[i] = (blend of row's bytes, weights summing to ONE) - bias * ONE`.
    ///
    /// `out` has the tables' padded length; what lies beyond the outputs is unspecified.
    pub fn resample(self, row: &[u8], columns: &Columns, bias: u8, out: &mut [f32]) {
        match self {
            Self::Plain => resample_plain(row, columns, bias, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => {
                let mut short = [0; WINDOW];
                // A row shorter than a window is picked from a copy that is as long as one.
                let row = if row.len() < WINDOW {
                    short[..row.len()].copy_from_slice(row);
                    &short
                } else {
                    row
                };
                // SAFETY: an `Avx2` exists only where the processor has AVX2 and FMA.
                unsafe { resample_avx2(row, columns, bias, out) }
            }
        }
    }

    /// Blends each pair of rows and writes the colours: red, green and blue to `out`, as `conversion` says.
    pub fn colour(self, [y, u, v]: [RowPair<'_>; 3], conversion: &Conversion, out: [&mut [f32]; 3]) {
        match self {
            Self::Plain => colour_body::<false>(y, u, v, conversion, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Avx2` exists only where the processor has AVX2 and FMA.
            Self::Avx2(_) => unsafe { colour_avx2(y, u, v, conversion, out) },
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "below 2^22, see ONE")]
fn resample_plain(row: &[u8], columns: &Columns, bias: u8, out: &mut [f32]) {
    let bias = i32::from(bias) * ONE;
    if columns.identity {
        identity_body(row, bias, out);
        return;
    }
    for (out, tap) in out.iter_mut().zip(&columns.taps) {
        let lower = i32::from(row[tap.lower as usize]) * i32::from(tap.weights[0]);
        let upper = i32::from(row[tap.upper as usize]) * i32::from(tap.weights[1]);
        *out = (lower + upper - bias) as f32;
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for every instruction set")]
#[expect(clippy::cast_precision_loss, reason = "below 2^22, see ONE")]
fn identity_body(row: &[u8], bias: i32, out: &mut [f32]) {
    for (out, &byte) in out.iter_mut().zip(row) {
        *out = (i32::from(byte) * ONE - bias) as f32;
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for every instruction set")]
#[expect(clippy::many_single_char_names, reason = "y, u, v and r, g, b mean what they always mean")]
fn colour_body<const FMA: bool>(
    luma: RowPair<'_>,
    cb: RowPair<'_>,
    cr: RowPair<'_>,
    conversion: &Conversion,
    [red, green, blue]: [&mut [f32]; 3],
) {
    let count = red.len();
    // Slices of one known length free the loop of bounds checks.
    let (green, blue) = (&mut green[..count], &mut blue[..count]);
    let (y0, y1) = (&luma.lower[..count], &luma.upper[..count]);
    let (u0, u1) = (&cb.lower[..count], &cb.upper[..count]);
    let (v0, v1) = (&cr.lower[..count], &cr.upper[..count]);
    let to = *conversion;
    for i in 0..count {
        let y = multiply_add::<FMA>(y1[i] - y0[i], luma.weight, y0[i]);
        let u = multiply_add::<FMA>(u1[i] - u0[i], cb.weight, u0[i]);
        let v = multiply_add::<FMA>(v1[i] - v0[i], cr.weight, v0[i]);
        let r = multiply_add::<FMA>(v, to.red_v, multiply_add::<FMA>(y, to.luma[0], to.black[0]));
        let g = multiply_add::<FMA>(y, to.luma[1], to.black[1]);
        let g = multiply_add::<FMA>(v, to.green_v, multiply_add::<FMA>(u, to.green_u, g));
        let b = multiply_add::<FMA>(u, to.blue_u, multiply_add::<FMA>(y, to.luma[2], to.black[2]));
        red[i] = limit(r, to.lowest[0], to.highest[0]);
        green[i] = limit(g, to.lowest[1], to.highest[1]);
        blue[i] = limit(b, to.lowest[2], to.highest[2]);
    }
    if to.whole {
        for (channel, row) in [red, green, blue].into_iter().enumerate() {
            let (black, level) = (to.black[channel], to.level[channel]);
            let per_level = 1.0 / level;
            for value in row.iter_mut() {
                // Beyond this sum an f32 has no fraction left: adding rounds to even, in one instruction everywhere.
                let rounded = ((*value - black) * per_level + 12_582_912.0) - 12_582_912.0;
                *value = multiply_add::<FMA>(rounded, level, black);
            }
        }
    }
}

/// `a * b + c`: fused only where the processor has it, as the fallback is a library call.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for every instruction set")]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `clamp` in the form that compiles to one instruction a side: `clamp` checks its bounds, `max` and `min` look for NaN
/// (which never gets here).
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for every instruction set")]
fn limit(value: f32, lowest: f32, highest: f32) -> f32 {
    let value = if value > lowest { value } else { lowest };
    if value < highest { value } else { highest }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn colour_avx2(y: RowPair<'_>, u: RowPair<'_>, v: RowPair<'_>, conversion: &Conversion, out: [&mut [f32]; 3]) {
    colour_body::<true>(y, u, v, conversion, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn resample_avx2(row: &[u8], columns: &Columns, bias: u8, out: &mut [f32]) {
    let bias = i32::from(bias) * ONE;
    if columns.identity {
        identity_body(row, bias, out);
        return;
    }
    match columns.windows {
        1 => resample_blocks::<1>(row, columns, bias, out),
        2 => resample_blocks::<2>(row, columns, bias, out),
        _ => resample_blocks::<4>(row, columns, bias, out),
    }
}

/// Eight outputs at a time: shuffles pick their sample pairs out of a few 16-byte windows of the row, and one
/// instruction multiplies and adds each pair.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn resample_blocks<const WINDOWS: usize>(row: &[u8], columns: &Columns, bias: i32, out: &mut [f32]) {
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm256_cvtepi32_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_or_si256,
        _mm256_set_m128i, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_storeu_ps,
        _mm256_sub_epi32,
    };
    let window = |base: u32| -> __m128i {
        let bytes: &[u8] = &row[base as usize..][..WINDOW];
        // SAFETY: the slice is WINDOW = 16 bytes long; an unaligned load.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    };
    let bias = _mm256_set1_epi32(bias);
    let (bases, _) = columns.bases.as_chunks::<WINDOWS>();
    let (masks, _) = columns.masks.as_chunks::<WINDOWS>();
    let (out, _) = out.as_chunks_mut::<BLOCK>();
    let blocks = bases.chunks_exact(2).zip(masks).zip(&columns.weights).zip(out);
    for (((bases, masks), weights), out) in blocks {
        let mut pairs = _mm256_setzero_si256();
        for w in 0..WINDOWS {
            let bytes = _mm256_set_m128i(window(bases[1][w]), window(bases[0][w]));
            // SAFETY: a mask is 32 bytes; an unaligned load.
            let mask = unsafe { _mm256_loadu_si256(masks[w].as_ptr().cast()) };
            pairs = _mm256_or_si256(pairs, _mm256_shuffle_epi8(bytes, mask));
        }
        // SAFETY: a block's weights are 32 bytes; an unaligned load.
        let weights = unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) };
        let blended = _mm256_sub_epi32(_mm256_madd_epi16(pairs, weights), bias);
        // SAFETY: `out` is 8 floats; an unaligned store.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtepi32_ps(blended)) };
    }
}
