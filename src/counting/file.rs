//! Lines and zones in a file of their own: TOML, or `GeoJSON` as drawing programs and label tools write it.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::shape::{Line, MOST_SHAPES, ShapeError, Shapes, Zone};
use crate::text::nearest;

/// Longest file that is read: 64 zones of 256 corners take a tenth of it.
const MAX_BYTES: u64 = 4 << 20;
const FORM: &str = "write [[line]] or [[zone]] with `name = \"gate\"` and `points = [[0.5, 0.2], [0.5, 1.0]]`, or GeoJSON Features \
                    (LineString, Polygon) with a name among their properties";

/// Why a file gives no lines and zones.
#[derive(Debug, thiserror::Error)]
pub enum ShapesFileError {
    /// It cannot be read.
    #[error("--zones {}: {source}\n  give the path of a TOML or GeoJSON file", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not written as it should be.
    #[error("--zones {}{}: {problem}\n  {FORM}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Form {
        /// The file.
        file: PathBuf,
        /// From 1, where it is known.
        line: Option<usize>,
        /// What was found.
        problem: String,
    },
    /// A line or zone of it cannot be used.
    #[error("--zones {}: {kind} {number}, `{name}`: {source}", file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// `line` or `zone`.
        kind: &'static str,
        /// From 1, of its kind.
        number: usize,
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: ShapeError,
    },
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Toml {
    #[serde(default)]
    line: Vec<Entry>,
    #[serde(default)]
    zone: Vec<Entry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    points: Vec<Vec<f64>>,
}

/// `GeoJSON`, of which only what is needed is looked at: other members are allowed (RFC 7946, 6.1).
#[derive(serde::Deserialize)]
#[serde(tag = "type")]
enum GeoJson {
    FeatureCollection { features: Vec<Feature> },
    Feature(Feature),
}

#[derive(serde::Deserialize)]
struct Feature {
    properties: Option<Properties>,
    geometry: Option<Geometry>,
}

#[derive(serde::Deserialize)]
struct Properties {
    name: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(tag = "type", content = "coordinates")]
enum Geometry {
    LineString(Vec<Vec<f64>>),
    Polygon(Vec<Vec<Vec<f64>>>),
}

/// Reads the lines and zones of a file.
///
/// # Errors
/// When it cannot be read, has another form, or holds what cannot be counted at.
pub fn read_shapes(path: &Path) -> Result<Shapes, ShapesFileError> {
    let unreadable = |source| ShapesFileError::Unreadable { file: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(form(path, None, format!("it is larger than {MAX_BYTES} bytes")));
    }
    let text = text.trim_start_matches('\u{feff}');
    let (lines, zones) = if text.trim_start().starts_with('{') { geo_json(path, text)? } else { toml(path, text)? };
    let count = lines.len() + zones.len();
    if count == 0 {
        return Err(form(path, None, "it has no line and no zone".into()));
    }
    if count > MOST_SHAPES {
        return Err(form(path, None, ShapeError::TooMany(count).to_string()));
    }
    let wrong = |kind, number: usize, name: &str, source| ShapesFileError::Shape {
        file: path.to_owned(),
        kind,
        number: number + 1,
        name: crate::text::printable(name),
        source,
    };
    let pairs = |kind, number: usize, entry: &Entry| {
        let pair = |point: &Vec<f64>| <[f64; 2]>::try_from(point.as_slice()).ok();
        let pairs: Option<Vec<[f64; 2]>> = entry.points.iter().map(pair).collect();
        let expected = "two for each point, [x, y]";
        let found = entry.points.iter().map(Vec::len).sum();
        pairs.ok_or_else(|| wrong(kind, number, &entry.name, ShapeError::Coordinates { found, expected }))
    };
    let mut shapes = Shapes::default();
    for (number, entry) in lines.iter().enumerate() {
        let points = pairs("line", number, entry)?;
        let expected = "two points: a line of several segments is several lines";
        let made = match points[..] {
            [a, b] => Line::new(&entry.name, a, b),
            _ => Err(ShapeError::Coordinates { found: points.len() * 2, expected }),
        };
        shapes.lines.push(made.map_err(|source| wrong("line", number, &entry.name, source))?);
    }
    for (number, entry) in zones.iter().enumerate() {
        let corners = pairs("zone", number, entry)?;
        let made = Zone::new(&entry.name, &corners);
        shapes.zones.push(made.map_err(|source| wrong("zone", number, &entry.name, source))?);
    }
    Ok(shapes)
}

fn form(path: &Path, line: Option<usize>, problem: String) -> ShapesFileError {
    ShapesFileError::Form { file: path.to_owned(), line, problem }
}

fn toml(path: &Path, text: &str) -> Result<(Vec<Entry>, Vec<Entry>), ShapesFileError> {
    let Toml { line, zone } = toml::from_str(text).map_err(|e| {
        let number = text[..e.span().map_or(0, |span| span.start)].matches('\n').count() + 1;
        form(path, Some(number), without_serde(e.message()))
    })?;
    Ok((line, zone))
}

/// `unknown field`, as serde says it, with the key that was probably meant.
fn without_serde(message: &str) -> String {
    let mut named = message.split('`').skip(1).step_by(2);
    match named.next() {
        Some(key) if message.starts_with("unknown field") => {
            let nearest = nearest(key, named).unwrap_or_default();
            format!("unknown key `{key}`; the nearest is `{nearest}`")
        }
        _ => message.replace('\n', "; "),
    }
}

