//! One rule a layout: whether what is seen fits it, with how many classes, and why.

use super::signature::{Rows, Signature, Table};
use crate::model::facts::Element;
use crate::model::layout::{Layout, Role};

/// How a model fits a layout.
#[derive(Debug)]
pub(super) struct Fit {
    pub layout: Layout,
    /// Classes, where the shapes tell.
    pub classes: Option<usize>,
    /// Frames a run, where the outputs have no batch dimension.
    pub one_frame: bool,
    /// In a sentence's second half: what spoke for it.
    pub why: String,
    /// What else the model gives, and is not used.
    pub ignored: Option<&'static str>,
}

impl Fit {
    fn new(layout: Layout, classes: Option<usize>, why: impl Into<String>) -> Self {
        Self { layout, classes, one_frame: false, why: why.into(), ignored: None }
    }
}

/// A layout with the shape it has, for messages.
pub(super) struct Rule {
    pub layout: Layout,
    pub shape: &'static str,
    pub fit: fn(&Signature<'_>) -> Option<Fit>,
}

/// Every layout. Where two fit, nothing is guessed: a card has to say.
pub(super) const RULES: [Rule; 14] = [
    Rule { layout: Layout::Yolov5, shape: "[B,N,5+C]", fit: yolov5 },
    Rule { layout: Layout::Yolov6, shape: "[B,N,5+C], N the grid cells of strides 8, 16, 32 (and 64)", fit: yolov6 },
    Rule { layout: Layout::Yolov8, shape: "[B,4+C,N] or [B,N,4+C]", fit: yolov8 },
    Rule { layout: Layout::Yolov8Obb, shape: "[B,4+C+1,N]", fit: yolov8_obb },
    Rule { layout: Layout::Yolox, shape: "[B,N,5+C], N the grid cells of strides 8, 16, 32", fit: yolox },
    Rule { layout: Layout::End2end, shape: "[B,K,6]", fit: end2end },
    Rule { layout: Layout::End2endObb, shape: "[B,K,7]", fit: end2end_obb },
    Rule { layout: Layout::Nanodet, shape: "3 outputs [B,N,C] and 3 [B,N,4R]", fit: nanodet },
    Rule { layout: Layout::NanodetPlus, shape: "[B,N,C+4R], N the grid cells of strides 8 to 64", fit: nanodet_plus },
    Rule { layout: Layout::Picodet, shape: "4 outputs [B,N,C] and 4 [B,N,4R]", fit: picodet },
    Rule {
        layout: Layout::Fastestdet,
        shape: "[B,N,5+C] or [B,5+C,H/16,W/16], N the grid cells of stride 16",
        fit: fastestdet,
    },
    Rule { layout: Layout::Detr, shape: "labels [B,K], boxes [B,K,4], scores [B,K]; or [B,K,4+C]", fit: detr },
    Rule {
        layout: Layout::Ssd,
        shape: "boxes [B,K,4], classes [B,K], scores [B,K], their number [B], all floats",
        fit: ssd,
    },
    Rule {
        layout: Layout::EfficientNms,
        shape: "number [B,1], boxes [B,K,4], scores [B,K], classes [B,K], integers",
        fit: efficient_nms,
    },
];

/// Channels beside boxes and classes, and what they are.
fn extra(seen: &Signature<'_>) -> (usize, Option<&'static str>) {
    let keypoints = || {
        let shape = seen.says("kpt_shape")?.trim_matches(['[', ']', '(', ')', ' ']);
        let numbers: Option<Vec<usize>> = shape.split(',').map(|n| n.trim().parse().ok()).collect();
        numbers?.into_iter().try_fold(1usize, usize::checked_mul)
    };
    match seen.says("task") {
        Some("pose") => (keypoints().unwrap_or(51), Some("keypoints")),
        Some("obb") => (1, Some("the boxes' angles (the upright boxes around them are used)")),
        _ => match seen.prototypes() {
            Some(masks) => (masks, Some("masks")),
            None => (0, None),
        },
    }
}

/// `fixed` columns beyond `less` as a number of classes, if there are any and they fit the names.
fn classes(seen: &Signature<'_>, columns: Option<usize>, less: usize) -> Option<usize> {
    columns?.checked_sub(less).filter(|found| *found > 0 && seen.names.is_none_or(|named| named == *found))
}

fn grid_words(strides: &[u32]) -> String {
    let words: Vec<String> = strides.iter().map(u32::to_string).collect();
    format!("strides {}", words.join(", "))
}

fn yolov5(seen: &Signature<'_>) -> Option<Fit> {
    let Table { rows, columns } = seen.table()?;
    let (more, ignored) = extra(seen);
    let found = classes(seen, columns.fixed(), 5 + more)?;
    let why = match seen.rows(rows) {
        Rows::Anchors(strides) => {
            format!("rows are three anchors a cell of {}, of 5 + {found} columns", grid_words(strides))
        }
        // Its exporter writes names and stride; YOLOX's writes nothing.
        Rows::Open | Rows::Many if seen.names.is_some() && seen.ultralytics() && seen.says("task") != Some("obb") => {
            format!("metadata names {found} classes, and the output has 5 + {found} columns")
        }
        _ if seen.told => format!("5 + {found} columns"),
        _ => return None,
    };
    Some(Fit { ignored, ..Fit::new(Layout::Yolov5, Some(found), why) })
}

fn yolov8(seen: &Signature<'_>) -> Option<Fit> {
    if seen.says("task") == Some("obb") && !seen.told {
        return None;
    }
    yolov8_like(seen, Layout::Yolov8, extra(seen))
}

fn yolov8_obb(seen: &Signature<'_>) -> Option<Fit> {
    if seen.says("task") != Some("obb") && !seen.told {
        return None;
    }
    yolov8_like(seen, Layout::Yolov8Obb, (1, Some("the boxes' angles (the upright boxes around them are used)")))
}

fn yolov8_like(seen: &Signature<'_>, layout: Layout, (more, ignored): (usize, Option<&'static str>)) -> Option<Fit> {
    if seen.says_chosen() == Some(true) && !seen.told {
        return None;
    }
    let Table { rows, columns } = seen.table()?;
    let fit = |found: usize, why: String| Some(Fit { ignored, ..Fit::new(layout, Some(found), why) });
    let extra = if more > 0 { format!(" + {more}") } else { String::new() };
    let named = seen.names.is_some();
    // Anchors in the last dimension, which is how they are exported.
    let anchors = seen.rows(columns);
    if let Some(found) = classes(seen, rows.fixed(), 4 + more) {
        let ratio = columns.fixed().zip(rows.fixed()).is_some_and(|(c, r)| c > 8 * r);
        if named || seen.told && columns.fixed() > rows.fixed() {
            return fit(found, format!("{found} classes are named, and the output has 4 + {found}{extra} channels"));
        }
        if ratio || matches!(anchors, Rows::Open | Rows::Cells(_)) {
            return fit(found, format!("4 + {found}{extra} channels by {}", anchor_words(anchors)));
        }
    }
    if let Some(named) = seen.names
        && rows.fixed().is_none()
        && columns.fixed().is_none_or(|c| c > 8 * (4 + named + more))
        && (seen.ultralytics() || seen.told)
    {
        return fit(
            named,
            format!("metadata as Ultralytics writes it, with {named} classes; the output leaves its channels open"),
        );
    }
    let anchors = seen.rows(rows);
    let found = classes(seen, columns.fixed(), 4 + more)?;
    match anchors {
        // Queries: their boxes are the DETR family's.
        Rows::Boxes if !seen.told => None,
        Rows::Anchors(_) if !named => None,
        _ if named => fit(found, format!("{found} classes are named, and the output has 4 + {found}{extra} columns")),
        Rows::Cells(_) | Rows::Open if seen.ultralytics() => fit(
            found,
            format!("metadata as Ultralytics writes it, and {} by 4 + {found}{extra} columns", anchor_words(anchors)),
        ),
        _ if seen.told => fit(found, format!("4 + {found}{extra} columns")),
        _ => None,
    }
}

