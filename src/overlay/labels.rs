//! Where labels go, and what they say, so that they hide no object.
//!
//! A label covers no other label, and no other box. One box is exempt: that which holds the label's own (a table with cups, a
//! second box of the same object), of which it may take a tenth. So what is allowed does not depend on who is more certain, and
//! two objects whose confidences change places do not change labels.
//!
//! A label stays where it was while that is allowed. Then the others are placed, the most certain first. One that was moved or
//! shrunk changes for the better only after a while, and with room to spare.

use super::area::Area;
use super::candidates::{Choice, FORMS, Form, SLOTS, Subject};
use super::grid::Grid;
use super::memory::{Kept, Memory};

/// Boxes that take part in a frame, at most, the most certain ones; `--max-det` is 300.
const MOST: usize = 1024;
/// Comparisons of areas in a frame, at most: some 4 ms. 300 boxes in a crowd take 50 000. Labels that are left are left out.
const COMPARISONS: u32 = 250_000;
/// Of a box that holds a label's own, the label may take one part in so many.
const OF_HOLDER: i64 = 10;
/// Every so many frames without a change a label may change for the better: the eye follows what changes a few times a second.
const HOLD: u32 = 8;
/// Steps by which the size that befits a box has to differ for the text to change, so that a size between two does not flicker.
const CLEARLY: f32 = 0.8;

/// A label as it is to be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Label {
    pub form: Form,
    /// Size of its text.
    pub step: usize,
    pub area: Area,
}

/// Width and height of a subject's label in a form and a size of text.
pub(super) type Measure<'a> = &'a mut dyn FnMut(usize, Form, usize) -> [i32; 2];

/// Places the labels of one stream, frame by frame.
#[derive(Default)]
pub(super) struct Placer {
    /// Subjects that take part, the most certain first.
    order: Vec<usize>,
    memory: Memory,
    boxes: Grid,
    labels: Grid,
    /// By subject.
    choices: Vec<Option<Choice>>,
    placed: Vec<Option<Label>>,
    next: Vec<Kept>,
}

impl Placer {
    /// The labels of `subjects`, where they have one; none covers what is `taken`.
    pub fn place(
        &mut self,
        frame: [i32; 2],
        subjects: &[Subject],
        taken: &[Area],
        measure: Measure<'_>,
    ) -> &[Option<Label>] {
        let Self { order, memory, boxes, labels, choices, placed, next } = self;
        order.clear();
        order.extend(0..subjects.len());
        let certain = |a: &usize, b: &usize| subjects[*b].confidence.total_cmp(&subjects[*a].confidence);
        order.sort_unstable_by(|a, b| certain(a, b).then_with(|| a.cmp(b)));
        order.truncate(MOST);
        boxes.clear(frame);
        labels.clear(frame);
        for index in &*order {
            boxes.insert(subjects[*index].area, u32::try_from(*index).unwrap_or(u32::MAX));
        }
        memory.recall(subjects, boxes);
        choices.clear();
        choices.resize(subjects.len(), None);
        placed.clear();
        placed.resize(subjects.len(), None);
        let mut scene = Scene { frame, subjects, taken, measure, boxes, labels, placed, left: COMPARISONS };
        for index in order.iter().copied() {
            let before = memory.of(index);
            if let Some(choice) = before.and_then(|kept| kept.choice) {
                choices[index] = scene.again(index, choice, befitting(&subjects[index], before));
            }
        }
        next.clear();
        for index in order.iter().copied() {
            let (before, subject) = (memory.of(index), &subjects[index]);
            let step = befitting(subject, before);
            let choice = scene.better(index, choices[index], before, step).or(choices[index]);
            let held = before.filter(|kept| kept.choice == choice).map_or(0, |kept| kept.held.saturating_add(1));
            next.push(Kept { area: subject.area, class: subject.class, track: subject.track, choice, step, held });
        }
        memory.keep(next);
        &self.placed
    }
}

#[cfg(test)]
impl Placer {
    /// The labels of the last frame.
    pub fn placed(&self) -> &[Option<Label>] {
        &self.placed
    }

    /// What it holds, in items.
    pub fn memory(&self) -> usize {
        let own = self.order.capacity() + self.choices.capacity() + self.placed.capacity() + self.next.capacity();
        own + self.boxes.memory() + self.labels.memory() + self.memory.memory()
    }
}