fn geo_json(path: &Path, text: &str) -> Result<(Vec<Entry>, Vec<Entry>), ShapesFileError> {
    let parsed: GeoJson =
        serde_json::from_str(text).map_err(|e| form(path, Some(e.line()), format!("no GeoJSON of that kind: {e}")))?;
    let features = match parsed {
        GeoJson::FeatureCollection { features } => features,
        GeoJson::Feature(feature) => vec![feature],
    };
    let (mut lines, mut zones) = (Vec::new(), Vec::new());
    for (number, feature) in (1..).zip(features) {
        let wrong = |problem: &str| form(path, None, format!("feature {number}: {problem}"));
        let name = feature.properties.and_then(|properties| properties.name).ok_or_else(|| wrong("it has no name"))?;
        // A position may have a height.
        let points = |mut positions: Vec<Vec<f64>>| {
            for at in &mut positions {
                at.truncate(2);
            }
            let are_pairs = positions.iter().all(|at| at.len() == 2);
            if are_pairs { Ok(positions) } else { Err(wrong("a position has two numbers")) }
        };
        match feature.geometry {
            Some(Geometry::LineString(positions)) => lines.push(Entry { name, points: points(positions)? }),
            Some(Geometry::Polygon(rings)) => {
                let [ring] = <[_; 1]>::try_from(rings).map_err(|_| wrong("a polygon has one ring, and no holes"))?;
                zones.push(Entry { name, points: points(ring)? });
            }
            None => return Err(wrong("it has no geometry")),
        }
    }
    Ok((lines, zones))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Shapes, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("zones.toml");
        std::fs::write(&path, text).expect("a file");
        read_shapes(&path).map_err(|e| e.to_string().replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn a_toml_file_and_a_geojson_file_say_the_same() {
        let toml = "[[line]]\nname = \"gate\"\npoints = [[0.5, 0], [0.5, 1]]\n\
                    [[zone]]\nname = \"yard\"\npoints = [[0, 0], [1, 0], [1, 1]]\n";
        let json = r#"{"type":"FeatureCollection","crs":{"any":1},"features":[
            {"type":"Feature","id":7,"properties":{"name":"yard","colour":"red"},
             "geometry":{"type":"Polygon","coordinates":[[[0,0],[1,0,9.5],[1,1],[0,0]]]}},
            {"type":"Feature","properties":{"name":"gate"},"geometry":{"type":"LineString","coordinates":[[0.5,0],[0.5,1]]}}]}"#;
        let shapes = read(toml).expect("two shapes");
        assert_eq!((shapes.lines.len(), shapes.zones.len()), (1, 1));
        assert_eq!(read(json), Ok(shapes));
        let alone = r#"{"type":"Feature","properties":{"name":"gate"},"geometry":{"type":"LineString","coordinates":[[9,0],[9,7]]}}"#;
        assert_eq!(read(alone).expect("a line").lines[0].name().as_ref(), "gate");
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_place_and_the_nearest_key() {
        for (text, said) in [
            ("[[line]]\nname = \"a\"\npionts = [[0, 0]]\n", "FILE:3: unknown key `pionts`; the nearest is `points`"),
            ("[[lines]]\nname = \"a\"\n", "FILE:1: unknown key `lines`; the nearest is `line`"),
            ("[[line]]\nname = \"a\"\npoints = [[0, 0, 0], [1, 1, 1]]\n", "6 coordinates: give two for each point"),
            ("[[line]]\npoints = [[0, 0], [1, 1]]\n", "missing field `name`"),
            ("[[line]]\nname = \"a\"\npoints = [[0, 0], [0, 0]]\n", "line 1, `a`: its ends are one point"),
            ("[[line]]\nname = \"a\"\npoints = [[0, 0], [1, 0], [1, 1]]\n", "6 coordinates: give two points"),
            ("[[zone]]\nname = \"b\"\npoints = [[0, 0], [1, 1]]\n", "zone 1, `b`: a zone has 3 to 256 corners"),
            ("[[zone]]\nname = \"b\"\npoints = [[0, 0], [nan, 1], [0, 1]]\n", "coordinates are numbers"),
            ("", "it has no line and no zone"),
            ("{", "no GeoJSON of that kind"),
            (r#"{"type":"Point","coordinates":[1,2]}"#, "no GeoJSON of that kind"),
            (r#"{"type":"Feature","properties":{},"geometry":null}"#, "feature 1: it has no name"),
            (r#"{"type":"Feature","properties":{"name":"a"},"geometry":null}"#, "feature 1: it has no geometry"),
            (
                r#"{"type":"Feature","properties":{"name":"a"},"geometry":{"type":"Polygon","coordinates":[[[0,0]],[[1,1]]]}}"#,
                "no holes",
            ),
            (
                r#"{"type":"Feature","properties":{"name":"a"},"geometry":{"type":"LineString","coordinates":[[1],[2]]}}"#,
                "a position has two numbers",
            ),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.contains(said) && refused.starts_with("--zones FILE"), "{text}: {refused}");
        }
        let missing = read_shapes(Path::new("/nowhere/zones.toml")).expect_err("no file").to_string();
        assert!(missing.starts_with("--zones /nowhere/zones.toml: ") && missing.contains("give the path"), "{missing}");
    }
}
