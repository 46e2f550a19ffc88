//! Lines and zones as options have them: `NAME=x,y,x,y,…`.

use super::shape::{Line, ShapeError, Zone};

/// `NAME=x1,y1,x2,y2`.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn line(text: &str) -> Result<Line, String> {
    let form = "NAME=x1,y1,x2,y2, as gate=0.5,0.2,0.5,1";
    let (name, points) = split(text, form)?;
    let [a, b] = points[..] else {
        let found = points.len() * 2;
        return Err(ShapeError::Coordinates { found, expected: form }.to_string());
    };
    Line::new(name, a, b).map_err(|refused| refused.to_string())
}

/// `NAME=x,y,x,y,x,y,…`.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn zone(text: &str) -> Result<Zone, String> {
    let (name, points) = split(text, "NAME=x,y,x,y,x,y, as yard=0.1,0.5,0.9,0.5,0.9,1,0.1,1")?;
    Zone::new(name, &points).map_err(|refused| refused.to_string())
}

fn split<'a>(text: &'a str, form: &'static str) -> Result<(&'a str, Vec<[f64; 2]>), String> {
    let Some((name, numbers)) = text.split_once('=') else { return Err(format!("give {form}")) };
    let values: Result<Vec<f64>, _> = numbers.split(',').map(|number| number.trim().parse::<f64>()).collect();
    let values = values.map_err(|_| format!("{}: give {form}", ShapeError::Number))?;
    let (pairs, rest) = values.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ShapeError::Coordinates { found: values.len(), expected: form }.to_string());
    }
    Ok((name.trim(), pairs.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_and_zones_are_written_in_one_option_each() {
        assert_eq!(line("gate=0.5, 0.2,0.5,1"), Ok(Line::new("gate", [0.5, 0.2], [0.5, 1.0]).expect("a line")));
        assert_eq!(line("no 1=640,0,640,720").expect("a line").name().as_ref(), "no 1");
        let corners = [[0.1, 0.5], [0.9, 0.5], [0.9, 1.0]];
        assert_eq!(zone("yard=0.1,0.5,0.9,0.5,0.9,1"), Ok(Zone::new("yard", &corners).expect("a zone")));
    }

    #[test]
    fn what_is_no_line_is_refused_with_the_form_it_has() {
        for (text, said) in [
            ("gate", "give NAME=x1,y1,x2,y2"),
            ("gate=0.5,0.2,0.5", "3 coordinates: give NAME=x1,y1,x2,y2"),
            ("gate=0.5,0.2,0.5,1,0.7,0.7", "6 coordinates: give"),
            ("gate=0.5,0.2,0.5,x", "coordinates are numbers"),
            ("gate=0.5,0.2,0.5,NaN", "coordinates are numbers"),
            ("gate=0.5,0.2,0.5,0.2", "its ends are one point"),
            ("=0.5,0.2,0.5,1", "a name has"),
        ] {
            let refused = line(text).expect_err(text);
            assert!(refused.contains(said), "{text}: {refused}");
        }
        assert!(zone("yard=0,0,1,1").expect_err("two corners").contains("3 to 256 corners that differ, not 2"));
        assert!(zone("yard=0,0,1,1,1,0,0,1").expect_err("a bow tie").contains("its border meets itself"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = (line(&text), zone(&text), line(&format!("a={text}")), zone(&format!("a={text}")));
        }
    }
}
