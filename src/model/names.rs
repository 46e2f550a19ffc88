//! Class names as metadata carries them: a Python dict or list (`{0: 'person', 1: "bird's nest"}`) or JSON.

/// More classes than any detector has; hostile metadata ends here.
const MAX_CLASSES: usize = 10_000;

/// Parses class names; `None` when the text is not one of the known forms. Control characters become `?`.
pub(super) fn parse(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim();
    let (close, keyed) = match rest.chars().next()? {
        '{' => ('}', true),
        '[' => (']', false),
        _ => return None,
    };
    rest = rest[1..].trim_start();
    let mut names: Vec<String> = Vec::new();
    while !rest.starts_with(close) {
        if names.len() == MAX_CLASSES {
            return None;
        }
        if keyed {
            let colon = rest.find(':')?;
            let key: usize = rest[..colon].trim().trim_matches(['"', '\'']).parse().ok()?;
            if key != names.len() {
                return None;
            }
            rest = rest[colon + 1..].trim_start();
        }
        let (name, after) = quoted(rest)?;
        names.push(name);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with(close) => {}
            None => return None,
        }
    }
    (rest[1..].trim().is_empty() && !names.is_empty()).then_some(names)
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut name = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            name.push(c);
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some((name, &text[at + c.len_utf8()..]));
        } else {
            name.push(if c.is_control() { '?' } else { c });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::parse;
    use proptest::prelude::*;

    #[test]
    fn python_and_json_forms() {
        assert_eq!(parse("{0: 'person', 1: \"bird's nest\"}"), Some(vec!["person".into(), "bird's nest".into()]));
        assert_eq!(parse("['a', 'b',]"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(parse("{\"0\": \"a\"}"), Some(vec!["a".into()]));
        assert_eq!(parse("{1: 'a'}"), None);
        assert_eq!(parse("{0: 'a'"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") { let _ = parse(&text); }
        #[test]
        fn never_panics_on_near_misses(text in "[{}\\[\\]0-9:,'\"\\\\ aé\n]{0,40}") { let _ = parse(&text); }
    }
}
