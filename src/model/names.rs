//! Class names as metadata carries them: a Python dict or list (`{0: 'person', 1: "bird's nest"}`) or JSON.

use std::str::Chars;

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
    #[error("class {0} is named twice")]
    Twice(usize),
    #[error("one has number {number}, and at most {MAX_CLASSES} are taken")]
    Number { number: usize },
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
    let mut names: Vec<Option<String>> = Vec::new();
    while !rest.starts_with(close) {
        if names.len() == MAX_CLASSES {
            return Err(NamesError::TooMany);
        }
        let mut id = names.len();
        if keyed {
            let (key, after) = rest.split_once(':').ok_or_else(form)?;
            id = key.trim().trim_matches(['"', '\'']).parse().map_err(|_| form())?;
            if id >= MAX_CLASSES {
                return Err(NamesError::Number { number: id });
            }
            rest = after.trim_start();
        }
        let (name, after) = quoted(rest).ok_or_else(form)?;
        names.resize(names.len().max(id + 1), None);
        if names[id].replace(name).is_some() {
            return Err(NamesError::Twice(id));
        }
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with(close) => {}
            None => return Err(form()),
        }
    }
    if !rest[1..].trim().is_empty() {
        return Err(form());
    }
    // Classes that were taken out of a dataset leave a gap in its numbers.
    let named = |(id, name): (usize, Option<String>)| name.unwrap_or_else(|| format!("class {id}"));
    Ok(names.into_iter().enumerate().map(named).collect())
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut name = String::new();
    let mut characters = text[1..].chars();
    loop {
        match characters.next()? {
            c if c == quote => return Some((shown(&name), characters.as_str())),
            '\\' => name.push(escaped(&mut characters)?),
            c => name.push(c),
        }
    }
}

fn hex(text: &mut Chars<'_>, digits: usize) -> Option<u32> {
    let (number, rest) = text.as_str().split_at_checked(digits)?;
    *text = rest.chars();
    u32::from_str_radix(number, 16).ok()
}

/// The character that an escape of Python's or JSON's stands for; what follows the backslash is taken.
fn escaped(text: &mut Chars<'_>) -> Option<char> {
    let code = match text.next()? {
        'x' => hex(text, 2)?,
        'U' => hex(text, 8)?,
        'u' => match hex(text, 4)? {
            // JSON writes what lies above U+FFFF as two.
            high @ 0xD800..0xDC00 => {
                *text = text.as_str().strip_prefix("\\u")?.chars();
                let low = hex(text, 4)?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                0x10000 + ((high - 0xD800) << 10) + low
            }
            code => code,
        },
        'n' => return Some('\n'),
        't' => return Some('\t'),
        'r' => return Some('\r'),
        other => return Some(other),
    };
    char::from_u32(code)
}

/// A name as it is drawn and matched: no-break and other spaces as a space, none at its ends, and nothing invisible.
fn shown(name: &str) -> String {
    let invisible = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    let spaced = |c: char| if c.is_whitespace() && !c.is_control() { ' ' } else { c };
    let name: String = name.chars().filter(|c| !invisible(*c)).map(spaced).collect();
    name.trim_matches(' ').to_owned()
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
    fn escapes_gaps_and_spaces() {
        let names = |text| parse(text).map(|names| names.join("|")).map_err(|e| e.to_string());
        for (text, expected) in [
            (r#"{"0": "\u884c\u4eba", "1": "\ud83d\ude97"}"#, "行人|🚗"),
            (r"{0: 'traffic\xa0light', 1: 'café \u200b', 2: '\U0001F697'}", "traffic light|café|🚗"),
            (r"{0: 'traffic light', 1: '\'s \\'}", r"traffic light|'s \"),
            ("{0: 'a', 2: 'c'}", "a|class 1|c"),
            ("{2: 'c', 0: 'a'}", "a|class 1|c"),
        ] {
            assert_eq!(names(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [r"{0: '\u88'}", r"{0: '\ud83d'}", r"{0: '\ud83d\u0041'}", r"{0: '\xgg'}"] {
            assert!(names(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_shown_or_counted_is_said() {
        let many = format!("[{}]", "'a',".repeat(MAX_CLASSES + 1));
        let long = format!("['{}']", "a".repeat(MAX_LENGTH + 1));
        for (text, said) in [
            ("{0: 'a', 0: 'b'}", "class 0 is named twice"),
            ("{0: 'a', 1000000000: 'b'}", "number 1000000000"),
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
            let expected: Vec<String> = names.iter().map(|name| shown(name)).collect();
            prop_assert_eq!(parse(&format!("{{{}}}", dict.join(", "))), Ok(expected.clone()));
            prop_assert_eq!(parse(&serde_json::to_string(&names).expect("JSON")), Ok(expected));
        }
    }
}
