//! What of YAML a `data.yaml` needs: mappings, lists and scalars. Aliases are refused, since a few lines of them can mean
//! gigabytes, and so is depth.

use std::path::Path;

use saphyr_parser::{Event, Parser, Span};

use super::error::DatasetError;

const DEEPEST: usize = 8;

/// A value with its line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value under a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// A scalar that says something.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) if !matches!(text.as_str(), "" | "~" | "null") => Some(text),
            _ => None,
        }
    }

    /// The scalars of a list, or the one scalar.
    pub(super) fn texts(&self) -> Vec<&str> {
        match &self.value {
            Value::List(nodes) => nodes.iter().filter_map(Node::text).collect(),
            _ => self.text().into_iter().collect(),
        }
    }
}

/// Reads the first document of `text`; `path` is for messages.
pub(super) fn parse(text: &str, path: &Path) -> Result<Node, DatasetError> {
    let refused = |line: usize, problem: &str| {
        let remedy = "write `path`, `val` and `names` as Ultralytics' data.yaml has them";
        DatasetError::new(format!("{}:{line}", path.display()), problem, remedy)
    };
    let mut parser = Parser::new_from_str(text);
    let mut next = || match parser.next_event() {
        Some(Ok(event)) => Ok(event),
        Some(Err(e)) => Err(refused(e.marker().line(), e.info())),
        None => Err(refused(1, "it ends early")),
    };
    // Containers that are open, each with the key that waits for its value.
    let mut open: Vec<(Node, Option<String>)> = Vec::new();
    loop {
        let (event, span): (Event, Span) = next()?;
        let line = span.start.line();
        let done = match event {
            Event::Scalar(text, ..) => Node { line, value: Value::Scalar(text.into_owned()) },
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if open.len() == DEEPEST {
                    return Err(refused(line, "it is nested too deeply"));
                }
                let list = matches!(event, Event::SequenceStart(..));
                let value = if list { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
                open.push((Node { line, value }, None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((node, _)) => node,
                None => return Err(refused(line, "it ends what did not begin")),
            },
            Event::Alias(_) => return Err(refused(line, "aliases (*name) are not read")),
            Event::DocumentEnd | Event::StreamEnd => return Err(refused(line, "it is empty")),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
        };
        match open.last_mut() {
            None => return Ok(done),
            Some((Node { value: Value::List(nodes), .. }, _)) => nodes.push(done),
            Some((Node { value: Value::Map(entries), .. }, key)) => match (key.take(), done.value) {
                (Some(key), value) => entries.push((key, Node { line: done.line, value })),
                (None, Value::Scalar(text)) => *key = Some(text),
                (None, _) => return Err(refused(line, "a key that is no scalar")),
            },
            Some(_) => return Err(refused(line, "a value inside a scalar")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Node, DatasetError> {
        parse(text, Path::new("data.yaml"))
    }

    #[test]
    fn names_come_as_list_or_mapping() {
        let node = parsed("# c\npath: ..\nval: [a, 'b c']\nnames:\n  0: person\n  1: \"x: y\"\n").expect("YAML");
        assert_eq!(node.get("val").map(Node::texts), Some(vec!["a", "b c"]));
        let names = node.get("names").expect("names");
        assert_eq!((names.line, names.get("1").and_then(Node::text)), (5, Some("x: y")));
    }

    #[test]
    fn what_would_explode_is_refused() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        assert!(parsed(bomb).expect_err("an alias").problem.contains("aliases"));
        let deep = "[".repeat(100_000);
        let deep = parsed(&deep).expect_err("depth").problem;
        assert!(deep.contains("deep") || deep.contains("recursion"), "{deep}");
        assert!(parsed("").is_err() && parsed("a: [").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-a-z:\\[\\]{},&*!|>%@#\"'?~ \n\t\u{0}0-9]{0,120}", other in ".{0,60}") {
            let _ = parsed(&text);
            let _ = parsed(&other);
        }
    }
}