/// The size of text for a subject's box; that of before, unless another befits it clearly.
fn befitting(subject: &Subject, before: Option<Kept>) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "a few steps")]
    let stays = before.filter(|kept| (subject.step - kept.step as f32).abs() <= CLEARLY);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few steps")]
    stays.map_or(subject.step.round().max(0.0) as usize, |kept| kept.step)
}

/// A frame while its labels are placed.
struct Scene<'a> {
    frame: [i32; 2],
    subjects: &'a [Subject],
    taken: &'a [Area],
    measure: Measure<'a>,
    boxes: &'a Grid,
    labels: &'a mut Grid,
    placed: &'a mut [Option<Label>],
    /// Comparisons left.
    left: u32,
}

impl Scene<'_> {
    /// Places a label as it was, where that is allowed.
    fn again(&mut self, index: usize, was: Choice, step: usize) -> Option<Choice> {
        let (form, smallest) = FORMS[was.form];
        let step = if smallest { 0 } else { step };
        if !self.subjects[index].has(form) {
            return None;
        }
        let size = (self.measure)(index, form, step);
        let (area, hides) = was.slot.at(self.subjects[index].area, size, self.frame)?;
        self.free(index, area).then(|| {
            self.put(index, Label { form, step, area });
            Choice { hides, ..was }
        })
    }

    /// Places a label as well as it can be, if that is better than what it has `now`.
    fn better(&mut self, index: usize, now: Option<Choice>, before: Option<Kept>, step: usize) -> Option<Choice> {
        let subject = self.subjects[index];
        for (number, (form, smallest)) in FORMS.into_iter().enumerate() {
            let twice = smallest && form == Form::Full && step == 0;
            if twice || !subject.has(form) {
                continue;
            }
            if now.is_some_and(|now| now.rank() <= (number, false)) {
                return None;
            }
            let step = if smallest { 0 } else { step };
            let size = (self.measure)(index, form, step);
            for hides in [false, true] {
                let rank = (number, hides);
                if now.is_some_and(|now| now.rank() <= rank) {
                    return None;
                }
                let improves = |kept: &Kept| kept.choice.is_none_or(|was| rank < was.rank());
                let slack = match before.filter(improves) {
                    Some(kept) if kept.held % HOLD != HOLD - 1 => continue,
                    Some(_) => size[1] / 4,
                    None => 0,
                };
                let was = before.and_then(|kept| kept.choice).map(|was| was.slot);
                for slot in was.into_iter().chain(SLOTS) {
                    let Some((area, hidden)) = slot.at(subject.area, size, self.frame) else { continue };
                    if hidden == hides && self.free(index, slot.room(area, slack)) {
                        self.put(index, Label { form, step, area });
                        return Some(Choice { form: number, slot, hides });
                    }
                }
            }
        }
        None
    }

    fn put(&mut self, index: usize, label: Label) {
        self.placed[index] = Some(label);
        // Where it replaces one, the old entry stays and is compared by the new area: both are met where either is looked for.
        self.labels.insert(label.area, u32::try_from(index).unwrap_or(u32::MAX));
    }

    /// Whether a label of a subject may take that room.
    fn free(&mut self, index: usize, room: Area) -> bool {
        let own = self.subjects[index].area;
        if self.taken.iter().any(|taken| taken.shared(room) > 0) {
            return false;
        }
        let mut left = self.left;
        let mut covers = |item: u32, covered: &dyn Fn(usize) -> bool| {
            left = left.saturating_sub(1);
            left == 0 || (item as usize != index && covered(item as usize))
        };
        let label = |other: usize| self.placed[other].is_some_and(|label| label.area.shared(room) > 0);
        let object = |other: usize| {
            let other = self.subjects[other].area;
            let shared = other.shared(room);
            let holds = || other.shared(own) * 10 >= own.pixels() * 9;
            shared > 0 && !(shared * OF_HOLDER <= other.pixels() && holds())
        };
        let covered =
            self.labels.any(room, |item| covers(item, &label)) || self.boxes.any(room, |item| covers(item, &object));
        self.left = left;
        !covered
    }
}

#[cfg(test)]
mod tests;
