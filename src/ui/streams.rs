//! What a configuration would run, as a table.

use crate::text::{append, printable};

/// A stream. Nothing of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub source: String,
    /// What is written, served or sent of it.
    pub outputs: Vec<String>,
}

/// The table: the file, its model, a row per stream, and notices.
#[must_use]
pub fn table(file: &str, model: &str, rows: &[Row], notices: &[String]) -> String {
    let model = if model.is_empty() { String::new() } else { format!(" · {}", printable(model)) };
    let mut text = format!("  {} is right{model}\n", printable(file));
    let head = Row { name: "stream".into(), source: "source".into(), outputs: vec!["outputs".into()] };
    let width = |of: fn(&Row) -> &str| {
        rows.iter().chain([&head]).map(|row| printable(of(row)).chars().count()).max().unwrap_or(0)
    };
    let (names, sources) = (width(|row| &row.name), width(|row| &row.source));
    if !rows.is_empty() {
        text.push('\n');
        for row in [&head].into_iter().chain(rows) {
            let outputs = if row.outputs.is_empty() { "none".to_owned() } else { printable(&row.outputs.join(", ")) };
            let (name, source) = (printable(&row.name), printable(&row.source));
            append(&mut text, format_args!("  {name:names$}  {source:sources$}  {outputs}\n"));
        }
    }
    for notice in notices {
        append(&mut text, format_args!("\n  notice: {}", printable(notice)));
    }
    if !notices.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_notices_follow() {
        let row = |name: &str, source: &str, outputs: &[&str]| Row {
            name: name.into(),
            source: source.into(),
            outputs: outputs.iter().map(|output| (*output).to_owned()).collect(),
        };
        let rows = [row("gate", "rtsp://***@cam/1", &["gate.mkv", "--json gate.jsonl"]), row("y", "test:ball", &[])];
        let said = table("c.toml", "nano · 10 classes", &rows, &["gate.mkv exists".into()]);
        assert_eq!(
            said,
            "  c.toml is right · nano · 10 classes\n\n  stream  source            outputs\n  gate    rtsp://***@cam/1  gate.mkv, --json \
             gate.jsonl\n  y       test:ball         none\n\n  notice: gate.mkv exists\n"
        );
    }
}
