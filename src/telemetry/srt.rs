//! `SubRip`: numbered texts with their times.

/// One text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cue<'a> {
    /// Its number line.
    pub index: u64,
    /// From when to when it is shown; `None` in files that have dates alone.
    pub span_ms: Option<(u64, u64)>,
    /// Its lines.
    pub text: &'a str,
}

/// The cues of a file. A number that no time or date follows begins none.
pub fn cues(file: &str) -> impl Iterator<Item = Cue<'_>> {
    let mut rest = file.trim_start_matches('\u{FEFF}');
    std::iter::from_fn(move || {
        loop {
            let (line, after) = split_line(rest)?;
            rest = after;
            let Ok(index) = line.trim().parse() else { continue };
            let Some((times, text)) = split_line(rest) else { continue };
            let span_ms = span(times);
            // Without times, the date is the first line of the text.
            let text = match span_ms {
                Some(_) => text,
                None if is_date(times) => rest,
                None => continue,
            };
            let length = length_of_lines(text);
            rest = &text[length..];
            return Some(Cue { index, span_ms, text: text[..length].trim() });
        }
    })
}

/// The first line, without its end, and what follows; `None` at the end.
fn split_line(text: &str) -> Option<(&str, &str)> {
    (!text.is_empty()).then(|| text.split_once('\n').unwrap_or((text, "")))
}

/// How many bytes there are before the first empty line.
fn length_of_lines(text: &str) -> usize {
    text.split_inclusive('\n').take_while(|line| !line.trim().is_empty()).map(str::len).sum()
}

/// `00:00:01,000 --> 00:00:02,000`.
fn span(line: &str) -> Option<(u64, u64)> {
    let (from, to) = line.split_once("-->")?;
    Some((time(from)?, time(to.trim().split(' ').next()?)?))
}

fn time(text: &str) -> Option<u64> {
    let (clock, ms) = text.trim().split_once([',', '.'])?;
    let mut parts = clock.split(':').map(str::parse::<u64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let ms: u64 = ms.parse().ok().filter(|ms| *ms < 1000)?;
    let whole = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(seconds)?;
    whole.checked_mul(1000)?.checked_add(ms).filter(|_| parts.next().is_none())
}

/// Whether a line begins with a year and a month.
fn is_date(line: &str) -> bool {
    let mut parts = line.trim().split(['.', '-']);
    parts.next().is_some_and(|year| year.len() == 4 && year.parse::<u16>().is_ok())
        && parts.next().is_some_and(|month| month.parse().is_ok_and(|month: u8| (1..=12).contains(&month)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cues_are_told_apart() {
        let file = "\u{FEFF}1\r\n00:00:01,000 --> 00:01:02,500\r\nA\r\nB\r\n\r\n2\r\nnonsense\r\nC\r\n\r\n\r\n3\n2017.08.05 14:11\nD\n\n4";
        let found: Vec<_> = cues(file).map(|cue| (cue.index, cue.span_ms, cue.text)).collect();
        assert_eq!(found, [(1, Some((1000, 62_500)), "A\r\nB"), (3, None, "2017.08.05 14:11\nD")]);
        assert_eq!(
            (cues("").count(), cues("1\n").count(), time("1:2:3,1000"), time("99999999999999999999:0:0,0")),
            (0, 0, None, None)
        );
    }

    proptest! {
        #[test]
        fn fuzz_any_text_is_read_to_its_end(text in "[0-9:,. \n\r>A-]{0,300}") {
            prop_assert!(cues(&text).map(|cue| cue.text.len()).sum::<usize>() <= text.len());
        }
    }
}
