//! Class names as metadata carries them: a Python dict or list (`{0: 'person', 1: "bird's nest"}`) or JSON.

/// More classes than any detector has; hostile metadata ends here.
pub(super) const MAX_CLASSES: usize = 10_000;

/// Longest name, characters: it is drawn beside every box.
const MAX_LENGTH: usize = 200;

/// What is wrong with class names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NamesError {
    #[error("they are no list or dict in Python's or JSON's form")]
    Form,
    #[error("they are more than {MAX_CLASSES}")]
    TooMany,
    #[error("class {after} is followed by number {number}")]
    Order { after: isize, number: usize },
    #[error("{0} classes are named, 1 to {MAX_CLASSES} are taken")]
    Count(usize),
    #[error("the name of class {id} holds the control character {character:?}")]
    ControlCharacter { id: usize, character: char },
    #[error("the name of class {0} is longer than {MAX_LENGTH} characters")]
    TooLong(usize),
}

/// Parses class names.
pub(super) fn parse(text: &str) -> Result<Vec<String>, NamesError> {
    let names = read(text)?;
    check(&names)?;
    Ok(names)
}

/// Whether names from outside can be shown and counted.
pub(super) fn check(names: &[String]) -> Result<(), NamesError> {
    if names.is_empty() || names.len() > MAX_CLASSES {
        return Err(NamesError::Count(names.len()));
    }
    for (id, name) in names.iter().enumerate() {
        if let Some(character) = name.chars().find(|c| c.is_control()) {
            return Err(NamesError::ControlCharacter { id, character });
        }
        if name.chars().nth(MAX_LENGTH).is_some() {
            return Err(NamesError::TooLong(id));
        }
    }
    Ok(())
}

fn read(text: &str) -> Result<Vec<String>, NamesError> {
    let form = || NamesError::Form;
    let mut rest = text.trim();
    let (close, keyed) = match rest.chars().next() {
        Some('{') => ('}', true),
        Some('[') => (']', false),
        _ => return Err(form()),
    };
    rest = rest[1..].trim_start();
    let mut names: Vec<String> = Vec::new();
    while !rest.starts_with(close) {
        if names.len() == MAX_CLASSES {
            return Err(NamesError::TooMany);
        }
        if keyed {
            let (key, after) = rest.split_once(':').ok_or_else(form)?;
            let key: usize = key.trim().trim_matches(['"', '\'']).parse().map_err(|_| form())?;
            if key != names.len() {
                return Err(NamesError::Order { after: names.len().wrapping_sub(1).cast_signed(), number: key });
            }
            rest = after.trim_start();
        }
        let (name, after) = quoted(rest).ok_or_else(form)?;
        names.push(name);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with(close) => {}
            None => return Err(form()),
        }
    }
    if rest[1..].trim().is_empty() { Ok(names) } else { Err(form()) }
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
            name.push(c);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn python_and_json_forms() {
        let names = |text| parse(text).ok();
        assert_eq!(names("{0: 'person', 1: \"bird's nest\"}"), Some(vec!["person".into(), "bird's nest".into()]));
        assert_eq!(names("['a', 'b',]"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(names("{\"0\": \"a\"}"), Some(vec!["a".into()]));
        assert_eq!(names("{0: 'a'"), None);
    }

    #[test]
    fn what_cannot_be_shown_or_counted_is_said() {
        let many = format!("[{}]", "'a',".repeat(MAX_CLASSES + 1));
        let long = format!("['{}']", "a".repeat(MAX_LENGTH + 1));
        for (text, said) in [
            ("{1: 'a'}", "number 1"),
            ("{0: 'a', 1000000000: 'b'}", "class 0 is followed by number 1000000000"),
            ("['a', 'b\u{1b}[2J']", "class 1 holds the control character '\\u{1b}'"),
            (many.as_str(), "more than 10000"),
            (long.as_str(), "longer than 200"),
            ("[]", "0 classes"),
            ("person", "no list or dict"),
        ] {
            let problem = parse(text).expect_err("refused").to_string();
            assert!(problem.contains(said), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back_as_written(names in proptest::collection::vec("[^\\p{C}\\\\']{1,20}", 1..20)) {
            let dict: Vec<String> = names.iter().enumerate().map(|(id, name)| format!("{id}: '{name}'")).collect();
            prop_assert_eq!(parse(&format!("{{{}}}", dict.join(", "))), Ok(names.clone()));
            prop_assert_eq!(parse(&serde_json::to_string(&names).expect("JSON")), Ok(names));
        }
    }
}