fn anchor_words(rows: Rows) -> String {
    match rows {
        Rows::Cells(strides) => format!("the grid cells of {}", grid_words(strides)),
        Rows::Open => "a number of anchors left open".into(),
        _ => "many more anchors".into(),
    }
}

/// Rows as YOLOX has them; its exporter calls the output `output`, that of `YOLOv6` `outputs`. Under another name both fit.
fn yolov6(seen: &Signature<'_>) -> Option<Fit> {
    let Table { rows, columns } = seen.table()?;
    let found = classes(seen, columns.fixed(), 5)?;
    let named = seen.table_is("outputs");
    let why = match seen.rows(rows) {
        Rows::Cells(strides @ ([8, 16, 32] | [8, 16, 32, 64])) if named && !seen.ultralytics() => {
            format!("rows are the grid cells of {}, of 5 + {found} columns, called `outputs`", grid_words(strides))
        }
        Rows::Cells([8, 16, 32]) if !seen.ultralytics() && !seen.table_is("output") => {
            format!("rows are the grid cells of strides 8, 16, 32, of 5 + {found} columns")
        }
        _ if seen.told => format!("5 + {found} columns"),
        _ => return None,
    };
    Some(Fit::new(Layout::Yolov6, Some(found), why))
}

fn yolox(seen: &Signature<'_>) -> Option<Fit> {
    let Table { rows, columns } = seen.table()?;
    let found = classes(seen, columns.fixed(), 5)?;
    match seen.rows(rows) {
        // Ultralytics' transposed exports have the same rows, and say who wrote them.
        Rows::Cells([8, 16, 32]) if seen.told || !seen.ultralytics() && !seen.table_is("outputs") => {
            let why = format!("rows are the grid cells of strides 8, 16, 32, of 5 + {found} columns, and no metadata");
            Some(Fit::new(Layout::Yolox, Some(found), why))
        }
        _ if seen.told => Some(Fit::new(Layout::Yolox, Some(found), format!("5 + {found} columns"))),
        _ => None,
    }
}

