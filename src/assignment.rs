//! Linear assignment: which row goes with which column, so that the sum of the costs is least.
//!
//! Shortest augmenting paths with potentials (Jonker and Volgenant 1987, for rectangles as in Crouse 2016), O(n³). Of
//! several solutions of one sum it finds the one that SciPy's `linear_sum_assignment` finds, since figures that go by
//! that (TrackEval's) depend on it where boxes tie.

use std::borrow::Cow;

/// Costs up to here have sums that are numbers.
const LARGEST: f64 = 1e150;

/// For each of `rows` its column in `cost` (`rows × cols`, row by row), so that as many pairs as possible are made and their
/// sum is least. A cost that is not finite, or missing, forbids its pair.
#[must_use]
pub fn assign(cost: &[f64], rows: usize, cols: usize) -> Vec<Option<usize>> {
    let len = rows.saturating_mul(cols);
    if len == 0 {
        return vec![None; rows];
    }
    let cost = &cost[..len.min(cost.len())];
    let allowed = |at: usize| cost.get(at).is_some_and(|c| c.is_finite());
    let plain = cost.len() == len && cost.iter().all(|c| c.abs() <= LARGEST);
    let costs = if plain { Cow::Borrowed(cost) } else { Cow::Owned(tamed(cost, len, rows.min(cols))) };
    let pairs = if rows <= cols {
        solve(&costs, rows, cols)
    } else {
        let turned: Vec<f64> = (0..len).map(|at| costs[at % rows * cols + at / rows]).collect();
        let mut of_row = vec![None; rows];
        for (col, row) in solve(&turned, cols, rows).into_iter().enumerate() {
            if let Some(of_row) = row.and_then(|row| of_row.get_mut(row)) {
                *of_row = Some(col);
            }
        }
        of_row
    };
    if plain {
        return pairs;
    }
    pairs.into_iter().enumerate().map(|(row, col)| col.filter(|col| allowed(row * cols + col))).collect()
}

/// The costs from 0 on and not too large, with one for what is forbidden that outweighs every sum of the others.
fn tamed(cost: &[f64], len: usize, pairs: usize) -> Vec<f64> {
    let (least, most) = cost
        .iter()
        .filter(|c| c.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), c| (least.min(*c), most.max(*c)));
    // Halves, since the largest spread of two numbers has no number.
    let half_range = if least <= most { most / 2.0 - least / 2.0 } else { 0.0 };
    let scale = if half_range > LARGEST { 1.0 / LARGEST } else { 1.0 };
    #[expect(clippy::cast_precision_loss, reason = "a number of pairs")]
    let forbidden = (2.0 * (half_range * scale) + 1.0) * (pairs as f64 + 1.0);
    let moved = |c: &f64| if c.is_finite() { c * scale - least * scale } else { forbidden };
    cost.iter().map(moved).chain(std::iter::repeat(forbidden)).take(len).collect()
}

/// The shortest paths from one row.
struct Search {
    /// By column: how far, through which row, and whether it is settled.
    distance: Vec<f64>,
    through: Vec<usize>,
    settled: Vec<bool>,
    /// Rows on the way, the first one included.
    seen: Vec<usize>,
    /// Columns that are not settled, in an order that gives a constant matrix its diagonal.
    open: Vec<usize>,
}

