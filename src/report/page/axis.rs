//! Axes of charts: where a value lies, and which values get a line.

/// From values to pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    from_px: f64,
    to_px: f64,
}

impl Axis {
    /// From zero to `high` or a little more.
    pub(super) fn linear(high: f64, from_px: f64, to_px: f64) -> Self {
        let step = step_of(high);
        Self { low: 0.0, high: ((high / step).ceil() * step).max(step), logarithmic: false, from_px, to_px }
    }

    /// From zero to exactly `high`.
    pub(super) fn exact(high: f64, from_px: f64, to_px: f64) -> Self {
        Self { low: 0.0, high: high.max(1e-9), logarithmic: false, from_px, to_px }
    }

    /// Whole decades around `low` and `high`.
    pub(super) fn logarithmic(low: f64, high: f64, from_px: f64, to_px: f64) -> Self {
        let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
        Self { low, high: high.max(low * 10.0), logarithmic: true, from_px, to_px }
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from_px + share.clamp(0.0, 1.0) * (self.to_px - self.from_px)
    }

    /// Values that get a line, with their names.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let mut ticks = Vec::new();
        let step = if self.logarithmic { 0.0 } else { step_of(self.high) };
        let mut value = self.low;
        while value <= self.high * 1.000_001 {
            ticks.push((value, number(value)));
            value = if self.logarithmic { value * 10.0 } else { value + step };
        }
        ticks
    }
}

/// 1, 2 or 5 times a power of ten, so that four to ten of them reach `high`.
fn step_of(high: f64) -> f64 {
    let raw = high.max(1e-9) / 5.0;
    let decade = 10_f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * decade).find(|step| *step >= raw * 0.999).unwrap_or(decade * 10.0)
}

/// As short as it can be without a loss that is seen.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lie_at_round_values() {
        let names = |axis: Axis| axis.ticks().into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ");
        assert_eq!(names(Axis::linear(63.0, 0.0, 1.0)), "0 20 40 60 80");
        assert_eq!(names(Axis::exact(4.2, 0.0, 1.0)), "0 1 2 3 4");
        assert_eq!(names(Axis::logarithmic(0.03, 70.0, 0.0, 1.0)), "0.01 0.1 1 10 100");
        let axis = Axis::logarithmic(0.1, 10.0, 200.0, 0.0);
        assert!((axis.place(1.0) - 100.0).abs() < 1e-9 && (axis.place(0.0) - 200.0).abs() < 1e-9);
    }
}