fn end2end(seen: &Signature<'_>) -> Option<Fit> {
    if seen.says("task") == Some("obb") && !seen.told {
        return None;
    }
    let (more, ignored) = extra(seen);
    chosen(seen, Layout::End2end, 6 + more, ignored)
}

fn end2end_obb(seen: &Signature<'_>) -> Option<Fit> {
    if seen.says("task") != Some("obb") && !seen.told {
        return None;
    }
    chosen(seen, Layout::End2endObb, 7, Some("the boxes' angles (the upright boxes around them are used)"))
}

/// Rows of box, score, class and whatever follows, chosen inside the model.
fn chosen(seen: &Signature<'_>, layout: Layout, width: usize, ignored: Option<&'static str>) -> Option<Fit> {
    let Table { rows, columns } = seen.table()?;
    let open = seen.told || seen.says_chosen() == Some(true);
    if columns.fixed().map_or(!open, |c| c != width) {
        return None;
    }
    let usual = matches!(rows.fixed(), Some(100 | 300));
    let why = match (seen.says_chosen(), seen.rows(rows)) {
        (Some(true), _) => format!("metadata says that boxes come out chosen, and the output has {width} columns"),
        _ if seen.told => format!("{width} columns"),
        (None, Rows::Boxes) => format!("few rows, the cells of no grid, of {width} columns: box, score, class"),
        (None, _) if usual => format!("as many rows as boxes are often left, of {width} columns: box, score, class"),
        _ => return None,
    };
    Some(Fit { ignored, ..Fit::new(layout, None, why) })
}

fn nanodet(seen: &Signature<'_>) -> Option<Fit> {
    levels(seen, Layout::Nanodet, &[8, 16, 32])
}

fn picodet(seen: &Signature<'_>) -> Option<Fit> {
    levels(seen, Layout::Picodet, &[8, 16, 32, 64])
}

/// Class scores and distributions for each stride, in two halves of the outputs.
fn levels(seen: &Signature<'_>, layout: Layout, strides: &[u32]) -> Option<Fit> {
    let count = strides.len();
    if seen.outputs.len() != 2 * count || seen.outputs.iter().any(|o| o.dims.len() != 3) {
        return None;
    }
    let width = |at: usize| seen.outputs[at].dims[2].fixed();
    let (scores, distances) = (width(0)?, width(count)?);
    let all =
        |from: usize, width: usize| (from..from + count).all(|at| seen.outputs[at].dims[2].fixed() == Some(width));
    let cells = strides.iter().enumerate().all(|(level, stride)| {
        let rows = [level, level + count].map(|at| seen.outputs[at].dims[1].fixed());
        let expected = seen.grid(*stride);
        rows.iter().all(|n| n.is_none() || expected.is_none() || *n == expected)
    });
    let found = classes(seen, Some(scores), 0)?;
    let fits = all(0, scores) && all(count, distances) && distances >= 8 && distances.is_multiple_of(4) && cells;
    let why = format!(
        "{count} outputs of {found} class scores and {count} of {distances} = 4 × {} distances, for {}",
        distances / 4,
        grid_words(strides)
    );
    fits.then(|| Fit::new(layout, Some(found), why))
}