/// `rows ≤ cols`, all costs finite: every row has a column.
#[expect(clippy::float_cmp, reason = "of equal distances a free column is preferred: equal to the last bit")]
fn solve(cost: &[f64], rows: usize, cols: usize) -> Vec<Option<usize>> {
    let (mut of_row, mut of_col) = (vec![None; rows], vec![None; cols]);
    let (mut of_rows, mut of_cols) = (vec![0.0; rows], vec![0.0; cols]);
    let mut search = Search {
        distance: vec![0.0; cols],
        through: vec![0; cols],
        settled: vec![false; cols],
        seen: Vec::with_capacity(rows),
        open: Vec::with_capacity(cols),
    };
    for start in 0..rows {
        search.distance.fill(f64::INFINITY);
        search.settled.fill(false);
        search.seen.clear();
        search.open.clear();
        search.open.extend((0..cols).rev());
        let (mut row, mut least) = (start, 0.0);
        let end = loop {
            search.seen.push(row);
            let costs = &cost[row * cols..(row + 1) * cols];
            let (mut nearest, mut at) = (f64::INFINITY, None);
            for (place, &col) in search.open.iter().enumerate() {
                let distance = least + costs[col] - of_rows[row] - of_cols[col];
                if distance < search.distance[col] {
                    search.distance[col] = distance;
                    search.through[col] = row;
                }
                let distance = search.distance[col];
                // Of equals, one that ends the search.
                if distance < nearest || distance == nearest && of_col[col].is_none() {
                    nearest = distance;
                    at = Some(place);
                }
            }
            // There is one: distances are numbers, and there are as many columns as rows.
            let Some(place) = at else { break None };
            least = nearest;
            let col = search.open.swap_remove(place);
            search.settled[col] = true;
            match of_col[col] {
                None => break Some(col),
                Some(next) => row = next,
            }
        };
        let Some(mut col) = end else { continue };
        for &row in &search.seen {
            let back: Option<usize> = of_row[row];
            of_rows[row] += least - back.map_or(0.0, |col| search.distance[col]);
        }
        for col in (0..cols).filter(|col| search.settled[*col]) {
            of_cols[col] -= least - search.distance[col];
        }
        loop {
            let row = search.through[col];
            of_col[col] = Some(row);
            let before = of_row[row].replace(col);
            match before {
                Some(before) if row != start => col = before,
                _ => break,
            }
        }
    }
    of_row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least sum of all complete assignments, and the most pairs, by trying each.
    fn best(cost: &[f64], rows: usize, cols: usize, row: usize, taken: &mut Vec<bool>) -> (usize, f64) {
        if row == rows {
            return (0, 0.0);
        }
        let mut found = best(cost, rows, cols, row + 1, taken);
        for col in 0..cols {
            let c = cost[row * cols + col];
            if taken[col] || !c.is_finite() {
                continue;
            }
            taken[col] = true;
            let (pairs, sum) = best(cost, rows, cols, row + 1, taken);
            taken[col] = false;
            let other = (pairs + 1, sum + c);
            if other.0 > found.0 || other.0 == found.0 && other.1 < found.1 {
                found = other;
            }
        }
        found
    }

    fn sum(cost: &[f64], cols: usize, pairs: &[Option<usize>]) -> (usize, f64) {
        let made = pairs.iter().enumerate().filter_map(|(row, col)| Some(cost[row * cols + (*col)?]));
        made.fold((0, 0.0), |(n, sum), c| (n + 1, sum + c))
    }

    fn matrix() -> impl Strategy<Value = (Vec<f64>, usize, usize)> {
        (0usize..6, 0usize..6).prop_flat_map(|(rows, cols)| {
            let cost = prop_oneof![
                6 => (-4i8..5).prop_map(f64::from),
                1 => Just(f64::INFINITY),
                1 => Just(f64::NAN),
            ];
            (prop::collection::vec(cost, rows * cols), Just(rows), Just(cols))
        })
    }

    proptest! {
        #[test]
        fn no_other_assignment_has_more_pairs_or_costs_less((cost, rows, cols) in matrix()) {
            let pairs = assign(&cost, rows, cols);
            prop_assert_eq!(pairs.len(), rows);
            let mut columns: Vec<usize> = pairs.iter().flatten().copied().collect();
            columns.sort_unstable();
            columns.dedup();
            prop_assert_eq!(columns.len(), pairs.iter().flatten().count(), "a column is taken once");
            let (made, ours) = sum(&cost, cols, &pairs);
            let (most, least) = best(&cost, rows, cols, 0, &mut vec![false; cols]);
            prop_assert_eq!(made, most);
            prop_assert!((ours - least).abs() < 1e-9, "{} against {}", ours, least);
        }

        #[test]
        fn hostile_costs_and_sizes_do_not_panic(
            cost in prop::collection::vec(prop_oneof![any::<f64>(), Just(f64::MAX), Just(f64::MIN)], 0..30),
            rows in 0usize..8,
            cols in 0usize..8,
        ) {
            prop_assert_eq!(assign(&cost, rows, cols).len(), rows);
        }
    }

    /// As SciPy has it.
    #[test]
    fn of_equal_solutions_the_diagonal_is_taken() {
        assert_eq!(assign(&[1.0; 9], 3, 3), [Some(0), Some(1), Some(2)]);
        assert_eq!(assign(&[0.0; 6], 2, 3), [Some(0), Some(1)]);
        assert_eq!(assign(&[0.0; 6], 3, 2), [Some(0), Some(1), None]);
        assert_eq!(assign(&[], 2, 0), [None, None]);
    }
}
