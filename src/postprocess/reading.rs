//! What every layout's decoder works with: one frame's share of a run's outputs, and the boxes found so far.

use super::PostprocessError;
use crate::geometry::{ModelBox, Size};
use crate::model::layout::Role;
use crate::tensor::OutputView;

/// A box before NMS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub class_id: u16,
    pub confidence: f32,
    pub bbox: ModelBox,
}

/// What a decoder finds; reused from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub candidates: Vec<Candidate>,
    /// Boxes of classes that the model is not known to have.
    pub unknown: u64,
}

impl Found {
    pub fn push(&mut self, class_id: u16, confidence: f32, bbox: ModelBox) {
        self.candidates.push(Candidate { class_id, confidence, bbox });
    }
}

/// One frame's share of a run's outputs, and what counts as found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub outputs: &'a [OutputView<'a>],
    /// Frame of the batch.
    pub item: usize,
    /// Number of classes.
    pub classes: usize,
    /// Size of the input.
    pub tensor: Size,
    /// Confidence above which a box counts.
    pub conf: f32,
}

/// A frame's share of an output `[B,rows,columns]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    pub rows: usize,
    pub columns: usize,
    pub data: &'a [f32],
}

impl<'a> Reading<'a> {
    /// The error of outputs that are not the layout's.
    pub fn wrong(&self, expected: impl Into<String>) -> PostprocessError {
        PostprocessError {
            found: self.outputs.iter().map(|o| o.shape.to_vec()).collect(),
            expected: format!("{} with B > {}", expected.into(), self.item),
        }
    }

    /// This frame's values of `output`, whose dimensions after the batch are `rest`.
    fn share(&self, output: &OutputView<'a>, rest: &[usize]) -> Option<&'a [f32]> {
        let len = rest.iter().try_fold(1usize, |a, b| a.checked_mul(*b))?;
        let start = self.item.checked_mul(len)?;
        output.data.get(start..start.checked_add(len)?)
    }

    /// This frame's share of `output`, if it is `[B,rows,columns]`.
    pub fn table_of(&self, output: &OutputView<'a>) -> Option<Table<'a>> {
        let &[batch, rows, columns] = output.shape else { return None };
        let data = self.share(output, &[rows, columns]).filter(|_| self.item < batch)?;
        Some(Table { rows, columns, data })
    }

    /// This frame's share of the output that has three dimensions.
    pub fn table(&self) -> Option<Table<'a>> {
        self.table_of(self.outputs.iter().find(|o| o.shape.len() == 3)?)
    }

    /// This frame's share of the output of that role: `[B]` and `[B,1]` have one value a frame, `[B,K]` (or `[K]`, of one
    /// frame) K, `[B,K,4]` (or `[K,4]`) 4 K.
    pub fn role(&self, role: Role) -> Option<&'a [f32]> {
        let output = self.outputs.iter().find(|o| Role::of(o.name) == Some(role))?;
        let rank = match role {
            Role::Boxes => 3,
            Role::Scores | Role::Classes | Role::Count => 2,
        };
        match output.shape.len() {
            n if n == rank => self.share(output, &output.shape[1..]).filter(|_| self.item < output.shape[0]),
            1 if role == Role::Count => self.share(output, &[]).filter(|_| self.item < output.shape[0]),
            n if n + 1 == rank && self.item == 0 => Some(output.data),
            _ => None,
        }
    }

    /// The best of a row's class scores, each times `weight`, if it is above the threshold.
    ///
    /// What is not a number wins, and is dropped (and counted) later: a broken output shall not look like an empty frame.
    pub fn best(&self, scores: &[f32], weight: f32) -> Option<(u16, f32)> {
        let (mut best, mut winner) = (self.conf, None);
        for (class_id, score) in (0u16..).zip(scores) {
            let score = score * weight;
            if score > best || score.is_nan() {
                (best, winner) = (score, Some(class_id));
            }
        }
        winner.map(|class_id| (class_id, best))
    }

    /// Adds a box that the model has chosen: its score counts if it is above the threshold, its class if it is known.
    pub fn chosen(&self, class: f32, score: f32, bbox: ModelBox, found: &mut Found) {
        if score <= self.conf {
            return;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked against the classes first"
        )]
        let class_id = (class.round() >= 0.0 && class.round() < f32::from(u16::MAX)).then(|| class.round() as u16);
        match class_id.filter(|id| usize::from(*id) < self.classes) {
            Some(class_id) => found.push(class_id, score, bbox),
            // A number that is none is counted with the other such.
            None if class.is_nan() => found.push(0, f32::NAN, bbox),
            None => found.unknown += 1,
        }
    }
}

/// Cells across and down of a grid over the tensor.
pub(super) fn grid(tensor: Size, stride: u32) -> (u32, u32) {
    (tensor.width.div_ceil(stride), tensor.height.div_ceil(stride))
}

/// The cells of the grids of these strides, one after the other, in rows: stride, column, row.
pub(super) fn cells(tensor: Size, strides: &[u32]) -> impl Iterator<Item = (u32, u32, u32)> {
    strides.iter().flat_map(move |stride| {
        let (across, down) = grid(tensor, *stride);
        (0..down).flat_map(move |y| (0..across).map(move |x| (*stride, x, y)))
    })
}

/// How many those are.
pub(super) fn cell_count(tensor: Size, strides: &[u32]) -> usize {
    strides.iter().map(|stride| grid(tensor, *stride)).map(|(across, down)| across as usize * down as usize).sum()
}
