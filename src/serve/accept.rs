//! What a client would have, by its `Accept` header (RFC 9110, 12.5.1).

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};

use super::problem::Problem;

/// The number of the one of `offered` that is preferred, the first of those that are so alike.
pub(super) fn preferred(headers: &HeaderMap, offered: &[&str]) -> Result<usize, Problem> {
    let given: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<(String, f32)> = given.iter().flat_map(|value| value.split(',')).filter_map(range).collect();
    if ranges.is_empty() {
        return Ok(0);
    }
    let weight = |kind: &str| {
        let (main, _) = kind.split_once('/').unwrap_or((kind, ""));
        let of =
            |wanted: &str| ranges.iter().filter(|(range, _)| range == wanted).map(|(_, weight)| *weight).next_back();
        // The most precise one counts.
        of(kind).or_else(|| of(&format!("{main}/*"))).or_else(|| of("*/*")).unwrap_or(0.0)
    };
    let mut best = (0, 0.0);
    for (number, kind) in offered.iter().enumerate() {
        let weight = weight(kind);
        if weight > best.1 {
            best = (number, weight);
        }
    }
    if best.1 > 0.0 {
        return Ok(best.0);
    }
    let detail = format!("what is given here: {}", offered.join(", "));
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail))
}

/// A media range with its weight.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| range.contains('/'))?.to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((range, weight.and_then(|weight| weight.trim().parse().ok()).unwrap_or(1.0)))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_kind_that_weighs_most_is_given() {
        let offered = ["application/json", "image/jpeg", "image/png"];
        for (accept, expected) in [
            ("*/*", Some(0)),
            ("", Some(0)),
            ("image/*", Some(1)),
            ("image/png, image/*;q=0.8", Some(2)),
            ("image/png;q=0.5, image/jpeg;q=0.4, */*;q=0.1", Some(2)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(0)),
            ("IMAGE/PNG", Some(2)),
            ("*/*, application/json;q=0", Some(1)),
            ("text/html", None),
            ("image/png;q=0", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(preferred(&headers, &offered).ok(), expected, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &offered), Ok(0));
    }
}
