//! Prometheus' text format, version 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write};

/// Longest label value that is written whole, characters: names come from models and containers.
const LONGEST_VALUE: usize = 120;

/// Labels of a sample.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Writes families of samples, one after the other.
pub(super) struct Exposition<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl<'a> Exposition<'a> {
    pub fn new(text: &'a mut String) -> Self {
        Self { text, name: "" }
    }

    /// Begins a family; `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample of the family.
    pub fn sample(&mut self, labels: Labels, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// One histogram of the family: how many fell into each bucket (the last one has no bound) and their sum.
    pub fn histogram(&mut self, labels: Labels, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut below = 0;
        for (index, count) in counts.iter().enumerate() {
            below += count;
            let bound = bounds.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            self.line("_bucket", labels, Some(&bound), below);
        }
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, below);
    }

    fn line(&mut self, suffix: &str, labels: Labels, bound: Option<&str>, value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut before = '{';
        for (name, value) in labels {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, self.text);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Backslash, quote and line feed are escaped; other control characters have no business in a name.
fn escape(value: &str, text: &mut String) {
    for c in value.chars().take(LONGEST_VALUE) {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => text.push('?'),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_their_labels_escaped() {
        let mut text = String::new();
        let mut out = Exposition::new(&mut text);
        out.family("a_total", "counter", "What it counts.");
        out.sample(&[], 7);
        out.sample(&[("class", "a \"b\"\\\n\u{1b}é"), ("stream", "0")], 1.5);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "# HELP a_total What it counts.",
                "# TYPE a_total counter",
                "a_total 7",
                r#"a_total{class="a \"b\"\\\n?é",stream="0"} 1.5"#,
            ]
        );
    }

    #[test]
    fn a_histogram_s_buckets_are_cumulative() {
        let mut text = String::new();
        let mut out = Exposition::new(&mut text);
        out.family("t_seconds", "histogram", "Time.");
        out.histogram(&[("s", "x")], &[0.1, 1.0], &[2, 0, 3], 4.25);
        let samples: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            samples,
            [
                r#"t_seconds_bucket{s="x",le="0.1"} 2"#,
                r#"t_seconds_bucket{s="x",le="1"} 2"#,
                r#"t_seconds_bucket{s="x",le="+Inf"} 5"#,
                r#"t_seconds_sum{s="x"} 4.25"#,
                r#"t_seconds_count{s="x"} 5"#,
            ]
        );
    }
}