fn nanodet_plus(seen: &Signature<'_>) -> Option<Fit> {
    /// Four distances of 8 steps each: how all published ones are trained.
    const DISTANCES: usize = 32;
    let Table { rows, columns } = seen.table()?;
    let columns = columns.fixed()?;
    let found = match seen.names {
        Some(names) => names,
        None => columns.checked_sub(DISTANCES)?,
    };
    let distances = columns.checked_sub(found).filter(|d| *d >= 8 && d.is_multiple_of(4) && found > 0)?;
    match seen.rows(rows) {
        Rows::Cells([8, 16, 32, 64]) if seen.told || !seen.ultralytics() => {}
        _ if seen.told => {}
        _ => return None,
    }
    let why = format!(
        "rows are the grid cells of strides 8, 16, 32, 64, of {found} class scores and {distances} = 4 × {} distances",
        distances / 4
    );
    Some(Fit::new(Layout::NanodetPlus, Some(found), why))
}

fn fastestdet(seen: &Signature<'_>) -> Option<Fit> {
    if let [output] = seen.outputs
        && let [_, channels, height, width] = output.dims.as_slice()
    {
        let found = classes(seen, channels.fixed(), 5)?;
        let size = seen.size?;
        let grid = [(height, size.height), (width, size.width)]
            .iter()
            .all(|(cells, pixels)| cells.fixed() == Some(pixels.div_ceil(16) as usize));
        let why = format!("5 + {found} channels over one grid of stride 16");
        return (grid || seen.told).then(|| Fit::new(Layout::Fastestdet, Some(found), why));
    }
    let Table { rows, columns } = seen.table()?;
    let found = classes(seen, columns.fixed(), 5)?;
    let grid = rows.fixed().is_some() && rows.fixed() == seen.grid(16);
    let why = format!("rows are the grid cells of stride 16, of 5 + {found} columns");
    (grid && !seen.ultralytics() || seen.told).then(|| Fit::new(Layout::Fastestdet, Some(found), why))
}

fn detr(seen: &Signature<'_>) -> Option<Fit> {
    let roles = [Role::Boxes, Role::Scores, Role::Classes].map(|role| seen.role(role));
    if let [Some(boxes), Some(_), Some(_)] = roles {
        if seen.role(Role::Count).is_some() || !(seen.target_sizes || seen.told) {
            return None;
        }
        let one_frame = boxes.dims.len() == 2;
        let why = "an input for the frames' sizes, and outputs named as labels, boxes and scores";
        return Some(Fit { one_frame, ..Fit::new(Layout::Detr, None, why) });
    }
    let Table { rows, columns } = seen.table()?;
    let found = classes(seen, columns.fixed(), 4)?;
    let queries = seen.names.is_some() && seen.rows(rows) == Rows::Boxes && seen.says_chosen() != Some(true);
    let why = format!("few rows, the cells of no grid, of 4 + {found} columns");
    (queries || seen.told).then(|| Fit::new(Layout::Detr, Some(found), why))
}

fn ssd(seen: &Signature<'_>) -> Option<Fit> {
    let classes = seen.role(Role::Classes)?;
    let counted = seen.role(Role::Count).is_some() || seen.told;
    let fits = counted && seen.role(Role::Boxes).is_some() && seen.role(Role::Scores).is_some();
    let float = matches!(classes.element, Element::F32 | Element::F16);
    let why = "outputs named as boxes, classes, scores and their number, classes as floats";
    (fits && (float || seen.told)).then(|| Fit::new(Layout::Ssd, None, why))
}

fn efficient_nms(seen: &Signature<'_>) -> Option<Fit> {
    let classes = seen.role(Role::Classes)?;
    let counted = seen.role(Role::Count).is_some();
    let fits = counted && seen.role(Role::Boxes).is_some() && seen.role(Role::Scores).is_some();
    let integer = matches!(classes.element, Element::I32 | Element::I64);
    let why = "outputs named as number, boxes, scores and classes, classes as integers";
    (fits && (integer || seen.told)).then(|| Fit::new(Layout::EfficientNms, None, why))
}
