//! What is seen of a model, in the words that the rules are written in.

use std::collections::BTreeMap;

use crate::geometry::Size;
use crate::model::facts::{Dim, Element, TensorFacts};
use crate::model::layout::Role;
use crate::text::printable;

/// Strides of the grids that detectors put out together.
const PYRAMIDS: [&[u32]; 5] = [&[8, 16, 32], &[8, 16, 32, 64], &[4, 8, 16, 32], &[16, 32], &[16]];

/// Rows that a set of queries or the boxes after an NMS have at most; grids and anchors have more, or a number of their own.
const MOST_BOXES: usize = 1000;

/// What a rule looks at.
pub(super) struct Signature<'a> {
    /// Graph outputs.
    pub outputs: &'a [TensorFacts],
    /// Custom metadata.
    pub metadata: &'a BTreeMap<String, String>,
    /// Input size, if it is fixed.
    pub size: Option<Size>,
    /// Classes that card or metadata name.
    pub names: Option<usize>,
    /// Whether there is an input for the sizes that boxes are scaled to.
    pub target_sizes: bool,
    /// Whether a card names the layout, so that its shape is all that is asked for.
    pub told: bool,
}

/// What a number of rows can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// The cells of grids with these strides.
    Cells(&'static [u32]),
    /// Three anchors for each of them.
    Anchors(&'static [u32]),
    /// So few, and no grid's number, that they are boxes already chosen.
    Boxes,
    /// A number that says nothing.
    Many,
    /// Chosen at run time.
    Open,
}

/// `[B,rows,columns]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    pub rows: &'a Dim,
    pub columns: &'a Dim,
}

impl<'a> Signature<'a> {
    /// The output that holds the boxes when there is one such: the only one of three dimensions, the others having more
    /// (mask prototypes, raw heads).
    pub fn table(&self) -> Option<Table<'a>> {
        let mut tables = self.outputs.iter().filter(|o| o.dims.len() == 3);
        let [_, rows, columns] = tables.next()?.dims.as_slice() else { return None };
        let alone = tables.next().is_none() && self.outputs.iter().all(|o| o.dims.len() >= 3);
        alone.then_some(Table { rows, columns })
    }

    /// Whether the table's output has this name.
    pub fn table_is(&self, name: &str) -> bool {
        self.outputs.iter().find(|o| o.dims.len() == 3).is_some_and(|output| output.name == name)
    }

    /// Channels of mask prototypes `[B,M,h,w]` beside the table.
    pub fn prototypes(&self) -> Option<usize> {
        let others: Vec<_> = self.outputs.iter().filter(|o| o.dims.len() != 3).collect();
        match others.as_slice() {
            [one] if one.dims.len() == 4 && self.outputs.len() == 2 => Some(one.dims[1].fixed().unwrap_or(32)),
            _ => None,
        }
    }

    /// The output of a role, told by its name.
    pub fn role(&self, role: Role) -> Option<&'a TensorFacts> {
        self.outputs.iter().find(|o| Role::of(&o.name) == Some(role))
    }

    /// A metadata value.
    pub fn says(&self, key: &str) -> Option<&'a str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Whether Ultralytics' exporter wrote the metadata.
    pub fn ultralytics(&self) -> bool {
        self.says("stride").is_some() || self.says("task").is_some()
    }

    /// Whether the metadata says that boxes come out chosen: `None` when it does not say.
    pub fn says_chosen(&self) -> Option<bool> {
        let nms = self.says("args").is_some_and(|args| args.contains("'nms': True"));
        let end2end = self.says("end2end").map(|text| text.eq_ignore_ascii_case("true"));
        if nms { Some(true) } else { end2end }
    }

    /// What that many rows can be, given the input's size.
    pub fn rows(&self, dim: &Dim) -> Rows {
        let Some(n) = dim.fixed() else { return Rows::Open };
        if let Some(size) = self.size {
            for strides in PYRAMIDS {
                let cells = cells(size, strides);
                if n == cells {
                    return Rows::Cells(strides);
                }
                if n == 3 * cells {
                    return Rows::Anchors(strides);
                }
            }
        }
        if n <= MOST_BOXES { Rows::Boxes } else { Rows::Many }
    }

    /// Cells of one grid, if the input's size is known.
    pub fn grid(&self, stride: u32) -> Option<usize> {
        self.size.map(|size| cells(size, &[stride]))
    }
}

/// Cells of the grids of these strides over a frame of that size.
fn cells(size: Size, strides: &[u32]) -> usize {
    let side = |pixels: u32, stride: u32| pixels.div_ceil(stride) as usize;
    strides.iter().map(|s| side(size.width, *s).saturating_mul(side(size.height, *s))).fold(0, usize::saturating_add)
}

/// For messages: name, element type, dimensions.
pub(super) fn describe(tensor: &TensorFacts) -> String {
    let dims: Vec<String> = tensor.dims.iter().map(|dim| short(&dim.label())).collect();
    let element = match &tensor.element {
        Element::Other(name) => short(name),
        known => format!("{known:?}"),
    };
    format!("{} {element} [{}]", short(&tensor.name), dims.join(","))
}

/// The same of several, as many as a person reads.
pub(super) fn describe_all(tensors: &[TensorFacts]) -> String {
    const SHOWN: usize = 12;
    let mut parts: Vec<String> = tensors.iter().take(SHOWN).map(describe).collect();
    match tensors.len() {
        0 => parts.push("none".into()),
        n if n > SHOWN => parts.push(format!("and {} more", n - SHOWN)),
        _ => {}
    }
    parts.join(", ")
}

/// A name from outside, safe to print and not too long.
fn short(name: &str) -> String {
    printable(name).chars().take(60).collect()
}
