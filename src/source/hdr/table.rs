//! A function of colours as a table, interpolated: what [`crate::frame::hdr`] says of a colour takes microseconds, a sample has
//! nanoseconds.

/// Sampling of luma: 65 nodes, 16 steps of 10 bits apart.
const LUMA_NODES: usize = 65;
const LUMA_BITS: u32 = 4;
/// Sampling of chroma: 33 nodes each, 32 steps of 10 bits apart.
const CHROMA_CELLS: usize = 32;
const CHROMA_BITS: u32 = 5;
/// Fractional bits of the values.
const VALUE_BITS: u32 = 6;
/// Fractional bits of what is interpolated.
const SHIFT: u32 = VALUE_BITS + 2 * CHROMA_BITS + LUMA_BITS;
/// Largest sample of 10 bits.
const MAX: u16 = 1023;

/// Values at the four corners of a chroma cell, `[(u, v), (u, v + 1), (u + 1, v), (u + 1, v + 1)]`, by luma.
type Column = [[i16; 4]; LUMA_NODES];

/// One output component, 0..255, for `[Y, U, V]` of 10 bits.
pub(super) struct Table(Vec<Column>);

/// A place in a chroma cell.
#[derive(Clone, Copy)]
pub(super) struct Place {
    cell: usize,
    weights: [i32; 4],
}

impl Place {
    /// Where samples of 10 bits lie.
    pub fn of(u: u16, v: u16) -> Self {
        let split = |sample: u16| {
            let sample = usize::from(sample.min(MAX));
            let fraction = i32::try_from(sample & ((1 << CHROMA_BITS) - 1)).unwrap_or(0);
            (sample >> CHROMA_BITS, fraction, (1 << CHROMA_BITS) - fraction)
        };
        let ((u, above_u, below_u), (v, above_v, below_v)) = (split(u), split(v));
        let weights = [below_u * below_v, below_u * above_v, above_u * below_v, above_u * above_v];
        Self { cell: u * CHROMA_CELLS + v, weights }
    }
}

/// Tables of the three components of `function`: `[Y, U, V]` of 10 bits to 8, as reals.
pub(super) fn tables(function: impl Fn([f64; 3]) -> [f64; 3]) -> [Table; 3] {
    let side = CHROMA_CELLS + 1;
    let at = |node: usize, bits: u32| f64::from(u32::try_from(node << bits).unwrap_or(u32::MAX));
    let nodes: Vec<[i16; 3]> = (0..side * side * LUMA_NODES)
        .map(|node| {
            let (uv, y) = (node / LUMA_NODES, node % LUMA_NODES);
            let place = [at(y, LUMA_BITS), at(uv / side, CHROMA_BITS), at(uv % side, CHROMA_BITS)];
            #[expect(clippy::cast_possible_truncation, reason = "at most 255 times 64")]
            function(place).map(|value| (value.clamp(0.0, 255.0) * f64::from(1 << VALUE_BITS)).round() as i16)
        })
        .collect();
    std::array::from_fn(|component| {
        let column = |cell: usize| -> Column {
            let (u, v) = (cell / CHROMA_CELLS, cell % CHROMA_CELLS);
            let node = |u: usize, v: usize, y: usize| nodes[(u * side + v) * LUMA_NODES + y][component];
            std::array::from_fn(|y| [node(u, v, y), node(u, v + 1, y), node(u + 1, v, y), node(u + 1, v + 1, y)])
        };
        Table((0..CHROMA_CELLS * CHROMA_CELLS).map(column).collect())
    })
}

impl Table {
    /// The value at `place` and the luma sample `y` of 10 bits.
    #[inline]
    pub fn at(&self, place: Place, y: u16) -> u8 {
        let column = &self.0[place.cell];
        let y = y.min(MAX);
        let (node, fraction) = (usize::from(y >> LUMA_BITS), i32::from(y & ((1 << LUMA_BITS) - 1)));
        let sum = |corners: &[i16; 4]| {
            let mut sum = 0;
            for (corner, weight) in corners.iter().zip(place.weights) {
                sum += i32::from(*corner) * weight;
            }
            sum
        };
        let value = sum(&column[node]) * ((1 << LUMA_BITS) - fraction) + sum(&column[node + 1]) * fraction;
        u8::try_from((value + (1 << (SHIFT - 1))) >> SHIFT).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linear_is_met_exactly() {
        let [y, u, v] = tables(|[y, u, v]| [y / 4.0, u / 8.0, 150.0 - v / 8.0]);
        for sample in (0..=1016).step_by(8) {
            let place = Place::of(sample, 1016 - sample);
            let values = [&y, &u, &v].map(|table| u16::from(table.at(place, sample)));
            assert_eq!(values, [sample / 4, sample / 8, 23 + sample / 8]);
        }
        assert_eq!(y.at(Place::of(u16::MAX, 0), u16::MAX), 255);
    }
}
