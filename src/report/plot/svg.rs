//! Scenes as SVG. Colours are variables of the style sheet, so that a page or the viewer chooses light or dark.

use crate::text::append;

use super::{ACCENT, Anchor, GRID, INK, MUTED, PAPER, SERIES, Scene, Shape};

/// `text` for XML and HTML, in content and in quoted attributes; control characters become spaces.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML knows no others, not even escaped.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// The variables' values, light, and dark where that is preferred.
#[must_use]
pub fn colours(selector: &str) -> String {
    let block = |which: usize| {
        let mut text = String::new();
        let named = [("paper", PAPER), ("ink", INK), ("muted", MUTED), ("grid", GRID), ("accent", ACCENT)];
        for (name, colours) in named {
            append(&mut text, format_args!("--{name}:#{:06x};", colours[which]));
        }
        for (n, colours) in SERIES.iter().enumerate() {
            append(&mut text, format_args!("--series{n}:#{:06x};", colours[which]));
        }
        text
    };
    format!("{selector}{{{}}}@media(prefers-color-scheme:dark){{{selector}{{{}}}}}", block(0), block(1))
}

/// A scene for a page that defines the colours.
#[must_use]
pub fn to_svg(scene: &Scene) -> String {
    element(scene, "")
}

/// A scene as a file of its own.
#[must_use]
pub fn standalone(scene: &Scene) -> String {
    let ground =
        format!("<style>{}</style><rect width=\"100%\" height=\"100%\" fill=\"var(--paper)\"/>", colours("svg"));
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", element(scene, &ground))
}

fn element(scene: &Scene, ground: &str) -> String {
    let (w, h, title) = (scene.width, scene.height, escaped(&scene.title));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" \
         aria-label=\"{title}\" font-family=\"system-ui,'DejaVu Sans',sans-serif\">{ground}"
    );
    for shape in &scene.shapes {
        draw(shape, &mut text);
    }
    text.push_str("</svg>");
    text
}

fn draw(shape: &Shape, out: &mut String) {
    let said =
        |title: &str| if title.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(title)) };
    let element = match shape {
        Shape::Line { points, width, paint, dashed, opacity, title } => {
            let points = points.iter().fold(String::new(), |mut text, [x, y]| {
                append(&mut text, format_args!("{x:.1},{y:.1} "));
                text
            });
            let dash = if *dashed { " stroke-dasharray=\"4 4\"" } else { "" };
            format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"var({})\" stroke-width=\"{width}\" \
                 stroke-opacity=\"{opacity:.2}\" stroke-linejoin=\"round\"{dash}>{}</polyline>",
                points.trim_end(),
                paint.variable(),
                said(title)
            )
        }
        Shape::Rect { at: [x, y, w, h], paint, opacity, title } => format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"var({})\" \
             fill-opacity=\"{opacity:.3}\">{}</rect>",
            paint.variable(),
            said(title)
        ),
        Shape::Text { at: [x, y], text, px, anchor, paint, turned } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let turn = if *turned { format!(" transform=\"rotate(-90 {x:.1} {y:.1})\"") } else { String::new() };
            format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{px}\" text-anchor=\"{anchor}\" fill=\"var({})\"{turn}>{}</text>",
                paint.variable(),
                escaped(text)
            )
        }
    };
    out.push_str(&element);
}
